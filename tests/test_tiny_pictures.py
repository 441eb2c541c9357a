"""Pictures whose small picture is one pixel across, which no network has learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bdflow
from bdflow.pictures.reader import Picture, read
from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.smallfile.container import read as read_small


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


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("kind", ["by-network", "bicubic"])
def test_files_of_both_kinds_restore_to_the_pixels_that_they_always_gave(kind):
    """The first was written, and restored, before such pictures were shrunk bicubically; the other since."""
    file = GOLDEN / f"narrow-{kind}.png"
    with Image.open(GOLDEN / f"narrow-{kind}.restored.png") as image:
        restored = np.asarray(image).astype(int)
    small = read_small(file)
    assert (small.image.width, small.image.height, small.bicubic) == (3, 1, kind == "bicubic")
    assert np.abs(np.asarray(bdflow.upscale(file, threads=1)) - restored).max() <= 1
    other = bdflow.upscale(replace(small, bicubic=not small.bicubic), threads=1)
    assert np.abs(np.asarray(other) - restored).max() > 20  # so that it matters which


def test_a_narrow_picture_without_its_chunk_is_enlarged_bicubically():
    pixels = np.full((1, 2, 3), (200, 120, 60), np.uint8)
    restored = bdflow.load("portraits-x8", threads=1).upscale(Picture(pixels))
    assert np.abs(np.asarray(restored).astype(int) - pixels[0, 0]).max() <= 1
