"""Training pictures: skips are named, memory is bounded, a sample depends on its number alone."""

import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.system.environment import available_cores
from bdflow.train import data
from bdflow.train.config import DataConfig
from bdflow.train.data import Crops, Pictures, decode, list_pictures, loader, shrink

HEIGHT, WIDTH = 20, 28


def chart(number: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """A picture whose every pixel says where it is and in which picture."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack((rows, columns, np.full_like(rows, number)), axis=2).astype(np.uint8)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Seven charts, a to g."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, letter in enumerate("abcdefg"):
        Image.fromarray(chart(number)).save(folder / f"{letter}.png")
    return folder


def crops(folder: Path, seed: int = 0, cache_gb: float = 1.0, **options) -> Crops:
    config = DataConfig(**{"crop": 8, "batch_size": 3, "flip": False} | options)
    return Crops(Pictures(list_pictures([folder]), config.crop, cache_gb), config, seed)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK", "LA", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    image = Image.fromarray(chart(3))
    image = Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint16)) if mode == "I;16" else image.convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I;16") else "a.png")
    image.save(path)
    rgb = decode(path)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    if mode in ("RGB", "RGBA"):
        assert np.array_equal(rgb, chart(3))


def test_pictures_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    Image.fromarray(chart(3)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(decode(tmp_path / "a.png"), np.rot90(chart(3), -1))


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_fault_is_one_kind_of_error_that_names_no_path(tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"^(no such file|the file is empty|no picture that)") as caught:
        decode(tmp_path / "a.png")
    assert "a.png" not in str(caught.value)


def test_pictures_are_listed_by_name_from_all_folders_and_deeper(tmp_path):
    names = ["x/b.png", "x/deep/er/a.JPG", "y/c.webp", "y/b.png"]
    for name in [*names, "x/notes.txt", "y/a.png.part"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "x" / "folder.png").mkdir()
    found = list_pictures([tmp_path / "y", str(tmp_path / "x")])
    expected = ["x/deep/er/a.JPG", "x/b.png", "y/b.png", "y/c.webp"]
    assert [path.relative_to(tmp_path).as_posix() for path in found] == expected


def test_excluded_names(folder):
    assert [p.name for p in list_pictures([folder], ["a.*", "[c-f]*"])] == ["b.png", "g.png"]


def test_a_missing_folder_is_named(tmp_path, folder):
    with pytest.raises(BDFlowError, match=r"nowhere: not a folder"):
        list_pictures([folder, tmp_path / "nowhere"])
    with pytest.raises(BDFlowError, match=r"a\.png: not a folder"):
        list_pictures([folder / "a.png"])


@pytest.mark.parametrize("exclude", [(), ("*.png",)])
def test_a_folder_without_pictures_is_named(tmp_path, folder, exclude):
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "a.png" if exclude else empty / "a.txt").touch()
    with pytest.raises(BDFlowError, match=r"empty: no pictures in it .*\.png"):
        list_pictures([empty], exclude)


def test_broken_and_small_pictures_are_skipped_named_and_counted(folder):
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    (folder / "c.jpg").write_bytes(b"not a picture at all")
    (folder / "d2.png").touch()
    Image.fromarray(chart(0, 7, 30)).save(folder / "e2.png")
    damaged = bytearray((folder / "f.png").read_bytes())
    damaged[damaged.index(b"IDAT") - 1] -= 20  # its data seem to end early: Pillow calls this a SyntaxError
    (folder / "f.png").write_bytes(damaged)
    said: list[str] = []
    pictures = Pictures(list_pictures([folder]), 8, 1.0, said.append)
    assert [path.name for path in pictures.paths] == [f"{letter}.png" for letter in "acdeg"]
    assert pictures.skipped == 5 == len(said)
    assert [Path(line.split(": ")[0]).name for line in said] == [
        "b.png",
        "c.jpg",
        "d2.png",
        "e2.png",
        "f.png",
    ]
    assert all(line.startswith(f"skipped {folder}/") and "\n" not in line for line in said)
    assert all(": broken (" in line for line in said if "e2" not in line)
    assert said[3].endswith(": 30x7, smaller than 8 pixels")


def test_a_picture_of_just_the_size_of_a_crop_is_used(folder):
    assert len(Pictures(list_pictures([folder]), HEIGHT, 1.0)) == 7
    assert crops(folder, crop=HEIGHT)[0].shape == (3, HEIGHT, HEIGHT)


def test_no_usable_picture_at_all_is_an_error(folder):
    said: list[str] = []
    with pytest.raises(BDFlowError, match="none of 7 pictures can be used"):
        Pictures(list_pictures([folder]), HEIGHT + 1, 1.0, said.append)
    assert len(said) == 7


def test_the_cache_holds_what_fits_and_no_more(folder):
    Image.fromarray(chart(9, 200, 200)).save(folder / "a big one.png")
    size = HEIGHT * WIDTH * 3
    pictures = Pictures(list_pictures([folder]), 8, 4.5 * size / 1e9)
    assert pictures.cached == 4
    held = [index for index in range(8) if pictures[index] is pictures[index]]
    assert held == [1, 2, 3, 4]  # the big one does not take the place of others
    for index in range(1, 8):
        assert np.array_equal(pictures[index], chart(index - 1))


@pytest.mark.parametrize("cached", [0, 3])
def test_decoded_pictures_do_not_pile_up_beyond_the_cache(monkeypatch, cached):
    """Not even while a slow picture holds up those behind it."""
    lock, live, most = threading.Lock(), 0, 0

    def gone() -> None:
        nonlocal live
        live -= 1

    def slow_first(path: Path) -> NDArray[np.uint8]:
        nonlocal live, most
        image = np.zeros((8, 8, 3), np.uint8)
        with lock:
            live += 1
            most = max(most, live)
        weakref.finalize(image, gone)
        time.sleep(0.2 if path.name == "0" else 0)
        return image

    monkeypatch.setattr(data, "decode", slow_first)
    monkeypatch.setattr(data, "available_cores", lambda: 2)
    pictures = Pictures([Path(str(i)) for i in range(100)], 8, cached * 192 / 1e9)
    assert len(pictures) == 100
    assert pictures.cached == live == cached
    assert most <= cached + 6


def test_dropped_pictures_are_gone(folder):
    pictures = Pictures(list_pictures([folder]), 8, 3 * HEIGHT * WIDTH * 3 / 1e9)
    pictures.drop([0, 5])
    assert [path.stem for path in pictures.paths] == list("bcdeg")
    assert [int(pictures[i][0, 0, 2]) for i in range(5)] == [1, 2, 3, 4, 6]
    assert pictures.cached == 2


# Crops.


def places(crops: Crops, samples: range) -> list[tuple[int, int, int]]:
    """Picture, top and left of each sample, read from its pixels; checks that the pixels belong together."""
    side, found = crops.config.crop, []
    for i in samples:
        patch = crops[i]
        assert patch.shape == (3, side, side)
        assert patch.dtype == torch.uint8
        top, left, number = (int(v) for v in patch[:, 0, 0])
        expected = chart(number)[top : top + side, left : left + side]
        assert np.array_equal(patch.permute(1, 2, 0).numpy(), expected)
        found.append((number, top, left))
    return found


def test_a_sample_depends_on_the_seed_and_its_number_alone(folder):
    first = places(crops(folder), range(50))
    other = crops(folder)
    assert [places(other, range(i, i + 1))[0] for i in reversed(range(50))] == first[::-1]
    torch.manual_seed(5)
    assert places(crops(folder, cache_gb=0), range(50)) == first
    again = places(crops(folder, seed=1), range(50))
    assert [number for number, _, _ in again] != [number for number, _, _ in first]
    assert [place for _, *place in again] != [place for _, *place in first]


def test_every_picture_once_before_any_again(folder):
    numbers = [number for number, _, _ in places(crops(folder), range(10 * 7))]
    epochs = [tuple(numbers[i : i + 7]) for i in range(0, 70, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(epochs)) > 5


def test_crops_reach_every_place(folder):
    found = places(crops(folder), range(3000))
    assert {top for _, top, _ in found} == set(range(HEIGHT - 8 + 1))
    assert {left for _, _, left in found} == set(range(WIDTH - 8 + 1))


def oriented(patch: torch.Tensor) -> tuple[bool, bool, bool]:
    """Whether rows go down, columns go right, and the two are swapped."""
    y, x = patch[0].int(), patch[1].int()
    swapped = bool(y[0, 0] == y[1, 0])
    y, x = (y.T, x.T) if swapped else (y, x)
    return bool(y[1, 0] > y[0, 0]), bool(x[0, 1] > x[0, 0]), swapped


@pytest.mark.parametrize(
    ("flip", "rotate", "ways"), [(False, False, 1), (True, False, 2), (False, True, 4), (True, True, 8)]
)
def test_flips_and_quarter_turns(folder, flip, rotate, ways):
    seen = [oriented(crops[i]) for crops in [crops(folder, flip=flip, rotate=rotate)] for i in range(400)]
    assert len(set(seen)) == ways
    assert min(seen.count(way) for way in set(seen)) > 400 / ways * 0.6
    if flip and not rotate:
        assert set(seen) == {(True, True, False), (True, False, False)}  # never upside down


def test_pictures_are_shrunk_before_they_are_cropped(folder):
    """The charts count pixels: where neighbours differ by 2, the picture was halved."""
    halved = crops(folder, sides=(HEIGHT // 2, HEIGHT // 2))
    for i in range(10):
        patch = halved[i].float()
        assert patch.shape == (3, 8, 8)
        inner = patch[:, 2:-2, 2:-2]
        assert (inner[0].diff(dim=0) == 2).float().mean() > 0.9
        assert (inner[1].diff(dim=1) == 2).float().mean() > 0.9
    whole = crops(folder, sides=(HEIGHT, HEIGHT))
    assert all((whole[i][0].diff(dim=0) == 1).all() for i in range(10))
    slopes = {int(crops(folder, sides=(8, HEIGHT))[i][0].max()) > 15 for i in range(30)}
    assert slopes == {True, False}


def test_pictures_are_never_enlarged(folder):
    large = crops(folder, sides=(4 * HEIGHT, 4 * HEIGHT))
    assert (large[0][0].diff(dim=0) == 1).all()
    image = chart(0)
    assert shrink(image, (4 * HEIGHT, 4 * HEIGHT)) is image
    assert shrink(image, None) is image
    assert shrink(image, (5, HEIGHT // 2)).shape == (HEIGHT // 2, WIDTH // 2, 3)


def test_batches_are_the_samples_in_order(folder):
    samples = crops(folder)
    batches = list(loader(samples, 2, 5))
    assert torch.equal(torch.cat(batches), torch.stack([samples[i] for i in range(6, 15)]))
    assert [batch.shape for batch in batches] == [(3, 3, 8, 8)] * 3


def test_another_process_draws_otherwise_from_its_pictures(folder):
    first, second = (
        Crops(Pictures(list_pictures([folder]), 8, 1.0), DataConfig(crop=8, batch_size=3), 0, rank)
        for rank in (0, 1)
    )
    drawn = [torch.cat(list(loader(each, 0, 2))) for each in (first, second, second)]
    assert torch.equal(drawn[1], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_pictures_that_are_not_cached_are_decoded_by_workers_to_the_same_batches(folder):
    cached, uncached = (loader(crops(folder, cache_gb=gb), 0, 3) for gb in (1, 0))
    assert (cached.num_workers, uncached.num_workers) == (0, min(2, available_cores()))
    for a, b in zip(cached, uncached, strict=True):
        assert torch.equal(a, b)


def test_a_finished_run_has_no_batches(folder):
    assert len(loader(crops(folder), 5, 5)) == 0
