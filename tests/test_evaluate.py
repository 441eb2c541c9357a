"""What `bdflow evaluate` measures: stored files, every byte, every picture named."""

import json
import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pytest
from pictures import smooth
from PIL import Image

import bdflow
from bdflow.evaluation import evaluate
from bdflow.evaluation.measure import Learned
from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.quality import metrics
from bdflow.smallfile.container import byte_report
from bdflow.system import environment

METRICS = {"psnr_y", "psnr_rgb", "ssim_y", "bicubic_psnr_y", "bicubic_psnr_rgb", "bicubic_ssim_y", "lr_psnr"}
METRICS |= {"psnr_y_cropped", "bicubic_psnr_y_cropped"}
BYTES = {
    "bytes",
    *(f"bytes_{part}" for part in ("pixels", "boundary", "header", "profile", "metadata", "structure")),
}


@pytest.fixture(autouse=True)
def without_lpips(monkeypatch):
    """Whether the metric's weights are at hand shall not matter here."""
    monkeypatch.setattr(
        "bdflow.evaluation.measure.learned", lambda *names, data=None: ({}, {"lpips": "not wanted"})
    )


@pytest.fixture
def model(tiny):
    return bdflow.load(tiny("tiny-x2"), threads=1, trust=True)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "faces" / "test"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (23, 31)), ("b.webp", (40, 30)), ("c.png", (25, 25))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def run(model, *folders, **options):
    said = []
    result = evaluate.evaluate(model, folders, say=said.append, **options)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    return result, said


def test_every_figure_is_of_the_stored_file(model, folder):
    result, _ = run(model, folder, crop=3)
    true = np.asarray(Image.open(folder / "a.png"))
    data = model.downscale(true).to_bytes()
    restored, small = np.asarray(model.upscale(data)), bicubic_down(true, 2)
    plain = bicubic_up(small, 2, (23, 31))
    values = result["folders"]["faces/test"]["pictures"]["a.png"]
    assert {key: values[key] for key in METRICS} == pytest.approx(
        {
            "psnr_y": metrics.psnr_y(true, restored, crop=3),
            "psnr_rgb": metrics.psnr(true, restored, crop=3),
            "ssim_y": metrics.ssim_y(true, restored),
            "bicubic_psnr_y": metrics.psnr_y(true, plain, crop=3),
            "bicubic_psnr_rgb": metrics.psnr(true, plain, crop=3),
            "bicubic_ssim_y": metrics.ssim_y(true, plain),
            "lr_psnr": metrics.psnr(np.asarray(model.downscale(true).image.rgb), small),
            "psnr_y_cropped": metrics.psnr_y(true, restored, crop=2),
            "bicubic_psnr_y_cropped": metrics.psnr_y(true, plain, crop=2),
        },
        abs=1e-5,
    )
    assert {key: values[key] for key in BYTES - {"bytes"}} == {
        f"bytes_{part}": count for part, count in byte_report(data).items()
    }
    assert values["bytes"] == len(data) == sum(values[key] for key in BYTES - {"bytes"})
    assert values["bits_per_pixel"] == pytest.approx(8 * len(data) / (23 * 31), abs=1e-5)
    assert values["seconds_down"] > 0
    assert values["seconds_up"] > 0


def test_what_is_restored_is_the_bytes_of_the_file(model, folder, monkeypatch):
    given, rgb = [], model.rgb
    monkeypatch.setattr(model, "rgb", lambda small: (given.append(small), rgb(small))[1])
    result, _ = run(model, folder, limit=1)
    assert isinstance(given[0], bytes)
    assert len(given[0]) == result["folders"]["faces/test"]["pictures"]["a.png"]["bytes"]


