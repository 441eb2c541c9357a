"""The first picture of the README: what a small AVIF restores to, beside AVIF itself in as many bytes."""

from pathlib import Path

import numpy as np

from bdflow.evaluation.report import contact_sheet
from bdflow.fitting import Goal, fit
from bdflow.pictures.codecs import encode
from bdflow.pictures.reader import Picture, read
from bdflow.quality.metrics import psnr_y
from bdflow.runtime.enhancer import Enhancer, shrunk
from bdflow.zoo import find_restoration

PHOTOGRAPH = "portraits/test/alma-adams.jpg"
BYTES = 2000
SHRUNK = 2  # as it is shown
SIDE = 352


def draw_sheet(data: Path, path: Path) -> None:
    """Four of a face, in one row: true, AVIF enlarged, restored for fidelity and for the look."""
    true = read(data / PHOTOGRAPH)
    fidelity, look = Enhancer(find_restoration()), Enhancer(find_restoration("look"))
    ours = fit(true, fidelity, Goal(max_bytes=BYTES))
    alone = fit(true, fidelity, Goal(max_bytes=BYTES, domain="plain"))

    panels = {f"the photograph, {true.width}x{true.height} pixels": true.rgb}
    for name, fitted, enhancer in (
        ("AVIF, shrunk and enlarged", alone, fidelity),
        ("bdflow", ours, fidelity),
        ("bdflow --for look", ours, look),
    ):
        rgb = enhancer.rgb(fitted.small)
        panels[f"{name}: {len(fitted.small.data):,} bytes, {psnr_y(true.rgb, rgb):.2f} dB"] = rgb
    sheet = contact_sheet({label: _shown(rgb) for label, rgb in panels.items()}, columns=4)
    path.write_bytes(encode(Picture(sheet), "jpg", 82))


def _shown(rgb: np.ndarray) -> np.ndarray:
    """The head, a little smaller than it is."""
    small = shrunk(Picture(rgb), SHRUNK).rgb
    top, left = small.shape[0] // 16, (small.shape[1] - SIDE) // 2
    return np.ascontiguousarray(small[top : top + SIDE, left : left + SIDE])
