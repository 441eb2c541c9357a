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


def spans(cells: int, limit: int, halo: int) -> list[Span]:
    """Cut a side into as few tiles as possible.

    Every tile sees equally many cells, so that ONNX Runtime can use its memory again for the next.
    Neighbours overlap by two halos at least and meet in the middle: each kept cell sees ``halo`` cells around
    it.

    Args:
        cells: Of the whole side.
        limit: Cells that a tile may see, more than two halos.
        halo: Cells that a tile must see beyond those that are kept of it, unless the picture ends there.
    """
    seen = min(cells, limit)
    gaps = -(-(cells - seen) // (limit - 2 * halo))  # one tile, and one more for each
    starts = [(cells - seen) * index // max(1, gaps) for index in range(gaps + 1)]
    cuts = [0, *((left + seen + right) // 2 for left, right in pairwise(starts)), cells]
    sides = zip(starts, pairwise(cuts), strict=True)
    return [Span(slice(start, start + seen), slice(*kept)) for start, kept in sides]