def test_mean_and_spread_are_over_the_pictures(model, folder):
    row = run(model, folder)[0]["folders"]["faces/test"]
    assert row["count"] == 3
    assert row["skipped"] == {}
    assert list(row["pictures"]) == ["a.png", "b.webp", "c.png"]
    for key in METRICS | BYTES | {"bits_per_pixel", "seconds_down", "seconds_up"}:
        column = [values[key] for values in row["pictures"].values()]
        assert row["mean"][key] == pytest.approx(fmean(column), abs=1e-5)
        assert row["spread"][key] == pytest.approx(pstdev(column), abs=1e-5)


def test_the_result_says_where_it_comes_from(model, folder):
    result, _ = run(model, folder, crop=2, limit=1, refine=1)
    assert result["model"] == "tiny-x2"
    assert result["weights_sha256"] == model.model.weights_sha256
    assert result["settings"] == {
        "crop": 2,
        "limit": 1,
        "sigma": 0,
        "refine": 1,
        "metrics": "PSNR and SSIM on 8-bit files; Y is BT.601; PSNR is capped at 100 dB",
    }
    told = result["environment"]
    assert told["bdflow"] == bdflow.__version__
    assert told["python"].startswith("3.")
    for package in ("numpy", "pillow", "onnxruntime"):
        assert told["packages"][package] == metadata.version(package)
    assert told["cores"] == os.cpu_count()
    assert told["processor"]
    assert len(told["date"]) == 10


