"""Pictures in: every kind of file that people have."""

import io

import numpy as np
import pytest
from pictures import ALPHA, COLOUR, GRAY, GRAY_PROFILE, SRGB, assert_picture, file, png, rows16, smooth, three
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures.reader import Picture, read

# Sources


def test_every_source_gives_the_same_picture(tmp_path):
    data = file(Image.fromarray(COLOUR))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for source in (path, str(path), data, bytearray(data), io.BytesIO(data), Image.open(path), COLOUR):
        picture = read(source)
        assert_picture(picture, COLOUR)
        assert picture.notes == ()


def test_arrays():
    assert_picture(read(GRAY), three(GRAY), gray=True)
    assert_picture(read(GRAY[..., None]), three(GRAY), gray=True)
    assert_picture(read(np.dstack([GRAY, ALPHA])), three(GRAY), ALPHA, gray=True)
    assert_picture(read(np.dstack([COLOUR, ALPHA])), COLOUR, ALPHA)
    assert_picture(read(COLOUR[::-1, ::2]), COLOUR[::-1, ::2])


def test_picture_shares_no_memory_with_the_array():
    for source in (GRAY.copy(), COLOUR.copy(), np.dstack([COLOUR, ALPHA])):
        picture = read(source)
        before = picture.rgb.copy()
        source[...] = 0
        np.testing.assert_array_equal(picture.rgb, before)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_array_of_16_bits_is_rounded(order):
    values = np.arange(65536).reshape(256, 256)
    picture = read(values.astype(order))
    expected = np.round(values / 257)
    assert_picture(picture, three(expected), gray=True)
    assert picture.notes == ("16-bit samples reduced to 8 bits",)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (COLOUR.astype(np.float32), "uint8 or uint16, not float32"),
        (COLOUR.astype(np.int8), "not int8"),
        (COLOUR.astype(np.uint32), "not uint32"),
        (COLOUR > 3, "not bool"),
        (np.zeros((2, 3, 5), np.uint8), r"not \(2, 3, 5\)"),
        (np.zeros((1, 2, 3, 3), np.uint8), r"not \(1, 2, 3, 3\)"),
        (np.zeros((0, 3), np.uint8), r"not \(0, 3\)"),
        (np.zeros(3, np.uint8), r"not \(3,\)"),
    ],
)
def test_arrays_that_are_no_pictures(array, message):
    with pytest.raises(BDFlowError, match=message):
        read(array)


# Kinds of samples


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_plain_modes(format):
    pil = {mode: Image.fromarray(a) for mode, a in [("L", GRAY), ("RGB", COLOUR), ("A", ALPHA)]}
    assert_picture(read(file(pil["L"], format)), three(GRAY), gray=True)
    assert_picture(read(file(pil["RGB"], format)), COLOUR)
    for mode, gray in [("L", True), ("RGB", False)]:
        both = pil[mode].copy()
        both.putalpha(pil["A"])
        assert_picture(read(file(both, format)), three(GRAY) if gray else COLOUR, ALPHA, gray)


def test_one_bit():
    bits = GRAY > 127
    assert_picture(read(file(Image.fromarray(bits))), three(bits * 255), gray=True)


def test_gray_values_in_a_colour_file_stay_colour():
    assert_picture(read(file(Image.fromarray(three(GRAY)))), three(GRAY), gray=False)


def test_palette():
    indexed = Image.fromarray(COLOUR).quantize(16)
    expected = np.asarray(indexed.convert("RGB"))
    assert_picture(read(file(indexed)), expected)
    assert_picture(read(file(indexed, "GIF")), expected)

    clear = int(np.asarray(indexed)[2, 3])
    alpha = np.where(np.asarray(indexed) == clear, 0, 255)
    assert_picture(read(file(indexed, transparency=clear)), expected, alpha)
    half = bytes([0, 100, 200] + [255] * 13)
    alpha = np.frombuffer(half, np.uint8)[np.asarray(indexed)]
    assert_picture(read(file(indexed, transparency=half)), expected, alpha)


