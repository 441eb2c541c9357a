"""Restore thumbnails in ordinary codecs: enlarged, and a network adds what the codec left out."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures.reader import Array, Picture, fitting_profile
from bdflow.pictures.strips import Strips
from bdflow.runtime.backends import Session, Sessions
from bdflow.runtime.computing import DEFAULT, Computing
from bdflow.runtime.tiles import cut, times
from bdflow.smallfile.thumbnail import FACTORS, FORMATS, Thumbnail, multiples
from bdflow.zoo import Model

TILE = 1280
"""Pixels each way that are computed at once, unless the caller says otherwise."""

_LANCZOS = Image.Resampling.LANCZOS
_SUPPORT = 3  # pixels of a thumbnail, each way, that a pixel of its enlargement depends on
_GRID = 8  # the network takes sides that are multiples of it


class Enhancer:
    """Restores thumbnails with one network. Safe to share between threads; it can be pickled.

    Args:
        model: Of `bdflow.zoo.find_restoration`.
        computing: How it is run.

    Raises:
        BDFlowError: The tile is too small, or the device or the backend cannot be used here.

    Attributes:
        model, computing: As given.
        tile: Pixels of the photograph, each way, that are computed at once.
    """

    def __init__(self, model: Model, computing: Computing = DEFAULT) -> None:
        self.model, self.computing = model, computing
        self.tile = TILE if computing.tile is None else computing.tile
        # Of a tile of any factor there must be a cell that is kept.
        least = max((2 * -(-model.halo // side) + 1) * side for side in map(cell, FACTORS))
        if self.tile < least:
            raise BDFlowError(
                f"a tile of {self.tile} pixels is too small for model {model.name}: take {least} or more"
            )
        self._sessions = Sessions(model, computing)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process loads the model anew."""
        return Enhancer, (self.model, self.computing)

    def restore(self, small: Thumbnail, *, sigma: float = 0.0, seed: int | None = None) -> Image.Image:
        """The photograph, at exactly its size; gray where the thumbnail is, and with its transparency.

        Raises:
            BDFlowError: As `restore_strips`.
        """
        return self.restore_strips(small, sigma=sigma, seed=seed).to_pil()

    def restore_strips(self, small: Thumbnail, *, sigma: float = 0.0, seed: int | None = None) -> Strips:
        """`restore`, one row of tiles at a time, so that memory does not hold the whole picture.

        Raises:
            BDFlowError: `sigma` is above 0: a thumbnail has no latent Z.
        """
        if sigma:
            raise BDFlowError("a thumbnail has no latent Z to draw: leave out --sigma")
        return self._whole(small).turned(small.image.orientation)

    def rgb(self, small: Thumbnail) -> Array:
        """The photograph's colours, uint8 (H, W, 3)."""
        return self._whole(small).rgb()

    def rgb_strips(self, small: Thumbnail) -> Iterator[Array]:
        """`rgb` in strips, from the top, uint8 (rows, W, 3), so that memory does not hold the whole."""
        for strip in self._strips(small):
            yield strip[..., :1].repeat(3, axis=2) if small.gray else strip[..., :3]

    def part(self, small: Thumbnail, rows: slice, columns: slice) -> Array:
        """A part of the restored colours, computed alone, and therefore rough near its edges.

        Args:
            small: The thumbnail.
            rows, columns: Of the photograph, from and to multiples of `cell(small.factor)`, and within it.

        Returns:
            uint8 (rows, columns, 3).
        """
        pixels = self._pixels(small, Image.fromarray(small.image.rgb), rows, columns)
        return _as_gray(pixels).repeat(3, axis=2) if small.gray else pixels

    def _whole(self, small: Thumbnail) -> Strips:
        """The photograph as it was stored, perhaps not upright."""
        mode = ("L" if small.gray else "RGB") + "A" * (small.image.alpha is not None)
        icc = fitting_profile(small.image.icc, small.gray)
        return Strips(small.size, mode, icc, self._strips(small), small.image.metadata)

    def _strips(self, small: Thumbnail) -> Iterator[Array]:
        """Strips of the restored picture, (rows, W, 1 to 4)."""
        (width, height), side = small.size, cell(small.factor)
        grid = -(-height // side), -(-width // side)
        halo = 0 if small.domain == "plain" else -(-self.model.halo // side)
        down, across = cut(*grid, self.tile // side, halo)
        colours = Image.fromarray(small.image.rgb)
        alpha = None if small.image.alpha is None else Image.fromarray(small.image.alpha)
        for rows in down:
            strip = np.empty(((rows.kept.stop - rows.kept.start) * side, grid[1] * side, 3), np.uint8)
            for columns in across:
                seen = times(rows.seen, side), times(columns.seen, side)
                pixels = self._pixels(small, colours, *seen)
                inner = times(rows.inner, side), times(columns.inner, side)
                strip[:, times(columns.kept, side)] = pixels[inner]
            kept = strip[: height - rows.kept.start * side, :width]
            if small.gray:
                kept = _as_gray(kept)
            if alpha is not None:
                opacity = enlarged(alpha, small.factor, times(rows.kept, side), slice(0, grid[1] * side))
                kept = np.dstack([kept, opacity[: len(kept), :width]])
            yield kept

    def _pixels(self, small: Thumbnail, colours: Image.Image, rows: slice, columns: slice) -> Array:
        """Some rows and columns of the enlarged colours, as the network makes them of no more than these."""
        pixels: Array = enlarged(colours, small.factor, rows, columns)
        if small.domain == "plain":
            return pixels
        plain = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        restored: Array = self._loaded()({"plain": plain, "known": describe(small)})[0][0]
        return restored.transpose(1, 2, 0)

    def _loaded(self) -> Session:
        return self._sessions("up")


def _as_gray(rgb: Array) -> Array:
    """Colours (H, W, 3) to gray (H, W, 1)."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("L"))[..., None]


def cell(factor: float) -> int:
    """The side, in pixels, that sides of tiles are multiples of, so that tiles fit the whole picture."""
    return math.lcm(_GRID, multiples(factor)[0])


def describe(small: Thumbnail) -> NDArray[np.float32]:
    """The numbers that a network gets with a thumbnail, (1, 9).

    The codec (one of three is 1; none where it is not known); the factor, by its logarithm (0 of 1, 1 of 16);
    the quality over 100, its square, and whether it is known; the domain (portraits, photos).
    """
    quality = small.quality
    measured = (0.0, 0.0, 0.0) if quality is None else (quality / 100, (quality / 100) ** 2, 1.0)
    codec = [float(small.format == name) for name in FORMATS]
    domain = [float(small.domain == name) for name in ("portraits", "photos")]
    return np.array([[*codec, math.log2(small.factor) / 4, *measured, *domain]], np.float32)


def enlarged(image: Image.Image, factor: float, rows: slice, columns: slice) -> NDArray[Any]:
    """Some rows and columns of a thumbnail's enlargement by Lanczos, the same however it is cut into parts.

    Each row is enlarged and rounded to 8 bits, then each column of that.

    Args:
        image: A thumbnail, mode RGB or L.
        factor: How many times larger.
        rows, columns: Of the enlargement, from multiples of the factor's numerator on; beyond the thumbnail's
            end its edge is repeated.

    Returns:
        uint8 (rows, columns[, 3]).
    """
    size = int(image.width * factor), int(image.height * factor)
    right, bottom = min(columns.stop, size[0]), min(rows.stop, size[1])
    left, upper, right_end, lower = (
        int(edge / factor) for edge in (columns.start, rows.start, right, bottom)
    )
    if factor == 1:
        part = np.asarray(image.crop((left, upper, right_end, lower)))
    else:
        # Pillow goes along rows or columns first as it pleases for a size, and rounds between: here rows are.
        first, last = max(0, upper - _SUPPORT), min(image.height, lower + _SUPPORT)
        wide = image.crop((0, first, image.width, last)).resize(
            (right - columns.start, last - first), _LANCZOS, box=(left, 0, right_end, last - first)
        )
        box = (0, upper - first, wide.width, lower - first)
        part = np.asarray(wide.resize((wide.width, bottom - rows.start), _LANCZOS, box=box))
    missing = (0, rows.stop - bottom), (0, columns.stop - right)
    return np.pad(part, [*missing, (0, 0)][: part.ndim], mode="edge") if any(map(any, missing)) else part


def shrunk(picture: Picture, factor: float) -> Picture:
    """The thumbnail's pixels, before they are coded: by Lanczos, antialiased.

    A side that is no multiple of the factor goes on with its last row or column; see
    `bdflow.smallfile.thumbnail.grid`.
    """
    if factor == 1:
        return picture
    large, small = multiples(factor)
    whole = continued(picture, large)
    size = whole.width // large * small, whole.height // large * small

    def down(samples: Array) -> Array:
        return np.array(Image.fromarray(samples).resize(size, Image.Resampling.LANCZOS))

    alpha = None if whole.alpha is None else down(whole.alpha)
    return Picture(down(whole.rgb), alpha, picture.gray, picture.icc)


def continued(picture: Picture, multiple: int) -> Picture:
    """A picture whose sides are multiples of a number: it goes on with its last column and row."""
    missing = (0, -picture.height % multiple), (0, -picture.width % multiple)
    if not any(map(any, missing)):
        return picture
    alpha = None if picture.alpha is None else np.pad(picture.alpha, missing, mode="edge")
    return replace(picture, rgb=np.pad(picture.rgb, (*missing, (0, 0)), mode="edge"), alpha=alpha)
