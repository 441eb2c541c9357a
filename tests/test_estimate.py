"""What is expected of a network, from a part of the picture."""

from itertools import pairwise

import numpy as np
import pytest
from thumbnails import photo, thumbnail

from bdflow.fitting.estimate import _blocks, _spans, excerpt, gain, measured
from bdflow.pictures.reader import Picture
from bdflow.quality.metrics import psnr, psnr_y
from bdflow.runtime.enhancer import Enhancer, cell
from bdflow.smallfile.thumbnail import FACTORS


def test_measured_is_both_psnrs():
    a, b = photo(24, 31).rgb, photo(24, 31).rgb[::-1].copy()
    quality = measured(a, [b[:5], b[5:]])
    assert quality == (psnr_y(a, b), psnr(a, b))
    assert quality.mean == (psnr_y(a, b) + psnr(a, b)) / 2
    assert measured(a, [a]) == (100, 100)


@pytest.mark.parametrize("side", [1, 47, 48, 143, 144, 349, 351, 432, 512, 720, 1024, 1280, 4000])
def test_windows_lie_within_the_picture_on_the_grid_of_every_factor(side):
    for factor in FACTORS:
        spans = _spans(side, cell(factor))
        for seen, kept in spans:
            assert not any(edge % cell(factor) for edge in (seen.start, seen.stop))
            assert seen.start <= kept.start < kept.stop <= min(seen.stop, side)
        assert all(a.kept.stop <= b.kept.start for a, b in pairwise(spans))
        if side < 350:
            assert spans == [(slice(0, -(-side // cell(factor)) * cell(factor)), slice(0, side))]
        else:  # spread from end to end
            assert spans[-1].seen.stop <= side
            assert len(spans) > 1
            assert max(spans[0].kept.start, side - spans[-1].kept.stop) < 180


@pytest.mark.parametrize("factor", [1, 1.5, 4])
@pytest.mark.parametrize("gray", [False, True])
def test_of_a_small_picture_it_is_exact(enhancer, factor, gray):
    picture = photo(55, 70, gray=gray)
    small, plain = (thumbnail(picture, "WebP", factor, domain) for domain in ("photos", "plain"))
    network, without = (measured(picture.rgb, [enhancer.rgb(each)]) for each in (small, plain))
    expected = network.y - without.y, network.rgb - without.rgb
    assert gain(picture.rgb, small, enhancer) == pytest.approx(expected, abs=0.02)
    assert gain(picture.rgb, plain, enhancer) == (0, 0)


def test_of_a_large_one_a_part_is_restored(enhancer, monkeypatch):
    """Of a network that takes away a tenth of the error everywhere, any part tells it."""
    rng = np.random.default_rng(2)
    picture = Picture(rng.integers(40, 200, (500, 1100, 3), np.uint8))
    small, seen = thumbnail(picture, "WebP", 2), []

    def part(self, small, rows, columns):
        seen.append((rows.stop - rows.start) * (columns.stop - columns.start))
        error = 9.0 if small.domain == "photos" else 10.0
        return (picture.rgb[rows, columns] + error).astype(np.uint8)

    monkeypatch.setattr(Enhancer, "part", part)
    assert gain(picture.rgb, small, enhancer) == pytest.approx((20 * np.log10(10 / 9),) * 2)
    assert sum(seen) / 2 == 8 * 144 * 144  # of 550,000 pixels


def test_a_part_is_that_of_the_whole(enhancer):
    """But for what the network sees beyond it."""
    picture = photo(230, 400)
    small, halo = thumbnail(picture, "AVIF", 3), enhancer.model.halo
    whole = enhancer.rgb(small)
    part = enhancer.part(small, slice(0, 144), slice(48, 384))
    assert part.shape == (144, 336, 3)
    inside = slice(0, 144 - halo), slice(halo, 336 - halo)
    difference = part[inside].astype(int) - whole[:144, 48:384][inside]
    assert difference.size > 10_000
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("side", [1, 700, 800, 3000, 4000, 12_000, 100_000])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.7, 1])
def test_blocks_are_about_a_share_of_a_side_and_spread_over_it(side, share):
    blocks = _blocks(side, share, 768)
    assert blocks[0].start >= 0
    assert blocks[-1].stop <= side
    assert all(a.stop <= b.start for a, b in pairwise(blocks))
    if blocks != [slice(0, side)]:
        assert all(block.stop - block.start == 768 for block in blocks)
        assert abs(768 * len(blocks) - side * share) <= max(384, 768 - side * share)
        assert abs(blocks[0].start - (side - blocks[-1].stop)) <= 1  # as far from either end


def test_an_excerpt_has_blocks_of_the_picture():
    picture = photo(120, 160, alpha=True)
    part = excerpt(picture, 3000, 24)
    assert part.rgb.shape == (48, 72, 3)
    assert part.alpha is not None
    assert part.alpha.shape == (48, 72)
    first, last = (slice(18, 42), slice(15, 39)), (slice(78, 102), slice(121, 145))
    for samples, whole in ((part.rgb, picture.rgb), (part.alpha, picture.alpha)):
        assert np.array_equal(samples[:24, :24], whole[first])
        assert np.array_equal(samples[24:, 48:], whole[last])
    assert np.array_equal(excerpt(picture, 120 * 160, 24).rgb, picture.rgb)
    assert np.array_equal(excerpt(picture).rgb, picture.rgb)
