"""Which kinds of file the search makes, by made-up files whose sizes and qualities are known."""

from types import SimpleNamespace

import numpy as np
import pytest

from bdflow.fitting import CODECS, EFFORTS
from bdflow.fitting.estimate import Quality
from bdflow.fitting.search import Prospect, Search
from bdflow.pictures.reader import Picture


def search(side: int, effort: str = "medium") -> Search:
    picture = Picture(np.zeros((side, side, 3), np.uint8))
    return Search(picture, None, CODECS["WebP"], ["photos"], 1500, EFFORTS[effort])


@pytest.fixture
def sizes(monkeypatch):
    """Bytes of the two steps that are near; a file restores to as many dB as it has hundreds of bytes."""
    known: dict[int, int] = {}

    def of(bytes_of: dict[int, int]) -> Search:
        known.clear()
        known.update(bytes_of)
        fake = search(64)
        monkeypatch.setattr(Search, "_room", 1500)
        steps = tuple(known)
        fake.rates.around = lambda factor, room: steps
        fake.rates.size = lambda factor, step: known[step]
        fake.rates.file = lambda codec, factor, step: known[step]
        fake.files.enlarged = lambda factor, size: Quality(size / 100, size / 100)
        return fake

    return of


def test_no_file_is_expected_to_take_bytes_that_none_has(sizes):
    assert sizes({0: 1000, 1: 2000})._look(2) == pytest.approx(10)
    assert sizes({1: 2000, 0: 1000})._look(2) == pytest.approx(10)


def test_between_steps_that_are_apart_there_are_files(sizes):
    # By the logarithm of the bytes 1,500 are 0.585 of the way.
    assert sizes({0: 1000, 5: 2000})._look(2) == pytest.approx(15.85, abs=0.01)


@pytest.mark.parametrize(
    ("side", "effort", "made"),
    [
        (512, "medium", [1, 2, 3]),  # 4 seems too much worse, the other domain's 1 is no further kind
        (760, "medium", [1, 2]),  # of 1.2 megapixels together
        (1200, "medium", [1]),
        (512, "low", [1]),
        (512, "high", [1, 1, 2, 3, 4]),
    ],
)
def test_so_many_kinds_of_file_are_made(side, effort, made, monkeypatch):
    means = {(1, "photos"): 30, (1, "portraits"): 29.95, (2, "photos"): 29.9, (3, "photos"): 29.8}
    means[4, "photos"] = 29.6
    prospects = [Prospect(*kind, Quality(mean, mean)) for kind, mean in means.items()]
    tried = []

    def make(self, factor, domain, _):
        tried.append(factor)
        small = SimpleNamespace(data=b"")
        return SimpleNamespace(factor=factor, psnr=20 + factor, psnr_y=0, psnr_rgb=0, small=small)

    monkeypatch.setattr(Search, "_made", make)
    monkeypatch.setattr(Search, "_own_may_win", lambda self, finalists: False)
    best = search(side, effort).settle(prospects)
    assert tried == made
    assert best.factor == made[-1]  # what really restores best, and not what seemed to
