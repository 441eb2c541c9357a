"""Which file to write for the eye, in as many bytes: write results/look-rule.json.

Usage: BDFLOW_DATA=DIR python scripts/look_rule.py     (half an hour of a core)

Held-out training pictures are coded at every factor, by AVIF tuned for PSNR and for the eye, at two
qualities about each number of bytes, and restored by restoration-look. LPIPS on AlexNet and DISTS are
taken between the two, by the logarithm of the bytes. Beside each factor stands its distance, in steps of
the list of factors, from the one that PSNR chooses.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bdflow import codecs, images
from bdflow.enhancer import Enhancer
from bdflow.environment import environment
from bdflow.files import write_bytes
from bdflow.fitting.candidates import Candidates
from bdflow.fitting.rates import Rates
from bdflow.images import Array, Picture
from bdflow.metrics import psnr, psnr_y
from bdflow.quality.dists import DISTS
from bdflow.quality.lpips import LPIPS
from bdflow.smallfile.thumbnail import FACTORS, Domain
from bdflow.zoo import find_restoration

RESULTS = Path(__file__).parent.parent / "results" / "look-rule.json"
EFFORT = 4  # of AVIF: both tunings lose by it
RATES: dict[Domain, tuple[float, ...]] = {"portraits": (0.01, 0.03, 0.08), "photos": (0.06, 0.15, 0.4)}
HELD_OUT = {"portraits": (7, 367, 607), "photos": (7, 47, 127, 247)}  # as `bdflow.train.pairs` holds them out
SIDE = 512
CODECS = {tuning.tuning: replace(tuning, effort=EFFORT) for tuning in (codecs.AVIF, codecs.AVIF_FOR_EYE)}


def pictures(data: Path) -> Iterator[tuple[Domain, str, Picture]]:
    """The middles of held-out pictures."""
    for domain, numbers in HELD_OUT.items():
        paths = sorted((data / domain / "train").iterdir())
        for number in numbers:
            rgb = images.read(paths[number]).rgb
            top, left = (max(0, each - SIDE) // 2 for each in rgb.shape[:2])
            middle = np.ascontiguousarray(rgb[top : top + SIDE, left : left + SIDE])
            yield domain, paths[number].name, Picture(middle)  # type: ignore[misc]


class Eye:
    """LPIPS and DISTS of restored pictures."""

    def __init__(self) -> None:
        self.lpips, self.dists = LPIPS().eval(), DISTS().eval()

    @torch.inference_mode()
    def __call__(self, true: Array, restored: Array) -> dict[str, float]:
        a, b = (
            torch.from_numpy(each.transpose(2, 0, 1)[None].astype(np.float32) / 255)
            for each in (true, restored)
        )
        return {"lpips": float(self.lpips(a, b)), "dists": float(self.dists(a, b))}


def main() -> None:
    data, rows = Path(os.environ["BDFLOW_DATA"]), []
    fidelity, look = (Enhancer(find_restoration(purpose), threads=1) for purpose in ("fidelity", "look"))
    eye = Eye()
    for domain, name, picture in pictures(data):
        pixels = picture.width * picture.height
        for tuning, codec in CODECS.items():
            files, rates = Candidates(picture, look, codec), Rates(picture, codec, codec)
            for rate in RATES[domain]:
                budget = round(rate * pixels / 8)
                for factor in FACTORS:
                    if (
                        not 0.2 < factor * math.sqrt(rate) < 1.6
                        or (steps := rates.around(factor, budget)) is None
                    ):
                        continue
                    seen = []
                    for step in steps:
                        small = files.thumbnail(factor, rates.file(codec, factor, step), domain)
                        closest, shown = fidelity.rgb(small), look.rgb(small)
                        mean = (psnr_y(picture.rgb, closest) + psnr(picture.rgb, closest)) / 2
                        seen.append({"bytes": len(small.data), "psnr": mean, **eye(picture.rgb, shown)})
                    rows.append(
                        {
                            "picture": name,
                            "domain": domain,
                            "tuning": tuning,
                            "rate": rate,
                            "factor": factor,
                            **between(seen, budget),
                        }
                    )
                    print(rows[-1], flush=True)
    made = {
        "command": "python scripts/look_rule.py",
        "weights": {each.model.name: each.model.weights_sha256[:16] for each in (fidelity, look)},
        "settings": {"rates": RATES, "effort": EFFORT, "side": SIDE},
        "rows": rows,
        "environment": environment(),
    }
    write_bytes(RESULTS, (json.dumps(made, indent=1) + "\n").encode(), overwrite=True)


def between(seen: list[dict[str, float]], budget: float) -> dict[str, Any]:
    """What a file of just so many bytes would have, from two near it."""
    a, b = seen
    if a["bytes"] == b["bytes"]:
        return {key: a[key] for key in a if key != "bytes"}
    part = math.log(budget / a["bytes"]) / math.log(b["bytes"] / a["bytes"])
    return {key: round(a[key] + part * (b[key] - a[key]), 4) for key in a if key != "bytes"}


if __name__ == "__main__":
    main()
