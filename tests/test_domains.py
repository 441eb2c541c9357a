"""Table 6: pictures of other domains, in their own size and by the paper's protocol."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from measured import facts, results
from measured import row as measured_row
from pictures import smooth
from PIL import Image

from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.quality.metrics import psnr_y
from bdflow.reproduce import main, tables
from bdflow.reproduce.external import External
from bdflow.reproduce.main import Request
from bdflow.reproduce.plans import MEASURED, Party
from bdflow.reproduce.results import read
from bdflow.reproduce.schemas import Results
from bdflow.reproduce.sets import Sample
from bdflow.runtime.computing import Computing


@pytest.fixture(autouse=True)
def without_lpips(monkeypatch):
    """Whether the metric's weights are at hand shall not matter here."""
    monkeypatch.setattr(main, "learned", lambda *names, data: ({}, {}))


def test_table_6_is_measured_by_both_protocols(tmp_path, monkeypatch):
    """Each picture of the paper's sets in its own size, and resized to a square whatever its shape."""
    monkeypatch.setattr(main, "PAPER_SIDE", 96)
    (tmp_path / "no-models").mkdir()
    monkeypatch.setattr("bdflow.zoo.BUILT_IN", tmp_path / "no-models")
    for name in ("cats/test", "photos/kodak24"):  # the latter is not of the paper
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(smooth(48, 64)).save(tmp_path / "data" / name / "a.png")
    asked = {"data": (tmp_path / "data",), "out": tmp_path / "out"}
    main.run(Request(tables=("table6",), computing=Computing(threads=1), **asked), [].append)
    measured = read(tmp_path / "out" / "table6.json", Results)
    digest = measured.sets["cats/test"]["a.png"]
    assert measured.sets["cats/test@96x96"] == {"a.png": f"{digest}@96x96"}
    assert set(measured.sets) == {"cats/test", "cats/test@96x96", "photos/kodak24"}
    rows = {(row.set, row.method): row for row in measured.rows}
    assert {method for name, method in rows if name == "cats/test@96x96"} == {
        f"bicubic x{scale}, PNG" for scale in (32, 64)  # the paper's scales of this table
    }  # fmt: skip
    true = np.asarray(Image.fromarray(smooth(48, 64)).resize((96, 96), Image.Resampling.BICUBIC))
    expected = bicubic_up(bicubic_down(true, 32), 32, (96, 96))
    mean = rows["cats/test@96x96", "bicubic x32, PNG"].mean
    assert mean["psnr_y"] == pytest.approx(psnr_y(true, expected), abs=0.001)
    main.run(
        Request(("table6",), asked["data"], tmp_path / "quick", quick=True, computing=Computing(threads=1)),
        [].append,
    )
    assert not any("@" in name for name in read(tmp_path / "quick" / "table6.json", Results).sets)


def test_by_the_papers_protocol_models_of_its_two_scales_are_measured():
    def entry(scale):
        own = facts("bdflow", scale=scale)
        return SimpleNamespace(facts=own, entry=lambda: SimpleNamespace(facts=own))

    sets = {name: (Sample(name, Path("a.png"), squared=side),) for name, side in (("cats", None), ("big", 9))}
    party = Party([entry(scale) for scale in (2, 8, 32, 64)], [], None, [], quick=False)
    measured = MEASURED["table6"].plan(sets, party)
    scales = {name: [e.facts.scale for e in entries] for name, (_, entries) in measured.items()}
    assert scales["big"] == [32, 64] * 2  # and bicubic
    assert scales["cats"] == [2, 8, 32, 64, 2, 8, 16, 32, 64]


def test_what_another_program_restored_is_of_the_picture_in_its_own_size(tmp_path):
    sets = ("cats/test", None), ("cats/test@64x64", 64)
    samples = [Sample(name, Path("a.png"), squared=side) for name, side in sets]
    for folder, found in ((tmp_path, [True, False]), (tmp_path / "cats" / "test@64x64", [True, True])):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth(48, 64)).save(folder / "a.png")
        (folder / "bytes.csv").write_text("picture,bytes\na.png,9\n")
        external = External("other-x64", tmp_path)
        assert [external.has([sample]) for sample in samples] == found


def test_both_protocols_of_table_6_stand_beside_the_papers_rows():
    def row(name, method, kind, scale, psnr, **more):
        values = {"bytes": 100, "psnr_y": psnr, "ssim_y": 0.9, **more}
        return measured_row(name, kind, {"a.png": values}, method=method, scale=scale)

    rows = [
        row(f"photos/set5{size}", method, kind, scale, psnr, lpips=0.25)
        for size, (first, second, third) in {"": (19, 21, 16), "@1024x1024": (24, 26, 18)}.items()
        for method, kind, scale, psnr in (
            ("mine", "bdflow", 64, first), ("other", "bdflow", 32, second), ("plain", "resampled", 64, third),
        )
    ]  # fmt: skip
    both, native, squared = tables.table6(results("table6", rows))
    assert both.rows == [(  # the paper has no row of x32 here
        "photos/set5", "1", "mine", "19.00 / 0.9000 / 0.2500", "24.00 / 0.9000 / 0.2500",
        "18.00 / 0.9000 / 0.2500", "24.80 / 0.8361", "22.33 / 0.7718",
    )]  # fmt: skip
    assert [line[:4] for line in native.rows] == [
        ("photos/set5", "mine", "19.00 ± 0.00", "16.00"), ("photos/set5", "other", "21.00 ± 0.00", ""),
    ]  # fmt: skip
    assert [line[:4] for line in squared.rows] == [
        ("photos/set5", "mine", "24.00 ± 0.00", "18.00"), ("photos/set5", "other", "26.00 ± 0.00", ""),
    ]  # fmt: skip
    assert "1024x1024" in squared.title


def test_bicubic_beside_a_model_is_of_the_models_pictures():
    def figures(psnr):
        return {"bytes": 100, "psnr_y": psnr, "ssim_y": 0.9}

    def row(kind, **pictures):
        values = {name: figures(psnr) for name, psnr in pictures.items()}
        return measured_row("cats/test", kind, values, method=kind, scale=32)

    rows = [row("resampled", a=20.0, b=24.0), row("bdflow", a=30.0, b=30.0), row("external", b=25.0)]
    (grid,) = tables.table6(results("table6", rows))
    assert [cells[1:4] for cells in grid.rows] == [
        ("bdflow", "30.00 ± 0.00", "22.00"),
        ("external", "25.00 ± 0.00", "24.00"),
    ]
