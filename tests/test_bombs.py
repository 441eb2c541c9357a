"""Bombs: small files that ask for much memory or time. Each is read in a child, which says what it took.

A file is refused before memory is taken for what it claims, or read for what it is.
"""

import io
import json
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest
from pictures import file, png
from PIL import Image
from small_files import WEIGHTS, chunks, join, sealed, small

from bdflow.errors import BDFlowError
from bdflow.pictures import reader
from bdflow.smallfile import container
from bdflow.smallfile.payload import varint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux tells it")

MOST_MEMORY = (
    100 << 20
)  # bytes, beyond what the process held before; Pillow keeps up to 64 MB of a PNG's text
MOST_TIME = 20.0  # seconds of processor time; the slowest takes below one

CHILD = """
import io, json, sys, time, warnings
from pathlib import Path
from bdflow.smallfile import container
from bdflow.pictures import reader
from bdflow.errors import BDFlowError

def status(key):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(key))

warnings.simplefilter("ignore")
container.read(sys.argv[1])  # loads what there is to load
for path in sys.argv[2:]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
    before, started = status("VmRSS"), time.process_time()
    said = []
    with open(path, "rb") as file:
        container.holds_chunk(file)
    for read in (reader.read, container.read):
        try:
            said.append(repr(read(path)))
        except BDFlowError as error:
            said.append(str(error).removeprefix(path + ": "))
    print(json.dumps([path, *said, status("VmHWM") - before, time.process_time() - started]), flush=True)
"""

HUGE = 20_000  # squared, that is just what bdflow takes
ZEROS = zlib.compress(bytes(100 << 20), 9)
RED = Image.new("RGB", (8, 8), "red")
PLAIN = file(RED)


def with_chunk(kind: bytes, body: bytes, count: int = 1) -> bytes:
    """A PNG with more chunks before its pixels."""
    more = join([(kind, body)])[8:]
    return PLAIN[:33] + more * count + PLAIN[33:]


def patched(format: str, at: bytes, skip: int, layout: str, *values: int, **options: object) -> bytes:
    """A file of 8x8 pixels that claims others; `at` is what stands `skip` bytes before its size."""
    data = bytearray(file(RED, format, **options))
    struct.pack_into(layout, data, data.index(at) + skip, *values)
    return bytes(data)


def tiff(tags: dict[int, tuple[int, int, int]], after: int = 0) -> bytes:
    """Tag: type, count, value. `after` is where the next picture is said to be."""
    entries = b"".join(struct.pack("<HHII", tag, *rest) for tag, rest in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", after) + bytes(64)


def gray_tiff(width: int, height: int, **changes: tuple[int, int, int]) -> dict[int, tuple[int, int, int]]:
    """256 and 257 are the sides, 258 the bits, 259 the compression, 273, 278 and 279 the one strip."""
    short, long = 3, 4
    tags = {256: (long, 1, width), 257: (long, 1, height), 258: (short, 1, 8), 259: (short, 1, 1)}
    tags |= {262: (short, 1, 1), 273: (long, 1, 150), 277: (short, 1, 1), 278: (long, 1, height)}
    return tags | {279: (long, 1, 32)} | {int(tag): value for tag, value in changes.items()}


def bdflow_file(size: tuple[int, int], pixels: tuple[int, int] = (10, 12), boundary: bytes = b"") -> bytes:
    """A small file with a chunk that claims a photograph of this size, and a PNG header of these pixels."""
    name = b"portraits-x8"
    head = bytes([1, 3 | 1 << 3, len(name)]) + name + WEIGHTS + b"".join(map(varint, size)) + bytes(4)
    parts = dict(chunks(small().to_bytes()))
    parts[b"IHDR"] = struct.pack(">II", *pixels) + parts[b"IHDR"][8:]
    return join(list((parts | {b"bdFW": sealed(head + boundary)}).items()))


def exif(entries: bytes, after: int = 0) -> bytes:
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries) // 12) + entries + struct.pack(">I", after)


MANY_TEXTS = with_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 20)), 200)
ONE_OF_TWO = struct.pack(">HHII", 0x0112, 4, 0xFFFFFFFF, 8)

