"""Fuzz the reader of small files: python fuzz/container.py -runs=N [CORPUS]

An input is a whole PNG. Mutations mend the checksums, those of chunks and bdflow's own, to reach the parsers.
"""

import io

import atheris
from harness import check_line, fuzz, mutate_png

with atheris.instrument_imports(include=["bdflow", "PIL"]):
    from bdflow import container
    from bdflow.errors import BDFlowError

MAX_PIXELS = 5_000  # larger ones take longer and show nothing else


def target(data: bytes) -> None:
    container.holds_chunk(io.BytesIO(data))
    try:
        found = container.read(data, max_pixels=MAX_PIXELS)
        report = container.byte_report(data)
    except BDFlowError as error:
        check_line(error)
        return
    assert sum(report.values()) == len(data)
    assert min(report.values()) >= 0
    assert found.size[0] * found.size[1] <= MAX_PIXELS
    assert found.image.width * found.image.height <= MAX_PIXELS


if __name__ == "__main__":
    fuzz(target, mutate_png)
