"""The part of a photograph that is shown enlarged, the same for every method."""

from typing import NamedTuple

import numpy as np

from bdflow.errors import BDFlowError
from bdflow.pictures.picture import RGB
from bdflow.pictures.resize import resize
from bdflow.quality.metrics import luma

ENLARGED = 320  # pixels: about so long is the enlarged box
_SMALLEST, _LARGEST = 8, 640  # pixels of a side: fewer show nothing, more is no detail
_SEARCHED = 1024  # the photograph is searched for detail at this length at most
_STRONG = 24  # levels from pixel to pixel: one hard edge shall not outweigh rich texture
_STEPS = 64  # places tried each way


class Box(NamedTuple):
    """A rectangle in pixels of the photograph."""

    x: int
    y: int
    width: int
    height: int

    @property
    def zoom(self) -> int:
        """The whole factor that enlarges it to about `ENLARGED` pixels."""
        return max(1, ENLARGED // max(self.width, self.height))

    def cut(self, rgb: RGB) -> RGB:
        """What lies in it, uint8 (height, width, 3)."""
        return rgb[self.y : self.y + self.height, self.x : self.x + self.width]

    def enlarge(self, rgb: RGB) -> RGB:
        """What lies in it, each pixel a square of `zoom` by `zoom`."""
        return self.cut(rgb).repeat(self.zoom, axis=0).repeat(self.zoom, axis=1)


def parse_box(text: str) -> Box:
    """A box from `X,Y,W,H`.

    Raises:
        BDFlowError: It is no four numbers, or a side is not 8..640 pixels long.
    """
    try:
        box = Box(*(int(number) for number in text.split(",")))
    except (ValueError, TypeError):
        raise BDFlowError(f"{text!r} is no box: give X,Y,W,H in pixels, such as 400,300,160,160") from None
    if min(box.x, box.y) < 0 or min(box[2:]) < _SMALLEST or max(box[2:]) > _LARGEST:
        raise BDFlowError(
            f"the box {text} cannot be shown: it begins at 0,0 or later, and its sides are"
            f" {_SMALLEST}..{_LARGEST} pixels long"
        )
    return box


def choose_box(rgb: RGB, least: int = 0) -> Box:
    """A square full of detail, preferably near the middle; the same for the same picture.

    It is a sixth of a small photograph's shorter side, and 160 pixels of one above a thousand; but `least`
    pixels where they fit.
    """
    height, width = rgb.shape[:2]
    shorter = min(height, width)
    zoom = min(8, max(2, round(6 * ENLARGED / shorter)))
    side = min(max(ENLARGED // zoom, least), shorter)
    reduction = min(1.0, _SEARCHED / max(height, width))
    searched = max(1, round(height * reduction)), max(1, round(width * reduction))
    detail = _detail(luma(resize(rgb, searched)))

    # Sums over any box come from four corners of the running sums.
    sums = np.pad(detail, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    window = max(1, min(round(side * reduction), *searched))
    tops, lefts = (np.linspace(0, length - window, _STEPS).round().astype(int) for length in searched)
    ends = np.ix_(tops + window, lefts + window)
    inside = sums[ends] - sums[np.ix_(tops, lefts + window)] - sums[np.ix_(tops + window, lefts)]
    inside += sums[np.ix_(tops, lefts)]
    off_middle = np.hypot(*np.meshgrid(np.linspace(-1, 1, _STEPS), np.linspace(-1, 1, _STEPS)))
    best = np.unravel_index(np.argmax(inside * (1 - off_middle / 3)), inside.shape)
    y = min(round(int(tops[best[0]]) / reduction), height - side)
    x = min(round(int(lefts[best[1]]) / reduction), width - side)
    return Box(x, y, side, side)


def _detail(plane: np.typing.NDArray[np.float64]) -> np.typing.NDArray[np.float64]:
    """How much changes from each pixel to its neighbours."""
    across = np.abs(np.diff(plane, axis=1, append=plane[:, -1:]))
    down = np.abs(np.diff(plane, axis=0, append=plane[-1:]))
    return np.minimum(across, _STRONG) + np.minimum(down, _STRONG)
