"""PNG as a container: the payload is one private chunk before the pixels.

Any reader shows the picture and ignores the chunk. The letters of its name say, by their case, that it is
ancillary, private and unsafe to copy, so an editor that changes pixels and knows the rules drops it.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

from PIL.PngImagePlugin import PngInfo

from bdflow.errors import BDFlowError
from bdflow.pictures.codecs import smallest_png
from bdflow.smallfile.downscaled import Downscaled
from bdflow.smallfile.payload import DAMAGED, MAX_PAYLOAD, Version1
from bdflow.smallfile.protocol import Parts

NAME = "PNG"
ENDINGS = (".png",)
CHUNK = b"bdFW"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_METADATA = (b"pHYs", b"eXIf", b"iTXt", b"tEXt", b"zTXt")
_BLOCK = 1 << 16  # bytes of other chunks in memory at a time


def begins(head: bytes) -> bool:
    """Whether a file that begins so is a PNG."""
    return head.startswith(_SIGNATURE)


def write(small: Downscaled) -> bytes:
    """The file, as small as Pillow makes it without touching a pixel.

    Raises:
        BDFlowError: the boundary map holds levels beyond its bits.
    """
    info = PngInfo()
    info.add(CHUNK, Version1.of(small).pack())
    # No PNG in colour may carry the profile of a gray photograph: it is in the payload.
    image = replace(small.image, icc=None) if small.gray else small.image
    return image.metadata.in_png(smallest_png(image.to_pil(), info))


def holds_payload(stream: BinaryIO) -> bool:
    """Whether bdflow's chunk is there; what follows it is not read.

    Raises:
        BDFlowError: the file is damaged before it.
    """
    return any(kind == CHUNK for kind, _, _ in _chunks(stream))


def parts(stream: BinaryIO) -> Parts:
    """All of the file, its checksums checked.

    Raises:
        BDFlowError: it is cut short, a checksum is wrong, or bdflow's chunk is longer than any.
    """
    size, payload, payloads = None, None, 0
    lengths = dict.fromkeys((b"IDAT", b"iCCP", *_METADATA), 0)
    for kind, length, body in _chunks(stream):
        if kind == b"IHDR" and length >= 8:
            size = struct.unpack_from(">II", body)
        elif kind == CHUNK:
            payload, payloads = payload or body, payloads + 1
        elif kind in lengths:
            lengths[kind] += length
    described = sum(lengths[kind] for kind in _METADATA)
    return Parts(size, payload, payloads, lengths[b"IDAT"], lengths[b"iCCP"], described)


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int, bytes]]:
    """Name and length of each chunk of a PNG, checked; what follows the last is ignored.

    All of bdflow's chunk comes along, and the first bytes of others: a file may be larger than memory.
    """
    _read(stream, len(_SIGNATURE))
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", _read(stream, 8))
        if kind == CHUNK and length > MAX_PAYLOAD:
            raise BDFlowError(DAMAGED)
        beginning = _read(stream, length if kind == CHUNK else min(length, _BLOCK))
        crc, remaining = zlib.crc32(beginning, zlib.crc32(kind)), length - len(beginning)
        while remaining:
            block = _read(stream, min(remaining, _BLOCK))
            crc, remaining = zlib.crc32(block, crc), remaining - len(block)
        if crc.to_bytes(4) != _read(stream, 4):
            raise BDFlowError("the PNG is damaged (a checksum is wrong): get it again")
        yield kind, length, beginning


def _read(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise BDFlowError("the PNG is cut short: get it again")
    return data
