"""What the fuzz targets share: a run of atheris, and mutations that get past the checksums of a PNG."""

import struct
import sys
import warnings
import zlib
from collections.abc import Callable

import atheris

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK = b"bdFW"

# Seconds one input may take, and MB the process may hold: beyond them it counts as a hang, or a bomb.
LIMITS = ("-timeout=10", "-rss_limit_mb=1024")

Chunks = list[tuple[bytes, bytes]]
Mutator = Callable[[bytes, int, int], bytes]


def fuzz(target: Callable[[bytes], None], mutate: Mutator | None = None) -> None:
    """Run libFuzzer with the command line's arguments: flags such as -runs=N, then folders of a corpus."""
    warnings.simplefilter("ignore")  # Pillow's own remarks on odd metadata
    arguments = [sys.argv[0], *LIMITS, *sys.argv[1:]]
    if mutate:
        atheris.Setup(arguments, target, custom_mutator=mutate)
    else:
        atheris.Setup(arguments, target)
    atheris.Fuzz()


def check_line(error: Exception) -> None:
    """A refusal is one line that a terminal can show: no line breaks, no escape sequences."""
    message = str(error)
    assert message, "a refusal without a word"
    assert message.isprintable(), f"not one plain line: {message!r}"


def mutate_png(data: bytes, max_size: int, seed: int) -> bytes:
    """Change a chunk of a PNG, or the bytes inside its compression or seal, and mend every checksum."""
    parts = split(data)
    if not parts or seed % 8 == 0:  # now and then, bytes anywhere
        return atheris.Mutate(data, max_size)
    chosen = seed // 8 % len(parts)
    kind, body = parts[chosen]
    room = max(64, max_size - len(data))
    action = seed // 1024 % 8
    if action == 0:
        parts.insert(chosen, parts[seed // 8192 % len(parts)])  # twice, or in another place
    elif action == 1 and len(parts) > 1:
        parts.pop(chosen)
    elif kind == CHUNK:
        parts[chosen] = kind, seal(atheris.Mutate(body[:-4], len(body) + room))
    elif kind in (b"IDAT", b"fdAT") and action < 5:
        parts[chosen] = kind, deflated(inflated(body), len(body) + room)
    elif kind in (b"iCCP", b"zTXt") and action < 5 and b"\0" in body:
        name, _, packed = body.partition(b"\0")
        parts[chosen] = kind, name + b"\0\0" + deflated(inflated(packed[1:]), len(body) + room)
    else:
        parts[chosen] = kind, atheris.Mutate(body, len(body) + room)
    return join(parts)[:max_size]


def split(data: bytes) -> Chunks:
    """The chunks of what may be a PNG, as far as they can be told apart."""
    if not data.startswith(SIGNATURE):
        return []
    found, position = [], len(SIGNATURE)
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if length > len(data) - position - 12:
            break
        found.append((data[position + 4 : position + 8], data[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def join(parts: Chunks) -> bytes:
    """The PNG of these chunks, every checksum right."""
    data = bytearray(SIGNATURE)
    for kind, body in parts:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return bytes(data)


def seal(body: bytes) -> bytes:
    """A payload of version 1 with its checksum."""
    return body + struct.pack(">I", zlib.crc32(body))


def sealed(body: bytes) -> bytes:
    """A payload of version 2 with its checksum."""
    return body + bytes([zlib.crc32(body) & 255])


def inflated(body: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(body, 1 << 16)
    except zlib.error:
        return b""


def deflated(data: bytes, max_size: int) -> bytes:
    return zlib.compress(atheris.Mutate(data or b"\0", max_size), 1)
