"""The boundary-aware mask step by step against SciPy, OpenCV and scikit-image, and Eq. 4."""

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import canny
from torch import Tensor

from bdflow.train.config import MaskConfig
from bdflow.train.mask import (
    boundary_mask,
    boundary_steps,
    boundary_weight,
    draw_steps,
    gaussian_blur,
    luma,
    normalise,
    sobel,
    suppress_non_maxima,
)

PICTURES = {name: getattr(skimage.data, name)() for name in ("astronaut", "camera", "coffee")}
pictures = pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES.keys())


def as_tensor(picture: NDArray[np.uint8]) -> Tensor:
    """Gray or RGB pixels as `(1, 3, H, W)` in [0, 1], float64."""
    rgb = np.broadcast_to(picture[..., None], (*picture.shape, 3)) if picture.ndim == 2 else picture
    return torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].double() / 255


def noise(height: int, width: int) -> Tensor:
    return 255 * torch.rand(
        1, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def edges(picture: NDArray[np.uint8], dtype: torch.dtype = torch.float64, **options) -> NDArray[np.bool_]:
    sparse = boundary_steps(as_tensor(picture).to(dtype), MaskConfig(**options)).sparse
    return (sparse[0, 0] > 0).numpy()


def agreement(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[float, float]:
    """The share of pixels that agree and the Jaccard index of edge pixels, the outermost pixel left out."""
    a, b = a[1:-1, 1:-1], b[1:-1, 1:-1]
    return float((a == b).mean()), float((a & b).sum() / (a | b).sum())


def test_luma_is_opencvs_gray():
    picture = PICTURES["astronaut"]
    expected = cv2.cvtColor(picture.astype(np.float32), cv2.COLOR_RGB2GRAY)
    np.testing.assert_allclose(255 * luma(as_tensor(picture))[0, 0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.4, 0.7, 1.0, 1.5, 3.3])
@pytest.mark.parametrize("size", [(40, 30), (1, 7), (5, 2)])
def test_blur_is_scipys(sigma, size):
    image = noise(*size)
    expected = ndimage.gaussian_filter(image[0, 0].numpy(), sigma, mode="nearest", truncate=4)
    np.testing.assert_allclose(gaussian_blur(image, sigma)[0, 0], expected, rtol=0, atol=1e-10)


def test_sigma_zero_does_not_blur():
    image = noise(4, 5)
    assert torch.equal(gaussian_blur(image, 0), image)


@pytest.mark.parametrize("size", [(40, 30), (1, 7), (3, 2)])
def test_sobel_is_that_of_scipy_and_opencv(size):
    image = noise(*size)
    array = image[0, 0].numpy()
    for ours, axis, order in zip(sobel(image), (1, 0), ((1, 0), (0, 1)), strict=True):
        np.testing.assert_allclose(ours[0, 0], ndimage.sobel(array, axis, mode="nearest"), rtol=0, atol=1e-10)
        expected = cv2.Sobel(array, cv2.CV_64F, *order, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(ours[0, 0], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("magnitude", "order"), [("1-norm", 1), ("2-norm", 2), ("max-norm", np.inf)], ids=lambda v: str(v)
)
def test_magnitudes_are_norms_of_the_gradient(magnitude, order):
    rgb = as_tensor(PICTURES["astronaut"][:40, 200:260])
    steps = boundary_steps(rgb, MaskConfig(sigma=0.8, magnitude=magnitude))
    blurred = ndimage.gaussian_filter(255 * luma(rgb)[0, 0].numpy(), 0.8, mode="nearest")
    gradient = np.stack([ndimage.sobel(blurred, axis, mode="nearest") for axis in (0, 1)])
    expected = np.linalg.norm(gradient, order, axis=0)
    np.testing.assert_allclose(steps.blurred[0, 0], blurred, rtol=0, atol=1e-10)
    np.testing.assert_allclose(steps.magnitude[0, 0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("magnitude", ["1-norm", "2-norm", "max-norm"])
@pytest.mark.parametrize("suppress", [True, False])
def test_thinning_keeps_or_drops_and_the_threshold_is_exclusive(magnitude, suppress):
    rgb = as_tensor(PICTURES["astronaut"][:60, 200:260])
    steps = boundary_steps(rgb, MaskConfig(magnitude=magnitude, suppress=suppress))
    kept = steps.thinned > 0
    assert torch.equal(steps.thinned, steps.magnitude * kept)
    assert kept.double().mean() < 0.5 if suppress else torch.equal(steps.thinned, steps.magnitude)
    limit = float(steps.thinned.flatten().sort().values[-20])  # one of the values that occur
    sparse = boundary_steps(rgb, MaskConfig(magnitude=magnitude, suppress=suppress, threshold=limit)).sparse
    assert torch.equal(sparse, steps.thinned * (steps.thinned > limit))
    assert (sparse > 0).sum() == 19


@pytest.mark.parametrize("angle", range(0, 360, 15))
def test_a_ridge_is_thinned_across_in_every_direction(angle):
    """A ridge of magnitudes whose crest runs through the middle, its gradient pointing at `angle`."""
    radians = np.deg2rad(angle)
    y, x = np.mgrid[-10:11, -10:11]
    across = x * np.cos(radians) + y * np.sin(radians)
    magnitude = torch.from_numpy(np.exp(-((across - 1e-6) ** 2) / 8))[None, None]
    gx, gy = magnitude * np.cos(radians), magnitude * np.sin(radians)
    kept = suppress_non_maxima(magnitude, gx, gy)[0, 0, 2:-2, 2:-2].numpy() > 0
    distance = np.abs(across[2:-2, 2:-2])
    assert kept[distance < 0.3].all()
    assert not kept[distance > 0.8].any()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("start", [1, 4, 7])
def test_of_equal_neighbours_the_first_is_kept_as_in_opencv(axis, start):
    """A sharp step has the same magnitude on both its sides; outside the picture there is none."""
    picture = np.zeros((8, 8), np.uint8)
    picture[:, start:] = 200
    expected = np.zeros((8, 8), bool)
    expected[:, start - 1] = True
    if axis == 0:
        picture, expected = picture.T.copy(), expected.T
    assert np.array_equal(cv2.Canny(picture, 50, 50, L2gradient=True) > 0, expected)
    assert np.array_equal(edges(picture, sigma=0), expected)


# One threshold makes Algorithm 1 with one bit and the 2-norm the plain case of Canny's detector.


@pictures
@pytest.mark.parametrize("threshold", [50.0, 100.0])
@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_canny_case_is_scikit_images(picture, threshold, sigma, dtype):
    """Measured: every pixel agrees in float64; the outermost pixel, which scikit-image leaves out, apart."""
    gray = 255 * luma(as_tensor(picture))[0, 0].numpy()
    options = {"sigma": sigma, "low_threshold": threshold, "high_threshold": threshold, "mode": "nearest"}
    pixels, jaccard = agreement(
        edges(picture, dtype, sigma=sigma, threshold=threshold), canny(gray, **options)
    )
    assert pixels >= 0.9999
    assert jaccard >= 0.999


@pytest.mark.parametrize(
    ("name", "threshold", "least_pixels", "least_jaccard"),
    [
        ("astronaut", 50, 0.987, 0.90),  # measured: 0.9878, 0.902
        ("astronaut", 200, 0.996, 0.93),  # 0.9966, 0.930
        ("camera", 50, 0.982, 0.88),  # 0.9826, 0.886
        ("camera", 200, 0.998, 0.93),  # 0.9981, 0.935
        ("coffee", 50, 0.976, 0.85),  # 0.9762, 0.856
    ],
)
def test_the_canny_case_is_near_opencvs(name, threshold, least_pixels, least_jaccard):
    """OpenCV compares with the nearest of 8 neighbours, where Canny's paper interpolates between them."""
    picture = PICTURES[name]
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) if picture.ndim == 3 else picture
    expected = cv2.Canny(gray, threshold, threshold, L2gradient=True) > 0
    ours = edges(gray, sigma=0, threshold=threshold)
    pixels, jaccard = agreement(ours, expected)
    assert pixels >= least_pixels
    assert jaccard >= least_jaccard
    assert ours.sum() == pytest.approx(expected.sum(), rel=0.05)


def test_mixed_precision_does_not_move_edges():
    rgb = as_tensor(PICTURES["astronaut"][:128, 128:256]).float()
    plain = boundary_steps(rgb, MaskConfig())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = boundary_steps(rgb, MaskConfig())
    assert torch.equal(mixed.sparse, plain.sparse)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_pictures_of_a_batch_do_not_see_each_other(bits):
    rgb = torch.cat([as_tensor(PICTURES["astronaut"])[..., i : i + 64, 200:264] for i in (0, 100, 200)])
    rgb[0] *= 0.3
    together = boundary_mask(boundary_steps(rgb, MaskConfig()).sparse, 8, bits)
    for i in range(3):
        alone = boundary_mask(boundary_steps(rgb[i : i + 1], MaskConfig()).sparse, 8, bits)
        assert torch.equal(together[i : i + 1], alone)


# Line 6: the grid of the small picture, and the bits.

SPARSE = torch.tensor(
    [
        [0, 0, 80, 0, 0, 0, 400, 400],
        [0, 0, 0, 0, 0, 60, 400, 400],
        [100, 0, 90, 110, 0, 0, 200, 180],
        [0, 100, 0, 0, 51, 0, 220, 200],
    ],
    dtype=torch.float64,
)[None, None]


def test_one_bit_is_set_where_a_cell_has_any_edge():
    expected = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]], dtype=torch.float64)[None, None]
    assert torch.equal(boundary_mask(SPARSE, 2, 1), expected)
    assert torch.equal(boundary_mask(SPARSE, 1, 1), (SPARSE > 0).double())
    assert torch.equal(boundary_mask(SPARSE, 4, 1), torch.ones(1, 1, 1, 2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("bits", "levels"),
    [(2, [[0, 0, 0, 3], [0, 0, 0, 2]]), (3, [[0, 0, 0, 7], [1, 1, 0, 4]])],
)
def test_more_bits_are_the_mean_of_a_cell_normalised_and_rounded(bits, levels):
    """The means are 0, 20, 15, 400 above and 50, 50, 12.75, 200 below: 0 to 400 is 0 to 1."""
    expected = torch.tensor(levels, dtype=torch.float64)[None, None] / (2**bits - 1)
    torch.testing.assert_close(boundary_mask(SPARSE, 2, bits), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("scale", [1, 2, 8, 64])
def test_the_mask_has_the_grid_and_the_levels_of_b(bits, scale):
    sparse = boundary_steps(as_tensor(PICTURES["astronaut"][:256, :320]), MaskConfig()).sparse
    mask = boundary_mask(sparse, scale, bits)
    assert mask.shape == (1, 1, 256 // scale, 320 // scale)
    assert mask.dtype == torch.float64
    steps = mask * (2**bits - 1)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-12)
    assert mask.max() == 1
    assert mask.min() == 0 or bits == 1


# Eq. 4.


def test_normalise_is_min_max_within_each_picture():
    maps = torch.tensor([[50.0, 75.0, 100.0], [0.0, 30.0, 300.0]]).view(2, 1, 1, 3)
    expected = torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.1, 1.0]]).view(2, 1, 1, 3)
    torch.testing.assert_close(normalise(maps), expected)


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.2999])
def test_before_its_start_the_weight_is_the_plain_one(progress):
    assert boundary_weight(SPARSE, 2.0, progress, 0.3) == 2.0


