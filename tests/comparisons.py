"""Comparisons made by hand: no model, no codec."""

from pathlib import Path

import numpy as np

from bdflow.compare.box import Box
from bdflow.compare.comparison import Comparison, MethodResult

NAMES = ("bdflow tiny", "bicubic x4, PNG", "JPEG", "a <b>& </script> method")


def gradient(height: int, width: int, tint: int = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, tint)], axis=2).astype(np.uint8)


def comparison(height: int = 48, width: int = 64, **changes) -> Comparison:
    """Each method's picture has another blue: 60, 120, 180, 240; the original has none."""
    pixels = [gradient(height, width, 60 * (index + 1)) for index in range(len(NAMES))]
    stored = [
        MethodResult(name, rgb, 1000 + 111 * index, 0.5 + index, 30.125 + index, 28 + index, 0.9 - index / 10)
        for index, (name, rgb) in enumerate(zip(NAMES, pixels, strict=True))
    ]
    values = {
        "path": Path("pictures/a [b] & c.png"),
        "true": gradient(height, width),
        "icc": None,
        "notes": ("a note",),
        "factor": 4,
        "format": "PNG",
        "small": gradient(-(-height // 4), -(-width // 4), 200),
        "stored": tuple(stored),
        "skipped": {"JPEG XL": "it is [missing]"},
        "box": Box(8, 4, 16, 12),
    }
    return Comparison(**values | changes)
