"""Thumbnails to test with: photographs by plain formulas, and their files, quickly coded."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from bdflow.pictures import codecs, reader
from bdflow.pictures.codecs import Codec
from bdflow.pictures.reader import Picture
from bdflow.runtime.enhancer import shrunk
from bdflow.smallfile import avif, jpeg, webp
from bdflow.smallfile.payload import Version2
from bdflow.smallfile.quantizer import quality as quality_of
from bdflow.smallfile.thumbnail import Domain, Thumbnail

CONTAINERS = {"AVIF": avif, "WebP": webp, "JPEG": jpeg}
PILLOW = {"AVIF": "AVIF", "WebP": "WEBP", "JPEG": "JPEG"}
QUICK: dict[str, Codec] = {
    "AVIF": replace(codecs.AVIF, effort=2),
    "WebP": replace(codecs.WEBP, effort=2),
    "JPEG": codecs.JPEG,
}


def photo(height: int = 40, width: int = 52, *, gray: bool = False, alpha: bool = False) -> Picture:
    """Waves and an edge."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 60 * np.sin(x / (3 + c) + y / 7) + 50 * ((x + 2 * y) % 31 > 15 + c) for c in range(3)]
    rgb = np.stack(waves, axis=2).clip(0, 255).astype(np.uint8)
    if gray:
        rgb = np.repeat(rgb[..., 1:2], 3, axis=2)
    return Picture(rgb, (x * 4 + y).clip(0, 255).astype(np.uint8) if alpha else None, gray)


def coded(picture: Picture, format: str, factor: float = 1, quality: int = 50) -> bytes:
    """The codec's own file of a thumbnail."""
    return QUICK[format].encode(shrunk(picture, factor).to_pil(), quality)


def thumbnail(
    picture: Picture,
    format: str = "WebP",
    factor: float = 2,
    domain: Domain = "photos",
    quality: int = 50,
) -> Thumbnail:
    """What `bdflow.fit` would make of it with these choices."""
    size = picture.width, picture.height
    file = coded(picture, format, factor, quality)
    return Thumbnail(
        image=reader.read(file),
        format=format,
        data=CONTAINERS[format].insert(file, Version2.of(size, factor, domain).pack()),
        factor=factor,
        domain=domain,
        size=size,
        quality=quality_of(file),
    )


def pixels(data: bytes, *formats: str) -> np.ndarray:
    """As Pillow decodes them."""
    with Image.open(io.BytesIO(data), formats=formats or None) as image:
        return np.array(image)


def assert_same(a: Thumbnail, b: Thumbnail) -> None:
    np.testing.assert_array_equal(a.image.rgb, b.image.rgb)
    assert (a.image.alpha is None) == (b.image.alpha is None)
    if a.image.alpha is not None:
        np.testing.assert_array_equal(a.image.alpha, b.image.alpha)
    assert (a.format, a.data, a.factor, a.domain) == (b.format, b.data, b.factor, b.domain)
    assert (a.size, a.quality, a.gray) == (b.size, b.quality, b.gray)
