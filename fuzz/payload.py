"""Fuzz the content of bdflow's chunk, its checksum right: python fuzz/payload.py -runs=N [CORPUS]

An input is the chunk's content without its seal. The picture around it has 3x2 pixels.
"""

import atheris
import numpy as np
from harness import check_line, fuzz, seal

with atheris.instrument_imports(include=["bdflow"]):
    from bdflow import container
    from bdflow.errors import BDFlowError
    from bdflow.images import Picture

PICTURE = Picture(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))


def target(data: bytes) -> None:
    try:
        payload = container._Payload.unpack(seal(data))
        assert container._Payload.unpack(payload.pack()) == payload
        found = container._assemble(payload, PICTURE)
    except BDFlowError as error:
        check_line(error)
        return
    assert repr(found).isprintable()
    assert not set(found.model) & set("/\\:")
    assert found.boundary is None or found.boundary.shape == (2, 3)


if __name__ == "__main__":
    fuzz(target)
