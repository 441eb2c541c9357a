"""The search for a better small picture: it restores better, and stays a plain file and a thumbnail."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import CONFIGS

import bdflow
from bdflow.pictures import reader
from bdflow.pictures.resize import bicubic_down
from bdflow.quality.metrics import psnr, psnr_y
from bdflow.runtime import refine
from bdflow.zoo import BUILT_IN

ASTRONAUT = BUILT_IN.parent / "assets" / "astronaut.png"


@pytest.fixture(scope="module")
def face():
    return reader.read(ASTRONAUT).rgb[60:160, 170:266]


@pytest.fixture(scope="module")
def x4():
    return bdflow.load("photos-x4", threads=1)


def test_a_few_steps_restore_better_and_leave_the_thumbnail_one(x4, face):
    before, after = x4.downscale(face), x4.downscale(face, refine=5)
    quality = [psnr_y(face, np.asarray(x4.upscale(small.to_bytes()))) for small in (before, after)]
    assert quality[1] - quality[0] > 0.3
    plain = bicubic_down(face, 4)
    assert psnr(after.image.rgb, plain) > psnr(before.image.rgb, plain) - 0.2
    assert (before.boundary != after.boundary).any()
    assert (after.size, after.weights, after.bits) == (before.size, before.weights, before.bits)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_network_is_left_worse_off(tiny, name):
    """Any size, with a map and without, on weights that were never trained."""
    model = bdflow.load(tiny(name), threads=1, trust=True)
    true = np.random.default_rng(0).integers(0, 256, (41, 45, 3), np.uint8)
    before, after = (
        psnr(true, np.asarray(model.upscale(model.downscale(true, refine=steps).to_bytes())))
        for steps in (0, 6)
    )
    assert after > before


def test_what_came_out_worse_is_not_taken(x4, face, monkeypatch):
    monkeypatch.setitem(refine.LEARNING_RATE, "y", 90.0)
    before, after = x4.downscale(face), x4.downscale(face, refine=1)
    assert (before.image.rgb == after.image.rgb).all()
    assert (before.boundary == after.boundary).all()


def test_tiles_find_what_the_whole_would(x4, monkeypatch):
    true = reader.read(ASTRONAUT).rgb[:320, :96]
    whole = x4.downscale(true, refine=2)
    monkeypatch.setattr(refine, "KEPT", 64)
    tiled = x4.downscale(true, refine=2)
    gap = np.abs(whole.image.rgb.astype(int) - tiled.image.rgb)
    assert gap.max() <= 2
    assert (gap > 0).mean() < 0.01


def test_gray_and_transparent_pictures_keep_what_they_are(x4, face):
    gray = x4.downscale(face[..., 1], refine=1)
    assert gray.gray
    assert x4.upscale(gray.to_bytes()).mode == "L"
    veiled = np.dstack([face, face[..., 0]])
    assert (x4.downscale(veiled, refine=1).image.alpha == x4.downscale(veiled).image.alpha).all()


def test_the_same_twice(x4, face):
    assert x4.downscale(face, refine=2).to_bytes() == x4.downscale(face, refine=2).to_bytes()


def test_the_command_line(shell, face):
    Image.fromarray(face).save("photo.png")
    options = ("-x", 4, "--threads", 1, "--refine", 2)
    assert shell("downscale", "photo.png", "-o", "one.png", *options)[0] == 0
    assert shell("downscale", "photo.png", "-o", "several/", *options)[0] == 0
    one = Path("one.png").read_bytes()
    assert one == Path("several/photo.x4.png").read_bytes()
    assert one == bdflow.downscale("photo.png", scale=4, threads=1, refine=2).to_bytes()
    assert one != bdflow.downscale("photo.png", scale=4, threads=1).to_bytes()


def test_what_cannot_be_is_told_in_a_line(x4, face, monkeypatch):
    with pytest.raises(bdflow.BDFlowError, match=r"^steps of refinement must be 0 or more, not -1$"):
        x4.downscale(face, refine=-1)
    with pytest.raises(bdflow.BDFlowError, match=r"^torch cannot use coreml here: choose cpu"):
        refine.Refiner(x4.model, "coreml")

    def without_memory(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("bdflow.runtime.refine.restore", without_memory)
    with pytest.raises(bdflow.BDFlowError, match=r"^torch failed: out of memory$"):
        x4.downscale(face, refine=1)
    monkeypatch.setattr("bdflow.system.extras.find_spec", lambda name: name != "safetensors" or None)
    with pytest.raises(
        bdflow.BDFlowError, match=r'^refining needs safetensors: pip install "bdflow\[torch\]"$'
    ):
        bdflow.load("photos-x4").downscale(face, refine=1)
