"""Pictures in strips: PNG files that hold just them, and hardly larger than Pillow's."""

import io
import threading

import numpy as np
import pytest
from pictures import SRGB
from PIL import Image
from small_files import chunks

from bdflow import BDFlowError
from bdflow.evaluation.demo import PHOTOGRAPH
from bdflow.pictures import strips
from bdflow.pictures.resize import bicubic_up, bicubic_up_rows
from bdflow.pictures.strips import Strips

MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
SIZES = [(1, 1), (1, 9), (9, 1), (23, 31)]  # height, width


def samples(height: int, width: int, channels: int) -> np.ndarray:
    """Parts that each of PNG's filters suits best."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    noise[: height // 2] //= 32
    noise[height // 3 : height // 2] += np.arange(width, dtype=np.uint8)[:, None] * 7
    noise[: height // 4] += np.arange(height // 4, dtype=np.uint8)[:, None, None] * 9
    return noise


def picture(whole: np.ndarray, mode: str, rows: int, icc: bytes | None = None) -> Strips:
    parts = (whole[top : top + rows] for top in range(0, len(whole), rows))
    return Strips((whole.shape[1], whole.shape[0]), mode, icc, parts)


def png(made: Strips) -> bytes:
    file = io.BytesIO()
    made.write_png(file)
    return file.getvalue()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("mode", MODES)
def test_a_png_holds_the_picture(mode, size, monkeypatch):
    whole = samples(*size, MODES[mode])
    files = {png(picture(whole, mode, rows)) for rows in (1, 5, 100)}
    monkeypatch.setattr(strips, "_BAND", 1)
    files.add(png(picture(whole, mode, 100)))
    pixels = {b"".join(body for kind, body in chunks(each) if kind == b"IDAT") for each in files}
    assert len(pixels) == 1  # however it was cut
    for each in files:
        with Image.open(io.BytesIO(each)) as read:
            assert read.mode == mode
            np.testing.assert_array_equal(np.asarray(read).reshape(whole.shape), whole)


def test_a_png_is_as_small_as_pillows():
    with Image.open(PHOTOGRAPH) as image:
        photograph = np.asarray(image.convert("RGB"))
    file = io.BytesIO()
    Image.fromarray(photograph).save(file, "PNG")
    assert len(png(picture(photograph, "RGB", 64))) < 1.03 * len(file.getvalue())


@pytest.mark.parametrize("mode", MODES)
def test_all_of_it(mode):
    whole = samples(23, 31, MODES[mode])
    image = picture(whole, mode, 5, SRGB).to_pil()
    assert (image.mode, image.size, image.info["icc_profile"]) == (mode, (31, 23), SRGB)
    np.testing.assert_array_equal(np.asarray(image).reshape(whole.shape), whole)


@pytest.mark.parametrize("ending", ["png", "PNG", "tif", "webp"])
def test_the_ending_names_the_format_and_the_profile_goes_along(ending, tmp_path):
    whole = samples(23, 31, 4)
    strips.write(picture(whole, "RGBA", 5, SRGB), tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as read:
        assert read.mode == "RGBA"
        assert read.info["icc_profile"] == SRGB
        if ending != "webp":
            np.testing.assert_array_equal(np.asarray(read), whole)


def test_a_strip_that_cannot_be_made_leaves_no_file(tmp_path):
    def failing():
        yield samples(5, 31, 3)
        raise BDFlowError("out of strips")

    for name in ("a.png", "a.jpg"):
        with pytest.raises(BDFlowError, match=r"^out of strips$"):
            strips.write(Strips((31, 23), "RGB", None, failing()), tmp_path / name)
    assert not list(tmp_path.iterdir())
    with pytest.raises(BDFlowError, match="cannot hold transparency"):
        strips.write(picture(samples(3, 3, 4), "RGBA", 1), tmp_path / "a.jpg")


@pytest.mark.parametrize("scale", [2, 4, 8, 16, 32, 64])
def test_alpha_is_enlarged_in_parts_as_whole(scale):
    plane = samples(13, 7, 1)[..., 0]
    whole = bicubic_up_rows(plane, scale, slice(0, 13))
    expected = bicubic_up(plane, scale, (13 * scale, 7 * scale))
    assert np.abs(whole.astype(int) - expected).max() <= 1
    for start, stop in ((0, 1), (3, 8), (12, 13)):
        part = bicubic_up_rows(plane, scale, slice(start, stop))
        np.testing.assert_array_equal(part, whole[start * scale : stop * scale])


def test_a_strip_is_made_while_the_one_before_is_written():
    made = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in (coming := strips.ahead(items())):
        if number < 2:
            assert made[number + 1].wait(10)
    assert list(coming) == []
