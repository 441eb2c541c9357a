"""PNG files of version 1 for other languages: `vectors/pngs.json`, which web/test reads, too."""

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_files import small

from bdflow.errors import BDFlowError
from bdflow.pictures import reader
from bdflow.pictures.resize import bicubic_up_rows
from bdflow.smallfile import boundary
from bdflow.smallfile.container import read
from bdflow.smallfile.payload import Version1, unpack

VECTORS = Path(__file__).parent / "vectors" / "pngs.json"
GOLDEN = Path(__file__).parent / "golden"


def text(data: bytes | np.ndarray) -> str:
    return base64.b64encode(bytes(data)).decode()


def rgba(image: reader.Picture) -> bytes:
    alpha = np.full(image.rgb.shape[:2], 255, np.uint8) if image.alpha is None else image.alpha
    return np.dstack([image.rgb, alpha]).tobytes()


def said_of(path: Path) -> dict[str, object]:
    """What a reader of version 1 finds in a file."""
    found = read(path)
    return {
        "file": path.name,
        "model": found.model,
        "weights": found.weights.hex(),
        "scale": found.scale,
        "bits": found.bits,
        "size": list(found.size),
        "gray": found.gray,
        "bicubic": found.bicubic,
        "stored gray": found.image.gray,
        "samples": text(rgba(found.image)),
        "boundary": None if found.boundary is None else text(found.boundary.tobytes()),
    }


def pictures() -> dict[str, bytes]:
    """PNGs as other programs write them, when they change nothing that is seen."""
    y, x = np.mgrid[:7, :9]
    waves = np.stack([x * 29 + y, 255 - y * 31, x * y * 3], axis=2).astype(np.uint8)
    colours = Image.fromarray(waves)
    veiled = Image.fromarray(np.dstack([waves, (x * 31).astype(np.uint8)]))
    gray = colours.convert("L")
    few = colours.quantize(5, dither=Image.Dither.NONE)
    made: list[tuple[str, Image.Image, dict[str, object]]] = [
        ("colours", colours, {}),
        ("colours, one of them transparent", colours, {"transparency": tuple(waves[2, 3].tolist())}),
        ("colours and alpha", veiled, {}),
        ("gray", gray, {}),
        ("gray, one level transparent", gray, {"transparency": gray.getpixel((4, 4))}),
        ("gray and alpha", veiled.convert("LA"), {}),
        ("1 bit", gray.point(lambda level: 255 * (level > 120)).convert("1"), {}),
        ("a palette", few, {}),
        ("a palette of 4 bits with alpha", few, {"bits": 4, "transparency": bytes([9, 255, 128])}),
        ("a palette of 1 bit", colours.quantize(2, dither=Image.Dither.NONE), {"bits": 1}),
    ]
    result = {}
    for name, image, settings in made:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", **settings)
        result[name] = buffer.getvalue()
    return result


def refused() -> dict[str, bytes]:
    whole = Version1.of(small(3, 4, bits=2)).pack()
    return {
        "made by a newer bdflow (format 2)": b"\2" + whole[1:],
        "its bdflow chunk is damaged": whole[:-1] + bytes([whole[-1] ^ 1]),
        "its bdflow chunk is damaged: get the file again": b"\1",
    }


CODES = {"empty": (b"\0\0", 1), "raw": (b"\1\xff", 2), "deflated": (b"\2\3\0", 2), "coded": (b"\3\1\2\3", 3)}


def make() -> dict[str, object]:
    plane = (np.arange(35) ** 2 % 251).reshape(5, 7).astype(np.uint8)
    return {
        "files": [said_of(path) for path in sorted(GOLDEN.glob("v1-*.png"))],
        "pictures": [
            {"what": name, "png": text(data), "samples": text(rgba(reader.read(data)))}
            for name, data in pictures().items()
        ],
        "refused payloads": [{"payload": text(data), "why": why} for why, data in refused().items()],
        "refused boundary maps of 3x4": [{"code": text(code), "bits": bits} for code, bits in CODES.values()],
        "bicubic": [
            {"scale": scale, "samples": text(bicubic_up_rows(plane, scale, slice(0, 5)).tobytes())}
            for scale in (2, 8)
        ],
        "of 7x5": text(plane.tobytes()),
    }


def test_vectors():
    """BDFLOW_REGEN_GOLDEN=1 writes them where they are missing; what is there is never written anew."""
    if os.environ.get("BDFLOW_REGEN_GOLDEN") and not VECTORS.exists():
        VECTORS.write_text(json.dumps(make(), indent=1) + "\n")
    vectors = json.loads(VECTORS.read_text())
    for entry in vectors["pictures"]:  # Pillow may write them otherwise another year: what they show counts
        assert text(rgba(reader.read(base64.b64decode(entry["png"])))) == entry["samples"]
    made = make()
    for name in made.keys() - {"pictures", "refused payloads"}:
        assert vectors[name] == made[name]
    for entry in vectors["refused payloads"]:
        with pytest.raises(BDFlowError) as error:
            unpack(base64.b64decode(entry["payload"]))
        assert str(error.value).startswith(entry["why"])
    for entry in vectors["refused boundary maps of 3x4"]:
        with pytest.raises(BDFlowError, match="damaged"):
            boundary.decode(base64.b64decode(entry["code"]), 3, 4, entry["bits"])
