"""What `bdflow evaluate` measures of a restoration network: files against plain codecs' in the same bytes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_restoration import NETWORK, make_pictures

from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.evaluation import budgets
from bdflow.evaluation.budgets import evaluate_model
from bdflow.evaluation.report import card
from bdflow.fitting import Goal, fit
from bdflow.networks.restoration import Restoration
from bdflow.pictures import reader
from bdflow.quality.metrics import psnr_y
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import Enhancer
from bdflow.train.export import export_restoration

TRAINING = {
    "steps": 12,
    "seconds": 90,
    "machine": "a test",
    "command": "bdflow train tiny.toml",
    "data": "none: random numbers",
    "limits": "restores nothing",
}
BUDGETS = (0.7, 1.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> zoo.Model:
    """It adds a little to what it sees."""
    network = Restoration(NETWORK)
    torch.manual_seed(0)
    torch.nn.init.normal_(network.tail.weight, std=0.003)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    export_restoration("tiny-restoration", network.eval(), folder, TRAINING)
    return zoo.find(folder, trust=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = make_pictures(tmp_path_factory.mktemp("domains")) / "photos"
    Image.new("RGB", (8, 8)).save(folder / "tiny.png")
    for number in (3, 6, 7):
        (folder / f"{number}.png").unlink()
    return folder


@pytest.fixture(scope="module")
def result(model, photos):
    return evaluate_model(model, [photos], budgets=BUDGETS, computing=Computing(threads=1), say=len)


def test_a_row_for_each_folder_and_budget(result, photos):
    name = "/".join(photos.parts[-2:])
    assert list(result["folders"]) == [f"{name} at {budget:g} bpp" for budget in BUDGETS]
    assert result["settings"]["bits_per_pixel"] == list(BUDGETS)
    for row in result["folders"].values():
        assert row["count"] == 2
        assert list(row["skipped"]) == ["tiny.png"]
    assert json.loads(json.dumps(result)) == result


def test_figures_are_of_files_within_the_budget(result, model, photos):
    enhancer = Enhancer(model, Computing(threads=1))
    for budget, row in zip(BUDGETS, result["folders"].values(), strict=True):
        values = row["pictures"]["4.png"]
        picture = reader.read(photos / "4.png")
        count = int(budget * picture.width * picture.height / 8)
        assert max(values["bytes"], values["codec_bytes"]) <= count
        ours = fit(picture, enhancer, Goal(max_bytes=count))
        assert (values["bytes"], values["factor"]) == (len(ours.small.data), ours.small.factor)
        assert values["psnr_rgb"] == pytest.approx(ours.psnr_rgb, abs=1e-4)
        assert values["psnr_y"] == pytest.approx(psnr_y(picture.rgb, enhancer.rgb(ours.small)), abs=1e-4)
        rivals = [
            fit(picture, enhancer, Goal(max_bytes=count, format=f, domain="plain")) for f in ("AVIF", "WebP")
        ]
        codec = (values["codec_psnr_y"] + values["codec_psnr_rgb"]) / 2
        assert codec >= max(rival.psnr for rival in rivals) - 1e-4
        assert row["mean"]["psnr_y"] == pytest.approx(
            np.mean([each["psnr_y"] for each in row["pictures"].values()]), abs=1e-4
        )


def test_a_budget_that_nothing_meets(model, photos):
    with pytest.raises(BDFlowError, match=r"at 0\.0001 bpp: none of its 3 pictures can be measured"):
        evaluate_model(model, [photos], budgets=[1e-4], computing=Computing(threads=1), say=len)


def test_options_of_the_other_kind_are_refused(model, photos):
    with pytest.raises(BDFlowError, match="makes no small picture to refine: leave out --refine"):
        evaluate_model(model, [photos], refine=3)
    with pytest.raises(BDFlowError, match="model photos-x2 makes files of one size: leave out --bpp"):
        evaluate_model(zoo.find("photos-x2"), [photos], budgets=[0.1])


def test_the_card_tells_data_time_gain_and_limits(model, result):
    text = card(model, result)
    for part in ("none: random numbers", "12 steps in 2 minutes on a test", "restores nothing", "0.7 bpp"):
        assert part in text
    lines = [line for line in text.splitlines() if " bpp |" in line]
    for line, row in zip(lines, result["folders"].values(), strict=True):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        mean = row["mean"]
        assert cells[1] == "2 (1 skipped)"
        assert cells[5] == f"{mean['psnr_y'] - mean['codec_psnr_y']:+.2f}"
        assert len(cells) == 11


def test_the_command(model, photos, shell, monkeypatch):
    monkeypatch.setattr(budgets, "BUDGETS", (0.9,))
    arguments = ("evaluate", model.folder, photos, "--trust", "--threads", "1")
    status, out, _ = shell(*arguments, "--limit", "1", "--card", "--json", "out.json")
    assert status == 0
    assert b"against the best plain codec" in out
    written = json.loads((model.folder / "evaluation.json").read_text())
    assert written["settings"]["bits_per_pixel"] == [0.9]
    assert (model.folder / "card.md").read_text().startswith("# tiny-restoration\n")
    for value in ("0", "nan", "-1"):
        assert shell(*arguments, "--bpp", value)[0] != 0