@pytest.mark.parametrize("progress", [0.3, 0.5, 1.0])
def test_from_its_start_on_the_map_is_added(progress):
    expected = 2 + SPARSE / 400
    torch.testing.assert_close(boundary_weight(SPARSE, 2.0, progress, 0.3), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_picture_without_edges(bits, value):
    sparse = boundary_steps(torch.full((1, 3, 16, 24), value), MaskConfig()).sparse
    assert not sparse.any()
    assert torch.equal(boundary_mask(sparse, 8, bits), torch.zeros(1, 1, 2, 3))
    assert torch.equal(boundary_weight(sparse, 2.0, 1.0, 0.3), torch.full((1, 1, 16, 24), 2.0))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_tiny_pictures(size):
    rgb = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    assert boundary_steps(rgb, MaskConfig()).sparse.isfinite().all()


@pytest.mark.parametrize("suppress", [True, False])
def test_the_drawing_shows_six_panels_of_any_picture(suppress):
    rgb = PICTURES["astronaut"][100:161, 200:277]
    sheet = draw_steps(rgb, MaskConfig(suppress=suppress), scale=8, bits=2)
    assert sheet.dtype == np.uint8
    assert sheet.ndim == 3
    assert sheet.shape[0] >= 2 * 61
    assert sheet.shape[1] >= 3 * 77
    flat = draw_steps(np.zeros_like(rgb), MaskConfig(), scale=8, bits=1)
    assert flat.shape == sheet.shape
