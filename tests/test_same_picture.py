"""One small PNG restores to one picture: on any number of threads, with any tile, from many callers at once.

The bound is one level of 255 in any sample. Rounding of sums in another order is all that may differ.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bdflow
from bdflow import zoo
from bdflow.runtime import backends
from bdflow.runtime.computing import Computing
from bdflow.runtime.rescaler import Rescaler
from bdflow.runtime.restorer import Restorer

BOUND = 1
PHOTOGRAPH = Path(bdflow.__file__).parent / "assets" / "astronaut.png"
ACCELERATORS = backends.available()[1:]


def gap(a: Image.Image, b: Image.Image) -> int:
    """Largest difference in levels."""
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


def assert_same(model: Rescaler, other: Rescaler, picture: np.ndarray) -> None:
    """Both make the same small picture, and restore the same large one from one file."""
    small, again = model.downscale(picture), other.downscale(picture)
    assert np.abs(small.image.rgb.astype(int) - again.image.rgb).max() <= BOUND
    assert gap(model.upscale(small), other.upscale(small)) <= BOUND
    assert gap(model.upscale(small, sigma=0.5, seed=1), other.upscale(small, sigma=0.5, seed=1)) <= BOUND


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    """A part of a photograph with detail; its sides are no multiples of 8."""
    return np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))[40:203, 60:251]


@pytest.mark.parametrize("name", bdflow.list_models())
@pytest.mark.parametrize("threads", [2, 4])
def test_thread_counts_of_the_built_in_models(name, threads, crop):
    assert_same(bdflow.load(name, threads=1), bdflow.load(name, threads=threads), crop)


@pytest.mark.parametrize("name", bdflow.list_models())
@pytest.mark.parametrize("kept", [64, 136])
def test_tile_sizes_of_the_built_in_models(name, kept, crop):
    model = zoo.find(name)
    tile = 2 * model.halo + kept
    width = tile * tile // len(crop) + 150  # more than one tile, whatever its shape
    long = np.concatenate([crop, crop[:, ::-1]] * (width // crop.shape[1] + 1), axis=1)[:, :width]
    assert_same(
        Rescaler(model, Computing(tile=2 * tile, threads=1)),
        Rescaler(model, Computing(tile=tile, threads=1)),
        long,
    )


@pytest.mark.skipif(not ACCELERATORS, reason="ONNX Runtime has no accelerator here")
@pytest.mark.parametrize("device", ACCELERATORS)
def test_accelerators(device, crop):
    model = bdflow.load(bdflow.list_models()[0], threads=1, device="cpu")
    assert_same(model, Rescaler(model.model, Computing(device=device)), crop)


@pytest.mark.parametrize("rounds", [6, pytest.param(300, marks=pytest.mark.slow)])
def test_a_rescaler_and_a_restorer_under_load(built_in, rounds):
    """Sixteen threads shrink, restore and draw, with two models: each gets what a lone caller gets."""
    dice = np.random.default_rng(0)
    pictures = [dice.integers(0, 256, (20 + 3 * i, 37 - 2 * i, 3), np.uint8) for i in range(6)]
    models = {name: bdflow.load(name, threads=1) for name in bdflow.list_models()}
    smalls = {
        (name, i): m.downscale(p).to_bytes() for name, m in models.items() for i, p in enumerate(pictures)
    }
    drawn = {key: m_of(models, key).upscale(data, sigma=0.4, seed=key[1]) for key, data in smalls.items()}
    restored = {key: m_of(models, key).upscale(data) for key, data in smalls.items()}

    fresh = {name: Rescaler(model.model, Computing(threads=1)) for name, model in models.items()}
    restorer, start = Restorer(computing=Computing(threads=1)), threading.Barrier(16)

    def work(seed: int) -> int:
        order, done = random.Random(seed), 0
        start.wait()  # so that all ask for the sessions at once
        for _ in range(rounds):
            key = name, i = order.choice(list(smalls))
            what = order.randrange(3)
            if what == 0:
                assert fresh[name].downscale(pictures[i]).to_bytes() == smalls[key]
            elif what == 1:
                one, small, remarks = restorer.accept(smalls[key])
                assert not remarks
                assert np.array_equal(one.restore(small), restored[key])
            else:
                assert np.array_equal(fresh[name].upscale(smalls[key], sigma=0.4, seed=i), drawn[key])
            done += 1
        return done

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(work, range(16))) == 16 * rounds


def m_of(models: dict[str, Rescaler], key: tuple[str, int]) -> Rescaler:
    return models[key[0]]
