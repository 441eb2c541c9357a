"""Tiles of a picture too large to compute at once: what each sees, and what is kept of it."""

from itertools import pairwise
from typing import NamedTuple


class Span(NamedTuple):
    """One side of a tile, in cells of the small picture: what it sees, and what is kept of it."""

    seen: slice
    kept: slice

    @property
    def inner(self) -> slice:
        """The kept cells, counted from the first that is seen."""
        return slice(self.kept.start - self.seen.start, self.kept.stop - self.seen.start)


def cut(height: int, width: int, limit: int, halo: int) -> tuple[list[Span], list[Span]]:
    """Cut a picture into rows and columns of tiles, so that as little as possible is computed twice.

    Every tile sees equally many cells, so that ONNX Runtime can use its memory again for the next, and at
    most `limit**2` of them, in whatever shape is cheapest. Neighbours overlap by two halos: each kept cell
    sees `halo` cells around it.

    Args:
        height: Of the picture, in cells.
        width: Of the picture, in cells.
        limit: Cells that a square tile may see each way, more than two halos.
        halo: Cells that a tile must see beyond those that are kept of it, unless the picture ends there.
    """
    most = 2 * _fewest(height, limit, halo)  # flatter ones are mostly overlap
    computed = {}
    for rows in range(1, min(most, max(1, height - 2 * halo)) + 1):
        tall = _seen(height, rows, halo)
        wide = limit * limit // tall
        if wide >= width or wide > 2 * halo:
            columns = _fewest(width, wide, halo)
            computed[rows, columns] = rows * tall * columns * _seen(width, columns, halo)
    rows, columns = min(computed, key=computed.__getitem__)
    return _spans(height, rows, halo), _spans(width, columns, halo)


def times(span: slice, factor: int) -> slice:
    """Where these cells lie with `factor` pixels to a cell."""
    return slice(span.start * factor, span.stop * factor)


def _fewest(cells: int, limit: int, halo: int) -> int:
    """How many tiles a side takes that see at most `limit` cells."""
    return 1 if cells <= limit else -(-(cells - 2 * halo) // (limit - 2 * halo))


def _seen(cells: int, count: int, halo: int) -> int:
    """Cells that each of so many tiles sees."""
    return -(-(cells + 2 * halo * (count - 1)) // count)


def _spans(cells: int, count: int, halo: int) -> list[Span]:
    seen = _seen(cells, count, halo)
    starts = [(cells - seen) * index // max(1, count - 1) for index in range(count)]
    cuts = [0, *((left + seen + right) // 2 for left, right in pairwise(starts)), cells]
    sides = zip(starts, pairwise(cuts), strict=True)
    return [Span(slice(start, start + seen), slice(*kept)) for start, kept in sides]
