"""An AVIF with fewer bytes around its pictures: of 1,000 bytes libavif spends 277 on boxes.

What goes: the profile that is named beside the brands that must stand, the names of items, the colours where
the pictures' own headers and the format's default say the same, and the units that mark a picture's
beginning. What stays is what AVIF, MIAF and HEIF demand, and whatever is not known here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from bdflow.smallfile import av1
from bdflow.smallfile.isobmff import box, boxes, items

_PROFILES = (b"MA1A", b"MA1B")
_SRGB = (1, 13, 6, 1)  # what MIAF (7.3.6.4) has readers take, too: BT.709, sRGB, BT.601, full range
_META = (b"hdlr", b"pitm", b"iloc", b"iinf", b"iref", b"iprp")
_HEADER = 8  # bytes of a box's size and type

Boxes = list[tuple[bytes, bytes]]


class Still(NamedTuple):
    """An AVIF of still pictures, taken apart.

    Attributes:
        kinds: its type and those that it is compatible with, a content of `ftyp`.
        meta: the boxes that describe it, whose `iloc` does not hold yet.
        coded: number and data of each item, in the order of `iloc`.
        order: the items' places in the file, as indices into `coded`.
    """

    kinds: bytes
    meta: Boxes
    coded: list[tuple[int, bytes]]
    order: list[int]

    def pack(self, unused: bytes = b"") -> bytes:
        """The file, with more bytes behind its last item, in the same box: no reader looks at them."""
        kinds = box(b"ftyp", self.kinds)
        start = len(kinds) + len(self._meta(0)) + _HEADER
        data = [self.coded[index][1] for index in self.order]
        return kinds + self._meta(start) + box(b"mdat", *data, unused)

    def with_item(self, kind: bytes, data: bytes) -> Still:
        """With an item more, behind the others: metadata of the primary picture (ISO 23008-12, annex A).

        Args:
            kind: "Exif", or "mime" for XMP.
            data: What it holds.
        """
        number = 1 + max(number for number, _ in self.coded)
        (primary,) = struct.unpack_from(">4xH", dict(self.meta)[b"pitm"])
        name = b"\0" + b"application/rdf+xml\0" * (kind == b"mime")
        entry = box(b"infe", struct.pack(">B3xHH4s", 2, number, 0, kind), name)
        described = box(b"cdsc", struct.pack(">HHH", number, 1, primary))
        parts = dict(self.meta)
        parts[b"iinf"] = struct.pack(">4xH", 1 + len(self.coded)) + parts[b"iinf"][6:] + entry
        parts[b"iref"] = parts.get(b"iref", bytes(4)) + described
        meta = [(name, parts[name]) for name in _META if name in parts]
        coded = [*self.coded, (number, data)]
        return Still(self.kinds, meta, coded, [*self.order, len(self.coded)])

    def _meta(self, start: int) -> bytes:
        """The box `meta`, where the items' data begin there."""
        offsets = {}
        for index in self.order:
            offsets[index], start = start, start + len(self.coded[index][1])
        places = struct.pack(">IHH", 0, 0x4400, len(self.coded)) + b"".join(
            struct.pack(">HHHII", number, 0, 1, offsets[index], len(data))
            for index, (number, data) in enumerate(self.coded)
        )
        return box(
            b"meta",
            bytes(4),
            *(box(kind, places if kind == b"iloc" else content) for kind, content in self.meta),
        )


def slimmed(file: bytes) -> Still | None:
    """The pictures of an AVIF in no more bytes than they need.

    Returns:
        None where anything in the file is unknown, damaged, or of no use to a picture.
    """
    try:
        return _slimmed(file)
    except (IndexError, KeyError, ValueError, struct.error):
        return None


