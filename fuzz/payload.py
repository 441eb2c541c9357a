"""Fuzz the content of bdflow's chunk, its checksum right: python fuzz/payload.py -runs=N [CORPUS]

An input is the chunk's content without its seal. The picture around it has 3x2 pixels.
"""

import atheris
import numpy as np
from harness import check_line, fuzz, seal

with atheris.instrument_imports(include=["bdflow"]):
    from bdflow.errors import BDFlowError
    from bdflow.images import Picture
    from bdflow.smallfile import payload

PICTURE = Picture(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))


def target(data: bytes) -> None:
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
