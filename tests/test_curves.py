"""Rate-distortion curves: BD-rate of known values, and who wins in bytes."""

import math

import numpy as np
import pytest
from measured import facts, row
from scipy.interpolate import PchipInterpolator

from bdflow.reproduce import curves
from bdflow.reproduce.curves import Point


def line(*pairs):
    return [Point(rate, quality, f"q{quality}") for rate, quality in pairs]


ANCHOR = line((0.1, 30.0), (0.2, 33.0), (0.4, 35.5), (0.8, 38.0))


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25])
def test_bd_rate_of_a_curve_that_takes_so_much_more(factor):
    test = [Point(p.rate * factor, p.quality, p.label) for p in ANCHOR]
    assert curves.bd_rate(ANCHOR, test) == pytest.approx(100 * (factor - 1), abs=1e-6)


def test_bd_rate_against_an_integral_of_our_own():
    test = line((0.09, 31.0), (0.3, 34.0), (0.5, 37.0))
    low, high = 31.0, 37.0
    qualities = np.linspace(low, high, 20001)

    def log_rate(points):
        return PchipInterpolator([p.quality for p in points], [math.log(p.rate) for p in points])(qualities)

    mean = np.trapezoid(log_rate(test) - log_rate(ANCHOR), qualities) / (high - low)
    assert curves.bd_rate(ANCHOR, test) == pytest.approx(100 * (math.exp(mean) - 1), abs=1e-3)


def test_no_bd_rate_without_overlap_or_with_a_single_point():
    assert curves.bd_rate(ANCHOR, line((0.1, 40.0), (0.2, 42.0))) is None
    assert curves.bd_rate(ANCHOR, line((0.1, 32.0))) is None
    narrow = line((0.1, ANCHOR[-1].quality - 1), (0.2, ANCHOR[-1].quality + 4))
    assert curves.bd_rate(ANCHOR, narrow) is None  # a fifth of its range


def test_bytes_for_equal_quality():
    assert curves.rate_at(ANCHOR, 33.0) == (pytest.approx(0.2), False)
    assert 0.1 < curves.rate_at(ANCHOR, 31.0).bits < 0.2
    assert curves.rate_at(ANCHOR, 20.0) == (0.1, True)  # its cheapest point is better still
    assert curves.rate_at(ANCHOR, 39.0) is None


def test_a_codecs_curve_is_its_best_settings():
    points = line((0.4, 35.0), (0.1, 30.0), (0.3, 29.0), (0.2, 33.0), (0.41, 34.9))
    assert [p.rate for p in curves.best(points)] == [0.1, 0.2, 0.4]


def test_a_setting_that_lacks_pictures_has_no_point():
    rows = [
        row(
            "s",
            "codec",
            {str(i): {"bits_per_pixel": q / 100, "psnr_y": 20.0 + q} for i in range(count)},
            method=f"JPEG {q}",
            codec="JPEG",
        )
        for q, count in ((1, 6), (2, 6), (3, 5))
    ]
    found = curves.of_codecs(curves.curves(rows, "s", "psnr_y"))
    assert [p.label for p in found["JPEG"]] == ["JPEG 1", "JPEG 2"]


def test_whose_curve_a_model_is_a_point_of():
    """Its own name says no more than its facts do: what only looks like a scale stays."""
    names = {"portraits-x8": "bdflow portraits", "portraits-x8-paper": "bdflow portraits-x8-paper"}
    for model, label in names.items():
        assert facts("bdflow", model=model, scale=8).family == (label, True, False)
    assert facts("bdflow", model="mine-x16", scale=8).family.label == "bdflow mine-x16"
    assert facts("external", name="GRAIN-x64", scale=64).family == ("GRAIN", False, False)
    assert facts("codec", codec="AVIF").family == ("AVIF", False, True)
    assert facts("rival", network="IRN").family.label == "IRN"


def test_who_wins_is_said_in_bytes():
    rivals = {"WebP": ANCHOR, "JPEG": [Point(2 * p.rate, p.quality, "") for p in ANCHOR]}
    for rate, word in ((0.3, "loses"), (0.205, "level"), (0.1, "wins")):
        verdict = curves.verdict(Point(rate, 33.0, ""), rivals)
        assert verdict == (word, "WebP", pytest.approx(rate / 0.2), False)
    for rate, word in ((0.2, "loses"), (0.1, "open"), (0.05, "open")):  # better, at the cheapest
        assert curves.verdict(Point(rate, 20.0, ""), rivals)[::3] == (word, True)
    assert curves.verdict(Point(1.0, 50.0, ""), rivals) is None
