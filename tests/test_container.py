"""The small file: a PNG for everyone, bit-exact and checked for us."""

import io
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from small_files import (
    SRGB,
    WEIGHTS,
    assert_same,
    chunks,
    payload_of,
    saved_again,
    sealed,
    small,
    with_payload,
)

from bdflow.errors import BDFlowError
from bdflow.pictures import codecs
from bdflow.pictures.limits import SCALES
from bdflow.pictures.reader import Picture
from bdflow.smallfile import boundary, container
from bdflow.smallfile.container import NoChunkError, byte_report, holds_chunk, read
from bdflow.smallfile.downscaled import Downscaled
from bdflow.smallfile.payload import Version1, read_varint, varint
from bdflow.smallfile.protocol import Parts

GOLDEN = Path(__file__).parent / "golden"


def test_it_is_printed_on_one_line():
    made = small(bits=2, gray=True, alpha=True, icc=SRGB)
    assert repr(made) == (
        "Downscaled(77x89 by portraits-x8 (x8), 2-bit boundary map, Picture(10x12, gray, alpha, profile))"
    )
    assert repr(small(of_gray=True)).startswith("Downscaled(77x89 gray by portraits-x8 (x8), ")
    assert repr(small(bits=0)).endswith("no boundary map, Picture(10x12, RGB))")
    assert ", 1-bit boundary map lost, pixels changed, " in repr(
        replace(small(), boundary=None, pixels_changed=True)
    )


def test_its_chunk_is_found_without_reading_the_picture():
    data = small().to_bytes()
    for source, holds in (
        (data, True),
        (with_payload(data, b"damaged"), True),
        (saved_again(data, "PNG"), False),
        (saved_again(data, "WEBP"), False),
        (data[:60], False),
        (b"", False),
    ):
        stream = io.BytesIO(source)
        assert holds_chunk(stream) is holds
        assert stream.tell() == 0


# Round trip


@pytest.mark.parametrize("bits", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", [{}, {"gray": True}, {"of_gray": True}], ids=["rgb", "gray", "of-gray"])
@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("icc", [None, SRGB], ids=["untagged", "icc"])
def test_round_trip(bits, kind, alpha, icc):
    made = small(bits=bits, alpha=alpha, icc=icc, **kind)
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
        gray=data.draw(st.booleans()),
        bicubic=data.draw(st.booleans()),
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


def test_the_profile_of_a_gray_photograph_travels_in_the_chunk():
    data = small(of_gray=True, icc=SRGB).to_bytes()  # no PNG in colour may carry the profile of a gray one
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info
    assert read(data).image.icc == SRGB


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
    monkeypatch.setattr(codecs, "_LARGE", 40 * 50 - 1)  # the quick way that large pictures take
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
        assert varint(value).hex() == coded
        assert read_varint(io.BytesIO(bytes.fromhex(coded))) == value


# Golden files: written by version 1, and to be read for ever. BDFLOW_REGEN_GOLDEN=1 writes those that are
# missing; what is there is never written anew.

GOLDENS = {
    "v1-rgb.png": small(seed=3),
    "v1-gray-alpha.png": small(gray=True, alpha=True, bits=0, seed=4),
    "v1-2-bit.png": small(bits=2, icc=bytes(range(200)), seed=5),
    "v1-rgba-3-bit.png": small(4, 5, bits=3, alpha=True, seed=6),
    "v1-lost-boundary.png": replace(small(4, 5, bits=2, gray=True), boundary=None),
    "v1-empty-boundary.png": replace(small(4, 5), boundary=np.zeros((4, 5), np.uint8)),
    "v1-raw-boundary.png": replace(
        small(4, 5, bits=3), boundary=(np.arange(20) ** 3 % 8).reshape(4, 5).astype("u1")
    ),
    "v1-deflated-boundary.png": replace(
        small(12, 64, bits=1), boundary=(np.arange(768) ** 3 % 11 % 2).reshape(12, 64).astype("u1")
    ),
    "v1-of-gray.png": small(of_gray=True, alpha=True, seed=7),
    "v1-of-gray-profile.png": small(of_gray=True, bits=2, icc=bytes(range(200)), seed=8),
    "v1-x2.png": replace(small(3, 2), scale=2, size=(4, 5)),
    "v1-x4.png": replace(small(3, 2), scale=4, size=(5, 12)),
    "v1-x16.png": replace(small(3, 2), scale=16, size=(32, 33)),
    "v1-x32.png": replace(small(3, 2), scale=32, size=(33, 96)),
    "v1-x64.png": replace(small(3, 2), scale=64, size=(128, 129)),
    "v1-one-pixel.png": replace(small(1, 1, bits=0), model="a", scale=64, size=(1, 1)),
    "v1-bicubic.png": replace(small(1, 3, bits=2), scale=8, size=(20, 8), bicubic=True),
    "v1-long-name.png": replace(small(1, 300, bits=0), model="ä" * 127, scale=64, size=(300 * 64, 64)),
}


def test_the_goldens_cover_what_version_1_can_say():
    made = GOLDENS.values()
    assert {each.scale for each in made} == set(SCALES)
    assert {each.bits for each in made} == {0, 1, 2, 3}
    kinds = {(each.image.gray, each.image.alpha is not None) for each in made}
    assert kinds >= {(False, False), (True, True), (False, True), (True, False)}
    assert {(each.gray, bool(each.image.icc)) for each in made} == {(a, b) for a in (0, 1) for b in (0, 1)}
    assert {(each.gray, each.bicubic) for each in made} >= {(False, True), (True, False), (False, False)}
    codes = [Version1.unpack(payload_of((GOLDEN / name).read_bytes())).boundary for name in GOLDENS]
    assert {code[:1] for code in codes} == {b"", b"\0", b"\1", b"\2", b"\3"}
    assert sorted(path.name for path in GOLDEN.glob("v1-*")) == sorted(GOLDENS)


@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name):
    if os.environ.get("BDFLOW_REGEN_GOLDEN") and not (GOLDEN / name).exists():
        GOLDENS[name].save(GOLDEN / name)
    assert_same(read(GOLDEN / name), GOLDENS[name])


