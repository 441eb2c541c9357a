"""Measure a model on folders of pictures: every figure is of files that were stored and read back."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from bdflow.errors import BDFlowError
from bdflow.evaluation import measure
from bdflow.pictures.reader import READABLE
from bdflow.pictures.reader import read as read_picture
from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.pictures.transparency import spread
from bdflow.quality.metrics import MAX_PSNR, psnr, psnr_y
from bdflow.runtime.computing import Computing
from bdflow.runtime.rescaler import Rescaler
from bdflow.smallfile.container import byte_report, read
from bdflow.system.environment import environment
from bdflow.system.files import printable
from bdflow.zoo import Model

LITERATURE_CROPS = (2, 4)  # at these scales the field's tables leave out a border of `scale` pixels


def evaluate(
    rescaler: Rescaler,
    folders: Sequence[Path],
    *,
    limit: int | None = None,
    crop: int = 0,
    refine: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Shrink, store, read back and restore every picture of `folders`.

    Args:
        rescaler: The model.
        folders: Each is a row of the result, under its last two names (`celebahq1024/test`).
        limit: Only the first so many pictures of each folder, by name.
        crop: Border pixels that PSNR leaves out on every side. (At x2 and x4, where the field's tables leave
            out as many as the scale, PSNR-Y without such a border is measured besides.)
        refine: Steps by which each small picture is refined.
        say: Takes lines of progress.

    Returns:
        `settings`, `environment`, and under `folders` for each the mean, the spread (standard deviation
        over pictures), every picture's values, and what was skipped and why: pictures that cannot be read,
        or are too small to measure. Ready for JSON.

    Raises:
        BDFlowError: A folder is missing or holds no picture that can be measured, or two share their names.
    """
    pictures, scorer = named_folders(folders, limit), scorer_of(crop, say)

    def one(path: Path) -> tuple[dict[str, float], str]:
        values = _measure(rescaler, path, scorer, refine)
        return values, f"{values['psnr_y'] - values['bicubic_psnr_y']:+.2f} dB over bicubic"

    rows = {name: row_of(name, paths, one, say) for name, paths in pictures.items()}
    return results_of(
        rescaler.model, rows, rescaler.computing, crop=crop, limit=limit, sigma=0, refine=refine
    )


def results_of(
    model: Model, rows: Mapping[str, Any], computing: Computing, **settings: Any
) -> dict[str, Any]:
    """What `evaluate` returns, of whichever kind of model: its rows with all that decides them."""
    differing = {"computed_by": computing.differs} if computing.differs else {}
    return {
        "schema": "evaluation-1",
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "settings": {**settings, **differing, "metrics": measure.METRICS},
        "environment": environment(),
        "folders": rows,
    }


def named_folders(folders: Sequence[Path], limit: int | None) -> dict[str, list[Path]]:
    """The first pictures of each folder, under its last two names.

    Raises:
        BDFlowError: Two share these, or one has no pictures.
    """
    pictures = {
        printable("/".join(folder.resolve().parts[-2:])): pictures_in(folder)[:limit] for folder in folders
    }
    if len(pictures) < len(folders):
        raise BDFlowError("two of the folders share their last two names: measure them one at a time")
    return pictures


def scorer_of(crop: int, say: Callable[[str], None]) -> measure.Scorer:
    """PSNR, SSIM and, where it can be had, LPIPS."""
    learned, missing = measure.learned("lpips")
    for name, why in missing.items():
        say(f"without {name.upper()}: {why}")
    return measure.Scorer(crop, learned)


def row_of(
    name: str,
    paths: Sequence[Path],
    one: Callable[[Path], tuple[dict[str, float], str]],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The row of a folder in the results.

    Args:
        name: Of the row.
        paths: Its pictures.
        one: Measures one of them, and sums that up; a picture for which it raises BDFlowError is skipped.
        say: Takes lines of progress.

    Raises:
        BDFlowError: None of the pictures can be measured.
    """
    pictures: dict[str, dict[str, float]] = {}
    skipped: dict[str, str] = {}
    for index, path in enumerate(paths, 1):
        picture = printable(path.name)
        try:
            pictures[picture], summary = one(path)
        except BDFlowError as error:
            skipped[picture] = printable(str(error).removeprefix(f"{path}: "))
            summary = f"skipped: {skipped[picture]}"
        say(f"{name} {index}/{len(paths)} {picture}: {summary}")
    if not pictures:
        raise BDFlowError(f"{name}: none of its {len(paths)} pictures can be measured")
    first = next(iter(pictures.values()))
    keys = [key for key in first if all(key in values for values in pictures.values())]
    columns = {key: [values[key] for values in pictures.values()] for key in keys}
    return {
        "count": len(pictures),
        "skipped": skipped,
        "mean": {key: round(fmean(column), 5) for key, column in columns.items()},
        "spread": {key: round(pstdev(column), 5) for key, column in columns.items()},
        "pictures": pictures,
    }


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder by name; BDFlowError where there are none."""
    if not folder.is_dir():
        raise BDFlowError(f"{folder}: not a folder; give folders of pictures")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in READABLE)
    if not paths:
        raise BDFlowError(f"{folder}: no pictures in it ({', '.join(sorted(READABLE))})")
    return paths


def _measure(rescaler: Rescaler, path: Path, scorer: measure.Scorer, refine: int) -> dict[str, float]:
    true = spread(read_picture(path))
    scorer.check(true.rgb)

    def encode() -> bytes:
        return rescaler.downscale(true.to_pil(), refine=refine).to_bytes()

    stored = measure.store_by(encode, rescaler.rgb, true.rgb, scorer)
    scale = rescaler.model.scale
    plain_small = bicubic_down(true.rgb, scale)
    plain = bicubic_up(plain_small, scale, (true.height, true.width))
    values = {
        **stored.values,
        **{f"bicubic_{key}": value for key, value in scorer.quality(true.rgb, plain).items()},
        "lr_psnr": min(psnr(read(stored.data).image.rgb, plain_small), MAX_PSNR),
        **{f"bytes_{part}": count for part, count in byte_report(stored.data).items()},
    }
    if scale in LITERATURE_CROPS:
        for key, pixels in (("psnr_y_cropped", stored.pixels), ("bicubic_psnr_y_cropped", plain)):
            values[key] = min(psnr_y(true.rgb, pixels, crop=scale), MAX_PSNR)
    return {key: round(value, 5) for key, value in values.items()}
