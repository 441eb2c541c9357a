"""Small files to test with, taken apart and put together by hand."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from bdflow.pictures.reader import Picture
from bdflow.smallfile.downscaled import Downscaled

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WEIGHTS = bytes(range(100, 108))


def small(
    height: int = 12,
    width: int = 10,
    *,
    bits: int = 1,
    gray: bool = False,
    of_gray: bool = False,
    alpha: bool = False,
    icc: bytes | None = None,
    seed: int = 0,
) -> Downscaled:
    """Plain integer formulas: the golden files must mean the same on every machine."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 17 + y * 3 + seed, y * 13 + seed, (x * y) % 97 + 60], axis=2).astype(np.uint8)
    if gray:
        rgb = np.repeat(rgb[..., :1], 3, axis=2)
    levels = ((x + 2 * y + seed) % 9 < 2) * (1 + x % (2**bits - 1 or 1))
    return Downscaled(
        image=Picture(rgb, (x * 20 + y).astype(np.uint8) if alpha else None, gray, icc),
        boundary=levels.astype(np.uint8) if bits else None,
        bits=bits,
        model="portraits-x8",
        weights=WEIGHTS,
        scale=8,
        size=(width * 8 - 3, height * 8 - 7),
        gray=of_gray,
    )


def assert_same(a: Downscaled, b: Downscaled) -> None:
    np.testing.assert_array_equal(a.image.rgb, b.image.rgb)
    assert (a.image.alpha is None) == (b.image.alpha is None)
    if a.image.alpha is not None:
        np.testing.assert_array_equal(a.image.alpha, b.image.alpha)
    assert (a.image.gray, a.image.icc) == (b.image.gray, b.image.icc)
    assert (a.boundary is None) == (b.boundary is None)
    if a.boundary is not None:
        np.testing.assert_array_equal(a.boundary, b.boundary)
    assert (a.bits, a.model, a.weights, a.scale) == (b.bits, b.model, b.weights, b.scale)
    assert (a.size, a.gray, a.bicubic) == (b.size, b.gray, b.bicubic)
    assert not a.pixels_changed
    assert not b.pixels_changed


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """A second reader of PNG chunks, to check the first."""
    found, position = [], 8
    while position < len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        found.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def join(parts: list[tuple[bytes, bytes]]) -> bytes:
    """The PNG of these chunks, every checksum right."""
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


def with_payload(data: bytes, payload: bytes) -> bytes:
    return join([(kind, payload if kind == b"bdFW" else body) for kind, body in chunks(data)])


def payload_of(data: bytes) -> bytes:
    return dict(chunks(data))[b"bdFW"]


def sealed(body: bytes) -> bytes:
    return body + struct.pack(">I", zlib.crc32(body))


def repainted(data: bytes) -> bytes:
    """Other pixels around the same chunk, as by an editor that copies what it does not know."""
    with Image.open(io.BytesIO(data)) as image:
        pixels = image.point(lambda value: 255 - value)
    info = PngInfo()
    info.add(b"bdFW", payload_of(data))
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def saved_again(data: bytes, format: str, **options) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
    return buffer.getvalue()