def test_the_commit_is_that_of_bdflow_and_of_nobody_else(tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    checkout, installed = tmp_path / "checkout", tmp_path / "work" / ".venv" / "lib" / "site-packages"
    for root in (checkout, tmp_path / "work"):
        root.mkdir(parents=True, exist_ok=True)
        git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    head = subprocess.run([*git[:2], str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True)
    module = Path("bdflow", "system", "environment.py")
    monkeypatch.setattr(environment, "__file__", str(checkout / "src" / module))
    assert environment.environment()["commit"] == head.stdout[:12]
    installed.mkdir(parents=True)
    monkeypatch.setattr(environment, "__file__", str(installed / module))
    assert environment.environment()["commit"] is None


def test_limit_takes_the_first_by_name(model, folder):
    row = run(model, folder, limit=2)[0]["folders"]["faces/test"]
    assert list(row["pictures"]) == ["a.png", "b.webp"]


def test_progress_names_every_picture(model, folder):
    result, said = run(model, folder)
    values = result["folders"]["faces/test"]["pictures"]["b.webp"]
    gain = values["psnr_y"] - values["bicubic_psnr_y"]
    assert said[0] == "without LPIPS: not wanted"
    assert said[2] == f"faces/test 2/3 b.webp: {gain:+.2f} dB over bicubic"
    assert len(said) == 4


def test_what_cannot_be_measured_is_named_skipped_and_not_counted(model, folder):
    clean = run(model, folder)[0]["folders"]["faces/test"]
    broken = (folder / "a.png").read_bytes()[:300]
    (folder / "a-broken.png").write_bytes(broken)
    (folder / "b-text.jpg").write_text("no picture")
    Image.fromarray(smooth(10, 60)).save(folder / "d-tiny.png")
    result, said = run(model, folder)
    row = result["folders"]["faces/test"]
    assert row["count"] == 3
    assert row["skipped"] == {
        "a-broken.png": "the picture is damaged or cut short: get it again",
        "b-text.jpg": "no picture that bdflow reads (PNG, JPEG, WEBP, TIFF, BMP, GIF, PPM, AVIF, JPEG2000)",
        "d-tiny.png": "60x10 is too small to measure: a side needs 11 pixels",
    }
    assert row["mean"]["psnr_y"] == clean["mean"]["psnr_y"]
    assert said[2] == "faces/test 2/6 a.png: " + said[2].split(": ")[1]
    assert "faces/test 1/6 a-broken.png: skipped: the picture is damaged or cut short: get it again" in said


def test_a_crop_that_leaves_nothing_of_a_picture_skips_it(model, folder):
    row = run(model, folder, crop=12)[0]["folders"]["faces/test"]
    assert row["skipped"] == {"a.png": "31x23 is too small to measure: a side needs 25 pixels"}
    assert row["count"] == 2


def test_flat_pictures_do_not_bring_infinity_into_json(model, folder, monkeypatch):
    monkeypatch.setattr(model, "rgb", lambda data: np.asarray(Image.open(folder / "a.png")))
    values = run(model, folder, limit=1)[0]["folders"]["faces/test"]["pictures"]["a.png"]
    assert (values["psnr_y"], values["psnr_rgb"], values["ssim_y"]) == (100, 100, 1)


def test_gray_and_transparent_pictures_are_measured_too(model, folder):
    Image.fromarray(smooth(30, 40)).convert("L").save(folder / "a-gray.png")
    Image.fromarray(np.dstack([smooth(30, 40), smooth(30, 40)[..., 0]])).save(folder / "a-clear.png")
    row = run(model, folder)[0]["folders"]["faces/test"]
    assert row["count"] == 5


def test_two_folders_give_two_rows(model, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "cats" / "test")
    (other / "a.png").unlink()
    result, _ = run(model, folder, other)
    counts = {name: row["count"] for name, row in result["folders"].items()}
    assert counts == {"faces/test": 3, "cats/test": 2}


def test_what_is_no_folder_of_pictures_is_refused_before_anything_is_measured(model, folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    again = shutil.copytree(folder, tmp_path / "again" / "faces" / "test")
    bad = shutil.copytree(folder, tmp_path / "bad", ignore=lambda *_: ["a.png", "b.webp", "c.png"])
    (bad / "d.png").write_text("no picture")
    for folders, message in (
        ([folder, tmp_path / "missing"], "missing: not a folder; give folders of pictures"),
        ([folder, folder / "a.png"], "a.png: not a folder; give folders of pictures"),
        ([folder, empty], "empty: no pictures in it (."),
        ([folder, again], "two of the folders share their last two names"),
    ):
        said = []
        with pytest.raises(bdflow.BDFlowError) as caught:
            evaluate.evaluate(model, folders, say=said.append)
        assert message in str(caught.value)
        assert said == []
    with pytest.raises(bdflow.BDFlowError, match=r"/bad: none of its 1 pictures can be measured$"):
        evaluate.evaluate(model, [bad], say=said.append)


def test_lpips_stands_beside_the_others_where_it_is_at_hand(model, folder, monkeypatch):
    def distance(a, b):
        return float(np.abs(a.astype(int) - b).mean())

    monkeypatch.setattr(
        "bdflow.evaluation.measure.learned", lambda *names, data=None: ({"lpips": Learned(distance, 31)}, {})
    )
    Image.fromarray(smooth()).save(folder / "a.png")  # LPIPS needs 31 pixels
    result, said = run(model, folder, limit=1)
    row = result["folders"]["faces/test"]
    true = np.asarray(Image.open(folder / "a.png"))
    restored = np.asarray(model.upscale(model.downscale(true).to_bytes()))
    plain = bicubic_up(bicubic_down(true, 2), 2, true.shape[:2])
    assert row["mean"]["lpips"] == pytest.approx(distance(true, restored), abs=1e-5)
    assert row["mean"]["bicubic_lpips"] == pytest.approx(distance(true, plain), abs=1e-5)
    assert len(said) == 1


def test_a_refined_picture_is_measured_as_it_was_stored(model, folder):
    plain, refined = (run(model, folder, refine=steps)[0]["folders"]["faces/test"] for steps in (0, 4))
    assert refined["mean"]["psnr_rgb"] > plain["mean"]["psnr_rgb"]
    assert refined["mean"]["bicubic_psnr_rgb"] == plain["mean"]["bicubic_psnr_rgb"]


def test_a_card_takes_no_refined_figures(shell, folder):
    status, _, err = shell("evaluate", "photos-x2", folder, "--card", "--refine", 2)
    assert (status, err) == (
        1,
        "bdflow: a card tells of the model as it is: leave out --refine, or write --json FILE\n",
    )
