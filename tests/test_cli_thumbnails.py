"""The command line with ordinary codecs: --bytes, --bpp and --quality, and the way back."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from small_files import SRGB, saved_again
from thumbnails import QUICK, coded, photo, pixels, thumbnail

import bdflow
from bdflow import fitting, zoo
from bdflow.runtime import restorer
from bdflow.smallfile.container import read
from bdflow.smallfile.thumbnail import Thumbnail


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setitem(fitting.CODECS, "AVIF", QUICK["AVIF"])


@pytest.fixture
def picture(shell, restoring) -> Path:
    """photo.png, 52x40."""
    photo().to_pil().save("photo.png")
    return Path("photo.png")


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_there_and_back(shell, picture):
    status, out, err = shell("downscale", picture, "--bytes", "400")
    small = read("photo.bd.avif")
    assert isinstance(small, Thumbnail)
    size = f"{small.image.width}x{small.image.height}"
    assert (status, out) == (0, b"")
    assert err == f"photo.bd.avif: 52x40 to {size}, {len(small.data)} bytes, restored as {small.domain}\n"
    assert len(small.data) <= 400
    assert small.data == bdflow.fit("photo.png", max_bytes=400).data
    status, out, err = shell("upscale", "photo.bd.avif")
    assert (status, out, err) == (0, b"", "photo.restored.png: 52x40\n")
    np.testing.assert_array_equal(pixels(Path("photo.restored.png").read_bytes()), bdflow.upscale(small))
    assert names() == ["photo.bd.avif", "photo.png", "photo.restored.png"]
    assert shell("downscale", picture, "--bytes", "400") == (
        1,
        b"",
        "bdflow: photo.bd.avif: exists already: choose another name or allow overwriting (--force)\n",
    )
    assert shell("downscale", picture, "--bytes", "400", "--force")[0] == 0


@pytest.mark.parametrize(
    ("written", "count"), [("1500", 1500), ("1.5k", 1500), ("1K", 1000), ("0.002M", 2000), ("1e3", 1000)]
)
def test_bytes_as_people_write_them(shell, picture, written, count):
    assert shell("downscale", picture, "--bytes", written, "-o", "a.jpg")[0] == 0
    assert Path("a.jpg").read_bytes() == bdflow.fit("photo.png", max_bytes=count, format="JPEG").data


@pytest.mark.parametrize(("name", "format"), [("a.jpg", "JPEG"), ("a.jpeg", "JPEG"), ("a.WEBP", "WebP")])
def test_the_ending_names_the_format(shell, picture, name, format):
    assert shell("downscale", picture, "--quality", "40", "-o", name)[0] == 0
    with Image.open(name) as image:
        assert image.format == format.upper()
        assert image.size == (52, 40)
    assert shell("downscale", picture, "--bpp", "2", "--format", "jpg")[0] == 0
    assert len(Path("photo.bd.jpg").read_bytes()) <= 2 * 52 * 40 / 8


def test_hyphens_are_standard_input_and_output(shell, picture):
    data = picture.read_bytes()
    status, small, err = shell("downscale", "-", "--bytes", "400", "--format", "webp", stdin=data)
    assert (status, err) == (0, "")
    assert small == bdflow.fit(data, max_bytes=400, format="WebP").data
    status, small, err = shell("downscale", "-", "--bytes", "400", stdin=data)
    assert (status, err) == (0, "")
    assert small == bdflow.fit(data, max_bytes=400).data
    status, restored, err = shell("upscale", "-", stdin=small)
    assert (status, err) == (0, "")
    np.testing.assert_array_equal(pixels(restored), np.asarray(bdflow.upscale(small)))
    assert shell("downscale", picture, "--bytes", "400", "-o", "-") == (0, small, "")
    assert names() == ["photo.png"]


def test_a_terminal_gets_no_picture(shell, picture, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    status, _, err = shell("downscale", "-", "--bytes", "450", stdin=picture.read_bytes())
    assert (status, err) == (
        1, "bdflow: a picture is nothing for a terminal: name a file (-o FILE) or a pipe\n"
    )  # fmt: skip


def test_info(shell, picture):
    Path("small.webp").write_bytes(thumbnail(photo(), "WebP", 2).data)
    status, out, err = shell("info", "small.webp")
    assert (status, err) == (0, "")
    lines = out.decode().splitlines()
    assert lines[0].startswith("codec     WebP, quality ")
    assert lines[1:3] == ["restores  52x40 from 26x20 (x2)", "domain    photos"]
    assert sum(int(line.split()[0]) for line in lines[3:-1]) == Path("small.webp").stat().st_size
    Path("plain.webp").write_bytes(coded(photo(), "WebP"))
    status, _, err = shell("info", "plain.webp")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("bdflow: plain.webp: no bdflow chunk in this file")
    status, _, err = shell("info", "small.webp", "--max-pixels", 52 * 40 - 1)
    assert (status, err) == (1, "bdflow: small.webp: the photograph's 52x40 is more than 2,079 pixels\n")


def test_notes(shell, picture):
    image = photo().to_pil()
    image.save("tagged.png", icc_profile=SRGB)
    status, _, err = shell("downscale", "tagged.png", "--bytes", "2k", "-o", "a.jpg")
    assert status == 0
    assert err.startswith("note: ")
    assert "profile dropped" in err.splitlines()[0]
    assert Image.open("a.jpg").info.get("icc_profile") is None


WRONG = [  # arguments, status and how the one line begins
    (
        "downscale photo.png --bytes 3k --bpp 1",
        1,
        "--bytes, --bpp and --quality each say how small: choose one",
    ),
    ("downscale photo.png --bytes 3k --quality 50", 1, "--bytes, --bpp and --quality each say how small"),
    ("downscale photo.png --domain plain", 1, "--domain plain is for --bytes, --bpp or --quality: add one"),
    ("downscale photo.png --format webp", 1, "--format, --effort and --for are for --bytes, --bpp or --"),
    ("downscale photo.png --effort low", 1, "--format, --effort and --for are for --bytes, --bpp or --"),
    ("downscale photo.png --for look", 1, "--format, --effort and --for are for --bytes, --bpp or --"),
    ("downscale photo.png --bytes 3k -x 2", 1, "a scale, a model and --refine are for the PNG: leave out"),
    ("downscale photo.png --bytes 3k -m tiny-x2", 1, "a scale, a model and --refine are for the PNG"),
    ("downscale photo.png --bytes 3k --refine 3", 1, "a scale, a model and --refine are for the PNG"),
    ("downscale photo.png --bytes 3k -o a.png", 1, "a.png: a PNG takes no --bytes, --bpp or --quality: end"),
    ("downscale photo.png --bytes 3k -o a.tif", 1, "a.tif: a small file ends in one of .png, .avif, .webp"),
    ("downscale photo.png --bytes 3k -o a", 1, "a: a small file ends in one of .png, .avif, .webp, .jpg, "),
    ("downscale photo.png --bytes 3k -o a.jpg --format webp", 1, "a.jpg: the small file is a WebP: end its"),
    ("downscale photo.png --bytes 20", 1, "AVIF cannot hold this 52x40 picture in 20 bytes: allow it "),
    ("downscale photo.png --bytes 3k -o no/a.avif", 1, "no/a.avif: there is no such folder: make it first"),
    ("downscale photo.png --quality 0 -o a.jpg", 1, "the quality of JPEG is 1 to 100, not 0"),
    ("downscale alpha.png --bytes 3k -o a.jpg", 1, "JPEG cannot hold transparency: write AVIF or WebP"),
    (
        "downscale photo.png --bytes 3k --max-pixels 9",
        1,
        "photo.png: it has more than 9 pixels: reduce it first",
    ),
    ("downscale cut.png --bytes 3k", 1, "cut.png: the picture is damaged or cut short: get it again"),
    ("downscale photo.png --bytes 3k --tile 100", 1, "a tile of 100 pixels is too small for model resto"),
    (
        "downscale photo.png -m restoration-fidelity",
        1,
        "model restoration-fidelity restores AVIF, WebP and J",
    ),
    ("upscale x2.webp -m tiny-x2", 1, "a thumbnail in WebP, which model tiny-x2 does not restore: leave the"),
    ("upscale x2.webp -m tiny-x2 -x 2", 1, "a model restores at its own scale: name one of them (--scale or"),
    ("upscale x2.webp --sigma 0.5", 1, "a thumbnail has no latent Z to draw: leave out --sigma"),
    (
        "upscale plain.webp --domain photos",
        1,
        "a domain is for a thumbnail that lost its own: name its --scale",
    ),
    ("upscale plain.webp -x 2 --domain cats", 2, 'Invalid value "cats" for --domain. Choose from: '),
    ("upscale x2.webp --max-pixels 2079", 1, "x2.webp: the photograph's 52x40 is more than 2,079 pixels"),
    (
        "upscale plain.webp -x 2 --max-pixels 8319",
        1,
        "a picture of 52x40 without a bdflow chunk would become ",
    ),
    ("upscale cut.webp", 1, "cut.webp: the WebP is damaged or cut short: get it again"),
    ("downscale photo.png --bytes", 2, 'Command "downscale" parameter --bytes requires an argument. '),
    ("downscale photo.png --bytes=", 2, "Invalid value for --bytes: '' is no number of bytes: write 3000"),
    ("downscale photo.png --bytes k", 2, "Invalid value for --bytes: 'k' is no number of bytes: write 3000,"),
    ("downscale photo.png --bytes 0", 2, "Invalid value for --bytes: 0 bytes: write a number from 1 on"),
    ("downscale photo.png --bytes nan", 2, "Invalid value for --bytes: nan bytes: write a number from 1 on"),
    ("downscale photo.png --bytes inf", 2, "Invalid value for --bytes: inf bytes: write a number from 1 on"),
    ("downscale photo.png --bpp 0", 2, 'Invalid value "0.0" for --bpp. Must be 1e-06 to 1,000. '),
    ("downscale photo.png --bpp nan", 2, 'Invalid value "nan" for --bpp. '),
    ("downscale photo.png --quality 101", 2, 'Invalid value "101" for --quality. Must be <= 100. '),
    ("downscale photo.png --bytes 3k --format png", 2, 'Invalid value "png" for --format. Choose from: '),
    ("downscale photo.png --bytes 3k --domain cats", 2, 'Invalid value "cats" for --domain. Choose from: '),
    (
        "upscale plain.webp -x 5",
        2,
        'Invalid value "5.0" for -x. Choose from: 1, 1.5, 2, 3, 4, 6, 8, 12, 16. ',
    ),
    ("upscale plain.webp -x nan", 2, 'Invalid value "nan" for -x. Choose from: '),
]


@pytest.fixture
def files(picture):
    photo(alpha=True).to_pil().save("alpha.png")
    Path("cut.png").write_bytes(picture.read_bytes()[:-60])
    data = thumbnail(photo(), "WebP", 2).data
    Path("x2.webp").write_bytes(data)
    Path("cut.webp").write_bytes(data[:-9])
    Path("plain.webp").write_bytes(coded(photo(), "WebP"))
    return names()


def test_wrong_combinations_are_one_line_each(shell, files):
    wrong = []
    for arguments, status, begins in WRONG:
        found, out, err = shell(*arguments.split())
        if (found, out, err.count("\n")) != (status, b"", 1) or not err.startswith(f"bdflow: {begins}"):
            wrong.append((arguments, found, err))
        if names() != files:
            wrong.append((arguments, names()))
    assert not wrong, "\n".join(map(str, wrong))


def test_a_pillow_without_avif(shell, picture, monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    line = "bdflow: this Pillow was built without AVIF: pip install --upgrade pillow\n"
    assert shell("downscale", picture, "--bytes", "3k") == (1, b"", line)
    assert shell("downscale", picture, "--bytes", "3k", "-o", "a.webp")[0] == 0


def test_each_purpose_has_its_network(shell, picture, restoring, monkeypatch):
    made = thumbnail(photo(), "WebP", 2)
    Path("a.webp").write_bytes(made.data)
    asked = []
    network = zoo.find_restoration()
    monkeypatch.setattr(restorer, "find_restoration", lambda purpose: asked.append(purpose) or network)
    assert shell("upscale", "a.webp", "--for", "look")[0] == 0
    assert shell("upscale", "a.webp", "--force")[0] == 0
    bdflow.upscale("a.webp", purpose="look")
    assert asked == ["look", "fidelity", "look"]
    line = "bdflow: a model restores for its own purpose: name one of them (--for or --model)\n"
    assert shell("upscale", "a.webp", "--for", "look", "-m", network.name) == (1, b"", line)
    with pytest.raises(bdflow.BDFlowError, match="no purpose 'art': choose one of fidelity, look"):
        bdflow.upscale("a.webp", purpose="art")


def test_a_small_png_saved_as_jpeg_still_restores_with_its_model(shell, picture):
    assert shell("downscale", picture, "-x", "2")[0] == 0
    Path("again.jpg").write_bytes(saved_again(Path("photo.x2.png").read_bytes(), "JPEG"))
    assert shell("upscale", "again.jpg", "-m", "tiny-x2")[0] == 0
    with Image.open("again.restored.png") as image:
        assert image.size == (52, 40)


def test_without_bytes_it_is_a_png(shell, picture):
    assert shell("downscale", picture, "-x", "2")[0] == 0
    assert names() == ["photo.png", "photo.x2.png"]
    status, _, err = shell("downscale", picture, "-x", "2", "-o", "a.avif")
    assert (status, err) == (1, "bdflow: a.avif: the small file is a PNG: end its name in .png\n")


# Batches


@pytest.fixture
def album(picture) -> Path:
    """Three photographs, a small PNG, two thumbnails and a file that is none."""
    folder = Path("album")
    folder.mkdir()
    photo().to_pil().save(folder / "a.png")
    photo(24, 31, gray=True).to_pil().save(folder / "b.png")
    photo(31, 33, alpha=True).to_pil().save(folder / "c.png")
    bdflow.downscale(photo().rgb, scale=2, threads=1).save(folder / "d.x2.png")
    for format, ending in (("AVIF", "avif"), ("WebP", "webp"), ("JPEG", "jpg")):
        (folder / f"e.bd.{ending}").write_bytes(thumbnail(photo(), format, 2).data)
    (folder / "f.png").write_bytes(b"no picture")
    return folder


def test_a_batch(shell, album):
    status, out, err = shell(
        "downscale", album, "-o", "small", "--bytes", "600", "--format", "webp", "--verify", "--json", "-"
    )
    assert status == 1
    assert "3 made, 4 skipped, 1 failed in " in err
    assert "failed: album/f.png: no picture that bdflow reads" in err
    assert sorted(path.name for path in Path("small").iterdir()) == ["a.bd.webp", "b.bd.webp", "c.bd.webp"]
    *records, summary = [json.loads(line) for line in out.splitlines()]
    made = [record for record in records if record["status"] == "made"]
    assert all(record["bytes_after"] <= 600 for record in made)
    mean = sum(record["psnr_y"] for record in made) / 3
    assert summary["psnr_y"] == pytest.approx(mean, abs=1e-4)
    assert f"mean PSNR-Y {summary['psnr_y']:.2f} dB" in err
    assert (
        Path("small/a.bd.webp").read_bytes() == bdflow.fit("album/a.png", max_bytes=600, format="WebP").data
    )

    before = Path("small/b.bd.webp").stat().st_mtime_ns
    Path("small/a.bd.webp").unlink()
    status, _, err = shell(
        "downscale", album, "-o", "small", "--bytes", "600", "--format", "webp", "--resume"
    )
    assert "1 made, 2 done before, 4 skipped, 1 failed in " in err
    assert Path("small/b.bd.webp").stat().st_mtime_ns == before

    status, _, err = shell("upscale", "small", "-o", "back")
    assert status == 0
    assert "3 made in " in err
    sizes = {path.name: Image.open(path).size for path in Path("back").iterdir()}
    assert sizes == {"a.restored.png": (52, 40), "b.restored.png": (31, 24), "c.restored.png": (33, 31)}


def test_a_batch_by_rate_or_quality(shell, album):
    assert shell("downscale", "album/a.png", "album/b.png", "-o", "small", "--quality", "50")[0] == 0
    assert sorted(path.name for path in Path("small").iterdir()) == ["a.bd.avif", "b.bd.avif"]
    status, _, err = shell("downscale", album, "-o", "small", "--bpp", "3", "--format", "jpg")
    assert status == 1
    assert "failed: album/c.png: JPEG cannot hold transparency: write AVIF or WebP" in err
    assert Path("small/a.bd.jpg").stat().st_size <= 3 * 52 * 40 / 8
    assert shell("downscale", album, "-o", "other", "--quality", "0", "--format", "jpg") == (
        1, b"", "bdflow: the quality of JPEG is 1 to 100, not 0\n"
    )  # fmt: skip
    assert not Path("other").exists()


def test_a_batch_of_pngs_leaves_thumbnails_alone(shell, album):
    status, _, err = shell("downscale", album, "-o", "small", "-x", "2")
    assert status == 1
    assert "3 made, 4 skipped, 1 failed in " in err
    assert sorted(path.name for path in Path("small").iterdir()) == ["a.x2.png", "b.x2.png", "c.x2.png"]
