"""Rate against quality: each method's best points of a set, BD-rate, and bytes at equal quality.

A curve is that of a set's means: of each setting the mean bits per pixel and the mean quality over all
pictures.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bdflow.reproduce.facts import Facts, Family
from bdflow.reproduce.schemas import Row


@dataclass(frozen=True)
class Measure:
    """A measure of quality.

    Attributes:
        name: What tables say.
        remark: What they say besides.
        unit: Of its figures.
        digits: Behind the point.
        sign: -1 where less is better.
    """

    name: str
    remark: str = ""
    unit: str = ""
    digits: int = 4
    sign: int = 1

    @property
    def heading(self) -> str:
        return f"{self.name} {self.remark}".rstrip()

    @property
    def axis(self) -> str:
        return f"{self.heading}, {self.unit}" if self.unit else self.heading


MEASURES = {
    "psnr_y": Measure("PSNR-Y", unit="dB", digits=2),
    "ssim_y": Measure("SSIM-Y"),
    "psnr_rgb": Measure("PSNR-RGB", unit="dB", digits=2),
    "lpips": Measure("LPIPS-RGB", "(less is better)", sign=-1),
    "dists": Measure("DISTS", "(less is better)", sign=-1),
    "ssimulacra2": Measure("SSIMULACRA2", digits=1),
}
PLOTTED = ("psnr_y", "ssim_y", "lpips")
CODECS = ("JPEG", "WebP", "AVIF", "JPEG XL")
OVERLAP = 0.25  # of our range of quality a codec must reach for a BD-rate to mean much
LEVEL = 0.05  # so much more or less of the bytes is called level


@dataclass(frozen=True)
class Point:
    """A setting of a method on a set: bits per pixel, and quality (of LPIPS-RGB its negative)."""

    rate: float
    quality: float
    label: str
    facts: Facts | None = None


def curves(rows: Sequence[Row], name: str, measure: str) -> dict[Family, list[Point]]:
    """The points of each method on a set, by rate; of codecs only those that no other setting beats.

    A setting that was not measured on all of the set's pictures has no point: its mean is of others.

    Args:
        rows: Of `bdflow reproduce curves`.
        name: The set.
        measure: A key of `MEASURES`.
    """
    found: dict[Family, list[Point]] = {}
    every = max((row.count for row in rows if row.set == name), default=0)
    for row in rows:
        if row.set == name and row.count == every and measure in row.mean:
            quality = MEASURES[measure].sign * row.mean[measure]
            point = Point(row.mean["bits_per_pixel"], quality, row.method, row.facts)
            found.setdefault(row.facts.family, []).append(point)
    return {family: best(points) if family.codec else _by_rate(points) for family, points in found.items()}


def of_codecs(found: Mapping[Family, Sequence[Point]]) -> dict[str, Sequence[Point]]:
    """The curves of the codecs, by name, in the order of `CODECS`."""
    named = {family.label: points for family, points in found.items() if family.codec}
    return {codec: named[codec] for codec in CODECS if codec in named}


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
        Percent, below 0 where the test wins; None where either has fewer than two points, or the anchor
        reaches less than `OVERLAP` of the test's range of quality.
    """
    from bjontegaard import bd_rate as delta

    anchor, test = best(anchor), best(test)
    if min(len(anchor), len(test)) < 2 or _overlap(anchor, test) < OVERLAP:
        return None
    columns = [np.array(c) for p in (anchor, test) for c in ([x.rate for x in p], [x.quality for x in p])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of little overlap, of which less is allowed than here
        value = float(delta(*columns, method="pchip", require_matching_points=False, min_overlap=0))
    return None if math.isnan(value) else value


def _overlap(anchor: Sequence[Point], test: Sequence[Point]) -> float:
    """The share of the test's range of quality that the anchor reaches."""
    low, high = test[0].quality, test[-1].quality
    return (min(anchor[-1].quality, high) - max(anchor[0].quality, low)) / (high - low)


class Rate(NamedTuple):
    """Bits per pixel that a curve takes for a quality; `at_most` where its cheapest point is better still."""

    bits: float
    at_most: bool


def rate_at(points: Sequence[Point], quality: float) -> Rate | None:
    """What a curve takes for a quality, by PCHIP of log-rate; None where nothing on it is as good."""
    from scipy.interpolate import PchipInterpolator

    points = best(points)
    if not points or quality > points[-1].quality:
        return None
    if quality <= points[0].quality:
        return Rate(points[0].rate, quality < points[0].quality)
    qualities, rates = [p.quality for p in points], [math.log(p.rate) for p in points]
    return Rate(math.exp(float(PchipInterpolator(qualities, rates)(quality))), False)


class Verdict(NamedTuple):
    """`wins`, `level`, `loses` or `open`; the best rival; our bytes over its bytes, and whether that
    is the least it can be."""

    word: str
    rival: str
    ratio: float
    at_least: bool


def verdict(ours: Point, rivals: Mapping[str, Sequence[Point]]) -> Verdict | None:
    """Who needs the fewest bytes for the quality of our point, and by how much we differ.

    Open is what the cheapest point of a rival leaves so: it restores better, in more bytes than ours.

    Returns:
        None where no rival's curve reaches the quality.
    """
    needed = {name: rate_at(points, ours.quality) for name, points in rivals.items()}
    reached = {name: rate for name, rate in needed.items() if rate is not None}
    if not reached:
        return None
    name = min(reached, key=lambda key: reached[key].bits)
    ratio, at_least = ours.rate / reached[name].bits, reached[name].at_most
    if ratio > 1 + LEVEL:
        word = "loses"
    elif at_least:
        word = "open"
    else:
        word = "wins" if ratio < 1 - LEVEL else "level"
    return Verdict(word, name, ratio, at_least)
