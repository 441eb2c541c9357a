"""PSNR and SSIM between two 8-bit pictures, on RGB or on luma ("Y"), in numpy alone.

Every function works through bands of rows: 12 megapixels (4000×3000) need under 10 MB beside the pictures,
and about a second for SSIM.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bdflow.pictures.picture import RGB

__all__ = ["MAX_PSNR", "SSIM_WINDOW", "SquaredErrors", "luma", "psnr", "psnr_y", "ssim", "ssim_y"]

Plane: TypeAlias = NDArray[np.float64]

_PEAK = 255.0
_BAND_ROWS = 16  # so few that the planes of a band stay in the processor's cache: twice as fast as 64

_RADIUS, _SIGMA = 5, 1.5  # the 11x11 window of Wang et al.
SSIM_WINDOW = 2 * _RADIUS + 1
"""Pixels of the window of SSIM; no side may be shorter."""

MAX_PSNR = 100.0
"""dB of identical pictures: JSON has no infinity, and a mean no use for one."""

_WEIGHTS = np.exp(-0.5 * (np.arange(_RADIUS + 1) / _SIGMA) ** 2)  # from the middle outwards
_WEIGHTS /= _WEIGHTS[0] + 2 * _WEIGHTS[1:].sum()
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


def luma(rgb: RGB) -> Plane:
    """BT.601 studio-range luma, unrounded: the "Y channel" of the super-resolution and rescaling papers.

    Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255, as MATLAB's `rgb2ycbcr` has it for real-valued pictures.

    Args:
        rgb: uint8, (H, W, 3).

    Returns:
        float64, (H, W), in 16..235.

    Raises:
        ValueError: `rgb` is not a uint8 picture (H, W, 3).
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"expected a uint8 picture (H, W, 3), got {rgb.dtype} {rgb.shape}")
    red, green, blue = np.moveaxis(rgb, 2, 0)
    return np.asarray(16.0 + red * (65.481 / 255) + green * (128.553 / 255) + blue * (24.966 / 255))


def psnr(a: RGB, b: RGB, *, crop: int = 0) -> float:
    """Peak signal-to-noise ratio in decibels, 10 log10(255² / MSE), over all samples of all channels.

    Args:
        a: uint8, (H, W) or (H, W, C).
        b: uint8, the same shape.
        crop: pixels left out along each of the four borders.

    Returns:
        The ratio; infinity for identical pictures.

    Raises:
        ValueError: the shapes differ, a picture is not uint8, or `crop` leaves nothing.
    """
    a, b = _checked(a, b, crop)
    return _decibels(_squares(a, b) / a.size)


def psnr_y(a: RGB, b: RGB, *, crop: int = 0) -> float:
    """`psnr` on unrounded `luma`, with the peak at 255 as the field has it (luma itself spans 219).

    Args:
        a: uint8, (H, W, 3).
        b: uint8, the same shape.
        crop: pixels left out along each of the four borders.

    Returns:
        The ratio in decibels; infinity where the lumas are identical.

    Raises:
        ValueError: the shapes differ, a picture is not uint8 (H, W, 3), or `crop` leaves nothing.
    """
    a, b = _checked(a, b, crop)
    return _decibels(_luma_squares(a, b) / (a.shape[0] * a.shape[1]))


@dataclass
class SquaredErrors:
    """`psnr` and `psnr_y` of pictures that come in parts.

    Attributes:
        samples: The sum over all samples of the three channels.
        luma: The sum over all pixels, of `luma`.
        pixels: How many there were.
    """

    samples: int = 0
    luma: float = 0.0
    pixels: int = 0

    def add(self, a: RGB, b: RGB) -> None:
        """Take in one more part of both pictures.

        Raises:
            ValueError: As `psnr_y`.
        """
        a, b = _checked(a, b, 0)
        self.samples += _squares(a, b)
        self.luma += _luma_squares(a, b)
        self.pixels += a.shape[0] * a.shape[1]

    @property
    def psnr(self) -> float:
        """Of all parts together."""
        return _decibels(self.samples / (3 * self.pixels))

    @property
    def psnr_y(self) -> float:
        """Of all parts together."""
        return _decibels(self.luma / self.pixels)


