"""A photograph into so many bytes: the budget is kept, and no codec alone does better."""

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageCms
from small_files import SRGB
from thumbnails import PILLOW, QUICK, photo

import bdflow
from bdflow import fitting
from bdflow.errors import BDFlowError
from bdflow.evaluation.demo import PHOTOGRAPH
from bdflow.fitting import Goal, estimate, fit, in_srgb, rates
from bdflow.methods import Within
from bdflow.pictures import codecs, reader
from bdflow.pictures.reader import Picture
from bdflow.quality.metrics import psnr
from bdflow.runtime.enhancer import shrunk
from bdflow.smallfile.container import NoChunkError, read
from bdflow.smallfile.thumbnail import DOMAINS, FACTORS, FORMATS, Thumbnail
from bdflow.zoo import PURPOSES

MORE = {"AVIF": 0, "WebP": 12, "JPEG": 0}  # bytes of our header; those of the others make a file shorter


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """AVIF's full effort is for photographs; what is searched is the same."""
    monkeypatch.setitem(fitting.CODECS, "AVIF", QUICK["AVIF"])


def noisy(height: int = 64, width: int = 80) -> Picture:
    rng = np.random.default_rng(5)
    picture = photo(height, width)
    return replace(
        picture, rgb=(picture.rgb + rng.normal(0, 12, picture.rgb.shape)).clip(0, 255).astype(np.uint8)
    )


def restored(enhancer, made: Thumbnail) -> np.ndarray:
    """From nothing but the file."""
    try:
        found = read(made.data)
    except NoChunkError as plain:
        return plain.picture.rgb
    return enhancer.rgb(found)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("budget", [380, 450, 700, 1500, 100_000])
def test_the_budget_is_kept_and_no_plain_file_is_better(enhancer, format, budget):
    picture = noisy()
    made = fit(picture, enhancer, Goal(max_bytes=budget, format=format))
    small = made.small
    assert (small.format, small.size) == (format, (80, 64))
    assert len(small.data) <= budget
    assert small.to_bytes() == small.data
    assert made.psnr_rgb == pytest.approx(psnr(picture.rgb, restored(enhancer, small)))
    with Image.open(io.BytesIO(small.data), formats=[PILLOW[format]]) as image:
        assert image.size == (small.image.width, small.image.height)
    # The rivals: at full size with all bytes, and shrunk with a header of ours in place of their 4 bytes.
    codec = fitting.CODECS[format]
    rival = Within(codec, budget - MORE[format] + 4)
    try:
        rivals = [psnr(picture.rgb, rival.decode(rival.encode(picture.rgb)))]
    except BDFlowError:
        rivals = []
    plain = [codec.encode(picture.rgb, quality) for quality in range(1, 101, 3)]
    rivals += [psnr(picture.rgb, codec.decode(file)) for file in plain if len(file) <= budget]
    assert made.psnr >= max(rivals, default=0) - 0.02


@pytest.mark.parametrize("budget", [3000, 9000])
def test_the_file_of_a_large_picture_is_chosen_by_an_excerpt(enhancer, monkeypatch, budget):
    picture = reader.read(PHOTOGRAPH)
    usual = fit(picture, enhancer, Goal(max_bytes=budget, format="WebP"))
    monkeypatch.setattr(fitting, "_LARGE", 200_000)
    monkeypatch.setattr(fitting, "excerpt", partial(estimate.excerpt, pixels=90_000, block=96))
    coded, encode = [], rates.encode

    def counted(codec, image, quality):
        coded.append(image.size)
        return encode(codec, image, quality)

    monkeypatch.setattr(rates, "encode", counted)
    large = fit(picture, enhancer, Goal(max_bytes=budget, format="WebP"))
    assert budget * 0.9 < len(large.small.data) <= budget
    assert large.psnr > usual.psnr - 0.4  # far fewer blocks than of a really large one
    whole = [size for size in coded if size == (large.small.image.width, large.small.image.height)]
    assert len(set(coded) & {tuple(shrunk(picture, f).rgb.shape[1::-1]) for f in FACTORS}) <= 3
    assert 2 <= len(whole) <= 8


