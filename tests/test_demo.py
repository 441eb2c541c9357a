"""`bdflow demo`: rivals are treated as well as our own file. (What it writes: test_cli.py.)"""

import io
import re

import numpy as np
import pytest
from PIL import Image

from bdflow.evaluation import demo
from bdflow.pictures.resize import bicubic_down


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_bicubic_thumbnail_is_written_as_ours_is(mode, tmp_path, capsys):
    """By the smallest of three ways, and gray where the photograph is."""
    photo = Image.open(demo.PHOTOGRAPH).resize((256, 256)).convert(mode)
    photo.save(tmp_path / "photo.png")
    small = Image.fromarray(bicubic_down(np.asarray(photo.convert("RGB")), 8)).convert(mode)

    def size(image, **way):
        image.save(buffer := io.BytesIO(), "PNG", **way)
        return len(buffer.getvalue())

    least = min(
        size(small, **way) for way in ({"optimize": True}, {"compress_level": 9}, {"compress_type": 3})
    )
    assert least < size(small.convert("RGB"))
    demo.run(tmp_path / "out", tmp_path / "photo.png")
    (told,) = re.findall(r"│ bicubic x8 as PNG +│ +([\d,]+) │", capsys.readouterr().out)
    assert int(told.replace(",", "")) == least
