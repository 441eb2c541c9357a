"""How close restored photographs come to the true one, and a quick estimate of what a network adds."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bdflow.pictures.reader import Array, Picture
from bdflow.quality.metrics import MAX_PSNR, SquaredErrors
from bdflow.runtime.enhancer import Enhancer, cell
from bdflow.runtime.tiles import Span
from bdflow.smallfile.thumbnail import Thumbnail

_GRID = 48  # pixels: where thumbnails of every factor can be cut
_WINDOW = 3 * _GRID
_MARGIN = 16  # pixels at a window's edges, which miss what lies beyond the most
_DISTANCE = 350  # pixels from one to the next, about
_BLOCK = 16 * _GRID  # of an excerpt in which thumbnails of every factor can be cut


class Quality(NamedTuple):
    """PSNR in decibels, on luma and on RGB."""

    y: float
    rgb: float

    @property
    def mean(self) -> float:
        """What files are chosen by."""
        return (self.y + self.rgb) / 2


def measured(true: Array, strips: Iterable[Array]) -> Quality:
    """The PSNR of a restored picture, 100 at most.

    Args:
        true: The photograph, uint8 (H, W, 3).
        strips: The restored rows, from the first on, uint8 (rows, W, 3) each.
    """
    errors, row = SquaredErrors(), 0
    for strip in strips:
        errors.add(true[row : row + len(strip)], strip)
        row += len(strip)
    return Quality(min(errors.psnr_y, MAX_PSNR), min(errors.psnr, MAX_PSNR))


def excerpt(picture: Picture, pixels: float = 4e6, block: int = _BLOCK) -> Picture:
    """Blocks that are spread over a picture, side by side: about so many pixels, or the whole.

    Args:
        picture: The photograph.
        pixels: Of the blocks together.
        block: The side of each in pixels.
    """
    share = math.sqrt(min(1.0, pixels / (picture.width * picture.height)))
    rows, columns = (_blocks(side, share, block) for side in (picture.height, picture.width))

    def cut(samples: Array) -> Array:
        lines = [np.concatenate([samples[down, across] for across in columns], axis=1) for down in rows]
        return np.concatenate(lines)

    alpha = None if picture.alpha is None else cut(picture.alpha)
    return replace(picture, rgb=cut(picture.rgb), alpha=alpha)


def _blocks(side: int, share: float, block: int) -> list[slice]:
    """Blocks of about a share of a side, evenly spread; or the whole, where they would be most of it."""
    count = max(1, round(side * share / block))
    if count * block > 0.8 * side:
        return [slice(0, side)]
    starts = [round(side * (2 * index + 1) / (2 * count) - block / 2) for index in range(count)]
    return [slice(start, start + block) for start in starts]


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

    def inner_pixels(thumbnail: Thumbnail) -> Array:
        parts = (enhancer.part(thumbnail, rows.seen, columns.seen) for rows, columns in windows)
        return np.concatenate(
            [part[rows.inner, columns.inner] for part, (rows, columns) in zip(parts, windows, strict=True)]
        )

    true_pixels = np.concatenate([true[rows.kept, columns.kept] for rows, columns in windows])
    restored, plain = (
        measured(true_pixels, [inner_pixels(variant)]) for variant in (small, replace(small, domain="plain"))
    )
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
