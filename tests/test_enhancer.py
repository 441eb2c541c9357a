"""Thumbnails restored: tiles equal the whole, sizes are exact, and the network is told what the file says."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from thumbnails import photo, thumbnail

from bdflow.errors import BDFlowError
from bdflow.pictures.reader import Picture
from bdflow.pictures.strips import Strips
from bdflow.runtime import backends
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import TILE, Enhancer, cell, continued, describe, enlarged
from bdflow.smallfile.thumbnail import FACTORS, FORMATS, Thumbnail, grid

LEAST = 168  # of the tiny network, whose halo is 64: at factors of 3 three cells of 24 on each side, and one


def noise(factor: float, size: tuple[int, int], *, alpha: bool = False, domain="photos") -> Thumbnail:
    """A thumbnail without a file: every pixel counts."""
    rng = np.random.default_rng(0)
    across, down = grid(size, factor)
    rgb = rng.integers(0, 256, (down, across, 3), np.uint8)
    transparency = rng.integers(0, 256, (down, across), np.uint8) if alpha else None
    return Thumbnail(Picture(rgb, transparency), "AVIF", b"", factor, domain, size, 50.0)


# The plain enlargement


def lanczos(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Rows first, whatever Pillow would do."""
    wide = image.resize((size[0], image.height), Image.Resampling.LANCZOS)
    return wide.resize(size, Image.Resampling.LANCZOS)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_parts_of_an_enlargement_are_those_of_the_whole(factor, mode):
    side = cell(factor)
    rng = np.random.default_rng(1)
    small = Image.fromarray(
        rng.integers(0, 256, (2 * round(70 / factor), 2 * round(90 / factor), 3), np.uint8)
    )
    small = small.convert(mode)
    size = int(small.width * factor), int(small.height * factor)
    cells = -(-size[1] // side), -(-size[0] // side)
    expected = np.asarray(lanczos(small, size))
    missing = (0, cells[0] * side - size[1]), (0, cells[1] * side - size[0])
    expected = np.pad(expected, [*missing, (0, 0)][: expected.ndim], mode="edge")
    parts = np.zeros_like(expected)
    for top in range(cells[0]):
        for left in range(cells[1]):
            where = slice(top * side, (top + 1) * side), slice(left * side, (left + 1) * side)
            parts[where] = enlarged(small, factor, *where)
    np.testing.assert_array_equal(parts, expected)


@pytest.mark.parametrize("factor", [1.5, 2, 3, 12])
def test_parts_of_any_shape(factor):
    rng = np.random.default_rng(4)
    small = Image.fromarray(rng.integers(0, 256, (176, 240), np.uint8))
    side = cell(factor)
    whole = enlarged(small, factor, *(slice(0, int(each * factor) // side * side) for each in (176, 240)))
    for rows in (1, 2, 4, 6):
        for columns in (1, 2, 5, 7):
            where = slice(side, side + rows * side), slice(2 * side, 2 * side + columns * side)
            np.testing.assert_array_equal(enlarged(small, factor, *where), whole[where])


@pytest.mark.parametrize("factor", FACTORS)
def test_parts_of_a_long_enlargement_are_those_of_the_whole(factor):
    rng = np.random.default_rng(2)
    small = Image.fromarray(rng.integers(0, 256, (2, 6000, 3), np.uint8))
    height, width, side = int(2 * factor), int(6000 * factor), cell(factor)
    rows = slice(0, -(-height // side) * side)
    whole = enlarged(small, factor, rows, slice(0, -(-width // side) * side))
    for start in (side, width // 3 // side * side, width // side * side - side):
        columns = slice(start, start + side)
        np.testing.assert_array_equal(enlarged(small, factor, rows, columns), whole[:, columns])


# Restored


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("domain", ["photos", "plain"])
def test_tiles_equal_the_whole(enhancer, factor, domain):
    small = noise(factor, (353, 331), alpha=factor == 3, domain=domain)
    tiled = Enhancer(enhancer.model, Computing(tile=LEAST, threads=1))
    strips = list(tiled.restore_strips(small).strips)
    assert len(strips) > 1 or domain == "plain"
    whole = np.asarray(enhancer.restore(small))
    np.testing.assert_allclose(np.concatenate(strips).astype(int), whole, atol=0 if domain == "plain" else 1)
    assert (np.concatenate(strips) != whole).mean() < 1e-4  # sums in another order, at most


def test_the_smallest_tile(enhancer):
    assert enhancer.model.halo == 64
    with pytest.raises(
        BDFlowError, match=r"a tile of 167 pixels is too small for model .*: take 168 or more"
    ):
        Enhancer(enhancer.model, Computing(tile=LEAST - 1))
    assert enhancer.tile == TILE


@pytest.mark.parametrize("halo", range(0, 130, 7))
def test_whatever_the_halo_the_smallest_tile_works(enhancer, halo):
    model = replace(enhancer.model, measured_halo=min(halo, 64))
    with pytest.raises(BDFlowError) as caught:
        Enhancer(model, Computing(tile=1))
    least = int(str(caught.value).split()[-3])
    tiled = Enhancer(model, Computing(tile=least, threads=1))
    tiled._sessions = lambda graph: lambda tensors: [tensors["plain"]]
    for factor in (1, 1.5, 16):
        small = noise(factor, (200, 90))
        expected = enhancer.rgb(replace(small, domain="plain"))
        np.testing.assert_array_equal(tiled.rgb(small), expected)


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (47, 31), (3, 200)])
def test_sizes_are_exact(enhancer, factor, size):
    small = noise(factor, size, alpha=True)
    image = enhancer.restore(small)
    assert (image.size, image.mode) == (size, "RGBA")
    rgb = enhancer.rgb(small)
    assert rgb.shape == (size[1], size[0], 3)
    np.testing.assert_array_equal(np.asarray(image)[..., :3], rgb)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("domain", ["photos", "plain"])
def test_gray_stays_gray(enhancer, format, domain):
    small = thumbnail(photo(31, 47, gray=True), format, 2, domain)
    image = enhancer.restore(small)
    assert (image.mode, image.size) == ("L", (47, 31))
    rgb = enhancer.rgb(small)
    np.testing.assert_array_equal(rgb, np.asarray(image)[..., None].repeat(3, axis=2))
    assert rgb.flags.c_contiguous
    if format != "JPEG":
        small = thumbnail(photo(31, 47, gray=True, alpha=True), format, 2, domain)
        assert enhancer.restore(small).mode == "LA"
        assert enhancer.rgb(small).shape == (31, 47, 3)


def test_gray_is_the_luma_of_what_the_network_gives(enhancer, monkeypatch):
    small = thumbnail(photo(31, 47, gray=True), "JPEG", 2)
    rng = np.random.default_rng(3)
    given = rng.integers(0, 256, (1, 3, 32, 48), np.uint8)
    monkeypatch.setattr(Enhancer, "_loaded", lambda self: lambda tensors: [given])
    luma = Image.fromarray(np.ascontiguousarray(given[0].transpose(1, 2, 0))).convert("L")
    np.testing.assert_array_equal(np.asarray(enhancer.restore(small)), np.asarray(luma)[:31, :47])


def test_plain_is_lanczos_and_needs_no_network(enhancer, monkeypatch):
    monkeypatch.setattr(Enhancer, "_loaded", lambda self: pytest.fail("loaded"))
    small = noise(3, (47, 31), domain="plain")
    whole = lanczos(Image.fromarray(small.image.rgb), (3 * small.image.width, 3 * small.image.height))
    np.testing.assert_array_equal(enhancer.rgb(small), np.asarray(whole)[:31, :47])
    full = noise(1, (47, 31), domain="plain")
    np.testing.assert_array_equal(enhancer.rgb(full), full.image.rgb)


def test_transparency_is_enlarged_by_lanczos(enhancer):
    small = noise(4, (45, 31), alpha=True)
    alpha = lanczos(Image.fromarray(small.image.alpha), (48, 32))
    np.testing.assert_array_equal(np.asarray(enhancer.restore(small))[..., 3], np.asarray(alpha)[:31, :45])


def test_there_is_no_latent(enhancer):
    with pytest.raises(BDFlowError, match=r"^a thumbnail has no latent Z to draw: leave out --sigma"):
        enhancer.restore(noise(2, (8, 8)), sigma=0.5)


def test_strips_know_the_size(enhancer):
    strips = enhancer.restore_strips(noise(2, (47, 31)))
    assert isinstance(strips, Strips)
    assert (strips.size, strips.mode, strips.icc) == ((47, 31), "RGB", None)


# What the network is told


def test_what_the_network_is_told():
    small = noise(4, (40, 40))
    np.testing.assert_allclose(describe(small), [[1, 0, 0, 0.5, 0.5, 0.25, 1, 0, 1]])
    other = replace(small, format="JPEG", domain="portraits", quality=None)
    np.testing.assert_allclose(describe(other), [[0, 0, 1, 0.5, 0, 0, 0, 1, 0]])
    assert describe(replace(noise(1, (4, 4)), quality=0.0)).tolist()[0][3:7] == [0, 0, 0, 1]
    assert describe(replace(noise(16, (4, 4)), format="WebP", domain="plain")).tolist()[0][:4] == [0, 1, 0, 1]
    assert describe(small).dtype == np.float32


def test_each_thing_that_is_told_matters(enhancer):
    small = noise(2, (64, 48))
    restored = enhancer.rgb(small)
    for change in ({"format": "JPEG"}, {"quality": None}, {"quality": 5.0}, {"domain": "portraits"}):
        assert (enhancer.rgb(replace(small, **change)) != restored).any(), change


def test_without_a_quality(enhancer):
    small = replace(noise(2, (31, 47)), quality=None)
    assert enhancer.rgb(small).shape == (47, 31, 3)


def test_backends_agree(enhancer):
    small = thumbnail(photo(90, 120), "WebP", 2)
    torch = Enhancer(enhancer.model, Computing(threads=1, backend="torch"))
    difference = np.abs(torch.rgb(small).astype(int) - enhancer.rgb(small))
    assert difference.max() <= 1
    assert difference.mean() < 0.01
    assert np.abs(enhancer.rgb(small).astype(int) - enhancer.rgb(replace(small, domain="plain"))).mean() > 0.5


def test_a_backend_that_fails_is_one_line(enhancer, monkeypatch):
    def fail(model, graph, device, threads):
        def run(tensors):
            raise RuntimeError("no memory\nand more")

        return run, False

    monkeypatch.setitem(backends.BACKENDS, "onnxruntime", fail)
    with pytest.raises(BDFlowError, match=r"^ONNX Runtime failed: no memory$"):
        Enhancer(enhancer.model).restore(noise(2, (31, 47)))


def test_continued():
    picture = photo(5, 7, alpha=True)
    whole = continued(picture, 3)
    assert (whole.width, whole.height, whole.alpha.shape) == (9, 6, (6, 9))
    np.testing.assert_array_equal(whole.rgb[:5, :7], picture.rgb)
    np.testing.assert_array_equal(whole.rgb[5], whole.rgb[4])
    np.testing.assert_array_equal(whole.alpha[:, 8], whole.alpha[:, 6])
    assert continued(picture, 1) is picture
