"""What `bdflow downscale --refine` brings: from results/refined/, which `bdflow evaluate --refine` fills."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bdflow import zoo
from bdflow.evaluation.grid import markdown
from bdflow.evaluation.report import results
from bdflow.zoo import Model

FOLDER = Path(__file__).parent.parent / "results" / "refined"


def measured(model: Model) -> dict[str, Any]:
    """The figures of a model's refined pictures, by folder; none where there is no such file."""
    path = FOLDER / f"{model.name}.json"
    if not path.is_file():
        return {}
    document = json.loads(path.read_text())
    if document["weights_sha256"] != model.weights_sha256:
        raise ValueError(f"{path} is of older weights: measure again, or delete it")
    steps = document["settings"]["refine"]
    return {folder: {**row, "steps": steps} for folder, row in document["folders"].items()}


def table() -> str:
    """The same pictures without it and with."""
    rows = []
    for model in zoo.built_in():
        for folder, row in measured(model).items():
            after = row["pictures"]
            before = {name: results(model)["folders"][folder]["pictures"][name] for name in after}
            pictures = f"{len(after)} of {folder}"
            rows.append((model.name, pictures, str(row["steps"]), *_cells(before, after)))
    headings = (
        "model", "pictures", "steps", "PSNR-Y", "gain", "LPIPS-RGB", "LR to bicubic LR", "bytes", "takes",
    )  # fmt: skip
    return markdown(headings, rows)


def _cells(before: dict[str, Any], after: dict[str, Any]) -> Sequence[str]:
    def both(key: str, form: str) -> str:
        means = [fmean(values[key] for values in pictures.values()) for pictures in (before, after)]
        return " → ".join(format(mean, form) for mean in means)

    gain = fmean(after[name]["psnr_y"] - before[name]["psnr_y"] for name in after)
    # Seconds of one run alone compare.
    down, up = (fmean(values[f"seconds_{way}"] for values in after.values()) for way in ("down", "up"))
    return (
        f"{both('psnr_y', '.2f')} dB",
        f"{gain:+.2f} dB",
        both("lpips", ".3f"),
        f"{both('lr_psnr', '.2f')} dB",
        both("bytes", ",.0f"),
        f"{down / up:.0f}",
    )
