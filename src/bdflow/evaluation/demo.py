"""`bdflow demo`: the main job on one real photograph, beside the codecs in as many bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bdflow import fitting, load
from bdflow.errors import BDFlowError
from bdflow.evaluation.grid import Grid
from bdflow.evaluation.measure import Scorer, Stored, read_back, store, store_by
from bdflow.evaluation.report import contact_sheet
from bdflow.methods import Within
from bdflow.pictures.codecs import AVIF, JPEG, WEBP, encode, smallest_png
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import Picture
from bdflow.pictures.reader import read as read_picture
from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.quality.metrics import SSIM_WINDOW
from bdflow.runtime.enhancer import Enhancer
from bdflow.smallfile.thumbnail import Thumbnail
from bdflow.system.files import make_folder, printable, write_bytes
from bdflow.zoo import find_restoration

PHOTOGRAPH = Path(__file__).parents[1] / "assets" / "astronaut.png"
BITS = 3000 * 8 / 512**2  # a pixel: 3,000 bytes for the photograph that ships with bdflow


@dataclass(frozen=True, eq=False)
class _Row:
    """What one method makes of the photograph."""

    name: str
    stored: Stored


def run(out: Path, photo: Path | None = None, model: str = "portraits-x8") -> None:
    """Shrink and restore a photograph; print a table, write its small files and pictures of all methods.

    Args:
        out: A folder, made if missing; what an earlier demo left there is replaced.
        photo: None takes the one that ships with bdflow.
        model: A built-in model or a model folder, for the PNG.

    Raises:
        BDFlowError: The photograph cannot be read or is too small to measure, the folder cannot be made or
            written, or there is no such model.
    """
    photo = photo or PHOTOGRAPH
    true = read_picture(photo)
    if min(true.height, true.width) < SSIM_WINDOW:
        raise BDFlowError(f"{photo}: {true.width}x{true.height} is too small to measure")
    make_folder(out)
    files: dict[str, bytes] = {}
    png = list(_as_png(true, photo.stem, model, files))
    codec = list(_in_codecs(true, photo.stem, files))
    groups = [sorted(codec, key=lambda row: -row.stored.values["psnr_y"]), png]
    title = f"{printable(photo.name)}, {true.width}x{true.height}"
    Console().print(_table(title, groups))
    panels = {"true": true.rgb}
    for name, stored in ((row.name, row.stored) for group in groups for row in group):
        label = f"{name}, {len(stored.data):,} bytes, {stored.values['psnr_y']:.2f} dB"
        panels[label] = stored.pixels
    files["side-by-side.png"] = encode(read_picture(contact_sheet(panels, columns=3)), "png")
    for name, content in files.items():
        write_bytes(out / name, content, overwrite=True)
        print(printable(f"wrote {out / name}"))


def _in_codecs(true: Picture, stem: str, files: dict[str, bytes]) -> Iterator[_Row]:
    """Ours and the plain codecs in as many bytes; each may shrink the photograph first."""
    budget = round(BITS * true.width * true.height / 8)
    small: list[Thumbnail] = []
    restored: list[Picture] = []

    def shrink() -> bytes:
        small.append(fitting.fit(true, enhancer, fitting.Goal(max_bytes=budget)).small)
        return small[0].data

    def restore(data: bytes) -> RGB:
        restored.append(read_picture(enhancer.restore(read_back(replace(small[0], data=data)))))
        return restored[0].rgb

    try:
        enhancer = Enhancer(find_restoration())
        stored = store_by(shrink, restore, true.rgb, Scorer())
    except BDFlowError as error:  # a picture so small that the format's own header is too much
        print(printable(f"without bdflow's AVIF: {error}"))
    else:
        _print_seconds("AVIF", true, small[0].image, stored)
        files[f"{stem}.bd.avif"] = stored.data
        files[f"{stem}.restored.png"] = encode(restored[0], "png")
        yield _Row("bdflow, AVIF", stored)
    for codec in (AVIF, WEBP, JPEG):
        try:
            yield _Row(codec.name, store(Within(codec, budget), true.rgb, Scorer()))
        except BDFlowError as error:
            print(f"without {codec.name}: {error}")


def _as_png(true: Picture, stem: str, model: str, files: dict[str, bytes]) -> Iterator[_Row]:
    """The paper's method, and the bicubic thumbnail of as many pixels."""
    rescaler = load(model)
    scale = rescaler.model.scale
    restored: list[Picture] = []

    def shrink() -> bytes:
        return rescaler.downscale(true).to_bytes()

    def restore(data: bytes) -> RGB:
        restored.append(read_picture(rescaler.upscale(data)))
        return restored[0].rgb

    def shrink_plainly() -> bytes:
        return smallest_png(Picture(bicubic_down(true.rgb, scale), gray=true.gray).to_pil())

    def enlarge(data: bytes) -> RGB:
        return bicubic_up(read_picture(data).rgb, scale, (true.height, true.width))

    stored = store_by(shrink, restore, true.rgb, Scorer())
    _print_seconds("PNG", true, read_picture(stored.data), stored)
    files[f"{stem}.x{scale}.png"] = stored.data
    files[f"{stem}.x{scale}.restored.png"] = encode(restored[0], "png")
    yield _Row(f"bicubic x{scale} as PNG", store_by(shrink_plainly, enlarge, true.rgb, Scorer()))
    yield _Row(f"bdflow {rescaler.model.name}, PNG", stored)


def _print_seconds(kind: str, true: Picture, small: Picture, stored: Stored) -> None:
    shrinking, restoring = (stored.values[f"seconds_{way}"] for way in ("down", "up"))
    print(
        f"{kind}: {true.width}x{true.height} to {small.width}x{small.height} in {shrinking:.2f} s, restored"
        f" in {restoring:.2f} s, with the model's loading"
    )


def _table(title: str, groups: list[list[_Row]]) -> Table:
    grid = Grid(
        title, ("", "bytes", "bits per pixel", "PSNR-Y", "PSNR-RGB", "SSIM-Y"), sections=[len(groups[0])]
    )
    for row in (row for group in groups for row in group):
        values = row.stored.values
        psnr = (f"{values[measure]:.2f} dB" for measure in ("psnr_y", "psnr_rgb"))
        size = f"{values['bytes']:,}", f"{values['bits_per_pixel']:.3f}"
        grid.rows.append((row.name, *size, *psnr, f"{values['ssim_y']:.4f}"))
    return grid.table()