def ssim(a: RGB, b: RGB) -> float:
    """Structural similarity (Wang, Bovik, Sheikh and Simoncelli, 2004), the mean over channels.

    An 11×11 Gaussian window (sigma 1.5), K1 = 0.01, K2 = 0.03, range 255, population moments, and only the
    windows that lie wholly inside the picture, as in the authors' code; its shrinking of large pictures to
    about 256 pixels is left out, as is usual in this field.

    Args:
        a: uint8, (H, W) or (H, W, C), both sides at least 11.
        b: uint8, the same shape.

    Returns:
        The mean over all windows and channels, in -1..1; 1 for identical pictures.

    Raises:
        ValueError: the shapes differ, a picture is not uint8, or a side is below 11 pixels: no window
            fits, and a figure from a smaller or a padded window could not be set beside any other.
    """
    a, b = _checked(a, b, 0)
    if a.ndim == 2:
        a, b = a[:, :, None], b[:, :, None]
    _check_window_fits(a)
    channels = range(a.shape[2])
    total = math.fsum(
        _ssim_sum(x[:, :, c], y[:, :, c]) for x, y in _bands(a, b, 2 * _RADIUS) for c in channels
    )
    return total / (_windows(a) * int(a.shape[2]))


def ssim_y(a: RGB, b: RGB) -> float:
    """`ssim` on unrounded `luma`, with the range at 255 as the field has it.

    Args:
        a: uint8, (H, W, 3), both sides at least 11.
        b: uint8, the same shape.

    Returns:
        The mean over all windows, in -1..1; 1 for identical pictures.

    Raises:
        ValueError: the shapes differ, a picture is not uint8 (H, W, 3), or a side is below 11 pixels.
    """
    a, b = _checked(a, b, 0)
    _check_window_fits(a)
    total = math.fsum(_ssim_sum(luma(x), luma(y)) for x, y in _bands(a, b, 2 * _RADIUS))
    return total / _windows(a)


def _checked(a: RGB, b: RGB, crop: int) -> tuple[RGB, RGB]:
    if a.shape != b.shape:
        raise ValueError(f"the pictures differ in shape: {a.shape} and {b.shape}")
    if a.dtype != np.uint8 or b.dtype != np.uint8 or a.ndim not in (2, 3):
        raise ValueError(
            f"expected uint8 pictures (H, W) or (H, W, C), got {a.dtype} and {b.dtype}, {a.shape}"
        )
    height, width = a.shape[:2]
    if crop < 0 or 2 * crop >= min(height, width):
        raise ValueError(f"a crop of {crop} does not fit a picture of {height}x{width}")
    inside = slice(crop, height - crop), slice(crop, width - crop)
    return a[inside], b[inside]


def _squares(a: RGB, b: RGB) -> int:
    # int64 sums of uint8 squares cannot overflow, so the result does not depend on the bands
    return sum(int(np.square(x.astype(np.int32) - y).sum(dtype=np.int64)) for x, y in _bands(a, b))


def _luma_squares(a: RGB, b: RGB) -> float:
    return math.fsum(float(np.square(luma(x) - luma(y)).sum()) for x, y in _bands(a, b))


def _bands(a: RGB, b: RGB, overlap: int = 0) -> Iterator[tuple[RGB, RGB]]:
    for top in range(0, a.shape[0] - overlap, _BAND_ROWS):
        rows = slice(top, top + _BAND_ROWS + overlap)
        yield a[rows], b[rows]


def _decibels(mean_square: float) -> float:
    return 10 * math.log10(_PEAK**2 / mean_square) if mean_square else math.inf


def _check_window_fits(a: RGB) -> None:
    if min(a.shape[:2]) <= 2 * _RADIUS:
        raise ValueError(f"SSIM needs at least 11x11 pixels, got {a.shape[0]}x{a.shape[1]}")


def _windows(a: RGB) -> int:
    height, width = a.shape[:2]
    return int((height - 2 * _RADIUS) * (width - 2 * _RADIUS))


def _ssim_sum(a: RGB | Plane, b: RGB | Plane) -> float:
    """The sum, over all windows inside two (H, W) planes, of Wang et al.'s equation 13."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    mean_product, mean_squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = _blur(x * y) - mean_product
    variances = _blur(x**2 + y**2) - mean_squares  # only their sum is ever needed
    quality = (2 * mean_product + _C1) * (2 * covariance + _C2)
    quality /= (mean_squares + _C1) * (variances + _C2)
    return float(quality.sum())


def _blur(plane: Plane) -> Plane:
    """Gaussian means over the 11×11 windows inside (H, W), as (H - 10, W - 10)."""
    return _blur_columns(_blur_columns(plane).T).T


def _blur_columns(plane: Plane) -> Plane:
    rows = plane.shape[0] - 2 * _RADIUS
    blurred = _WEIGHTS[0] * plane[_RADIUS : _RADIUS + rows]
    for offset in range(1, _RADIUS + 1):  # the window is symmetric: rows pair up around its middle
        above, below = _RADIUS - offset, _RADIUS + offset
        blurred += _WEIGHTS[offset] * (plane[above : above + rows] + plane[below : below + rows])
    return np.asarray(blurred)
