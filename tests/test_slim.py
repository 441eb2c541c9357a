"""AVIF in fewer bytes: what goes, what stays, and that every reader at hand sees the same pixels."""

import base64
import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from thumbnails import coded, photo, pixels

from bdflow.errors import BDFlowError
from bdflow.smallfile import av1, avif
from bdflow.smallfile.container import holds_chunk, read
from bdflow.smallfile.isobmff import box, boxes
from bdflow.smallfile.payload import Version2
from bdflow.smallfile.quantizer import quality
from bdflow.smallfile.slim import slimmed

PAYLOAD = Version2.of((52, 40), 1, "photos").pack()
KINDS = {"colour": (0, 0), "gray": (1, 0), "alpha": (0, 1), "gray with alpha": (1, 1)}
FILES = {
    name: coded(photo(gray=bool(gray), alpha=bool(alpha)), "AVIF") for name, (gray, alpha) in KINDS.items()
}


def saved(**options) -> bytes:
    buffer = io.BytesIO()
    photo().to_pil().save(buffer, "AVIF", speed=10, quality=50, **options)
    return buffer.getvalue()


def tree(data: bytes) -> dict[bytes, bytes]:
    """The boxes of a file and of its `meta`, `iprp` and `ipco`."""
    found = {}
    for kind, start, end in boxes(data, 0, len(data)):
        found[kind] = data[start:end]
        if kind in (b"meta", b"iprp", b"ipco"):
            found |= tree(data[start + 4 * (kind == b"meta") : end])
    return found


@pytest.mark.parametrize(
    ("kind", "fewer"), [("colour", 31), ("gray", 27), ("alpha", 38), ("gray with alpha", 34)]
)
def test_the_same_picture_in_fewer_bytes(kind, fewer):
    file = FILES[kind]
    slim = slimmed(file).pack()
    assert len(file) - len(slim) == fewer
    np.testing.assert_array_equal(pixels(slim), pixels(file))
    assert slimmed(slim).pack() == slim
    assert quality(slim) == quality(file)


def test_what_goes_and_what_stays():
    before, after = tree(FILES["colour"]), tree(slimmed(FILES["colour"]).pack(b"bd"))
    assert before[b"ftyp"] == b"avif" + bytes(4) + b"avifmif1miafMA1B"
    assert after[b"ftyp"] == b"avif" + bytes(4) + b"avifmif1miaf"
    assert before.keys() - after.keys() == {b"colr"}
    for kind in (b"hdlr", b"pitm", b"ispe", b"pixi", b"av1C"):
        assert before[kind] == after[kind]
    assert b"Color" in before[b"iinf"]
    assert b"Color" not in after[b"iinf"]
    assert after[b"ipma"][8:] == bytes([0, 1, 3, 1, 2, 0x83])  # av1C is essential still
    assert before[b"mdat"][:2] == av1.TEMPORAL_DELIMITER
    assert after[b"mdat"] == before[b"mdat"][2:] + b"bd"


def test_colours_stay_where_they_are_said_nowhere_else():
    assert av1.sequence(tree(FILES["colour"])[b"mdat"]).colours == (1, 13, 6, 1)
    for options in ({"range": "limited"}, {"icc_profile": b"profile" * 20}):
        file = saved(**options)
        slim = slimmed(file).pack()
        assert tree(slim)[b"colr"] == tree(file)[b"colr"]
        np.testing.assert_array_equal(pixels(slim), pixels(file))
    # The box says what is the default, the picture something else: readers believe the box.
    said = b"nclx" + struct.pack(">HHHB", 1, 13, 6, 128)
    file = saved(range="limited").replace(said[:-1] + b"\0", said)
    assert tree(slimmed(file).pack())[b"colr"] == said


