"""Tables, cards and sheets say what was measured, and fit."""

import json
import re
import shutil

import numpy as np
import pytest
from rich.console import Console
from tiny_models import TRAINING

from bdflow import BDFlowError, zoo
from bdflow.evaluation import report


def printed(table, width: int = 80) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def result(model: zoo.Model, folder: str = "portraits/test", count: int = 23, **changes) -> dict:
    mean = {
        "psnr_y": 31.234, "psnr_rgb": 29.876, "ssim_y": 0.91234, "bicubic_psnr_y": 28.111,
        "bicubic_psnr_rgb": 26.222, "bicubic_ssim_y": 0.85432, "lr_psnr": 38.765, "bytes": 32887.2,
        "bytes_pixels": 32061.0, "bytes_boundary": 722.2, "bytes_header": 35.0, "bytes_profile": 0.0,
        "bytes_structure": 69.0, "bits_per_pixel": 0.25091, "seconds_down": 1.234, "seconds_up": 2.345,
    } | changes  # fmt: skip
    row = {
        "count": count,
        "skipped": {},
        "mean": mean,
        "spread": {key: value / 10 for key, value in mean.items()},
        "pictures": {},
    }
    return {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "settings": {"crop": 0, "limit": None, "sigma": 0, "metrics": "as ever"},
        "environment": {
            "bdflow": "0.1.0", "commit": "0123456789ab", "python": "3.11", "processor": "a processor",
            "packages": {"onnxruntime": "1.30"}, "cores": 2, "date": "2026-11-22",
        },
        "folders": {folder: row},
    }  # fmt: skip


@pytest.fixture
def model(tiny, tmp_path):
    """A copy of tiny-x4 that may be written to, as the one built-in model."""
    return zoo.find(shutil.copytree(tiny("tiny-x4"), tmp_path / "built-in" / "tiny-x4"), trust=True)


def test_the_evaluation_table_fits_and_says_all(model):
    text = printed(report.evaluation_table(result(model, lpips=0.1234, bicubic_lpips=0.2345)))
    assert max(map(len, text.splitlines())) <= 80
    assert "portraits/test: 23 pictures, stored and read back" in text
    assert "│ tiny-x4 │ 31.23 dB │ 29.88 dB │ 0.9123 │    0.1234 │" in text
    assert "│ bicubic │ 28.11 dB │ 26.22 dB │ 0.8543 │    0.2345 │" in text
    assert "32,887 bytes: 32,061 LR, 722 boundary, 104 header and frame\n" in text
    assert "0.2509 bits per pixel; LR to the bicubic LR 38.77 dB\n" in text
    assert "1.23 s down, 2.35 s up a picture\n" in text
    assert "skipped" not in text


def test_figures_without_the_border_stand_beside_those_with_it(model):
    measured = result(model, psnr_y_cropped=33.444, bicubic_psnr_y_cropped=28.555)
    text = printed(report.evaluation_table(measured))
    assert "PSNR-Y without a border as wide as the scale 33.44 dB (bicubic 28.55 dB)\n" in text
    card = report.card(model, measured)
    assert card.count(" border cropped |\n") == 1
    assert " 33.44 (28.55) |\n" in card
    assert "Border cropped: PSNR-Y (bicubic's) less 4 pixels on each side." in card
    assert "order cropped" not in report.card(model, result(model))


def test_the_evaluation_table_without_lpips_and_with_skipped_pictures(model):
    measured = result(model, folder="[red]/test", count=1)
    measured["folders"]["[red]/test"]["skipped"] = {"a[b].png": "why", "c.png": "why"}
    text = printed(report.evaluation_table(measured))
    assert "[red]/test: 1 picture, stored and read back" in text
    assert "0.9123 │         - │" in text
    assert "2 skipped: a[b].png, c.png\n" in text


def test_the_models_table_fits_and_says_what_was_measured(model, monkeypatch):
    monkeypatch.setattr(zoo, "BUILT_IN", model.folder.parent)
    zoo.list_built_in()
    before = printed(report.models_tables())
    assert "models for small PNGs" in before
    assert "│ tiny-x4 │ x4    │ 0.1 │ not yet     │        │      │" in before
    report.write_card(model, result(model))
    after = printed(report.models_tables())
    assert "│ tiny-x4 │ x4    │ 0.1 │ portraits/test │  31.23 │ +3.12 │" in after
    assert max(map(len, after.splitlines())) <= 80


def test_the_models_tables_list_restoration_networks(restoring):
    text = printed(report.models_tables())
    assert "restoration-fidelity" not in text.split("networks for AVIF")[0]
    assert re.search(r"│ restoration-fidelity │ 0\.\d │ not yet +│ +│ +│", text.split("networks for AVIF")[1])


def test_results_of_other_weights_are_not_shown(model):
    assert report.results(model) is None
    report.write_card(model, result(model))
    assert report.results(model) == result(model)
    report.write_card(model, result(model) | {"weights_sha256": "0" * 64})
    assert report.results(model) is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", "\xff"])
