"""Many pictures in one go, as typed: what a run leaves on the disk, says, logs and returns."""

import errno
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_files import repainted, saved_again

import bdflow
import bdflow.runtime.restorer
from bdflow.pictures.reader import read
from bdflow.quality.metrics import psnr_y


def picture(path: str, seed: int = 0, mode: str = "RGB") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (9, 14, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path)


def tree(folder: str = "out") -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def small(path: str, model: str = "tiny-x2") -> bytes:
    return bdflow.downscale(path, model=model, threads=1, trust=True).to_bytes()


@pytest.fixture
def photos(shell, built_in) -> dict[str, bytes]:
    """A tree of pictures, some files that are none, and the small files that belong to it."""
    for seed, name in enumerate(("a.png", "b.webp", "deep/a.png", "deep/er/c.tif")):
        picture(f"in/{name}", seed)
    Path("in/notes.txt").write_text("no picture")
    names = {"a.png": "a", "b.webp": "b", "deep/a.png": "deep/a", "deep/er/c.tif": "deep/er/c"}
    return {f"{result}.x2.png": small(f"in/{name}") for name, result in names.items()}


DOWN = ("downscale", "in", "-o", "out", "-x", "2", "-r")


def test_a_tree_there_and_back(shell, photos):
    status, out, err = shell(*DOWN, "--jobs", "3")
    before, after = (sum(len(data) for data in files.values()) for files in (tree("in"), photos))
    assert tree() == photos
    assert (status, out) == (0, b"")
    assert re.fullmatch(
        rf"4 made, 1 skipped in 0:00:\d\d\n0\.00 megapixels, {before - 10:,} bytes to {after:,}\n"
        r"skipped, 1: no picture by the ending \.txt: notes\.txt\n",
        err,
    )
    assert shell("upscale", "out", "-o", "back", "--recursive")[0] == 0
    assert sorted(tree("back")) == [f"{stem}.restored.png" for stem in ("a", "b", "deep/a", "deep/er/c")]
    for name, data in photos.items():
        restored = read(Path("back", name.replace(".x2.", ".restored.")))
        np.testing.assert_array_equal(restored.rgb, np.asarray(bdflow.upscale(data, threads=1)))


def test_a_second_run_overwrites_only_what_it_may(shell, photos):
    assert shell(*DOWN)[0] == 0
    for path in Path("out").rglob("*.png"):
        os.utime(path, (2e9, 2e9))  # a time that tells a result of this run
    stamps = {path: path.stat().st_mtime for path in Path("out").rglob("*.png")}
    status, _, err = shell(*DOWN)
    assert status == 1
    assert err.startswith("0 made, 1 skipped, 4 failed in 0:00:0")
    assert err.count("exists already: skip what is done (--resume) or allow overwriting (--force)\n") == 4
    status, _, err = shell(*DOWN, "--resume")
    assert status == 0
    assert err.startswith("0 made, 4 done before, 1 skipped in 0:00:0")
    assert {path: path.stat().st_mtime for path in stamps} == stamps

    picture("in/a.png", seed=9)
    os.utime("in/a.png", (2.1e9, 2.1e9))
    Path("out/b.x2.png").write_bytes(b"")
    Path("out/deep/a.x2.png").unlink()
    assert shell(*DOWN, "--resume")[2].startswith("3 made, 1 done before, 1 skipped in ")
    assert tree() == photos | {"a.x2.png": small("in/a.png")}
    assert shell(*DOWN, "--force")[2].startswith("4 made, 1 skipped in ")
    status, _, err = shell(*DOWN, "--force", "--resume")
    assert (status, err) == (
        1,
        "bdflow: --resume keeps what is done, --force makes it anew: choose one\n",
    )


