"""PSNR, SSIM and luma against torchmetrics and scikit-image."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from bdflow.evaluation.measure import learned
from bdflow.quality.metrics import luma, psnr, psnr_y, ssim, ssim_y

Picture = NDArray[np.uint8]


def noisy_pair(height: int, width: int, channels: int = 3, seed: int = 0) -> tuple[Picture, Picture]:
    """A smooth picture and the same with noise, both using most of 0..255."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack(
        [np.sin(rows / (5 + c)) + np.cos(columns / (7 + 2 * c)) for c in range(channels)], axis=2
    )
    clean = np.clip(128 + 60 * waves, 0, 255)
    return clean.astype(np.uint8), np.clip(clean + rng.normal(0, 15, clean.shape), 0, 255).astype(np.uint8)


def as_tensor(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float64)).permute(2, 0, 1)[None]


# Heights around whole bands of 16 rows, with and without SSIM's overlap of 10: seams would show.
SIZES = [(11, 11), (11, 40), (15, 20), (16, 20), (17, 20), (26, 31), (27, 31), (48, 20), (58, 20), (200, 150)]


def test_luma_is_the_studio_range_y_of_ycbcr():
    picture = noisy_pair(40, 30)[1]
    np.testing.assert_allclose(luma(picture), rgb2ycbcr(picture)[:, :, 0], rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("colour", "expected"), [((0, 0, 0), 16.0), ((255, 255, 255), 235.0), ((255, 0, 0), 81.481)]
)
def test_luma_of_known_colours(colour, expected):
    assert luma(np.array([[colour]], np.uint8)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_psnr_is_that_of_torchmetrics(size):
    a, b = noisy_pair(*size)
    oracle = peak_signal_noise_ratio(as_tensor(b), as_tensor(a), data_range=255.0).item()
    assert psnr(a, b) == pytest.approx(oracle, abs=1e-5)  # it takes the logarithm in float32


def test_psnr_y_is_psnr_between_unrounded_lumas():
    a, b = noisy_pair(150, 70)
    y_a, y_b = (rgb2ycbcr(p)[:, :, 0] for p in (a, b))
    assert psnr_y(a, b) == pytest.approx(10 * math.log10(255**2 / np.mean((y_a - y_b) ** 2)), abs=1e-10)


def test_psnr_of_a_known_difference():
    a = np.full((100, 3, 3), 7, np.uint8)
    b = a.copy()
    b[99, 2, 1] = 37  # 30² / 900 samples = 1
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2), abs=1e-12)
    assert psnr(b, a) == psnr(a, b)  # uint8 must not wrap around


@pytest.mark.parametrize("metric", [psnr, psnr_y])
def test_crop_leaves_the_borders_out(metric):
    a, b = noisy_pair(80, 50)
    assert metric(a, b, crop=4) == metric(a[4:-4, 4:-4], b[4:-4, 4:-4]) != metric(a, b)
    frame = b.copy()
    frame[4:-4, 4:-4] = a[4:-4, 4:-4]
    assert metric(a, frame, crop=4) == math.inf > metric(a, frame, crop=3)


@pytest.mark.parametrize("metric", [psnr, psnr_y])
@pytest.mark.parametrize("crop", [-1, 5, 100])
def test_a_crop_that_leaves_nothing_is_an_error(metric, crop):
    a, b = noisy_pair(10, 30)
    with pytest.raises(ValueError, match="crop"):
        metric(a, b, crop=crop)


@pytest.mark.parametrize("size", SIZES)
def test_ssim_is_that_of_scikit_image(size):
    a, b = noisy_pair(*size)
    # it pads before filtering and then leaves 5 pixels of each border out: the windows inside, as here
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    oracle = structural_similarity(a, b, data_range=255, channel_axis=2, **options)
    assert ssim(a, b) == pytest.approx(oracle, abs=1e-10)


def torchmetrics_ssim(a: torch.Tensor, b: torch.Tensor) -> float:
    """Its mean takes in windows over a mirrored border; its map less 5 pixels of border has those inside."""
    _, quality = structural_similarity_index_measure(b, a, data_range=255.0, return_full_image=True)
    return quality[..., 5:-5, 5:-5].mean().item()


@pytest.mark.parametrize("size", [(11, 11), (27, 31), (200, 150)])
def test_ssim_is_that_of_torchmetrics(size):
    a, b = noisy_pair(*size)
    assert ssim(a, b) == pytest.approx(torchmetrics_ssim(as_tensor(a), as_tensor(b)), abs=1e-10)


def test_ssim_y_is_ssim_between_unrounded_lumas():
    a, b = noisy_pair(150, 70)
    y_a, y_b = (torch.from_numpy(rgb2ycbcr(p)[:, :, 0])[None, None] for p in (a, b))
    assert ssim_y(a, b) == pytest.approx(torchmetrics_ssim(y_a, y_b), abs=1e-10)


def test_gray_pictures_are_one_channel():
    a, b = noisy_pair(90, 40, channels=1)
    assert psnr(a[:, :, 0], b[:, :, 0]) == psnr(a, b)
    assert ssim(a[:, :, 0], b[:, :, 0]) == ssim(a, b)


def test_identical_pictures():
    a = noisy_pair(90, 40)[1]
    assert psnr(a, a) == psnr_y(a, a) == math.inf
    assert ssim(a, a) == ssim_y(a, a) == 1.0


@pytest.mark.parametrize("metric", [psnr, psnr_y, ssim, ssim_y])
def test_wrong_inputs_are_errors(metric):
    a, b = noisy_pair(20, 30)
    with pytest.raises(ValueError, match=r"differ in shape: \(20, 30, 3\) and \(20, 29, 3\)"):
        metric(a, b[:, 1:])
    with pytest.raises(ValueError, match="uint8"):
        metric(a, b.astype(np.float64))
    with pytest.raises(ValueError, match="uint8"):
        metric(a[None], b[None])


@pytest.mark.parametrize("metric", [psnr_y, ssim_y])
@pytest.mark.parametrize("channels", [1, 4])
def test_luma_needs_rgb(metric, channels):
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        metric(*noisy_pair(20, 30, channels))


@pytest.mark.parametrize("metric", [ssim, ssim_y])
@pytest.mark.parametrize("size", [(10, 40), (40, 10), (1, 1)])
def test_ssim_refuses_pictures_smaller_than_its_window(metric, size):
    with pytest.raises(ValueError, match="at least 11x11"):
        metric(*noisy_pair(*size))


def test_ssimulacra2_is_that_of_files(tmp_path):
    from ssimulacra2 import compute_ssimulacra2

    rng = np.random.default_rng(0)
    true = np.kron(rng.integers(40, 200, (8, 9, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    worse = np.uint8(true + rng.integers(0, 20, true.shape))
    for name, rgb in (("true", true), ("worse", worse)):
        Image.fromarray(rgb).save(tmp_path / f"{name}.png")
    judges, missing = learned("ssimulacra2")
    of_files = compute_ssimulacra2(tmp_path / "true.png", tmp_path / "worse.png")
    assert judges["ssimulacra2"].of(true, worse) == pytest.approx(of_files, abs=1e-9)
    assert judges["ssimulacra2"].of(true, true) == pytest.approx(100)
    assert of_files < 90
    assert not missing
