"""Which files fit into a budget: few are coded, and the largest is found."""

import math
from dataclasses import replace

import numpy as np
import pytest
from thumbnails import QUICK, photo

from bdflow.fitting.rates import Rates
from bdflow.pictures import codecs
from bdflow.pictures.codecs import Codec
from bdflow.pictures.reader import Picture
from bdflow.runtime.enhancer import shrunk


def noisy(height: int = 48, width: int = 64) -> Picture:
    picture, rng = photo(height, width), np.random.default_rng(3)
    return replace(picture, rgb=(picture.rgb + rng.normal(0, 9, picture.rgb.shape)).clip(0, 255).astype("u1"))


def sizes(codec: Codec, picture: Picture, factor: float) -> list[int]:
    image = shrunk(picture, factor).to_pil()
    return [len(codec.encode(image, quality)) for quality in codec.steps]


def test_each_step_of_avif_stands_for_the_qualities_that_are_one_file():
    codec, steps = QUICK["AVIF"], codecs.AVIF.steps
    assert (len(steps), steps[-1]) == (64, 100)
    assert steps == sorted(steps)
    files = [codec.encode(noisy().rgb, quality) for quality in range(101)]
    for quality, file in enumerate(files):
        assert file == files[next(step for step in steps if step >= quality)]
    assert len({files[step] for step in steps}) == 64
    assert codecs.WEBP.steps == list(range(101))
    assert codecs.JPEG.steps == list(range(1, 101))


@pytest.fixture
def coded(monkeypatch) -> list[Codec]:
    """What coded, file by file."""
    calls, encode = [], Codec.encode

    def counted(self, picture, quality=0):
        calls.append(self)
        return encode(self, picture, quality)

    monkeypatch.setattr(Codec, "encode", counted)
    return calls


@pytest.mark.parametrize("format", QUICK)
@pytest.mark.parametrize("factor", [1, 3])
def test_the_largest_that_fits(format, factor, coded):
    codec, picture = QUICK[format], noisy()
    true = sizes(codec, picture, factor)
    middle = true[len(true) // 2]
    for budget in (min(true) - 1, true[0], middle, middle + 1, middle - 1, true[-2], true[-1], 10**6):
        rates = Rates(picture, codec, codec)
        coded.clear()
        step = rates.largest(factor, budget)
        assert step == rates.largest_quick(factor, budget)
        assert step < 0 or true[step] <= budget
        assert step + 1 == len(true) or true[step + 1] > budget
        assert len(coded) <= 10
    coded.clear()
    assert rates.largest(factor, middle) >= 0
    assert len(coded) <= 5  # what is known already is not coded anew


def test_full_effort_is_foretold_by_little(coded):
    """Of the dear encoder there are two files or three, not seven."""
    picture, quick, kept = noisy(200, 240), replace(codecs.AVIF, effort=4), replace(codecs.AVIF, effort=5)
    for number in (20, 33, 50):
        budget = len(kept.encode(picture.rgb, kept.steps[number]))
        coded.clear()
        rates = Rates(picture, quick, kept)
        assert rates.largest(1, budget) == number
        assert coded.count(kept) <= 3
    seen = []
    rates.largest(1, budget, lambda step, fits: bool(seen.append((step, fits)) or True))
    assert len(seen) == 1
    assert seen[0][1] == (len(rates.file(kept, 1, seen[0][0])) <= budget)


@pytest.mark.parametrize("format", QUICK)
def test_around_a_budget(format, coded):
    codec, picture = QUICK[format], noisy()
    true = sizes(codec, picture, 2)
    rates = Rates(picture, codec, codec)
    for budget in (true[7], true[len(true) // 2] + 5, true[-3]):
        near, other = rates.around(2, budget)
        assert near != other
        assert abs(math.log(true[near] / budget)) < 0.12
        assert abs(math.log(true[near] / budget)) <= abs(math.log(true[other] / budget))
    coded.clear()
    assert rates.around(1.5, true[len(true) // 2]) is not None
    assert len(coded) <= 4  # sizes at another factor tell where to begin
    assert rates.around(2, min(true) - 1) is None
    assert rates.around(2, 10**6)[0] == len(true) - 1


def test_a_flat_picture():
    """All qualities take about as much."""
    picture = Picture(np.full((40, 40, 3), 99, np.uint8))
    for codec in QUICK.values():
        true = sizes(codec, picture, 1)
        rates = Rates(picture, codec, codec)
        step = rates.largest(1, true[0])
        assert true[step] <= true[0]
        assert rates.around(1, true[0]) is not None
