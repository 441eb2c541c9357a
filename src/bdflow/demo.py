"""``bdflow demo``: the main job on one real photograph, beside what else there is at the same bytes."""

import time
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bdflow import load
from bdflow.codecs import AVIF, JPEG, encode, smallest_png
from bdflow.errors import BDFlowError
from bdflow.files import make_folder, write_bytes
from bdflow.images import Picture
from bdflow.images import read as read_picture
from bdflow.methods import Within, round_trip
from bdflow.metrics import SSIM_WINDOW, psnr, psnr_y, ssim_y
from bdflow.report import contact_sheet
from bdflow.resize import bicubic_down, bicubic_up, resize

PHOTOGRAPH = Path(__file__).parent / "assets" / "astronaut.png"


def run(out: Path, photo: Path | None = None, model: str = "portraits-x8") -> None:
    """Shrink and restore a photograph; print a table, write three pictures.

    Args:
        out: A folder, made if missing; what an earlier demo left there is replaced.
        photo: None takes the one that ships with bdflow.
        model: A built-in model or a model folder.

    Raises:
        BDFlowError: The photograph cannot be read or is too small to measure, the folder cannot be made or
            written, or there is no such model.
    """
    photo = photo or PHOTOGRAPH
    true = read_picture(photo)
    size = (true.height, true.width)
    if min(size) < SSIM_WINDOW:
        raise BDFlowError(f"{photo}: {true.width}x{true.height} is too small to measure")
    make_folder(out)
    rescaler = load(model)
    scale = rescaler.model.scale

    start = time.perf_counter()
    data = rescaler.downscale(true).to_bytes()
    middle = time.perf_counter()
    restored = read_picture(rescaler.upscale(data))
    end = time.perf_counter()

    small = read_picture(data)
    plain_small = bicubic_down(true.rgb, scale)
    plain_bytes = len(smallest_png(Picture(plain_small, gray=true.gray).to_pil()))
    rivals = {}
    for codec in (JPEG, AVIF):
        try:
            rivals[codec.name] = round_trip(Within(codec, len(data)), true.rgb)
        except BDFlowError as error:  # a picture so small that the format's own header is too much
            print(f"without {codec.name}: {error}")
    results = {
        f"bdflow {rescaler.model.name}": (len(data), restored.rgb),
        f"bicubic x{scale} as PNG": (plain_bytes, bicubic_up(plain_small, scale, size)),
        **{f"{name}, same bytes": (len(coded), pixels) for name, (coded, pixels) in rivals.items()},
    }

    table = Table(title=f"{escape(photo.name)}, {true.width}x{true.height}", title_justify="left")
    for heading in ("", "bytes", "bits a pixel", "PSNR-Y", "PSNR-RGB", "SSIM-Y"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, (count, pixels) in results.items():
        quality = f"{psnr_y(true.rgb, pixels):.2f} dB", f"{psnr(true.rgb, pixels):.2f} dB"
        bits = 8 * count / (size[0] * size[1])
        table.add_row(name, f"{count:,}", f"{bits:.3f}", *quality, f"{ssim_y(true.rgb, pixels):.4f}")
    Console().print(table)
    print(
        f"{true.width}x{true.height} to {small.width}x{small.height} in {middle - start:.2f} s,"
        f" restored in {end - middle:.2f} s, with the model's loading"
    )

    enlarged = resize(small.rgb, size, Image.Resampling.NEAREST)
    panels = {"true": true.rgb, f"the small PNG, {len(data):,} bytes, enlarged": enlarged}
    labels = ("restored", "bicubic", *rivals)
    for label, (count, pixels) in zip(labels, results.values(), strict=True):
        panels[f"{label}, {count:,} bytes, {psnr_y(true.rgb, pixels):.2f} dB"] = pixels
    sheet = contact_sheet(panels, columns=3)
    for name, content in {
        f"{photo.stem}.x{scale}.png": data,
        f"{photo.stem}.restored.png": encode(restored, "png"),
        "side-by-side.png": encode(read_picture(sheet), "png"),
    }.items():
        write_bytes(out / name, content, overwrite=True)
        print(f"wrote {out / name}")
