"""Fuzz the reader of small files: python fuzz/container.py -runs=N [CORPUS]

An input is a whole PNG, AVIF, WebP or JPEG. Mutations mend the checksums, those of chunks and bdflow's own,
to reach the parsers.
"""

import io

import atheris
from harness import SIGNATURE, check_line, fuzz, mutate_png, sealed

with atheris.instrument_imports(include=["bdflow", "PIL"]):
    from bdflow.errors import BDFlowError
    from bdflow.smallfile import container
    from bdflow.smallfile.quantizer import quality

MAX_PIXELS = 5_000  # larger ones take longer and show nothing else


def target(data: bytes) -> None:
    container.holds_chunk(io.BytesIO(data))
    coarse = quality(data)
    assert coarse is None or 0 <= coarse <= 100
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
    assert repr(found).isprintable()


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Of a PNG its chunks; of others now and then the payload, else bytes anywhere."""
    if data.startswith(SIGNATURE):
        return mutate_png(data, max_size, seed)
    if seed % 4:
        return atheris.Mutate(data, max_size)
    try:
        known = next(each for each in container.CONTAINERS if each.begins(data[:12]))
        payload = known.parts(io.BytesIO(data)).payload
    except (BDFlowError, StopIteration):
        payload = None
    if not payload:
        return atheris.Mutate(data, max_size)
    return data.replace(payload, sealed(atheris.Mutate(payload[:-1], len(payload) + 2)))[:max_size]


if __name__ == "__main__":
    fuzz(target, mutate)
