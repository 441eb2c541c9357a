"""Tiles: whatever their size, the picture is the same, to a level; and what they are computed on."""

import dataclasses
import json
import shutil
from functools import partial
from itertools import product

import numpy as np
import pytest
from test_rescaler import SIZES, gap, noise
from tiny_models import CONFIGS

import bdflow
from bdflow import zoo
from bdflow.runtime import rescaler
from bdflow.runtime.computing import Computing
from bdflow.runtime.rescaler import Rescaler
from bdflow.runtime.tiles import cut
from bdflow.train.halo import measure_halo

find = partial(zoo.find, trust=True)
load = partial(bdflow.load, trust=True)


@pytest.fixture(params=CONFIGS)
def folder(request, tiny):
    return tiny(request.param)


def tiled(model: Rescaler, cells: int) -> Rescaler:
    """The same model, in tiles that keep so many cells."""
    halo = -(-model.model.halo // model.model.scale)
    return Rescaler(model.model, Computing((2 * halo + cells) * model.model.scale, threads=1))


def count_runs(model, monkeypatch) -> list[tuple[int, ...]]:
    """Shapes that the network is given from now on."""
    shapes, session_of = [], model.session

    def counted(graph):
        def run(tensors):
            shapes.append(next(iter(tensors.values())).shape)
            return session_of(graph)(tensors)

        return run

    monkeypatch.setattr(model, "session", counted)
    return shapes


@pytest.mark.parametrize("halo", range(4))
@pytest.mark.parametrize("height", [1, 2, 6, 7, 8, 9, 40, 101])
def test_tiles_cover_a_picture_and_each_kept_cell_sees_its_halo(height, halo):
    for width, limit in product([1, 5, 7, 8, 39, 300], range(7, 40, 4)):
        made = cut(height, width, limit, halo)
        for cells, spans in zip((height, width), made, strict=True):
            kept = [cell for span in spans for cell in range(span.kept.start, span.kept.stop)]
            assert kept == list(range(cells))
            for span in spans:
                assert span.kept.start < span.kept.stop
                assert 0 <= span.seen.start <= max(0, span.kept.start - halo)
                assert min(cells, span.kept.stop + halo) <= span.seen.stop <= cells
        (tall,), (wide,) = ({span.seen.stop - span.seen.start for span in spans} for spans in made)
        assert tall * wide <= limit**2  # and all tiles are of one size, so that memory is used again


@pytest.mark.parametrize(
    ("size", "shape"),
    [((150, 150), (150, 150)), ((151, 149), (151, 149)), ((160, 160), (160, 90)), ((300, 100), (160, 100))],
)
def test_tiles_are_of_the_cheapest_shape(size, shape):
    rows, columns = cut(*size, 150, 10)
    assert tuple(each[0].seen.stop for each in (rows, columns)) == shape


def test_what_is_computed_twice_is_no_more_than_with_square_tiles():
    for height, width, limit, halo in np.random.default_rng(0).integers(1, [400, 400, 90, 20], (300, 4)):
        limit += 2 * halo + 1
        made = cut(height, width, limit, halo)
        counts = [-(-max(1, side - 2 * halo) // (limit - 2 * halo)) for side in (height, width)]
        square = [count * min(side, limit) for count, side in zip(counts, (height, width), strict=True)]
        seen = [len(spans) * spans[0].seen.stop for spans in made]
        assert np.prod(seen) <= np.prod(square)


def test_tiles_leave_no_seams(folder, monkeypatch):
    whole = load(folder, threads=1)
    scale = whole.model.scale
    halo = -(-whole.model.reach // scale)
    side = scale * (2 * halo + 15) + 1
    picture = np.random.default_rng(1).integers(0, 256, (side, side + 3 * scale, 3), np.uint8)
    small = whole.downscale(picture)
    restored, drawn = whole.upscale(small), whole.upscale(small, sigma=0.3, seed=1)
    for cells in (1, 6):
        model = tiled(whole, cells)
        calls = count_runs(model, monkeypatch)
        again = model.downscale(picture)
        assert len(calls) >= 9
        assert len(set(calls)) == 1
        assert gap(small.image.rgb, again.image.rgb) <= 1
        assert small.boundary is None or (small.boundary != again.boundary).mean() < 0.001
        assert gap(restored, model.upscale(small)) <= 1
        assert gap(drawn, model.upscale(small, sigma=0.3, seed=1)) <= 1
    blind = tiled(Rescaler(dataclasses.replace(whole.model, measured_halo=0)), 6)
    assert gap(small.image.rgb, blind.downscale(picture).image.rgb) > 1  # tiles that see nothing else show
    assert gap(restored, blind.upscale(small)) > 1


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_size_and_kind_comes_back_in_tiles(tiny, size, channels):
    whole = load(tiny("tiny-x2"), threads=1)
    model = tiled(whole, 1)  # sees 13 cells
    picture = noise(*size, channels)
    small, expected = model.downscale(picture), whole.downscale(picture)
    assert gap(small.image.rgb, expected.image.rgb) <= 1
    if channels in (2, 4):
        np.testing.assert_array_equal(small.image.alpha, expected.image.alpha)
    restored = model.upscale(expected)
    assert restored.size == size[::-1]
    assert restored.mode == whole.upscale(expected).mode
    assert gap(restored, whole.upscale(expected)) <= 1


def test_a_tile_is_no_larger_than_it_must_be(tiny, monkeypatch):
    model = load(tiny("tiny-x2"), tile=88, threads=1)
    calls = count_runs(model, monkeypatch)
    model.downscale(np.zeros((40, 700, 3), np.uint8))
    assert calls == [(1, 3, 40, 160)] * 5  # of 88x88 pixels no more than 160 for each of 40 rows


def test_by_default_the_tile_has_room_for_what_it_sees(tiny, monkeypatch):
    assert load(tiny("tiny-x2")).tile == rescaler.TILE
    for halo, tile in ((400, 1600), (1100, rescaler.LARGE_TILE), (1512, 3 * 1512)):
        monkeypatch.setattr(zoo.Model, "reach", halo)
        assert load(tiny("tiny-x2")).tile == tile


def test_a_tile_that_keeps_nothing_is_refused(tiny):
    model = find(tiny("tiny-x4"))  # of a reach of 36 pixels
    with pytest.raises(bdflow.BDFlowError) as caught:
        Rescaler(model, Computing(tile=75))
    assert str(caught.value) == "a tile of 75 pixels is too small for model tiny-x4: take 76 or more"
    assert Rescaler(model, Computing(tile=76)).tile == 76


def with_halo(folder, out, text):
    import hashlib

    shutil.copytree(folder, out)
    (out / "halo.json").write_text(text)
    with (out / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(text.encode()).hexdigest()}  halo.json\n")
    return out


def test_a_measured_halo_stands_beside_the_weights(tiny, tmp_path):
    model = find(with_halo(tiny("tiny-x4"), tmp_path / "a", json.dumps({"halo": 20})))
    assert (model.halo, model.reach) == (20, 36)
    assert model.weights_sha256 == find(tiny("tiny-x4")).weights_sha256
    assert find(with_halo(tiny("tiny-x4"), tmp_path / "b", '{"halo": 99}')).halo == 36
    with pytest.raises(bdflow.BDFlowError, match=r"halo\.json: does not tell a halo"):
        find(with_halo(tiny("tiny-x4"), tmp_path / "c", "[]"))


def test_a_halo_is_measured_with_more_than_one_tile(tiny, monkeypatch):
    """A picture that fits in one tile agrees with itself, whatever the halo."""
    monkeypatch.setattr(zoo.Model, "reach", 5000)
    tried = []

    def agree(whole, tiles, picture):
        scale, halo = tiles.model.scale, tiles.model.halo
        grid = (side // scale for side in picture.shape[:2])
        rows, columns = cut(*grid, tiles.tile // scale, -(-halo // scale))
        tried.append((halo, len(rows) * len(columns)))
        return False

    monkeypatch.setattr("bdflow.train.halo._agree", agree)
    assert measure_halo(tiny("tiny-x8")) is None
    assert [each for each, _ in tried] == [32, 64, 96, 128, 192, 256, 384, 512]
    assert {count for _, count in tried} == {2}