def test_bad_files_are_named_and_stop_nothing(shell, photos):
    Path("in/cut.png").write_bytes(Path("in/a.png").read_bytes()[:-200])
    Path("in/deep/empty.jpg").touch()
    Path("in/gone.png").symlink_to("nothing")
    Path("in/text\n.jpg").write_text("no picture")
    status, _, err = shell(*DOWN)
    assert status == 1
    assert tree() == photos
    assert err.startswith("4 made, 1 skipped, 4 failed in ")
    formats = "PNG, JPEG, WEBP, TIFF, BMP, GIF, PPM, AVIF, JPEG2000"
    assert err.splitlines()[2:] == [
        "skipped, 1: no picture by the ending .txt: notes.txt",
        "failed: in/cut.png: the picture is damaged or cut short: get it again",
        "failed: in/deep/empty.jpg: the file is empty",
        "failed: in/gone.png: no such file or folder",
        f"failed: in/text\\n.jpg: no picture that bdflow reads ({formats})",
    ]
    Path("in/cut.png").unlink()
    assert shell(*DOWN, "--resume")[2].startswith("0 made, 4 done before, 1 skipped, 3 failed in ")


def test_pictures_of_more_pixels_than_allowed_fail_and_stop_nothing(shell, photos):
    picture("in/a.png", 0)
    Image.new("RGB", (14, 10)).save("in/large.png")
    status, _, err = shell(*DOWN, "--max-pixels", "126", "--verify")
    assert status == 1
    assert err.startswith("4 made, 1 skipped, 1 failed in ")
    assert err.endswith("failed: in/large.png: 14x10 is more than 126 pixels: reduce it first\n")
    Path("out/large.x2.png").write_bytes(small("in/large.png"))
    status, _, err = shell("upscale", "out", "-o", "back", "-r", "--max-pixels", "126")
    assert status == 1
    assert err.startswith("4 made, 1 failed in ")
    assert err.endswith("failed: out/large.x2.png: the photograph's 14x10 is more than 126 pixels\n")


def test_results_do_not_share_a_name(shell, built_in):
    picture("in/a.jpg", 1)
    picture("in/a.png", 2)
    for options in ((), ("--resume",)):
        assert shell(*DOWN, *options)[0] == 0
        assert tree() == {f"{name}.x2.png": small(f"in/{name}") for name in ("a.jpg", "a.png")}


def test_small_files_in_a_tree_of_photographs_are_left_out(shell, photos):
    (small_file := Path("in/a.x2.png")).write_bytes(photos["a.x2.png"])
    status, _, err = shell(*DOWN)
    assert (status, err[:19]) == (0, "4 made, 2 skipped i")
    assert tree() == photos
    assert small_file.exists()