def _slimmed(file: bytes) -> Still:
    (_, kinds), (_, meta), (_, coded) = _known(file, b"ftyp", b"meta", b"mdat")
    _expect(kinds[:4] == b"avif" and len(kinds) % 4 == 0 and not any(meta[:4]))
    brands = [kinds[offset : offset + 4] for offset in range(8, len(kinds), 4)]
    kinds = kinds[:8] + b"".join(brand for brand in brands if brand not in _PROFILES)
    parts = dict(inside := _split(meta[4:]))
    _expect(len(parts) == len(inside) and set(parts) | {b"iref"} == set(_META))
    _expect(parts[b"pitm"][:4] == parts.get(b"iref", bytes(4))[:4] == bytes(4))
    places = list(items(parts[b"iloc"], 0))
    order = sorted(range(len(places)), key=lambda index: places[index].offset)
    end = len(file) - len(coded)
    for index in order:  # the media data are the items', one behind the other, and nothing else
        _expect(places[index].extents == 1 and places[index].offset == end)
        end += places[index].length
    _expect(end == len(file) and len({item.number for item in places}) == len(places) < 1 << 16)
    data = {item.number: file[item.offset :][: item.length] for item in places}
    parts[b"iinf"] = _nameless(parts[b"iinf"], set(data))
    parts[b"iprp"] = _uncoloured(parts[b"iprp"], data)
    described = [(kind, parts[kind]) for kind, _ in inside]
    short = [(number, coded.removeprefix(av1.TEMPORAL_DELIMITER)) for number, coded in data.items()]
    return Still(kinds, described, short, order)


def _nameless(content: bytes, numbers: set[int]) -> bytes:
    """What `iinf` says of the items, without their names."""
    _expect(content[:4] == bytes(4))
    entries = []
    for kind, entry in _split(content[6:]):
        version, number, protection, coding = struct.unpack_from(">B3xHH4s", entry)
        _expect((kind, version, protection, coding) == (b"infe", 2, 0, b"av01"))
        numbers = numbers - {number}
        entries.append(box(kind, entry[:12], b"\0"))
    _expect(not numbers)
    return content[:6] + b"".join(entries)


def _uncoloured(content: bytes, data: dict[int, bytes]) -> bytes:
    """What `iprp` says of the items, without colours that are said elsewhere."""
    (_, listed), (_, linked) = _known(content, b"ipco", b"ipma")
    properties = _split(listed)
    _expect(linked[:4] == bytes(4) and len(properties) < 128)
    links, offset = {}, 8
    entries = struct.unpack_from(">I", linked, 4)[0]
    for _ in range(entries):
        number, count = struct.unpack_from(">HB", linked, offset)
        links[number] = linked[offset + 3 : offset + 3 + count]
        offset += 3 + count
    used = {byte & 127 for indices in links.values() for byte in indices}
    _expect(offset == len(linked) and len(links) == entries and used <= set(range(1, len(properties) + 1)))
    srgb = b"nclx" + struct.pack(">HHHB", *_SRGB[:3], _SRGB[3] << 7)
    plainly_srgb = {number for number in links if av1.sequence(data[number]).colours == _SRGB}
    needed = [
        index
        for index, described in enumerate(properties, 1)
        if described != (b"colr", srgb)
        or any(index in (byte & 127 for byte in links[number]) for number in links.keys() - plainly_srgb)
    ]
    renumbered = {index: new_index for new_index, index in enumerate(needed, 1)}
    packed = b""
    for number, indices in links.items():
        remaining = bytes(byte & 128 | renumbered[byte & 127] for byte in indices if byte & 127 in renumbered)
        packed += struct.pack(">HB", number, len(remaining)) + remaining
    listed = box(b"ipco", *(box(*properties[index - 1]) for index in needed))
    return listed + box(b"ipma", linked[:8], packed)


def _split(data: bytes) -> Boxes:
    """The boxes that data are, all of them."""
    contents = [(kind, data[start:end]) for kind, start, end in boxes(data, 0, len(data))]
    _expect(sum(_HEADER + len(content) for _, content in contents) == len(data))
    return contents


def _known(data: bytes, *kinds: bytes) -> Boxes:
    """The boxes that data are, of these kinds and in this order."""
    contents = _split(data)
    _expect(tuple(kind for kind, _ in contents) == kinds)
    return contents


def _expect(known: bool) -> None:
    if not known:
        raise ValueError("not as known here")
