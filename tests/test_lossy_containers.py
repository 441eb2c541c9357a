"""AVIF, WebP and JPEG as containers: the payload is found, the picture stays, damage is said in one line."""

import io
import struct
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features
from small_files import small
from thumbnails import CONTAINERS, PILLOW, assert_same, coded, photo, pixels, thumbnail

from bdflow.errors import BDFlowError
from bdflow.evaluation.report import small_file
from bdflow.pictures import reader
from bdflow.smallfile.container import NoChunkError, byte_report, holds_chunk, read
from bdflow.smallfile.payload import Version1, Version2
from bdflow.smallfile.protocol import MOST_PARTS
from bdflow.smallfile.quantizer import quality
from bdflow.smallfile.slim import slimmed
from bdflow.smallfile.thumbnail import FORMATS

PAYLOAD = Version2.of((52, 40), 2, "photos").pack()
OVERHEAD = {"WebP": 12, "JPEG": -8}
SLIMMED = {
    (False, False): -25,
    (True, False): -21,
    (False, True): -32,
    (True, True): -28,
}  # AVIF: gray, alpha
KINDS = [
    (format, gray, alpha)
    for format in FORMATS
    for gray in (False, True)
    for alpha in (False, True)
    if not (format == "JPEG" and alpha)
]


def made(format: str, gray: bool = False, alpha: bool = False):
    return thumbnail(photo(gray=gray, alpha=alpha), format, 2)


def parts(data: bytes, format: str):
    return CONTAINERS[format].parts(io.BytesIO(data))


@pytest.mark.parametrize(("format", "gray", "alpha"), KINDS)
def test_the_picture_stays_and_the_payload_is_found(format, gray, alpha):
    plain = coded(photo(gray=gray, alpha=alpha), format, 2)
    data = CONTAINERS[format].insert(plain, PAYLOAD)
    more = SLIMMED[gray, alpha] if format == "AVIF" else OVERHEAD[format]
    assert len(data) - len(plain) == more
    np.testing.assert_array_equal(pixels(data, PILLOW[format]), pixels(plain, PILLOW[format]))
    assert parts(data, format).payload == PAYLOAD
    assert parts(data, format).payloads == 1
    assert parts(plain, format).payload is None
    for file, holds in ((data, True), (plain, False)):
        stream = io.BytesIO(file)
        assert holds_chunk(stream) is holds
        assert stream.tell() == 0
    assert quality(data) == quality(plain) is not None
    assert_same(read(data), made(format, gray, alpha))


@pytest.mark.parametrize("format", FORMATS)
@given(payload=st.binary(max_size=40))
@settings(deadline=None, max_examples=30)
def test_any_payload_survives(format, payload):
    data = CONTAINERS[format].insert(coded(photo(8, 8), format), payload)
    found = parts(data, format)
    assert (found.payload, found.payloads) == (payload, 1)
    assert found.size in (None, (8, 8))
    assert pixels(data, PILLOW[format]).shape == (8, 8, 3)


@pytest.mark.parametrize(("format", "gray", "alpha"), KINDS)
def test_every_byte_is_reported(format, gray, alpha):
    data = made(format, gray, alpha).data
    report = byte_report(data)
    assert sum(report.values()) == len(data)
    assert (report["boundary"], report["header"], report["profile"]) == (0, 4, 0)
    assert 0 < report["pixels"] < len(data) - 4
    assert report["structure"] > 0


def test_a_profile_is_reported():
    image = Image.fromarray(photo().rgb)
    for format in FORMATS:
        buffer = io.BytesIO()
        image.save(buffer, PILLOW[format], icc_profile=b"profile" * 20)
        data = CONTAINERS[format].insert(buffer.getvalue(), PAYLOAD)
        report = byte_report(data)
        assert sum(report.values()) == len(data)
        if format != "AVIF":  # there it is deep inside
            assert 140 <= report["profile"] < 170


