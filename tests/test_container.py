"""The small file: a PNG for everyone, bit-exact and checked for us."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from bdflow import boundary, container
from bdflow.container import Downscaled, NoChunkError, byte_report, read
from bdflow.errors import BDFlowError
from bdflow.images import Picture

GOLDEN = Path(__file__).parent / "golden"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WEIGHTS = bytes(range(100, 108))


def small(
    height: int = 12,
    width: int = 10,
    *,
    bits: int = 1,
    gray: bool = False,
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
    assert (a.bits, a.model, a.weights, a.scale, a.size) == (b.bits, b.model, b.weights, b.scale, b.size)
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


# Round trip


@pytest.mark.parametrize("bits", [0, 1, 2, 3])
@pytest.mark.parametrize("gray", [False, True], ids=["rgb", "gray"])
@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("icc", [None, SRGB], ids=["untagged", "icc"])
def test_round_trip(bits, gray, alpha, icc):
    made = small(bits=bits, gray=gray, alpha=alpha, icc=icc)
    assert_same(read(made.to_bytes()), made)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_round_trip_of_anything(data):
    log2 = data.draw(st.integers(1, 6))
    scale = 1 << log2
    width, height = data.draw(st.integers(1, 20 * scale)), data.draw(st.integers(1, 20 * scale))
    shape = (-(-height // scale), -(-width // scale))
    bits = data.draw(st.integers(0, 3))
    gray = data.draw(st.booleans())
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    rgb = random.integers(0, 256, (*shape, 3), np.uint8)
    letters = st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/\\:.")
    made = Downscaled(
        image=Picture(
            np.repeat(rgb[..., :1], 3, axis=2) if gray else rgb,
            random.integers(0, 256, shape, np.uint8) if data.draw(st.booleans()) else None,
            gray,
        ),
        boundary=random.integers(0, 2**bits, shape, np.uint8) if bits and data.draw(st.booleans()) else None,
        bits=bits,
        model=data.draw(st.text(letters, min_size=1, max_size=60)),
        weights=data.draw(st.binary(min_size=8, max_size=8)),
        scale=scale,
        size=(width, height),
    )
    assert_same(read(made.to_bytes()), made)


def test_sources(tmp_path):
    made = small()
    path = tmp_path / "photo.x8.png"
    made.save(path)
    assert path.read_bytes() == made.to_bytes()
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert_same(read(source), made)
    with path.open("rb") as stream:
        assert_same(read(stream), made)


def test_save(tmp_path):
    path = tmp_path / "photo.png"
    small().save(path)
    with pytest.raises(BDFlowError, match="exists already"):
        small(seed=1).save(path)
    small(seed=1).save(path, overwrite=True)
    assert_same(read(path), small(seed=1))
    with pytest.raises(BDFlowError, match=r"photo\.jpg: the small file is a PNG: end its name in \.png"):
        small().save(tmp_path / "photo.jpg")


def test_strided_arrays():
    """What a network hands over is often a view."""
    plain = small(bits=2)
    view = small(bits=2)
    channels_first = np.ascontiguousarray(view.image.rgb.transpose(2, 0, 1)).transpose(1, 2, 0)
    object.__setattr__(view, "image", Picture(channels_first))
    object.__setattr__(view, "boundary", np.asfortranarray(view.boundary))
    assert not channels_first.flags.c_contiguous
    assert_same(read(view.to_bytes()), plain)


# What others see


@pytest.mark.parametrize(
    ("gray", "alpha", "mode"),
    [(False, False, "RGB"), (False, True, "RGBA"), (True, False, "L"), (True, True, "LA")],
)
def test_any_reader_sees_the_picture(gray, alpha, mode):
    made = small(gray=gray, alpha=alpha, icc=SRGB)
    with Image.open(io.BytesIO(made.to_bytes())) as image:
        assert image.format == "PNG"
        assert image.mode == mode
        assert image.info["icc_profile"] == SRGB
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), made.image.rgb)
        if alpha:
            np.testing.assert_array_equal(np.asarray(image.getchannel("A")), made.image.alpha)


def test_chunk_is_private_and_before_the_pixels():
    kinds = [kind for kind, _ in chunks(small(icc=SRGB).to_bytes())]
    assert kinds == [b"IHDR", b"iCCP", b"bdFW", b"IDAT", b"IEND"]
    ancillary, private, reserved, safe_to_copy = (bool(letter & 32) for letter in b"bdFW")
    assert (ancillary, private, reserved, safe_to_copy) == (True, True, False, False)


def test_smallest_png_that_pillow_makes(monkeypatch):
    made = small(40, 50)
    best = len(made.to_bytes())
    for options in ({}, {"optimize": True}, {"compress_level": 9}, {"compress_type": zlib.Z_RLE}):
        buffer = io.BytesIO()
        info = PngInfo()
        info.add(b"bdFW", payload_of(made.to_bytes()))
        made.image.to_pil().save(buffer, "PNG", pnginfo=info, **options)
        assert best <= len(buffer.getvalue())
    monkeypatch.setattr(container, "_LARGE", 40 * 50 - 1)  # the quick way that large pictures take
    assert_same(read(made.to_bytes()), made)


def test_layout_byte_by_byte():
    made = small(bits=2)
    code = boundary.encode(made.boundary, 2)
    body = (
        b"\x01"
        + bytes([3 | 2 << 3])  # log2(8), 2 bits
        + b"\x0cportraits-x8"
        + WEIGHTS
        + b"\x4d\x59"  # 77 x 89
        + struct.pack(">I", zlib.crc32(made.image.rgb.tobytes()))
        + code
    )
    assert payload_of(made.to_bytes()) == sealed(body)
    assert len(sealed(body)) - len(code) - len("portraits-x8") == 21


def test_varints():
    for value, coded in [(1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**32 - 1, "ffffffff0f")]:
        assert container._varint(value).hex() == coded
        assert container._read_varint(io.BytesIO(bytes.fromhex(coded))) == value


# Golden files: written by version 1, and to be read for ever. BDFLOW_REGEN_GOLDEN=1 writes them anew.

GOLDENS = {
    "v1-rgb.png": small(seed=3),
    "v1-gray-alpha.png": small(gray=True, alpha=True, bits=0, seed=4),
    "v1-2-bit.png": small(bits=2, icc=bytes(range(200)), seed=5),
}


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name):
    if os.environ.get("BDFLOW_REGEN_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        GOLDENS[name].save(GOLDEN / name, overwrite=True)
    assert_same(read(GOLDEN / name), GOLDENS[name])


# Files that lost something


def saved_again(data: bytes, format: str) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        buffer = io.BytesIO()
        image.save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP"])
def test_saved_again_by_another_program(format, tmp_path):
    path = tmp_path / "stripped.img"
    path.write_bytes(saved_again(small().to_bytes(), format))
    with pytest.raises(NoChunkError, match=r"stripped\.img: no bdflow chunk in this file") as caught:
        read(path)
    np.testing.assert_array_equal(caught.value.picture.rgb, small().image.rgb)


def test_converted_to_jpeg():
    with pytest.raises(NoChunkError) as caught:
        read(saved_again(small().to_bytes(), "JPEG"))
    assert caught.value.picture.rgb.shape == (12, 10, 3)


def test_chunk_taken_out():
    made = small(gray=True, alpha=True, icc=SRGB)
    data = join([part for part in chunks(made.to_bytes()) if part[0] != b"bdFW"])
    with pytest.raises(NoChunkError) as caught:
        read(data)
    assert caught.value.picture.gray
    assert caught.value.picture.icc == SRGB
    np.testing.assert_array_equal(caught.value.picture.alpha, made.image.alpha)


def test_pixels_without_a_file():
    made = small()
    for source in (made.image.rgb, made.image.to_pil()):
        with pytest.raises(NoChunkError) as caught:
            read(source)
        np.testing.assert_array_equal(caught.value.picture.rgb, made.image.rgb)


@pytest.mark.parametrize("content", [b"plain text", b"", b"\x89PNG\r\n\x1a\n", b"\x89PN"])
def test_what_is_no_picture(tmp_path, content):
    path = tmp_path / "junk.png"
    path.write_bytes(content)
    with pytest.raises(BDFlowError, match=r"junk\.png: ") as caught:
        read(path)
    assert not isinstance(caught.value, NoChunkError)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(BDFlowError, match=r"none\.png: no such file"):
        read(tmp_path / "none.png")


# Files that were changed


def test_changed_pixels_are_noticed():
    made = small(bits=2)
    found = read(repainted(made.to_bytes()))
    assert found.pixels_changed
    np.testing.assert_array_equal(found.boundary, made.boundary)
    np.testing.assert_array_equal(found.image.rgb, 255 - made.image.rgb)


def test_changed_alpha_is_noticed():
    made = small(alpha=True)
    other = Downscaled(**{**vars(made), "image": Picture(made.image.rgb, made.image.alpha // 2)})
    data = with_payload(other.to_bytes(), payload_of(made.to_bytes()))
    assert read(data).pixels_changed


def test_lossless_recompression_changes_nothing():
    made = small()
    data = with_payload(small(seed=0).to_bytes(), payload_of(made.to_bytes()))
    parts = [(k, zlib.compress(zlib.decompress(b), 1) if k == b"IDAT" else b) for k, b in chunks(data)]
    assert join(parts) != made.to_bytes()
    assert_same(read(join(parts)), made)


def test_cropped_file():
    made = small(12, 10)
    data = with_payload(small(11, 10).to_bytes(), payload_of(made.to_bytes()))
    with pytest.raises(BDFlowError, match=r"10x11 cannot restore 77x89 at scale 8: it was cropped"):
        read(data)


def test_bytes_behind_the_end_are_ignored():
    assert_same(read(small().to_bytes() + b"appended by some gallery"), small())


def test_chunk_may_stand_behind_the_pixels():
    parts = chunks(small().to_bytes())
    parts.insert(-1, parts.pop(1))
    assert [kind for kind, _ in parts] == [b"IHDR", b"IDAT", b"bdFW", b"IEND"]
    assert_same(read(join(parts)), small())


def test_two_chunks():
    parts = chunks(small().to_bytes())
    with pytest.raises(BDFlowError, match="holds 2 bdflow chunks where one belongs"):
        read(join([*parts[:2], *parts[1:]]))


def test_wrong_checksum_of_any_chunk():
    data = small(icc=SRGB).to_bytes()
    position = 8
    for kind, body in chunks(data):
        broken = bytearray(data)
        broken[position + 8 + len(body)] ^= 1
        with pytest.raises(BDFlowError, match="the data: the PNG is damaged"):
            read(bytes(broken))
        position += 12 + len(body)
        assert kind.isalpha()
    assert position == len(data)


HEADER = b"\x01" + bytes([3 | 1 << 3]) + b"\x02ab" + WEIGHTS + b"\x4d\x59" + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (sealed(b"\x02" + HEADER[1:]), r"made by a newer bdflow \(format 2\): upgrade bdflow"),
        (b"\x02", r"made by a newer bdflow \(format 2\)"),
        (sealed(b"\0" + HEADER[1:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:1] + b"\x2b" + HEADER[2:]), "made by a newer bdflow"),
        (HEADER + b"\0\0\0\0", "bdflow chunk is damaged"),
        (b"", "bdflow chunk is damaged"),
        (sealed(b""), "bdflow chunk is damaged"),
        (sealed(HEADER[:-1]), "bdflow chunk is damaged"),
        (sealed(HEADER[:2] + b"\xff" + HEADER[3:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:3] + b"\xff\xfe" + HEADER[5:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:13] + b"\x80\x80\x80\x80\x80\x01" + HEADER[14:]), "bdflow chunk is damaged"),
        (sealed(HEADER[:13] + b"\x00" + HEADER[14:]), "cannot restore 0x89"),
        (sealed(HEADER[:1] + b"\x08" + HEADER[2:]), "scale must be one of 2, 4, 8, 16, 32, 64, not 1"),
        (sealed(HEADER[:1] + b"\x0f" + HEADER[2:]), "not 128"),
        (sealed(HEADER[:1] + b"\x0a" + HEADER[2:]), "at scale 4: it was cropped or resized"),
        (sealed(HEADER[:2] + b"\x02..HEAD"[:3] + HEADER[5:]), "no name for a model"),
        (sealed(HEADER[:2] + b"\x02/b" + HEADER[5:]), "no name for a model"),
        (sealed(HEADER[:2] + b"\x02\x1b[" + HEADER[5:]), "no name for a model"),
        (sealed(HEADER[:2] + b"\x00" + HEADER[5:]), r"1\.\.255 bytes"),
        (sealed(HEADER + b"\x09"), "coding method 9"),
        (sealed(HEADER + b"\x01\x00"), "boundary map is damaged"),
        (sealed(HEADER[:1] + b"\x03" + HEADER[2:] + b"\0"), r"1\.\.3 bits, not 0"),
    ],
)
def test_impossible_chunks(payload, message):
    assert read(with_payload(small().to_bytes(), sealed(HEADER))).model == "ab"  # but for the fault it reads
    with pytest.raises(BDFlowError, match=message) as caught:
        read(with_payload(small().to_bytes(), payload))
    assert str(caught.value).startswith("the data: ")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_lost_boundary_stays_lost():
    found = read(with_payload(small().to_bytes(), sealed(HEADER)))
    assert found.boundary is None
    assert found.bits == 1


def test_pixel_limit():
    made = small()
    assert_same(read(made.to_bytes(), max_pixels=77 * 89), made)
    with pytest.raises(BDFlowError, match="photograph's 77x89 is more than 6,852 pixels"):
        read(made.to_bytes(), max_pixels=77 * 89 - 1)


def test_absurd_size_is_refused_before_the_pixels_are_decoded():
    absurd = HEADER[:13] + container._varint(2**32) + container._varint(2**32) + HEADER[15:]
    parts = [(k, b"\xff" if k == b"IDAT" else b) for k, b in chunks(small().to_bytes())]
    with pytest.raises(BDFlowError, match="4294967296x4294967296 is more than 400,000,000 pixels"):
        read(with_payload(join(parts), sealed(absurd)))


FILES = [small(bits=bits, alpha=bits == 2, icc=SRGB if bits == 1 else None).to_bytes() for bits in range(4)]


def accept(data: bytes) -> None:
    """Read; a file, or one clear line."""
    try:
        found = read(data, max_pixels=1_000_000)
    except BDFlowError as error:
        message = str(error)
    else:
        assert found.image.rgb.dtype == np.uint8
        return
    assert message.startswith("the data: ")
    assert "\n" not in message


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(FILES), st.data())
def test_flipped_bytes(data, draws):
    broken = bytearray(data)
    for position in draws.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=3)):
        broken[position] ^= draws.draw(st.integers(1, 255))
    accept(bytes(broken))


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(FILES), st.data())
def test_flipped_payload_bytes_under_right_checksums(data, draws):
    body = bytearray(payload_of(data)[:-4])
    for position in draws.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=3)):
        body[position] ^= draws.draw(st.integers(1, 255))
    accept(with_payload(data, sealed(bytes(body))))


def test_every_single_flipped_byte_is_refused():
    # Each byte but those of the signature stands under a chunk's checksum or tells where the chunk ends.
    data = FILES[2]
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x20
        with pytest.raises(BDFlowError):
            read(bytes(broken))


def test_every_cut_is_refused():
    for data in FILES:
        for length in range(len(data)):
            with pytest.raises(BDFlowError) as caught:
                read(data[:length])
            assert not isinstance(caught.value, NoChunkError)


# Downscaled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 3}, "scale must be one of 2, 4, 8, 16, 32, 64, not 3"),
        ({"scale": 4}, "10x12 cannot restore 77x89 at scale 4"),
        ({"size": (81, 89)}, "10x12 cannot restore 81x89"),
        ({"size": (72, 89)}, "10x12 cannot restore 72x89"),
        ({"size": (0, 89)}, "10x12 cannot restore 0x89"),
        ({"bits": 4}, r"bits must be 0\.\.3, not 4"),
        ({"bits": 0}, "None where bits is 0"),
        ({"boundary": np.zeros((10, 12), np.uint8)}, r"shape \(12, 10\)"),
        ({"boundary": np.zeros((12, 10), bool)}, "not bool"),
        ({"weights": b"1234567"}, "first 8 bytes of a SHA-256, not 7 bytes"),
        ({"model": ""}, r"1\.\.255 bytes"),
        ({"model": "ä" * 128}, r"1\.\.255 bytes"),
        ({"model": "a\nb"}, "no name for a model"),
        ({"model": "../a"}, "no name for a model"),
        ({"model": "c:a"}, "no name for a model"),
        ({"model": "\ud800"}, "no name for a model"),
    ],
)
def test_parts_that_do_not_fit(change, message):
    with pytest.raises(BDFlowError, match=message):
        Downscaled(**{**vars(small()), **change})


def test_levels_beyond_the_bits_are_refused():
    made = Downscaled(**{**vars(small()), "boundary": np.full((12, 10), 2, np.uint8)})
    with pytest.raises(BDFlowError, match=r"1 bits holds 0\.\.1, not 2"):
        made.to_bytes()


# Where the bytes go


@pytest.mark.parametrize("bits", [0, 1, 3])
@pytest.mark.parametrize("icc", [None, SRGB])
def test_byte_report(bits, icc):
    made = small(bits=bits, icc=icc)
    data = made.to_bytes()
    report = byte_report(data)
    parts = dict(chunks(data))
    assert sum(report.values()) == len(data)
    assert report == {
        "pixels": len(parts[b"IDAT"]),
        "boundary": len(boundary.encode(made.boundary, bits)) if bits else 0,
        "header": 21 + len("portraits-x8"),
        "profile": len(parts[b"iCCP"]) if icc else 0,
        "structure": 8 + 13 + 12 * (5 if icc else 4),
    }


def test_byte_report_of_other_files():
    foreign = byte_report(saved_again(small().to_bytes(), "PNG") + b"tail")
    assert foreign["boundary"] == foreign["header"] == 0
    assert foreign["structure"] == 8 + 13 + 12 * 3 + 4
    with pytest.raises(BDFlowError, match="not a PNG"):
        byte_report(saved_again(small().to_bytes(), "JPEG"))
    with pytest.raises(BDFlowError, match="cut short"):
        byte_report(small().to_bytes()[:-1])
