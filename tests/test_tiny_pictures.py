"""Pictures whose small picture is one pixel across, which no network has learned."""

import numpy as np
import pytest

import bdflow
from bdflow.images import Picture, read
from bdflow.resize import bicubic_down, bicubic_up


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 5), (8, 200), (200, 7), (1, 17), (1300, 8)])
def test_one_pixel_across_is_as_good_as_bicubic(size):
    model = bdflow.load("portraits-x8", threads=1)
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for rgb in (np.full((*size, 3), (200, 120, 60), np.uint8), noise):
        plain_small = bicubic_down(rgb, 8)
        small = model.downscale(rgb)
        np.testing.assert_array_equal(small.image.rgb, plain_small)
        restored = read(model.upscale(small.to_bytes()))
        plain = bicubic_up(plain_small, 8, size)
        assert np.abs(restored.rgb.astype(int) - plain).max() <= 1
    assert model.upscale(model.downscale(Picture(noise, noise[..., 0]))).mode == "RGBA"


@pytest.mark.parametrize("name", bdflow.list_models())
def test_a_flat_picture_stays_flat(name):
    model = bdflow.load(name, threads=1)
    scale = model.model.scale
    for size in ((1, 1), (scale, scale), (scale, 3 * scale + 1)):
        flat = np.full((*size, 3), (200, 120, 60), np.uint8)
        restored = read(model.upscale(model.downscale(flat).to_bytes(), sigma=0.0))
        assert np.abs(restored.rgb.astype(int) - flat).max() <= 1
