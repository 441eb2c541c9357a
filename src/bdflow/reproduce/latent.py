"""Figure 2: how true high frequencies are spread, and how the Z of trained networks is, against N(0, 0.2)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bdflow.errors import BDFlowError
from bdflow.networks.wavelets import Haar
from bdflow.reproduce.entries import Ours
from bdflow.reproduce.schemas import Latent, LatentFacts
from bdflow.reproduce.sets import Sample
from bdflow.zoo.loading import load_model

EDGES = np.linspace(-2, 2, 161)
SETS = ("portraits/test", "celebahq1024/test", "photos/kodak24")
LIMIT, LIMIT_PIXELS = 30, 512  # of the largest set that it shows, and as much as a gigabyte bears
PRIOR_VARIANCE = 0.2
STEP = 1 / 510  # of the details of 8-bit pictures: sums of four levels, halved


def measure(
    sets: Mapping[str, Sequence[Sample]],
    models: Sequence[Ours],
    known: Sequence[Latent],
    say: Callable[[str], None],
) -> list[Latent]:
    """A histogram for each set: the first Haar level's details of pictures in 0..1, and each network's Z.

    Both stand as they are, and divided by their own spread (`unit`): Figure 2 does not say its scale, and
    details of pictures in 0..1 are far smaller than a variance of 0.2. True details come in steps of 1/510;
    in `unit`, whose bins are no wider, each is spread evenly over its step (uniform dequantization).

    Args:
        sets: The pictures; of each its middle square of at most 512 pixels.
        models: The networks.
        known: Rows of an earlier run; those of the same pictures and weights are not measured again.
        say: Takes lines of progress.
    """
    rows = []
    for name, samples in sets.items():
        sources: list[tuple[str, dict[str, Any], Ours | None]]
        sources = [("true high frequencies", {"step": round(STEP, 6)}, None)]
        sources += [(f"Z of {o.rescaler.model.name}", {"weights": o.facts.weights}, o) for o in models]
        for label, more, ours in sources:
            facts = LatentFacts(source=label, pictures=tuple(s.digest for s in samples), **more)
            row = next((row for row in known if row.facts == facts), None)
            if row is None:
                say(f"figure2 {name}: {label}")
                values = [_values(sample, ours) for sample in samples]
                histogram = _histogram(values, 0 if ours else STEP)
                row = Latent(set=name, method=label, facts=facts, **histogram)
            rows.append(row)
    return rows


def _values(sample: Sample, ours: Ours | None) -> NDArray[np.float32]:
    rgb = sample.read()
    scale = ours.rescaler.model.scale if ours else 2
    height, width = (min(LIMIT_PIXELS, side) // scale * scale for side in rgb.shape[:2])
    if not min(height, width):
        raise BDFlowError(f"{sample.path}: too small for x{scale}")
    top, left = (rgb.shape[0] - height) // 2, (rgb.shape[1] - width) // 2
    cut = rgb[top : top + height, left : left + width]
    x = torch.from_numpy(cut.transpose(2, 0, 1)[None].copy()).float() / 255
    with torch.no_grad():
        z: Tensor = load_model(ours.rescaler.model.folder)(x)[2] if ours else Haar()(x)[:, 3:]
    return z.flatten().numpy()


def _histogram(values: Sequence[NDArray[np.float32]], step: float) -> dict[str, Any]:
    every = np.concatenate(values).astype(np.float64)
    mean, variance = float(every.mean()), float(every.var())
    spread = every + step * (np.random.default_rng(0).random(len(every)) - 0.5) if step else every
    unit = (spread - mean) / max(variance, 1e-12) ** 0.5 * PRIOR_VARIANCE**0.5
    return {
        "count": len(values),
        "mean": {"value": float(f"{mean:.5g}"), "variance": float(f"{variance:.5g}")},
        "spread": {
            "value": float(f"{np.std([v.mean() for v in values]):.5g}"),
            "variance": float(f"{np.std([v.var() for v in values]):.5g}"),
        },
        "kurtosis": float(f"{((every - mean) ** 4).mean() / max(variance, 1e-12) ** 2:.5g}"),
        "outside": float(f"{(np.abs(every) > EDGES[-1]).mean():.5g}"),
        "histogram": _density(every),
        "unit": _density(unit),
    }


def _density(values: NDArray[np.float64]) -> list[float]:
    counts, _ = np.histogram(values, EDGES)
    density = counts / (len(values) * (EDGES[1] - EDGES[0]))
    return [float(f"{d:.4g}") for d in density]
