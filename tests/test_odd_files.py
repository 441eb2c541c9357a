"""Files that people have and programs stumble over: each is read, or refused with its own cause."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import COLOUR, GRAY, GRAY_PROFILE, SRGB, assert_picture, file, png, rows16, three
from PIL import Image, ImageOps
from small_files import chunks, join, small
from thumbnails import thumbnail

import bdflow
from bdflow.errors import BDFlowError
from bdflow.pictures.png_input import DAMAGED
from bdflow.pictures.reader import Picture, read
from bdflow.smallfile import container

PLAIN = file(Image.fromarray(COLOUR))


def with_chunk(kind: bytes, body: bytes, at: int = 1, data: bytes = PLAIN) -> bytes:
    parts = chunks(data)
    parts.insert(at, (kind, body))
    return join(parts)


def turned_by_a_program(data: bytes, orientation: int) -> bytes:
    """A PNG with a tag in EXIF, as a manager of photographs writes it; nothing else changes."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return with_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"), data=data)


# Orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_small_files_grid_is_never_turned(orientation):
    made = small(bits=2, alpha=True)
    data = turned_by_a_program(made.to_bytes(), orientation)
    found = container.read(data)
    np.testing.assert_array_equal(found.image.rgb, made.image.rgb)
    np.testing.assert_array_equal(found.image.alpha, made.image.alpha)
    assert not found.pixels_changed
    assert found.image.orientation == orientation
    with pytest.raises(container.NoChunkError) as stripped:
        container.read(join([part for part in chunks(data) if part[0] != b"bdFW"]))
    np.testing.assert_array_equal(stripped.value.picture.rgb, made.image.rgb)
    assert stripped.value.picture.orientation == orientation


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_restored_picture_is_turned_instead(restoring, orientation):
    photo = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation

    def upright(image: Image.Image) -> Image.Image:
        tagged = Image.fromarray(np.asarray(image))
        tagged.getexif()[0x0112] = orientation
        return ImageOps.exif_transpose(tagged)

    data = bdflow.downscale(photo, scale=2, threads=1).to_bytes()
    plain = bdflow.upscale(data, threads=1)
    restored = bdflow.upscale(turned_by_a_program(data, orientation), threads=1)
    assert restored == upright(plain)

    made = thumbnail(Picture(photo), "JPEG", 1, "plain", 60)
    tag = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(tag)) + tag
    tagged = made.data[:2] + segment + made.data[2:]
    assert bdflow.upscale(tagged, threads=1) == upright(bdflow.upscale(made.data, threads=1))


def test_a_pillow_image_may_stand_upright_already(built_in):
    image = Image.fromarray(COLOUR)
    image.getexif()[0x0112] = 6
    np.testing.assert_array_equal(read(image).rgb, np.rot90(COLOUR, -1))
    assert_picture(read(image, turn=False), COLOUR)
    assert bdflow.downscale(image, scale=2, turn=False, threads=1).size == (7, 5)
    assert bdflow.load("tiny-x2", threads=1).downscale(image).size == (5, 7)


def test_orientation_in_xmp_counts_where_exif_has_none():
    xmp = b'<rdf:Description tiff:Orientation="6"/>'
    data = with_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    np.testing.assert_array_equal(read(data).rgb, np.rot90(COLOUR, -1))
    assert_picture(read(turned_by_a_program(data, 1)), COLOUR)


# A cause each


TEXT = b"x" * 1_800_000


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"zTXt", b"k\0\0" + zlib.compress(TEXT)),
        (b"iTXt", b"k\0\1\0\0\0" + zlib.compress(TEXT)),
        (b"zTXt", b"k\0\0junk"),
        (b"pHYs", b"1"),
        (b"cHRM", b"1"),
        (b"gAMA", b"1"),
        (b"acTL", b"1"),
    ],
)
def test_what_is_no_part_of_the_pixels_does_not_matter(kind, body, at):
    picture = read(with_chunk(kind, body, at))
    assert_picture(picture, COLOUR)
    assert picture.notes == ()


def test_a_wrong_checksum_beside_the_pixels_does_not_matter():
    data = with_chunk(b"tEXt", b"k\0text").replace(b"k\0text", b"k\0TEXT")
    assert_picture(read(data), COLOUR)


def test_a_profile_that_is_too_large_is_dropped_with_a_note():
    noise = np.random.default_rng(0).integers(0, 256, 1_300_000, np.uint8).tobytes()
    picture = read(with_chunk(b"iCCP", b"k\0\0" + zlib.compress(SRGB + noise)))
    assert_picture(picture, COLOUR)
    assert picture.icc is None
    assert picture.notes == ("colour profile dropped: it has more than 1,048,576 bytes",)


def bmp(bits: int, compression: int, masks: tuple[int, ...] = (), colours: int = 0) -> bytes:
    pixels = bytes(64)
    sizes = len(pixels), 2835, 2835, colours, 0
    header = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, bits, compression, *sizes)
    header += struct.pack(f"<{len(masks)}I", *masks)
    return b"BM" + struct.pack("<IHHI", 78, 0, 0, 14 + len(header)) + header + pixels


