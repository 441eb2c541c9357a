"""A photograph into so many bytes: the factor, quality and domain that restore it best, found by trying."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageCms, features

from bdflow.errors import BDFlowError
from bdflow.fitting.candidates import Candidates, Fitted, best
from bdflow.fitting.estimate import excerpt
from bdflow.fitting.rates import encode
from bdflow.fitting.search import Effort, Prospect, Search, TooFewBytesError
from bdflow.pictures import codecs
from bdflow.pictures.codecs import Codec
from bdflow.pictures.reader import Picture
from bdflow.pictures.transparency import spread
from bdflow.runtime.enhancer import Enhancer
from bdflow.smallfile.thumbnail import DOMAINS, Domain
from bdflow.zoo import PURPOSES, Purpose

CODECS = {"AVIF": codecs.AVIF, "WebP": codecs.WEBP, "JPEG": codecs.JPEG}
"""The codecs by format."""

BEST = "best"
"""Stands for the format that restores best."""

EFFORTS = {
    "low": Effort(avif=(-3,), slack=0.15, every_domain=False, margin=0, finalists=1),
    "medium": Effort(avif=(0,), slack=0.25, every_domain=False, margin=0.25, finalists=3, pixels=1.2e6),
    "high": Effort(avif=(0, 1), slack=1.5, every_domain=True, margin=0.6, finalists=100, whole=True),
}
"""What each effort tries."""

EffortName: TypeAlias = Literal["low", "medium", "high"]
"""How much is tried."""

_NETWORKS: Sequence[Domain] = ("portraits", "photos")
_DEFAULT_QUALITY = 75
_LARGE = 8e6  # pixels
_RIVALRY = 0.7  # dB by which a codec may seem worse than another before its file is made


@dataclass(frozen=True)
class Goal:
    """Which file of a photograph is asked for.

    Attributes:
        max_bytes: Bytes that the file may have, everything counted, the picture's metadata, too.
        bits_per_pixel: The same, in bits for each pixel of the photograph.
        quality: In place of both: the codec's quality, at full size. Without any of the three it is 75.
        format: "AVIF", "WebP" or "JPEG"; or "best", of those that can hold the picture the one that restores
            best in the bytes.
        domain: What the network takes the photograph for; None tries all, and no network as well.
        effort: "low", "medium" or "high": how much is tried.
        purpose: What the file will be restored for; "look" takes a file that is better for the eye in place
            of the one with the highest PSNR.

    Raises:
        BDFlowError: There is no such format, domain, quality, effort or purpose; or two of the bytes, the
            bits and the quality are given, or a quality of no one format.
    """

    max_bytes: int | None = None
    bits_per_pixel: float | None = None
    quality: int | None = None
    format: str = "AVIF"
    domain: Domain | None = None
    effort: EffortName = "medium"
    purpose: Purpose = "fidelity"

    def __post_init__(self) -> None:
        for what, name, choices in (
            ("format", self.format, (*CODECS, BEST)),
            ("domain", DOMAINS[0] if self.domain is None else self.domain, DOMAINS),
            ("effort", self.effort, tuple(EFFORTS)),
            ("purpose", self.purpose, PURPOSES),
        ):
            if name not in choices:
                of = " for thumbnails" if what == "format" else ""
                raise BDFlowError(f"no {what} {name!r}{of}: choose one of {', '.join(choices)}")
        if self.max_bytes is not None and self.bits_per_pixel is not None:
            raise BDFlowError("bytes and bits per pixel: name one of them")
        for what, rate in (("a budget", self.max_bytes), ("bits per pixel", self.bits_per_pixel)):
            if rate is None:
                continue
            if not 0 < rate < math.inf:  # not so of nan
                raise BDFlowError(f"{what} of {rate:,}: name a number above 0")
            if self.quality is not None:
                raise BDFlowError("bytes and a quality: name one of them")
        if self.max_bytes is None and self.bits_per_pixel is None and self.format == BEST:
            raise BDFlowError("formats are compared in as many bytes: name a number of these, or one format")
        if self.quality is not None:
            low, high = CODECS[self.format].qualities
            if not low <= self.quality <= high:
                raise BDFlowError(f"the quality of {self.format} is {low} to {high}, not {self.quality}")

    def bytes_of(self, picture: Picture) -> int | None:
        """Bytes that the file of a picture may have; None where a quality decides."""
        if self.bits_per_pixel is None:
            return self.max_bytes
        return max(1, int(self.bits_per_pixel * picture.width * picture.height / 8))


def fit(picture: Picture, enhancer: Enhancer, goal: Goal) -> Fitted:
    """The small file that restores with the highest PSNR, the mean of that on luma and that on RGB.

    Args:
        picture: The photograph.
        enhancer: What restores it.
        goal: Which file is asked for.

    Returns:
        The file; where the codec alone restores better at full size, its own file.

    Raises:
        BDFlowError: The format cannot hold the picture, or not in so few bytes.
    """
    picture = spread(in_srgb(picture))
    budget, domain = goal.bytes_of(picture), goal.domain
    chosen = _codecs(goal, picture)
    networks = _NETWORKS if domain is None else [domain] if domain != "plain" else []
    if budget is None:
        quality, codec = _DEFAULT_QUALITY if goal.quality is None else goal.quality, chosen[-1]
        if codec.name == "AVIF" and goal.purpose == "look":
            codec = replace(codec, tuning=codecs.AVIF_FOR_EYE.tuning)
        return _at_quality(picture, enhancer, codec, quality, networks)
    settings, pixels = EFFORTS[goal.effort], picture.width * picture.height
    sample = excerpt(picture) if pixels > _LARGE and not settings.whole else None
    searches = []
    for codec in chosen:
        scout = None
        if sample:
            share = sample.width * sample.height / pixels
            scout = Search(sample, enhancer, codec, networks, max(1, round(budget * share)), settings)
        searches.append(Search(picture, enhancer, codec, networks, budget, settings, scout))
    return _settled(searches, goal.purpose)


def _codecs(goal: Goal, picture: Picture) -> list[Codec]:
    """Those of the format, with the effort; of the best format, those that can hold the picture here."""
    names = [goal.format]
    if goal.format == BEST:
        names = [name for name, codec in CODECS.items() if codec.format.alpha or picture.alpha is None]
        names = [name for name in names if name != "AVIF" or features.check("avif")]
    elif picture.alpha is not None and not CODECS[goal.format].format.alpha:
        raise BDFlowError(f"{goal.format} cannot hold transparency: write AVIF or WebP")
    chosen = []
    for codec in map(CODECS.__getitem__, names):
        if codec.name == "AVIF" and codec.effort is not None:
            efforts = [max(0, codec.effort + difference) for difference in EFFORTS[goal.effort].avif]
            chosen += [replace(codec, effort=effort) for effort in efforts]
        else:
            chosen.append(codec)
    return chosen


def _at_quality(
    picture: Picture, enhancer: Enhancer, codec: Codec, quality: int, networks: Sequence[Domain]
) -> Fitted:
    """At full size and a given quality; the codec's own file where that restores no worse."""
    files = Candidates(picture, enhancer, codec)
    if 1 not in files.factors:
        raise BDFlowError(
            f"{codec.name} cannot hold this {picture.width}x{picture.height} picture at full size: a side has"
            f" at most {files.longest_side:,} pixels; name a number of bytes instead"
        )
    coded = encode(codec, picture.to_pil(), quality)
    restored = [files.with_payload(1, coded, quality, network) for network in networks]
    return best(restored, files.own(coded, quality))


