"""Pictures through a model and back: any size, any kind, from memory as from the file."""

import dataclasses
import io
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pictures import GRAY_PROFILE, SRGB, file, png, rows16
from PIL import Image, ImageFilter
from small_files import repainted, saved_again
from tiny_models import CONFIGS

import bdflow
from bdflow.networks.network import Down, Up
from bdflow.pictures import reader
from bdflow.pictures.resize import bicubic_down
from bdflow.runtime import backends, rescaler
from bdflow.runtime.computing import Computing
from bdflow.smallfile import container
from bdflow.zoo.loading import load_model

SIZES = [(1, 1), (1, 7), (7, 1), (3, 5), (8, 8), (9, 15), (17, 40), (41, 23)]  # height, width
NOISE = np.random.default_rng(0).integers(0, 256, (41, 45, 4), np.uint8)


def noise(height: int = 41, width: int = 45, channels: int = 3) -> np.ndarray:
    return NOISE[:height, :width, :channels]


def gap(a, b) -> int:
    """Largest difference in levels."""
    assert np.shape(a) == np.shape(b)
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


@pytest.fixture(params=CONFIGS)
def model(request, tiny):
    return bdflow.load(tiny(request.param), threads=1, trust=True)


@pytest.fixture
def x2(tiny):
    return bdflow.load(tiny("tiny-x2"), threads=1, trust=True)


