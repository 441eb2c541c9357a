"""The quality that a file tells by its own quantiser, against that which its encoder was given."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from thumbnails import CONTAINERS, PILLOW, QUICK, photo

from bdflow.pictures import codecs
from bdflow.smallfile.payload import Version2
from bdflow.smallfile.quantizer import quality

PICTURES = {
    "colour": photo(48, 64),
    "gray": photo(48, 64, gray=True),
    "alpha": photo(48, 64, alpha=True),
    "tiny": photo(1, 1),
    "wide": photo(3, 300),
    "large": photo(300, 520),  # several superblocks
}
QUALITIES = (1, 10, 30, 50, 75, 90, 99)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("chroma", ["4:2:0", "4:4:4"])
def test_of_avif(kind, chroma):
    codec = replace(QUICK["AVIF"], effort=1, chroma=chroma)
    for given in QUALITIES:
        told = quality(codec.encode(PICTURES[kind].to_pil(), given))
        assert abs(told - given) < 2  # the encoder knows 64 steps


def test_of_avif_at_full_effort_and_for_the_eye():
    image = PICTURES["colour"].to_pil()
    for given in (20, 50, 80):
        assert abs(quality(codecs.AVIF.encode(image, given)) - given) < 2
    # This tuning takes finer steps where there is detail: the base is coarser, and the file says so.
    told = [quality(replace(codecs.AVIF_FOR_EYE, effort=2).encode(image, given)) for given in QUALITIES]
    assert told == sorted(told)
    assert all(given - 9 < each <= given for given, each in zip(QUALITIES, told, strict=True))


def test_of_avif_by_other_settings():
    image = PICTURES["large"].to_pil()
    for options in ({"tile_rows": 1, "tile_cols": 1}, {"range": "limited"}, {"subsampling": "4:2:2"}):
        buffer = io.BytesIO()
        image.save(buffer, "AVIF", quality=50, speed=10, advanced={"tune": "psnr"}, **options)
        assert abs(quality(buffer.getvalue()) - 50) < 2


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("method", [0, 4, 6])
def test_of_webp(kind, method):
    codec = replace(codecs.WEBP, effort=method)
    for given in QUALITIES:
        told = quality(codec.encode(PICTURES[kind].to_pil(), given))
        assert abs(told - given) < (10 if method else 16)  # segments of the picture take other steps


@pytest.mark.parametrize("kind", ["colour", "gray", "tiny", "wide", "large"])
@pytest.mark.parametrize("effort", [0, 1, 2])
def test_of_jpeg(kind, effort):
    codec = replace(codecs.JPEG, effort=effort)
    told = {q: quality(codec.encode(PICTURES[kind].to_pil(), q)) for q in (*QUALITIES, 20)}
    for given in (20, 30, 50, 75, 90, 99):
        assert abs(told[given] - given) < 1
    assert told[1] < told[10] < told[20]  # below, steps are cut off at 255
    assert told[10] < 15


@pytest.mark.parametrize("format", CONTAINERS)
def test_a_payload_changes_nothing(format):
    file = QUICK[format].encode(PICTURES["colour"].to_pil(), 60)
    marked = CONTAINERS[format].insert(file, Version2.of((64, 48), 1, "photos").pack())
    assert quality(marked) == quality(file)


def test_where_it_is_not_known():
    buffer = io.BytesIO()
    PICTURES["colour"].to_pil().save(buffer, "WEBP", lossless=True)
    assert quality(buffer.getvalue()) is None
    frames = [PICTURES["colour"].to_pil(), PICTURES["gray"].to_pil().convert("RGB")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    assert quality(buffer.getvalue()) is None
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG")
    for data in (buffer.getvalue(), b"", b"\xff\xd8", b"RIFF", b"plain text", bytes(100)):
        assert quality(data) is None


@pytest.mark.parametrize("format", CONTAINERS)
def test_of_a_file_that_is_cut_short(format):
    file = QUICK[format].encode(PICTURES["colour"].to_pil(), 60)
    whole = quality(file)
    for length in range(len(file)):
        assert quality(file[:length]) in (None, whole) or format == "AVIF"


def avif_of(iloc: bytes, data: bytes = b"") -> bytes:
    """Nothing but the boxes that are looked at."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    meta = box(b"meta", bytes(4) + box(b"pitm", bytes(4) + b"\0\1") + box(b"iloc", iloc))
    return box(b"ftyp", b"avif") + meta + data


def test_hostile_lists_of_items_end_soon():
    items = struct.pack(">B3xHI", 2, 0, 0xFFFFFFFF)
    assert quality(avif_of(items)) is None
    # Items of many extents of no bytes; extents that are the whole file, again and again.
    empty = struct.pack(">HHH", 2, 0, 0xFFFF) * 50_000
    assert quality(avif_of(struct.pack(">B3xHH", 0, 0, 50_000) + empty)) is None
    whole = struct.pack(">HHH", 1, 0, 0xFFFF) + struct.pack(">II", 0, 0xFFFFFFFF) * 0xFFFF
    assert quality(avif_of(struct.pack(">B3xHH", 0, 0x4400, 1) + whole)) is None


def test_a_film_is_none():
    frames = [PICTURES["colour"].to_pil(), PICTURES["colour"].to_pil().rotate(180)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "AVIF", save_all=True, append_images=frames[1:], speed=10)
    told = quality(buffer.getvalue())
    assert told is None or 0 <= told <= 100


def test_it_tells_what_pillow_wrote():
    assert set(PILLOW) == set(CONTAINERS) == set(QUICK)
    assert quality(QUICK["AVIF"].encode(np.zeros((8, 8, 3), np.uint8), 100)) == 100
    with Image.open(io.BytesIO(QUICK["JPEG"].encode(np.zeros((8, 8, 3), np.uint8), 30))) as image:
        assert image.quantization[0][0] == 27  # 16 / 0.6
