"""Rate against quality: each method's best points of a set, BD-rate, and bytes at equal quality.

A curve is that of a set's means: of each setting the mean bits a pixel and the mean quality over all pictures
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MEASURES = {"psnr_y": "PSNR-Y, dB", "ssim_y": "SSIM-Y", "lpips": "LPIPS (less is better)"}
CODECS = ("JPEG", "WebP", "AVIF", "JPEG XL")
LEVEL = 0.05  # so much more or less of the bytes is called level


@dataclass(frozen=True)
class Point:
    """A setting of a method on a set: bits a pixel, and quality (of LPIPS the negative: more is better)."""

    rate: float
    quality: float
    label: str


def curves(rows: Sequence[Mapping[str, Any]], name: str, measure: str) -> dict[str, list[Point]]:
    """The points of each method on a set, by rate; of codecs only those that no other setting beats.

    A setting that was not measured on all of the set's pictures has no point: its mean is of others.

    Args:
        rows: Of a results file of `bdflow reproduce curves`.
        name: The set.
        measure: A key of `MEASURES`.
    """
    found: dict[str, list[Point]] = {}
    every = max((row["count"] for row in rows if row["set"] == name), default=0)
    for row in rows:
        if row["set"] == name and row["count"] == every and measure in row["mean"]:
            quality = row["mean"][measure] * (-1 if measure == "lpips" else 1)
            point = Point(row["mean"]["bits_per_pixel"], quality, row["method"])
            found.setdefault(family(row["facts"]), []).append(point)
    return {
        method: best(points) if method in CODECS else _by_rate(points) for method, points in found.items()
    }


def family(facts: Mapping[str, Any]) -> str:
    """Whose curve a row is a point of: ``bdflow portraits`` of model portraits-x8."""
    match facts["kind"]:
        case "bdflow":
            return f"bdflow {facts['model'].rpartition('-x')[0] or facts['model']}"
        case "codec":
            return str(facts["codec"])
        case "resampled":
            return f"{facts['filter']}, PNG"
        case "pca":
            return "PCA"
        case _:
            return str(facts["name"]).rpartition("-x")[0] or str(facts["name"])


def best(points: Sequence[Point]) -> list[Point]:
    """Those that restore better than every cheaper one, by rate."""
    kept: list[Point] = []
    for point in _by_rate(points):
        if not kept or point.quality > kept[-1].quality:
            kept.append(point)
    return kept


def _by_rate(points: Sequence[Point]) -> list[Point]:
    return sorted(points, key=lambda point: (point.rate, -point.quality))


def bd_rate(anchor: Sequence[Point], test: Sequence[Point]) -> float | None:
    """How many percent more bytes the test's curve takes for equal quality, on average over what both reach.

    Bjontegaard's delta with piecewise cubic (PCHIP) interpolation of log-rate over quality, by the package
    bjontegaard.

    Returns:
        Percent, below 0 where the test wins; None where either has fewer than two points or both do not
        overlap.
    """
    from bjontegaard import bd_rate as delta

    anchor, test = best(anchor), best(test)
    if min(len(anchor), len(test)) < 2 or not _overlap(anchor, test):
        return None
    columns = [np.array(c) for p in (anchor, test) for c in ([x.rate for x in p], [x.quality for x in p])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of little overlap; the page says what overlaps
        value = float(delta(*columns, method="pchip", require_matching_points=False, min_overlap=0))
    return None if math.isnan(value) else value


def _overlap(a: Sequence[Point], b: Sequence[Point]) -> bool:
    return max(a[0].quality, b[0].quality) < min(a[-1].quality, b[-1].quality)


def rate_at(points: Sequence[Point], quality: float) -> float | None:
    """Bits a pixel that a curve takes for a quality, by PCHIP of log-rate.

    Its cheapest point answers for all that is worse; None where nothing on it is as good.
    """
    from scipy.interpolate import PchipInterpolator

    points = best(points)
    if not points or quality > points[-1].quality:
        return None
    if quality <= points[0].quality:
        return points[0].rate
    qualities, rates = [p.quality for p in points], [math.log(p.rate) for p in points]
    return math.exp(float(PchipInterpolator(qualities, rates)(quality)))


def verdict(ours: Point, rivals: Mapping[str, Sequence[Point]]) -> tuple[str, str, float] | None:
    """Who needs the fewest bytes for the quality of our point, and by how much we differ.

    Returns:
        ``wins``, ``level`` or ``loses``; the best rival; and our bytes over its bytes. None where no rival's
        curve reaches the quality.
    """
    needed = {name: rate_at(points, ours.quality) for name, points in rivals.items()}
    reached = {name: rate for name, rate in needed.items() if rate is not None}
    if not reached:
        return None
    name = min(reached, key=lambda key: reached[key])
    ratio = ours.rate / reached[name]
    word = "level" if abs(ratio - 1) <= LEVEL else "wins" if ratio < 1 else "loses"
    return word, name, ratio
