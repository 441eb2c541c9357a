"""The small file: an ordinary PNG of the LR image, with one private chunk that restores the photograph.

Any reader shows the picture and ignores the chunk. The letters of its name say, by their case, that it is
ancillary, private and unsafe to copy, so an editor that changes pixels and knows the rules drops it. It holds

    1 byte    version, 1
    1 byte    log2(scale) in bits 0..2, bits of the boundary map in bits 3..4; bit 5: the photograph is gray,
              though the LR image be in colour; the rest is 0
    1 + n     the model's name in UTF-8, behind its length
    8 bytes   the start of the SHA-256 of the model's weights
    varint x2 true width, true height (7 bits a byte, low bits first, top bit set on all but the last)
    4 bytes   CRC-32 of the LR samples: RGB, row by row, then alpha if there is any
    varint    only where bit 5 is set: length of
    any       the photograph's colour profile, deflated; nothing if there is none
    any       the boundary map as `bdflow.boundary` codes it; nothing if there is none
    4 bytes   CRC-32 of all the above

with whole numbers big-endian.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bdflow import boundary as boundary_code
from bdflow import images
from bdflow.codecs import smallest_png
from bdflow.errors import BDFlowError
from bdflow.files import named, opened, write_bytes
from bdflow.images import MAX_PIXELS, MAX_PROFILE, MAX_SIDE, Array, Picture, Source, too_large

CHUNK = b"bdFW"
VERSION = 1
SCALES = (2, 4, 8, 16, 32, 64)

# Of bdflow's chunk: a header with a profile, and at worst 3 raw bits for every 2x2 pixels of the largest
# photograph.
_MAX_CHUNK = MAX_PROFILE + (1 << 12) + 3 * MAX_PIXELS // 4 // 8
_BLOCK = 1 << 16  # bytes of other chunks in memory at a time

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DAMAGED = "its bdflow chunk is damaged: get the file again"


class NoChunkError(BDFlowError):
    """A picture that holds nothing of bdflow's: it was re-saved, converted, or never made by bdflow.

    Attributes:
        picture: its pixels, from which a caller who knows the model can still restore.
    """

    def __init__(self, message: str, picture: Picture) -> None:
        super().__init__(message)
        self.picture = picture


@dataclass(frozen=True, eq=False)
class Downscaled:
    """A photograph made small, and what restores it.

    Attributes:
        image: the LR image, `ceil(width / scale)` x `ceil(height / scale)`.
        boundary: uint8 (h, w) at the LR image's size, levels 0..2**bits - 1; None if there is none, or it was
            lost.
        bits: bits of the model's boundary map, 1..3, or 0 if the model has none.
        model: the model's name.
        weights: the first 8 bytes of the SHA-256 of its weights file.
        scale: 2, 4, 8, 16, 32 or 64, each way.
        size: width and height of the photograph.
        gray: whether the photograph is gray, and restored so, where its LR image hides detail in colours.
            `image.icc` is then the photograph's; no PNG in colour may carry it, so it travels in the chunk.
        pixels_changed: whether the LR pixels are others than those the file was made with.

    Raises:
        BDFlowError: the parts do not fit together.
    """

    image: Picture
    boundary: Array | None
    bits: int
    model: str
    weights: bytes
    scale: int
    size: tuple[int, int]
    gray: bool = False
    pixels_changed: bool = False

    def __post_init__(self) -> None:
        small = (self.image.width, self.image.height)
        if max(self.size) > MAX_SIDE:  # or nothing would read the file
            raise BDFlowError(
                "a photograph of {}x{} has a side of more than {:,} pixels".format(*self.size, MAX_SIDE)
            )
        _check_fits(small, self.size, self.scale)
        if not 0 <= self.bits <= boundary_code.MAX_BITS:
            raise BDFlowError(f"bits must be 0..{boundary_code.MAX_BITS}, not {self.bits}")
        if self.boundary is not None and (
            self.bits == 0 or self.boundary.dtype != np.uint8 or self.boundary.shape != small[::-1]
        ):
            raise BDFlowError(
                f"the boundary map must be uint8 of shape {small[::-1]}, and None where bits is 0,"
                f" not {self.boundary.dtype} {self.boundary.shape} with {self.bits} bits"
            )
        if len(self.weights) != 8:
            raise BDFlowError(
                f"weights must be the first 8 bytes of a SHA-256, not {len(self.weights)} bytes"
            )
        # The name comes from a file that anybody may have made, and is printed and looked up as a folder.
        if not self.model.isprintable() or self.model.startswith(".") or set(self.model) & set("/\\:"):
            raise BDFlowError(f"{self.model!r} is no name for a model: use letters, digits and hyphens")
        if not 1 <= len(self.model.encode()) <= 255:
            raise BDFlowError("a model's name has 1..255 bytes of UTF-8")

    def __repr__(self) -> str:
        (width, height), lost = self.size, self.bits and self.boundary is None
        boundary = f"{self.bits}-bit boundary map{' lost' * bool(lost)}" if self.bits else "no boundary map"
        changed = ", pixels changed" * self.pixels_changed
        kind, maker = " gray" * self.gray, f"{self.model} (x{self.scale})"
        return f"Downscaled({width}x{height}{kind} by {maker}, {boundary}{changed}, {self.image})"

    def to_bytes(self) -> bytes:
        """The PNG file, as small as Pillow makes it without touching a pixel.

        Raises:
            BDFlowError: the boundary map holds levels beyond its bits.
        """
        info = PngInfo()
        info.add(CHUNK, self._payload())
        image = replace(self.image, icc=None) if self.gray else self.image
        return smallest_png(image.to_pil(), info)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the PNG file, whole or not at all; see `bdflow.files.write_bytes`.

        Raises:
            BDFlowError: the path does not end in .png, exists already, or cannot be written.
        """
        if Path(path).suffix.lower() != ".png":
            raise BDFlowError(f"{os.fspath(path)}: the small file is a PNG: end its name in .png")
        write_bytes(path, self.to_bytes(), overwrite=overwrite)

    def _payload(self) -> bytes:
        code = b"" if self.boundary is None else boundary_code.encode(self.boundary, self.bits)
        crc = _crc(self.image) ^ self.pixels_changed  # a wrong one: whoever reads it shall know, too
        profile = zlib.compress(self.image.icc, 9) if self.gray and self.image.icc else b""
        fields = self.model, self.weights, self.scale, self.bits, self.size, crc, self.gray, profile, code
        return _Payload(*fields).pack()


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> Downscaled:
    """Read a small file.

    Args:
        source: a path, the bytes of a file, or a binary stream. Whatever else `bdflow.images.read` takes has
            no chunk.
        max_pixels: files whose LR image or photograph is larger are refused before anything is decoded.

    Raises:
        NoChunkError: a picture, but without bdflow's chunk; the error carries the picture.
        BDFlowError: the file is missing, empty, damaged, too large, no picture, or made by a newer bdflow.
    """
    if isinstance(source, np.ndarray | Image.Image):
        raise NoChunkError("Pixels alone hold no bdflow chunk.", images.read(source, max_pixels=max_pixels))
    with opened(source) as (stream, name):
        payload = None
        if stream.read(len(_SIGNATURE)) == _SIGNATURE:
            with named(name):
                payload = _find(stream, max_pixels)
        picture = images.decode(stream, name, max_pixels)
        if payload is None:
            why = "it was re-saved or converted, or never made by bdflow."
            raise NoChunkError(f"{name}: no bdflow chunk in this file: {why}", picture)
        with named(name):
            return _assemble(payload, picture)