def test_one_transparent_colour():
    pixels = COLOUR.copy()
    pixels[1, 2] = pixels[4, 6] = (9, 8, 7)
    expected = np.full((5, 7), 255)
    expected[1, 2] = expected[4, 6] = 0
    assert_picture(read(file(Image.fromarray(pixels), transparency=(9, 8, 7))), pixels, expected)
    gray = pixels[..., 0]
    alpha = np.where(gray == 9, 0, 255)
    assert_picture(read(file(Image.fromarray(gray), transparency=9)), three(gray), alpha, gray=True)


def test_rare_modes_of_pillow():
    colour, gray = (
        Image.fromarray(np.dstack([COLOUR, ALPHA])),
        Image.fromarray(np.dstack([GRAY, ALPHA]), "LA"),
    )
    for mode, image in [("RGBa", colour), ("La", gray)]:
        premultiplied = image.convert(mode)
        expected = np.asarray(premultiplied.convert(image.mode))
        np.testing.assert_array_equal(np.asarray(read(premultiplied).to_pil()), expected)
    indexed = Image.fromarray(COLOUR).quantize(16).convert("PA")
    assert_picture(read(indexed), np.asarray(indexed.convert("RGB")), np.full((5, 7), 255))
    assert_picture(read(Image.fromarray(COLOUR).convert("RGBX")), COLOUR)
    for mode in ("YCbCr", "HSV"):
        image = Image.fromarray(COLOUR).convert(mode)
        assert_picture(read(image), np.asarray(image.convert("RGB")))


def test_cmyk_loses_its_profile():
    image = Image.fromarray(smooth()).convert("CMYK")
    picture = read(file(image, "TIFF", icc_profile=b"a CMYK profile"))
    assert_picture(picture, np.asarray(image.convert("RGB")))
    assert picture.icc is None
    assert picture.notes == ("CMYK converted to RGB, its profile dropped",)
    picture = read(file(image, "JPEG", quality=100))
    np.testing.assert_allclose(picture.rgb.astype(int), smooth(), atol=8)
    assert picture.notes == ("CMYK converted to RGB",)


def test_lab():
    lab = Image.merge("LAB", [Image.new("L", (4, 3), value) for value in (136, 128, 128)])
    picture = read(file(lab, "TIFF"))
    # L* = 100 * 136 / 255 = 53.3: luminance ((53.3 + 16) / 116)^3 = 0.2136, in sRGB 127.5
    np.testing.assert_allclose(picture.rgb.astype(float), 127.5, atol=1.5)
    assert picture.notes == ("LAB converted to RGB",)


def test_16_bit_ppm():
    data = b"P6 2 1 65535\n" + np.array([0, 128, 65535, 257, 514, 771], ">u2").tobytes()
    picture = read(data)
    assert picture.rgb.tolist() == [[[0, 0, 255], [1, 2, 3]]]
    assert picture.notes == ("16-bit samples reduced to 8 bits",)


def test_an_array_beyond_the_limits_is_refused():
    with pytest.raises(BDFlowError, match=r"^the array: 4x3 is more than 11 pixels: reduce it first$"):
        read(np.zeros((3, 4), np.uint8), max_pixels=11)
    with pytest.raises(BDFlowError, match=r"has a side of more than 1,000,000 pixels"):
        read(np.zeros((1, 1_000_001), np.uint8))


def test_16_bit_gray():
    values = np.linspace(0, 65535, 60).astype(np.uint16).reshape(6, 10)
    expected = three(np.round(values / 257))
    for data in (file(Image.fromarray(values)), file(Image.fromarray(values), "TIFF")):
        picture = read(data)
        assert_picture(picture, expected, gray=True)
        assert picture.notes == ("16-bit samples reduced to 8 bits",)
    assert_picture(read(Image.fromarray(values.astype(np.int32))), expected, gray=True)
    key = int(values[2, 3])
    alpha = np.where(values == key, 0, 255)
    assert_picture(read(file(Image.fromarray(values), transparency=key)), expected, alpha, gray=True)