@pytest.mark.parametrize("format", FORMATS)
def test_for_the_look_avif_is_tuned_for_the_eye(enhancer, format):
    picture = reader.read(PHOTOGRAPH)
    usual, look = (
        fit(picture, enhancer, Goal(max_bytes=5000, format=format, domain="photos", purpose=purpose))
        for purpose in PURPOSES
    )
    assert (look.small.data != usual.small.data) == (format == "AVIF")
    assert 4500 < len(look.small.data) <= 5000
    assert look.small.factor == usual.small.factor
    codec = replace(fitting.CODECS[format], tuning="iq") if format == "AVIF" else fitting.CODECS[format]
    coded = codec.encode(shrunk(picture, look.small.factor).to_pil(), look.quality)
    assert np.array_equal(reader.read(coded).rgb, look.small.image.rgb)
    # At full size and a given quality.
    look = fit(picture, enhancer, Goal(quality=40, format=format, purpose="look"))
    assert np.array_equal(reader.read(codec.encode(picture.to_pil(), 40)).rgb, look.small.image.rgb)
    with pytest.raises(BDFlowError, match="no purpose 'beauty': choose one of fidelity, look"):
        fit(picture, enhancer, Goal(max_bytes=5000, format=format, purpose="beauty"))


def test_at_full_size_the_codecs_own_file_is_tuned_for_the_eye_too(enhancer):
    picture = reader.read(PHOTOGRAPH)
    own = fit(picture, enhancer, Goal(max_bytes=60_000, domain="plain", purpose="look"))
    coded = replace(fitting.CODECS["AVIF"], tuning="iq").encode(picture.to_pil(), own.quality)
    assert own.small.data == coded


def test_a_network_that_helps_is_used(enhancer, monkeypatch):
    picture = noisy()
    given = picture.rgb.transpose(2, 0, 1)[None]

    def perfect(tensors):
        height, width = tensors["plain"].shape[2:]
        return [np.pad(given, ((0, 0), (0, 0), (0, height - 64), (0, width - 80)), mode="edge")]

    monkeypatch.setattr(type(enhancer), "_loaded", lambda self: perfect)
    made = fit(picture, enhancer, Goal(max_bytes=700, format="WebP"))
    assert made.psnr == 100
    assert made.small.domain != "plain"
    assert read(made.small.data).domain == made.small.domain
    made = fit(picture, enhancer, Goal(max_bytes=700, format="WebP", domain="plain"))
    assert made.psnr < 50
    assert made.small.domain == "plain"
    for domain in DOMAINS:
        assert fit(picture, enhancer, Goal(quality=40, format="JPEG", domain=domain)).small.domain == domain


@pytest.mark.parametrize("format", FORMATS)
def test_at_a_quality(enhancer, format):
    picture = noisy()
    made = fit(picture, enhancer, Goal(quality=60, format=format))
    assert made.quality == 60
    assert made.small.factor == 1
    # The tiny network helps nobody: it is the codec's own file, and needs no payload.
    assert made.small.domain == "plain"
    own = fitting.CODECS[format].encode(picture.to_pil(), 60)
    assert made.small.data == own
    assert fit(picture, enhancer, Goal(format=format)).quality == 75


def test_full_effort_is_what_is_kept(enhancer, monkeypatch):
    monkeypatch.setitem(fitting.CODECS, "AVIF", codecs.AVIF)
    picture = noisy(32, 40)
    made = fit(picture, enhancer, Goal(max_bytes=600))
    assert len(made.small.data) <= 600
    again = codecs.AVIF.encode(made.small.image.to_pil(), made.quality)
    assert isinstance(again, bytes)
    rival = Within(codecs.AVIF, 590)
    assert made.psnr >= psnr(picture.rgb, rival.decode(rival.encode(picture.rgb))) - 0.02


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (3, 500)])
def test_an_impossible_budget_names_the_least_that_does(enhancer, format, size):
    picture = photo(size[1], size[0])
    with pytest.raises(BDFlowError) as caught:
        fit(picture, enhancer, Goal(max_bytes=20, format=format))
    message = str(caught.value)
    assert message.startswith(f"{format} cannot hold this {size[0]}x{size[1]} picture in 20 bytes: allow it ")
    least = int(message.split()[-1].replace(",", ""))
    made = fit(picture, enhancer, Goal(max_bytes=least, format=format))
    assert len(made.small.data) <= least
    assert restored(enhancer, made.small).shape == (size[1], size[0], 3)
    if size == (1, 1):
        return  # of one pixel, a higher quality may take fewer bytes
    with pytest.raises(BDFlowError, match=f"allow it {least}$"):
        fit(picture, enhancer, Goal(max_bytes=least - 1, format=format))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (3, 300), (47, 31)])
