"""Files in ordinary codecs after what happened to them on their way, in the table of `reproduce`."""

import numpy as np
import pytest
from measured import results
from measured import row as measured_row
from thumbnails import QUICK, photo, pixels, thumbnail

from bdflow import fitting
from bdflow.methods.protocol import round_trip
from bdflow.quality.metrics import psnr
from bdflow.reproduce import tables
from bdflow.reproduce.arrived import JOURNEYS, Files, Left, left
from bdflow.reproduce.harm import gains
from bdflow.smallfile.container import NoChunkError, read

FORMATS = {"stripped": "AVIF", "JPEG": "JPEG", "WebP": "WebP", "a": "PNG"}


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.label)
def test_what_happens_to_a_file(journey):
    condition = journey.label
    file = thumbnail(photo(90, 100), "AVIF", 3, quality=80)
    data = journey.happens(file)
    small = pixels(data)
    assert small.shape == (30, 34, 3)
    if condition == "as it is":
        assert read(data).size == (100, 90)
        return
    with pytest.raises(NoChunkError) as caught:
        read(data)
    assert caught.value.format == FORMATS[condition.split()[0]]
    assert np.array_equal(small, file.image.rgb) == (condition == "stripped")
    assert psnr(file.image.rgb, small) > 18


def test_files_are_restored_by_the_scale_and_domain_that_are_named(enhancer, monkeypatch):
    monkeypatch.setitem(fitting.CODECS, "AVIF", QUICK["AVIF"])
    files, true = Files(enhancer, 0.5), photo(90, 100).rgb
    small = files.small(true)
    assert files.small(true) is small
    assert len(small.data) <= 0.5 * 90 * 100 / 8
    found = {}
    for journey in JOURNEYS:
        condition = journey.label
        for network in (True, False):
            entry = files.arrived(journey, network=network)
            assert entry.facts.condition == condition
            assert entry.facts.bits_per_pixel == 0.5
            data, found[condition, network] = round_trip(entry.method, true)
            assert data == journey.happens(small)
            assert found[condition, network].shape == true.shape
    np.testing.assert_array_equal(found["as it is", True], enhancer.rgb(small))
    np.testing.assert_array_equal(found["as it is", False], found["stripped", False])
    if small.domain != "plain":
        np.testing.assert_array_equal(found["stripped", True], found["as it is", True])
    assert psnr(true, found["JPEG 50", False]) < psnr(true, found["as it is", False])


def test_what_is_left_stands_beside_the_enlargement_of_the_same_file():
    def row(kind, condition, *restored):
        figures = {str(index): {"bytes": 9, "psnr_y": value} for index, value in enumerate(restored)}
        facts = {"model": "mine", "bits_per_pixel": 0.05, "condition": condition}
        return measured_row("cats/test", kind, figures, **facts)

    rows = [
        row("fitted", "as it is", 31, 33),
        row("enlarged", "as it is", 30, 31),
        row("fitted", "JPEG 50", 9),
    ]
    made = results("invertibility", rows)
    assert left(made) == {("cats/test", "mine", 0.05, "as it is"): Left(32, 30.5, 2)}
    assert gains(made) == {}
    (grid,) = tables.invertibility(made)
    assert grid.rows == [("cats/test", "mine", "0.05", "as it is", "32.00", "30.50", "+1.50 dB", "2")]
