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
from bdflow.files import reason
from bdflow.images import Array, Picture
from bdflow.metrics import MAX_PSNR, psnr
from bdflow.smallfile import avif, jpeg, webp
from bdflow.smallfile.payload import Version2
from bdflow.smallfile.quantizer import quality as quality_of
from bdflow.smallfile.thumbnail import DOMAINS, FACTORS, Domain, Thumbnail, grid
from bdflow.transparency import spread

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
        BDFlowError: The format cannot hold the picture, or not in so few bytes; or there is no such format,
            domain or quality, or both a budget and a quality.
    """
    check(budget=budget, quality=quality, format=format, domain=domain)
    codec = CODECS[format]
    if picture.alpha is not None and not codec.format.alpha:
        raise BDFlowError(f"{format} cannot hold transparency: write AVIF or WebP")
    search = _Search(spread(in_srgb(picture)), enhancer, codec, domain)
    if budget is None:
        return search.at_quality(_DEFAULT_QUALITY if quality is None else quality)
    return search.within(budget)


def check(
    *, budget: float | None, quality: int | None, format: str, domain: str | None, what: str = "a budget"
) -> None:
    """Refuse what `fit` would refuse of any picture.

    Args:
        budget: Of bytes, or of ``what``.
        quality, format, domain: As for `fit`.

    Raises:
        BDFlowError: See there.
    """
    if format not in CODECS:
        raise BDFlowError(f"no format {format!r} for thumbnails: choose one of {', '.join(CODECS)}")
    if domain is not None and domain not in DOMAINS:
        raise BDFlowError(f"no domain {domain!r}: choose one of {', '.join(DOMAINS)}")
    if budget is not None and not 0 < budget < math.inf:  # not so of nan
        raise BDFlowError(f"{what} of {budget:,}: name a number above 0")
    if budget is not None and quality is not None:
        raise BDFlowError("bytes and a quality: name one of them")
    low, high = CODECS[format].qualities
    if quality is not None and not low <= quality <= high:
        raise BDFlowError(f"the quality of {format} is {low} to {high}, not {quality}")


def budget(bits_per_pixel: float, picture: Picture) -> int:
    """Bytes that a picture's file may have at so many bits for each of its pixels."""
    return max(1, int(bits_per_pixel * picture.width * picture.height / 8))


