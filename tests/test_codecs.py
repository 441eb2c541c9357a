"""Every rival keeps to its budget, uses it, and takes the better of full size and shrunk."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

from bdflow.codecs import AVIF, CODECS, JPEG, WEBP, Codec, PillowCodec, at_bytes
from bdflow.errors import BDFlowError
from bdflow.metrics import psnr
from bdflow.resize import resize

Picture = NDArray[np.uint8]

each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


@pytest.fixture(scope="module")
def photo() -> Picture:
    return np.ascontiguousarray(astronaut()[0:192, 130:321])  # 192 high, 191 wide: a face and a flag


def is_plain_file(codec: PillowCodec, data: bytes) -> bool:
    try:
        Image.open(io.BytesIO(data), formats=[codec.format]).close()
    except Image.UnidentifiedImageError:
        return False
    return True


@each_codec
@pytest.mark.parametrize("budget", [400, 1000, 5000, 20000])
def test_the_budget_is_kept_and_the_picture_comes_from_the_bytes(codec: Codec, photo: Picture, budget: int):
    data, restored = at_bytes(codec, photo, budget)
    assert len(data) <= budget
    assert (restored.shape, restored.dtype) == (photo.shape, np.uint8)
    np.testing.assert_array_equal(restored, codec.decode(bytes(data)))


@each_codec
def test_more_bytes_restore_better(codec: Codec, photo: Picture):
    ratios = [psnr(photo, at_bytes(codec, photo, budget)[1]) for budget in (350, 1000, 3000, 9000, 27000)]
    assert ratios == sorted(ratios)
    assert ratios[0] > 13  # a flat gray gives 10
    assert ratios[-1] > 36


@each_codec
def test_the_largest_fitting_quality_is_found(codec: PillowCodec, photo: Picture):
    """The next quality would not have fitted: against a scan over all qualities, at full size."""
    image = Image.fromarray(photo[:96, :96])

    def size(quality: int) -> int:
        files = [io.BytesIO() for _ in codec.variants]
        for file, options in zip(files, codec.variants, strict=True):
            image.save(file, codec.format, quality=quality, **options)
        return min(len(file.getvalue()) for file in files)

    sizes = [size(quality) for quality in range(codec.lowest, 101)]
    for budget in (sizes[0], sizes[1], 3000, sizes[-1] - 1, sizes[-1], sizes[-1] + 1):
        data = codec._largest_that_fits(photo[:96, :96], budget)
        assert len(data) == max(size for size in sizes if size <= budget)


@each_codec
def test_a_generous_budget_gives_a_plain_file_and_a_scarce_one_a_shrunk_picture(
    codec: PillowCodec, photo: Picture
):
    assert is_plain_file(codec, codec.encode(photo, 20000))
    scarce = codec.encode(photo, 400)
    assert not is_plain_file(codec, scarce)
    assert (int.from_bytes(scarce[:2]), int.from_bytes(scarce[2:4])) == photo.shape[:2]
    with Image.open(io.BytesIO(scarce[4:]), formats=[codec.format]) as shrunk:
        assert shrunk.width < photo.shape[1] / 2


@each_codec
@pytest.mark.parametrize("budget", [500, 2500])
def test_no_single_factor_does_better(codec: PillowCodec, photo: Picture, budget: int):
    """The choice against each factor tried by hand, without the short cut past hopeless ones."""
    height, width = photo.shape[:2]
    by_hand = {}
    for factor in (1, 2, 3, 4, 6, 8, 12, 16):
        size = -(-height // factor), -(-width // factor)
        shrunk = resize(photo, size, Image.Resampling.LANCZOS)
        data = codec._largest_that_fits(shrunk, budget - (4 if factor > 1 else 0))
        if len(data) <= budget:
            decoded = np.array(Image.open(io.BytesIO(data)))
            by_hand[factor] = psnr(photo, resize(decoded, (height, width), Image.Resampling.LANCZOS))
    chosen = psnr(photo, at_bytes(codec, photo, budget)[1])
    assert chosen == pytest.approx(max(by_hand.values()), abs=1e-12)
    assert len(set(by_hand.values())) > 2


def test_shrinking_first_may_beat_full_size(photo: Picture):
    """JPEG fits 2000 bytes at full size, and still does better shrunk: the case that a naive rival loses."""
    full_size = JPEG._largest_that_fits(photo, 2000)
    assert len(full_size) <= 2000
    data, restored = at_bytes(JPEG, photo, 2000)
    assert not is_plain_file(JPEG, data)
    assert psnr(photo, restored) > psnr(photo, JPEG.decode(full_size)) + 0.5


def test_jpeg_takes_the_shorter_of_progressive_and_baseline(photo: Picture):
    def is_progressive(data: bytes) -> bool:
        with Image.open(io.BytesIO(data)) as image:
            return "progressive" in image.info

    assert not is_progressive(JPEG.encode(photo[:32, :32], 1000))
    assert is_progressive(JPEG.encode(np.ascontiguousarray(astronaut()), 150_000))


@each_codec
def test_an_impossible_budget_says_what_is_needed(codec: Codec, photo: Picture):
    with pytest.raises(
        BDFlowError, match=rf"^{codec.name} cannot hold this 191x192 picture in 30 bytes"
    ) as error:
        at_bytes(codec, photo, 30)
    needed = int(str(error.value).rsplit(" ", 1)[1])
    assert len(codec.encode(photo, needed)) == needed
    with pytest.raises(BDFlowError):
        codec.encode(photo, needed - 1)


@each_codec
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2), (65, 66)])
def test_any_size(codec: Codec, size: tuple[int, int]):
    flat = np.full((*size, 3), (200, 120, 40), np.uint8)
    for budget in (2000, 400):
        _, restored = at_bytes(codec, flat, budget)
        assert restored.shape == flat.shape
        assert psnr(flat, restored) > 35


@each_codec
def test_the_same_picture_gives_the_same_bytes(codec: Codec, photo: Picture):
    assert codec.encode(photo, 3000) == codec.encode(photo.copy(), 3000)


def test_a_side_beyond_the_format_is_shrunk():
    long = np.tile(
        np.arange(0, 250, 10, dtype=np.uint8)[None, :, None], (1, 700, 3)
    )  # 17500: WebP ends at 16383
    data, restored = at_bytes(WEBP, long, 10**6)
    assert restored.shape == long.shape
    assert not is_plain_file(WEBP, data)
    assert is_plain_file(JPEG, JPEG.encode(long, 10**6))


def test_a_side_beyond_sixteen_bits_is_an_error():
    with pytest.raises(BDFlowError, match="65535"):
        JPEG.encode(np.zeros((1, 65536, 3), np.uint8), 10**6)


@each_codec
@pytest.mark.parametrize("data", [b"", b"no", b"no picture at all"])
def test_other_bytes_are_an_error(codec: Codec, data: bytes):
    with pytest.raises(BDFlowError, match=f"no {codec.name} data"):
        codec.decode(data)


@each_codec
def test_only_rgb_bytes_are_taken(codec: Codec, photo: Picture):
    for wrong in (photo[:, :, 0], photo / 255, np.zeros((8, 8, 4), np.uint8)):
        with pytest.raises(ValueError, match=r"uint8 picture \(H, W, 3\)"):
            codec.encode(wrong, 1000)


def test_the_names_are_those_that_people_use():
    assert [codec.name for codec in CODECS] == [JPEG.name, WEBP.name, AVIF.name] == ["JPEG", "WebP", "AVIF"]