def _tiff_of_compression(number: int) -> bytes:
    """A TIFF of the compression of that number, which libtiff may know or not, and whose data are not."""
    data = file(Image.fromarray(COLOUR), "TIFF", compression="tiff_lzw")
    entry = struct.pack("<HHII", 259, 3, 1, 5)
    assert data.count(entry) == 1
    return data.replace(entry, struct.pack("<HHII", 259, 3, 1, number))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bmp(16, 3, (0xF00, 0xF0, 0xF)), "unsupported BMP bitfields layout: convert it to PNG first"),
        (bmp(2, 0), r"unsupported BMP pixel depth \(2\): convert it to PNG first"),
        (bmp(24, 4), r"unsupported BMP compression \(4\): convert it to PNG first"),
        (bmp(8, 0, tuple(range(300)), 300), "of a kind that is not read here: convert it to PNG first"),
        (
            _tiff_of_compression(50001),
            r"its compression \(webp\) is not read here, or it is damaged: convert",
        ),
        (
            _tiff_of_compression(50000),
            r"its compression \(zstd\) is not read here, or it is damaged: convert",
        ),
    ],
)
def test_sound_files_of_kinds_that_are_not_read(data, message):
    with pytest.raises(BDFlowError, match=f"the data: {message}"):
        read(data)


def test_a_bmp_of_16_bits_a_pixel_has_no_samples_of_16():
    assert read(bmp(16, 3, (0xF800, 0x7E0, 0x1F))).notes == ()


@pytest.mark.parametrize("load", [True, False])
def test_a_closed_image(tmp_path, load):
    (tmp_path / "a.png").write_bytes(PLAIN)
    with Image.open(tmp_path / "a.png") as image:
        if load:
            image.load()
    image.close()
    with pytest.raises(BDFlowError, match=r"the image: the image is closed: open it again, or load\(\) it"):
        read(image)


def test_an_image_without_pixels():
    with pytest.raises(BDFlowError, match="the image: 0x5 pixels are no picture"):
        read(Image.new("RGB", (0, 5)))


def test_a_png_whose_pixels_have_a_wrong_checksum_is_refused():
    place = PLAIN.index(b"IDAT")
    end = place + 4 + int.from_bytes(PLAIN[place - 4 : place])
    for at in (29, end):  # the header's, the pixels'
        wrong = bytearray(PLAIN)
        wrong[at] ^= 1
        with pytest.raises(BDFlowError, match=DAMAGED):
            read(bytes(wrong))
    with pytest.raises(BDFlowError, match=DAMAGED):
        read(PLAIN[: end - 4])


def test_a_png_or_gif_that_lacks_its_end_alone_is_read():
    for cut in range(1, 13):
        assert_picture(read(PLAIN[:-cut]), COLOUR)
    gray = file(Image.fromarray(GRAY), "GIF")
    assert_picture(read(gray[:-1]), read(gray).rgb, gray=read(gray).gray)