class _Search:
    """The search for one photograph's file in one codec."""

    def __init__(self, picture: Picture, enhancer: Enhancer, codec: Codec, domain: Domain | None) -> None:
        self.picture, self.enhancer, self.codec = picture, enhancer, codec
        self.domains: Sequence[Domain] = [domain] if domain else _DOMAINS
        self.container = _CONTAINERS[codec.name]
        self.longest_side = codec.format.longest_side or math.inf

    def at_quality(self, quality: int) -> Fitted:
        """At full size and a given quality; the codec's own file where that restores no worse."""
        if max(self.picture.width, self.picture.height) > self.longest_side:
            raise BDFlowError(
                f"{self.codec.name} cannot hold this {self._size} picture at full size: a side has at most"
                f" {self.longest_side:,} pixels; name a number of bytes instead"
            )
        coded = self._encode(self.codec, self.picture.to_pil(), quality)
        return max([self._plain(coded, quality), *self._restored(1, coded, quality, self.domains)], key=_rank)

    def within(self, budget: int) -> Fitted:
        """The best factor, quality and domain for a number of bytes.

        At little effort of the encoder each factor's largest quality that fits is found; the factors that
        restore best without a network are restored with it; the best is coded anew at full effort.
        """
        quick = replace(self.codec, effort=4) if self.codec == AVIF else self.codec
        found: list[tuple[float, float, int, bytes]] = []
        least: float = math.inf
        for factor in FACTORS:
            if max(grid(self._sides, factor)) > self.longest_side:
                continue
            uncoded = _enlarged_colours(shrunk(self.picture, factor), factor, self.picture)
            # Coding only loses: what restores much worse uncoded than another does coded cannot win.
            if any(psnr(self.picture.rgb, uncoded) + _MOST_GAIN <= plain for plain, *_ in found):
                break
            quality, coded, size = self._largest(quick, factor, budget)
            least = min(least, size)
            if size <= budget:
                found.append((psnr(self.picture.rgb, self._enlarged(coded, factor)), factor, quality, coded))
        if not found:
            return self._without_payload(budget, least)
        found.sort(reverse=True)
        domains, candidates = self.domains, []
        for _, factor, quality, coded in found[:_FINALISTS]:
            candidates.append(max(self._restored(factor, coded, quality, domains), key=_rank))
            domains = [candidates[0].small.domain]  # it hardly depends on the factor
        best = max(candidates, key=_rank)
        if quick != self.codec:
            best = self._at_full_effort(best, budget)
        _, factor, quality, _ = found[0]
        if factor == 1:  # the codec alone may do as well there, and needs no payload
            quality, coded, _ = self._largest(self.codec, 1, budget, near=quality, payload=False)
            if len(coded) <= budget:
                best = max(best, self._plain(coded, quality), key=_rank)
        return best

    def _without_payload(self, budget: int, least: float) -> Fitted:
        """The codec's own file at full size, where none with a payload fits; ``least`` is what one takes."""
        if max(self._sides) <= self.longest_side:
            quality, coded, size = self._largest(self.codec, 1, budget, payload=False)
            if size <= budget:
                return self._plain(coded, quality)
            least = min(least, size)
        if least == math.inf:
            raise BDFlowError(f"{self.codec.name} cannot hold this {self._size} picture at any factor")
        raise BDFlowError(
            f"{self.codec.name} cannot hold this {self._size} picture in {budget:,} bytes: allow it {least:,}"
        )

    def _at_full_effort(self, found: Fitted, budget: int) -> Fitted:
        """A file coded anew, at the largest quality that fits near the one that was found."""
        small = found.small
        quality, coded, size = self._largest(self.codec, small.factor, budget, near=found.quality)
        if size > budget:
            return found
        return max(found, *self._restored(small.factor, coded, quality, [small.domain]), key=_rank)

    def _largest(
        self, codec: Codec, factor: float, budget: int, *, near: int | None = None, payload: bool = True
    ) -> tuple[int, bytes, int]:
        """The largest quality whose file is within the budget, the codec's file, and the bytes of ours; where
        none is, those of the lowest. ``near`` is where to begin, if that is known."""
        small = shrunk(self.picture, factor).to_pil()
        lowest = codec.qualities[0]
        files = {lowest: self._encode(codec, small, lowest)}
        more = self._overhead(files[lowest]) if payload else 0
        if len(files[lowest]) + more > budget:
            return lowest, files[lowest], len(files[lowest]) + more

        def fits(quality: int) -> bool:
            files[quality] = self._encode(codec, small, quality)
            return len(files[quality]) + more <= budget

        low, high = lowest, codec.qualities[1] + 1  # fits, too large
        step = 2
        while near is not None and low < near < high and high - low > step:
            # From the neighbourhood outwards: a step of quality is a few per cent of the bytes.
            low, high = (near, high) if fits(near) else (low, near)
            near = low + step if low == near else high - step
            step *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low, files[low], len(files[low]) + more

    def _overhead(self, coded: bytes) -> int:
        payload = Version2.of(self._sides, 1, "photos").pack()
        return len(self.container.insert(coded, payload)) - len(coded)

    @property
    def _sides(self) -> tuple[int, int]:
        return self.picture.width, self.picture.height

    @property
    def _size(self) -> str:
        return f"{self.picture.width}x{self.picture.height}"

    def _encode(self, codec: Codec, image: Image.Image, quality: int) -> bytes:
        try:
            return codec.encode(image, quality)
        except BDFlowError:
            raise
        except Exception as error:  # each of Pillow's encoders has its own
            size = f"{image.width}x{image.height}"
            raise BDFlowError(f"{codec.name} cannot hold a picture of {size}: {reason(error)}") from error

    def _restored(self, factor: float, coded: bytes, quality: int, domains: Sequence[Domain]) -> list[Fitted]:
        """What the network makes of a coded thumbnail, taken for each domain."""
        size = self._sides
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
        small = Thumbnail(
            image=images.read(coded),
            format=self.codec.name,
            data=coded,
            factor=1,
            domain="plain",
            size=self._sides,
            quality=quality_of(coded),
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


def _rank(fitted: Fitted) -> tuple[float, int]:
    """Of two that restore equally well, the one of fewer bytes is the better."""
    return fitted.psnr, -len(fitted.small.data)


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
