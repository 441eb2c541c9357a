"""AVIF as a container: the payload is behind the last item's data, in the box that holds them.

No reader looks at bytes of `mdat` that no item names (ISO 14496-12, 8.1.1), and nothing that stands before
them moves. A file that `bdflow.smallfile.slim` does not know is left as it is, and its payload is in a box of
free space (8.1.2) at the end, which takes 8 bytes more; earlier versions wrote all files so.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from bdflow.errors import BDFlowError
from bdflow.pictures.metadata import NONE, Metadata
from bdflow.smallfile.isobmff import box, boxes, items
from bdflow.smallfile.protocol import MOST_PARTS, Parts
from bdflow.smallfile.slim import slimmed

NAME = "AVIF"
ENDINGS = (".avif",)

_MARK = b"bd"  # other unused bytes begin otherwise
_BRANDS = (b"avif", b"avis")
_LONGEST = 64  # unused bytes that are looked at
_LONGEST_META = 1 << 16  # bytes of the box that says where items are; of a photograph it has some 300


def begins(head: bytes) -> bool:
    """Whether a file that begins so is an AVIF."""
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS


def insert(coded: bytes, payload: bytes | None, metadata: Metadata = NONE) -> bytes:
    """The codec's file in fewer bytes, where that is known how, with metadata, and the payload at its end.

    Raises:
        BDFlowError: there are metadata, and it is not known.
    """
    still, unused = slimmed(coded), b"" if payload is None else _MARK + payload
    if still is None:
        if metadata:
            raise BDFlowError("this libavif's files take no metadata: write WebP, or no --metadata keep")
        return coded + box(b"free", unused)
    if block := metadata.block(orientation=False):
        still = still.with_item(b"Exif", bytes(4) + block)
    if metadata.xmp:
        still = still.with_item(b"mime", metadata.xmp)
    return still.pack(unused)


def holds_payload(stream: BinaryIO) -> bool:
    """Whether a payload is there.

    Raises:
        BDFlowError: the file is damaged before it.
    """
    return any(unused.startswith(_MARK) for _, _, unused, _ in _boxes(stream))


def parts(stream: BinaryIO) -> Parts:
    """All of the file's boxes; the coded picture itself is not checked.

    Raises:
        BDFlowError: it is cut short.
    """
    payload, payloads, coded, described = None, 0, 0, 0
    for kind, size, unused, metadata in _boxes(stream):
        if unused.startswith(_MARK):
            payload, payloads = payload or unused.removeprefix(_MARK), payloads + 1
        if kind == b"mdat":
            coded += size - len(unused)
        described += metadata
    described = min(described, coded)  # of a damaged file
    return Parts(None, payload, payloads, coded - described, 0, described)


def _boxes(stream: BinaryIO) -> Iterator[tuple[bytes, int, bytes, int]]:
    """Type of each outermost box, bytes of its content, those at its end that nobody uses, if few, and how
    many bytes of metadata it describes."""
    stream.seek(0, 2)
    end = stream.tell()
    start = 0
    ends: list[int] = []
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
        content, start = start + length, start + size
        used, described = start, 0
        if kind == b"meta" and start - content <= _LONGEST_META:
            stream.seek(content)
            ends, described = _described(stream.read(start - content))
        elif kind == b"mdat":
            used = max((item_end for item_end in ends if content < item_end <= start), default=start)
        elif kind == b"free":
            used = content
        unused = b""
        if 0 < start - used <= _LONGEST:
            stream.seek(used)
            unused = stream.read(start - used)
        yield kind, start - content, unused, described
    raise _cut_short()


def _described(meta: bytes) -> tuple[list[int], int]:
    """Where the data of items end, by the content of `meta`, and bytes of those that are metadata; nothing
    where that is not plain."""
    try:
        parts = {kind: start for kind, start, _ in boxes(meta, 4, len(meta))}
        plain = [item for item in items(meta, parts[b"iloc"]) if item.extents == 1]
        kinds = {}
        for kind, start, _ in boxes(meta, parts[b"iinf"] + 6, len(meta)) if b"iinf" in parts else ():
            if kind != b"infe":
                break
            number, coding = struct.unpack_from(">4xH2x4s", meta, start)
            kinds[number] = coding
    except (IndexError, KeyError, ValueError, struct.error):
        return [], 0
    described = (item.length for item in plain if kinds.get(item.number) in (b"Exif", b"mime"))
    return [item.offset + item.length for item in plain], sum(described)


def _cut_short() -> BDFlowError:
    return BDFlowError("the AVIF is damaged or cut short: get it again")