def test_damaged_results_give_one_line(model, text):
    (model.folder / "evaluation.json").write_bytes(text.encode("latin1"))
    with pytest.raises(BDFlowError, match=r"evaluation.json: not results of .*: measure again$"):
        report.results(model)


def test_the_card_says_whose_weights_it_began_with(model):
    origin = {"model": "photos-x4", "weights_sha256": "ab" * 32, "steps": 1234, "seconds": 60}
    model.metadata["training"]["origin"] = origin
    said = "The first 1,234 were those of photos-x4 (`abababababababab`), from whose weights it began."
    assert said in report.card(model, result(model))


def test_the_card_says_all_of_the_weights_and_the_results(model):
    report.write_card(model, result(model, lpips=0.1234, bicubic_lpips=0.2345))
    assert json.loads((model.folder / "evaluation.json").read_text())["model"] == "tiny-x4"
    text = (model.folder / "card.md").read_text()
    training = model.metadata["training"]
    assert text.startswith("# tiny-x4\n")
    assert f"4 times smaller each way: {training['parameters']:,} parameters," in text
    assert f" {training['multiply_adds'] / 1e9:.4f} G multiply-adds at 128x128" in text
    assert " 2 bits of boundary map. Licence: Apache-2.0." in text
    assert f"- **Data**: {TRAINING['data']}\n" in text
    assert f"- **Command**: `{TRAINING['command']}`\n" in text
    assert "- **Training**: 12 steps in 2 minutes on a test; loss weights" in text
    assert "(`bdflow.zoo.read_metadata`).\n" in text
    assert f"`{model.weights_sha256}` (SHA-256), stored as float16, computed in float32.\n" in text
    assert "commit 0123456789ab, 2026-11-22, 2 cores of a processor, ONNX Runtime 1.30." in text
    assert (
        "| portraits/test | 23 | 31.23 ± 3.12 | 28.11 | +3.12 | 29.88 | 0.9123 | 0.1234 (0.2345) | 38.77"
        " | 32,887 | 722 | 0.2509 |\n"
    ) in text
    assert text.endswith(f"## Limits\n\n{TRAINING['limits']}\n")


def test_the_card_tells_the_history_of_a_run_that_had_one(model):
    model.metadata["training"]["history"] = "Continued twice."
    assert "(`bdflow.zoo.read_metadata`). Continued twice.\n" in report.card(model, result(model))
    del model.metadata["training"]["history"]  # as exported before there was one
    assert "(`bdflow.zoo.read_metadata`).\n" in report.card(model, result(model))


@pytest.mark.parametrize(
    ("name", "bits"), [("tiny-x2", " 1 bit of boundary"), ("tiny-x8", " no boundary map")]
)
def test_the_card_counts_the_bits(tiny, name, bits):
    model = zoo.find(tiny(name), trust=True)
    measured = result(model)
    measured["folders"]["portraits/test"]["skipped"] = {"a.png": "why"}
    text = report.card(model, measured)
    assert bits in text
    assert "| portraits/test | 23 (1 skipped) | 31.23 " in text
    assert "| 0.9123 | - |" in text


def test_the_paper_table_holds_the_figures_of_table_2(monkeypatch):
    sizes = [("BDFlow", 8, 3156228, 3439900000), ("IRN", 64, 471719808, 15580200000)]
    monkeypatch.setattr("bdflow.networks.build.paper_sizes", lambda: sizes)
    text = printed(report.paper_table())
    assert "│ BDFlow  │    x8 │   3,156,228 │      3.4399 G │" in text
    assert "│ IRN     │   x64 │ 471,719,808 │     15.5802 G │" in text


def test_a_contact_sheet_lays_pictures_in_rows():
    flat = {f"{index}": np.full((20, 100, 3), 10 * index, np.uint8) for index in range(1, 6)}
    sheet = report.contact_sheet(flat, columns=3)
    step_x, step_y = 108, 58  # a gap of 8; a label of 30
    assert sheet.shape == (2 * step_y + 8, 3 * step_x + 8, 3)
    for index, pixels in enumerate(flat.values()):
        top, left = 8 + index // 3 * step_y, 8 + index % 3 * step_x
        np.testing.assert_array_equal(sheet[top + 30 : top + 50, left : left + 100], pixels)
        assert (sheet[top : top + 30, left : left + 100] < 128).any()  # the label
    assert (sheet[step_y + 8 :, 2 * step_x + 8 :] == 255).all()  # the sixth place is empty


def test_long_labels_are_set_smaller():
    long, short = report._font("a label of some forty characters, I think", 220), report._font("a", 220)
    assert long.getlength("a label of some forty characters, I think") <= 220
    assert short.size == 18
    assert report._font("w" * 100, 20).size == 9  # no smaller than can be read