def test_several_pictures_or_one_into_a_folder(shell, photos):
    data = photos["a.x2.png"]
    assert shell("downscale", "in/a.png", "in/deep", "-o", "out", "-x2")[0] == 0
    assert tree() == {"a.x2.png": data, "deep/a.x2.png": photos["deep/a.x2.png"]}
    assert shell("downscale", "in/a.png", "-o", "new/", "-x2")[0] == 0
    assert tree("new") == {"a.x2.png": data}
    Path("there").mkdir()
    assert shell("upscale", "new/a.x2.png", "-o", "there")[0] == 0
    assert list(tree("there")) == ["a.restored.png"]
    status, _, err = shell("downscale", "missing.png", "in/a.png", "-o", "more", "-x2")
    assert (status, err.splitlines()[-1]) == (1, "failed: missing.png: no such file or folder")
    assert tree("more") == {"a.x2.png": data}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("downscale in -x 2", "in: it is a folder: name a folder for the results (-o FOLDER)"),
        ("downscale in -x 2 -o a.png", "in: it is a folder: name a folder for the results (-o FOLDER)"),
        ("upscale in/a.png in/b.webp", "this is for several pictures: name a folder for the results (-o "),
        ("upscale in/a.png --resume", "this is for several pictures: name a folder for the results (-o FOLD"),
        ("downscale - in -x 2 -o out", '"-" stands for one picture: name files or a folder, and one for the'),
        ("downscale in -x 2 -o -", '"-" stands for one picture: name files or a folder, and one for the res'),
        (
            "downscale in -x 2 -o in/notes.txt",
            "in/notes.txt: it is no folder: name one for the results (-o FO",
        ),
        ("downscale in -x 2 -o in/a.png", "in: it is a folder: name a folder for the results (-o FOLDER)"),
        (
            "downscale in -x 2 -o in/notes.txt/x",
            "in/notes.txt/x: no such folder can be made: a part of its p",
        ),
        ("downscale in -x 2 -o in", "in is or lies in the folder of the results: name another (-o FOLDER)"),
        ("downscale in -x 2 -o in --json log", "in is or lies in the folder of the results: name another"),
        ("downscale in -x 2 -o out.avif", "in: it is a folder: name a folder for the results (-o FOLDER)"),
        (
            "downscale in -x 2 -o out --json in/a.png",
            "in/a.png: exists already: continue it (--resume), choo",
        ),
        (
            "downscale in -x 2 -o out --json in/a.png --resume",
            "in/a.png: it is no log of bdflow: choose anoth",
        ),
        ("downscale in -x 2 -o out --json no/log", "no/log: cannot be written: no such file or folder"),
        ("upscale in -o out --sigma inf", "sigma must be 0 to 100, not inf"),
        ("upscale in -o out -m nobody", "no model 'nobody': "),
        ("downscale in -o out -x 3", "no built-in model shrinks 3 times; "),
    ],
)
def test_what_cannot_be_done_at_all_is_one_line(shell, photos, arguments, message):
    before = tree(".")
    status, out, err = shell(*arguments.split())
    assert err.startswith(f"bdflow: {message}")
    assert (status, out, err.count("\n")) == (1, b"", 1)
    assert tree(".") == before


def test_small_files_of_several_models_each_with_its_own_loaded_once(shell, photos, tiny, monkeypatch):
    loaded = []
    real = bdflow.runtime.restorer.Rescaler
    monkeypatch.setattr(
        "bdflow.runtime.restorer.Rescaler",
        lambda model, computing: loaded.append(model.name) or real(model, computing),
    )
    for name, data in photos.items():
        Path("small", name).parent.mkdir(parents=True, exist_ok=True)
        Path("small", name).write_bytes(data)
    Path("small/four.x4.png").write_bytes(small("in/a.png", "tiny-x4"))
    Path("small/eight.x8.png").write_bytes(small("in/a.png", tiny("tiny-x8")))
    Path("small/bare.bmp").write_bytes(saved_again(photos["a.x2.png"], "BMP"))
    Path("small/edited.png").write_bytes(repainted(photos["a.x2.png"]))
    command = ("upscale", "small", "-o", "out", "-r")
    status, _, err = shell(*command, "--jobs", "3")
    assert status == 1
    assert sorted(loaded) == ["tiny-x2", "tiny-x4"]
    assert err.startswith("6 made, 2 failed in ")
    first, second = (line for line in err.splitlines() if line.startswith("failed: "))
    assert first.startswith("failed: small/bare.bmp: no bdflow chunk in this file: ") or second.startswith(
        "failed: small/bare.bmp: no bdflow chunk in this file: "
    )
    assert "failed: small/eight.x8.png: made by model 'tiny-x8' (weights " in err
    assert "note, 1 time: the small picture's pixels were changed since it was made: expect artefacts" in err

    status, _, err = shell(*command, "--resume", "--model", "tiny-x2", "--json", "log")
    assert err.startswith("1 made, 6 done before, 1 failed in ")
    with Image.open("out/bare.restored.png") as image, Image.open("small/bare.bmp") as bare:
        assert image.info["dpi"] == pytest.approx(bare.info["dpi"], abs=0.01)  # a BMP says it
        expected = bdflow.load("tiny-x2", threads=1).upscale(bare)
        assert np.array_equal(np.asarray(image), np.asarray(expected))
    (made,) = (record for record in records("log") if record["status"] == "made")
    (note,) = made["notes"]
    assert note.endswith("Restoring from the pixels alone, at 14x10")


