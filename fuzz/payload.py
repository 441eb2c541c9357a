"""Fuzz bdflow's payload, its checksum right: python fuzz/payload.py -runs=N [CORPUS]

An input is a payload without its seal: that of a PNG, and then that of an AVIF. The picture around it has 3x2
pixels.
"""

import atheris
import numpy as np
from harness import check_line, fuzz, seal, sealed

with atheris.instrument_imports(include=["bdflow"]):
    from bdflow.errors import BDFlowError
    from bdflow.pictures.reader import Picture
    from bdflow.smallfile import payload

MAX_PIXELS = 1_000
PICTURE = Picture(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))


def target(data: bytes) -> None:
    version1(data)
    version2(data)


def version2(data: bytes) -> None:
    try:
        fields = payload.unpack(sealed(data), "AVIF")
        assert fields.pack() == sealed(data)
        fields.check((3, 2), MAX_PIXELS)
        small = fields.with_picture(PICTURE, b"", "AVIF")
    except BDFlowError as error:
        check_line(error)
        return
    assert repr(small).isprintable()
    assert 0 < small.size[0] * small.size[1] <= MAX_PIXELS
    assert payload.Version2.of(small.size, small.factor, small.domain) == fields


def version1(data: bytes) -> None:
    try:
        fields = payload.unpack(seal(data))
        assert payload.unpack(fields.pack()) == fields
        small = fields.with_picture(PICTURE, b"", "PNG")
    except BDFlowError as error:
        check_line(error)
        return
    assert repr(small).isprintable()
    assert not set(small.model) & set("/\\:")
    assert small.boundary is None or small.boundary.shape == (2, 3)


if __name__ == "__main__":
    fuzz(target)
