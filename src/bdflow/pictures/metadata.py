"""The metadata of a photograph, from file to file: EXIF with the resolution, XMP, IPTC."""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, Literal, TypeAlias

from PIL import Image

from bdflow.pictures import exif
from bdflow.pictures.exif import Directory, Entry
from bdflow.pictures.limits import MAX_METADATA

Choice: TypeAlias = Literal["keep", "strip"]
"""What becomes of EXIF, XMP, IPTC and the resolution."""

_CENTIMETRES = 2.54  # to the inch
_PREFIX = b"Exif\0\0"
_SIDES = {exif.WIDTH: exif.HEIGHT, exif.X_RESOLUTION: exif.Y_RESOLUTION}
_SIDES |= {down: across for across, down in _SIDES.items()}
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8](?=[\"'<])")
_XMP_PADDING = re.compile(rb"\s{2,}(?=<\?xpacket end)")
_GPS_VERSION = 0
_PNG_HEADER = 33  # bytes
_IPTC_RESOURCE = 0x0404  # Photoshop's number of it


@dataclass(frozen=True)
class Metadata:
    """The metadata of a picture that stands upright.

    Attributes:
        exif: a block (see `bdflow.pictures.exif`) without IPTC, whose orientation is 1 and that has no
            thumbnail; with the resolution of the file where that has one.
        xmp: a packet, whose orientation is 1.
        iptc: its records (IPTC-IIM).
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None

    def __bool__(self) -> bool:
        return self != NONE

    @cached_property
    def _entries(self) -> tuple[str, Directory]:
        return exif.read(io.BytesIO(self.exif), MAX_METADATA) if self.exif else (">", {})

    @property
    def dpi(self) -> tuple[float, float] | None:
        """Pixels to the inch, across and down."""
        return _dpi(*self._entries)

    @property
    def has_place(self) -> bool:
        """Whether it says where the photograph was taken."""
        gps = self._entries[1].get(exif.GPS)
        says_where = isinstance(gps, dict) and bool(gps.keys() - {_GPS_VERSION})
        return says_where or b"GPSLatitude" in (self.xmp or b"")

    def block(self, *, orientation: bool = True) -> bytes | None:
        """EXIF for a container without a place for IPTC; it then holds IPTC, as in a TIFF file.

        Args:
            orientation: False leaves the orientation out, where a container does not want it there.
        """
        order, entries = self._entries
        entries = dict(entries)
        if self.iptc:
            entries[exif.IPTC] = Entry(exif.UNDEFINED, len(self.iptc), self.iptc)
        if not orientation:
            entries.pop(exif.ORIENTATION, None)
        return exif.pack(order, entries) if entries else None

    def info(self) -> dict[str, Any]:
        """What Pillow keeps in `Image.info`, and takes to save a picture: `exif`, `xmp`, `dpi`."""
        block = self.block()
        parts = {"exif": block and _PREFIX + block, "xmp": self.xmp, "dpi": self.dpi}
        return {name: part for name, part in parts.items() if part}

    def jpeg_segments(self) -> bytes:
        """The segments of a JPEG: APP1 for EXIF and XMP, APP13 for IPTC."""
        contents = []
        if self.exif:
            contents.append((0xE1, _PREFIX + self.exif))
        if self.xmp:
            contents.append((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + self.xmp))
        if self.iptc:
            resource = struct.pack(">4sHHI", b"8BIM", _IPTC_RESOURCE, 0, len(self.iptc)) + self.iptc
            contents.append((0xED, b"Photoshop 3.0\0" + resource + bytes(len(self.iptc) & 1)))
        return b"".join(
            struct.pack(">BBH", 0xFF, kind, 2 + len(content)) + content for kind, content in contents
        )

    def in_tiff(self, file: bytes) -> bytes:
        """A TIFF file with the metadata besides."""
        order, entries = self._entries
        entries = dict(entries)
        for tag, kind, part in ((exif.XMP, exif.BYTE, self.xmp), (exif.IPTC, exif.UNDEFINED, self.iptc)):
            if part:
                entries[tag] = Entry(kind, len(part), part)
        return exif.added(file, order, entries)

    def in_png(self, file: bytes) -> bytes:
        """A PNG with the metadata besides, behind its header."""
        chunks = (
            struct.pack(">I4s", len(body), kind) + body + zlib.crc32(body, zlib.crc32(kind)).to_bytes(4)
            for kind, body in self.png_chunks()
        )
        return b"".join((file[:_PNG_HEADER], *chunks, file[_PNG_HEADER:]))

    def png_chunks(self) -> list[tuple[bytes, bytes]]:
        """Names and contents of the chunks of a PNG, that may stand in front of all others but its header."""
        chunks = []
        if self.dpi:
            across, down = (round(density * 100 / _CENTIMETRES) for density in self.dpi)
            chunks.append((b"pHYs", struct.pack(">IIB", across, down, 1)))
        if block := self.block():
            chunks.append((b"eXIf", block))
        if self.xmp:
            chunks.append((b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + self.xmp))
        return chunks

    def __str__(self) -> str:
        parts = {"EXIF": self.exif, "XMP": self.xmp, "IPTC": self.iptc, "a place (GPS)": self.has_place}
        return ", ".join(name for name, part in parts.items() if part) or "none"


NONE = Metadata()
"""No metadata."""


def read(
    image: Image.Image, stream: BinaryIO | None = None, *, turned: bool = False
) -> tuple[Metadata, tuple[str, ...]]:
    """The metadata of a picture.

    Args:
        image: as Pillow opened and loaded it.
        stream: its file; of a TIFF, entries are taken from there.
        turned: whether rows and columns change places when it is set upright.

    Returns:
        The metadata, and notes: on what is left out, and if it says where the photograph was taken.
    """
    notes: list[str] = []
    order, entries = _exif(image, stream, notes)
    iptc, photoshop = entries.pop(exif.IPTC, None), entries.pop(exif.PHOTOSHOP, None)
    entries.pop(exif.XMP, None)
    if exif.ORIENTATION in entries:
        entries[exif.ORIENTATION] = exif.short(order, 1)
    dpi = _of_container(image)
    if turned:
        entries, dpi = _turned(entries), dpi and dpi[::-1]
    if dpi and not _alike(dpi, _dpi(order, entries)):
        across, down = (exif.rational(order, pixels_per_inch) for pixels_per_inch in dpi)
        resolution = {exif.X_RESOLUTION: across, exif.Y_RESOLUTION: down, exif.UNIT: exif.short(order, 2)}
        entries = {**entries, **resolution}
    if entries.keys() == {exif.ORIENTATION}:
        entries = {}
    metadata = Metadata(
        exif=_fitting("EXIF", exif.pack(order, entries) if entries else None, notes),
        xmp=_fitting("XMP", _xmp(image.info), notes),
        iptc=_fitting("IPTC", _iptc(image.info, iptc, photoshop), notes),
    )
    if metadata.has_place:
        notes.append("the place where it was taken (GPS) is kept")
    return metadata, tuple(notes)


def _turned(entries: Directory) -> Directory:
    """The entries of a picture whose width was its height."""
    return {
        _SIDES.get(tag, tag): _turned(entry) if tag == exif.EXIF and isinstance(entry, dict) else entry
        for tag, entry in entries.items()
    }


def _fitting(what: str, part: bytes | None, notes: list[str]) -> bytes | None:
    if part and len(part) > MAX_METADATA:
        notes.append(_too_large(what, len(part)))
        return None
    return part or None


def _too_large(what: str, length: int) -> str:
    return f"{what} of {length:,} bytes dropped: more than {MAX_METADATA:,}"


def _exif(image: Image.Image, stream: BinaryIO | None, notes: list[str]) -> tuple[str, Directory]:
    """The entries of EXIF, or of a TIFF file."""
    try:
        if image.format == "TIFF" and stream:
            return exif.read(stream, MAX_METADATA)
        block = image.info.get("exif") or _raw_profile(image.info, "exif")
        if not block and image.getexif():
            block = image.getexif().tobytes()
        if not block:
            return ">", {}
        return exif.read(io.BytesIO(re.sub(rb"^(Exif\0\0)+", b"", block)), MAX_METADATA)
    except exif.TooLargeError as error:
        notes.append(_too_large("EXIF", error.args[0]))
    except Exception:  # of a format of its own, that is often broken
        notes.append("EXIF dropped that bdflow cannot read")
    return ">", {}


def _xmp(info: Mapping[Any, Any]) -> bytes | None:
    packet = info.get("xmp") or _raw_profile(info, "xmp")
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes):
        return None
    packet = _XMP_PADDING.sub(b"\n", packet.rstrip(b"\0"))
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def _iptc(info: Mapping[Any, Any], *entries: Entry | Directory | None) -> bytes | None:
    """The records, from where any of the formats has them."""
    resources = info.get("photoshop")
    of_jpeg = resources.get(_IPTC_RESOURCE) if isinstance(resources, dict) else None
    candidates = [of_jpeg, _raw_profile(info, "iptc"), *(e.value for e in entries if isinstance(e, Entry))]
    for candidate in candidates:
        if isinstance(candidate, bytes) and candidate:
            records = _of_photoshop(candidate) if candidate.startswith(b"8BIM") else candidate
            if records.startswith(b"\x1c"):
                return records.rstrip(b"\0")
    return None


def _of_photoshop(resources: bytes) -> bytes:
    """The IPTC records among Photoshop's resources."""
    offset = 0
    while resources[offset : offset + 4] == b"8BIM" and offset + 12 <= len(resources):
        kind, name = struct.unpack_from(">HB", resources, offset + 4)
        offset += 6 + (name + 2 & ~1)
        length = int.from_bytes(resources[offset : offset + 4])
        if kind == _IPTC_RESOURCE:
            return resources[offset + 4 : offset + 4 + length]
        offset += 4 + length + (length & 1)
    return b""


def _raw_profile(info: Mapping[Any, Any], kind: str) -> bytes | None:
    """What ImageMagick writes into texts of a PNG: an empty line, a name, a length, hexadecimal digits."""
    text = info.get(f"Raw profile type {kind}")
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])).removeprefix(b"http://ns.adobe.com/xap/1.0/\0")
    except ValueError:
        return None


def _of_container(image: Image.Image) -> tuple[float, float] | None:
    """Pixels to the inch, as a file says beside EXIF. Of a JPEG Pillow makes some up."""
    dpi = image.info.get("dpi")
    if image.format in ("JPEG", "MPO") and image.info.get("jfif_unit") not in (1, 2):
        return None
    try:
        across, down = (round(float(number), 2) for number in dpi or ())
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if min(across, down) > 0 and max(across, down) < 1e6 else None


def _alike(a: tuple[float, float], b: tuple[float, float] | None) -> bool:
    """Whether two resolutions are the same, but for what whole pixels to the metre make of them."""
    return b is not None and all(math.isclose(x, y, abs_tol=0.02) for x, y in zip(a, b, strict=True))


def _dpi(order: str, entries: Directory) -> tuple[float, float] | None:
    across, down = (
        exif.first_number(order, entries.get(tag)) for tag in (exif.X_RESOLUTION, exif.Y_RESOLUTION)
    )
    unit = exif.first_number(order, entries.get(exif.UNIT)) or 2
    if not (across and down and unit in (2, 3)) or not max(across, down) < 1e6:
        return None
    times = _CENTIMETRES if unit == 3 else 1
    return across * times, down * times
