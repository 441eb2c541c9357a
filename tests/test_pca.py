"""PCA on aligned portraits: the nearest plane, a byte for each component, no pickle."""

import numpy as np
import pytest
from PIL import Image

from bdflow import BDFlowError
from bdflow.metrics import psnr
from bdflow.train import pca

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


def test_a_file_holds_all_and_nothing_else(fitted, tmp_path):
    path = tmp_path / "portraits.npz"
    fitted.save(path)
    loaded = pca.load(path)
    assert loaded.side == SIDE
    rgb = portraits(1, seed=4)[0]
    assert loaded.encode(rgb) == fitted.encode(rgb)
    np.testing.assert_array_equal(loaded.decode(loaded.encode(rgb)), fitted.decode(fitted.encode(rgb)))


def test_other_files_are_refused(fitted, tmp_path):
    pickled, short, other = (tmp_path / name for name in ("pickled.npz", "short.npz", "other.npz"))
    arrays = {name: getattr(fitted, name) for name in ("mean", "basis", "low", "high")}
    np.savez(pickled, **arrays | {"low": np.array([print], dtype=object)})
    np.savez(short, **arrays | {"low": fitted.low[:2]})
    np.savez(other, **arrays | {"mean": fitted.mean.astype(np.float64)})
    (tmp_path / "text.npz").write_text("no arrays")
    for path in (pickled, short, other, tmp_path / "text.npz"):
        with pytest.raises(BDFlowError, match=rf"{path.name}: not a PCA that bdflow saved"):
            pca.load(path)
    with pytest.raises(BDFlowError, match=r"none.npz: no such file"):
        pca.load(tmp_path / "none.npz")


@pytest.mark.parametrize("data", [b"", b"\0\1", b"\0\1\0\1\7\7", b"\0\0\0\1\7\7\7", b"\0\1\0\1\7\7\7\7"])
def test_other_bytes_are_refused(fitted, data):
    with pytest.raises(BDFlowError, match="not a portrait in 3 components"):
        fitted.decode(data)


def test_a_side_that_two_bytes_cannot_hold(fitted):
    with pytest.raises(BDFlowError, match="65536x1 pixels are too many"):
        fitted.encode(np.zeros((1, 65536, 3), np.uint8))


def test_folders_are_fitted(tmp_path):
    for i, rgb in enumerate(portraits(6)):
        (tmp_path / "deeper").mkdir(exist_ok=True)
        Image.fromarray(rgb).save(tmp_path / ("deeper" if i % 2 else ".") / f"{i}.png")
    found = pca.fit_folders([tmp_path], 2, SIDE)
    np.testing.assert_allclose(found.mean, np.mean(portraits(6), axis=0).reshape(-1), atol=1e-3)
    with pytest.raises(BDFlowError, match="6 pictures give 1 to 5 components, not 6"):
        pca.fit_folders([tmp_path], 6, SIDE)
    with pytest.raises(BDFlowError, match="missing: not a folder"):
        pca.fit_folders([tmp_path / "missing"], 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BDFlowError, match="no pictures"):
        pca.fit_folders([tmp_path / "empty"], 2)
