"""The rivals: what JPEG, WebP, AVIF and JPEG XL give for a number of bytes.

A rival gets every honest chance. Its best quality that fits the budget is searched at full size and at sizes
shrunk by the factors below (a format does better so when bytes are few), and what restores with the highest
PSNR is taken. Every byte counts: headers and, for a shrunk picture, its true size too.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.methods.protocol import is_gray, split_size, with_size
from bdflow.pictures.codecs import AVIF, JPEG, JPEG_XL, WEBP, Codec
from bdflow.pictures.picture import RGB
from bdflow.pictures.resize import resize
from bdflow.quality.metrics import psnr

__all__ = ["CODECS", "FACTORS", "AtQuality", "Within"]

CODECS: tuple[Codec, ...] = (JPEG, WEBP, AVIF, JPEG_XL)
FACTORS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

_LANCZOS = Image.Resampling.LANCZOS
_FINALISTS = 2  # of the factors, coded anew at full effort


@dataclass(frozen=True)
class AtQuality:
    """A codec at one quality and one size: a point of its curve.

    Attributes:
        codec: The format and its settings.
        quality: Of that codec.
        factor: How many times smaller each way; sides are rounded up.
    """

    codec: Codec
    quality: int
    factor: float = 1

    @property
    def name(self) -> str:
        return self.codec.name

    def encode(self, rgb: RGB) -> bytes:
        file = self.codec.encode(_samples(_shrunk(rgb, self.factor)), self.quality)
        return with_size(rgb, file) if self.factor > 1 else file

    def decode(self, data: bytes) -> RGB:
        return _decode(self.codec, data)


@dataclass(frozen=True)
class Within:
    """A codec held to a number of bytes: a `Method`, as those are whose bytes nobody chooses.

    Attributes:
        codec: The format and its settings.
        budget: Bytes.
    """

    codec: Codec
    budget: int

    @property
    def name(self) -> str:
        return self.codec.name

    def encode(self, rgb: RGB) -> bytes:
        """The encoding within the budget that restores with the highest PSNR.

        Tried are full size and `FACTORS`, shrunk and enlarged again by Lanczos, each at the largest quality
        that fits (by bisection: bytes are taken to grow with quality). AVIF, whose full effort takes seconds,
        is searched at less effort, and the best factors are then coded anew.

        Args:
            rgb: uint8, (H, W, 3).

        Returns:
            At full size a plain file of the format; else 4 bytes of true size and the shrunk picture's file.

        Raises:
            BDFlowError: The budget is too small, or a side is above 65535 pixels.
            ValueError: `rgb` is not a uint8 picture (H, W, 3).
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ValueError(f"expected a uint8 picture (H, W, 3), got {rgb.dtype} {rgb.shape}")
        height, width = rgb.shape[:2]
        quick = replace(self.codec, effort=4) if self.codec == AVIF else self.codec
        candidates: list[_Candidate] = []
        least = math.inf
        for factor in FACTORS:
            shrunk = _shrunk(rgb, factor)
            if max(shrunk.shape) > (self.codec.format.longest_side or math.inf):
                continue
            # Coding only loses: a size that restores no better uncoded than the best so far cannot win.
            uncoded = psnr(rgb, resize(shrunk, (height, width), _LANCZOS))
            if any(uncoded <= candidate.psnr for candidate in candidates):
                continue
            prefix = with_size(rgb, b"") if factor > 1 else b""
            quality, file = _largest_that_fits(quick, _samples(shrunk), self.budget - len(prefix))
            least = min(least, len(prefix) + len(file))
            if len(prefix) + len(file) <= self.budget:
                candidates.append(self._candidate(rgb, factor, quality, prefix + file))
        if not candidates:
            raise BDFlowError(
                f"{self.name} cannot hold this {width}x{height} picture in {self.budget} bytes;"
                f" allow it {least}"
            )
        candidates.sort(key=lambda candidate: -candidate.psnr)
        if quick != self.codec:
            candidates += [
                again for each in candidates[:_FINALISTS] if (again := self._at_full_effort(rgb, each))
            ]
        return max(candidates, key=lambda candidate: candidate.psnr).data

    def decode(self, data: bytes) -> RGB:
        """The picture at its true size, uint8 (H, W, 3).

        Args:
            data: What `encode` gave, or any RGB or gray file of the format.

        Raises:
            BDFlowError: It is neither.
        """
        return _decode(self.codec, data)

    def _at_full_effort(self, rgb: RGB, found: "_Candidate") -> "_Candidate | None":
        """A candidate coded anew, at the largest quality that fits near the one that was found."""
        best, quality, step = None, found.quality, 0
        while self.codec.qualities[0] <= quality <= self.codec.qualities[1]:
            data = AtQuality(self.codec, quality, found.factor).encode(rgb)
            if len(data) <= self.budget:
                best = self._candidate(rgb, found.factor, quality, data)
                if step < 0:
                    break
                step = 1
            else:
                if step > 0:
                    break
                step = -1
            quality += step
        return best

    def _candidate(self, rgb: RGB, factor: float, quality: int, data: bytes) -> "_Candidate":
        return _Candidate(factor, quality, data, psnr(rgb, self.decode(data)))


@dataclass(frozen=True)
class _Candidate:
    """A file that fits, and the PSNR that it restores with."""

    factor: float
    quality: int
    data: bytes
    psnr: float


def _largest_that_fits(codec: Codec, samples: RGB, budget: int) -> tuple[int, bytes]:
    """The largest quality whose file is within the budget, and the file; the lowest where none is."""
    fits, too_large = codec.qualities[0], codec.qualities[1] + 1
    data = codec.encode(samples, fits)
    if len(data) > budget:
        return fits, data
    while too_large - fits > 1:
        quality = (fits + too_large) // 2
        attempt = codec.encode(samples, quality)
        if len(attempt) <= budget:
            fits, data = quality, attempt
        else:
            too_large = quality
    return fits, data


def _decode(codec: Codec, data: bytes) -> RGB:
    try:
        return _three_channels(codec.decode(data))
    except ValueError:
        size, file = split_size(data)  # a shrunk picture: its true size comes first
    try:
        shrunk = _three_channels(codec.decode(file))
    except ValueError:
        raise BDFlowError(
            f"this is no {codec.name} data that bdflow wrote; encode the picture anew"
        ) from None
    return resize(shrunk, size, _LANCZOS)


def _samples(rgb: RGB) -> RGB:
    """One channel of a gray picture, else all three."""
    return np.ascontiguousarray(rgb[..., 0]) if is_gray(rgb) else rgb


def _shrunk(rgb: RGB, factor: float) -> RGB:
    if factor == 1:
        return rgb
    height, width = rgb.shape[:2]
    return resize(rgb, (math.ceil(height / factor), math.ceil(width / factor)), _LANCZOS)


def _three_channels(samples: RGB) -> RGB:
    return np.dstack([samples] * 3) if samples.ndim == 2 else samples