@pytest.mark.parametrize("gray", [False, True])
def test_any_size(enhancer, format, size, gray):
    made = fit(photo(size[1], size[0], gray=gray), enhancer, Goal(max_bytes=700, format=format))
    assert len(made.small.data) <= 700
    assert made.small.size == size
    assert made.small.gray or not gray
    image = bdflow_restored(enhancer, made.small)
    assert image.size == size
    assert image.mode == "L" or not gray


def bdflow_restored(enhancer, small: Thumbnail) -> Image.Image:
    try:
        found = read(small.data)
    except NoChunkError as plain:
        found = replace(small, image=plain.picture)
    return enhancer.restore(found)


@pytest.mark.parametrize("format", ["AVIF", "WebP"])
def test_alpha_is_kept_and_counted(enhancer, format):
    picture = photo(31, 47, alpha=True)
    for options in ({"max_bytes": 700}, {"quality": 50}):
        small = fit(picture, enhancer, Goal(format=format, **options)).small
        assert len(small.data) <= 700 or "quality" in options
        image = bdflow_restored(enhancer, small)
        assert (image.mode, image.size) == ("RGBA", (47, 31))


def test_alpha_is_refused_for_jpeg(enhancer):
    with pytest.raises(BDFlowError, match=r"^JPEG cannot hold transparency: write AVIF or WebP$"):
        fit(photo(alpha=True), enhancer, Goal(max_bytes=3000, format="JPEG"))


def test_the_same_picture_gives_the_same_file(enhancer):
    for format in FORMATS:
        first, second = (
            fit(noisy(), enhancer, Goal(max_bytes=500, format=format)).small.data for _ in range(2)
        )
        assert first == second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "PNG"}, "no format 'PNG' for thumbnails: choose one of AVIF, WebP, JPEG"),
        ({"format": "avif"}, "no format 'avif'"),
        ({"domain": "cats"}, "no domain 'cats': choose one of plain, photos, portraits"),
        ({"max_bytes": 0}, "a budget of 0: name a number above 0"),
        ({"max_bytes": -3}, "a budget of -3"),
        ({"quality": 101}, "the quality of AVIF is 0 to 100, not 101"),
        ({"quality": -1}, "the quality of AVIF is 0 to 100, not -1"),
        ({"quality": 0, "format": "JPEG"}, "the quality of JPEG is 1 to 100, not 0"),
        ({"max_bytes": 500, "quality": 50}, "bytes and a quality: name one of them"),
    ],
)
def test_arguments_that_are_refused(enhancer, arguments, message):
    with pytest.raises(BDFlowError, match=f"^{message}"):
        fit(photo(), enhancer, Goal(**arguments))


def test_longer_sides_than_a_format_has(enhancer):
    picture = Picture(np.zeros((2, 17_000, 3), np.uint8))
    with pytest.raises(BDFlowError, match="at full size: a side has at most 16,383 pixels; name a number"):
        fit(picture, enhancer, Goal(quality=50, format="WebP"))
    made = fit(picture, enhancer, Goal(max_bytes=2000, format="WebP", domain="plain"))
    assert made.small.size == (17_000, 2)
    assert made.small.factor > 1
    endless = Picture(np.zeros((1, 16 * 16_384, 3), np.uint8))
    with pytest.raises(BDFlowError, match=r"^WebP cannot hold this 262144x1 picture at any factor$"):
        fit(endless, enhancer, Goal(max_bytes=2000, format="WebP", domain="plain"))


def test_an_encoder_that_fails_is_one_line(enhancer, monkeypatch):
    def fail(self, image, quality=0):
        raise RuntimeError("no memory\nand more")

    monkeypatch.setattr(type(codecs.JPEG), "encode", fail)
    with pytest.raises(BDFlowError, match=r"^JPEG cannot hold a picture of 4x3: no memory$"):
        fit(photo(), enhancer, Goal(max_bytes=3000, format="JPEG"))


