"""Marks: what our files save on made-up curves whose ratio is known."""

import pytest
from measured import results
from measured import row as measured_row

from bdflow.reproduce import marks
from bdflow.reproduce.curves import Point

RATES = (0.05, 0.1, 0.2, 0.4)


def row(kind, name, values, measure="psnr_y", **facts):
    """One file of each picture: bits per pixel and quality."""
    pictures = {
        picture: {"bits_per_pixel": rate, measure: quality} for picture, (rate, quality) in values.items()
    }
    return measured_row("s", kind, pictures, method=name, **facts)


def ours(rate, values, **more):
    return row("fitted", f"n {rate}", values, model="n", **more)


def rows(saved, apart=False):
    """Of two codecs the second is the better one; ours take 1 - saved[picture] of its bytes.

    `apart`: of another picture, `b`, theirs and ours share no quality.
    """
    found = []
    for place, rate in enumerate(RATES):
        quality = 30 + 2 * place
        theirs, mine = ({"b": (rate, q + place)} if apart else {} for q in (30, 60))
        found.append(row("codec", f"JPEG {place}", dict.fromkeys(saved, (3 * rate, quality)), codec="JPEG"))
        avif = dict.fromkeys(saved, (rate, quality)) | theirs
        found.append(row("codec", f"AVIF {place}", avif, codec="AVIF"))
        found.append(ours(rate, {p: (rate * (1 - s), quality) for p, s in saved.items()} | mine))
    return found


def test_savings_picture_by_picture():
    saving = marks.saving(rows({"a": 0.2, "b": -0.1}), "n", "psnr_y")
    assert saving.mean == pytest.approx(-5)  # of -20 % and +10 %
    assert saving.worst == pytest.approx(10)
    assert saving.low == pytest.approx(0.05 * (0.8 + 1.1) / 2)
    assert saving.high == pytest.approx(0.4 * (0.8 + 1.1) / 2)
    assert (saving.count, saving.apart) == (2, 0)


def test_a_picture_whose_curves_share_no_quality_is_counted_apart():
    found = rows({"a": 0.2}, apart=True)
    saving = marks.saving(found, "n", "psnr_y")
    assert (saving.count, saving.apart) == (1, 1)
    assert marks.saving(found, "another", "psnr_y") is None
    assert marks.saving(found, "n", "psnr_rgb") is None


def test_bytes_for_equal_lpips():
    distances = 0.4, 0.3, 0.2, 0.1
    codec = [
        row("codec", f"AVIF {d}", {"a": (rate, d)}, "lpips", codec="AVIF")
        for rate, d in zip((0.2, 0.4, 0.8, 3.0), distances, strict=True)
    ]
    network = [
        ours(rate, {"a": (rate, d)}, measure="lpips")
        for rate, d in zip((0.05, 0.1, 0.2, 0.4), (0.45, 0.3, 0.2, 0.15), strict=True)
    ]
    share = marks.share([*codec, *network], "n")
    # 0.05 for at most 0.2, 0.1 for 0.4, 0.2 for 0.8; no codec has 0.15 with 2 bits per pixel.
    assert share.mean == pytest.approx(0.25)
    assert (share.cases, share.beyond, share.at_most) == (3, 1, 1)
    assert marks.models([*codec, *network]) == ["n"]


def test_the_table():
    psnr, eye, equal = marks.marks(results("marks", rows({"a": 0.2, "b": -0.1})))
    assert psnr.rows == [("s", "n", "PSNR-Y", "-5.0 %", "+10.0 %", "0.0475 to 0.380", "2")]
    assert eye.rows == equal.rows == []


@pytest.mark.parametrize("measure", ["dists", "ssimulacra2"])
def test_files_in_as_many_bytes(measure):
    def in_bytes(kind, name, rate, values, **facts):
        files = {picture: (rate, value) for picture, value in values.items()}
        return row(kind, name, files, measure, bits_per_pixel=rate, **facts)

    found = [
        in_bytes("codec", "AVIF", 0.1, {"a": 0.5, "b": 0.2}, codec="AVIF", factors=(1, 2)),
        in_bytes("codec", "JPEG", 0.1, {"a": 0.4, "b": 0.3}, codec="JPEG", factors=(1, 2)),
        in_bytes("codec", "AVIF", 0.2, {"a": 0.1, "b": 0.1}, codec="AVIF", factors=(1, 2)),
        row(
            "codec",
            "AVIF 50",
            {"a": (0.1, 0.0), "b": (0.1, 9.0)},
            measure,
            codec="AVIF",
            quality=50,
            factor=1,
        ),
        in_bytes("fitted", "n", 0.1, {"a": 0.3, "b": 0.4}, model="n"),
        in_bytes("fitted", "n", 0.4, {"a": 0.0, "b": 0.0}, model="n"),
    ]
    pair = marks.beside(found, "n", measure)
    best = {"dists": (0.4, 0.2), "ssimulacra2": (0.5, 0.3)}[measure]
    assert (pair.ours, pair.codec) == pytest.approx((0.35, sum(best) / 2))
    assert (pair.better, pair.cases) == (1, 2)
    assert marks.beside(found, "n", "lpips") is None
    assert marks.beside(found, "another", measure) is None


def test_the_hull_leaves_out_what_a_mixture_beats():
    rates = (0.1, 0.2, 0.39, 0.4, 0.8)
    qualities = (30.0, 31.9, 32.5, 36.0, 37.0)
    points = [Point(rate, quality, "") for rate, quality in zip(rates, qualities, strict=True)]
    # 0.2 and 0.39 lie below the chord from 0.1 to 0.4, on which 0.2 would have the same 32.
    assert [point.rate for point in marks.hull(points)] == [0.1, 0.4, 0.8]
    assert marks.hull(points[:2]) == points[:2]
    assert marks.hull([*points[:2], Point(0.3, 31.0, "worse")]) == points[:2]
    # Of codecs, quality over the logarithm of the rate bends upwards: all these stay.
    bent = [Point(rate, 20 + 40 * rate**0.5, "") for rate in (0.01, 0.1, 1.0, 4.0)]
    assert marks.hull(bent) == bent
