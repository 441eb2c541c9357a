"""Measure a model on folders of pictures: every figure is of files that were stored and read back."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdflow.container import byte_report, read
from bdflow.environment import environment
from bdflow.errors import BDFlowError
from bdflow.images import READABLE
from bdflow.images import read as read_picture
from bdflow.metrics import MAX_PSNR, SSIM_WINDOW, psnr, psnr_y, ssim_y
from bdflow.rescaler import Rescaler
from bdflow.resize import bicubic_down, bicubic_up

LITERATURE_CROPS = (2, 4)  # at these scales the field's tables leave out a border of ``scale`` pixels

Pixels = NDArray[np.uint8]
Distance = Callable[[Pixels, Pixels], float]


def evaluate(
    rescaler: Rescaler,
    folders: Sequence[Path],
    *,
    limit: int | None = None,
    crop: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Shrink, store, read back and restore every picture of ``folders``.

    Args:
        rescaler: The model.
        folders: Each is a row of the result, under its last two names (``celebahq1024/test``).
        limit: Only the first so many pictures of each folder, by name.
        crop: Border pixels that PSNR leaves out on every side. (At x2 and x4, where the field's tables leave
            out as many as the scale, PSNR-Y without such a border is measured besides.)
        say: Takes lines of progress.

    Returns:
        ``settings``, ``environment``, and under ``folders`` for each the mean, the spread (standard deviation
        over pictures), every picture's values, and what was skipped and why: pictures that cannot be read,
        or are too small to measure. Ready for JSON.

    Raises:
        BDFlowError: A folder is missing or holds no picture that can be measured, or two share their names.
    """
    found = {"/".join(folder.resolve().parts[-2:]): _pictures(folder)[:limit] for folder in folders}
    if len(found) < len(folders):
        raise BDFlowError("two of the folders share their last two names: measure them one at a time")
    distance, why_not = _lpips()
    if distance is None:
        say(f"without LPIPS: {why_not}")
    rows = {}
    for name, paths in found.items():
        pictures: dict[str, dict[str, float]] = {}
        skipped: dict[str, str] = {}
        for index, path in enumerate(paths, 1):
            try:
                pictures[path.name] = values = _measure(rescaler, path, crop, distance)
                told = f"{path.name}: {values['psnr_y'] - values['bicubic_psnr_y']:+.2f} dB over bicubic"
            except BDFlowError as error:
                skipped[path.name] = str(error).removeprefix(f"{path}: ")
                told = f"{path.name}: skipped: {skipped[path.name]}"
            say(f"{name} {index}/{len(paths)} {told}")
        if not pictures:
            raise BDFlowError(f"{name}: none of its {len(paths)} pictures can be measured")
        keys = list(next(iter(pictures.values())))
        columns = {key: [values[key] for values in pictures.values()] for key in keys}
        rows[name] = {
            "count": len(pictures),
            "skipped": skipped,
            "mean": {key: round(fmean(column), 5) for key, column in columns.items()},
            "spread": {key: round(pstdev(column), 5) for key, column in columns.items()},
            "pictures": pictures,
        }
    return {
        "model": rescaler.model.name,
        "weights_sha256": rescaler.model.weights_sha256,
        "settings": {
            "crop": crop,
            "limit": limit,
            "sigma": 0,
            "metrics": "PSNR and SSIM on 8-bit files; Y is BT.601; PSNR is capped at 100 dB",
        },
        "environment": environment(),
        "folders": rows,
    }


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BDFlowError(f"{folder}: not a folder; give folders of pictures")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in READABLE)
    if not paths:
        raise BDFlowError(f"{folder}: no pictures in it ({', '.join(sorted(READABLE))})")
    return paths


def _measure(rescaler: Rescaler, path: Path, crop: int, distance: Distance | None) -> dict[str, float]:
    true = read_picture(path)
    least = max(SSIM_WINDOW, 2 * crop + 1)
    if min(true.width, true.height) < least:
        raise BDFlowError(f"{true.width}x{true.height} is too small to measure: a side needs {least} pixels")
    start = time.perf_counter()
    data = rescaler.downscale(true.to_pil()).to_bytes()
    middle = time.perf_counter()
    restored = np.asarray(rescaler.upscale(data).convert("RGB"))
    end = time.perf_counter()

    scale, size = rescaler.model.scale, (true.height, true.width)
    plain_small = bicubic_down(true.rgb, scale)
    plain = bicubic_up(plain_small, scale, size)
    parts = byte_report(data)
    values = {
        "psnr_y": psnr_y(true.rgb, restored, crop=crop),
        "psnr_rgb": psnr(true.rgb, restored, crop=crop),
        "ssim_y": ssim_y(true.rgb, restored),
        "bicubic_psnr_y": psnr_y(true.rgb, plain, crop=crop),
        "bicubic_psnr_rgb": psnr(true.rgb, plain, crop=crop),
        "bicubic_ssim_y": ssim_y(true.rgb, plain),
        "lr_psnr": psnr(read(data).image.rgb, plain_small),
        "bytes": len(data),
        **{f"bytes_{part}": count for part, count in parts.items()},
        "bits_per_pixel": 8 * len(data) / (size[0] * size[1]),
        "seconds_down": middle - start,
        "seconds_up": end - middle,
    }
    if scale in LITERATURE_CROPS:
        values |= {
            "psnr_y_cropped": psnr_y(true.rgb, restored, crop=scale),
            "bicubic_psnr_y_cropped": psnr_y(true.rgb, plain, crop=scale),
        }
    if distance is not None:
        values |= {"lpips": distance(true.rgb, restored), "bicubic_lpips": distance(true.rgb, plain)}
    return {key: round(min(value, MAX_PSNR) if "psnr" in key else value, 5) for key, value in values.items()}


def _lpips() -> tuple[Distance | None, str]:
    """LPIPS where torch and its weights are at hand, else why not."""
    try:
        import torch

        from bdflow.train.lpips import LPIPS

        network = LPIPS()
    except ImportError:
        return None, 'it needs the training half: pip install "bdflow[train]"'
    except BDFlowError as error:
        return None, str(error)

    def tensor(rgb: Pixels) -> torch.Tensor:
        return torch.from_numpy(rgb.transpose(2, 0, 1)[None].copy()).float() / 255

    def distance(a: Pixels, b: Pixels) -> float:
        with torch.no_grad():
            return float(network(tensor(a), tensor(b)))

    return distance, ""
