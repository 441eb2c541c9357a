"""Pictures that cannot be read: one line each, and never more pixels than allowed."""

import threading
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import COLOUR, assert_picture, file, png, smooth
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures.reader import read


def test_unusable_files_are_named(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("this is no picture")
    (tmp_path / "cut.png").write_bytes(file(Image.fromarray(smooth()))[:-60])
    (tmp_path / "eps.eps").write_bytes(file(Image.new("RGB", (4, 4)), "EPS"))
    for name, message in [
        ("none.png", "no such file"),
        (".", "is a folder"),
        ("empty.png", "empty"),
        ("text.jpg", "no picture that bdflow reads"),
        ("cut.png", "damaged or cut short"),
        ("eps.eps", "no picture that bdflow reads"),
    ]:
        with pytest.raises(BDFlowError, match=message) as caught:
            read(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000"])
def test_cut_files(format):
    data = file(Image.fromarray(smooth()), format)
    assert read(data).rgb.shape == (48, 64, 3)
    for share in (0.1, 0.5, 0.8):
        with pytest.raises(BDFlowError, match=r"^the data: "):
            read(data[: int(len(data) * share)])


DAMAGED = {
    format: file(Image.fromarray(smooth(16, 16)), format)
    for format in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(DAMAGED)), st.data())
def test_damaged_files_give_a_picture_or_an_error(format, data):
    content = bytearray(DAMAGED[format])
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own remarks on odd metadata
        try:
            picture = read(bytes(content), max_pixels=100_000)
        except BDFlowError:
            return
    assert picture.width * picture.height <= 100_000


def test_pixel_limit():
    assert read(file(Image.fromarray(COLOUR)), max_pixels=35).width == 7
    for source in (file(Image.fromarray(COLOUR)), Image.fromarray(COLOUR)):
        with pytest.raises(BDFlowError, match="7x5 is more than 34 pixels: reduce it first"):
            read(source, max_pixels=34)


@pytest.mark.parametrize(("width", "height"), [(30_000, 20_000), (65_535, 65_535)])
@pytest.mark.parametrize("action", ["error", "default"])
def test_decompression_bomb(width, height, action, recwarn):
    limit = Image.MAX_IMAGE_PIXELS
    bomb = png(width, height, 8, 2, b"")
    warnings.simplefilter(action)
    with pytest.raises(BDFlowError, match="400,000,000 pixels"):
        read(bomb)
    assert limit == Image.MAX_IMAGE_PIXELS
    assert not recwarn.list


def test_limit_of_pillow_does_not_apply(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert_picture(read(file(Image.fromarray(COLOUR))), COLOUR)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_many_threads(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    data = file(Image.fromarray(COLOUR))
    good = []

    def work():
        good.extend((read(data).rgb == COLOUR).all() for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(good) == 80
    assert all(good)
    assert Image.MAX_IMAGE_PIXELS == 10
