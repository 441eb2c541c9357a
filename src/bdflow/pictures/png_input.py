"""PNGs that others made: whether their pixels are whole, and what of them Pillow must see.

Pillow does not look at the checksums of pixel data, and refuses a whole picture for a text, a profile or a
resolution that it finds too long or too short.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from bdflow.errors import BDFlowError
from bdflow.pictures.limits import MAX_PROFILE

SIGNATURE = b"\x89PNG\r\n\x1a\n"
DAMAGED = "the picture is damaged or cut short: get it again"

_BLOCK = 1 << 16  # bytes in memory at a time
_LONGEST = 1 << 20  # bytes of what is looked into
# Besides the critical chunks: what changes pixels or their place, and what notes tell of.
_KEPT = frozenset((b"tRNS", b"iCCP", b"eXIf", b"gAMA", b"sRGB", b"cICP", b"acTL", b"fcTL", b"fdAT"))
_LENGTHS = {b"gAMA": 4, b"sRGB": 1, b"cICP": 4, b"acTL": 8}


class _Chunk(NamedTuple):
    kind: bytes
    start: int  # of the chunk, in the file
    length: int  # of its content
    intact: bool

    @property
    def critical(self) -> bool:
        return not self.kind[0] & 32


def check_pixels(stream: BinaryIO) -> None:
    """Refuse a PNG whose pixel data, header or palette has a wrong checksum, or that ends within them.

    One that lacks no more than its end is taken. The stream stands anywhere, before and after.

    Raises:
        BDFlowError: It is damaged.
    """
    if not all(chunk.intact or not chunk.critical for chunk in _chunks(stream)):
        raise BDFlowError(DAMAGED)


def essentials(stream: BinaryIO) -> tuple[bytes, list[str]]:
    """A PNG without what is too large or damaged and no part of the pixels, and a note for what is missed."""
    parts, notes = [SIGNATURE], []
    for chunk in _chunks(stream):
        if not (chunk.critical or chunk.kind in _KEPT) or not chunk.intact:
            continue
        stream.seek(chunk.start)
        data = stream.read(12 + chunk.length)
        if chunk.kind == b"iCCP" and (why := _unfit(data[8:-4])):
            notes.append(f"colour profile dropped: {why}")
        elif chunk.length == _LENGTHS.get(chunk.kind, chunk.length):
            parts.append(data)
    return b"".join(parts), notes


def content(stream: BinaryIO, kind: bytes) -> bytes | None:
    """What the first intact chunk of a name holds, of those before the pixels; None where there is none."""
    for chunk in _chunks(stream):
        if chunk.kind == b"IDAT":
            break
        if chunk.kind == kind and chunk.intact and chunk.length <= _LONGEST:
            stream.seek(chunk.start + 8)
            return stream.read(chunk.length)
    return None


def _unfit(profile: bytes) -> str | None:
    """Why a profile cannot be kept: by the chunk's content, a name and what is deflated."""
    _, _, deflated = profile.partition(b"\0")
    try:
        inflated = zlib.decompressobj().decompress(deflated[1:], MAX_PROFILE + 1)
    except zlib.error:
        return "it is damaged"
    return f"it has more than {MAX_PROFILE:,} bytes" if len(inflated) > MAX_PROFILE else None


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """Every chunk up to the end; the last one is not intact where the file ends within it."""
    position = len(SIGNATURE)
    while True:
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        crc, remaining = zlib.crc32(kind), length
        while remaining and (block := stream.read(min(remaining, _BLOCK))):
            crc, remaining = zlib.crc32(block, crc), remaining - len(block)
        intact = not remaining and stream.read(4) == crc.to_bytes(4)
        if kind == b"IEND":
            return
        yield _Chunk(kind, position, length, intact)
        if remaining:
            return
        position += 12 + length
