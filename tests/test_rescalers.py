"""The model of a scale that restores a photograph best, where there are several."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from thumbnails import photo

import bdflow
from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.fitting.rescalers import Rescalers, rescalers
from bdflow.pictures.reader import Picture
from bdflow.runtime.rescaler import Rescaler
from bdflow.smallfile import container


class Erring:
    """Restores dark pixels with one error and bright ones with another; remembers what it was tried on."""

    def __init__(self, dark: int, bright: int) -> None:
        self.dark, self.bright = dark, bright
        self.tried: list[Picture] = []
        self.model = SimpleNamespace(scale=2)

    def downscale(self, picture: Picture) -> Picture:
        self.tried.append(picture)
        return picture

    def rgb(self, small: Picture) -> np.ndarray:
        return small.rgb + np.where(small.rgb < 128, self.dark, self.bright).astype(np.uint8)


@pytest.fixture
def two(built_in, tiny, monkeypatch):
    """Two models of x2, one better at dark photographs, the other at bright ones."""
    for name in ("photos-x2", "portraits-x2"):
        (built_in / name).symlink_to(tiny("tiny-x2"), target_is_directory=True)
    both = Rescalers(zoo.defaults(2)[:2])
    dark, bright = Erring(2, 9), Erring(9, 2)
    monkeypatch.setattr(both, "_rescalers", (dark, bright))
    return both, dark, bright


def flat(level: int, height: int, width: int) -> Picture:
    return Picture(np.full((height, width, 3), level, np.uint8))


def test_the_one_that_restores_a_photograph_better_is_taken(two):
    both, dark, bright = two
    assert both.scale == 2
    assert both.of([flat(50, 60, 70)]) is dark
    assert both.of([flat(200, 60, 70)]) is bright
    assert both.of([flat(50, 60, 70), flat(200, 60, 70), flat(60, 60, 70)]) is dark
    assert both.of([]) is dark  # the first


def test_a_small_photograph_is_tried_as_a_whole_and_a_large_one_in_part(two):
    both, dark, _ = two
    both.of([flat(50, 200, 250)])
    both.of([flat(50, 2000, 3000)])
    small, large = (picture.rgb.shape[:2] for picture in dark.tried)
    assert small == (200, 250)
    assert 6e6 / 24 < large[0] * large[1] < 6e6 / 12
    assert not any(side % 64 for side in large)  # blocks of 32 pixels of the small picture


def test_transparent_pixels_count_as_what_is_stored_of_them(two):
    both, dark, bright = two
    alpha = np.zeros((60, 70), np.uint8)
    alpha[:20] = 255
    picture = flat(50, 60, 70)
    picture.rgb[20:] = 200  # nobody sees it
    assert both.of([Picture(picture.rgb, alpha)]) is dark
    assert both.of([picture]) is bright


def test_a_single_model_is_not_tried(built_in, monkeypatch):
    one = rescalers(scale=2)
    monkeypatch.setattr(Rescaler, "downscale", None)
    assert one.of(iter([flat(50, 10, 10)])).model.name == "tiny-x2"
    assert rescalers("tiny-x4").of([]).model.name == "tiny-x4"


def test_another_process_has_the_same_models(two):
    assert two[0].scale == 2
    again = pickle.loads(pickle.dumps(Rescalers(zoo.defaults(2)[:2])))
    assert [each.model.folder.name for each in again._rescalers] == ["photos-x2", "portraits-x2"]


@pytest.mark.parametrize(("worse", "best"), [("photos-x2", "portraits-x2"), ("portraits-x2", "photos-x2")])
def test_the_command_the_batch_and_python_take_the_better_one_and_name_it(
    built_in, tiny, tmp_path, monkeypatch, capsys, worse, best
):
    """Two real models, one of which restores a negative."""
    from bdflow.cli.main import main

    monkeypatch.chdir(tmp_path)
    (built_in / "tiny-x2").unlink()
    for name in ("photos-x2", "portraits-x2"):
        (built_in / name).symlink_to(tiny("tiny-x2"), target_is_directory=True)
    real = Rescaler.rgb

    def rgb(self, small, **options):
        restored = real(self, small, **options)
        return 255 - restored if self.model.folder.name == worse else restored

    monkeypatch.setattr(Rescaler, "rgb", rgb)
    chosen = []
    downscale = Rescaler.downscale

    def remember(self, image, **options):
        chosen.append(self.model.folder.name)
        return downscale(self, image, **options)

    monkeypatch.setattr(Rescaler, "downscale", remember)
    photo(40, 50).to_pil().save("photo.png")
    assert main(["downscale", "photo.png", "-x", "2", "-f", "--threads", "1"]) == 0
    assert chosen == ["photos-x2", "portraits-x2", best]
    assert capsys.readouterr().err.endswith("bytes, by tiny-x2\n")  # as its weights say
    chosen.clear()
    assert main(["downscale", "photo.png", "-x", "2", "-o", "out/", "-f", "--jobs", "1"]) == 0
    assert chosen == ["photos-x2", "portraits-x2", best]
    chosen.clear()
    bdflow.downscale("photo.png", scale=2, threads=1)
    assert chosen == ["photos-x2", "portraits-x2", best]
    chosen.clear()
    bdflow.downscale("photo.png", scale=2, domain="portraits", threads=1)
    assert main(["downscale", "photo.png", "-x", "2", "-f", "--domain", "portraits"]) == 0
    assert chosen == ["portraits-x2"] * 2
    chosen.clear()
    assert container.read("photo.x2.png").model == "tiny-x2"
    with Image.open("photo.x2.png") as image:
        assert image.size == (25, 20)


def test_a_domain_goes_with_a_scale(built_in):
    with pytest.raises(BDFlowError, match="a domain is for a scale: leave out the model, or the domain"):
        rescalers("tiny-x2", domain="photos")
    with pytest.raises(BDFlowError, match="no built-in model shrinks photos 2 times; there is tiny"):
        rescalers(scale=2, domain="photos")


def test_better_weights_of_a_model_take_its_place_under_another_name(built_in, tiny):
    """What the first wrote still restores with the first."""
    names = ["photos-x2", "portraits-x2", "portraits-x2-v2", "portraits-x2-v10", "portraits-x2-look"]
    for name in names:
        (built_in / name).symlink_to(tiny("tiny-x2"), target_is_directory=True)
    (built_in / "tiny-x2").unlink()
    zoo.list_built_in()
    assert [model.folder.name for model in zoo.defaults(2)] == ["photos-x2", "portraits-x2-v10"]
    assert zoo.find(scale=2).folder.name == "photos-x2"
    assert zoo.find(scale=2, domain="portraits").folder.name == "portraits-x2-v10"
    assert zoo.find("portraits-x2").folder.name == "portraits-x2"
    assert zoo.find_maker("portraits-x2-v2", bytes(8)).folder.name == "portraits-x2-v2"
