"""The rivals: what JPEG, WebP, AVIF and JPEG XL give for a number of bytes.

A rival gets every honest chance. Its best quality that fits the budget is searched at full size and at sizes
shrunk by whole factors (a format does better so when bytes are very few), and what restores with the highest
PSNR is taken. Every byte counts: headers and, for a shrunk picture, its true size too.
"""

import io
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from bdflow.errors import BDFlowError
from bdflow.extras import needs
from bdflow.methods.protocol import Pixels, is_gray, split_size, with_size
from bdflow.metrics import psnr
from bdflow.resize import resize

__all__ = [
    "AVIF",
    "CODECS",
    "JPEG",
    "JPEG_XL",
    "WEBP",
    "AtQuality",
    "Codec",
    "JpegXL",
    "PillowCodec",
    "Within",
]

_FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_LANCZOS = Image.Resampling.LANCZOS


@dataclass(frozen=True, kw_only=True)
class Codec(ABC):
    """A lossy picture format that can be held to a number of bytes.

    Attributes:
        name: what people call the format.
        lowest: the lowest quality that `write` takes.
        highest: the highest.
        max_side: the longest side that the format holds, in pixels.
    """

    name: str
    lowest: int
    highest: int
    max_side: int

    @abstractmethod
    def write(self, samples: Pixels, quality: int) -> bytes:
        """A file of the format, of samples (H, W, 3) or of a gray picture (H, W)."""

    @abstractmethod
    def read(self, data: bytes) -> Pixels:
        """The samples, (H, W, 3) or (H, W), of what `write` gave; ValueError where it is no such file."""

    def within(self, budget: int) -> "Within":
        """The method that stores every picture in at most `budget` bytes."""
        return Within(self, budget)

    def at(self, quality: int, factor: int = 1) -> "AtQuality":
        """The method that stores every picture at this quality, shrunk by this whole factor."""
        return AtQuality(self, quality, factor)

    def encode(self, rgb: Pixels, budget: int) -> bytes:
        """The encoding in at most `budget` bytes that restores with the highest PSNR.

        Tried are full size and whole factors up to 64, shrunk and enlarged again by Lanczos, each at the
        largest quality that fits (by bisection: bytes are taken to grow with quality).

        Args:
            rgb: uint8, (H, W, 3).
            budget: bytes.

        Returns:
            At full size a plain file of the format; else 4 bytes of true size and the shrunk picture's file.

        Raises:
            BDFlowError: the budget is too small, or a side is above 65535 pixels.
            ValueError: `rgb` is not a uint8 picture (H, W, 3).
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
            raise ValueError(f"expected a uint8 picture (H, W, 3), got {rgb.dtype} {rgb.shape}")
        height, width = rgb.shape[:2]
        prefix = with_size(rgb, b"")
        best, best_psnr, least = b"", -math.inf, math.inf
        for factor in _FACTORS:
            size = -(-height // factor), -(-width // factor)
            if max(size) > self.max_side:
                continue
            shrunk = _shrunk(rgb, factor)
            # Coding only loses: a size that restores no better uncoded than the best so far cannot win.
            if psnr(rgb, resize(shrunk, (height, width), _LANCZOS)) <= best_psnr:
                continue
            before = prefix if factor > 1 else b""
            data = before + self._largest_that_fits(shrunk, budget - len(before))
            least = min(least, len(data))
            if len(data) <= budget and (restored_psnr := psnr(rgb, self.decode(data))) > best_psnr:
                best, best_psnr = data, restored_psnr
        if not best:
            raise BDFlowError(
                f"{self.name} cannot hold this {width}x{height} picture in {budget} bytes; allow it {least}"
            )
        return best

    def decode(self, data: bytes) -> Pixels:
        """The picture at its true size.

        Args:
            data: what `encode` gave, or any RGB or gray file of the format.

        Returns:
            uint8, (H, W, 3).

        Raises:
            BDFlowError: `data` is neither.
        """
        try:
            return _three_channels(self.read(data))
        except ValueError:
            size, file = split_size(data)  # a shrunk picture: its true size comes first
        try:
            shrunk = _three_channels(self.read(file))
        except ValueError:
            raise BDFlowError(
                f"this is no {self.name} data that bdflow wrote; encode the picture anew"
            ) from None
        return resize(shrunk, size, _LANCZOS)

    def _largest_that_fits(self, rgb: Pixels, budget: int) -> bytes:
        """The file at the largest quality within the budget; at the lowest quality where none is."""
        samples = _samples(rgb)
        fits, too_large = self.lowest, self.highest + 1
        data = self.write(samples, fits)
        if len(data) > budget:
            return data
        while too_large - fits > 1:
            quality = (fits + too_large) // 2
            attempt = self.write(samples, quality)
            if len(attempt) <= budget:
                fits, data = quality, attempt
            else:
                too_large = quality
        return data


@dataclass(frozen=True)
class Within:
    """A codec held to a number of bytes: a `Method`, as those are whose bytes nobody chooses."""

    codec: Codec
    budget: int

    @property
    def name(self) -> str:
        return self.codec.name

    def encode(self, rgb: Pixels) -> bytes:
        return self.codec.encode(rgb, self.budget)

    def decode(self, data: bytes) -> Pixels:
        return self.codec.decode(data)


@dataclass(frozen=True)
class AtQuality:
    """A codec at one quality and one size: a point of its curve. Read back as `Codec.encode`'s files are."""

    codec: Codec
    quality: int
    factor: int

    @property
    def name(self) -> str:
        return self.codec.name

    def encode(self, rgb: Pixels) -> bytes:
        file = self.codec.write(_samples(_shrunk(rgb, self.factor)), self.quality)
        return with_size(rgb, file) if self.factor > 1 else file

    def decode(self, data: bytes) -> Pixels:
        return self.codec.decode(data)