# Colours


def profile(name: str) -> bytes:
    if name == "lab":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return SRGB


def swapped() -> bytes:
    """sRGB with its red and blue changed: a profile that moves colours."""
    red, blue = SRGB.index(b"rXYZ"), SRGB.index(b"bXYZ")
    data = bytearray(SRGB)
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


def test_a_profile_becomes_srgb(enhancer):
    picture = photo()
    turned = in_srgb(replace(picture, icc=swapped()))
    assert turned.icc is None
    assert turned.notes == ("colours converted to sRGB, the profile dropped",)
    np.testing.assert_allclose(turned.rgb.astype(int), picture.rgb[..., ::-1], atol=3)
    same = in_srgb(replace(picture, icc=SRGB, notes=("before",)))
    assert same.notes[0] == "before"
    np.testing.assert_allclose(same.rgb.astype(int), picture.rgb, atol=1)
    assert in_srgb(picture) is picture
    small = fit(replace(picture, icc=swapped()), enhancer, Goal(max_bytes=600, format="JPEG")).small
    assert small.notes == turned.notes
    assert small.image.icc is None


@pytest.mark.parametrize("icc", [b"no profile", b"x" * 200, profile("lab")])
def test_a_profile_that_cannot_be_used_is_dropped(icc):
    picture = replace(photo(), icc=icc)
    assert in_srgb(picture).notes == ("its unreadable colour profile was dropped",)
    np.testing.assert_array_equal(in_srgb(picture).rgb, picture.rgb)


def test_a_profile_of_gray():
    for icc in (SRGB, b"no profile"):
        picture = in_srgb(replace(photo(gray=True), icc=icc))
        assert picture.gray
        assert picture.icc is None
        assert len(picture.notes) == 1
        assert (picture.rgb[..., :1] == picture.rgb).all()
        np.testing.assert_allclose(picture.rgb.astype(int), photo(gray=True).rgb, atol=1)


def test_transparency_is_no_colour():
    picture = replace(photo(alpha=True), icc=swapped())
    np.testing.assert_array_equal(in_srgb(picture).alpha, picture.alpha)


# bdflow.fit


def test_in_python(restoring, tmp_path):
    picture = noisy(31, 47)
    small = bdflow.fit(picture.to_pil(), max_bytes=500, format="WebP", threads=1)
    assert len(small.data) <= 500
    small.save(tmp_path / "a.webp")
    if small.domain == "plain" and small.factor == 1:
        with pytest.warns(UserWarning, match="taken as it is"):
            image = bdflow.upscale(tmp_path / "a.webp", threads=1)
    else:
        image = bdflow.upscale(tmp_path / "a.webp", threads=1)
    assert image.size == (47, 31)
    np.testing.assert_array_equal(np.asarray(bdflow.upscale(small, threads=1)), np.asarray(image))
    rate = bdflow.fit(picture.to_pil(), bits_per_pixel=3, format="JPEG", threads=1)
    assert len(rate.data) <= 3 * 47 * 31 / 8
    assert bdflow.fit(picture.to_pil(), quality=30, format="JPEG", threads=1).factor == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_bytes": 500, "bits_per_pixel": 1}, "bytes and bits per pixel: name one of them"),
        ({"bits_per_pixel": float("nan")}, "bits per pixel of nan: name a number above 0"),
        ({"bits_per_pixel": float("inf")}, "bits per pixel of inf"),
        ({"bits_per_pixel": 0}, "bits per pixel of 0"),
        ({"bits_per_pixel": 1, "quality": 50}, "bytes and a quality: name one of them"),
        ({"bits_per_pixel": 1e-9}, "AVIF cannot hold this 52x40 picture in 1 bytes: allow it 2"),
        ({"max_bytes": 3000, "max_pixels": 52 * 40 - 1}, "the array: 52x40 is more than 2,079 pixels"),
    ],
)
def test_in_python_refused(restoring, arguments, message):
    with pytest.raises(BDFlowError, match=message):
        bdflow.fit(photo().rgb, threads=1, **arguments)


def test_without_a_network_that_restores(built_in):
    with pytest.raises(BDFlowError, match="comes without a network that restores thumbnails for fidelity"):
        bdflow.fit(photo().rgb, max_bytes=500)
