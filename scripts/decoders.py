"""How much a restored picture depends on who decodes its file: write results/decoders.json.

Usage: BDFLOW_DATA=DIR python scripts/decoders.py     (pip install simplejpeg av; minutes)

Thumbnails of some training pictures are decoded by Pillow, as bdflow does, and by others: libjpeg-turbo
with its fast transform and without smooth enlargement of halved colour, FFmpeg with bicubic enlargement of
it and with none, and the Chromium on the path or in BDFLOW_BROWSER. Both are restored by the built-in
network. The two packages are no dependency of development: nothing else needs them, and what they show
changes with the network alone.
"""

import base64
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import av
import numpy as np
import simplejpeg
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from bdflow.pictures import codecs, reader
from bdflow.pictures.codecs import Samples
from bdflow.pictures.reader import Picture
from bdflow.quality.metrics import MAX_PSNR, psnr
from bdflow.runtime.enhancer import Enhancer, shrunk
from bdflow.smallfile.quantizer import quality as quality_of
from bdflow.smallfile.thumbnail import Domain, Thumbnail
from bdflow.system.environment import environment
from bdflow.system.files import write_bytes
from bdflow.zoo import find_restoration

RESULTS = Path(__file__).parent.parent / "results" / "decoders.json"
PICTURES: dict[Domain, tuple[str, ...]] = {"portraits": ("*",), "photos": ("camera-*", "clic-*", "cid22-*")}
EACH = 2  # pictures a pattern, evenly spread
VIEW = 512
# Factors, and a quality of each codec that photographs are stored at there.
SETTINGS = {"AVIF": ((1, 30), (2, 45), (4, 60)), "WebP": ((2, 50), (4, 70)), "JPEG": ((2, 40), (4, 60))}
CODECS = {"AVIF": codecs.AVIF, "WebP": codecs.WEBP, "JPEG": codecs.JPEG}

DRAW = """async ([kind, data]) => {
    const image = new Image();
    image.src = `data:image/${kind};base64,${data}`;
    await image.decode();
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const canvas = new OffscreenCanvas(width, height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    return [width, height, Array.from(canvas.getImageData(0, 0, width, height).data)];
}"""


def turbo(data: bytes) -> Samples:
    return simplejpeg.decode_jpeg(data, fastdct=True, fastupsample=True)


def ffmpeg(interpolation: Interpolation, range: ColorRange) -> Callable[[bytes], Samples]:
    def decode(data: bytes) -> Samples:
        with av.open(io.BytesIO(data)) as container:
            frame = next(container.decode(video=0))
        exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        return frame.reformat(
            format="rgb24",
            src_colorspace=Colorspace.ITU601,
            src_color_range=range,
            dst_color_range=ColorRange.JPEG,
            interpolation=interpolation | exact,
        ).to_ndarray()

    return decode


def chromium(page: Any, kind: str) -> Callable[[bytes], Samples]:
    def decode(data: bytes) -> Samples:
        width, height, samples = page.evaluate(DRAW, [kind, base64.b64encode(data).decode()])
        return np.array(samples, np.uint8).reshape(height, width, 4)[..., :3]

    return decode


def views(data: Path) -> Iterator[tuple[Domain, Path, Samples]]:
    """The middles of training pictures."""
    for domain, patterns in PICTURES.items():
        for pattern in patterns:
            paths = sorted((data / domain / "train").glob(pattern))
            for path in paths[:: len(paths) // EACH][:EACH]:
                rgb = reader.read(path).rgb
                top, left = ((side - VIEW) // 2 for side in rgb.shape[:2])
                yield domain, path, np.ascontiguousarray(rgb[top : top + VIEW, left : left + VIEW])


def main() -> None:
    from playwright.sync_api import sync_playwright

    data, browser = (
        Path(os.environ["BDFLOW_DATA"]),
        os.environ.get("BDFLOW_BROWSER") or shutil.which("chromium"),
    )
    model = find_restoration()
    enhancer = Enhancer(model)
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    with sync_playwright() as runner:
        launched = runner.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page, chrome = launched.new_page(), f"Chromium {launched.version}"
        others: dict[str, dict[str, Callable[[bytes], Samples]]] = {
            name: {
                "FFmpeg, bicubic colour": ffmpeg(Interpolation.BICUBIC, range),
                "FFmpeg, nearest colour": ffmpeg(Interpolation.POINT, range),
            }
            for name, range in (("AVIF", ColorRange.JPEG), ("WebP", ColorRange.MPEG))
        }
        others |= {
            "JPEG": {"libjpeg-turbo, nearest colour, fast transform": turbo},
        }
        for name, decoders in others.items():
            decoders["Chromium"] = chromium(page, name.lower())
        for domain, path, true in views(data):
            print(path.name, flush=True)
            for name, settings in SETTINGS.items():
                for factor, quality in settings:
                    file = CODECS[name].encode(shrunk(Picture(true), factor).to_pil(), quality)
                    small = CODECS[name].decode(file)
                    ours = Thumbnail(
                        Picture(small), name, file, factor, domain, (VIEW, VIEW), quality_of(file)
                    )
                    restored = enhancer.rgb(ours)
                    for decoder, decode in others[name].items():
                        other = np.ascontiguousarray(decode(file))
                        theirs = enhancer.rgb(replace(ours, image=Picture(other)))
                        rows.setdefault((name, decoder), []).append({
                            "thumbnails": min(psnr(small, other), MAX_PSNR),
                            "levels": int(np.abs(small.astype(int) - other).max()),
                            "restored": min(psnr(restored, theirs), MAX_PSNR),
                            "loss": psnr(true, restored) - psnr(true, theirs),
                        })  # fmt: skip
        launched.close()
    about = environment()
    about["packages"] |= {name: version(name) for name in ("simplejpeg", "av")} | {"chromium": chrome}
    made = {
        "command": "python scripts/decoders.py",
        "model": model.name,
        "weights": model.weights_sha256[:16],
        "settings": {"view": VIEW, "factors and qualities": SETTINGS},
        "rows": [
            {
                "codec": name,
                "decoder": decoder,
                "count": len(each),
                "levels": max(one["levels"] for one in each),
                "thumbnails": round(fmean(one["thumbnails"] for one in each), 2),
                "restored": round(fmean(one["restored"] for one in each), 2),
                "loss": round(fmean(one["loss"] for one in each), 3),
                "largest loss": round(max(one["loss"] for one in each), 3),
            }
            for (name, decoder), each in rows.items()
        ],
        "environment": about,
    }
    write_bytes(RESULTS, (json.dumps(made, indent=1) + "\n").encode(), overwrite=True)


if __name__ == "__main__":
    main()
