"""JPEG as a container: the payload is a segment for applications, APP15, at the start.

It takes the place of the JFIF segment, which says nothing that a decoder does not assume: bdflow's file is 8
bytes shorter than the codec's. (APP11 would be read as JPEG XT's or C2PA's.) Metadata stand in front of it,
as EXIF wants to be the first.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from bdflow.errors import BDFlowError
from bdflow.pictures.metadata import NONE, Metadata
from bdflow.smallfile.protocol import MOST_PARTS, Parts

NAME = "JPEG"
ENDINGS = (".jpg", ".jpeg")

_START, _JFIF, _APP15, _SCAN, _END = 0xD8, 0xE0, 0xEF, 0xDA, 0xD9
_PROFILE = 0xE2
_METADATA = (0xE1, 0xED, 0xFE)  # EXIF or XMP, Photoshop's resources with IPTC, a comment
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARK = b"bd"  # other programs' segments of this number have other contents


def begins(head: bytes) -> bool:
    """Whether a file that begins so is a JPEG."""
    return head.startswith(b"\xff\xd8\xff")


def insert(coded: bytes, payload: bytes | None, metadata: Metadata = NONE) -> bytes:
    """The codec's file with metadata, and the payload in the place of its JFIF segment."""
    rest_start = 2
    if coded[2:4] == bytes([0xFF, _JFIF]):
        rest_start += 2 + int.from_bytes(coded[4:6])
    if payload is None:
        return coded[:rest_start] + metadata.jpeg_segments() + coded[rest_start:]
    content = _MARK + payload
    segment = struct.pack(">BBH", 0xFF, _APP15, 2 + len(content)) + content
    return coded[:2] + metadata.jpeg_segments() + segment + coded[rest_start:]


def holds_payload(stream: BinaryIO) -> bool:
    """Whether bdflow's segment is there.

    Raises:
        BDFlowError: the file is damaged before it.
    """
    return any(kind == _APP15 and content.startswith(_MARK) for kind, _, content in _segments(stream))


def parts(stream: BinaryIO) -> Parts:
    """All segments before the first scan; what follows is taken for pixels.

    Raises:
        BDFlowError: it is cut short.
    """
    size, payload, payloads, profile, described, pixels = None, None, 0, 0, 0, 0
    for kind, length, content in _segments(stream):
        if kind == _APP15 and content.startswith(_MARK):
            payload, payloads = payload or content.removeprefix(_MARK), payloads + 1
        elif kind in _FRAMES and len(content) >= 5:
            height, width = struct.unpack_from(">HH", content, 1)
            size = width, height
        elif kind == _PROFILE:
            profile += length
        elif kind in _METADATA:
            described += length
        elif kind == _SCAN:
            start = stream.tell()
            pixels = stream.seek(0, 2) - start
    return Parts(size, payload, payloads, pixels, profile, described)


def _segments(stream: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Marker, length and content of each segment up to the first scan, where the stream then stands."""
    stream.seek(2)
    for _ in range(MOST_PARTS):
        head = stream.read(2)
        if len(head) < 2 or head[0] != 0xFF:
            raise _cut_short()
        marker = head[1]
        if marker == 0xFF:  # a fill byte; the next one may be the marker
            stream.seek(-1, 1)
            continue
        if marker == _END:
            return
        if marker == _START or 0xD0 <= marker <= 0xD7 or marker == 0x01:
            continue
        length = stream.read(2)
        if len(length) < 2 or int.from_bytes(length) < 2:
            raise _cut_short()
        content = stream.read(int.from_bytes(length) - 2)
        if len(content) < int.from_bytes(length) - 2:
            raise _cut_short()
        yield marker, len(content), content
        if marker == _SCAN:
            return
    raise _cut_short()


def _cut_short() -> BDFlowError:
    return BDFlowError("the JPEG is damaged or cut short: get it again")
