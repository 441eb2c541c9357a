"""The page of `make web`: portraits in 2,500 bytes each, beside plain AVIFs in as many.

    python scripts/gallery.py OUT [--data FOLDER] [--model restoration-light]

OUT/index.html is made of web/demo/index.html, OUT/pictures/ holds the small files. The portraits are the
first of FOLDER, or of portraits/test in it; without one, the photograph that ships with bdflow. A portrait
takes some eight seconds of the processor; those that are there already are not made again.
"""

import argparse
import html
from pathlib import Path

from PIL import Image, ImageOps

from bdflow import zoo
from bdflow.evaluation.demo import PHOTOGRAPH
from bdflow.fitting import Goal, fit
from bdflow.pictures.reader import Picture, read
from bdflow.runtime.enhancer import Enhancer
from bdflow.smallfile.container import read as read_small
from bdflow.system.files import write_bytes

DEMO = Path(__file__).parents[1] / "web" / "demo"
FIGURE = """\
    <figure>
      <div class="pair">
        <bd-img><img src="{small}" width="512" height="512"{lazy} alt="{name}"></bd-img>
        <img class="rival" data-small="{small}" data-plain="{plain}" width="512" height="512" alt="" hidden>
      </div>
      <label>{name}<input type="range" min="0" max="100" value="0" aria-valuetext="restored all over"></label>
      <figcaption>{bytes:,} bytes, {sides} pixels</figcaption>
    </figure>
"""
AT_ONCE = 6  # figures that are in view before anybody scrolls; the others load when they come near


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, help="a folder of photographs, or one that holds portraits/test")
    parser.add_argument("--model", default="restoration-light", help="what the page restores with")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--bytes", type=int, default=2500)
    parser.add_argument("--side", type=int, default=512, help="pixels that portraits have")
    arguments = parser.parse_args()
    enhancer = Enhancer(zoo.find(arguments.model))
    # A network's files are its own: another one's fit restores otherwise.
    folder = Path("pictures") / enhancer.model.weights_sha256[:8]
    (arguments.out / folder).mkdir(parents=True, exist_ok=True)
    figures = []
    for path in photographs(arguments.data)[: arguments.count]:
        files = {kind: folder / f"{path.stem}.{kind}.avif" for kind in ("bd", "plain")}
        if not all((arguments.out / file).is_file() for file in files.values()):
            picture = square(path, arguments.side)
            ours = fit(picture, enhancer, Goal(max_bytes=arguments.bytes))
            as_many = max(arguments.bytes, len(ours.small.data))
            plain = fit(picture, enhancer, Goal(max_bytes=as_many, domain="plain"))
            for file, fitted in zip(files.values(), (ours, plain), strict=True):
                write_bytes(arguments.out / file, fitted.small.data, overwrite=True)
        figures.append(figure(path.stem, arguments.out, files, lazy=len(figures) >= AT_ONCE))
    text = page(figures, arguments.model.removeprefix("restoration-"))
    write_bytes(arguments.out / "index.html", text.encode(), overwrite=True)


def page(figures: list[str], purpose: str) -> str:
    """The page, that restores with the network of a purpose."""
    text = (DEMO / "index.html").read_text().replace("<!-- gallery -->\n", "".join(figures))
    return text.replace('data-for="light"', f'data-for="{purpose}"')


def photographs(data: Path | None) -> list[Path]:
    if data is None:
        return [PHOTOGRAPH]
    folder = data / "portraits" / "test"
    pictures = {".jpg", ".jpeg", ".png", ".webp", ".avif"}
    return sorted(
        path for path in (folder if folder.is_dir() else data).iterdir() if path.suffix.lower() in pictures
    )


def square(path: Path, side: int) -> Picture:
    """The middle of a photograph."""
    image = Image.fromarray(read(path).rgb)
    return read(ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS))


def figure(stem: str, out: Path, files: dict[str, Path], lazy: bool) -> str:
    small = read_small(out / files["bd"])
    return FIGURE.format(
        name=html.escape(stem.replace("-", " ").title()),
        small=files["bd"].as_posix(),
        plain=files["plain"].as_posix(),
        lazy=' loading="lazy"' if lazy else "",
        bytes=(out / files["bd"]).stat().st_size,
        sides=f"{small.image.width}x{small.image.height}",
    )


if __name__ == "__main__":
    main()
