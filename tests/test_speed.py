"""What `bdflow benchmark` reports: every step of every model, and where the ceiling lies."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from tiny_models import CONFIGS

from bdflow import zoo
from bdflow.networks.build import build, count_multiply_adds
from bdflow.train import speed

OF_128 = count_multiply_adds(build(CONFIGS["tiny-x4"]))


@pytest.fixture(scope="module")
def result(tiny):
    with pytest.MonkeyPatch.context() as patch:
        small = {"block": "dense", "blocks": 1, "features": 4}  # IRN's own takes longer than all else
        patch.setattr(speed, "_IRN_BLOCKS", small)
        patch.setattr(speed, "_CEILING_SIDE", 16)
        # OpenVINO bears no forks later.
        patch.setattr("bdflow.system.extras.find_spec", lambda name: None if name == "openvino" else name)
        model = zoo.find(tiny("tiny-x4"), trust=True)
        return speed.measure([model], [32], rounds=2, threads=1, say=lambda _: None)


def test_every_step_is_timed_in_every_round(result):
    assert json.loads(json.dumps(result)) == result
    assert result["count"] == len(result["rows"])
    assert {row["task"] for row in result["rows"] if row["subject"] == "tiny-x4"} == {
        "shrink: network", "shrink: write the small PNG",
        "shrink: JPEG to small PNG", "restore: read the small PNG", "restore: network",
        "restore: small PNG to pixels", "restore: network, torch",
    }  # fmt: skip
    for row in result["rows"]:
        assert len(row["each"]) == 2
        assert min(row["each"]) <= row["seconds"] <= max(row["each"])
        assert row["seconds"] > 0


def test_rates_are_of_the_networks_own_arithmetic(result):
    rows = {(row["subject"], row["task"]): row for row in result["rows"]}
    restore, shrink = (rows["tiny-x4", f"{way}: network"] for way in ("restore", "shrink"))
    assert restore["multiply_adds"] == shrink["multiply_adds"] == OF_128 / 16
    assert restore["multiply_adds_per_second"] == pytest.approx(
        restore["multiply_adds"] / restore["seconds"], rel=1e-2
    )
    assert speed.ceiling(result) == max(
        row["multiply_adds_per_second"] for row in result["rows"] if row["subject"] == "ceiling"
    )


def test_irn_is_timed_beside_the_models(result):
    (row,) = (row for row in result["rows"] if row["subject"] == "IRN x4")
    assert (row["task"], row["side"], len(row["each"])) == ("restore: network", 32, 2)
    assert row["multiply_adds"] > 0


def test_the_page_is_made_of_it(result, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "docs")
    import performance

    (tmp_path / "speed-here.json").write_text(json.dumps(result))
    text = performance.page(tmp_path)
    assert "### 32x32 pixels" in text
    assert text.count("| tiny-x4 |") == 2  # its row of ratios, and where the time goes
    assert "Not measured yet" in performance.page(tmp_path / "nothing")


def test_the_table_names_everything(result):
    console = Console(width=120)
    with console.capture() as capture:
        console.print(speed.table(result))
    text = capture.get()
    assert all(row["subject"] in text for row in result["rows"])
    assert "100 %" in text
