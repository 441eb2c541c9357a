"""EXIF blocks: TIFF files without a picture (TIFF 6.0, section 2; Exif 3.0, 4.6), by their entries.

Pillow reads them well. Its writer makes question marks of letters beyond ASCII, and other types of some
entries; so what is only to be carried from one file into another is copied here, value by value, as it is.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import BinaryIO, NamedTuple, TypeAlias

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, UNIT = 274, 282, 283, 296
EXIF, GPS, INTEROP = 34665, 34853, 40965  # entries that point to further directories
XMP, IPTC, PHOTOSHOP = 700, 33723, 34377
WIDTH, HEIGHT = 40962, 40963
BYTE, SHORT, LONG, RATIONAL, UNDEFINED = 1, 3, 4, 5, 7

_BELOW: Tree = {EXIF: {INTEROP: {}}, GPS: {}}
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_NUMBERS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}  # bytes of those that have an order
_MAKER_NOTE = 37500
_LONGEST_GAP = 1 << 12

Tree: TypeAlias = "dict[int, Tree]"
Directory: TypeAlias = dict[int, "Entry | Directory"]


class Entry(NamedTuple):
    """An entry of a directory.

    Attributes:
        kind: its type, by TIFF's number.
        number: of values.
        value: their bytes, in the block's order.
        offset: where they were in the block.
    """

    kind: int
    number: int
    value: bytes
    offset: int = 0


class TooLargeError(ValueError):
    """Values of more bytes than were allowed; the message is the number of those that were looked at."""


def read(stream: BinaryIO, longest: int) -> tuple[str, Directory]:
    """The first directory of a block, or of a TIFF file, and those below it. Broken entries are left out.

    Args:
        stream: its start is the block's.
        longest: bytes that the values of a directory may have together.

    Returns:
        The order of bytes, as `struct` names it, and the directory.

    Raises:
        TooLargeError: they have more.
        ValueError: it is no such block.
    """
    stream.seek(0)
    head = stream.read(8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None or len(head) < 8:
        raise ValueError("no EXIF")
    return order, _directory(stream, order, struct.unpack(f"{order}4xI", head)[0], _BELOW, longest)


def _directory(stream: BinaryIO, order: str, start: int, below: Tree, longest: int) -> Directory:
    stream.seek(start)
    head = stream.read(2)
    if len(head) < 2:
        raise ValueError("no directory")
    directory: Directory = {}
    total = 0
    entries = stream.read(12 * struct.unpack(f"{order}H", head)[0])
    for offset in range(0, len(entries) - 11, 12):
        tag, kind, count, value = struct.unpack_from(f"{order}HHI4s", entries, offset)
        length = _BYTES.get(kind, 0) * count
        position = start + 10 + offset if length <= 4 else struct.unpack(f"{order}I", value)[0]
        if tag in below:
            try:
                directory[tag] = _directory(
                    stream, order, struct.unpack(f"{order}I", value)[0], below[tag], longest
                )
            except TooLargeError:
                raise
            except ValueError:
                continue
        elif kind in _BYTES and tag not in _OF_THE_FILE:
            total += length
            if total > longest:
                raise TooLargeError(total)
            stream.seek(position)
            value = stream.read(length)
            if len(value) == length:
                directory[tag] = Entry(kind, count, value, position)
    return directory


def pack(order: str, directory: Directory) -> bytes:
    """The block of a directory and those below it.

    Makers' notes may point into the block. They stay at their place where it lies ahead.
    """
    block = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8))
    _append(block, order, directory)
    return bytes(block)


def added(file: bytes, order: str, directory: Directory) -> bytes:
    """A TIFF file with more entries: its first directory is now at its end, with all of the old one, too.

    Args:
        file: the file; of entries that both have, its own stay.
        order, directory: as of `read`.
    """
    own_order = {b"II*\0": "<", b"MM\0*": ">"}[file[:4]]
    (first,) = struct.unpack_from(f"{own_order}I", file, 4)
    entries = dict(directory)
    if own_order != order:
        entries = {tag: _reordered(entry) for tag, entry in directory.items()}
    for offset in range(first + 2, first + 2 + 12 * struct.unpack_from(f"{own_order}H", file, first)[0], 12):
        tag, kind, count, value = struct.unpack_from(f"{own_order}HHI4s", file, offset)
        entries[tag] = Entry(kind, count, value)  # or where that is, which does not change
    block = bytearray(file + bytes(len(file) & 1))
    struct.pack_into(f"{own_order}I", block, 4, len(block))
    _append(block, own_order, entries)
    return bytes(block)


def _reordered(entry: Entry | Directory) -> Entry | Directory:
    """The same in the other order of bytes."""
    if isinstance(entry, dict):
        return {tag: _reordered(below) for tag, below in entry.items()}
    size = _NUMBERS.get(entry.kind, 1)
    turned = (entry.value[at : at + size][::-1] for at in range(0, len(entry.value), size))
    return entry._replace(value=b"".join(turned))


def _append(block: bytearray, order: str, directory: Directory) -> None:
    start, entry_bytes = len(block), 12 * len(directory)
    block += struct.pack(f"{order}H", len(directory)) + bytes(entry_bytes + 4)
    for index, (tag, entry) in enumerate(sorted(directory.items())):
        pointer = struct.pack(f"{order}I", len(block))
        if isinstance(entry, dict):
            kind, count, value = LONG, 1, pointer
            _append(block, order, entry)
        elif len(entry.value) > 4:
            if tag == _MAKER_NOTE and 0 < entry.offset - len(block) <= _LONGEST_GAP:
                block += bytes(entry.offset - len(block))
                pointer = struct.pack(f"{order}I", len(block))
            kind, count, value = entry.kind, entry.number, pointer
            block += entry.value + bytes(len(entry.value) & 1)
        else:
            kind, count, value = entry.kind, entry.number, entry.value
        struct.pack_into(f"{order}HHI4s", block, start + 2 + 12 * index, tag, kind, count, value)


def short(order: str, value: int) -> Entry:
    """An entry of one number."""
    return Entry(SHORT, 1, struct.pack(f"{order}H", value))


def rational(order: str, value: float) -> Entry:
    """An entry of one fraction."""
    fraction = Fraction(value).limit_denominator(10_000)
    return Entry(RATIONAL, 1, struct.pack(f"{order}II", fraction.numerator, fraction.denominator))


def first_number(order: str, entry: Entry | Directory | None) -> float | None:
    """The first value of an entry, if that is a number above 0."""
    if not isinstance(entry, Entry):
        return None
    try:
        if entry.kind == RATIONAL:
            above, below = struct.unpack_from(f"{order}II", entry.value)
            return above / below or None
        return struct.unpack_from(order + {SHORT: "H", LONG: "I"}[entry.kind], entry.value)[0] or None
    except (KeyError, ZeroDivisionError, struct.error):
        return None


# What says how this file keeps its picture, or stands elsewhere in what is written: the layout of samples,
# strips and tiles, thumbnails, Photoshop's layers, the colour profile.
_OF_THE_FILE = {
    *range(254, 260), *range(262, 267), 273, *range(277, 282), 284, *range(288, 294), 301, 317,
    *range(320, 326), 330, *range(332, 348), *range(512, 522), 34675, 37724, 50706,
}  # fmt: skip
