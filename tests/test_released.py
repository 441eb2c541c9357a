"""What a released model wrote restores to the same picture, with every later bdflow.

A model that no longer does so has other weights, and those take another name.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bdflow
from bdflow import zoo
from bdflow.smallfile import container

FOLDER = Path(__file__).parent / "released"
PHOTOGRAPH = Path(bdflow.__file__).parent / "assets" / "astronaut.png"
BOUND = 1  # level of 255: another processor rounds sums otherwise


def write(name: str) -> None:
    """A model's file, and what it restores to: part of a face, two pixels of the small picture or more."""
    model = bdflow.load(name, threads=1)
    side = max(64, 2 * model.model.scale)
    with Image.open(PHOTOGRAPH) as image:
        small = model.downscale(image.convert("RGB").crop((180, 60, 180 + side, 60 + side)))
    small.save(FOLDER / f"{name}.png")
    model.upscale(small).save(FOLDER / f"{name}.restored.webp", lossless=True)


@pytest.mark.parametrize("name", zoo.names())
def test_every_model_has_a_file(name):
    """BDFLOW_REGEN_GOLDEN=1 writes it where it is missing; what is there is never written anew."""
    if os.environ.get("BDFLOW_REGEN_GOLDEN") and not (FOLDER / f"{name}.png").exists():
        write(name)
    assert container.read(FOLDER / f"{name}.png").model == name


@pytest.mark.parametrize("small", sorted(FOLDER.glob("*.png")), ids=lambda path: path.stem)
def test_it_restores_to_the_picture_that_it_always_gave(small):
    restored = np.asarray(bdflow.upscale(small, threads=1))
    with Image.open(small.with_suffix(".restored.webp")) as image:
        always = np.asarray(image.convert("RGB"))
    assert restored.shape == always.shape
    assert np.abs(restored.astype(int) - always).max() <= BOUND