# Downscaled


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 3}, "scale must be one of 2, 4, 8, 16, 32, 64, not 3"),
        ({"scale": 4}, "10x12 cannot restore 77x89 at scale 4"),
        ({"size": (81, 89)}, "10x12 cannot restore 81x89"),
        ({"size": (72, 89)}, "10x12 cannot restore 72x89"),
        ({"size": (0, 89)}, "10x12 cannot restore 0x89"),
        ({"size": (77, 1_000_001)}, "77x1000001 has a side of more than 1,000,000 pixels"),
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


# Another container


class Bitmap:
    """BMP as a container: the payload, and its length in 4 bytes, behind the pixels."""

    NAME, ENDINGS = "BMP", (".bmp", ".dib")

    @staticmethod
    def begins(head):
        return head.startswith(b"BM")

    @staticmethod
    def holds_payload(stream):
        return Bitmap.parts(stream).payload is not None

    @staticmethod
    def parts(stream):
        data = stream.read()
        (length,) = struct.unpack("<I", data[2:6])
        payload = data[length:-4] or None
        return Parts(struct.unpack("<ii", data[18:26]), payload, int(bool(payload)), length - 54, 0)

    @staticmethod
    def write(made):
        buffer = io.BytesIO()
        made.image.to_pil().save(buffer, "BMP")
        code = Version1.of(made).pack()
        return buffer.getvalue() + code + struct.pack("<I", len(code))


def test_another_container_is_one_module_and_its_registration(monkeypatch, tmp_path):
    monkeypatch.setattr(container, "CONTAINERS", (*container.CONTAINERS, Bitmap))
    made = small(bits=2)
    data = Bitmap.write(made)
    (tmp_path / "photo.dib").write_bytes(data)
    assert_same(read(tmp_path / "photo.dib"), made)
    assert_same(read(made.to_bytes()), made)  # still a PNG
    assert holds_chunk(io.BytesIO(data))
    report = byte_report(data)
    assert sum(report.values()) == len(data)
    assert report["structure"] == 54 + 4
    assert report["boundary"] == len(boundary.encode(made.boundary, 2))
    with pytest.raises(BDFlowError, match="photograph's 77x89 is more than 6,852 pixels"):
        read(data, max_pixels=77 * 89 - 1)
    with pytest.raises(NoChunkError):
        read(saved_again(data, "BMP"))
    assert container.of_ending("photo.DIB") is Bitmap
    with pytest.raises(BDFlowError, match=r"photo.gif: a small file ends in one of \.png, .*\.dib$"):
        container.of_ending("photo.gif")
    with pytest.raises(BDFlowError, match=r"the small file is a PNG: end its name in \.png$"):
        made.save(tmp_path / "photo.dib")


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
        "metadata": 0,
        "structure": 8 + 13 + 12 * (5 if icc else 4),
    }


def test_byte_report_of_a_gray_photograph():
    assert byte_report(small(of_gray=True).to_bytes())["profile"] == 0
    data = small(of_gray=True, icc=SRGB).to_bytes()
    report = byte_report(data)
    assert sum(report.values()) == len(data)
    profile = payload_of(data)[-4 - report["boundary"] - report["profile"] :][: report["profile"]]
    assert zlib.decompress(profile) == SRGB


def test_byte_report_of_other_files():
    foreign = byte_report(saved_again(small().to_bytes(), "PNG") + b"tail")
    assert foreign["boundary"] == foreign["header"] == 0
    assert foreign["structure"] == 8 + 13 + 12 * 3 + 4
    with pytest.raises(BDFlowError, match="not a PNG or AVIF or WebP or JPEG: only a PNG or AVIF"):
        byte_report(saved_again(small().to_bytes(), "BMP"))
    with pytest.raises(BDFlowError, match="cut short"):
        byte_report(small().to_bytes()[:-1])
