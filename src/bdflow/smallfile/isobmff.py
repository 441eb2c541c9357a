"""Boxes of the ISO base media file format (ISO 14496-12), as far as AVIF needs them.

However a file is damaged, little of it is read.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

_MOST_BOXES = 4096  # beside each other; a picture has a dozen


class Item(NamedTuple):
    """Where an item's data are: of its extents the first, in the file itself.

    Attributes:
        number: its `item_ID`.
        extents: how many there are; 0 too where the data are elsewhere.
        offset, length: in bytes, from the file's start on.
    """

    number: int
    extents: int
    offset: int
    length: int


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type, and the content's start and end, of each box.

    Raises:
        ValueError: one goes beyond the end.
    """
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1:
            size = struct.unpack_from(">Q", data, content)[0]
            content += 8
        elif size == 0:
            size = end - start
        if size < content - start or start + size > end:
            raise ValueError("a box of a wrong size")
        yield kind, content, start + size
        start += size


def box(kind: bytes, *content: bytes) -> bytes:
    """A box."""
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def items(data: bytes, start: int) -> Iterator[Item]:
    """What an `iloc` box lists (8.11.3), whose content starts here.

    Raises:
        IndexError: the data end in it.
    """
    version, sizes = data[start], struct.unpack_from(">H", data, start + 4)[0]
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    position = start + 6

    def take(count: int) -> int:
        nonlocal position
        if position + count > len(data):
            raise IndexError("the data end")
        value, position = int.from_bytes(data[position : position + count]), position + count
        return value

    for _ in range(take(2 if version < 2 else 4)):
        number = take(2 if version < 2 else 4)
        elsewhere = take(2) & 15 if version in (1, 2) else 0
        elsewhere |= take(2)
        base, extents = take(base_size), take(2)
        extents_start = position
        if extents and not elsewhere:
            take(index_size)
            yield Item(number, extents, base + take(offset_size), take(length_size))
        else:
            yield Item(number, 0, 0, 0)
        position = extents_start + extents * (index_size + offset_size + length_size)
