"""What to write into as many bytes, tried on held-out training pictures: results/NAME.json for each NAME.

Usage: BDFLOW_DATA=DIR python scripts/small_file_studies.py look         (half an hour of a core)
       BDFLOW_DATA=DIR python scripts/small_file_studies.py shrinking    (ten minutes)
       BDFLOW_DATA=DIR python scripts/small_file_studies.py search       (five minutes)

look: each factor, by AVIF tuned for PSNR and for the eye, at two qualities about each number of bytes;
restored by restoration-look. LPIPS on AlexNet and DISTS are taken between the two, by the logarithm of the
bytes. Beside them stands the PSNR of what restoration-fidelity restores, by which files are chosen.

shrinking: other thumbnails than Lanczos': other filters, sharpened, with blurred colour, and moved by a part
of what the restored picture lacks. BD-rate against Lanczos at the same factor, restored by
restoration-fidelity.

search: files of the default effort, where one kind of file is made, the one that seems best, and where
several are and the best is kept. PSNR, and seconds of the processor.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from bdflow import fitting
from bdflow.fitting.candidates import Candidates
from bdflow.fitting.estimate import measured
from bdflow.fitting.rates import Rates
from bdflow.pictures import codecs, reader
from bdflow.pictures.reader import Array, Picture
from bdflow.quality.dists import DISTS
from bdflow.quality.lpips import LPIPS
from bdflow.reproduce.curves import Point, bd_rate
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import Enhancer, continued, shrunk
from bdflow.smallfile.thumbnail import FACTORS, Domain
from bdflow.system.environment import environment
from bdflow.system.files import write_bytes
from bdflow.zoo import find_restoration

RESULTS = Path(__file__).parent.parent / "results"
HELD_OUT = {"portraits": (7, 367, 607), "photos": (7, 47, 127, 247)}  # as `bdflow.train.pairs` holds them out
SIDE = 512
EFFORT = 4  # of AVIF, which is quick, and costs every variant some bytes
RATES: Mapping[Domain, tuple[float, ...]] = {"portraits": (0.01, 0.03, 0.08), "photos": (0.06, 0.15, 0.4)}
TUNED = {codec.tuning: replace(codec, effort=EFFORT) for codec in (codecs.AVIF, codecs.AVIF_FOR_EYE)}
QUALITIES = {
    2: (25, 35, 45, 60),
    4: (40, 52, 64, 78),
}  # in the study of shrinking, by factor


def pictures(data: Path) -> Iterator[tuple[Domain, str, Picture]]:
    """The middles of held-out pictures."""
    for domain, numbers in HELD_OUT.items():
        paths = sorted((data / domain / "train").iterdir())
        for number in numbers:
            rgb = reader.read(paths[number]).rgb
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


def look(data: Path) -> Iterator[dict[str, Any]]:
    """LPIPS, DISTS and PSNR by picture, rate, tuning and factor."""
    closest, shown = (
        Enhancer(find_restoration(purpose), Computing(threads=1)) for purpose in ("fidelity", "look")
    )
    eye = Eye()
    for domain, name, picture in pictures(data):
        for tuning, codec in TUNED.items():
            files, rates = Candidates(picture, closest, codec), Rates(picture, codec, codec)
            for rate in RATES[domain]:
                budget = round(rate * picture.width * picture.height / 8)
                for factor in FACTORS:
                    likely = 0.2 < factor * math.sqrt(rate) < 1.6
                    if not likely or (steps := rates.around(factor, budget)) is None:
                        continue
                    seen = []
                    for step in steps:
                        small = files.thumbnail(factor, rates.file(codec, factor, step), domain)
                        psnr = measured(picture.rgb, closest.rgb_strips(small)).mean
                        values = {"psnr": psnr, **eye(picture.rgb, shown.rgb(small))}
                        seen.append({"bytes": len(small.data), **values})
                    where = {"picture": name, "domain": domain, "tuning": tuning, "rate": rate}
                    yield {**where, "factor": factor, **between(seen, budget)}


def between(seen: list[dict[str, float]], budget: float) -> dict[str, float]:
    """What a file of just so many bytes would have, from two near it."""
    a, b = seen
    part = (
        math.log(budget / a["bytes"]) / math.log(b["bytes"] / a["bytes"]) if a["bytes"] != b["bytes"] else 0
    )
    return {key: round(a[key] + part * (b[key] - a[key]), 4) for key in a if key != "bytes"}


def filtered(filter: Image.Resampling) -> Callable[[Picture, float], Array]:
    def shrink(picture: Picture, factor: float) -> Array:
        whole = continued(picture, int(factor))
        size = int(whole.width / factor), int(whole.height / factor)
        return np.array(Image.fromarray(whole.rgb).resize(size, filter))

    return shrink


def lanczos(picture: Picture, factor: float) -> Array:
    return shrunk(picture, factor).rgb


def sharpened(picture: Picture, factor: float) -> Array:
    sharp = ImageFilter.UnsharpMask(radius=1, percent=30, threshold=0)
    return np.array(Image.fromarray(lanczos(picture, factor)).filter(sharp))


def blurred_colour(picture: Picture, factor: float) -> Array:
    luma, *colour = Image.fromarray(lanczos(picture, factor)).convert("YCbCr").split()
    blurred = [each.filter(ImageFilter.GaussianBlur(1)) for each in colour]
    return np.array(Image.merge("YCbCr", (luma, *blurred)).convert("RGB"))


SHRINKING: Mapping[str, Callable[[Picture, float], Array]] = {
    "Lanczos": lanczos,
    "bicubic": filtered(Image.Resampling.BICUBIC),
    "Hamming": filtered(Image.Resampling.HAMMING),
    "Lanczos, sharpened by 30 %": sharpened,
    "Lanczos, colour blurred by a pixel": blurred_colour,
}
FINALISTS = (1, 3)  # the second is the default
MOVED = (0.1, 0.3)  # parts of what the restored picture lacks, shrunk


def shrinking(data: Path) -> Iterator[dict[str, Any]]:
    """BD-rate of other thumbnails against Lanczos', by picture and factor."""
    enhancer = Enhancer(find_restoration(), Computing(threads=1))
    for domain, name, picture in pictures(data):
        for factor in QUALITIES:
            curves = shrunk_otherwise(picture, factor, domain, enhancer)
            for variant, points in curves.items():
                y, rgb = (bd_rate(*sides) for sides in zip(curves["Lanczos"], points, strict=True))
                where = {"picture": name, "domain": domain, "factor": factor}
                yield {**where, "variant": variant, "y": y, "rgb": rgb}


