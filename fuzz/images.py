"""Fuzz the reader of pictures, every format that it takes: python fuzz/images.py -runs=N [CORPUS]"""

import atheris
from harness import SIGNATURE, check_line, fuzz, mutate_png

with atheris.instrument_imports(include=["bdflow", "PIL"]):
    from bdflow.errors import BDFlowError
    from bdflow.pictures import reader

MAX_PIXELS = 5_000  # larger ones take longer and show nothing else


def target(data: bytes) -> None:
    try:
        picture = reader.read(data, max_pixels=MAX_PIXELS)
    except BDFlowError as error:
        check_line(error)
        return
    assert picture.width * picture.height <= MAX_PIXELS
    assert all(note.isprintable() for note in picture.notes)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    return mutate_png(data, max_size, seed) if data.startswith(SIGNATURE) else atheris.Mutate(data, max_size)


if __name__ == "__main__":
    fuzz(target, mutate)
