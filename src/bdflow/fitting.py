"""A photograph into so many bytes: the factor, quality and domain that restore it best, found by trying."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageCms

from bdflow import codecs, images
from bdflow.codecs import AVIF, Codec
from bdflow.enhancer import Enhancer, enlarged, shrunk
from bdflow.errors import BDFlowError
from bdflow.images import Array, Picture
from bdflow.metrics import MAX_PSNR, psnr
from bdflow.smallfile import avif, jpeg, webp
from bdflow.smallfile.payload import Version2
from bdflow.smallfile.quantizer import quality as quality_of
from bdflow.smallfile.thumbnail import FACTORS, Domain, Thumbnail

CODECS = {"AVIF": codecs.AVIF, "WebP": codecs.WEBP, "JPEG": codecs.JPEG}
_CONTAINERS = {"AVIF": avif, "WebP": webp, "JPEG": jpeg}
_DOMAINS: Sequence[Domain] = ("portraits", "photos", "plain")
_FINALISTS = 3  # factors that are restored by the network
_MOST_GAIN = 2.0  # dB that the network adds to a plain enlargement, at most and roughly
_DEFAULT_QUALITY = 75


@dataclass(frozen=True, eq=False)
class Fitted:
    """A photograph's small file, and what it restores with.

    Attributes:
        small: The file.
        psnr: Of the restored picture, RGB, in decibels, 100 at most.
        quality: What the encoder was given.
    """

    small: Thumbnail
    psnr: float
    quality: int


def fit(
    picture: Picture,
    enhancer: Enhancer,
    *,
    budget: int | None = None,
    quality: int | None = None,
    format: str = "AVIF",
    domain: Domain | None = None,
) -> Fitted:
    """The small file that restores with the highest PSNR.

    Args:
        picture: The photograph.
        enhancer: What restores it.
        budget: Bytes that the file may have, everything counted.
        quality: In place of a budget: the codec's quality, at full size.
        format: "AVIF", "WebP" or "JPEG".
        domain: What the network takes it for; None tries all, and no network as well.

    Returns:
        The file; where the codec alone restores better at full size, its own file.

    Raises:
        BDFlowError: The format cannot hold the picture, or not in so few bytes.
    """
    codec = CODECS[format]
    if picture.alpha is not None and not codec.format.alpha:
        raise BDFlowError(f"{format} cannot hold transparency: write AVIF or WebP")
    search = _Search(in_srgb(picture), enhancer, codec, domain)
    if budget is None:
        return search.at_quality(_DEFAULT_QUALITY if quality is None else quality)
    return search.within(budget)


class _Search:
    """The search for one photograph's file in one codec."""

    def __init__(self, picture: Picture, enhancer: Enhancer, codec: Codec, domain: Domain | None) -> None:
        self.picture, self.enhancer, self.codec = picture, enhancer, codec
        self.domains: Sequence[Domain] = [domain] if domain else _DOMAINS
        self.container = _CONTAINERS[codec.name]

    def at_quality(self, quality: int) -> Fitted:
        """At full size and a given quality; the codec's own file where that restores no worse."""
        coded = self._coded(self.codec, 1, quality)
        candidates = self._restored(1, coded, quality, self.domains)
        return max([*candidates, self._plain(coded, quality)], key=_psnr)

    def within(self, budget: int) -> Fitted:
        """The best factor, quality and domain for a number of bytes.

        At little effort of the encoder each factor's largest quality that fits is found; the factors that
        restore best without a network are restored with it; the best is coded anew at full effort.
        """
        quick = replace(self.codec, effort=4) if self.codec == AVIF else self.codec
        found: list[tuple[float, float, int, bytes]] = []
        least: float = math.inf
        for factor in FACTORS:
            uncoded = _enlarged_colours(shrunk(self.picture, factor), factor, self.picture)
            # Coding only loses: what restores much worse uncoded than another does coded cannot win.
            if any(psnr(self.picture.rgb, uncoded) + _MOST_GAIN <= plain for plain, *_ in found):
                break
            quality, coded, size = self._largest(quick, factor, budget)
            least = min(least, size)
            if size <= budget:
                found.append((psnr(self.picture.rgb, self._enlarged(coded, factor)), factor, quality, coded))
        if not found:
            size_of_picture = f"{self.picture.width}x{self.picture.height}"
            raise BDFlowError(
                f"{self.codec.name} cannot hold this {size_of_picture} picture in {budget:,} bytes: allow it"
                f" {least:,}"
            )
        found.sort(reverse=True)
        domains, candidates = self.domains, []
        for _, factor, quality, coded in found[:_FINALISTS]:
            candidates.append(max(self._restored(factor, coded, quality, domains), key=_psnr))
            domains = [candidates[0].small.domain]  # it hardly depends on the factor
        best = max(candidates, key=_psnr)
        if quick != self.codec:
            best = self._at_full_effort(best, budget)
        _, factor, quality, _ = found[0]
        if factor == 1:  # the codec alone may do as well there, and needs no payload
            quality, coded, _ = self._largest(self.codec, 1, budget, near=quality, payload=False)
            if len(coded) <= budget:
                best = max(best, self._plain(coded, quality), key=_psnr)
        return best

    def _at_full_effort(self, found: Fitted, budget: int) -> Fitted:
        """A file coded anew, at the largest quality that fits near the one that was found."""
        small = found.small
        quality, coded, size = self._largest(self.codec, small.factor, budget, near=found.quality)
        if size > budget:
            return found
        return max(found, *self._restored(small.factor, coded, quality, [small.domain]), key=_psnr)

    def _largest(
        self, codec: Codec, factor: float, budget: int, *, near: int | None = None, payload: bool = True
    ) -> tuple[int, bytes, int]:
        """The largest quality whose file is within the budget, the codec's file, and the bytes of ours; where
        none is, those of the lowest. ``near`` is where to begin, if that is known."""
        small = shrunk(self.picture, factor).to_pil()
        more = self._overhead(codec.encode(small, codec.qualities[0])) if payload else 0
        files: dict[int, bytes] = {}

        def fits(quality: int) -> bool:
            files[quality] = codec.encode(small, quality)
            return len(files[quality]) + more <= budget

        low, high = codec.qualities[0], codec.qualities[1] + 1  # fits or is the lowest, too large
        step = 2
        while near is not None and low < near < high and high - low > step:
            # From the neighbourhood outwards: a step of quality is a few per cent of the bytes.
            low, high = (near, high) if fits(near) else (low, near)
            near = low + step if low == near else high - step
            step *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        if low not in files:
            fits(low)
        return low, files[low], len(files[low]) + more

    def _overhead(self, coded: bytes) -> int:
        payload = Version2.of((self.picture.width, self.picture.height), 1, "photos").pack()
        return len(self.container.insert(coded, payload)) - len(coded)

    def _coded(self, codec: Codec, factor: float, quality: int) -> bytes:
        return codec.encode(shrunk(self.picture, factor).to_pil(), quality)

    def _restored(self, factor: float, coded: bytes, quality: int, domains: Sequence[Domain]) -> list[Fitted]:
        """What the network makes of a coded thumbnail, taken for each domain."""
        size = self.picture.width, self.picture.height
        image = images.read(coded)
        fitted = []
        for domain in domains:
            payload = Version2.of(size, factor, domain).pack()
            small = Thumbnail(
                image=image,
                format=self.codec.name,
                data=self.container.insert(coded, payload),
                factor=factor,
                domain=domain,
                size=size,
                quality=quality_of(coded),
                notes=self.picture.notes,
            )
            fitted.append(self._measured(small, quality))
        return fitted

    def _plain(self, coded: bytes, quality: int) -> Fitted:
        """The codec's own file, at full size: without a payload it restores to itself."""
        size = self.picture.width, self.picture.height
        small = Thumbnail(
            image=images.read(coded),
            format=self.codec.name,
            data=coded,
            factor=1,
            domain="plain",
            size=size,
            notes=self.picture.notes,
        )
        return self._measured(small, quality)

    def _measured(self, small: Thumbnail, quality: int) -> Fitted:
        restored = self.enhancer.rgb(small)
        return Fitted(small, min(psnr(self.picture.rgb, restored), MAX_PSNR), quality)

    def _enlarged(self, coded: bytes, factor: float) -> Array:
        return _enlarged_colours(images.read(coded), factor, self.picture)


def _enlarged_colours(small: Picture, factor: float, like: Picture) -> Array:
    """A thumbnail's plain enlargement, cut to the size of a photograph."""
    rows, columns = slice(0, int(small.height * factor)), slice(0, int(small.width * factor))
    return enlarged(Image.fromarray(small.rgb), factor, rows, columns)[: like.height, : like.width]


def _psnr(fitted: Fitted) -> float:
    return fitted.psnr


def in_srgb(picture: Picture) -> Picture:
    """A picture whose samples mean sRGB, without a profile, and a note where they were changed."""
    if not picture.icc:
        return picture
    if picture.gray:
        return replace(picture, icc=None, notes=(*picture.notes, "its gray profile was dropped"))
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.icc))
        changed = ImageCms.profileToProfile(
            Image.fromarray(picture.rgb), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
        return replace(picture, icc=None, notes=(*picture.notes, "its unreadable colour profile was dropped"))
    assert changed is not None
    return replace(
        picture,
        rgb=np.array(changed),
        icc=None,
        notes=(*picture.notes, "colours converted to sRGB, the profile dropped"),
    )
