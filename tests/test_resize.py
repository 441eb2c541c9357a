"""The reference bicubic against torch's antialiased one, and its geometry at any size."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bdflow.pictures.resize import bicubic_down, bicubic_up, resize
from bdflow.quality.metrics import psnr

Picture = NDArray[np.uint8]


def picture(height: int, width: int) -> Picture:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def torch_bicubic(rgb: Picture, size: tuple[int, int]) -> NDArray[np.float64]:
    planes = torch.from_numpy(rgb.astype(np.float64)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(planes, size, mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).clamp(0, 255).numpy()


# Noise of half contrast, so that nothing is clipped; what differs is Pillow's 8-bit rounding after each axis.
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_down_is_the_antialiased_bicubic(scale):
    rgb = picture(48, 72) // 2 + 64
    theirs = torch_bicubic(rgb, (48 // scale, 72 // scale))
    np.testing.assert_allclose(bicubic_down(rgb, scale), theirs, rtol=0, atol=1.25)


def test_up_is_the_bicubic_with_a_of_minus_one_half():
    rgb = picture(12, 9) // 2 + 64
    # with OpenCV's a of -0.75 it would be off by several levels
    np.testing.assert_allclose(bicubic_up(rgb, 4, (48, 36)), torch_bicubic(rgb, (48, 36)), rtol=0, atol=1.25)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 17), (7, 8), (8, 9), (33, 31)])
@pytest.mark.parametrize("scale", [1, 2, 3, 8, 64])
def test_any_size_shrinks_to_the_ceiling_and_returns(height, width, scale):
    rgb = picture(height, width)
    small = bicubic_down(rgb, scale)
    assert small.shape == (-(-height // scale), -(-width // scale), 3)
    assert small.dtype == np.uint8
    restored = bicubic_up(small, scale, (height, width))
    assert restored.shape == rgb.shape
    if scale == 1:
        np.testing.assert_array_equal(restored, rgb)


def test_padding_repeats_the_right_and_bottom_edges():
    rgb = picture(13, 10)
    padded = np.concatenate([rgb, *[rgb[-1:]] * 3])
    padded = np.concatenate([padded, *[padded[:, -1:]] * 6], axis=1)
    np.testing.assert_array_equal(bicubic_down(rgb, 8), bicubic_down(padded, 8))
    small = bicubic_down(rgb, 8)
    np.testing.assert_array_equal(bicubic_up(small, 8, (13, 10)), bicubic_up(small, 8, (16, 16))[:13, :10])


def test_what_is_kept_stays_in_place():
    """A ramp would come back shifted if the LR grid did not sit on the padded HR grid."""
    ramp = np.repeat(np.arange(101, dtype=np.uint8)[:, None, None] * np.uint8(2), 3, axis=2).repeat(
        20, axis=1
    )
    restored = bicubic_up(bicubic_down(ramp, 8), 8, ramp.shape[:2])
    inside = slice(16, 80)  # the ends are not ramps
    assert psnr(restored[inside], ramp[inside]) > 46


def test_constant_pictures_stay_constant():
    flat = np.full((21, 11, 3), 201, np.uint8)
    assert np.all(bicubic_up(bicubic_down(flat, 4), 4, (21, 11)) == 201)


def test_the_scale_must_fit_the_sizes():
    small = picture(2, 2)
    assert bicubic_up(small, 3, (5, 6)).shape == (5, 6, 3)
    with pytest.raises(ValueError, match="does not enlarge"):
        bicubic_up(small, 3, (7, 6))
    with pytest.raises(ValueError, match="does not enlarge"):
        bicubic_up(small, 3, (3, 6))
    for scale in (0, -2):
        with pytest.raises(ValueError, match="scale must be 1 or more"):
            bicubic_down(small, scale)
        with pytest.raises(ValueError, match="does not enlarge"):
            bicubic_up(small, scale, (2, 2))


@pytest.mark.parametrize(
    "wrong",
    [
        picture(8, 8)[0, :, 0],
        picture(8, 8) / 255,
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_only_rgb_bytes_are_taken(wrong):
    with pytest.raises(ValueError, match=r"uint8 picture \(H, W, 3\)"):
        resize(wrong, (4, 4))


def test_resize_takes_any_filter_and_size():
    rgb = picture(10, 14)
    expected = np.asarray(Image.fromarray(rgb).resize((5, 3), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(resize(rgb, (3, 5), Image.Resampling.LANCZOS), expected)
    assert not np.array_equal(resize(rgb, (3, 5)), expected)
