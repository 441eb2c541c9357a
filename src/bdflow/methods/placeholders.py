"""ThumbHash and BlurHash: what web pages show for a photograph that has not come yet, in some 30 bytes.

Neither holds the size that the page must know to reserve the place, so its four bytes are counted with them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdflow.methods.protocol import split_size, with_size
from bdflow.pictures.picture import RGB
from bdflow.pictures.resize import resize
from bdflow.system.extras import needs

__all__ = ["BlurHash", "ThumbHash"]

_SHORT = 32  # a placeholder is decoded this long at most, then enlarged, as pages do
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ThumbHash:
    """ThumbHash (Evan Wallace, 2023) of an opaque picture, as its reference implementation in JavaScript.

    By hand, in numpy: of the ports on PyPI one wants a Pillow below 11, the other loops over samples.
    """

    name: str = "ThumbHash"

    def encode(self, rgb: RGB) -> bytes:
        return with_size(rgb, thumbhash(_at_most(rgb, 100)))

    def decode(self, data: bytes) -> RGB:
        size, code = split_size(data)
        return resize(thumbhash_pixels(code), size)


@dataclass(frozen=True)
class BlurHash:
    """BlurHash (Wolt, 2018) with 4x3 components, or 3x4 of a tall picture; needs the package blurhash."""

    name: str = "BlurHash"

    def encode(self, rgb: RGB) -> bytes:
        small = _at_most(rgb, 64)
        across, down = (4, 3) if rgb.shape[1] >= rgb.shape[0] else (3, 4)
        return with_size(rgb, _blurhash().encode(small, across, down).encode("ascii"))

    def decode(self, data: bytes) -> RGB:
        size, code = split_size(data)
        height, width = _fit(size, _SHORT)
        pixels = _blurhash().decode(code.decode("ascii"), width, height)
        return resize(np.array(pixels, np.uint8), size)


def thumbhash(rgb: RGB) -> bytes:
    """The hash, 5 bytes and half a byte for each further DCT coefficient: 19 to 24 in all.

    Args:
        rgb: uint8, (H, W, 3), of at most 100 pixels each way.
    """
    height, width = rgb.shape[:2]
    red, green, blue = np.moveaxis(rgb / 255, 2, 0)
    across, down = (max(1, _round(7 * side / max(width, height))) for side in (width, height))
    light, light_ac, light_scale = _transform((red + green + blue) / 3, max(3, across), max(3, down))
    yellow, yellow_ac, yellow_scale = _transform((red + green) / 2 - blue, 3, 3)
    ruddy, ruddy_ac, ruddy_scale = _transform(red - green, 3, 3)

    constants = _round(63 * light) | _round(31.5 + 31.5 * yellow) << 6 | _round(31.5 + 31.5 * ruddy) << 12
    constants |= _round(31 * light_scale) << 18
    landscape = width > height
    scales = (down if landscape else across) | _round(63 * yellow_scale) << 3 | _round(63 * ruddy_scale) << 9
    scales |= int(landscape) << 15
    nibbles = [_round(15 * value) for value in (*light_ac, *yellow_ac, *ruddy_ac)]
    nibbles += [0] * (len(nibbles) % 2)
    varying = bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    return constants.to_bytes(3, "little") + scales.to_bytes(2, "little") + varying


def thumbhash_pixels(code: bytes) -> RGB:
    """The picture of a hash without alpha, uint8 (H, W, 3), 32 pixels at its longer side."""
    constants, scales = int.from_bytes(code[:3], "little"), int.from_bytes(code[3:5], "little")
    nibbles = [nibble / 7.5 - 1 for byte in code[5:] for nibble in (byte & 15, byte >> 4)]
    across, down = (7, scales & 7) if scales >> 15 else (scales & 7, 7)
    ratio = across / down
    width, height = _round(min(32, 32 * ratio)), _round(min(32, 32 / ratio))

    def channel(dc: float, nx: int, ny: int, scale: float) -> _Floats:
        coefficients = np.zeros((ny, nx))
        coefficients[0, 0] = dc
        for cy, cx in _varying(nx, ny):
            coefficients[cy, cx] = 2 * scale * nibbles.pop(0)
        return _cosines(ny, height).T @ coefficients @ _cosines(nx, width)

    light = channel((constants & 63) / 63, max(3, across), max(3, down), (constants >> 18 & 31) / 31)
    # Coding takes saturation away; the reference gives a quarter more back.
    yellow = channel((constants >> 6 & 63) / 31.5 - 1, 3, 3, 1.25 * (scales >> 3 & 63) / 63)
    ruddy = channel((constants >> 12 & 63) / 31.5 - 1, 3, 3, 1.25 * (scales >> 9 & 63) / 63)
    blue = light - 2 / 3 * yellow
    red = (3 * light - blue + ruddy) / 2
    rgb = np.stack([red, red - ruddy, blue], axis=2)
    return (255 * rgb.clip(0, 1)).astype(np.uint8)


def _transform(channel: _Floats, nx: int, ny: int) -> tuple[float, list[float], float]:
    """The mean, the low DCT coefficients as 0..1, and the largest magnitude among them."""
    height, width = channel.shape
    coefficients = _cosines(ny, height) @ channel @ _cosines(nx, width).T / channel.size
    varying = [float(coefficients[cy, cx]) for cy, cx in _varying(nx, ny)]
    scale = max(map(abs, varying))
    if scale:
        varying = [0.5 + 0.5 * value / scale for value in varying]
    return float(coefficients[0, 0]), varying, scale


def _varying(nx: int, ny: int) -> list[tuple[int, int]]:
    """Rows and columns of the coefficients that are kept, a triangle, without the constant one."""
    return [(cy, cx) for cy in range(ny) for cx in range(nx) if 0 < cx * ny + cy * nx < nx * ny]


def _cosines(count: int, length: int) -> _Floats:
    """The first `count` functions of a DCT-II, (count, length)."""
    return np.asarray(np.cos(np.pi / length * np.outer(np.arange(count), np.arange(length) + 0.5)))


def _round(value: float) -> int:
    """As JavaScript does: a half goes up."""
    return int(np.floor(value + 0.5))


def _fit(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """A size of the same shape whose longer side is at most `longest`."""
    height, width = size
    largest = max(height, width, longest)
    return max(1, round(height * longest / largest)), max(1, round(width * longest / largest))


def _at_most(rgb: RGB, longest: int) -> RGB:
    height, width = rgb.shape[:2]
    return resize(rgb, _fit((height, width), longest))


def _blurhash() -> Any:
    needs("bench", "blurhash", what="BlurHash")
    import blurhash

    return blurhash
