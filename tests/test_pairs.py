"""The cache of coded views: bounded, resumable, the same each time, and made by the product's own rules."""

import io
import json
import zipfile

import msgspec
import numpy as np
import pytest
from PIL import Image
from tiny_restoration import PAIRS, make_pictures

from bdflow.errors import BDFlowError
from bdflow.pictures import codecs
from bdflow.pictures.reader import Picture
from bdflow.runtime.enhancer import shrunk
from bdflow.smallfile.quantizer import quality
from bdflow.smallfile.thumbnail import grid
from bdflow.train import pairs
from bdflow.train.pairs import Planned, Source, Views, list_sources, make_view


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("domains"))


def views_of(pictures, folder, *, smallest=32, **changes) -> Views:
    return Views([pictures], folder, msgspec.structs.replace(PAIRS, **changes), smallest)


def fill(views: Views, monkeypatch=None) -> list[str]:
    said: list[str] = []
    with views.making(1, said.append):
        views.wait(len(views.plan))
    return said


@pytest.fixture(scope="module")
def filled(pictures, tmp_path_factory) -> Views:
    views = views_of(pictures, tmp_path_factory.mktemp("cache") / "cache")
    assert fill(views)[-1].startswith("all 14 views are made: ")
    return views


def test_pictures_belong_to_the_domain_of_their_folder(pictures):
    domains = {"portraits": "portraits", "photos": "photos"}
    sources = list_sources([pictures], domains, ["7.*"])
    assert [(domain, path.name) for domain, path in sources] == [
        *(("portraits", f"{i}.png") for i in range(3)),
        *(("photos", f"{i}.png") for i in range(3, 7)),
    ]
    assert list_sources([pictures / "portraits", pictures / "photos"], domains, ["7.*"]) == sources
    assert {source.domain for source in list_sources([pictures / "photos"], domains, [])} == {"photos"}
    with pytest.raises(BDFlowError, match=r"has no folder faces, and is none: name it, or set pairs"):
        list_sources([pictures], {"portraits": "faces"}, [])
    with pytest.raises(BDFlowError, match="not a folder"):
        list_sources([pictures / "none"], domains, [])


def test_what_is_held_out_comes_first_and_once(filled):
    assert filled.held_out == 2  # of eight pictures, one of each four
    first, second, *others = filled.plan
    assert (first, second) == (Planned(3, 0), Planned(7, 0))
    assert sorted(others) == sorted(Planned(i, r) for i in range(8) if i not in (3, 7) for r in range(2))


def test_a_view_holds_what_the_product_would_code(filled):
    seen = set()
    for index in range(filled.made):
        with zipfile.ZipFile(filled.path(index)) as file:
            described = json.loads(file.read("view.json"))
        for number, coding in enumerate(described["codings"]):
            true, small = filled.read(index, number)
            assert small.domain == filled.domain(index)
            assert (small.factor, small.format) == (coding["factor"], coding["format"])
            assert grid(true.shape[1::-1], small.factor) == (small.image.width, small.image.height)
            assert small.quality == quality(small.data)
            assert max(true.shape[:2]) <= 64
            assert not any(side % 4 for side in true.shape[:2])
            settings = coding["settings"]
            codec = pairs._codec(small.format, 1, for_eye=settings.get("tuning") == "iq")
            again = codec.encode(shrunk(Picture(true), small.factor).rgb, settings["quality"])
            assert again == small.data
            seen.add((small.format, small.factor))
    assert len(seen) >= 4


def test_one_view_is_the_same_each_time_and_another_differs(pictures):
    source = Source("photos", pictures / "photos" / "4.png")
    first, again, second = (make_view(source, Planned(4, r), PAIRS, smallest=32) for r in (0, 0, 1))
    assert isinstance(first, bytes)
    assert first == again != second


def test_a_held_out_view_is_the_middle(pictures):
    source = Source("photos", pictures / "photos" / "3.png")  # 78 x 87
    view = make_view(source, Planned(3, 0), PAIRS, smallest=32, held=True)
    with zipfile.ZipFile(io.BytesIO(view)) as file, Image.open(io.BytesIO(file.read("true.png"))) as true:
        with Image.open(source.path) as whole:
            shrunk_to = whole.resize((round(87 * 64 / 78), 64), Image.Resampling.LANCZOS)
        left = (shrunk_to.width - 64) // 2
        np.testing.assert_array_equal(np.asarray(true), np.asarray(shrunk_to)[:, left : left + 64])


