"""The rivals: what JPEG, WebP and AVIF give for the same number of bytes.

A rival gets every honest chance. Its best quality that fits the budget is searched at full size and at sizes
shrunk by whole factors (a format does better so when bytes are very few), and what restores with the highest
PSNR is taken. Every byte counts: headers and, for a shrunk picture, its true size too.
"""

import io
import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import BDFlowError
from .metrics import psnr
from .resize import resize

__all__ = ["AVIF", "CODECS", "JPEG", "WEBP", "Codec", "PillowCodec", "at_bytes"]

_FACTORS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_SIZE_BYTES = 4  # true height and width, 16 bits each, before the file of a shrunk picture
_LANCZOS = Image.Resampling.LANCZOS


class Codec(Protocol):
    """A lossy picture format that can be held to a number of bytes."""

    @property
    def name(self) -> str:
        """What people call the format."""

    def encode(self, rgb: NDArray[np.uint8], budget: int) -> bytes:
        """The best encoding of `rgb`, uint8 (H, W, 3), in at most `budget` bytes; BDFlowError if none is."""

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The picture, uint8 (H, W, 3), from what `encode` gave."""


def at_bytes(codec: Codec, rgb: NDArray[np.uint8], budget: int) -> tuple[bytes, NDArray[np.uint8]]:
    """What a codec makes of a picture when it may use `budget` bytes.

    Args:
        codec: one of `CODECS`, or any other `Codec`.
        rgb: uint8, (H, W, 3).
        budget: bytes, all of them counted.

    Returns:
        The encoded bytes, at most `budget` of them, and the picture decoded from just these, uint8 (H, W, 3).

    Raises:
        BDFlowError: the budget is too small for this codec; the message tells what it needs.
        ValueError: `rgb` is not a uint8 picture (H, W, 3).
    """
    data = codec.encode(rgb, budget)
    return data, codec.decode(data)


@dataclass(frozen=True)
class PillowCodec:
    """A lossy format that Pillow writes.

    Attributes:
        name: what people call the format.
        format: what Pillow calls it.
        lowest: the lowest quality; the highest is 100 everywhere.
        max_side: the longest side that the format holds, in pixels.
        variants: sets of Pillow's options, all giving the same pixels; the shortest file is taken.
    """

    name: str
    format: str
    lowest: int
    max_side: int
    variants: tuple[dict[str, Any], ...]

    def encode(self, rgb: NDArray[np.uint8], budget: int) -> bytes:
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
        height, width = rgb.shape[:2]
        if max(height, width) > 0xFFFF:
            raise BDFlowError(
                f"{self.name} cannot hold {width}x{height} pixels; a side may have 65535 at most"
            )
        best, best_psnr, least = b"", -math.inf, math.inf
        for factor in _FACTORS:
            size = -(-height // factor), -(-width // factor)
            if max(size) > self.max_side:
                continue
            shrunk = resize(rgb, size, _LANCZOS)
            # Coding only loses: a size that restores no better uncoded than the best so far cannot win.
            if psnr(rgb, resize(shrunk, (height, width), _LANCZOS)) <= best_psnr:
                continue
            prefix = b"" if factor == 1 else height.to_bytes(2) + width.to_bytes(2)
            data = prefix + self._largest_that_fits(shrunk, budget - len(prefix))
            least = min(least, len(data))
            if len(data) <= budget and (restored_psnr := psnr(rgb, self.decode(data))) > best_psnr:
                best, best_psnr = data, restored_psnr
        if not best:
            raise BDFlowError(
                f"{self.name} cannot hold this {width}x{height} picture in {budget} bytes; allow it {least}"
            )
        return best

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """The picture at its true size.

        Args:
            data: what `encode` gave, or any RGB file of the format.

        Returns:
            uint8, (H, W, 3).

        Raises:
            BDFlowError: `data` is neither.
        """
        try:
            return self._read(data)
        except UnidentifiedImageError:
            pass  # a shrunk picture: its true size comes first
        try:
            shrunk = self._read(data[_SIZE_BYTES:])
        except UnidentifiedImageError:
            raise BDFlowError(
                f"this is no {self.name} data that bdflow wrote; encode the picture anew"
            ) from None
        return resize(shrunk, (int.from_bytes(data[:2]), int.from_bytes(data[2:4])), _LANCZOS)

    def _largest_that_fits(self, rgb: NDArray[np.uint8], budget: int) -> bytes:
        """The file at the largest quality within the budget; at the lowest quality where none is."""
        image = Image.fromarray(rgb)
        fits, too_large = self.lowest, 101
        data = self._write(image, fits)
        if len(data) > budget:
            return data
        while too_large - fits > 1:
            quality = (fits + too_large) // 2
            attempt = self._write(image, quality)
            if len(attempt) <= budget:
                fits, data = quality, attempt
            else:
                too_large = quality
        return data

    def _write(self, image: Image.Image, quality: int) -> bytes:
        files = []
        for options in self.variants:
            buffer = io.BytesIO()
            image.save(buffer, self.format, quality=quality, **options)
            files.append(buffer.getvalue())
        return min(files, key=len)

    def _read(self, data: bytes) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            return np.array(image)


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
    max_side=65535,
    variants=({"speed": 6, "autotiling": False, "max_threads": 2},),
)

CODECS: tuple[Codec, ...] = (JPEG, WEBP, AVIF)
