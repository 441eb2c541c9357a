"""WebP as a container: the payload is a chunk of its own behind the picture, 12 bytes.

Readers ignore chunks that they do not know. The specification says so of the extended format, which begins
with a chunk `VP8X`; of the simple one, libwebp, FFmpeg and browsers read no further than the picture.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from bdflow.errors import BDFlowError
from bdflow.pictures.metadata import NONE, Metadata
from bdflow.smallfile.payload import MAX_PAYLOAD
from bdflow.smallfile.protocol import MOST_PARTS, Parts

NAME = "WebP"
ENDINGS = (".webp",)
CHUNK = b"bdFW"

_PIXELS = (b"VP8 ", b"VP8L", b"ALPH")
_HAS_EXIF, _HAS_XMP = 8, 4
_BEGINNING = 16  # bytes of other chunks that are looked at


def begins(head: bytes) -> bool:
    """Whether a file that begins so is a WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def insert(coded: bytes, payload: bytes | None, metadata: Metadata = NONE) -> bytes:
    """The codec's file with metadata, which want the extended format, and the payload at its end."""
    chunks = coded[12:]
    if metadata:
        block, xmp = metadata.block(), metadata.xmp
        chunks = _extended(chunks, _HAS_EXIF * bool(block) | _HAS_XMP * bool(xmp))
        chunks += _chunk(b"EXIF", block) + _chunk(b"XMP ", xmp)
    chunks += _chunk(CHUNK, payload)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WEBP") + chunks


def _chunk(kind: bytes, content: bytes | None) -> bytes:
    """A chunk; nothing of nothing."""
    if content is None:
        return b""
    return struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) & 1)


def _extended(chunks: bytes, flags: int) -> bytes:
    """The chunks of a lossy picture behind one of the extended format, which lists the metadata."""
    if chunks.startswith(b"VP8X"):
        return chunks[:8] + bytes([chunks[8] | flags]) + chunks[9:]
    width, height = ((side & 0x3FFF) - 1 for side in struct.unpack_from("<HH", chunks, 14))
    return (
        _chunk(b"VP8X", struct.pack("<I", flags) + width.to_bytes(3, "little") + height.to_bytes(3, "little"))
        + chunks
    )


def holds_payload(stream: BinaryIO) -> bool:
    """Whether bdflow's chunk is there.

    Raises:
        BDFlowError: the file is damaged before it.
    """
    return any(kind == CHUNK for kind, _, _ in _chunks(stream))


def parts(stream: BinaryIO) -> Parts:
    """All of the file's chunks; WebP has no checksums.

    Raises:
        BDFlowError: it is cut short, or bdflow's chunk is longer than any.
    """
    size, payload, payloads, pixels, profile, described = None, None, 0, 0, 0, 0
    for kind, length, content in _chunks(stream):
        if kind == CHUNK:
            payload, payloads = payload or content, payloads + 1
        elif kind == b"VP8X" and len(content) >= 10:
            width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (4, 7))
            size = width, height
        elif kind in _PIXELS:
            pixels += length
        elif kind == b"ICCP":
            profile += length
        elif kind in (b"EXIF", b"XMP "):
            described += length
    return Parts(size, payload, payloads, pixels, profile, described)


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    """Name and length of each chunk, and its content, of other chunks than bdflow's its beginning."""
    head = stream.read(12)
    end = 8 + struct.unpack_from("<I", head, 4)[0] if len(head) == 12 else 0
    stream.seek(0, 2)
    if stream.tell() < end or end < 12:
        raise _cut_short()
    start = 12
    for _ in range(MOST_PARTS):
        if start + 8 > end:
            return
        stream.seek(start)
        kind, length = struct.unpack("<4sI", stream.read(8))
        if start + 8 + length > end or (kind == CHUNK and length > MAX_PAYLOAD):
            raise _cut_short()
        yield kind, length, stream.read(length if kind == CHUNK else min(length, _BEGINNING))
        start += 8 + length + (length & 1)
    raise _cut_short()


def _cut_short() -> BDFlowError:
    return BDFlowError("the WebP is damaged or cut short: get it again")