def _settled(searches: Sequence[Search], purpose: Purpose) -> Fitted:
    """The best file of several codecs.

    Raises:
        TooFewBytesError: None fits.
    """
    prospects: list[list[Prospect]] = []
    start, beat = None, -math.inf
    for search in searches:
        own_prospects = search.prospects(start, beat)
        if own_prospects and start is None:
            enlarged = [prospect for prospect in own_prospects if prospect.domain == "plain"]
            plain = max(enlarged, key=lambda prospect: prospect.mean)
            start, beat = plain.factor, plain.mean
        prospects.append(own_prospects)
    highest = max((own_prospects[0].mean for own_prospects in prospects if own_prospects), default=-math.inf)
    candidates, errors = [], []
    for search, own_prospects in zip(searches, prospects, strict=True):
        if (own_prospects[0].mean if own_prospects else -math.inf) >= highest - _RIVALRY:
            try:
                settle = search.settle if purpose == "fidelity" else search.settle_for_look
                candidates.append(settle(own_prospects))
            except TooFewBytesError as error:
                errors.append(error)
    if not candidates:
        raise min(errors, key=lambda error: error.least)
    return best(candidates)


def in_srgb(picture: Picture) -> Picture:
    """A picture whose samples mean sRGB, without a profile, and a note where they were changed."""
    if not picture.icc:
        return picture
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
        image = Image.fromarray(picture.rgb)
        if picture.gray and profile.profile.xcolor_space.strip() == "GRAY":
            image = image.convert("L")
        converted = ImageCms.profileToProfile(
            image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return replace(picture, icc=None, notes=(*picture.notes, "its unreadable colour profile was dropped"))
    assert converted is not None
    if picture.gray:  # a level of tint may come of rounding
        converted = converted.convert("L").convert("RGB")
    rgb = np.array(converted)
    changed = "its profile dropped"
    if not np.array_equal(rgb, picture.rgb):
        changed = "colours converted to sRGB, the profile dropped"
    return replace(picture, rgb=rgb, icc=None, notes=(*picture.notes, changed))