@pytest.mark.parametrize(("color_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_png_of_several_channels(color_type, channels):
    values = np.random.default_rng(2).integers(0, 65536, (3, 4, channels))
    picture = read(png(4, 3, 16, color_type, rows16(values)))
    high = values >> 8
    gray = channels == 2
    alpha = high[..., -1] if channels != 3 else None
    assert_picture(picture, three(high[..., 0]) if gray else high[..., :3], alpha, gray)
    assert picture.notes == ("16-bit samples reduced to 8 bits",)


@pytest.mark.parametrize("value", [-1, 65536])
def test_32_bit_samples_out_of_range(value):
    image = Image.fromarray(np.full((3, 3), value, np.int32))
    with pytest.raises(BDFlowError, match=r"the image: 32-bit samples beyond 0\.\.65535"):
        read(image)


def test_float_samples_are_refused(tmp_path):
    path = tmp_path / "float.tif"
    path.write_bytes(file(Image.fromarray(np.zeros((3, 3), np.float32)), "TIFF"))
    with pytest.raises(BDFlowError, match=r"float\.tif: floating-point samples: convert"):
        read(path)


# What surrounds the samples

UPRIGHT = {  # EXIF's eight: how to turn the stored rows into the picture
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_exif_rotation(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = UPRIGHT[orientation]
    assert_picture(read(file(Image.fromarray(COLOUR), format, exif=exif)), turn(COLOUR))
    both = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    assert_picture(read(file(both, format, exif=exif)), turn(COLOUR), turn(ALPHA))
    deep = Image.fromarray(GRAY.astype(np.uint16) * 257)
    assert_picture(read(file(deep, format, exif=exif)), three(turn(GRAY)), gray=True)


def test_rotating_leaves_a_pillow_image_alone():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(file(Image.fromarray(COLOUR), exif=exif)))
    assert read(image).rgb.shape == (7, 5, 3)
    assert image.size == (7, 5)
    assert image.getexif()[0x0112] == 6


def test_broken_exif_does_not_matter():
    picture = read(file(Image.fromarray(COLOUR), exif=b"II*\0\xff\xff\xff\xffjunk"))
    assert_picture(picture, COLOUR)


def test_exif_that_cannot_be_parsed_is_noted(monkeypatch):
    def fail(_image):
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image.Image, "getexif", fail)
    picture = read(Image.fromarray(COLOUR))
    assert_picture(picture, COLOUR)
    assert picture.notes == ("damaged EXIF data ignored",)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_profile_is_kept(format):
    assert read(file(Image.fromarray(COLOUR), format, icc_profile=SRGB)).icc == SRGB
    assert read(file(Image.fromarray(COLOUR), format)).icc is None


def test_huge_profile_is_dropped():
    picture = read(file(Image.fromarray(COLOUR), "TIFF", icc_profile=bytes(2_000_000)))
    assert picture.icc is None
    assert picture.notes == ("colour profile of 2,000,000 bytes dropped: too large for a PNG",)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_animation(format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    picture = read(file(frames[0], format, save_all=True, append_images=frames[1:], duration=50))
    np.testing.assert_allclose(picture.rgb[0, 0].astype(int), (255, 0, 0), atol=3)
    assert picture.notes == ("animation: first frame only",)


def test_several_pages():
    frames = [Image.fromarray(COLOUR), Image.new("RGB", (8, 8))]
    picture = read(file(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert_picture(picture, COLOUR)
    assert picture.notes == ("several pictures: first one only",)


# Picture


@pytest.mark.parametrize(
    ("alpha", "gray", "mode"),
    [(None, False, "RGB"), (ALPHA, False, "RGBA"), (None, True, "L"), (ALPHA, True, "LA")],
)
def test_to_pil(alpha, gray, mode):
    rgb = three(GRAY) if gray else COLOUR
    icc = GRAY_PROFILE if gray else SRGB
    image = Picture(rgb, alpha, gray, icc).to_pil()
    assert image.mode == mode
    assert image.info["icc_profile"] == icc
    picture = read(image)
    assert_picture(picture, rgb, alpha, gray)
    assert (picture.icc, picture.notes) == (icc, ())


@pytest.mark.parametrize(
    ("rgb", "alpha"),
    [
        (GRAY, None),
        (COLOUR.astype(float), None),
        (COLOUR[:0], None),
        (np.dstack([COLOUR, ALPHA]), None),
        (COLOUR, ALPHA.astype(float)),
        (COLOUR, ALPHA[1:]),
    ],
)
def test_impossible_pictures(rgb, alpha):
    with pytest.raises(BDFlowError, match="must be uint8 of shape"):
        Picture(rgb, alpha)