def holds_chunk(stream: BinaryIO) -> bool:
    """Whether a seekable stream, at its start before and after, is a PNG with bdflow's chunk."""
    try:
        return stream.read(len(_SIGNATURE)) == _SIGNATURE and any(
            kind == CHUNK for kind, _, _ in _chunks(stream)
        )
    except BDFlowError:  # a damaged PNG; whoever reads its pixels will say so
        return False
    finally:
        stream.seek(0)


def byte_report(data: bytes) -> dict[str, int]:
    """Where every byte of a PNG goes.

    Returns:
        `pixels` (compressed LR samples), `boundary`, `header` (the rest of bdflow's chunk), `profile`
        (compressed ICC) and `structure` (chunk frames and all else); together `len(data)`.

    Raises:
        BDFlowError: not a PNG, or a damaged one.
    """
    if not data.startswith(_SIGNATURE):
        raise BDFlowError("not a PNG: only a PNG can hold bdflow's data")
    stream = io.BytesIO(data)
    stream.seek(len(_SIGNATURE))
    payload = _find(stream)
    lengths = {b"IDAT": 0, b"iCCP": 0, CHUNK: 0}
    stream.seek(len(_SIGNATURE))
    for kind, length, _ in _chunks(stream):
        if kind in lengths:
            lengths[kind] += length
    boundary, profile = (len(payload.boundary), len(payload.profile)) if payload else (0, 0)
    return {
        "pixels": lengths[b"IDAT"],
        "boundary": boundary,
        "header": lengths[CHUNK] - boundary - profile,
        "profile": lengths[b"iCCP"] + profile,
        "structure": len(data) - sum(lengths.values()),
    }


