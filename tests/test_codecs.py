"""Every rival keeps to its budget, uses it, and takes the better of full size and shrunk."""

import io
import math
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

from bdflow.errors import BDFlowError
from bdflow.methods import CODECS, Within, round_trip
from bdflow.methods.codecs import FACTORS, _largest_that_fits
from bdflow.pictures.codecs import AVIF, JPEG, JPEG_XL, WEBP, Codec
from bdflow.pictures.resize import resize
from bdflow.quality.metrics import psnr

Picture = NDArray[np.uint8]

HAS_JPEG_XL = find_spec("imagecodecs") is not None
needs_jpeg_xl = pytest.mark.skipif(not HAS_JPEG_XL, reason="imagecodecs is not installed (bdflow[bench])")
each_codec = pytest.mark.parametrize(
    "codec",
    [pytest.param(codec, marks=[needs_jpeg_xl] * (codec is JPEG_XL), id=codec.name) for codec in CODECS],
)


@pytest.fixture(scope="module")
def photo() -> Picture:
    return np.ascontiguousarray(astronaut()[0:192, 130:321])  # 192 high, 191 wide: a face and a flag


def is_plain_file(codec: Codec, data: bytes) -> bool:
    try:
        codec.decode(data)
    except ValueError:
        return False
    return True


@each_codec
@pytest.mark.parametrize("budget", [400, 1000, 5000, 20000])
def test_the_budget_is_kept_and_the_picture_comes_from_the_bytes(codec: Codec, photo: Picture, budget: int):
    data, restored = round_trip(Within(codec, budget), photo)
    assert len(data) <= budget
    assert (restored.shape, restored.dtype) == (photo.shape, np.uint8)
    np.testing.assert_array_equal(restored, Within(codec, budget).decode(bytes(data)))


@each_codec
def test_more_bytes_restore_better(codec: Codec, photo: Picture):
    budgets = (350, 1000, 3000, 9000, 27000)
    ratios = [psnr(photo, round_trip(Within(codec, budget), photo)[1]) for budget in budgets]
    assert ratios == sorted(ratios)
    assert ratios[0] > 13  # a flat gray gives 10
    assert ratios[-1] > 36


@each_codec
def test_the_largest_fitting_quality_is_found(codec: Codec, photo: Picture):
    """The next quality would not have fitted: against a scan over all qualities, at full size."""
    codec = replace(codec, effort=4) if codec is AVIF else codec  # the effort that AVIF is searched with
    lowest, highest = codec.qualities
    sizes = [len(codec.encode(photo[:96, :96], quality)) for quality in range(lowest, highest + 1)]
    for budget in (sizes[0], sizes[1], 3000, sizes[-1] - 1, sizes[-1], sizes[-1] + 1):
        _, data = _largest_that_fits(codec, photo[:96, :96], budget)
        best = max(size for size in sizes if size <= budget)
        # JPEG XL's steps are so fine that its bytes do not grow with every one.
        assert len(data) == best or (codec is JPEG_XL and 0.99 * best <= len(data) < best)


@each_codec
def test_a_generous_budget_gives_a_plain_file_and_a_scarce_one_a_shrunk_picture(codec: Codec, photo: Picture):
    assert is_plain_file(codec, Within(codec, 20000).encode(photo))
    scarce = Within(codec, 400).encode(photo)
    assert not is_plain_file(codec, scarce)
    assert (int.from_bytes(scarce[:2]), int.from_bytes(scarce[2:4])) == photo.shape[:2]
    assert codec.decode(scarce[4:]).shape[1] < photo.shape[1] / 2


@each_codec
@pytest.mark.parametrize("budget", [500, 2500])
def test_no_single_factor_does_better(codec: Codec, photo: Picture, budget: int):
    """The choice against each factor tried by hand, without the short cut past hopeless ones."""
    height, width = photo.shape[:2]
    by_hand = {}
    for factor in FACTORS:
        size = math.ceil(height / factor), math.ceil(width / factor)
        shrunk = resize(photo, size, Image.Resampling.LANCZOS)
        _, data = _largest_that_fits(codec, shrunk, budget - (4 if factor > 1 else 0))
        if len(data) <= budget:
            by_hand[factor] = psnr(
                photo, resize(codec.decode(data), (height, width), Image.Resampling.LANCZOS)
            )
    chosen = psnr(photo, round_trip(Within(codec, budget), photo)[1])
    # AVIF codes only the best factors of a quick search at full effort.
    assert chosen == pytest.approx(max(by_hand.values()), abs=0.1 if codec is AVIF else 1e-12)
    assert len(set(by_hand.values())) > 2


