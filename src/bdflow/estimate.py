"""How close restored photographs come to the true one, and a quick estimate of what a network adds."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bdflow.enhancer import Enhancer, cell
from bdflow.images import Array
from bdflow.metrics import MAX_PSNR, psnr, psnr_y
from bdflow.smallfile.thumbnail import Thumbnail
from bdflow.tiles import Span

_GRID = 48  # pixels: where thumbnails of every factor can be cut
_WINDOW = 3 * _GRID
_MARGIN = 16  # pixels at a window's edges, which miss what lies beyond the most
_DISTANCE = 350  # pixels from one to the next, about


class Quality(NamedTuple):
    """PSNR in decibels, on luma and on RGB."""

    y: float
    rgb: float

    @property
    def mean(self) -> float:
        """What files are chosen by."""
        return (self.y + self.rgb) / 2


def measured(true: Array, restored: Array) -> Quality:
    """The PSNR of a restored picture, 100 at most; both are uint8 (H, W, 3)."""
    return Quality(min(psnr_y(true, restored), MAX_PSNR), min(psnr(true, restored), MAX_PSNR))


def gain(true: Array, small: Thumbnail, enhancer: Enhancer) -> Quality:
    """Decibels that a network adds to a thumbnail's plain enlargement.

    A large picture is not restored as a whole: windows are that are spread over it, a sixth of its pixels.

    Args:
        true: The photograph, uint8 (H, W, 3).
        small: Its thumbnail; the domain says what the network takes it for.
        enhancer: The network.
    """
    height, width = (_spans(side, cell(small.factor)) for side in true.shape[:2])
    windows = [(rows, columns) for rows in height for columns in width]

    def seen(thumbnail: Thumbnail) -> Array:
        parts = (enhancer.part(thumbnail, rows.seen, columns.seen) for rows, columns in windows)
        return np.concatenate(
            [part[rows.inner, columns.inner] for part, (rows, columns) in zip(parts, windows, strict=True)]
        )

    kept = np.concatenate([true[rows.kept, columns.kept] for rows, columns in windows])
    restored, plain = measured(kept, seen(small)), measured(kept, seen(replace(small, domain="plain")))
    return Quality(restored.y - plain.y, restored.rgb - plain.rgb)


def _spans(side: int, cell: int) -> list[Span]:
    """Where windows lie along a side; where it is short, one is the whole side, in whole cells."""
    count = -(-side // _DISTANCE)
    if count == 1:
        return [Span(slice(0, -(-side // cell) * cell), slice(0, side))]
    spans = []
    for index in range(count):
        middle = (2 * index + 1) * side / (2 * count)
        start = min(round((middle - _WINDOW / 2) / _GRID), (side - _WINDOW) // _GRID) * _GRID
        kept = slice(start + _MARGIN, start + _WINDOW - _MARGIN)
        spans.append(Span(slice(start, start + _WINDOW), kept))
    return spans
