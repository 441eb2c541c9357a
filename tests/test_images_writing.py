"""Pictures out: every format keeps what it can, and says what it cannot."""

import io

import numpy as np
import pytest
from pictures import ALPHA, COLOUR, GRAY, SRGB, assert_picture, file, smooth, three
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures import strips
from bdflow.pictures.codecs import check_writable, encode
from bdflow.pictures.reader import READABLE, Picture, read
from bdflow.pictures.strips import Strips


@pytest.mark.parametrize("format", ["png", "tif", "tiff", "bmp", "PNG"])
def test_lossless_formats(format):
    assert_picture(read(encode(Picture(COLOUR), format)), COLOUR)
    assert_picture(read(encode(Picture(three(GRAY), None, True), format)), three(GRAY), gray=True)


@pytest.mark.parametrize("format", ["png", "tif"])
def test_lossless_alpha(format):
    assert_picture(read(encode(Picture(COLOUR, ALPHA), format)), COLOUR, ALPHA)
    assert_picture(read(encode(Picture(three(GRAY), ALPHA, True), format)), three(GRAY), ALPHA, gray=True)


@pytest.mark.parametrize("format", ["jpg", "jpeg", "webp", "avif"])
def test_lossy_formats(format):
    best, default, worst = (
        encode(Picture(smooth(), icc=SRGB), format, quality) for quality in (100, None, 5)
    )
    assert len(best) > len(default) > len(worst)
    assert len(default) == len(encode(Picture(smooth(), icc=SRGB), format, 95))
    picture = read(default)
    np.testing.assert_allclose(picture.rgb.astype(int), smooth(), atol=6)
    assert picture.icc == SRGB


def test_jpeg_keeps_fine_colour():
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200
    np.testing.assert_allclose(read(encode(Picture(stripes), "jpg")).rgb.astype(int), stripes, atol=30)


@pytest.mark.parametrize("format", ["webp", "avif"])
def test_lossy_alpha(format):
    alpha = smooth()[..., 0]
    picture = read(encode(Picture(smooth(), alpha), format))
    np.testing.assert_allclose(picture.alpha.astype(int), alpha, atol=6)


@pytest.mark.parametrize("format", ["png", "tif"])
def test_written_profile(format):
    assert read(encode(Picture(COLOUR, icc=SRGB), format)).icc == SRGB


@pytest.mark.parametrize(
    ("picture", "format", "quality", "message"),
    [
        (Picture(COLOUR), "gif", None, "'gif': choose one of png, jpg"),
        (Picture(COLOUR, ALPHA), "jpg", None, "jpg cannot hold transparency: write png, webp, avif or tif"),
        (Picture(COLOUR, ALPHA), "bmp", None, "bmp cannot hold transparency"),
        (Picture(COLOUR), "png", 90, "png is lossless and takes no quality"),
        (Picture(COLOUR), "jpg", 0, r"quality must be 1\.\.100, not 0"),
        (Picture(COLOUR), "webp", 101, "not 101"),
        (Picture(np.zeros((1, 16384, 3), np.uint8)), "webp", None, "cannot write 16384x1 as webp"),
        (Picture(np.zeros((1, 65536, 3), np.uint8)), "jpg", None, "cannot write 65536x1 as jpg"),
    ],
)
def test_what_cannot_be_encoded(picture, format, quality, message):
    with pytest.raises(BDFlowError, match=message) as caught:
        encode(picture, format, quality)
    assert "\n" not in str(caught.value)


def test_write(tmp_path):
    path = tmp_path / "a.PNG"
    strips.write(Strips.of(COLOUR), path)
    assert_picture(read(path), COLOUR)
    with pytest.raises(BDFlowError, match="exists already"):
        strips.write(Strips.of(COLOUR), path)
    strips.write(Strips.of(COLOUR[:2]), path, overwrite=True)
    assert_picture(read(path), COLOUR[:2])
    strips.write(Strips.of(smooth()), tmp_path / "b.jpg", quality=10)
    assert (tmp_path / "b.jpg").read_bytes() == encode(Picture(smooth()), "jpg", 10)


@pytest.mark.parametrize(
    ("path", "width", "height", "alpha", "message"),
    [
        ("a", 1, 1, False, "a: add an ending, one of png, jpg, jpeg, webp, avif, tif, tiff, bmp"),
        ("a.xyz", 1, 1, False, "cannot write 'xyz': choose one of png, "),
        ("a.JPG", 1, 1, True, "JPG cannot hold transparency: write png, webp, avif or tif"),
        (
            "a.webp",
            16384,
            1,
            True,
            "cannot write 16384x1 as webp: a side has at most 16,383 pixels; png takes",
        ),
        (
            "a.jpeg",
            1,
            65501,
            False,
            "cannot write 1x65501 as jpeg: a side has at most 65,500 pixels; png takes",
        ),
    ],
)
def test_what_cannot_be_written_is_known_before(path, width, height, alpha, message):
    with pytest.raises(BDFlowError) as caught:
        check_writable(path, width, height, alpha)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("format", "side"), [("webp", 16383), ("jpg", 65500), ("avif", 32768)])
def test_the_longest_sides_are_just_those_that_pillow_writes_and_reads(format, side):
    check_writable(f"a.{format}", side, 1, False)
    read(encode(Picture(np.zeros((1, side, 3), np.uint8)), format))
    with pytest.raises((OSError, ValueError)):
        written_and_read(side + 1, format)


def written_and_read(width, format):
    buffer = io.BytesIO()
    Image.new("RGB", (width, 1)).save(buffer, {"jpg": "JPEG"}.get(format, format))
    Image.open(buffer)  # AVIF writes more than it reads


@pytest.mark.parametrize("name", ["noending", "a.xyz"])
def test_write_without_a_format(tmp_path, name):
    with pytest.raises(BDFlowError, match="one of png, jpg"):
        strips.write(Strips.of(COLOUR), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_readable_endings():
    Image.init()
    endings = Image.registered_extensions()
    for ending in READABLE:
        image = Image.fromarray(GRAY if ending == ".pgm" else COLOUR)
        assert read(file(image, endings[ending])).width == 7
