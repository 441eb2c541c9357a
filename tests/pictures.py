"""Pictures to test with, and how to compare them."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

from bdflow.pictures.reader import Picture

COLOUR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
ALPHA = np.random.default_rng(1).integers(0, 256, (5, 7), np.uint8)
GRAY = COLOUR[..., 0]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

GRAY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]  # as far as anything reads it here


def file(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    """A picture that lossy formats keep to within a few levels."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3 + 20, y * 4 + 10, x + y + 60], axis=2).astype(np.uint8)


def png(width: int, height: int, depth: int, color_type: int, rows: bytes) -> bytes:
    """A PNG written by hand, for kinds that Pillow reads but does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    data = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(data)


def rows16(samples: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)


def assert_picture(picture: Picture, rgb, alpha=None, gray=False) -> None:
    np.testing.assert_array_equal(picture.rgb, rgb)
    assert picture.rgb.dtype == np.uint8
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alpha, alpha)
        assert picture.alpha.dtype == np.uint8
    assert picture.gray is gray
    assert (picture.height, picture.width) == picture.rgb.shape[:2]


def three(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=2)