def test_of_jpeg_progressive_and_not():
    for progressive in (False, True):
        buffer = io.BytesIO()
        Image.fromarray(photo().rgb).save(buffer, "JPEG", progressive=progressive)
        data = CONTAINERS["JPEG"].insert(buffer.getvalue(), PAYLOAD)
        assert b"JFIF" in buffer.getvalue()
        assert b"JFIF" not in data
        np.testing.assert_array_equal(pixels(data), pixels(buffer.getvalue()))
        assert sum(byte_report(data).values()) == len(data)


def test_info():
    for format in FORMATS:
        small = made(format)
        lines = small_file(small, small.data).splitlines()
        assert lines[0].startswith(f"codec     {format}, quality ")
        assert lines[0].endswith(" of 100, by its quantiser")
        assert lines[1] == "restores  52x40 from 26x20 (x2)"
        assert lines[2] == "domain    photos"
        assert f"{len(small.data):,} bytes  in all" in lines[-1]


# Without a payload


@pytest.mark.parametrize("format", FORMATS)
def test_an_ordinary_picture_is_told_from_a_small_file(format):
    plain = coded(photo(), format)
    with pytest.raises(NoChunkError, match="no bdflow chunk in this file") as caught:
        read(plain)
    assert caught.value.format == format
    assert caught.value.quality == quality(plain)
    np.testing.assert_array_equal(caught.value.picture.rgb, reader.read(plain).rgb)


def test_foreign_parts_are_left_alone():
    avif = coded(photo(), "AVIF") + struct.pack(">I4s", 16, b"free") + b"anything"
    unused = slimmed(coded(photo(), "AVIF")).pack(b"anything")
    jpeg = coded(photo(), "JPEG")
    jpeg = jpeg[:2] + b"\xff\xef\0\6else" + jpeg[2:]
    webp = CONTAINERS["WebP"].insert(coded(photo(), "WebP"), PAYLOAD).replace(b"bdFW", b"othr")
    for data in (avif, unused, jpeg, webp):
        assert not holds_chunk(io.BytesIO(data))
        with pytest.raises(NoChunkError):
            read(data)
        assert sum(byte_report(data).values()) == len(data)


def test_bytes_behind_the_end():
    for format in ("WebP", "JPEG"):  # both say where they end; of an AVIF nobody knows what was cut
        data = made(format).data + b"appended by some gallery"
        assert read(data).size == (52, 40)
        assert sum(byte_report(data).values()) == len(data)
    with pytest.raises(BDFlowError, match="damaged or cut short"):
        read(made("AVIF").data + b"appended by some gallery")


# Files that are refused