def file_of(rescaler, path: str) -> bytes:
    file = io.BytesIO()
    rescaler.restore_strips(rescaler.accept(read(path))[0]).write_png(file)
    return file.getvalue()


def records(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_verify_and_the_log(shell, photos):
    Path("in/bad.png").write_text("no picture")
    picture("in/print.tif", 7, "CMYK")
    status, out, err = shell(*DOWN, "--verify", "--json", "log")
    assert (status, out) == (1, b"")
    *files, summary = records("log")
    expected = {}
    for name in ("a.png", "b.webp", "deep/a.png", "deep/er/c.tif", "print.tif"):
        restored = bdflow.upscale(small(f"in/{name}"), threads=1)
        expected[f"in/{name}"] = psnr_y(read(f"in/{name}").rgb, np.asarray(restored.convert("RGB")))
    assert {record["file"]: record["psnr_y"] for record in files if record["status"] == "made"} == (
        pytest.approx(expected, abs=1e-4)
    )
    mean = sum(expected.values()) / 5
    assert summary["psnr_y"] == pytest.approx(mean, abs=1e-4)
    assert f", mean PSNR-Y {mean:.2f} dB\nnote, 1 time: CMYK converted to RGB\n" in err
    (failed,) = (record for record in files if record["status"] == "failed")
    assert (failed["file"], failed["reason"][:27]) == ("in/bad.png", "no picture that bdflow read")
    first = next(record for record in files if record["file"] == "in/a.png")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", first.pop("time"))
    del first["psnr_y"]
    assert first == {
        "status": "made",
        "file": "in/a.png",
        "result": "out/a.x2.png",
        "width": 14,
        "height": 9,
        "bytes_before": Path("in/a.png").stat().st_size,
        "bytes_after": len(photos["a.x2.png"]),
    }
    counts = {key: summary[key] for key in ("status", "made", "done", "skipped", "failed", "left", "pixels")}
    assert counts == {
        "status": "summary", "made": 5, "done": 0, "skipped": 1, "failed": 1, "left": 0, "pixels": 5 * 126,
    }  # fmt: skip


def test_a_log_is_continued_after_a_kill(shell, photos):
    assert shell(*DOWN, "--json", "log")[0] == 0
    whole = Path("log").read_text()
    Path("log").write_text(whole + '{"status": "ma')
    assert shell(*DOWN, "--resume", "--json", "log")[0] == 0
    assert Path("log").read_text().startswith(whole)
    statuses = [record["status"] for record in records("log")]
    assert statuses == ["skipped", *["made"] * 4, "summary", "skipped", "summary"]
    assert shell(*DOWN, "--force", "--json", "log")[0] == 0
    assert len(records("log")) == 6
    out = shell(*DOWN, "--resume", "--json", "-")[1]
    assert json.loads(out.splitlines()[-1])["done"] == 4


def test_a_full_disk_stops_the_run_with_one_line(shell, photos, monkeypatch):
    fsync, times = os.fsync, iter(range(100))

    def full(descriptor):
        if next(times) >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = shell(*DOWN, "--jobs", "1", "--json", "log")
    assert status == 1
    assert err.startswith("2 made, 1 skipped, 2 left undone in ")
    assert err.endswith("\nstopped: out/deep/a.x2.png: cannot be written: the disk is full\n")
    assert len(err.splitlines()) == 4
    assert tree() == {name: photos[name] for name in ("a.x2.png", "b.x2.png")}
    assert records("log")[-1]["stopped"].endswith("the disk is full")
    monkeypatch.setattr(os, "fsync", fsync)
    assert shell(*DOWN, "--resume")[2].startswith("2 made, 2 done before, 1 skipped in ")
    assert tree() == photos


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_stops_the_run(shell, photos):
    status, _, err = shell(*DOWN, "--jobs", "1", "--json", "/dev/full", "--force")
    assert status == 1
    assert err.endswith("\nstopped: the log cannot be written: the disk is full\n")
    assert tree() == {}  # the file that is skipped could not be logged
