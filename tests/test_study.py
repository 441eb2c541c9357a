"""Studies: equal time, every choice named, rows that survive an interruption."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_run import config

from bdflow.errors import BDFlowError
from bdflow.train import study
from bdflow.train.config import override, to_dict

ROOT = Path(__file__).parent.parent
BASE = """\
name = "base"
validate_every = 1000000
[model]
scale = 2
features = 8
blocks = 1
[loss]
lpips = 0.0
[data]
crop = 16
batch_size = 2
validation = 2
[optim]
learning_rate = 2e-3
"""
STUDY = """\
question = "Does width pay?"
base = "base.toml"
minutes = 0.01
test_side = 32
limit = 2
[changes]
"model.boundary_bits" = 2
[variants.narrow]
"model.features" = 4
[variants.wide]
"""


@pytest.fixture
def study_file(tmp_path):
    (tmp_path / "base.toml").write_text(BASE)
    path = tmp_path / "width.toml"
    path.write_text(STUDY)
    return path


def test_settings_are_replaced_by_dotted_names():
    changed = override(config(), {"optim.learning_rate": 0.5, "model.features": [4], "name": "other"})
    assert (changed.optim.learning_rate, changed.model.features, changed.name) == (0.5, (4,), "other")
    assert override(changed, {}) == changed
    assert to_dict(changed)["loss"] == to_dict(config())["loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim.rate": 1}, r"optim\.rate: there is no such setting"),
        ({"rate": 1}, "rate: there is no such setting"),
        ({"optim.steps.more": 1}, "there is no such setting"),
        ({"optim.steps": "many"}, r"optim\.steps: .*int"),
        ({"model.scale": 3}, "power of two"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(BDFlowError, match=message) as caught:
        override(config(), changes)
    assert "\n" not in str(caught.value)


def test_the_runs_that_a_study_asks_for(study_file):
    study_file.write_text(STUDY.replace("minutes = 0.01", "minutes = 0.01\nseeds = [0, 5]"))
    planned = list(study.configurations(study_file))
    assert [(v, s) for v, s, _ in planned] == [("narrow", 0), ("wide", 0), ("narrow", 5), ("wide", 5)]
    narrow, wide, again, _ = (c for _, _, c in planned)
    assert (narrow.name, narrow.model.features, wide.model.features) == ("width-narrow", 4, 8)
    assert {c.model.boundary_bits for _, _, c in planned} == {2}
    assert (narrow.optim.minutes, narrow.optim.seed, again.optim.seed) == (0.01, 0, 5)
    study_file.write_text(STUDY.replace("minutes = 0.01", "steps = 7"))
    assert {(c.optim.minutes, c.optim.steps) for _, _, c in study.configurations(study_file)} == {(None, 7)}
    one = 'seeds = [0, 5]\nrepeated = ["wide"]'
    study_file.write_text(STUDY.replace("minutes = 0.01", f"minutes = 0.01\n{one}"))
    assert [(v, s) for v, s, _ in study.configurations(study_file)] == [
        ("narrow", 0),
        ("wide", 0),
        ("wide", 5),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question = 'x'\n", r"width\.toml: .*base"),
        (STUDY + "wrong = 1\n", r"width\.toml: variant wide: wrong: there is no such setting"),
        ("question = ", r"width\.toml: "),
        (STUDY.replace("minutes", "steps = 5\nminutes"), r"width\.toml: give either minutes or steps"),
        (STUDY.replace("minutes = 0.01", ""), r"width\.toml: give either minutes or steps"),
        ('repeated = ["broad"]\n' + STUDY, r"width\.toml: repeated: there is no variant broad"),
    ],
)
def test_study_files_with_a_fault(study_file, text, message):
    study_file.write_text(text)
    with pytest.raises(BDFlowError, match=message):
        list(study.configurations(study_file))


def test_a_study_trains_measures_and_goes_on_where_it_stopped(study_file, pictures, tmp_path):
    results, said = tmp_path / "width.json", []

    def run() -> list[study.Row]:
        said.clear()
        out = tmp_path / "out"
        return study.run(study_file, [pictures], [pictures], out, results, device="cpu", say=said.append)

    rows = run()
    assert json.loads(results.read_text())["rows"] == rows
    narrow, wide = rows
    assert narrow["parameters"] < wide["parameters"]
    assert all(row["steps"] >= 1 and row["config"]["optim"]["minutes"] == 0.01 for row in rows)
    (name,) = narrow["folders"]
    assert narrow["folders"][name]["count"] == 2  # the limit
    assert narrow["folders"][name]["bytes"] > 0
    assert {"commit", "packages", "processor"} <= narrow["environment"].keys()
    assert study.summary(rows, name, "psnr_y")["wide"][0] == wide["folders"][name]["psnr_y"]

    assert run() == rows
    assert said == []  # nothing was trained again
    document = json.loads(results.read_text())
    del document["rows"][0]["config"]["model"]["network"]  # a setting that is newer than the row
    results.write_text(json.dumps(document))
    run()
    assert said == []
    document = json.loads(results.read_text())
    results.write_text(json.dumps(document | {"rows": [*rows, {**wide, "variant": "dropped since"}]}))
    run()
    assert said == []
    assert json.loads(results.read_text())["rows"] == rows
    document = json.loads(results.read_text())
    results.write_text(json.dumps(document | {"rows": rows[1:]}))
    again = run()
    assert again[1] == wide
    assert said[0] == "width: narrow, seed 0, 0.01 minutes"


def test_a_variant_does_not_carry_the_card_of_its_base(study_file, tmp_path):
    before = [config for _, _, config in study.configurations(study_file)]
    (tmp_path / "base.toml").write_text(BASE + '[card]\ndata = "of the base alone"\n')
    assert [config for _, _, config in study.configurations(study_file)] == before


def test_a_row_stands_for_its_configuration_alone():
    plain = json.loads(json.dumps(to_dict(config())))
    assert study._describes(plain, config())
    assert study._describes(plain | {"card": {"history": "what the base went through"}}, config())
    assert not study._describes(plain, override(config(), {"model.boundary_bits": 2}))
    assert not study._describes(plain, override(config(), {"model.features": [4]}))
    assert not study._describes(plain | {"dropped": 1}, config())  # a setting that there is no more


def test_a_row_of_before_the_control_left_the_network_still_stands():
    """The rows of the boundary study name `model.extra`; none is to be trained again for that."""
    path = ROOT / "configs" / "studies" / "boundary.toml"
    rows = json.loads((ROOT / "results" / "boundary.json").read_text())["rows"]
    known = {(row["variant"], row["seed"]): row["config"] for row in rows}
    planned = {(variant, seed): config for variant, seed, config in study.configurations(path)}
    assert planned["more-lr", 0].plane == "green"
    assert all(study._describes(known[key], config) for key, config in planned.items())
    green = known["more-lr", 0]
    assert not study._describes(
        green | {"model": green["model"] | {"extra": "boundary"}}, planned["more-lr", 0]
    )


def test_results_of_something_else_are_not_overwritten(study_file, pictures, tmp_path):
    results = tmp_path / "mine.json"
    results.write_text("{}")
    with pytest.raises(BDFlowError, match="not the results of a study"):
        study.run(study_file, [pictures], [pictures], tmp_path / "out", results)
    assert results.read_text() == "{}"


@pytest.mark.parametrize("rank", [0, 1])
def test_of_several_processes_the_first_alone_exports_measures_and_writes(
    study_file, tmp_path, monkeypatch, rank
):
    """The others wait for its row, and hand it on."""
    row = {"variant": "of the first", "steps": 1, "config": {}, "folders": {}}
    sent, exported = [], []

    def broadcast(value):
        sent.append(value)
        return row

    fabric = SimpleNamespace(is_global_zero=rank == 0, broadcast=broadcast)
    trained = SimpleNamespace(fit=lambda: None, fabric=fabric)
    monkeypatch.setattr(study.rank_zero_only, "rank", rank)
    monkeypatch.setattr(study, "trainer_of", lambda *arguments, **options: trained)
    monkeypatch.setattr(
        study, "_export_and_measure", lambda out, tests, limit: exported.append(out.name) or row
    )
    (tmp_path / "test").mkdir()
    results = tmp_path / "results.json"
    rows = study.run(study_file, [], [tmp_path / "test"], tmp_path / "out", results, say=lambda line: None)
    assert len(rows) == len(sent) == 2
    assert len(exported) == (2 if rank == 0 else 0)
    assert sent == [row if rank == 0 else None] * 2
    assert results.exists() == (rank == 0)
    assert (tmp_path / "out" / "tests-32").exists() == (rank == 0)
    assert study.is_first() == (rank == 0)