def test_an_interrupted_cache_goes_on_and_ends_as_a_whole_one(pictures, filled, tmp_path):
    views = views_of(pictures, tmp_path / "parts")
    with views.making(1, len):
        views.wait(2)
    made = views.made
    assert 2 <= made < len(views.plan)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("*.zip")}
    assert fill(views_of(pictures, tmp_path / "parts"))
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    for index in range(len(filled.plan)):
        assert filled.path(index).read_bytes() == (tmp_path / "parts" / f"{index:06d}.zip").read_bytes()
    assert len(list((tmp_path / "parts").iterdir())) == len(filled.plan) + 1  # and nothing temporary


def test_what_is_complete_starts_no_process(pictures, filled, monkeypatch):
    monkeypatch.setattr(pairs, "ProcessPoolExecutor", None)
    assert fill(views_of(pictures, filled.folder)) == []


def test_the_cache_keeps_within_its_bound(pictures, filled, tmp_path):
    sizes = [filled.path(index).stat().st_size for index in range(5)]
    bound = (sum(sizes[:4]) + sizes[4] / 2) / 1e9
    views = views_of(pictures, tmp_path / "bounded", cache_gb=bound)
    assert fill(views) == [f"pairs.cache_gb = {bound:g} holds 4 of 14 views"]
    assert views.made == 4
    assert sum(path.stat().st_size for path in (tmp_path / "bounded").glob("*.zip")) <= bound * 1e9
    with pytest.raises(BDFlowError, match=r"more than pairs.cache_gb = 1e-05: raise that, or delete"):
        views_of(pictures, filled.folder, cache_gb=1e-5)


def test_the_cache_of_something_else_is_refused(pictures, filled):
    for changes in ({"codings": 3}, {"smallest": 40}, {"exclude": ("2.png",)}):
        with pytest.raises(BDFlowError, match="holds views of other pictures or settings: name"):
            views_of(pictures, filled.folder, **changes)
    views_of(pictures, filled.folder, cache_gb=1)
    views_of(pictures, filled.folder, smallest=16)  # smaller crops find all they need


def test_pictures_that_cannot_be_used_are_named_and_passed_over(tmp_path):
    pictures = make_pictures(tmp_path / "pictures")
    (pictures / "photos" / "3.png").write_bytes(b"no picture")
    views = views_of(pictures, tmp_path / "cache", smallest=73, views=1, hold_out=0)
    said = fill(views)
    assert any("3.png" in line and line.startswith("skipped ") for line in said)
    assert any(line.endswith("0.png: 96x72, smaller than 73 pixels") for line in said)
    usable = [index for index in range(len(views.plan)) if views.usable(index)]
    assert sorted(index for some in views.of_domains().values() for index in some) == usable
    assert {views.sources[views.plan[index].picture].path.name for index in usable} == {
        "1.png", "2.png", "4.png", "5.png", "6.png",
    } | {"7.png"}  # fmt: skip


def test_a_cache_that_cannot_be_made_says_so(pictures, tmp_path, monkeypatch):
    def full(*args, **options):
        raise BDFlowError("no space left")

    views = views_of(pictures, tmp_path / "cache")
    monkeypatch.setattr(pairs, "write_bytes", full)
    with pytest.raises(BDFlowError, match=r"views cannot be made \(no space left\)"), views.making(1, len):
        views.wait(1)


def test_less_effort_costs_bytes_and_not_the_look(pictures):
    """The quantiser is what a network is told, and depends on no effort."""
    with Image.open(pictures / "photos" / "4.png") as image:
        for name in ("AVIF", "WebP", "JPEG"):
            product = {"AVIF": codecs.AVIF, "WebP": codecs.WEBP, "JPEG": codecs.JPEG}[name]
            quick = pairs._codec(name, 64, for_eye=False)
            assert quality(quick.encode(image, 50)) == quality(product.encode(image, 50))