Curves = tuple[list[Point], list[Point]]  # by PSNR-Y and by PSNR-RGB, both over bytes


def shrunk_otherwise(
    picture: Picture, factor: float, domain: Domain, enhancer: Enhancer
) -> Mapping[str, Curves]:
    """What each thumbnail of a picture takes and restores to."""
    codec, qualities = TUNED["psnr"], QUALITIES[factor]
    files = Candidates(picture, enhancer, codec)
    curves: dict[str, Curves] = {}

    def add(variant: str, thumbnail: Array, quality: int) -> Array:
        small = files.thumbnail(factor, codec.encode(Image.fromarray(thumbnail), quality), domain)
        restored = enhancer.rgb(small)
        for points, psnr in zip(
            curves.setdefault(variant, ([], [])), measured(picture.rgb, [restored]), strict=True
        ):
            points.append(Point(len(small.data), psnr, variant))
        return restored

    for quality in qualities:
        restored = {name: add(name, shrink(picture, factor), quality) for name, shrink in SHRINKING.items()}
        for part in MOVED:
            closer = moved(lanczos(picture, factor), picture.rgb, restored["Lanczos"], part)
            add(f"Lanczos, moved by {part:g} of what is lacking", closer, quality)
    return curves


def search(data: Path) -> Iterator[dict[str, Any]]:
    """PSNR and seconds by picture, rate and number of kinds of file that are made."""
    enhancer, usual = Enhancer(find_restoration(), Computing(threads=1)), fitting.EFFORTS["medium"]
    for domain, name, picture in pictures(data):
        for rate in RATES[domain]:
            for finalists in FINALISTS:
                fitting.EFFORTS["medium"] = replace(usual, finalists=finalists)
                start = time.process_time()
                fitted = fitting.fit(picture, enhancer, fitting.Goal(bits_per_pixel=rate))
                seconds = time.process_time() - start
                where = {"picture": name, "domain": domain, "rate": rate, "finalists": finalists}
                yield {**where, "psnr": round(fitted.psnr, 4), "seconds": round(seconds, 2)}
    fitting.EFFORTS["medium"] = usual


def moved(thumbnail: Array, true: Array, restored: Array, part: float) -> Array:
    """A thumbnail and a part of what its restored picture lacks, shrunk."""
    size = thumbnail.shape[1], thumbnail.shape[0]
    lacking = np.dstack([
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS))
        for plane in np.moveaxis(true.astype(np.float32) - restored, 2, 0)
    ])  # fmt: skip
    return np.clip(np.round(thumbnail + part * lacking), 0, 255).astype(np.uint8)


def main() -> None:
    data, study = Path(os.environ["BDFLOW_DATA"]), sys.argv[1]
    rows = []
    for row in {"look": look, "shrinking": shrinking, "search": search}[study](data):
        print(row, flush=True)
        rows.append(row)
    document = {
        "command": f"python scripts/small_file_studies.py {study}",
        "weights": {
            purpose: find_restoration(purpose).weights_sha256[:16] for purpose in ("fidelity", "look")
        },
        "settings": {"side": SIDE, "effort": EFFORT, "rates": RATES, "qualities": QUALITIES},
        "rows": rows,
        "environment": environment(),
    }
    write_bytes(RESULTS / f"{study}.json", (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)


if __name__ == "__main__":
    main()
