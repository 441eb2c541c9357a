"""The page: what it holds, and, where there is a Chromium, that a click, a drag and the keyboard work."""

import base64
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from comparisons import NAMES, comparison
from PIL import Image

from bdflow.compare.comparison import entry
from bdflow.compare.page import draw_page, section


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def picture(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        return np.asarray(image)


def test_the_page_holds_all_pictures_losslessly_and_all_figures():
    made = comparison()
    (photo,) = data_of(draw_page([section(made)]))["photos"]
    np.testing.assert_array_equal(picture(photo["original"]["whole"]), made.true)
    np.testing.assert_array_equal(picture(photo["small"]["uri"]), made.small)
    assert [method["name"] for method in photo["methods"]] == list(NAMES)
    for method, stored in zip(photo["methods"], made.stored, strict=True):
        np.testing.assert_array_equal(picture(method["whole"]), stored.pixels)
        np.testing.assert_array_equal(picture(method["box"]), stored.pixels[4:16, 8:24])
        assert {key: method[key] for key in stored.figures()} == stored.figures()
    assert photo["notes"] == ["a note", "without JPEG XL: it is [missing]"]


def test_large_photographs_are_shown_reduced_but_their_boxes_are_not():
    made = comparison(600, 1500)
    photo = section(made)
    assert photo["shown"] == [1024, 410]
    assert picture(photo["methods"][0]["whole"]).shape == (410, 1024, 3)
    np.testing.assert_array_equal(picture(photo["methods"][0]["box"]), made.box.cut(made.stored[0].pixels))


def test_the_page_is_one_file_and_names_cannot_break_out_of_it():
    page = draw_page([section(comparison())])
    assert page.count("</script>") == 2  # the data's and the code's own
    assert "<title>a [b] &amp; c.png: bdflow compare</title>" in page
    assert not re.search(r'(src|href)="|https?://|@import|url\(', page)
    assert "default-src 'none'" in page  # and the browser lets nothing be fetched


@pytest.fixture
def page(browser, tmp_path):
    """The page in a browser; errors and requests on the way fail the test."""
    path = tmp_path / "page.html"
    path.write_text(draw_page([section(comparison()), section(comparison(600, 1500))]), encoding="utf-8")
    complaints, requests = [], []
    view = browser.new_page(viewport={"width": 1000, "height": 900})
    view.on("pageerror", lambda error: complaints.append(str(error)))
    view.on("console", lambda message: complaints.append(message.text))
    view.on("request", lambda request: requests.append(request.url.partition(":")[0]))
    view.goto(path.as_uri())
    yield view
    view.close()
    assert complaints == []
    assert [scheme for scheme in requests if scheme != "data"] == ["file"]


def blue(view, x: float, y: float) -> int:
    """The blue of the page at a place of the first slider, in parts of its width and height."""
    box = view.locator(".frame").first.bounding_box()
    clip = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "width": 2, "height": 2}
    with Image.open(io.BytesIO(view.screenshot(clip=clip))) as image:
        return image.convert("RGB").getpixel((0, 0))[2]


def test_click_drag_and_keyboard(page):
    """Each version has its own blue: the original 0, then 60, 120, 180, 240."""
    frame = page.locator(".frame").first
    slider = page.get_by_role("slider").first
    assert [abs(blue(page, x, 0.3) - want) < 4 for x, want in ((0.3, 0), (0.7, 60))] == [True, True]

    box = frame.bounding_box()
    across, down = box["width"], box["y"] + box["height"] / 3
    page.mouse.move(box["x"] + across / 2, down)
    page.mouse.down()
    page.mouse.move(box["x"] + across * 0.2, down, steps=4)
    page.mouse.up()
    assert 195 <= int(slider.input_value()) <= 205
    assert abs(blue(page, 0.3, 0.3) - 60) < 4
    assert slider.get_attribute("aria-valuetext") == "20% original, the rest bdflow tiny"

    page.get_by_role("button", name="JPEG").first.click()
    assert abs(blue(page, 0.3, 0.3) - 180) < 4
    assert page.get_by_role("button", pressed=True).first.text_content().startswith("JPEG")
    assert slider.get_attribute("aria-label") == "Divider between original and JPEG"

    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert 295 <= int(slider.input_value()) <= 305
    page.keyboard.press("End")
    assert abs(blue(page, 0.7, 0.3)) < 4

    page.get_by_label("Left:").first.select_option("bicubic x4, PNG")
    assert abs(blue(page, 0.3, 0.3) - 120) < 4

    page.get_by_role("button", name="Enlarged box").first.click()
    box = frame.bounding_box()
    assert box["width"] / box["height"] == pytest.approx(16 / 12, rel=0.02)
    assert page.get_by_role("button", name="Enlarged box").first.get_attribute("aria-pressed") == "true"


def test_names_are_text_and_figures_are_there(page):
    assert page.get_by_role("row", name=NAMES[3]).first.get_by_role("cell").all_text_contents() == [
        "1,333", "3.5000", "33.13\u00a0dB", "31.00\u00a0dB", "0.6000",
    ]  # fmt: skip
    assert page.locator("h1").all_text_contents() == ["a [b] & c.png"] * 2
    assert page.get_by_text("shown reduced to 1024×410").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000])
def test_it_fits_narrow_screens_in_both_schemes(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    with Image.open(io.BytesIO(page.screenshot())) as image:
        background = image.convert("L").getpixel((2, 2))
    assert background > 240 if scheme == "light" else background < 40


def test_a_name_that_is_no_text():
    made = comparison(path=Path(os.fsdecode(b"b\xff\x1b[2J.png")))
    page = draw_page([section(made)])
    assert data_of(page.encode().decode())["photos"][0]["name"] == "b\\udcff\\x1b[2J.png"
    assert made.title.startswith("b\\udcff\\x1b[2J.png, ")
    assert json.dumps(entry(made)).isascii()