def test_shrinking_first_may_beat_full_size(photo: Picture):
    """JPEG fits 2000 bytes at full size, and still does better shrunk: the case that a naive rival loses."""
    _, full_size = _largest_that_fits(JPEG, photo, 2000)
    assert len(full_size) <= 2000
    data, restored = round_trip(Within(JPEG, 2000), photo)
    assert not is_plain_file(JPEG, data)
    assert psnr(photo, restored) > psnr(photo, Within(JPEG, 2000).decode(full_size)) + 0.5


def test_jpeg_takes_the_shorter_of_progressive_and_baseline(photo: Picture):
    def is_progressive(data: bytes) -> bool:
        with Image.open(io.BytesIO(data)) as image:
            return "progressive" in image.info

    assert not is_progressive(Within(JPEG, 1000).encode(photo[:32, :32]))
    assert is_progressive(Within(JPEG, 150_000).encode(np.ascontiguousarray(astronaut())))


@each_codec
def test_an_impossible_budget_says_what_is_needed(codec: Codec, photo: Picture):
    with pytest.raises(
        BDFlowError, match=rf"^{codec.name} cannot hold this 191x192 picture in 30 bytes"
    ) as error:
        round_trip(Within(codec, 30), photo)
    needed = int(str(error.value).rsplit(" ", 1)[1])
    stored = len(Within(codec, needed).encode(photo))
    # JPEG XL's very smallest file is not that of its lowest quality.
    assert stored == needed or (codec is JPEG_XL and stored < needed)
    with pytest.raises(BDFlowError):
        Within(codec, needed - 1).encode(photo)


@each_codec
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2), (65, 66)])
def test_any_size(codec: Codec, size: tuple[int, int]):
    flat = np.full((*size, 3), (200, 120, 40), np.uint8)
    for budget in (2000, 400):
        _, restored = round_trip(Within(codec, budget), flat)
        assert restored.shape == flat.shape
        assert psnr(flat, restored) > 35


@each_codec
def test_the_same_picture_gives_the_same_bytes(codec: Codec, photo: Picture):
    assert Within(codec, 3000).encode(photo) == Within(codec, 3000).encode(photo.copy())


def test_a_side_beyond_the_format_is_shrunk():
    long = np.tile(
        np.arange(0, 250, 10, dtype=np.uint8)[None, :, None], (1, 700, 3)
    )  # 17500: WebP ends at 16383
    data, restored = round_trip(Within(WEBP, 10**6), long)
    assert restored.shape == long.shape
    assert not is_plain_file(WEBP, data)
    assert is_plain_file(JPEG, Within(JPEG, 10**6).encode(long))


def test_a_side_beyond_sixteen_bits_is_an_error():
    with pytest.raises(BDFlowError, match="65535"):
        Within(JPEG, 10**6).encode(np.zeros((1, 65536, 3), np.uint8))


@each_codec
@pytest.mark.parametrize("data", [b"", b"no", b"no picture at all"])
def test_other_bytes_are_an_error(codec: Codec, data: bytes):
    with pytest.raises(BDFlowError, match=f"no {codec.name} data"):
        Within(codec, 1000).decode(data)


@each_codec
def test_only_rgb_bytes_are_taken(codec: Codec, photo: Picture):
    for wrong in (photo[:, :, 0], photo / 255, np.zeros((8, 8, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"uint8 picture \(H, W, 3\)"):
            Within(codec, 1000).encode(wrong)


@each_codec
def test_a_gray_picture_is_stored_as_gray(codec: Codec, photo: Picture):
    gray = np.repeat(photo[..., 1:2], 3, axis=2)
    stored = codec.decode(Within(codec, 20000).encode(gray))
    assert stored.ndim == 2 or codec is WEBP  # it knows no gray, and loses nothing by it
    restored = [round_trip(Within(codec, 4000), rgb)[1] for rgb in (photo, gray)]
    assert psnr(gray, restored[1]) > psnr(photo, restored[0])


def test_without_imagecodecs_one_line_says_how_to_get_jpeg_xl(photo: Picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(BDFlowError, match=r'^JPEG XL needs imagecodecs: pip install "bdflow\[bench\]"$'):
        Within(JPEG_XL, 1000).encode(photo)


@needs_jpeg_xl
def test_jpeg_xl_is_bare_and_its_bytes_do_not_depend_on_the_machine(photo: Picture):
    import imagecodecs

    data = Within(JPEG_XL, 20000).encode(photo)
    assert data[:2] == b"\xff\x0a"  # a codestream, no container
    options = {"effort": 7, "lossless": False, "usecontainer": False, "numthreads": 2}
    for quality in JPEG_XL.qualities:
        distance = 25 * 2 ** (-quality / 64)
        assert JPEG_XL.encode(photo, quality) == imagecodecs.jpegxl_encode(
            photo, distance=distance, **options
        )


def test_the_names_are_those_that_people_use():
    assert [codec.name for codec in CODECS] == ["JPEG", "WebP", "AVIF", "JPEG XL"]
    assert Within(JPEG, 1000).name == "JPEG"