def test_files_that_are_not_known_stay_as_they_are():
    file = FILES["alpha"]
    film = io.BytesIO()
    frames = [photo().to_pil(), photo().to_pil().rotate(180)]
    frames[0].save(film, "AVIF", save_all=True, append_images=frames[1:], speed=10)
    meta = struct.pack(">I", struct.unpack_from(">I", file, 32)[0])
    unknown = {
        "a film": film.getvalue(),
        "EXIF": saved(exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        "a box at the end": file + box(b"free", b"x"),
        "unused bytes": slimmed(file).pack(b"x"),
        "a gap": file[:-1],
        "another brand": file.replace(b"ftypavif", b"ftypmif1"),
        "another item": file.replace(b"av01Alpha", b"Exif.....", 1),
        "protected": file.replace(b"\0\2\0\0av01Alpha", b"\0\2\0\1av01Alpha"),
        "no such version": file.replace(b"infe\2", b"infe\3"),
        "no such property": file.replace(bytes([4, 1, 2, 0x83, 4]), bytes([4, 1, 2, 0x83, 9])),
        "twice the same item": file.replace(b"\0\0\0\2\0\1\4\1\2", b"\0\0\0\2\0\2\4\1\2"),
        "no such box": file.replace(b"iref", b"abcd"),
        "no size": file.replace(meta + b"meta", bytes(4) + b"meta"),
    }
    for name, data in unknown.items():
        assert data != file, name
        assert slimmed(data) is None, name
        assert avif.insert(data, PAYLOAD) == data + box(b"free", b"bd", PAYLOAD), name


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_whatever_is_broken_the_same_is_read(draws):
    """Of what Pillow reads it reads the same afterwards."""
    broken = bytearray(draws.draw(st.sampled_from(list(FILES.values()))))
    for position in draws.draw(st.lists(st.integers(0, 420), min_size=1, max_size=2)):
        broken[position] ^= draws.draw(st.integers(1, 255))
    try:
        before = pixels(bytes(broken), "AVIF")
    except Exception:
        before = None
    after = avif.insert(bytes(broken), PAYLOAD)
    if before is not None:
        np.testing.assert_array_equal(pixels(after, "AVIF"), before)


def test_a_payload_that_others_moved():
    """As exiftool does that adds EXIF: an item more, whose data stand in front of the picture's."""
    still = slimmed(FILES["colour"])
    data = still._replace(coded=[*still.coded, (9, b"EXIF")], order=[1, 0]).pack(b"bd" + PAYLOAD)
    assert avif.parts(io.BytesIO(data)).payload == PAYLOAD
    assert holds_chunk(io.BytesIO(data))
    np.testing.assert_array_equal(pixels(data), pixels(FILES["colour"]))


def test_payloads_of_both_places():
    inside = slimmed(FILES["colour"]).pack(b"bd" + PAYLOAD)
    behind = FILES["colour"] + box(b"free", b"bd", PAYLOAD)
    assert len(behind) - len(inside) == 39
    for data in (inside, behind):
        assert read(data).size == (52, 40)
        assert avif.parts(io.BytesIO(data)).payload == PAYLOAD
    with pytest.raises(BDFlowError, match="holds 2 bdflow chunks"):
        read(avif.insert(inside, PAYLOAD))


def test_unused_bytes_are_looked_at_where_all_is_plain():
    still = slimmed(FILES["colour"])
    assert avif.parts(io.BytesIO(still.pack(b"bd" + bytes(62)))).payload == bytes(62)
    long = still.pack(b"bd" + bytes(63))
    assert avif.parts(io.BytesIO(long)).payload is None
    assert avif.parts(io.BytesIO(long)).pixels == len(still.coded[0][1]) + 65
    broken = still.pack(b"bd" + PAYLOAD).replace(b"iloc", b"ilox")
    assert avif.parts(io.BytesIO(broken)).payload is None


# Other readers


@pytest.mark.parametrize("kind", KINDS)
def test_another_reader_sees_the_same(kind):
    imagecodecs = pytest.importorskip("imagecodecs")
    before = imagecodecs.avif_decode(FILES[kind])
    np.testing.assert_array_equal(imagecodecs.avif_decode(avif.insert(FILES[kind], PAYLOAD)), before)


DRAW = """async uri => {
    const image = new Image();
    image.src = uri;
    await image.decode();
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight).getContext("2d");
    canvas.drawImage(image, 0, 0);
    const {data} = canvas.getImageData(0, 0, image.naturalWidth, image.naturalHeight);
    return [image.naturalWidth, image.naturalHeight, btoa(String.fromCharCode(...data))];
}"""


def test_a_browser_sees_the_same(browser):
    page = browser.new_page()

    def seen(file: bytes) -> np.ndarray:
        uri = "data:image/avif;base64," + base64.b64encode(file).decode()
        width, height, data = page.evaluate(DRAW, uri)
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)

    for file in FILES.values():
        before = seen(file)
        np.testing.assert_array_equal(seen(avif.insert(file, PAYLOAD)), before)
        with Image.open(io.BytesIO(file)) as image:
            rgba = np.asarray(image.convert("RGBA")).astype(int)
        opaque = rgba[..., 3] == 255
        assert np.abs(before.astype(int) - rgba)[opaque].max(initial=0) <= 3
    page.close()
