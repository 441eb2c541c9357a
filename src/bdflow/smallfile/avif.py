"""AVIF as a container: the payload is in a box of free space at the end.

ISO 14496-12 (8.1.2) lets every reader ignore such a box, and whoever deletes it leaves the picture as it was.
It is last, since what stands before the media data would move them. With its 14 bytes it is half as long as a
box of a private type (`uuid`).
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from bdflow.errors import BDFlowError
from bdflow.smallfile.protocol import MOST_PARTS, Parts

NAME = "AVIF"
ENDINGS = (".avif",)

_MARK = b"bd"  # other free space has other contents
_BRANDS = (b"avif", b"avis")
_LONGEST = 64  # bytes of free space that are looked at


def begins(head: bytes) -> bool:
    """Whether a file that begins so is an AVIF."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def insert(coded: bytes, payload: bytes) -> bytes:
    """The codec's file with the payload at its end."""
    content = _MARK + payload
    return coded + struct.pack(">I4s", 8 + len(content), b"free") + content


def holds_payload(stream: BinaryIO) -> bool:
    """Whether a payload is there.

    Raises:
        BDFlowError: the file is damaged before it.
    """
    return any(kind == b"free" and content.startswith(_MARK) for kind, _, content in _boxes(stream))


def parts(stream: BinaryIO) -> Parts:
    """All of the file's boxes; the coded picture itself is not checked.

    Raises:
        BDFlowError: it is cut short.
    """
    payload, payloads, pixels = None, 0, 0
    for kind, size, content in _boxes(stream):
        if kind == b"free" and content.startswith(_MARK):
            payload, payloads = payload or content.removeprefix(_MARK), payloads + 1
        elif kind == b"mdat":
            pixels += size
    return Parts(None, payload, payloads, pixels, 0)


def _boxes(stream: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    """Type of each outermost box, bytes of its content, and of free space the content."""
    stream.seek(0, 2)
    end = stream.tell()
    start = 0
    for _ in range(MOST_PARTS):
        if start == end:
            return
        stream.seek(start)
        head = stream.read(16)
        if len(head) < 8:
            raise _cut_short()
        size, kind = struct.unpack_from(">I4s", head)
        length = 8
        if size == 1 and len(head) == 16:
            size, length = struct.unpack_from(">Q", head, 8)[0], 16
        elif size == 0:  # up to the end of the file
            size = end - start
        if size < length or start + size > end:
            raise _cut_short()
        content = b""
        if kind == b"free" and size - length <= _LONGEST:
            stream.seek(start + length)
            content = stream.read(size - length)
        yield kind, size - length, content
        start += size
    raise _cut_short()


def _cut_short() -> BDFlowError:
    return BDFlowError("the AVIF is damaged or cut short: get it again")
