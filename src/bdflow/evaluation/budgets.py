"""Measure a restoration network on folders of pictures: its files against plain codecs' in the same bytes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bdflow import fitting
from bdflow.errors import BDFlowError
from bdflow.evaluation import measure
from bdflow.evaluation.evaluate import evaluate, named_folders, results_of, row_of, scorer_of
from bdflow.fitting import CODECS, Goal, fit
from bdflow.fitting.candidates import Fitted
from bdflow.networks.facts import DOWN
from bdflow.pictures import reader
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import Picture
from bdflow.runtime.computing import DEFAULT, Computing
from bdflow.runtime.enhancer import Enhancer
from bdflow.runtime.rescaler import Rescaler
from bdflow.smallfile.thumbnail import Thumbnail
from bdflow.zoo import Model

BUDGETS = (0.03, 0.1, 0.3)  # bits per pixel of the photograph
RIVALS = (
    "the best of AVIF, WebP and JPEG in as many bytes by PSNR-RGB, each free to shrink, without a network"
)


def evaluate_budgets(
    enhancer: Enhancer,
    folders: Sequence[Path],
    *,
    budgets: Sequence[float] = BUDGETS,
    format: str = "AVIF",
    limit: int | None = None,
    crop: int = 0,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Fit every picture of `folders` into each budget, store it, read it back and restore it.

    Args:
        enhancer: The network.
        folders: Each is a row for each budget: `portraits/test at 0.1 bpp`.
        budgets: Bits that a file may have for each pixel of the photograph, everything counted.
        format: Of our files: "AVIF", "WebP" or "JPEG".
        limit: Only the first so many pictures of each folder, by name.
        crop: Border pixels that PSNR leaves out on every side.
        say: Takes lines of progress.

    Returns:
        As `bdflow.evaluation.evaluate.evaluate`. The figures of the best plain codec begin with
        `codec_`; besides both `factor`s, and `by_network`: 0 where the codec alone is better.

    Raises:
        BDFlowError: A folder is missing or holds no picture that fits, or two share their names.
    """
    pictures, scorer = named_folders(folders, limit), scorer_of(crop, say)
    rows = {}
    for name, paths in pictures.items():
        for budget in budgets:

            def one(path: Path, budget: float = budget) -> tuple[dict[str, float], str]:
                values = _measure(enhancer, path, scorer, budget, format)
                return values, f"{values['psnr_y'] - values['codec_psnr_y']:+.2f} dB over a plain codec"

            row_name = f"{name} at {budget:g} bpp"
            rows[row_name] = row_of(row_name, paths, one, say)
    return results_of(
        enhancer.model,
        rows,
        enhancer.computing,
        crop=crop,
        limit=limit,
        bits_per_pixel=list(budgets),
        format=format,
        rivals=RIVALS,
        codecs={name: codec.settings() for name, codec in CODECS.items()},
    )


def evaluate_model(
    model: Model,
    folders: Sequence[Path],
    *,
    limit: int | None = None,
    crop: int = 0,
    refine: int = 0,
    budgets: Sequence[float] | None = None,
    computing: Computing = DEFAULT,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """`bdflow.evaluation.evaluate.evaluate`, or `evaluate_budgets` where the model restores alone.

    Raises:
        BDFlowError: `refine` or `budgets` is not for this kind of model; or as those.
    """
    if DOWN in model.graphs:
        if budgets:
            raise BDFlowError(f"model {model.name} makes files of one size: leave out --bpp")
        rescaler = Rescaler(model, computing)
        return evaluate(rescaler, folders, limit=limit, crop=crop, refine=refine, say=say)
    if refine:
        raise BDFlowError(f"model {model.name} makes no small picture to refine: leave out --refine")
    enhancer = Enhancer(model, computing)
    return evaluate_budgets(enhancer, folders, budgets=budgets or BUDGETS, limit=limit, crop=crop, say=say)


def _measure(
    enhancer: Enhancer, path: Path, scorer: measure.Scorer, budget: float, format: str
) -> dict[str, float]:
    true = fitting.in_srgb(reader.read(path))
    scorer.check(true.rgb)
    count = int(budget * true.width * true.height / 8)
    files: list[Thumbnail] = []

    def encode() -> bytes:
        files.append(fit(true, enhancer, Goal(max_bytes=count, format=format)).small)
        return files[0].data

    def decode(data: bytes) -> RGB:
        return enhancer.rgb(measure.read_back(replace(files[0], data=data)))

    stored = measure.store_by(encode, decode, true.rgb, scorer)
    rival, (small,) = _best_codec(true, enhancer, count).small, files
    of_rival = scorer.quality(true.rgb, enhancer.rgb(rival))
    values = {
        **stored.values,
        **{f"codec_{key}": value for key, value in of_rival.items()},
        "codec_bytes": len(rival.data),
        "factor": small.factor,
        "codec_factor": rival.factor,
        "by_network": float(small.domain != "plain"),
    }
    return {key: round(value, 5) for key, value in values.items()}


def _best_codec(true: Picture, enhancer: Enhancer, budget: int) -> Fitted:
    candidates = []
    for name in CODECS:
        try:
            candidates.append(fit(true, enhancer, Goal(max_bytes=budget, format=name, domain="plain")))
        except BDFlowError as error:  # transparency in a JPEG, or too few bytes for it
            reason = error
    if not candidates:
        raise reason
    return max(candidates, key=lambda fitted: fitted.psnr)
