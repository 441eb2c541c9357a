"""Fuzz what shortens an AVIF: python fuzz/slim.py -runs=N [CORPUS]

An input is a whole AVIF. Whatever Pillow reads of it, it reads of the shorter one.
"""

import io

import atheris
from harness import fuzz
from PIL import Image

with atheris.instrument_imports(include=["bdflow"]):
    from bdflow.smallfile import avif
    from bdflow.smallfile.slim import slimmed

MAX_PIXELS = 5_000  # larger ones take longer and show nothing else
PAYLOAD = b"\2\x10\0\x2d"


def target(data: bytes) -> None:
    file = avif.insert(data, PAYLOAD)
    still = slimmed(data)
    if still is None:
        assert file.startswith(data)
        return
    assert len(file) <= len(data) + 6
    assert slimmed(still.pack()).pack() == still.pack()
    assert avif.parts(io.BytesIO(file)).payload == PAYLOAD
    before = pixels(data)
    assert before is None or before == pixels(file)


def pixels(data: bytes) -> tuple[str, tuple[int, int], bytes] | None:
    """As Pillow reads them; None where it does not, or where they are many."""
    try:
        with Image.open(io.BytesIO(data), formats=["AVIF"]) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            return image.mode, image.size, image.tobytes()
    except Exception:  # Pillow's decoders have their own
        return None


if __name__ == "__main__":
    fuzz(target)
