"""What restoration networks save: picture by picture, our files against the best of all codecs' files."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from bdflow.evaluation.grid import Grid
from bdflow.reproduce.curves import MEASURES, Point, bd_rate, best, rate_at
from bdflow.reproduce.facts import Coded, Fitted
from bdflow.reproduce.schemas import Results, Row

COMPARED = ("psnr_y", "psnr_rgb")  # picture by picture
BESIDE = ("lpips", "dists", "ssimulacra2")  # in as many bytes
MOST = 2.0  # bits per pixel: up to so many, a rival may reach our LPIPS


def marks(results: Results) -> list[Grid]:
    """Bytes for equal PSNR and for equal LPIPS, and what the eye sees in as many, by set and network."""
    psnr = Grid(
        "More bytes (+) or fewer (-) than the best codec's for equal PSNR: BD-rate picture by picture",
        ("set", "network", "measure", "mean", "worst picture", "bits per pixel", "pictures"),
    )
    eye = Grid(
        "Bytes for equal LPIPS-RGB: ours over the best codec's (below 1: ours are fewer)",
        ("set", "network", "geometric mean", "cases", "no codec gets there", "a codec needs less still"),
    )
    equal = Grid(
        "In as many bytes: restored by a network, and the best codec's (means)",
        ("set", "network", "measure", "restored", "codec", "better on", "cases"),
    )
    for name, rows in results.by_set():
        for model in models(rows):
            for measure in COMPARED:
                title = MEASURES[measure].name
                if of_set := saving(rows, model, measure):
                    psnr.rows.append((
                        name, model, title, f"{of_set.mean:+.1f} %", f"{of_set.worst:+.1f} %",
                        f"{of_set.low:.4f} to {of_set.high:.3f}", str(of_set.count),
                    ))  # fmt: skip
                    if of_set.apart:
                        apart = f"{name}, {model}, {title}: curves too far apart on {of_set.apart} pictures."
                        psnr.notes.append(apart)
            if found := share(rows, model):
                counts = str(found.cases), str(found.beyond), str(found.at_most)
                eye.rows.append((name, model, f"{found.mean:.2f}", *counts))
            for measure in BESIDE:
                if pair := beside(rows, model, measure):
                    known = MEASURES[measure]
                    means = (f"{mean:.{known.digits}f}" for mean in (pair.ours, pair.codec))
                    equal.rows.append((name, model, known.heading, *means, str(pair.better), str(pair.cases)))
    psnr.notes.append(
        "The codecs stand for one curve, the best of them at each quality: AVIF tuned for PSNR, below 0.04"
        " bits per pixel WebP and above it JPEG in just as many bytes as ours, each free to shrink the"
        " picture by 1.5 to 16 with our header, found by the same search; where LPIPS is compared, also JPEG"
        " XL, AVIF for the eye and many more settings. Pictures are compared one by one."
    )
    eye.notes.append(
        f"A case is a picture at one of our rates. No codec gets there: none of its files of up to {MOST:g}"
        " bits per pixel is as good. A codec needs less still: its least file is better than ours."
    )
    equal.notes.append(
        "A case is a picture at one of our rates; of codecs the one counts that is best there, each free to"
        " shrink: AVIF tuned for PSNR and for the eye, and WebP or JPEG."
    )
    return [psnr, eye, equal]


@dataclass(frozen=True)
class Saving:
    """Bytes of a set's files for equal PSNR, against the best codec's, picture by picture.

    Attributes:
        mean, worst: BD-rate in percent, below 0 where ours are fewer.
        low, high: Mean bits per pixel of our least and our largest files, between which it is taken.
        count: Pictures.
        apart: Pictures whose curves share too little quality to be compared.
    """

    mean: float
    worst: float
    low: float
    high: float
    count: int
    apart: int


def models(rows: Sequence[Row]) -> list[str]:
    """The restoration networks that were measured."""
    return list(dict.fromkeys(row.facts.model for row in rows if isinstance(row.facts, Fitted)))


def saving(rows: Sequence[Row], model: str, measure: str) -> Saving | None:
    """The BD-rate of a network's files on a set against all codecs' files; None where there are none.

    Args:
        rows: Of one set, of `bdflow reproduce marks`.
        model: The network.
        measure: One of `COMPARED`.
    """
    rates, spans, apart = [], [], 0
    for ours, rivals in _pictures(rows, model, measure):
        rate = bd_rate(rivals, ours)
        if rate is None:
            apart += 1
            continue
        rates.append(rate)
        spans.append((ours[0].rate, ours[-1].rate))
    if not rates:
        return None
    low, high = (fmean(ends) for ends in zip(*spans, strict=True))
    return Saving(fmean(rates), max(rates), low, high, len(rates), apart)


@dataclass(frozen=True)
class Share:
    """Our bytes over the best codec's for equal LPIPS-RGB, over all pictures and rates of a set.

    Attributes:
        mean: Geometric; of the cases in which a codec gets there with `MOST` bits per pixel or fewer.
        cases: Those.
        beyond: Cases in which none does.
        at_most: Those of `cases` in which the least file of a codec is better still: there it is more.
    """

    mean: float
    cases: int
    beyond: int
    at_most: int


def share(rows: Sequence[Row], model: str) -> Share | None:
    """How many of the best codec's bytes a network's files take for equal LPIPS-RGB; None without LPIPS."""
    ratios, beyond, at_most = [], 0, 0
    for ours, rivals in _pictures(rows, model, "lpips"):
        reached = [point for point in rivals if point.rate <= MOST]
        for point in ours:
            rate = rate_at(reached, point.quality)
            if rate is None:
                beyond += 1
                continue
            at_most += rate.at_most
            ratios.append(point.rate / rate.bits)
    if not ratios:
        return None
    return Share(math.exp(fmean(map(math.log, ratios))), len(ratios), beyond, at_most)


@dataclass(frozen=True)
class Beside:
    """Means over all pictures and rates of a set, of files in as many bytes.

    Attributes:
        ours: What a network restores.
        codec: The best codec's, case by case.
        better: Cases in which ours are better.
        cases: All.
    """

    ours: float
    codec: float
    better: int
    cases: int


def beside(rows: Sequence[Row], model: str, measure: str) -> Beside | None:
    """A network's files beside those that codecs were fitted into as many bytes; None without such.

    Args:
        rows: Of one set.
        model: The network.
        measure: One of `BESIDE`.
    """
    ours: dict[tuple[object, ...], float] = {}
    codecs: dict[tuple[object, ...], float] = {}
    sign = MEASURES[measure].sign
    for row in rows:
        facts = row.facts
        by_network = isinstance(facts, Fitted) and facts.model == model
        by_codec = isinstance(facts, Coded) and facts.factors is not None
        if measure not in row.measures or not (by_network or by_codec):
            continue
        assert isinstance(facts, Fitted | Coded)
        for picture in row.pictures:
            case, value = (picture, facts.bits_per_pixel, facts.count), row.values(picture)[measure]
            if by_network:
                ours[case] = value
            else:
                codecs[case] = sign * max(sign * value, sign * codecs.get(case, -sign * math.inf))
    cases = ours.keys() & codecs.keys()
    if not cases:
        return None
    better = sum(sign * ours[case] > sign * codecs[case] for case in cases)
    mine, theirs = (fmean(values[case] for case in cases) for values in (ours, codecs))
    return Beside(mine, theirs, better, len(cases))


def _pictures(rows: Sequence[Row], model: str, measure: str) -> Iterator[tuple[list[Point], list[Point]]]:
    """Of each picture, the hull of a network's points and that of all codecs'."""
    measured = [row for row in rows if measure in row.measures]
    ours = [row for row in measured if isinstance(row.facts, Fitted) and row.facts.model == model]
    rivals = [row for row in measured if isinstance(row.facts, Coded)]
    for picture in dict.fromkeys(name for row in ours for name in row.pictures):
        yield hull(_points(ours, picture, measure)), hull(_points(rivals, picture, measure))


def hull(points: Sequence[Point]) -> list[Point]:
    """The points that no mixture of two others beats: those on the curve of quality over rate, from above."""
    kept: list[Point] = []
    for point in best(points):
        while len(kept) > 1 and _slope(kept[-2], kept[-1]) <= _slope(kept[-2], point):
            kept.pop()
        kept.append(point)
    return kept


def _slope(a: Point, b: Point) -> float:
    return (b.quality - a.quality) / (b.rate - a.rate)


def _points(rows: Sequence[Row], picture: str, measure: str) -> list[Point]:
    points = []
    for row in rows:
        if picture in row.pictures:
            values = row.values(picture)
            quality = MEASURES[measure].sign * values[measure]
            points.append(Point(values["bits_per_pixel"], quality, row.method))
    return points
