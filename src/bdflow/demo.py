"""``bdflow demo``: the main job on one real photograph, beside the codecs in as many bytes."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bdflow import fitting, load
from bdflow.codecs import AVIF, JPEG, WEBP, encode, smallest_png
from bdflow.enhancer import Enhancer
from bdflow.errors import BDFlowError
from bdflow.files import make_folder, printable, write_bytes
from bdflow.images import Array, Picture
from bdflow.images import read as read_picture
from bdflow.methods import Within, round_trip
from bdflow.metrics import SSIM_WINDOW, psnr, psnr_y, ssim_y
from bdflow.report import contact_sheet
from bdflow.resize import bicubic_down, bicubic_up
from bdflow.zoo import find_restoration

PHOTOGRAPH = Path(__file__).parent / "assets" / "astronaut.png"
BITS = 3000 * 8 / 512**2  # a pixel: 3,000 bytes for the photograph that ships with bdflow


@dataclass(frozen=True, eq=False)
class _Row:
    """What one method makes of the photograph."""

    name: str
    bytes: int
    pixels: Array


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
    groups = [sorted(codec, key=lambda row: -psnr_y(true.rgb, row.pixels)), png]
    Console().print(_table(f"{escape(printable(photo.name))}, {true.width}x{true.height}", true.rgb, groups))
    panels = {"true": true.rgb}
    for row in (*groups[0], *png):
        panels[f"{row.name}, {row.bytes:,} bytes, {psnr_y(true.rgb, row.pixels):.2f} dB"] = row.pixels
    files["side-by-side.png"] = encode(read_picture(contact_sheet(panels, columns=3)), "png")
    for name, content in files.items():
        write_bytes(out / name, content, overwrite=True)
        print(printable(f"wrote {out / name}"))


def _in_codecs(true: Picture, stem: str, files: dict[str, bytes]) -> Iterator[_Row]:
    """Ours and the plain codecs in as many bytes; each may shrink the photograph first."""
    budget = round(BITS * true.width * true.height / 8)
    try:
        enhancer = Enhancer(find_restoration())
        start = time.perf_counter()
        small = fitting.fit(true, enhancer, budget=budget).small
        middle = time.perf_counter()
        restored = read_picture(enhancer.restore(small))
        end = time.perf_counter()
    except BDFlowError as error:  # a picture so small that the format's own header is too much
        print(printable(f"without bdflow's AVIF: {error}"))
    else:
        _tell("AVIF", true, small.image, middle - start, end - middle)
        files[f"{stem}.bd.avif"] = small.data
        files[f"{stem}.restored.png"] = encode(restored, "png")
        yield _Row("bdflow, AVIF", len(small.data), restored.rgb)
    for codec in (AVIF, WEBP, JPEG):
        try:
            coded, pixels = round_trip(Within(codec, budget), true.rgb)
        except BDFlowError as error:
            print(f"without {codec.name}: {error}")
        else:
            yield _Row(codec.name, len(coded), pixels)


def _as_png(true: Picture, stem: str, model: str, files: dict[str, bytes]) -> Iterator[_Row]:
    """The paper's method, and the bicubic thumbnail of as many pixels."""
    rescaler = load(model)
    scale = rescaler.model.scale
    start = time.perf_counter()
    data = rescaler.downscale(true).to_bytes()
    middle = time.perf_counter()
    restored = read_picture(rescaler.upscale(data))
    end = time.perf_counter()
    small = read_picture(data)
    _tell("PNG", true, small, middle - start, end - middle)
    files[f"{stem}.x{scale}.png"] = data
    files[f"{stem}.x{scale}.restored.png"] = encode(restored, "png")
    plain_small = bicubic_down(true.rgb, scale)
    plain_bytes = len(smallest_png(Picture(plain_small, gray=true.gray).to_pil()))
    size = true.height, true.width
    yield _Row(f"bicubic x{scale} as PNG", plain_bytes, bicubic_up(plain_small, scale, size))
    yield _Row(f"bdflow {rescaler.model.name}, PNG", len(data), restored.rgb)


def _tell(kind: str, true: Picture, small: Picture, shrinking: float, restoring: float) -> None:
    print(
        f"{kind}: {true.width}x{true.height} to {small.width}x{small.height} in {shrinking:.2f} s, restored"
        f" in {restoring:.2f} s, with the model's loading"
    )


def _table(title: str, true: Array, groups: list[list[_Row]]) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("", "bytes", "bits a pixel", "PSNR-Y", "PSNR-RGB", "SSIM-Y"):
        table.add_column(heading, justify="right" if heading else "left")
    for group in groups:
        for row in group:
            quality = f"{psnr_y(true, row.pixels):.2f} dB", f"{psnr(true, row.pixels):.2f} dB"
            bits = 8 * row.bytes / (true.shape[0] * true.shape[1])
            similarity = f"{ssim_y(true, row.pixels):.4f}"
            table.add_row(row.name, f"{row.bytes:,}", f"{bits:.3f}", *quality, similarity)
        table.add_section()
    return table
