"""Thumbnails and their payload, byte for byte; the vectors in `vectors/` are for other languages, too."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from thumbnails import assert_same, photo, pixels, thumbnail

from bdflow.errors import BDFlowError
from bdflow.pictures.reader import Picture
from bdflow.runtime.enhancer import cell, describe, enlarged, shrunk
from bdflow.smallfile.container import read
from bdflow.smallfile.payload import Version2, unpack
from bdflow.smallfile.quantizer import quality
from bdflow.smallfile.thumbnail import DOMAINS, FACTORS, FORMATS, Thumbnail, grid, multiples

VECTORS = Path(__file__).parent / "vectors"


# The payload


@pytest.mark.parametrize(
    ("size", "factor", "domain", "packed"),
    [
        ((64, 48), 1, "photos", "021000"),
        ((64, 48), 1.5, "portraits", "022102"),
        ((1, 1), 16, "plain", "0208ff"),
        ((33, 31), 16, "photos", "02181f"),
        ((1000, 999), 12, "photos", "021798"),
    ],
)
def test_payload_byte_for_byte(size, factor, domain, packed):
    data = Version2.of(size, factor, domain).pack()
    assert data[:3].hex() == packed
    assert data[3] == zlib.crc32(data[:3]) & 255
    assert unpack(data, "AVIF") == Version2.of(size, factor, domain)


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from(FACTORS),
    st.sampled_from(DOMAINS),
)
def test_size_factor_and_domain_come_back(width, height, factor, domain):
    small = grid((width, height), factor)
    fields = Version2.of((width, height), factor, domain)
    assert Version2.unpack(fields.pack()) == fields
    fields.check(small, max_pixels=width * height)
    picture = Picture(np.zeros((small[1], small[0], 3), np.uint8))
    found = fields.with_picture(picture, b"", "AVIF")
    assert (found.size, found.factor, found.domain) == ((width, height), factor, domain)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (15, 16), (17, 31), (33, 47), (500, 3)])
def test_grid_and_multiples(factor, size):
    large, small = multiples(factor)
    assert large / small == factor
    across, down = grid(size, factor)
    assert across % small == down % small == 0
    for side, of in ((across, size[0]), (down, size[1])):
        assert of <= side * factor < of + large
    picture = photo(size[1], size[0], alpha=True)
    thumb = shrunk(picture, factor)
    assert (thumb.width, thumb.height) == (across, down)
    assert thumb.alpha.shape == (down, across)


def test_a_thumbnail_stands_for_a_continued_photograph():
    picture = photo(31, 47)
    for factor in (1.5, 3, 16):
        large, small = multiples(factor)
        whole = np.pad(picture.rgb, ((0, -31 % large), (0, -47 % large), (0, 0)), mode="edge")
        sides = whole.shape[1] // large * small, whole.shape[0] // large * small
        expected = np.asarray(Image.fromarray(whole).resize(sides, Image.Resampling.LANCZOS))
        np.testing.assert_array_equal(shrunk(picture, factor).rgb, expected)
    assert shrunk(picture, 1) is picture


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (b"", "damaged"),
        (b"\x02", "damaged"),
        (b"\x03" + bytes(3), r"newer bdflow \(format 3\): upgrade"),
        (b"\xff", r"newer bdflow \(format 255\): upgrade"),
        (Version2.of((8, 8), 2, "photos").pack() + b"\0", "damaged"),
        (Version2.of((8, 8), 2, "photos").pack()[:3], "damaged"),
        (b"\x01" + bytes(30), "damaged"),
    ],
)
def test_payloads_that_are_refused(change, message):
    with pytest.raises(BDFlowError, match=message):
        unpack(change, "WebP")


@pytest.mark.parametrize("kind", [0x19, 0x1F, 0x32, 0xF2])
def test_factors_and_domains_of_a_newer_version(kind):
    body = bytes([2, kind, 0])
    with pytest.raises(BDFlowError, match="made by a newer bdflow: upgrade"):
        Version2.unpack(body + bytes([zlib.crc32(body) & 255]))


def test_every_flipped_bit_is_noticed():
    data = Version2.of((47, 31), 3, "photos").pack()
    for bit in range(32):
        broken = (int.from_bytes(data) ^ 1 << bit).to_bytes(4)
        with pytest.raises(BDFlowError):
            unpack(broken, "JPEG")


def test_each_container_has_its_version():
    with pytest.raises(BDFlowError, match="newer"):
        unpack(Version2.of((8, 8), 2, "photos").pack(), "PNG")


# Thumbnail


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain": "cats"}, "a domain is one of plain, photos, portraits, not 'cats'"),
        ({"format": "PNG"}, "a thumbnail is AVIF, WebP, JPEG, not 'PNG'"),
        ({"factor": 5}, "a factor is one of 1, 1.5, 2, 3, 4, 6, 8, 12, 16, not 5"),
        ({"size": (54, 40)}, "a thumbnail of 26x20 cannot be that of a photograph of 54x40, 1/2 each way"),
        ({"size": (0, 40)}, "cannot be that of a photograph of 0x40"),
    ],
)
def test_parts_that_do_not_fit(change, message):
    with pytest.raises(BDFlowError, match=message):
        Thumbnail(**{**vars(thumbnail(photo())), **change})


def test_it_is_printed_on_one_line():
    made = thumbnail(photo(), "JPEG", 2)
    assert repr(made) == "Thumbnail(52x40, JPEG of quality 50 1/2 each way, photos, Picture(26x20, RGB))"


def test_saving(tmp_path):
    made = thumbnail(photo(), "WebP", 2)
    made.save(tmp_path / "photo.bd.webp")
    assert (tmp_path / "photo.bd.webp").read_bytes() == made.to_bytes() == made.data
    assert_same(read(tmp_path / "photo.bd.webp"), made)
    with pytest.raises(BDFlowError, match="exists already"):
        made.save(tmp_path / "photo.bd.webp")
    made.save(tmp_path / "photo.bd.webp", overwrite=True)
    with pytest.raises(BDFlowError, match=r"small file is a WebP: end its name in \.webp"):
        made.save(tmp_path / "photo.avif")


@pytest.mark.parametrize("format", FORMATS)
def test_gray_comes_back(format):
    made = thumbnail(photo(gray=True), format, 1, quality=80)
    assert made.gray
    assert not thumbnail(photo(), format, 1, quality=80).gray
    rgb = np.full((4, 4, 3), 128, np.uint8)
    rgb[1, 1] = 128, 129, 130
    tinted = Thumbnail(Picture(rgb), format, b"", 1, "plain", (4, 4))
    assert not tinted.gray
    rgb[1, 1] = 128, 129, 128
    assert Thumbnail(Picture(rgb), format, b"", 1, "plain", (4, 4)).gray


# Vectors: BDFLOW_REGEN_GOLDEN=1 writes what is missing; what is there is never written anew.

FILES = {
    "x1.avif": (photo(9, 8), "AVIF", 1, "photos", 60),
    "x2.avif": (photo(31, 33), "AVIF", 2, "portraits", 45),
    "gray-x3.avif": (photo(31, 33, gray=True), "AVIF", 3, "photos", 45),
    "alpha-x1.5.avif": (photo(31, 33, alpha=True), "AVIF", 1.5, "photos", 70),
    "pixel-x16.avif": (photo(1, 1), "AVIF", 16, "plain", 50),
    "x2.webp": (photo(31, 33), "WebP", 2, "portraits", 45),
    "gray-x4.webp": (photo(31, 33, gray=True), "WebP", 4, "photos", 90),
    "alpha-x1.5.webp": (photo(31, 33, alpha=True), "WebP", 1.5, "photos", 70),
    "pixel-x12.webp": (photo(1, 1), "WebP", 12, "plain", 50),
    "x2.jpg": (photo(31, 33), "JPEG", 2, "portraits", 45),
    "gray-x8.jpg": (photo(31, 33, gray=True), "JPEG", 8, "photos", 90),
    "x6.jpg": (photo(100, 37), "JPEG", 6, "plain", 10),
    # AVIFs above have the payload in a box of its own, WebPs a chunk VP8X: as they were written first.
    "x2-slim.avif": (photo(31, 33), "AVIF", 2, "portraits", 45),
    "gray-x3-slim.avif": (photo(31, 33, gray=True), "AVIF", 3, "photos", 45),
    "alpha-x1.5-slim.avif": (photo(31, 33, alpha=True), "AVIF", 1.5, "photos", 70),
    "x2-simple.webp": (photo(31, 33), "WebP", 2, "portraits", 45),
}


def of_file(name: str, data: bytes) -> dict:
    made = read(data)
    assert isinstance(made, Thumbnail)
    return {
        "file": name,
        "payload": Version2.of(made.size, made.factor, made.domain).pack().hex(),
        "format": made.format,
        "factor": made.factor,
        "domain": made.domain,
        "thumbnail": [made.image.width, made.image.height],
        "photograph": list(made.size),
        "gray": made.gray,
        "alpha": made.image.alpha is not None,
        "quality": round(made.quality, 5),
        "told": [round(float(value), 6) for value in describe(made)[0]],
    }


def of_payload(data: bytes) -> dict:
    try:
        factor, domain, beyond = unpack(data, "AVIF")
    except BDFlowError as error:
        return {"payload": data.hex(), "refused": "newer" if "newer" in str(error) else "damaged"}
    return {"payload": data.hex(), "factor": factor, "domain": domain, "beyond": list(beyond)}


def of_enlargement(size: tuple[int, int], factor: float) -> dict:
    """What a network sees, up to whole cells; as samples row by row."""
    small = np.ascontiguousarray(shrunk(photo(size[1], size[0]), factor).rgb)
    side = cell(factor)
    rows, columns = (slice(0, -(-each // side) * side) for each in size[::-1])
    seen = enlarged(Image.fromarray(small), factor, rows, columns)
    return {
        "photograph": list(size),
        "factor": factor,
        "thumbnail": list(small.shape[1::-1]),
        "samples": small.tobytes().hex(),
        "enlarged": list(seen.shape[1::-1]),
        "enlarged samples": seen.tobytes().hex(),
    }


def sealed(*body: int) -> bytes:
    return bytes([*body, zlib.crc32(bytes(body)) & 255])


PAYLOADS = [
    *(Version2.of((47, 31), factor, "photos").pack() for factor in FACTORS),
    *(Version2.of((47, 31), 3, domain).pack() for domain in DOMAINS),
    sealed(2, 0x19, 0),
    sealed(2, 0x32, 0),
    sealed(3, 0x12, 0),
    sealed(2, 0x12),
    sealed(2, 0x12, 0, 0),
    sealed(1, 0x12, 0),
    b"\2\x12\0\0",
    b"",
]
ENLARGEMENTS = [((5, 7), factor) for factor in FACTORS if factor <= 4] + [((9, 2), 1.5), ((1, 1), 16)]


def test_vectors():
    path = VECTORS / "thumbnails.json"
    if os.environ.get("BDFLOW_REGEN_GOLDEN"):
        found = json.loads(path.read_text()) if path.exists() else {"files": []}
        for name in list(FILES)[len(found["files"]) :]:
            (VECTORS / name).write_bytes(thumbnail(*FILES[name]).data)
            found["files"].append(of_file(name, (VECTORS / name).read_bytes()))
        found.setdefault("payloads", [of_payload(data) for data in PAYLOADS])
        found.setdefault("enlargements", [of_enlargement(*arguments) for arguments in ENLARGEMENTS])
        path.write_text(json.dumps(found, indent=1) + "\n")
    vectors = json.loads(path.read_text())
    assert [each["file"] for each in vectors["files"]] == list(FILES)
    for entry in vectors["files"]:
        data = (VECTORS / entry["file"]).read_bytes()
        assert of_file(entry["file"], data) == entry
        assert data.count(bytes.fromhex(entry["payload"])) == 1
        assert pixels(data).shape[1::-1] == tuple(entry["thumbnail"])
        assert round(quality(data), 5) == entry["quality"]
    assert [of_payload(bytes.fromhex(entry["payload"])) for entry in vectors["payloads"]] == vectors[
        "payloads"
    ]
    for entry in vectors["enlargements"]:
        assert of_enlargement(tuple(entry["photograph"]), entry["factor"]) == entry