@pytest.fixture
def x4(tiny):
    return bdflow.load(tiny("tiny-x4"), threads=1, trust=True)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_comes_back_exactly(model, size):
    small = model.downscale(noise(*size))
    scale = model.model.scale
    assert (small.image.height, small.image.width) == tuple(-(-side // scale) for side in size)
    assert small.size == size[::-1]
    assert model.upscale(small.to_bytes()).size == size[::-1]


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 40), (41, 23)], ids=str)
def test_the_network_sees_right_and_bottom_edges_repeated(model, size):
    picture, scale = noise(*size), model.model.scale
    rows = [min(y, size[0] - 1) for y in range(-(-size[0] // scale) * scale)]
    columns = [min(x, size[1] - 1) for x in range(-(-size[1] // scale) * scale)]
    padded = picture[rows][:, columns]
    small, whole = model.downscale(picture), model.downscale(padded)
    np.testing.assert_array_equal(small.image.rgb, whole.image.rgb)
    np.testing.assert_array_equal(small.boundary, whole.boundary)
    restored = np.asarray(model.upscale(small))
    np.testing.assert_array_equal(restored, np.asarray(model.upscale(whole))[: size[0], : size[1]])


def test_both_directions_compute_what_torch_does(model):
    network, scale = load_model(model.model.folder), model.model.scale
    picture = noise(5 * scale, 5 * scale)
    with torch.no_grad():
        expected, *boundary = Down(network)(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None])
        restored = Up(network)(expected, *boundary)
    small = model.downscale(picture)
    assert gap(small.image.rgb, expected[0].permute(1, 2, 0)) <= 1
    assert (small.boundary is None) == (not boundary)
    if boundary:
        assert (small.boundary != boundary[0][0, 0].numpy()).mean() < 0.1
    same = dataclasses.replace(
        small,
        image=reader.Picture(np.ascontiguousarray(expected[0].permute(1, 2, 0))),
        boundary=boundary[0][0, 0].numpy() if boundary else None,
    )
    assert gap(model.upscale(same), restored[0].permute(1, 2, 0)) <= 1


def test_every_level_of_the_boundary_map_is_stored_and_used(x4):
    small = x4.downscale(noise())
    assert set(np.unique(small.boundary)) == {0, 1, 2, 3}
    stored = container.read(small.to_bytes())
    assert stored.bits == 2
    np.testing.assert_array_equal(stored.boundary, small.boundary)
    without = dataclasses.replace(small, boundary=None)
    binary = dataclasses.replace(small, boundary=np.minimum(small.boundary, 1))
    restored = [np.asarray(x4.upscale(each)) for each in (small, without, binary)]
    assert gap(restored[0], restored[1]) > 1
    assert gap(restored[0], restored[2]) > 1


KINDS = {
    "gray": (Image.fromarray(noise(19, 21, 1)[..., 0]), "RGB", "L"),
    "gray and alpha": (Image.fromarray(noise(19, 21, 4)).convert("LA"), "RGBA", "LA"),
    "RGB": (Image.fromarray(noise(19, 21)), "RGB", "RGB"),
    "RGBA": (Image.fromarray(noise(19, 21, 4)), "RGBA", "RGBA"),
    "palette": (Image.fromarray(noise(19, 21)).quantize(16), "RGB", "RGB"),
    "bilevel": (Image.fromarray(noise(19, 21)).convert("1"), "RGB", "L"),
}


@pytest.mark.parametrize(("image", "small_mode", "mode"), KINDS.values(), ids=KINDS)
def test_a_picture_keeps_its_kind(x2, image, small_mode, mode):
    data = x2.downscale(file(image)).to_bytes()
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.mode == small_mode
        assert stored.size == (11, 10)
    restored = x2.upscale(data)
    assert restored.mode == mode
    assert restored.size == image.size


def test_gray_is_the_luma_of_what_the_network_gives(x2):
    gray = noise(20, 22, 1)[..., 0]
    colour = np.repeat(gray[..., None], 3, axis=2)
    small, coloured = x2.downscale(gray), x2.downscale(colour)
    assert gap(small.image.rgb[..., 0], small.image.rgb[..., 1]) > 1  # where its detail hides
    np.testing.assert_array_equal(small.image.rgb, coloured.image.rgb)
    restored = x2.upscale(coloured)
    assert restored.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(x2.upscale(small)), np.asarray(restored.convert("L")))


def test_a_gray_picture_alone_is_restored_as_gray(x2):
    small = Image.fromarray(noise(9, 12, 1)[..., 0])
    restored, coloured = x2.upscale(reader.read(small)), x2.upscale(reader.read(small.convert("RGB")))
    assert restored.mode == "L"
    np.testing.assert_array_equal(np.asarray(restored), np.asarray(coloured.convert("L")))


def test_alpha_is_shrunk_bicubically_and_opaque_stays_opaque(x2):
    alpha = np.asarray(Image.fromarray(noise(19, 21, 1)[..., 0]).filter(ImageFilter.GaussianBlur(3)))
    small = x2.downscale(np.dstack([noise(19, 21), alpha]))
    np.testing.assert_array_equal(small.image.alpha, bicubic_down(np.dstack([alpha] * 3), 2)[..., 0])
    assert gap(np.asarray(x2.upscale(small))[..., 3], alpha) < 8
    opaque = x2.upscale(x2.downscale(np.dstack([noise(19, 21), np.full((19, 21), 255, np.uint8)])))
    assert (np.asarray(opaque)[..., 3] == 255).all()


def test_exif_rotation_is_applied_before_shrinking(x2):
    image = Image.fromarray(noise(19, 31))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by a quarter
    upright = np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    small = x2.downscale(file(image, exif=exif.tobytes()))
    assert small.size == (19, 31)
    np.testing.assert_array_equal(small.image.rgb, x2.downscale(upright).image.rgb)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_colour_profile_goes_both_ways(x2, mode):
    icc = SRGB if mode == "RGB" else GRAY_PROFILE
    data = x2.downscale(file(Image.fromarray(noise()).convert(mode), icc_profile=icc)).to_bytes()
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.info.get("icc_profile") == (SRGB if mode == "RGB" else None)  # see Downscaled.gray
    assert x2.upscale(data).info["icc_profile"] == icc


def test_16_bits_are_reduced_with_a_note(x2):
    samples = noise(9, 12, 1)[..., 0].astype(np.uint16) * 257
    small = x2.downscale(png(12, 9, 16, 0, rows16(samples)))
    assert small.notes == ("16-bit samples reduced to 8 bits",)
    assert small.image.notes == ()  # the small picture itself was not read
    assert container.read(small.to_bytes()).notes == ()
    assert repr(small).endswith("Picture(6x5, RGB), 16-bit samples reduced to 8 bits)")
    np.testing.assert_array_equal(small.image.rgb, x2.downscale(noise(9, 12, 1)[..., 0]).image.rgb)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_file_restores_what_memory_does(model, channels, tmp_path):
    small = model.downscale(noise(channels=channels))
    small.save(tmp_path / "small.png")
    from_memory, from_file = model.upscale(small), model.upscale(tmp_path / "small.png")
    assert from_memory.mode == from_file.mode
    np.testing.assert_array_equal(np.asarray(from_memory), np.asarray(from_file))


def test_eight_threads_get_what_one_gets(x4):
    pictures = [noise(41 - i, 45 - 2 * i) for i in range(8)]
    expected = [np.asarray(x4.upscale(x4.downscale(each).to_bytes())) for each in pictures]
    # Its sessions are made while eight ask for them.
    fresh = rescaler.Rescaler(x4.model, Computing(threads=1))

    def there_and_back(each: np.ndarray) -> np.ndarray:
        return np.asarray(fresh.upscale(fresh.downscale(each).to_bytes()))

    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            for got, wanted in zip(pool.map(there_and_back, pictures), expected, strict=True):
                np.testing.assert_array_equal(got, wanted)


def test_sessions_are_made_once_for_all_threads(x2, monkeypatch):
    made, real = [], backends.onnxruntime.InferenceSession
    monkeypatch.setattr(
        backends.onnxruntime, "InferenceSession", lambda *args: (made.append(args[0].name), real(*args))[1]
    )
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: x2.upscale(x2.downscale(noise())), range(8)))
    assert sorted(made) == ["down.onnx", "up.onnx"]


def test_one_thread_and_two_agree_within_a_level(model):
    two = bdflow.load(model.model.folder, threads=2, trust=True)
    small = model.downscale(noise())
    assert gap(small.image.rgb, two.downscale(noise()).image.rgb) <= 1
    assert gap(model.upscale(small), two.upscale(small)) <= 1


def test_a_draw_of_z_is_repeatable_and_its_spread_counts(model):
    small = model.downscale(noise())
    plain = np.asarray(model.upscale(small))
    np.testing.assert_array_equal(plain, np.asarray(model.upscale(small, sigma=0, seed=5)))
    drawn = np.asarray(model.upscale(small, sigma=0.2, seed=5))
    if not model.model.latent_channels:
        np.testing.assert_array_equal(plain, drawn)
        return
    np.testing.assert_array_equal(drawn, np.asarray(model.upscale(small, sigma=0.2, seed=5)))
    assert gap(drawn, np.asarray(model.upscale(small, sigma=0.2, seed=6))) > 1
    assert gap(drawn, np.asarray(model.upscale(small, sigma=0.2))) > 1  # no seed: another every time
    near, far = (np.asarray(model.upscale(small, sigma=s, seed=5)).astype(int) - plain for s in (0.02, 0.2))
    assert 0 < np.abs(near).mean() < np.abs(far).mean()


def test_pixels_alone_that_would_become_too_many_are_refused_before_the_work(x2):
    most = 4 * 41 * 45 - 1
    x2.upscale(reader.read(noise(41, 44)), max_pixels=most)
    for source in (reader.read(noise()), file(Image.fromarray(noise()))):
        with pytest.raises(
            bdflow.BDFlowError, match="without a bdflow chunk would become 90x82, more than 7,379"
        ):
            x2.upscale(source, max_pixels=most)


def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(x2):
    photo, small = file(Image.fromarray(noise())), x2.downscale(noise()).to_bytes()
    assert x2.downscale(photo, max_pixels=41 * 45).size == (45, 41)
    with pytest.raises(bdflow.BDFlowError, match=r"^the data: 45x41 is more than 1,844 pixels: reduce it"):
        x2.downscale(photo, max_pixels=41 * 45 - 1)
    assert x2.upscale(small, max_pixels=41 * 45).size == (45, 41)
    for restore in (x2.accept, x2.upscale):
        with pytest.raises(
            bdflow.BDFlowError, match=r"^the data: the photograph's 45x41 is more than 1,844 pixels$"
        ):
            restore(small, max_pixels=41 * 45 - 1)


def test_what_memory_holds_already_is_not_refused(x2):
    picture = reader.read(noise())
    small = x2.downscale(picture, max_pixels=1)
    assert x2.upscale(small, max_pixels=1).size == (45, 41)


def test_a_picture_that_was_read_is_shrunk_as_its_file(x2):
    data = file(Image.fromarray(noise(channels=4)), "TIFF")
    assert x2.downscale(reader.read(data)).to_bytes() == x2.downscale(data).to_bytes()


@pytest.mark.parametrize("sigma", [-0.1, 1e300, float("inf"), float("nan")])
def test_an_impossible_sigma_is_refused(x2, sigma):
    with pytest.raises(bdflow.BDFlowError, match=r"^sigma must be 0 to 100, not "):
        x2.upscale(x2.downscale(noise()), sigma=sigma)


def test_a_negative_seed_is_refused(x2):
    with pytest.raises(bdflow.BDFlowError, match=r"^a seed must be 0 or more, not -1$"):
        x2.upscale(x2.downscale(noise()), sigma=1, seed=-1)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_a_stripped_file_is_restored_from_its_pixels_with_a_warning(model, format):
    small = model.downscale(noise(40, 40))
    data = saved_again(small.to_bytes(), format)
    if format == "WEBP":  # lossy: other pixels
        small = dataclasses.replace(small, image=reader.read(data))
    with pytest.warns(UserWarning, match=r"^the data: no bdflow chunk .* pixels alone, at \d+x\d+$"):
        restored = model.upscale(data)
    empty = None if small.boundary is None else np.zeros_like(small.boundary)
    expected = model.upscale(dataclasses.replace(small, boundary=empty))
    np.testing.assert_array_equal(np.asarray(restored), np.asarray(expected))


def test_pixels_alone_give_a_multiple_of_the_scale(x4):
    restored = x4.upscale(reader.read(noise(3, 5)))
    assert restored.size == (20, 12)


def test_a_file_of_another_model_is_refused(x2, x4):
    data = x4.downscale(noise()).to_bytes()
    with pytest.raises(bdflow.BDFlowError) as caught:
        x2.upscale(data)
    x4_weights, x2_weights = (each.model.weights_sha256[:16] for each in (x4, x2))
    assert str(caught.value).startswith(
        f"made by model 'tiny-x4' (weights {x4_weights}), not by this 'tiny-x2' ({x2_weights}): restore it"
    )


@pytest.mark.parametrize("change", [{"scale": 4, "size": (44, 44)}, {"bits": 2}])
def test_a_chunk_that_contradicts_its_model_is_refused(x2, change):
    forged = dataclasses.replace(x2.downscale(noise(22, 22)), **change)
    with pytest.raises(bdflow.BDFlowError, match="contradicts the model"):
        x2.upscale(forged)


def test_edited_pixels_are_restored_with_a_warning(x2):
    data = x2.downscale(noise()).to_bytes()
    with pytest.warns(UserWarning, match="pixels were changed since it was made"):
        restored = x2.upscale(repainted(data))
    assert restored.size == (45, 41)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gap(restored, x2.upscale(data)) > 1
    edited = container.read(repainted(data))
    assert container.read(edited.to_bytes()).pixels_changed  # stored once more, it is no better


def test_what_onnx_runtime_says_becomes_one_line(x2, monkeypatch):
    class Failing:
        def __init__(self, *_):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

        def run(self, outputs, inputs):
            raise RuntimeError("Failed to allocate memory\nfor requested buffer of size 9000000000")

    monkeypatch.setattr(backends.onnxruntime, "InferenceSession", Failing)
    x2 = bdflow.load(x2.model.folder, trust=True)
    with pytest.raises(bdflow.BDFlowError, match=r"\AONNX Runtime failed: Failed to allocate memory\Z"):
        x2.downscale(noise())