def again(data: bytes, format: str, payload: bytes) -> bytes:
    """With one more payload."""
    if format != "JPEG":
        return CONTAINERS[format].insert(data, payload)
    return data[:2] + struct.pack(">BBH", 0xFF, 0xEF, 4 + len(payload)) + b"bd" + payload + data[2:]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\3" + bytes(3), r"made by a newer bdflow \(format 3\): upgrade bdflow"),
        (b"", "bdflow chunk is damaged"),
        (PAYLOAD[:3], "bdflow chunk is damaged"),
        (PAYLOAD[:3] + bytes([PAYLOAD[3] ^ 1]), "bdflow chunk is damaged"),
        (Version1.of(small()).pack(), "bdflow chunk is damaged"),
        (Version2.of((52, 40), 1.5, "photos").pack(), None),
        (Version2((1.5), "photos", (15, 15)).pack(), "cannot be that of a photograph of"),
        (Version2(1, "photos", (15, 0)).pack(), "cannot be that of a photograph of"),
        (Version2(1, "photos", (1, 0)).pack(), "cannot be that of a photograph of 25x20, 1/1 each way"),
    ],
)
def test_impossible_payloads(format, payload, message):
    data = CONTAINERS[format].insert(coded(photo(), format, 2), payload)
    if message is None:
        assert read(data).size == (37, 28)
        return
    with pytest.raises(BDFlowError, match=message) as caught:
        read(data)
    assert not isinstance(caught.value, NoChunkError)
    assert str(caught.value).startswith("the data: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_two_payloads(format):
    data = again(made(format).data, format, PAYLOAD)
    with pytest.raises(BDFlowError, match="holds 2 bdflow chunks where one belongs"):
        read(data)
    with pytest.raises(BDFlowError, match="holds 2 bdflow chunks"):
        byte_report(data)


@pytest.mark.parametrize("format", FORMATS)
def test_a_photograph_beyond_the_limit_is_refused_before_pixels_are_decoded(format, monkeypatch):
    data = made(format).data
    assert read(data, max_pixels=52 * 40).size == (52, 40)
    monkeypatch.setattr(reader, "_convert", lambda image: pytest.fail("decoded"))
    with pytest.raises(BDFlowError, match="the photograph's 52x40 is more than 2,079 pixels"):
        read(data, max_pixels=52 * 40 - 1)
    with pytest.raises(BDFlowError, match="pixels"):
        read(data, max_pixels=26 * 20 - 1)


def test_a_pillow_without_avif(monkeypatch):
    import PIL.AvifImagePlugin

    data = made("AVIF").data
    monkeypatch.setattr(PIL.AvifImagePlugin, "SUPPORTED", False)
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    for attempt in (lambda: read(data), lambda: reader.read(data), lambda: coded(photo(), "AVIF")):
        with pytest.raises(BDFlowError, match="this Pillow was built without AVIF: pip install --upgrade"):
            attempt()


FILES = {
    format: [made(format, gray, alpha).data for f, gray, alpha in KINDS if f == format] for format in FORMATS
}


def accept(data: bytes) -> None:
    """Read; a file, or one clear line, and soon."""
    start = time.process_time()  # not the clock: other work may keep the processor
    for attempt in (lambda: read(data, max_pixels=1_000_000), lambda: byte_report(data)):
        try:
            attempt()
        except BDFlowError as error:
            message = str(error)
            assert "\n" not in message
    holds_chunk(io.BytesIO(data))
    quality(data)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("format", FORMATS)
def test_every_cut(format):
    for data in FILES[format]:
        for length in range(0, len(data), 3):
            accept(data[:length])
        with pytest.raises(BDFlowError) as caught:
            read(data[: len(data) // 2])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
@given(st.data())
@settings(deadline=None, max_examples=150)
def test_flipped_bytes(format, draws):
    broken = bytearray(draws.draw(st.sampled_from(FILES[format])))
    for position in draws.draw(st.lists(st.integers(0, len(broken) - 1), min_size=1, max_size=4)):
        broken[position] ^= draws.draw(st.integers(1, 255))
    accept(bytes(broken))


@pytest.mark.parametrize("format", FORMATS)
@given(st.data())
@settings(deadline=None, max_examples=100)
def test_inserted_and_deleted_bytes(format, draws):
    data = draws.draw(st.sampled_from(FILES[format]))
    place = draws.draw(st.integers(0, len(data)))
    accept(data[:place] + draws.draw(st.binary(max_size=30)) + data[place + draws.draw(st.integers(0, 30)) :])


@pytest.mark.parametrize("head", [b"\0\0\0\x20ftypavif", b"RIFF\xff\xff\xff\x7fWEBP", b"\xff\xd8\xff"])
@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=60)
def test_foreign_bytes_behind_a_known_beginning(head, tail):
    accept(head + tail)


def test_endless_lists_of_parts_are_not_followed():
    many = 2_000_000
    avif = struct.pack(">I4s4s", 12, b"ftyp", b"avif") + struct.pack(">I4s", 8, b"skip") * many
    webp = struct.pack("<4sI4s", b"RIFF", 4 + 8 * many, b"WEBP") + struct.pack("<4sI", b"junk", 0) * many
    jpeg = b"\xff\xd8" + b"\xff" * many
    segments = b"\xff\xd8" + b"\xff\xe1\0\2" * many
    for data in (avif, webp, jpeg, segments):
        start = time.process_time()  # not the clock: other work may keep the processor
        accept(data)
        assert time.process_time() - start < 5
    with pytest.raises(BDFlowError, match="damaged or cut short"):
        CONTAINERS["AVIF"].parts(io.BytesIO(avif))
    assert many > MOST_PARTS


def test_fill_bytes_before_a_marker():
    data = made("JPEG").data
    filled = data[:2] + b"\xff\xff\xff" + data[2:]
    assert_same(read(filled), replace(made("JPEG"), data=filled))
