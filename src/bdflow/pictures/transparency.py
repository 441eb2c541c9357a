"""Colours under transparent pixels: nobody sees them, but whatever shrinks a picture would mix them in."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bdflow.pictures.reader import Array, Picture

_CELL = 4  # pixels of a side of what gets one colour
_BAND = 1 << 20  # pixels at a time
_SOLID = 16  # the alpha from which a pixel keeps all of its own colour

_Floats = NDArray[np.float32]


def spread(picture: Picture) -> Picture:
    """A picture whose visible colours go on under its transparent pixels.

    Shrunk and enlarged with its alpha apart, it then has no fringes of colours that nobody saw. A pixel
    of an alpha below 16 keeps as much of its own colour as its alpha is of 16.
    """
    if picture.alpha is None or picture.alpha.min() >= _SOLID or picture.alpha.max() == 0:
        return picture
    colours = _everywhere(*_cells(picture.rgb, picture.alpha))
    beneath = Image.fromarray(np.rint(colours).astype(np.uint8))
    rgb = np.empty_like(picture.rgb)
    rows = _rows(picture.width)
    for top in range(0, picture.height, rows):
        part = slice(top, min(picture.height, top + rows))
        box = (0, top / _CELL, picture.width / _CELL, part.stop / _CELL)
        size = picture.width, part.stop - top
        under = np.asarray(beneath.resize(size, Image.Resampling.BILINEAR, box=box), np.uint16)
        own = np.minimum(picture.alpha[part], _SOLID)[..., None].astype(np.uint16)
        rgb[part] = (picture.rgb[part] * own + under * (_SOLID - own) + _SOLID // 2) // _SOLID
    return replace(picture, rgb=rgb)


def _rows(width: int) -> int:
    """How many are worked on at a time: those of whole cells."""
    return max(1, _BAND // width // _CELL) * _CELL


def _cells(rgb: Array, alpha: Array) -> tuple[_Floats, _Floats]:
    """Of each cell the colours, weighted by alpha and added up, and the sum of weights."""
    height, width = alpha.shape
    weights = np.zeros((-(-height // _CELL), -(-width // _CELL), 1), np.float32)
    sums = np.zeros((*weights.shape[:2], 3), np.float32)
    missing = -width % _CELL
    rows = _rows(width)
    for top in range(0, height, rows):
        past = ((0, -len(alpha[top : top + rows]) % _CELL), (0, missing), (0, 0))
        weight = np.pad(alpha[top : top + rows, :, None].astype(np.float32), past)
        colour = np.pad(rgb[top : top + rows].astype(np.float32), past) * weight
        cells = slice(top // _CELL, top // _CELL + len(weight) // _CELL)
        weights[cells], sums[cells] = _added(weight, _CELL), _added(colour, _CELL)
    return sums, weights


def _added(values: _Floats, side: int) -> _Floats:
    """Sums over squares of a grid (height, width, channels); it goes on with zeros."""
    values = np.pad(values, ((0, -values.shape[0] % side), (0, -values.shape[1] % side), (0, 0)))
    height, width, channels = values.shape
    squares = values.reshape(height // side, side, width // side, side, channels)
    sums: _Floats = squares.sum(axis=(1, 3), dtype=np.float32)
    return sums


def _everywhere(sums: _Floats, weights: _Floats) -> _Floats:
    """A colour for every cell: its own, or that of the smallest square around it that has one."""
    own = (sums / np.maximum(weights, 1)).astype(np.float32)
    if weights.all():
        return own
    coarse = _everywhere(_added(sums, 2), _added(weights, 2))
    around = coarse.repeat(2, axis=0).repeat(2, axis=1)[: own.shape[0], : own.shape[1]]
    everywhere: _Floats = np.where(weights > 0, own, around)
    return everywhere