class _Payload(NamedTuple):
    """The chunk's content, field by field, as it stands in the file."""

    model: str
    weights: bytes
    scale: int
    bits: int
    size: tuple[int, int]
    pixels_crc: int
    gray: bool
    profile: bytes
    boundary: bytes

    def pack(self) -> bytes:
        name = self.model.encode()
        payload = b"".join(
            (
                bytes([VERSION, self.gray << 5 | self.bits << 3 | self.scale.bit_length() - 1, len(name)]),
                name,
                self.weights,
                *map(_varint, self.size),
                self.pixels_crc.to_bytes(4),
                _varint(len(self.profile)) + self.profile if self.gray else b"",
                self.boundary,
            )
        )
        return payload + zlib.crc32(payload).to_bytes(4)

    @classmethod
    def unpack(cls, payload: bytes) -> "_Payload":
        if payload[:1] > bytes([VERSION]):
            raise BDFlowError(f"made by a newer bdflow (format {payload[0]}): upgrade bdflow")
        body, crc = payload[:-4], payload[-4:]
        if body[:1] != bytes([VERSION]) or zlib.crc32(body).to_bytes(4) != crc:
            raise BDFlowError(_DAMAGED)
        stream = io.BytesIO(body[1:])
        packed, length = _take(stream, 2)
        if packed >> 6:
            raise BDFlowError("made by a newer bdflow: upgrade bdflow")
        try:
            name = _take(stream, length).decode()
        except UnicodeDecodeError as error:
            raise BDFlowError(_DAMAGED) from error
        return cls(
            model=name,
            weights=_take(stream, 8),
            scale=1 << (packed & 7),
            bits=packed >> 3 & 3,
            size=(_read_varint(stream), _read_varint(stream)),
            pixels_crc=int.from_bytes(_take(stream, 4)),
            gray=(gray := bool(packed >> 5)),
            profile=_take(stream, _read_varint(stream)) if gray else b"",
            boundary=stream.read(),
        )


def _assemble(payload: _Payload, picture: Picture) -> Downscaled:
    model, weights, scale, bits, size, pixels_crc, gray, profile, code = payload
    changed = _crc(picture) != pixels_crc
    if gray:
        picture = replace(picture, icc=_inflated(profile))
    small = Downscaled(picture, None, bits, model, weights, scale, size, gray, pixels_changed=changed)
    if not code:
        return small
    # Only now is the LR image known to have the right size, and so the map.
    return replace(small, boundary=boundary_code.decode(code, picture.height, picture.width, bits))


def _inflated(profile: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(profile, MAX_PROFILE) or None
    except zlib.error as error:
        raise BDFlowError(_DAMAGED) from error


def _crc(picture: Picture) -> int:
    crc = zlib.crc32(picture.rgb.tobytes())
    return crc if picture.alpha is None else zlib.crc32(picture.alpha.tobytes(), crc)


def _check_fits(small: tuple[int, int], size: tuple[int, int], scale: int) -> None:
    """Refuse an LR image that cannot be the one of a photograph of this size."""
    if scale not in SCALES:
        raise BDFlowError(f"scale must be one of {', '.join(map(str, SCALES))}, not {scale}")
    if min(size) < 1 or tuple(-(-side // scale) for side in size) != small:
        raise BDFlowError(
            f"an LR image of {small[0]}x{small[1]} cannot restore"
            f" {size[0]}x{size[1]} at scale {scale}: it was cropped or resized"
        )


def _find(stream: BinaryIO, max_pixels: int = MAX_PIXELS) -> _Payload | None:
    """bdflow's chunk of a PNG behind its signature, checked as far as can be before pixels are decoded."""
    payload, count, small = None, 0, None
    for kind, length, body in _chunks(stream):
        if kind == b"IHDR" and length >= 8:
            small = struct.unpack_from(">II", body)
        elif kind == CHUNK:
            payload, count = payload or body, count + 1
    if payload is None:
        return None
    if count > 1:
        raise BDFlowError(f"holds {count} bdflow chunks where one belongs: get the file again")
    found = _Payload.unpack(payload)
    if why := too_large(*found.size, max_pixels):
        raise BDFlowError(f"the photograph's {why}")
    if small:
        _check_fits(small, found.size, found.scale)
    return found


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    """Name and length of each chunk of a PNG behind its signature, checked; what follows the last is ignored.

    All of bdflow's chunk comes along, and the first bytes of others: a file may be larger than memory.
    """
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _read(stream, 8))
        if kind == CHUNK and length > _MAX_CHUNK:
            raise BDFlowError(_DAMAGED)
        first = _read(stream, length if kind == CHUNK else min(length, _BLOCK))
        crc, left = zlib.crc32(first, zlib.crc32(kind)), length - len(first)
        while left:
            block = _read(stream, min(left, _BLOCK))
            crc, left = zlib.crc32(block, crc), left - len(block)
        if crc.to_bytes(4) != _read(stream, 4):
            raise BDFlowError("the PNG is damaged (a checksum is wrong): get it again")
        yield kind, length, first


def _read(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise BDFlowError("the PNG is cut short: get it again")
    return data


def _take(stream: io.BytesIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise BDFlowError(_DAMAGED)
    return data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_varint(stream: io.BytesIO) -> int:
    value = 0
    for shift in range(0, 35, 7):
        (byte,) = _take(stream, 1)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise BDFlowError(_DAMAGED)