@dataclass(frozen=True, kw_only=True)
class PillowCodec(Codec):
    """A lossy format that Pillow writes.

    Attributes:
        format: what Pillow calls it.
        variants: sets of Pillow's options, all giving the same pixels; the shortest file is taken.
    """

    highest: int = 100
    format: str
    variants: tuple[dict[str, Any], ...]

    def write(self, samples: Pixels, quality: int) -> bytes:
        image, files = Image.fromarray(samples), []
        for options in self.variants:
            buffer = io.BytesIO()
            image.save(buffer, self.format, quality=quality, **options)
            files.append(buffer.getvalue())
        return min(files, key=len)

    def read(self, data: bytes) -> Pixels:
        try:
            with Image.open(io.BytesIO(data), formats=[self.format]) as image:
                return np.array(image)
        except UnidentifiedImageError as error:
            raise ValueError(f"no {self.name}") from error


@dataclass(frozen=True, kw_only=True)
class JpegXL(Codec):
    """JPEG XL as libjxl writes it, by way of imagecodecs, at its default effort, without a container.

    A step of quality divides the Butteraugli distance by 2^(1/64), from 25, the coarsest that libjxl knows.
    Bytes do not grow with every step, so that a file may stay a percent below the largest that would fit.
    """

    name: str = "JPEG XL"
    lowest: int = 0
    highest: int = 576  # distance 0.05
    max_side: int = 0xFFFF

    def write(self, samples: Pixels, quality: int) -> bytes:
        return bytes(
            _imagecodecs().jpegxl_encode(
                samples,
                distance=25 * 2 ** (-quality / 64),
                lossless=False,
                effort=7,
                usecontainer=False,
                numthreads=1,
            )
        )

    def read(self, data: bytes) -> Pixels:
        try:
            return np.asarray(_imagecodecs().jpegxl_decode(data, numthreads=1))
        except RuntimeError as error:  # imagecodecs' own; for other formats it raises ValueError itself
            raise ValueError(f"no {self.name}") from error


def _imagecodecs() -> Any:
    needs("bench", "imagecodecs", what="JPEG XL")
    import imagecodecs

    return imagecodecs


def _samples(rgb: Pixels) -> Pixels:
    """One channel of a gray picture, else all three."""
    return np.ascontiguousarray(rgb[..., 0]) if is_gray(rgb) else rgb


def _shrunk(rgb: Pixels, factor: int) -> Pixels:
    height, width = rgb.shape[:2]
    return resize(rgb, (-(-height // factor), -(-width // factor)), _LANCZOS)


def _three_channels(samples: Pixels) -> Pixels:
    return np.dstack([samples] * 3) if samples.ndim == 2 else samples


# Progressive is the shorter for most photographs, but its scan headers cost a thumbnail 240 bytes more than
# baseline, which has the same pixels.
JPEG = PillowCodec(
    name="JPEG",
    format="JPEG",
    lowest=1,
    max_side=65500,
    variants=(
        {"subsampling": "4:2:0", "optimize": True, "progressive": True},
        {"subsampling": "4:2:0", "optimize": True},
    ),
)
WEBP = PillowCodec(name="WebP", format="WEBP", lowest=0, max_side=16383, variants=({"method": 6},))
# One tile, and two threads whatever the machine has: both change the bytes, which must not depend on it.
AVIF = PillowCodec(
    name="AVIF",
    format="AVIF",
    lowest=0,
    max_side=32768,  # it writes more, and does not read that back
    variants=({"speed": 6, "autotiling": False, "max_threads": 2},),
)
JPEG_XL = JpegXL()

CODECS: tuple[Codec, ...] = (JPEG, WEBP, AVIF, JPEG_XL)