# One transparent colour


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_gray_of_few_bits(depth):
    top = 2**depth - 1
    samples = (GRAY >> 8 - depth).astype(np.uint8)
    bits = np.unpackbits(samples[..., None], axis=2)[..., -depth:].reshape(5, -1)
    packed = np.packbits(bits, axis=1)
    data = png(7, 5, depth, 0, b"".join(b"\0" + row.tobytes() for row in packed))
    key = int(samples[2, 3])
    picture = read(with_chunk(b"tRNS", struct.pack(">H", key), data=data))
    alpha = np.where(samples == key, 0, 255)
    assert_picture(picture, three(samples * (255 // top)), alpha, gray=True)


def test_a_transparent_colour_of_16_bits_is_compared_in_16():
    samples = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    samples[1, 2] = samples[4, 0] = (0x1234, 0x5678, 0x9ABC)
    samples[3, 3] = (0x1234, 0x5678, 0x9ABD)
    data = png(7, 5, 16, 2, rows16(samples.reshape(5, -1)))
    alpha = np.full((5, 7), 255)
    alpha[1, 2] = alpha[4, 0] = 0
    data = with_chunk(b"tRNS", samples[1, 2].astype(">u2").tobytes(), data=data)
    assert_picture(read(data), samples >> 8, alpha)
    picture = read(turned_by_a_program(data, 6))
    np.testing.assert_array_equal(picture.alpha, np.rot90(alpha, -1))
    image = Image.open(io.BytesIO(data))  # of an image, the high bytes are all that is known
    alpha[3, 3] = 0
    assert_picture(read(image), samples >> 8, alpha)


def test_what_libavif_has_not_got_is_not_called_damaged(monkeypatch):
    """Of grids within grids it says so; none can be written here."""

    def refuse(self) -> None:
        raise RuntimeError("Failed to decode image: Not implemented")

    data = file(Image.fromarray(COLOUR), "AVIF")
    monkeypatch.setattr("PIL.AvifImagePlugin.AvifImageFile.load", refuse)
    with pytest.raises(BDFlowError, match="the data: of a kind that is not read here: convert it to PNG"):
        read(data)


# Profiles


def test_a_profile_fits_the_picture_or_is_dropped_with_a_note():
    gray, colour = Image.fromarray(GRAY), Image.fromarray(COLOUR)
    for image, own, other, note in (
        (gray, GRAY_PROFILE, SRGB, "colour profile for RGB dropped: the picture is gray"),
        (colour, SRGB, GRAY_PROFILE, "colour profile for GRAY dropped: the picture is RGB"),
    ):
        for format in ("JPEG", "TIFF", "WEBP" if image is colour else "PNG"):
            assert read(file(image, format, icc_profile=own)).icc == own
            picture = read(file(image, format, icc_profile=other))
            assert (picture.icc, picture.notes) == (None, (note,))
    assert read(file(colour, "JPEG", icc_profile=b"no profile")).notes == ("damaged colour profile dropped",)


def test_what_is_restored_has_no_profile_of_other_samples(built_in):
    """Files of earlier releases may carry one."""
    rescaler = bdflow.load("tiny-x2", threads=1)
    made = rescaler.downscale(Picture(three(GRAY), gray=True, icc=SRGB))
    assert made.image.icc == SRGB
    assert "icc_profile" not in rescaler.upscale(made.to_bytes()).info
    made = rescaler.downscale(Picture(three(GRAY), gray=True, icc=GRAY_PROFILE))
    assert rescaler.upscale(made.to_bytes()).info["icc_profile"] == GRAY_PROFILE


# Notes


def test_the_chosen_frame_is_named():
    frames = [Image.fromarray(np.full((5, 7, 3), value, np.uint8)) for value in (10, 100, 200)]
    image = Image.open(io.BytesIO(file(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    assert read(image).notes == ("animation: first frame only",)
    image.seek(2)
    picture = read(image)
    assert picture.notes == ("animation: frame 3 only",)
    assert picture.rgb[0, 0, 0] == 200


@pytest.mark.parametrize(
    ("kind", "body", "meaning"),
    [
        (b"cICP", bytes([9, 16, 0, 1]), "PQ (HDR)"),
        (b"cICP", bytes([9, 18, 0, 1]), "HLG (HDR)"),
        (b"cICP", bytes([1, 13, 0, 1]), None),
        (b"gAMA", struct.pack(">I", 100_000), "linear"),
        (b"gAMA", struct.pack(">I", 45_455), None),
        (b"gAMA", struct.pack(">I", 30_000), "gamma 0.3"),
    ],
)
def test_samples_that_are_not_srgb_are_noted(kind, body, meaning):
    expected = (f"{meaning} samples taken for sRGB",) if meaning else ()
    assert read(with_chunk(kind, body)).notes == expected
    assert read(with_chunk(kind, body, data=file(Image.fromarray(COLOUR), icc_profile=SRGB))).notes == ()


def test_an_avif_of_pq_is_noted():
    data = bytearray(file(Image.fromarray(COLOUR), "AVIF"))
    place = data.index(b"colrnclx") + 10
    data[place : place + 2] = (16).to_bytes(2)
    assert read(bytes(data)).notes == ("PQ (HDR) samples taken for sRGB",)


def test_a_warning_of_pillows_names_the_file(shell):
    cut_short = b"II*\0\x08\0\0\0\x02\0" + struct.pack("<HHII", 0x0112, 3, 1, 1) + b"123"
    Path("odd.png").write_bytes(with_chunk(b"eXIf", cut_short))
    status, _, err = shell("downscale", "odd.png")
    assert (status, err.splitlines()[0][:42]) == (0, "bdflow: warning: odd.png: Corrupt EXIF dat")


# Small files that an optimiser went through


def test_an_opaque_alpha_that_comes_or_goes_changes_nothing_that_is_seen():
    plain = small()
    opaque = small(alpha=True)
    opaque.image.alpha[:] = 255
    for made, mode in ((plain, "RGBA"), (opaque, "RGB")):
        data = made.to_bytes()
        payload = dict(chunks(data))[b"bdFW"]
        optimised = file(Image.open(io.BytesIO(data)).convert(mode))
        found = container.read(with_chunk(b"bdFW", payload, data=optimised))
        assert not found.pixels_changed
        np.testing.assert_array_equal(found.image.rgb, made.image.rgb)
        assert (found.image.alpha is None) == (made.image.alpha is None)
    seen = small(alpha=True)
    optimised = file(Image.open(io.BytesIO(seen.to_bytes())).convert("RGB"))
    payload = dict(chunks(seen.to_bytes()))[b"bdFW"]
    assert container.read(with_chunk(b"bdFW", payload, data=optimised)).pixels_changed
