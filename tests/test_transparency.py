"""Colours that cannot be seen leak into nothing that can."""

import numpy as np
import pytest

import bdflow
from bdflow import fitting
from bdflow.pictures import transparency
from bdflow.pictures.reader import Picture, read
from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.pictures.transparency import spread
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import Enhancer
from bdflow.zoo import find_restoration

SIDE = 96


def cut_out(colour: tuple[int, int, int], hidden: int) -> Picture:
    """A shaded disc with a soft edge, on transparent black or white."""
    y, x = np.mgrid[:SIDE, :SIDE]
    from_middle = np.hypot(y - SIDE / 2 + 0.5, x - SIDE / 2 + 0.5)
    alpha = np.rint(255 * np.clip(0.35 * SIDE - from_middle + 0.5, 0, 1)).astype(np.uint8)
    rgb = np.broadcast_to(np.uint8(colour), (SIDE, SIDE, 3)) + (x // 8).astype(np.uint8)[..., None]
    return Picture(np.where(alpha[..., None] == 0, np.uint8(hidden), rgb), alpha)


def seen_on(picture: Picture, ground: int) -> np.ndarray:
    alpha = picture.alpha[..., None] / 255
    return picture.rgb * alpha + ground * (1 - alpha)


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(a - b).mean()))


def premultiplied(picture: Picture, scale: int, ground: int) -> np.ndarray:
    """What bicubic leaves of it, seen on a ground, if it does all right."""
    alpha = np.repeat(picture.alpha[..., None], 3, axis=2)
    colours = np.rint(picture.rgb * (alpha / 255)).astype(np.uint8)
    size = alpha.shape[:2]
    colours, alpha = (bicubic_up(bicubic_down(each, scale), scale, size) for each in (colours, alpha))
    return colours + ground * (1 - alpha / 255)


CASES = [((220, 205, 180), 0, 255), ((40, 30, 20), 255, 0)]


@pytest.mark.parametrize(("colour", "hidden", "ground"), CASES)
@pytest.mark.parametrize("scale", [2, 4, 8, 16])
def test_a_cut_out_has_no_fringe(scale, colour, hidden, ground):
    picture = cut_out(colour, hidden)
    small = bdflow.downscale(picture, scale=scale, threads=1)
    restored = read(bdflow.upscale(small.to_bytes(), threads=1))
    true = seen_on(picture, ground)
    plain = premultiplied(picture, scale, ground)
    assert decibels(seen_on(restored, ground), true) > decibels(plain, true) - 0.5
    # The thumbnail shows no ring either: what is little seen is not darker, nor lighter, than the disc.
    faint = (small.image.alpha > 8) & (small.image.alpha < 250)
    assert np.abs(small.image.rgb[faint].astype(int) - colour).max() < 40


@pytest.mark.parametrize("format", ["AVIF", "WebP"])
def test_nor_has_it_in_an_ordinary_codec(format):
    enhancer = Enhancer(find_restoration(), Computing(threads=1))
    for colour, hidden, ground in CASES:
        picture = cut_out(colour, hidden)
        small = fitting.fit(
            picture, enhancer, fitting.Goal(max_bytes=700, format=format, domain="plain")
        ).small
        restored = read(bdflow.upscale(small.data, threads=1))
        true = seen_on(picture, ground)
        assert small.factor > 1
        plain = premultiplied(picture, int(np.ceil(small.factor)), ground)
        assert decibels(seen_on(restored, ground), true) > decibels(plain, true) - 3


def test_what_is_seen_stays_as_it_is(monkeypatch):
    rng = np.random.default_rng(0)
    rgb, alpha = rng.integers(0, 256, (37, 45, 3), np.uint8), rng.integers(0, 256, (37, 45), np.uint8)
    alpha[:20, :30] = 0
    spreaded = spread(Picture(rgb, alpha))
    np.testing.assert_array_equal(spreaded.rgb[alpha >= 16], rgb[alpha >= 16])
    np.testing.assert_array_equal(spreaded.alpha, alpha)
    monkeypatch.setattr(transparency, "_BAND", 200)
    np.testing.assert_allclose(spread(Picture(rgb, alpha)).rgb.astype(int), spreaded.rgb, atol=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 3), (64, 33)])
def test_one_colour_goes_everywhere(size):
    rgb, alpha = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    rgb[-1, -1], alpha[-1, -1] = (200, 100, 50), 255
    assert (spread(Picture(rgb, alpha)).rgb == (200, 100, 50)).all()


def test_there_is_nothing_to_do_where_all_or_nothing_is_seen():
    rgb = np.zeros((4, 4, 3), np.uint8)
    for alpha in (None, np.full((4, 4), 16, np.uint8), np.zeros((4, 4), np.uint8)):
        picture = Picture(rgb, alpha)
        assert spread(picture) is picture
