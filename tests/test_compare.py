"""`bdflow compare`: the same bytes for every codec, one box for all methods, and nothing overwritten."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from comparisons import comparison, gradient
from pictures import SRGB
from PIL import Image
from rich.console import Console
from test_compare_page import data_of
from thumbnails import QUICK, photo

import bdflow
from bdflow import BDFlowError, fitting
from bdflow.compare.box import Box, choose_box, parse_box
from bdflow.compare.comparison import compare, table
from bdflow.compare.run import sheet_paths
from bdflow.compare.sheet import draw_sheet
from bdflow.evaluation.measure import Learned
from bdflow.methods import Rescaled
from bdflow.quality.metrics import psnr, psnr_y, ssim_y

# Boxes


def test_a_box_is_where_detail_is():
    rgb = np.full((300, 400, 3), 128, np.uint8)
    rgb[180:240, 60:120] = np.random.default_rng(0).integers(90, 166, (60, 60, 3))
    box = choose_box(rgb)
    assert box == choose_box(rgb.copy())
    assert (box.width, box.height) == (53, 53)  # a sixth of 300, as 320 has it
    assert 180 <= box.y <= 240 - 53
    assert 60 <= box.x <= 120 - 53


def test_rich_texture_outweighs_one_hard_edge():
    rgb = np.zeros((300, 400, 3), np.uint8)
    rgb[:, 100:] = 255
    rgb[100:180, 250:330] = np.random.default_rng(0).integers(240, 256, (80, 80, 1))
    assert 230 < choose_box(rgb).x < 330


def test_a_box_may_be_asked_to_be_larger():
    assert choose_box(gradient(400, 300), least=100)[2:] == (100, 100)
    assert choose_box(gradient(400, 80), least=100)[2:] == (80, 80)


@pytest.mark.parametrize("size", [(11, 11), (12, 300), (1500, 2000), (40, 30)])
def test_a_box_lies_inside_any_picture(size):
    box = choose_box(gradient(*size))
    assert 0 <= box.x <= size[1] - box.width
    assert 0 <= box.y <= size[0] - box.height
    assert box.width == box.height <= 160
    assert box.zoom >= 2
    assert choose_box(np.full((*size, 3), 7, np.uint8)).width == box.width  # flat: no detail anywhere


def test_a_large_picture_is_shown_pixel_by_pixel():
    assert choose_box(gradient(3000, 4000))[2:] == (160, 160)


def test_a_box_is_enlarged_by_repeating_pixels():
    rgb, box = gradient(60, 80), parse_box("10,20,16,8")
    assert box == Box(10, 20, 16, 8)
    assert box.zoom == 20
    enlarged = box.enlarge(rgb)
    assert enlarged.shape == (160, 320, 3)
    np.testing.assert_array_equal(enlarged[::20, ::20], rgb[20:28, 10:26])
    np.testing.assert_array_equal(enlarged[19::20, 19::20], rgb[20:28, 10:26])


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "0 0 9 9", "0,0,7,9", "-1,0,9,9", "0,0,9,641"]
)
def test_other_boxes_are_an_error(text):
    with pytest.raises(BDFlowError, match=r"no box|cannot be shown"):
        parse_box(text)


# Figures


@pytest.fixture(scope="module")
def compared(tiny, tmp_path_factory):
    """A photograph with transparency, compared by tiny-x4."""
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    rgba = np.dstack([gradient(75, 90, 99), np.full((75, 90), 200, np.uint8)])
    rgba[20:50, 30:70, :3] = np.random.default_rng(0).integers(0, 256, (30, 40, 3))
    Image.fromarray(rgba).save(path)
    said = []
    rescaler = bdflow.load(tiny("tiny-x4"), threads=1, trust=True)
    return rescaler, rgba[..., :3], compare(Rescaled(rescaler), path, say=said.append), said


def test_ours_comes_first_and_sets_the_bytes(compared):
    rescaler, rgb, result, said = compared
    ours, *others = result.stored
    data = rescaler.downscale(rgb).to_bytes()
    assert (ours.method, ours.bytes) == ("bdflow tiny-x4", len(data))
    np.testing.assert_array_equal(ours.pixels, np.asarray(rescaler.upscale(data)))
    codecs = [stored for stored in others if stored.method in ("JPEG", "WebP", "AVIF", "JPEG XL")]
    assert len(codecs) >= 3
    assert all(0.5 * len(data) < stored.bytes <= len(data) for stored in codecs)
    names = [stored.method for stored in others] + list(result.skipped)
    assert {"bicubic x4, PNG", "bilinear x4, PNG", "Lanczos x4, PNG", "ThumbHash"} < set(names)
    assert len(names) == 9
    assert len(said) == 10
    assert result.notes == ("transparency left out",)
    assert result.small.shape == (19, 23, 3)


def test_figures_are_of_the_decoded_pictures(compared):
    _, rgb, result, _ = compared
    np.testing.assert_array_equal(result.true, rgb)
    for stored in result.stored:
        assert stored.bits_per_pixel == 8 * stored.bytes / (75 * 90)
        assert stored.psnr_y == psnr_y(rgb, stored.pixels)
        assert stored.psnr_rgb == psnr(rgb, stored.pixels)
        assert stored.ssim_y == ssim_y(rgb, stored.pixels)


def test_a_method_that_fails_is_told_and_the_others_are_compared(compared, tmp_path, monkeypatch):
    def never(rgb: np.ndarray) -> bytes:
        raise BDFlowError("it cannot")

    monkeypatch.setattr("bdflow.methods.placeholders.thumbhash", never)
    Image.fromarray(compared[1]).save(tmp_path / "photo.png")
    result = compare(Rescaled(compared[0]), tmp_path / "photo.png")
    assert result.skipped["ThumbHash"] == "it cannot"
    assert "JPEG" in [stored.method for stored in result.stored]


def test_lpips_stands_beside_the_others_where_it_is_at_hand(compared, tmp_path, monkeypatch):
    learned = {"lpips": Learned(lambda a, b: 0.25, 31)}
    monkeypatch.setattr("bdflow.evaluation.measure.learned", lambda *names, data=None: (learned, {}))
    monkeypatch.setattr("bdflow.compare.comparison.rivals", lambda budget, scale: [])
    Image.fromarray(compared[1]).save(tmp_path / "photo.png")
    result = compare(Rescaled(compared[0]), tmp_path / "photo.png")
    assert result.stored[0].figures()["lpips"] == 0.25
    console = Console(width=100, force_terminal=False)
    with console.capture() as capture:
        console.print(table(result))
    assert "┃ LPIPS-RGB ┃" in capture.get()
    assert "│    0.2500 │" in capture.get()
    monkeypatch.setattr("bdflow.evaluation.measure.learned", lambda *names, data=None: ({}, {}))
    assert "lpips" not in compare(Rescaled(compared[0]), tmp_path / "photo.png").stored[0].figures()


def test_a_tiny_photo_is_an_error(compared, tmp_path):
    Image.fromarray(gradient(10, 60)).save(tmp_path / "small.png")
    with pytest.raises(
        BDFlowError, match=r"small.png: 60x10 is too small to measure: a side needs 11 pixels$"
    ):
        compare(Rescaled(compared[0]), tmp_path / "small.png")


def test_the_table_says_all_and_fits():
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(table(comparison()))
    text = capture.get()
    assert max(map(len, text.splitlines())) <= 80
    assert "a [b] & c.png, 64x48" in text
    assert "│ bicubic x4, PNG      │ 1,111 │         1.5000 │ 31.12 dB │ 29.00 dB │ 0.8000 │" in text
    assert "as many bytes as the bdflow file, 1,000 (0.500" in text
    assert "note: a note\n" in text
    assert "without JPEG XL: it is [missing]\n" in text


# The sheet


def test_the_sheet_shows_the_same_box_of_each():
    made = comparison()
    sheet = draw_sheet(made)
    panels = [made.true, *(stored.pixels for stored in made.stored)]
    for pixels in panels:
        box = made.box.enlarge(pixels)
        assert _contains(sheet, box), "a panel is missing"


def _contains(sheet: np.ndarray, part: np.ndarray) -> bool:
    corners = np.argwhere((sheet[: -len(part) + 1, : -part.shape[1] + 1] == part[0, 0]).all(axis=2))
    return any((sheet[y : y + part.shape[0], x : x + part.shape[1]] == part).all() for y, x in corners[::7])


@pytest.mark.parametrize("size", [(11, 11), (30, 400), (400, 30), (1300, 900)])
def test_a_sheet_of_any_shape(size):
    box = choose_box(gradient(*size))
    sheet = draw_sheet(comparison(*size, box=box))
    assert sheet.dtype == np.uint8
    assert 500 < sheet.shape[0] < 2000
    assert 1500 < sheet.shape[1] < 2600


# The verb


def test_sheets_are_named_after_their_photos(tmp_path):
    photos = [Path("a/one.jpg"), Path("b/two.tif")]
    assert sheet_paths(photos, None) == [Path("a/one.compare.png"), Path("b/two.compare.png")]
    assert sheet_paths(photos, tmp_path) == [tmp_path / "one.compare.png", tmp_path / "two.compare.png"]
    assert sheet_paths(photos[:1], tmp_path / "x.PNG") == [tmp_path / "x.PNG"]
    with pytest.raises(BDFlowError, match="two of the photos would be drawn there"):
        sheet_paths([Path("a/one.jpg"), Path("b/one.png")], tmp_path)


def test_compare_writes_sheet_page_and_figures(shell, built_in, monkeypatch):
    monkeypatch.setattr(
        "bdflow.evaluation.measure.learned", lambda *names, data=None: ({}, {"lpips": "not wanted"})
    )
    Path("out").mkdir()
    for index in (1, 2):
        Image.fromarray(gradient(40, 52, 50 * index)).save(f"{index}.png")
    files = ("-o", "out", "--html", "page.html", "--json", "figures.json")
    status, out, err = shell("compare", "1.png", "2.png", "-x", "2", "--box", "3,4,20,10", *files)
    assert status == 0, err
    assert "│ bdflow tiny-x2 " in out.decode()
    assert "out/2.compare.png: " in err
    for name in ("out/1.compare.png", "out/2.compare.png"):
        with Image.open(name) as image:
            assert image.size > (1000, 700)
    figures = json.loads(Path("figures.json").read_text())
    assert [photo["photo"] for photo in figures["photos"]] == ["1.png", "2.png"]
    assert figures["photos"][1]["box"] == [3, 4, 20, 10]
    assert set(figures["photos"][0]["methods"]["bicubic x2, PNG"]) == {
        "bytes", "bits_per_pixel", "psnr_y", "psnr_rgb", "ssim_y",
    }  # fmt: skip
    assert {"model", "weights_sha256", "settings", "environment"} < set(figures)
    assert Path("page.html").read_text().count('"name": "ThumbHash"') == 2

    page = Path("page.html").read_bytes()
    status, out, err = shell("compare", "1.png", "-x", "2", "--html", "page.html")
    assert (status, out) == (1, b"")
    assert err == "bdflow: page.html: exists already: choose another name or allow overwriting (--force)\n"
    assert Path("page.html").read_bytes() == page
    assert not Path("1.compare.png").exists()
    assert shell("compare", "1.png", "-x", "2", "--html", "page.html", "--force")[0] == 0
    assert not Path("1.compare.png").exists()  # nobody asked for it
    assert len(Path("page.html").read_bytes()) < len(page)


def test_files_in_ordinary_codecs_are_compared_too(shell, restoring, monkeypatch):
    monkeypatch.setitem(fitting.CODECS, "AVIF", QUICK["AVIF"])
    photo(40, 52).to_pil().save("1.png")
    status, _, err = shell("compare", "1.png", "--bytes", "500", "--json", "figures.json")
    assert status == 0, err
    figures = json.loads(Path("figures.json").read_text())
    methods = figures["photos"][0]["methods"]
    assert next(iter(methods)) == "bdflow restoration-fidelity, 500 bytes"
    assert {"JPEG", "WebP", "AVIF"} <= {*methods, *figures["photos"][0]["skipped"]}
    assert not any("PNG" in name for name in methods)
    assert all(values["bytes"] <= 500 for values in methods.values())
    assert figures["settings"]["bytes"] == 500
    assert shell("compare", "1.png", "--bpp", "2", "--format", "webp")[0] == 0
    with Image.open("1.compare.png") as image:
        assert image.size > (1000, 700)
    for wrong in (("--bytes", "3k", "--bpp", "1"), ("--bytes", "3k", "-x", "8")):
        status, _, err = shell("compare", "1.png", *wrong)
        assert (status, err.count("\n")) == (1, 1)


def test_a_photo_that_cannot_be_compared_is_told_before_the_others_are(shell, built_in):
    Image.fromarray(gradient(40, 52)).save("1.png")
    Image.fromarray(gradient(40, 10)).save("2.png")
    Path("out").mkdir()
    status, _, err = shell("compare", "1.png", "2.png", "-x", "2", "-o", "out")
    assert (status, err) == (1, "bdflow: 2.png: 10x40 is too small to measure: a side needs 11 pixels\n")
    assert not list(Path("out").iterdir())


def test_a_gray_profile_is_left_out_of_pictures_in_colour(shell, built_in):
    Image.fromarray(gradient(40, 52)).convert("L").save("gray.png", icc_profile=SRGB)
    assert shell("compare", "gray.png", "-m", "tiny-x2")[0] == 0
    with Image.open("gray.compare.png") as image:
        assert "icc_profile" not in image.info


def test_the_profile_goes_into_sheet_and_page(shell, built_in):
    Image.fromarray(gradient(40, 52)).save("photo.png", icc_profile=SRGB)
    assert (
        shell("compare", "photo.png", "-m", "tiny-x2", "--html", "page.html", "-o", "photo.compare.png")[0]
        == 0
    )
    uri = data_of(Path("page.html").read_text())["photos"][0]["original"]["whole"]
    for source in ("photo.compare.png", io.BytesIO(base64.b64decode(uri.partition(",")[2]))):
        with Image.open(source) as image:
            assert image.info["icc_profile"] == SRGB
