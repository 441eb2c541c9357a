"""One photograph's files in one codec, made and really restored, and which of them is the best."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from bdflow.fitting.estimate import Quality, measured
from bdflow.pictures import reader
from bdflow.pictures.codecs import Codec
from bdflow.pictures.reader import Picture
from bdflow.runtime.enhancer import Enhancer
from bdflow.smallfile import avif, jpeg, webp
from bdflow.smallfile.payload import Version2
from bdflow.smallfile.quantizer import quality as quality_of
from bdflow.smallfile.thumbnail import FACTORS, Domain, Thumbnail, grid

_CONTAINERS = {"AVIF": avif, "WebP": webp, "JPEG": jpeg}
_TOLERATED = 0.01  # dB that a file may lack against the codec's own in one measure, if its mean is higher


@dataclass(frozen=True, eq=False)
class Fitted:
    """A photograph's small file, and what it restores with.

    Attributes:
        small: The file.
        psnr_y: Of the restored picture, on luma, in decibels, 100 at most.
        psnr_rgb: The same on RGB.
        quality: What the encoder was given.
    """

    small: Thumbnail
    psnr_y: float
    psnr_rgb: float
    quality: int

    @property
    def psnr(self) -> float:
        """The mean of both, by which files are chosen."""
        return (self.psnr_y + self.psnr_rgb) / 2


class Candidates:
    """Makes files of a photograph, and restores them.

    Args:
        picture: The photograph, in sRGB.
        enhancer: What restores it.
        codec: The format.
    """

    def __init__(self, picture: Picture, enhancer: Enhancer, codec: Codec) -> None:
        self.picture, self.enhancer = picture, enhancer
        self.format, self.container = codec.name, _CONTAINERS[codec.name]
        self.size = picture.width, picture.height
        self.longest_side = codec.format.longest_side or math.inf
        self.factors = [factor for factor in FACTORS if max(grid(self.size, factor)) <= self.longest_side]

    def own(self, coded: bytes, quality: int) -> Fitted:
        """The codec's own file, at full size: without a payload it restores to itself."""
        return self._restored(self._small(1, coded, self.packed(coded), "plain"), quality)

    def with_payload(self, factor: float, coded: bytes, quality: int, domain: Domain) -> Fitted:
        """A coded thumbnail with what restores it."""
        return self._restored(self.thumbnail(factor, coded, domain), quality)

    def thumbnail(self, factor: float, coded: bytes, domain: Domain) -> Thumbnail:
        """The same, not restored yet."""
        payload = Version2.of(self.size, factor, domain).pack()
        return self._small(factor, coded, self.packed(coded, payload), domain)

    def packed(self, coded: bytes, payload: bytes | None = None) -> bytes:
        """A file of the codec's with the photograph's metadata, and a payload."""
        metadata = self.picture.metadata
        return self.container.insert(coded, payload, metadata) if payload or metadata else coded

    def enlarged(self, factor: float, coded: bytes) -> Quality:
        """What a coded thumbnail restores to without a network."""
        return self._measured(self._small(factor, coded, coded, "plain"))

    def _small(self, factor: float, coded: bytes, data: bytes, domain: Domain) -> Thumbnail:
        return Thumbnail(
            image=replace(reader.read(coded), metadata=self.picture.metadata),
            format=self.format,
            data=data,
            factor=factor,
            domain=domain,
            size=self.size,
            quality=quality_of(coded),
            notes=self.picture.notes,
        )

    def _restored(self, small: Thumbnail, quality: int) -> Fitted:
        return Fitted(small, *self._measured(small), quality)

    def _measured(self, small: Thumbnail) -> Quality:
        return measured(self.picture.rgb, self.enhancer.rgb_strips(small))


def best(candidates: Iterable[Fitted], own: Fitted | None = None) -> Fitted:
    """The file that restores best; of two that restore equally well, the one of fewer bytes.

    Args:
        candidates: Files.
        own: The codec's own, in as many bytes. What is worse in one measure is not taken in its place.
    """
    if own:
        floor = own.psnr_y - _TOLERATED, own.psnr_rgb - _TOLERATED
        candidates = [own, *(c for c in candidates if c.psnr_y >= floor[0] and c.psnr_rgb >= floor[1])]
    return max(candidates, key=lambda fitted: (fitted.psnr, -len(fitted.small.data)))