# Name: the file, what it says as a picture, and what as a small file (the same where left out).
BOMBS = {
    "png-65535": (png(65535, 65535, 8, 2, b""), "has more than 400,000,000 pixels"),
    "png-20000": (png(HUGE, HUGE, 8, 2, b""), "can be no photograph"),
    "png-thin": (png(2**31 - 1, 1, 8, 0, b""), "pixels"),
    "png-of-a-row": (png(300_000_000, 1, 1, 0, bytes(300)), "has a side of more than 1,000,000 pixels"),
    "jpeg-20000": (patched("JPEG", b"\xff\xc0", 5, ">HH", HUGE, HUGE), "can be no photograph"),
    "bmp-20000": (patched("BMP", b"BM", 18, "<ii", HUGE, HUGE), "can be no photograph"),
    "gif-20000": (patched("GIF", b"GIF8", 6, "<HH", HUGE, HUGE), "can be no photograph"),
    "ppm-20000": (b"P6 20000 20000 255\n" + bytes(99), "can be no photograph"),
    "webp-16383": (patched("WEBP", b"VP8L", 9, "<I", 0x0FFFFFFF, lossless=True), "can be no photograph"),
    "avif-20000": (patched("AVIF", b"ispe", 8, ">II", HUGE, HUGE), "no picture that bdflow reads"),
    "jp2-20000": (patched("JPEG2000", b"ihdr", 4, ">II", HUGE, HUGE), "can be no photograph"),
    "tiff-20000": (tiff(gray_tiff(HUGE, HUGE)), "can be no photograph"),
    "tiff-strip-beyond-the-end": (tiff(gray_tiff(8, 8, **{"273": (4, 1, 2**31)})), "damaged or cut short"),
    "tiff-strip-of-4-gb": (tiff(gray_tiff(8, 8, **{"279": (4, 1, 2**32 - 1)})), "damaged or cut short"),
    "tiff-4-billion-strips": (
        tiff(gray_tiff(8, 8, **{"273": (4, 2**32 - 1, 8)})),
        "no picture that bdflow reads",
    ),
    "tiff-that-follows-itself": (tiff(gray_tiff(4, 4), after=8), "Picture(4x4, gray"),
    "tiff-profile-of-4-gb": (tiff(gray_tiff(8, 8, **{"34675": (7, 2**32 - 1, 8)})), "damaged or cut short"),
    "text": (with_chunk(b"zTXt", b"k\0\0" + ZEROS), "Picture(8x8, RGB)"),
    "international-text": (with_chunk(b"iTXt", b"k\0\x01\0\0\0" + ZEROS), "Picture(8x8, RGB)"),
    "many-texts": (MANY_TEXTS, "Picture(8x8, RGB)"),
    "profile": (
        with_chunk(b"iCCP", b"k\0\0" + ZEROS),
        "colour profile dropped: it has more than 1,048,576 bytes",
    ),
    "many-chunks": (with_chunk(b"teSt", b"", 200_000), "Picture(8x8, RGB)"),
    "pixels-behind-the-last": (png(1, 1, 8, 0, bytes(100 << 20)), "Picture(1x1, gray)"),
    "animation-without-end": (with_chunk(b"acTL", b"\x7f\xff\xff\xff\0\0\0\0"), "8x8"),
    "gif-of-5000-frames": (
        file(RED, "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), "blue"), RED] * 2500),
        "Picture(8x8, RGB, animation",
    ),
    "exif-that-follows-itself": (with_chunk(b"eXIf", exif(ONE_OF_TWO, after=8)), "Picture(8x8"),
    "exif-of-4-billion": (file(RED, "JPEG", exif=b"Exif\0\0" + exif(ONE_OF_TWO * 5000)), "Picture(8x8"),
    "bdflow-of-2-giga-pixels": (bdflow_file((50_000, 40_000)), "10x12", "is more than 400,000,000 pixels"),
    "bdflow-thin": (bdflow_file((200_000_000, 1)), "10x12", "has a side of more than 1,000,000 pixels"),
    "bdflow-of-other-pixels": (
        bdflow_file((77, 89), (HUGE, HUGE)),
        "can be no photograph",
        "an LR image of 20000x20000 cannot restore 77x89",
    ),
    "bdflow-boundary": (
        bdflow_file((77, 89), boundary=b"\x02" + ZEROS[2:-4]),
        "10x12",
        "boundary map is damaged",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, tuple[str, str, int, float]]:
    folder = tmp_path_factory.mktemp("bombs")
    for name, (data, *_) in BOMBS.items():
        (folder / name).write_bytes(data)
    (folder / "plain").write_bytes(small().to_bytes())
    command = [sys.executable, "-c", CHILD, *(folder / name for name in ("plain", *BOMBS))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {Path(path).name: tuple(rest) for path, *rest in lines}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_and_gives_a_picture_or_one_line(outcomes, name):
    _, as_picture, *as_small = BOMBS[name]
    picture, read, memory, seconds = outcomes[name]
    assert as_picture in picture
    if as_small:
        assert as_small[0] in read
    assert "\n" not in picture + read
    assert memory < MOST_MEMORY
    assert seconds < MOST_TIME


def test_a_small_file_is_walked_through_not_held_in_memory(tmp_path):
    """400 MB of pixels, a hole in the file: its checksum is wrong, which is known only at its end."""
    length = 400 << 20
    with (tmp_path / "large.png").open("wb") as sparse:
        sparse.write(PLAIN[:33] + struct.pack(">I4s", length, b"IDAT"))
        sparse.seek(length, io.SEEK_CUR)
        sparse.write(b"\0\0\0\0")
    tracemalloc.start()
    try:
        with pytest.raises(BDFlowError, match="a checksum is wrong"):
            container.read(tmp_path / "large.png")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_chunk_longer_than_any_boundary_map_is_refused_unread():
    claim = PLAIN[:33] + struct.pack(">I4s", 1 << 30, b"bdFW")
    with pytest.raises(BDFlowError, match="bdflow chunk is damaged"):
        container.read(claim + bytes(1000))
    with pytest.raises(BDFlowError, match="cut short"):
        container.read(claim.replace(struct.pack(">I", 1 << 30), struct.pack(">I", 1 << 20)))


def test_a_real_picture_of_few_bytes_is_read():
    """A photograph has some bits per pixel; but plain areas, drawn by a program, may have very few."""
    black = Image.new("1", (8192, 8192))
    data = file(black)
    assert black.width * black.height / len(data) > 5_000
    assert reader.read(data).width == 8192
