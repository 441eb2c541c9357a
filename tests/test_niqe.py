"""NIQE: its parts against SciPy and Pillow, the whole against its authors' figure where their model is."""

import os
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy.stats import gennorm

from bdflow.errors import BDFlowError
from bdflow.evaluation.measure import Learned, Scorer
from bdflow.quality import niqe
from bdflow.quality.metrics import luma

PHOTO = skimage.data.astronaut()
DATA = os.environ.get("BDFLOW_DATA")


@pytest.mark.parametrize("shape", [0.7, 1.0, 2.0, 4.0])
def test_the_fit_finds_the_shape_and_the_scale_of_its_samples(shape):
    samples = gennorm.rvs(shape, scale=0.8, size=200_000, random_state=0)
    found, left, right = niqe._asymmetric_gaussian(samples)
    assert found == pytest.approx(shape, rel=0.03)
    assert (left, right) == pytest.approx((0.8, 0.8), rel=0.03)


def test_the_fit_tells_left_from_right():
    samples = np.abs(gennorm.rvs(2.0, size=200_000, random_state=0))
    samples[::2] *= -3
    _, left, right = niqe._asymmetric_gaussian(samples)
    assert left == pytest.approx(3 * right, rel=0.03)


def test_half_size_is_antialiased_bicubic():
    plane = luma(PHOTO)
    plain = Image.fromarray(plane.astype(np.float32)).resize((256, 256), Image.Resampling.BICUBIC)
    inside = slice(4, -4)  # Pillow treats borders otherwise
    halved = niqe._halved(niqe._halved(plane).T).T
    np.testing.assert_allclose(halved[inside, inside], np.asarray(plain)[inside, inside], atol=1e-3)


@pytest.fixture
def own_model(tmp_path) -> Path:
    """A model of one photograph."""
    found = niqe._features(luma(PHOTO).round())
    (tmp_path / "metrics").mkdir()
    mean, covariance = found.mean(0, keepdims=True), np.cov(found, rowvar=False)
    np.savez(tmp_path / "metrics" / niqe.FILE, mu_pris_param=mean, cov_pris_param=covariance)
    return tmp_path


def test_a_picture_is_at_distance_zero_from_its_own_model_and_its_ruins_are_not(own_model):
    metric = niqe.load(own_model)
    assert metric(PHOTO) < 1e-6
    noise = np.random.default_rng(0).normal(0, 20, PHOTO.shape)
    noisy = (PHOTO + noise).clip(0, 255).astype(np.uint8)
    small = Image.fromarray(PHOTO).resize((128, 128), Image.Resampling.BICUBIC)
    blurred = np.asarray(small.resize((512, 512), Image.Resampling.BICUBIC))
    assert metric(noisy) > 1
    assert metric(blurred) > 1


def test_flat_blocks_are_left_out(own_model):
    flat = PHOTO.copy()
    flat[:96, :96] = 0
    assert np.isfinite(niqe.load(own_model)(flat))


def test_a_flat_picture_has_none_and_its_other_figures_stand(own_model):
    flat = np.full((200, 200, 3), 128, np.uint8)
    metric = niqe.load(own_model)
    assert np.isnan(metric(flat))
    values = Scorer(learned={"niqe": Learned(lambda true, restored: metric(restored), niqe.LEAST)})
    assert values.quality(flat, flat).keys() == {"psnr_y", "psnr_rgb", "ssim_y"}


def test_no_model_is_one_line_that_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.delenv("BDFLOW_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(BDFlowError, match=rf"^{niqe.FILE} not found: `make metrics` .* \S*checkpoints$"):
        niqe.load()


def test_the_authors_figure():
    """5.72957 is what their MATLAB code gives for Set14's baboon (recorded in BasicSR's source)."""
    photo = Path(DATA or ".") / "photos" / "set14" / "001.webp"
    if not (DATA and photo.is_file()):
        pytest.skip("Set14 is needed: set BDFLOW_DATA to the folder that holds photos/")
    try:
        metric = niqe.load()
    except BDFlowError as error:
        pytest.skip(str(error))
    assert metric(np.asarray(Image.open(photo).convert("RGB"))) == pytest.approx(5.72957, abs=1e-3)
