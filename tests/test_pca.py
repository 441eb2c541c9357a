"""PCA on aligned portraits: the nearest plane, a byte for each component, no pickle."""

import numpy as np
import pytest

from bdflow import BDFlowError
from bdflow.methods import pca
from bdflow.quality.metrics import psnr

SIDE = 8


def portraits(count: int, seed: int = 0, spread: float = 12.0) -> list[np.ndarray]:
    """Pictures on a plane of three dimensions about a mean, to within rounding."""
    plane = np.random.default_rng(7).standard_normal((3, SIDE, SIDE, 3)) * spread
    weights = np.random.default_rng(seed).uniform(-1, 1, (count, 3))
    return list((128 + np.einsum("nk,khwc->nhwc", weights, plane)).round().clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def fitted() -> pca.PCA:
    return pca.fit(portraits(40), 3, SIDE)


def test_what_lies_on_the_plane_comes_back(fitted):
    for rgb in portraits(5, seed=1):
        data = fitted.encode(rgb)
        assert len(data) == 4 + 3
        assert psnr(rgb, fitted.decode(data)) > 45
    outside = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    assert psnr(outside, fitted.decode(fitted.encode(outside))) < 20


def test_the_basis_is_that_of_the_covariance(fitted):
    """An oracle: eigenvectors of the covariance matrix, up to their sign."""
    x = np.stack(portraits(40)).reshape(40, -1).astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    np.testing.assert_allclose(np.abs((fitted.basis @ vectors[:, ::-1][:, :3]).diagonal()), 1, atol=1e-4)
    np.testing.assert_allclose(fitted.basis @ fitted.basis.T, np.eye(3), atol=1e-5)
    np.testing.assert_allclose(fitted.mean, x.mean(axis=0), atol=1e-4)
    assert (np.diff((x - x.mean(axis=0)) @ fitted.basis.T @ np.eye(3), axis=0).shape) == (39, 3)
    spreads = ((x - x.mean(axis=0)) @ fitted.basis.T).var(axis=0)
    np.testing.assert_allclose(spreads, values[::-1][:3], rtol=1e-4)


def test_codes_use_the_range_of_the_fitted_portraits(fitted):
    codes = np.array([list(fitted.encode(rgb)[4:]) for rgb in portraits(40)])
    assert (codes.min(axis=0) == 0).all()
    assert (codes.max(axis=0) == 255).all()
    far = (128 + (portraits(1, seed=3, spread=60.0)[0].astype(int) - 128)).astype(np.uint8)
    assert set(fitted.encode(far)[4:]) & {0, 255}  # beyond it they are clipped, not wrapped


@pytest.mark.parametrize("size", [(16, 16), (5, 9), (1, 1), (300, 40)])
def test_any_size_comes_back(fitted, size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert fitted.decode(fitted.encode(rgb)).shape == rgb.shape


@pytest.mark.parametrize("data", [b"", b"\0\1", b"\0\1\0\1\7\7", b"\0\0\0\1\7\7\7", b"\0\1\0\1\7\7\7\7"])
def test_other_bytes_are_refused(fitted, data):
    with pytest.raises(BDFlowError, match="not a portrait in 3 components"):
        fitted.decode(data)


def test_a_side_that_two_bytes_cannot_hold(fitted):
    with pytest.raises(BDFlowError, match="65536x1 pixels are too many"):
        fitted.encode(np.zeros((1, 65536, 3), np.uint8))
