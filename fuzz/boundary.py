"""Fuzz the decoder of boundary maps: python fuzz/boundary.py -runs=N [CORPUS]

The first three bytes of an input choose the map's height, width and bits; the rest is the code.
"""

import atheris
from harness import check_line, fuzz

with atheris.instrument_imports(include=["bdflow"]):
    from bdflow.errors import BDFlowError
    from bdflow.smallfile import boundary


def target(data: bytes) -> None:
    if len(data) < 4:
        return
    height, width, bits = data[0] % 12 + 1, data[1] % 12 + 1, data[2] % 3 + 1
    code = data[3:]
    try:
        levels = boundary.decode(code, height, width, bits)
    except BDFlowError as error:
        check_line(error)
        return
    assert levels.shape == (height, width)
    assert levels.dtype == "uint8"
    assert int(levels.max()) < 1 << bits
    if code[0] == 3:  # the arithmetic coder: one map, one code
        assert boundary._encode_planes(levels, bits) == code[1:]


if __name__ == "__main__":
    fuzz(target)
