"""NIQE (Mittal, Soundararajan, Bovik, 2013): how far a picture is from natural ones, whatever the true one.

The authors' model of pristine pictures, 36 features on blocks of 96 pixels, is a file: `make metrics`.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import gamma

from bdflow.quality.metrics import luma
from bdflow.quality.weights import find

__all__ = ["FILE", "LEAST", "load"]

FILE = "niqe_pris_params.npz"
_BLOCK = 96
LEAST = 2 * _BLOCK  # pixels of a side: a covariance needs several blocks

Plane: TypeAlias = NDArray[np.float64]

_WINDOW = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
_WINDOW /= _WINDOW.sum()
_HALF = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256  # MATLAB's antialiased bicubic at one half
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


def load(data: Path | None = None) -> Callable[[NDArray[np.uint8]], float]:
    """The metric, with the authors' model from `data`, `$BDFLOW_DATA` or the torch cache.

    Returns:
        What takes a picture, uint8 (H, W, 3), sides from `LEAST` on, and gives its distance from natural
        pictures on luma: 0 is natural, 3 usual for a photograph. Only whole blocks of 96 pixels count;
        NaN where fewer than two of them are not flat.

    Raises:
        BDFlowError: The model is in none of these places.
    """
    with np.load(find(FILE, data), allow_pickle=False) as model:
        mean, covariance = model["mu_pris_param"].ravel(), model["cov_pris_param"]

    def niqe(rgb: NDArray[np.uint8]) -> float:
        features = _features(luma(rgb).round())  # rounded as in the authors' code
        whole = features[~np.isnan(features).any(axis=1)]  # a flat block has no shape
        if len(whole) < 2:
            return float("nan")
        away = mean - np.nanmean(features, axis=0)
        between = np.linalg.pinv((covariance + np.cov(whole, rowvar=False)) / 2)
        return float(np.sqrt(away @ between @ away))  # equation 10

    return niqe


def _features(plane: Plane) -> Plane:
    """Of every block 18 features at full size and 18 at half size, (blocks, 36)."""
    rows, columns = (side // _BLOCK for side in plane.shape)
    plane = plane[: rows * _BLOCK, : columns * _BLOCK]
    of_scales = []
    for side in (_BLOCK, _BLOCK // 2):
        mean = _blur(plane)
        deviation = np.sqrt(np.abs(_blur(plane * plane) - mean * mean))
        normal = (plane - mean) / (deviation + 1)  # equation 1
        blocks = normal.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
        of_scales.append([_block_features(block) for block in blocks])
        plane = _halved(_halved(plane).T).T
    return np.concatenate(of_scales, axis=1)


def _block_features(block: Plane) -> list[float]:
    shape, left, right = _asymmetric_gaussian(block)
    features = [shape, (left + right) / 2]
    for shift in _NEIGHBOURS:
        shape, left, right = _asymmetric_gaussian(block * np.roll(block, shift, axis=(0, 1)))
        mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)  # equation 8
        features += [shape, mean, left, right]
    return features


def _asymmetric_gaussian(samples: Plane) -> tuple[float, float, float]:
    """Shape, left and right scale of the generalised Gaussian that fits by its moments (equation 7)."""
    below, above = samples[samples < 0], samples[samples > 0]
    if not (below.size and above.size):
        return np.nan, np.nan, np.nan
    left, right = np.sqrt(np.mean(below**2)), np.sqrt(np.mean(above**2))
    skew = left / right
    ratio = np.mean(np.abs(samples)) ** 2 / np.mean(samples**2)
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes, ratios = _shapes()
    shape = shapes[np.argmin((ratios - ratio) ** 2)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return float(shape), float(left * scale), float(right * scale)


@cache
def _shapes() -> tuple[Plane, Plane]:
    """The shapes that are tried, and the ratio of moments that each has."""
    shapes = np.arange(0.2, 10.001, 0.001)
    return shapes, gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))


def _blur(plane: Plane) -> Plane:
    rows = correlate1d(plane, _WINDOW, axis=0, mode="nearest")
    return np.asarray(correlate1d(rows, _WINDOW, axis=1, mode="nearest"))


def _halved(plane: Plane) -> Plane:
    """Half the rows; borders reflected."""
    return np.asarray(correlate1d(plane, _HALF, axis=0, mode="reflect", origin=-1)[::2])
