"""Thumbnails that lost their payload, or were saved anew: what is known of them, and what is restored."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_files import saved_again
from thumbnails import coded, photo, pixels, thumbnail

import bdflow
from bdflow.errors import BDFlowError
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import describe
from bdflow.runtime.restorer import Restorer
from bdflow.smallfile.thumbnail import FORMATS


@pytest.mark.parametrize(
    ("format", "options", "codec", "known"),
    [
        ("PNG", {}, None, False),
        ("TIFF", {}, None, False),
        ("WEBP", {"lossless": True}, None, False),
        ("WEBP", {"quality": 80}, "WebP", True),
        ("JPEG", {"quality": 60}, "JPEG", True),
        ("AVIF", {"quality": 60}, "AVIF", True),
    ],
)
def test_what_is_known_of_a_picture_that_was_saved_anew(restoring, format, options, codec, known):
    data = saved_again(thumbnail(photo(), "AVIF", 2).data, format, **options)
    for domain in (None, "photos", "portraits"):
        _, small, (remark,) = Restorer(scale=2, domain=domain, computing=Computing(threads=1)).accept(data)
        assert (small.format, small.domain) == (codec, domain or "photos")
        told = describe(small)[0]
        assert list(told[:3]) == [codec == name for name in FORMATS]
        assert told[6] == known
        assert known or not any(told[4:7])
        assert list(told[7:]) == [domain == "portraits", domain != "portraits"]
        assert f" of {domain or 'photos'}: restored at 52x40" in remark
    with pytest.raises(BDFlowError, match="only the pixels are known: there is no small file to save"):
        small.save("a.avif")


def test_pixels_have_a_scale_too(restoring):
    image = photo().to_pil()
    with pytest.warns(
        UserWarning, match=r"^the picture: no bdflow chunk in this file; .* restored at 104x80$"
    ):
        assert bdflow.upscale(image, scale=2, threads=1).size == (104, 80)


def test_a_domain_needs_a_scale(restoring):
    for options, message in (
        ({"domain": "photos"}, "name its --scale, too"),
        ({"scale": 2, "domain": "plain"}, "a domain is one of photos, portraits, not 'plain'"),
    ):
        with pytest.raises(BDFlowError, match=message):
            bdflow.upscale(photo().to_pil(), **options)


@pytest.mark.parametrize("format", ["AVIF", "WebP", "JPEG"])
@pytest.mark.parametrize("factor", [1.5, 2, 4])
def test_what_was_stripped_restores_with_its_scale(shell, restoring, format, factor):
    made = thumbnail(photo(39, 51), format, factor)
    plain = coded(photo(39, 51), format, factor)
    Path("stripped.img").write_bytes(plain)
    status, _, err = shell("upscale", "stripped.img", "-x", factor)
    sizes = made.image.width * factor, made.image.height * factor
    assert status == 0
    assert err.splitlines()[0] == (
        "bdflow: warning: stripped.img: no bdflow chunk in this file; taken for a thumbnail, 1/{:g} each way,"
        " {} of quality {:.0f}, of photos: restored at {:.0f}x{:.0f}"
    ).format(factor, format, made.quality, *sizes)
    # The same network saw the same, but for the photograph's true size.
    restored = pixels(Path("stripped.restored.png").read_bytes())
    np.testing.assert_array_equal(restored[:39, :51], np.asarray(bdflow.upscale(made)))


def test_what_was_resized_by_a_pixel(shell, restoring):
    with Image.open(io.BytesIO(coded(photo(39, 51), "JPEG", 1.5))) as image:
        assert image.size == (34, 26)
        image.resize((33, 27)).save("other.jpg")
    for factor, size in ((1.5, (49, 40)), (2, (66, 54)), (16, (528, 432))):
        assert shell("upscale", "other.jpg", "-x", factor, "--force")[0] == 0
        with Image.open("other.restored.png") as image:
            assert image.size == size


def test_a_png_of_a_thumbnail_has_a_scale_too(shell, restoring):
    Path("a.png").write_bytes(saved_again(thumbnail(photo(), "WebP", 2).data, "PNG"))
    status, _, err = shell("upscale", "a.png", "-x", "2")
    assert status == 0
    with Image.open("a.restored.png") as image:
        assert image.size == (52, 40)
    assert err.splitlines()[0].endswith(
        "taken for a thumbnail, 1/2 each way, its codec unknown, of photos: restored at 52x40"
    )
    status, _, err = shell("upscale", "a.png")
    assert (status, err.count("\n")) == (1, 1)
    assert err.endswith("If bdflow made it, name the model (--model) to restore it from its pixels alone\n")


@pytest.mark.parametrize("format", ["AVIF", "WebP", "JPEG"])
def test_without_a_scale_it_is_taken_as_it_is(shell, restoring, format):
    plain = coded(photo(), format)
    Path("plain.img").write_bytes(plain)
    status, _, err = shell("upscale", "plain.img")
    assert status == 0
    how = "taken as it is, at 52x40. If it was shrunk, name its --scale (or the --model of a small PNG)"
    assert err.splitlines()[0] == f"bdflow: warning: plain.img: no bdflow chunk in this file; {how}"
    np.testing.assert_array_equal(pixels(Path("plain.restored.png").read_bytes()), pixels(plain))
