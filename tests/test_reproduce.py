"""`bdflow reproduce`: figures that say where they come from, measured once and scored alike for all."""

import csv
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from measured import facts, results
from measured import row as measured_row
from pictures import smooth
from PIL import Image

import bdflow
from bdflow import BDFlowError
from bdflow.evaluation.measure import Learned, Scorer, learned, small_figures
from bdflow.methods import CODECS, ESRGAN, AtQuality, RealESRGAN, Rescaled, round_trip
from bdflow.pictures.codecs import AVIF, JPEG, WEBP
from bdflow.pictures.resize import bicubic_down
from bdflow.quality.metrics import luma, psnr, psnr_y, ssim, ssim_y
from bdflow.reproduce import entries, main, page, run, tables
from bdflow.reproduce.curves import Verdict
from bdflow.reproduce.entries import Entry, Ours, harmed_bicubic
from bdflow.reproduce.external import External
from bdflow.reproduce.harm import CONDITIONS, gains, losses_of_draws
from bdflow.reproduce.known import Memory
from bdflow.reproduce.main import NAMES, Request
from bdflow.reproduce.results import Folder, parse, read, schema
from bdflow.reproduce.schemas import Latents, Results, Sizes, Study
from bdflow.reproduce.sets import Sample, find_sets
from bdflow.runtime.computing import Computing

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def without_lpips(monkeypatch):
    """Whether the metric's weights, or pictures, are at hand shall not matter here."""
    monkeypatch.setattr("bdflow.reproduce.main.learned", lambda *names, data: ({}, {"lpips": "not wanted"}))
    monkeypatch.delenv("BDFLOW_DATA", raising=False)


@pytest.fixture
def faces(tmp_path):
    """A folder of two small pictures."""
    folder = tmp_path / "faces" / "test"
    folder.mkdir(parents=True)
    for index, size in enumerate(((48, 64), (40, 56))):
        rgb = smooth(*size)
        rgb[8:24, 8:40] = np.random.default_rng(index).integers(0, 256, (16, 32, 3))
        Image.fromarray(rgb).save(folder / f"face{index}.png")
    return folder


@pytest.fixture(scope="module")
def ours():
    return Ours(bdflow.load("portraits-x8", threads=1))


def _only_x8():
    return next(model for model in bdflow.zoo.built_in() if model.name == "portraits-x8")


@pytest.fixture
def x8_alone(tmp_path, monkeypatch):
    """Of the built-in models only one: the others that may come are larger."""
    folder = tmp_path / "built-in"
    folder.mkdir()
    (folder / "portraits-x8").symlink_to(_only_x8().folder, target_is_directory=True)
    monkeypatch.setattr("bdflow.zoo.BUILT_IN", folder)
    bdflow.zoo.list_built_in()


def reproduce(*names, **options):
    said = []
    main.run(Request(tables=names, computing=Computing(threads=1), **options), said.append)
    return said


def test_a_model_of_ones_own_says_how_it_was_made(ours, tiny):
    assert Ours(bdflow.load(tiny("tiny-x4"), trust=True)).facts.command == "bdflow train tiny.toml"
    assert ours.facts.command is None


# Results files


def results_files():
    return sorted((ROOT / "results").rglob("*.json"))


@pytest.mark.parametrize("path", results_files(), ids=lambda path: path.stem)
def test_every_committed_results_file_says_where_it_comes_from(path):
    document = json.loads(path.read_text())
    if schema(document):
        parsed = parse(document, path.name)
        head = document.get("study") or document["settings"]
        places = [parsed.environment] if hasattr(parsed, "environment") else []
        places += [row.environment for row in parsed.rows] if isinstance(parsed, Study) else []
        assert all(head and place.packages["numpy"] for place in places)
        assert places
        return
    others = document.get("runs") or ([document] if "environment" in document else list(document.values()))
    if "environment" not in document and "rows" in document:  # each was measured apart
        others = document["rows"]
    told = {"bdflow", "commit", "python", "packages", "processor", "cores", "date"}
    assert others
    assert all(told <= other["environment"].keys() for other in others)
    assert all(other["environment"]["packages"]["numpy"] for other in others)
    if "environment" in document:
        assert document["settings"]
        counted = document.get("folders", {}).values() or document.get("rows") or document["speed"]
        assert counted
        assert all(len(row["each"]) if "each" in row else row.get("count", 1) for row in counted)


@pytest.mark.parametrize("path", results_files(), ids=lambda path: path.stem)
def test_results_are_written_as_they_were_read(path, tmp_path):
    """Whatever the release: no figure and no fact of a committed file is lost when it is written anew."""
    document = json.loads(path.read_text())
    parsed = parse(document, path.name) if schema(document) else None
    if not isinstance(parsed, Results | Sizes | Latents):
        return
    Folder(tmp_path).write(path.stem, parsed)
    again = json.loads((tmp_path / path.name).read_text())
    assert again.pop("schema") == schema(document)
    document.pop("schema", None)
    assert again == document


def example():
    pictures = {"a.png": {"bytes": 100, "psnr_y": 30.0}, "b.png": {"bytes": 140, "psnr_y": 34.0}}
    coded = measured_row("faces/test", "codec", pictures, failed={"c.png": "too small"}, quality=3)
    return results("table1", [coded])


def test_mean_spread_and_count_stand_with_every_figure(tmp_path):
    (row,) = example().rows
    assert (row.count, row.mean, row.spread) == (
        2, {"bytes": 120.0, "psnr_y": 32.0}, {"bytes": 20.0, "psnr_y": 2.0},
    )  # fmt: skip
    Folder(tmp_path).write("table1", example())
    assert json.loads((tmp_path / "table1.json").read_text())["schema"] == "pictures-1"
    assert read(tmp_path / "table1.json", Results) == example()
    with pytest.raises(BDFlowError, match=r"table1.json: these are other results$"):
        read(tmp_path / "table1.json", Study)
    memory = Memory(Folder.at(tmp_path))
    coded = facts("codec", quality=3)
    assert memory.recall(coded, 0, "b.png", {"psnr_y"}).values == {"bytes": 140, "psnr_y": 34.0}
    assert memory.recall(coded, 0, "c.png", {"psnr_y"}).failed == "too small"
    assert memory.recall(coded, 2, "b.png", {"psnr_y"}) is None  # another crop
    assert memory.recall(coded, 0, "b.png", {"psnr_y", "lpips"}) is None  # more is wanted
    assert memory.recall(facts("codec", quality=4), 0, "b.png", set()) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("environment"),
        lambda d: d["environment"].pop("packages"),
        lambda d: d["environment"]["packages"].pop("numpy"),
        lambda d: d["environment"].pop("commit"),
        lambda d: d["environment"].pop("processor"),
        lambda d: d.pop("settings"),
        lambda d: d["settings"].clear(),
        lambda d: d["rows"][0].pop("count"),
        lambda d: d["rows"][0].update(count=3),
        lambda d: d["rows"][0].update(count="2"),
        lambda d: d["rows"][0]["spread"].clear(),
        lambda d: d["rows"][0]["facts"].update(kind="a new one"),
        lambda d: d["rows"][0]["facts"].update(unknown=1),
    ],
)
def test_results_without_versions_settings_or_counts_are_refused(damage, tmp_path):
    Folder(tmp_path).write("table1", example())
    path = tmp_path / "table1.json"
    broken = json.loads(path.read_text())
    damage(broken)
    path.write_text(json.dumps(broken))
    with pytest.raises(BDFlowError, match=r"table1.json: these are no results \(.*\): measure again$"):
        Folder.at(tmp_path)


def test_results_of_a_newer_release_are_left_alone_or_refused(tmp_path):
    path = tmp_path / "table1.json"
    path.write_text(json.dumps({"schema": "pictures-9"}))
    assert Folder.at(tmp_path).tables == {}
    with pytest.raises(BDFlowError, match=r"table1.json: .*no results of schema pictures-9: take a newer"):
        read(path, Results)


def test_what_several_tables_measured_of_a_picture_is_known_together(tmp_path):
    full = example()
    (row,) = full.rows
    slim = results("table5", [measured_row("faces/test", "codec", {"b.png": {"bytes": 140}}, quality=3)])
    slim.environment = msgspec.structs.replace(slim.environment, commit="another")
    folder = Folder(tmp_path)
    folder.write("table1", full)
    folder.write("table5", slim)  # of fewer measures, and read after the other
    memory = Memory(Folder.at(tmp_path))
    known = memory.recall(row.facts, 0, "b.png", {"psnr_y", "bytes"})
    assert known.values == {"bytes": 140, "psnr_y": 34.0}
    assert memory.runs("curves", ()) == []
    places = {place.commit for place in memory.runs("curves", known.tables)}
    assert places == {"another", full.environment.commit}


def test_the_page_bears_every_kind_of_method(tmp_path):
    own = {
        "bdflow": {"command": "bdflow train --from another"},
        "rival": {"network": "HCFlow", "model": "networks-portraits-x8-hcflow"},
        "codec": {"codec": "WebP", "quality": 3},
    }
    kinds = (
        "bdflow", "rival", "resampled", "superresolution", "external", "codec", "pca", "placeholder",
    )  # fmt: skip
    figures = {"bytes": 100, "bits_per_pixel": 0.1, "psnr_y": 30.0, "psnr_rgb": 29.0, "ssim_y": 0.9}
    rows = [measured_row("faces/test", kind, {"a.png": figures}, **own.get(kind, {})) for kind in kinds]
    folder = Folder(tmp_path)
    for table in ("table1", "curves", "table6"):
        folder.write(table, results(table, rows))
    text = page.markdown(folder, tmp_path)
    assert "## Table 1" in text
    assert all(f"a {kind} |" in text for kind in kinds)
    assert "a bdflow was trained for this table: `bdflow train --from another`" in text
    assert "There are 2 cases: each model on each set by each measure. bdflow wins 0, is level in 2" in text
    assert "Pictures per set: 1.\n" in text
    assert "| PSNR-Y | portraits-x8 | *1.00 WebP* |" in text
    assert (tmp_path / "table1.svg").read_bytes().startswith(b"<?xml")


def test_a_limit_takes_pictures_from_all_of_a_set(tmp_path):
    folder = tmp_path / "cats" / "test"
    folder.mkdir(parents=True)
    for index in range(10):
        Image.fromarray(smooth(12, 12)).save(folder / f"{index}.png")
    sets = find_sets([tmp_path], [], quick=False)

    def names(limit):
        return [sample.path.stem for sample in sets.choose(["cats/test"], limit)["cats/test"]]

    assert (names(None), names(20)) == ([*"0123456789"],) * 2
    assert names(4) == [*"0257"]
    assert set(names(2)) < set(names(4)) < set(names(8))  # more pictures later, and none measured in vain


# Measuring


def test_figures_are_those_of_the_metrics():
    true, other = smooth(), np.roll(smooth(), 3, axis=1)

    def distance(a, b):
        return float(np.abs(a.astype(int) - b).mean())

    learned = {
        "lpips": Learned(distance, 31, of_luma=lambda a, b: distance(luma(a), luma(b))),
        "niqe": Learned(lambda a, b: float(b.mean()), 13),
    }
    values = Scorer(2, learned, both=True).quality(true, other)
    assert values == {
        "psnr_y": psnr_y(true, other, crop=2),
        "psnr_rgb": psnr(true, other, crop=2),
        "ssim_y": ssim_y(true, other),
        "ssim_rgb": ssim(true, other),
        "lpips": np.abs(true.astype(int) - other).mean(),
        "lpips_y": distance(luma(true), luma(other)),
        "niqe": other.mean(),
    }
    assert set(values) == Scorer(2, learned, both=True).measures
    assert Scorer(0, learned).quality(smooth(12, 12), smooth(12, 12)).keys() == {
        "psnr_y", "psnr_rgb", "ssim_y",
    }  # AlexNet's features need 31 pixels # fmt: skip


def test_a_learned_distance_reads_a_true_picture_once(monkeypatch):
    from bdflow.quality import lpips

    seen = []

    class Means:
        def __init__(self, weights):
            pass

        def features(self, x):
            seen.append(x.mean().item())
            return [x.mean()]

        def distance(self, a, b):
            return abs(a[0] - b[0])

    monkeypatch.setattr(lpips, "LPIPS", Means)
    monkeypatch.setattr(lpips, "find_weights", lambda data: {})
    judge = learned("lpips")[0]["lpips"]
    true, other = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    assert [judge.of(true, other), judge.of(true, true), judge.of(other, true), judge.of(other, other)] == [
        1, 0, 1, 0,
    ]  # fmt: skip
    assert seen == [0, 1, 0, 1, 0, 1]
    red = np.zeros_like(true) + np.array([255, 0, 0], np.uint8)
    assert judge.of_luma(true, red) == pytest.approx((81 - 16) / 255)  # BT.601's luma of red and of black


def test_the_small_picture_is_set_beside_the_bicubic_one():
    true = smooth()
    values = small_figures(true, bicubic_down(true, 4), 4)
    assert values["lr_psnr"] == 100
    for key in ("clipped", "png", "webp", "jpeg"):
        assert values[f"lr_{key}"] == values[f"bicubic_lr_{key}"]
    white = np.full((12, 16, 3), 255, np.uint8)
    assert small_figures(true, white, 4)["lr_clipped"] == 1


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_point_of_a_codecs_curve(codec):
    middle = sum(codec.qualities) // 2
    full, pixels = round_trip(AtQuality(codec, middle), smooth())
    half, small = round_trip(AtQuality(codec, middle, 2), smooth())
    assert pixels.shape == small.shape == (48, 64, 3)
    assert half[:4] == bytes([0, 48, 0, 64])  # the true size is counted
    assert codec.decode(half[4:]).shape == (24, 32, 3)
    better, _ = round_trip(AtQuality(codec, codec.qualities[1]), smooth())
    assert len(better) > len(full)
    assert psnr(smooth(), pixels) > 28


def named(label):
    (condition,) = (condition for condition in CONDITIONS if condition.label == label)
    return condition


def test_what_happens_to_a_small_picture():
    small = bicubic_down(smooth(96, 96), 4)
    for condition in CONDITIONS:
        changed = condition.harm(small)
        assert (changed.shape, changed.dtype) == (small.shape, np.uint8)
        untouched = condition.label in ("as stored", "chunk lost")
        assert (changed == small).all() == untouched, condition.label
    assert np.abs(named("last bit random").harm(small).astype(int) - small).max() == 1
    assert named("gamma 1.05").harm(small).mean() > small.mean()
    _, plain = round_trip(harmed_bicubic(4, named("as stored")).method, smooth(50, 61))
    assert plain.shape == (50, 61, 3)
    _, worse = round_trip(harmed_bicubic(4, named("JPEG 30")).method, smooth(50, 61))
    assert psnr(smooth(50, 61), worse) < psnr(smooth(50, 61), plain)


def test_a_gain_is_over_the_thumbnail_of_that_scale_that_went_through_the_same():
    def row(scale, condition, psnr_y, **model):
        kind, figures = "bdflow" if model else "resampled", {"a": {"bytes": 9, "psnr_y": psnr_y}}
        return measured_row("cats/test", kind, figures, scale=scale, condition=condition, **model)

    rows = [row(8, "as stored", 36, model="mine"), row(8, "JPEG 30", 24, model="mine")]
    rows += [row(8, "as stored", 30), row(8, "JPEG 30", 25), row(16, "JPEG 30", 20)]
    rows += [row(32, "JPEG 30", 22, model="alone")]  # beside no thumbnail of its scale
    for seed, restored in enumerate((10, 8)):
        figures, drawn = {"a": {"bytes": 9, "psnr_y": restored}}, {"sigma": 0.25, "seed": seed}
        rows.append(measured_row("cats/test", "bdflow", figures, model="mine", **drawn))
    made = results("invertibility", rows)
    assert gains(made) == {("cats/test", "mine", "as stored"): 6, ("cats/test", "mine", "JPEG 30"): -1}
    assert losses_of_draws(made) == {0.25: [26, 28]}
    _, grid = page._on_its_way(made)
    assert "(sigma 0.25) in place of Z = 0 lowers PSNR-Y by 26.0 to 28.0 dB" in grid
    assert "| JPEG 30 | -1.00 dB | -1.00 dB | -1.00 dB | 1 |" in grid


def test_the_conditions_of_our_file(ours):
    true = smooth(64, 72)
    plain = round_trip(Rescaled(ours.rescaler), true)[1]
    assert (round_trip(ours.harmed(named("as stored")).method, true)[1] == plain).all()
    lost = round_trip(ours.harmed(named("chunk lost")).method, true)
    assert bdflow.smallfile.container.read(lost[0]).boundary is None
    assert psnr(true, round_trip(ours.harmed(named("JPEG 30")).method, true)[1]) < psnr(true, plain)
    drawn = [round_trip(ours.sampled(1.0, seed).method, true)[1] for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()
    for codec in (JPEG, WEBP, AVIF):
        budget = len(Rescaled(ours.rescaler).encode(np.tile(true, (4, 4, 1))))
        assert len(ours.matched(codec).method.encode(np.tile(true, (4, 4, 1)))) <= budget


# Pictures of other programs


def restored_by(ours, faces, folder):
    """What somebody hands in: pictures and their bytes."""
    folder.mkdir(parents=True)
    method, rows = Rescaled(ours.rescaler), []
    for path in sorted(faces.iterdir()):
        data, pixels = round_trip(method, np.asarray(Image.open(path)))
        Image.fromarray(pixels).save(folder / f"{path.stem}.tif")
        rows.append((f"{path.stem}.tif", len(data)))
    with (folder / "bytes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("picture", "bytes"), *rows])


@pytest.mark.parametrize(
    ("word", "at_least", "told"),
    [("wins", False, "**0.50 AVIF**"), ("level", False, "*0.50 AVIF*"), ("loses", True, "≥ 0.50 AVIF"),
     ("open", True, "open, ≥ 0.50 AVIF")],
)  # fmt: skip
def test_the_summary_marks_who_wins(word, at_least, told):
    assert page._cell(Verdict(word, "AVIF", 0.5, at_least)) == told
    assert page._cell(None) == "beyond all codecs"


def test_networks_of_the_study_stand_in_table_1_where_its_pictures_are(tmp_path):
    values = {"bytes": 100, "psnr_y": 30.0, "psnr_rgb": 29.0, "ssim_y": 0.9}
    bicubic = [
        measured_row("faces/test", "resampled", {"a.png": values}, method=f"bicubic x{scale}", scale=scale)
        for scale in (8, 16)
    ]
    Folder(tmp_path).write("table1", results("table1", bicubic))
    plain = tables.grids("table1", Folder.at(tmp_path))[0]
    measured = {"count": 30, "psnr_y": 34.5, "psnr_rgb": 33.25, "ssim_y": 0.91, "bytes": 3210.0}
    trained = [
        (8, "x8-tar", {"faces/test": measured, "others/test": measured}),
        (32, "x32-irn", {"faces/test": measured}),
        (16, "x16-irn", {"others/test": measured}),
    ]
    source = json.loads((ROOT / "results" / "optimizer.json").read_text())["rows"][0]
    rows = [
        {**source, "variant": variant, "config": {"model": {"scale": scale}}, "folders": folders}
        for scale, variant, folders in trained
    ]
    study = {"study": {"minutes": 30.0}, "rows": rows}
    (tmp_path / "networks-portraits.json").write_text(json.dumps(study))
    grid = tables.grids("table1", Folder.at(tmp_path))[0]
    added = [line for line in grid.rows if line not in plain.rows]
    cells = ("34.50", "33.25", "0.9100", "", "", "", "", "", "3,210", "30")
    assert added == [("TAR (not invertible), x8, 30 minutes", *cells)]
    assert grid.rows.index(added[0]) < next(i for i, line in enumerate(grid.rows) if "x16" in line[0])
    assert len(grid.notes) == len(plain.notes) + 1


def test_pictures_of_other_programs_are_scored_as_ours(ours, faces, tmp_path, x8_alone):
    restored_by(ours, faces, tmp_path / "other")
    reproduce("table1", data=(faces,), out=tmp_path / "out", externals=(f"Other-x8={tmp_path / 'other'}",))
    rows = {row.method: row for row in read(tmp_path / "out" / "table1.json", Results).rows}
    mine, others = rows["bdflow portraits-x8"], rows["Other-x8"]
    assert others.count == 2
    for key in ("bytes", "bits_per_pixel", "psnr_y", "psnr_rgb", "ssim_y", "ssim_rgb"):
        assert others.mean[key] == mine.mean[key]
        assert others.spread[key] == mine.spread[key]
    grid = tables.grids("table1", Folder.at(tmp_path / "out"))[0]
    shown = {row[0]: row for row in grid.rows}
    assert shown["Other-x8"][1:] == shown["bdflow portraits-x8"][1:]
    assert "GRAIN x64, quoted" in shown
    reproduce("table1", data=(faces,), out=tmp_path / "out")  # its row stays
    assert "Other-x8" in {row.method for row in read(tmp_path / "out" / "table1.json", Results).rows}


def test_a_folder_of_another_program_that_cannot_be_used(ours, faces, tmp_path):
    folder = tmp_path / "other"
    with pytest.raises(BDFlowError, match=r"other: not a folder; --external takes NAME=DIR$"):
        External("Other", folder)
    restored_by(ours, faces, folder)
    external = External("Other", folder)
    sample = Sample("faces/test", faces / "face0.png")
    assert external.has([sample])
    assert not external.has([Sample("faces/test", Path("else.png"))])
    with pytest.raises(BDFlowError, match=r"^face0.tif is 64x48, the true picture 9x9$"):
        external.stored(sample, np.zeros((9, 9, 3), np.uint8))
    (folder / "bytes.csv").write_text("picture,bytes\nface7.tif,9\n")
    with pytest.raises(BDFlowError, match=r"bytes.csv names face7.tif, which is not there$"):
        External("Other", folder)
    (folder / "bytes.csv").write_text("name,size\nface0.tif,9\n")
    with pytest.raises(BDFlowError, match=r"not a table with the columns picture,bytes"):
        External("Other", folder)
    (folder / "bytes.csv").unlink()
    with pytest.raises(BDFlowError, match=r"other: no bytes.csv in it; write one"):
        External("Other", folder)


def test_ablations_come_from_the_studys_results(tmp_path, capsys, faces):
    study = json.loads((ROOT / "results" / "optimizer.json").read_text())
    for row, variant in zip(study["rows"], ("bam-and-baw", "bam", "bits-3"), strict=False):
        row["variant"] = variant
    (tmp_path / f"{tables.STUDY}.json").write_text(json.dumps(study))
    reproduce("table3", "table4", data=(faces,), out=tmp_path)
    assert "mask and weight" in capsys.readouterr().out
    (third, *_), (fourth, *_) = (tables.grids(name, Folder.at(tmp_path)) for name in ("table3", "table4"))
    rows = {row[0]: row for row in (*third.rows, *fourth.rows)}
    measured = study["rows"][1]["folders"]["portraits/test"]
    assert rows["mask alone"][1:4] == tuple(
        f"{measured[key]:{digits}}"
        for key, digits in (("psnr_y", ".2f"), ("lr_psnr", ".2f"), ("ssim_y", ".4f"))
    )
    assert rows["mask alone"][-1] == "26.06 / 0.7798 / 0.3673"
    assert rows["neither (control): not trained yet"][-1] == ""


# Runs


def test_a_stopped_run_goes_on_and_nothing_is_measured_twice(faces, tmp_path, x8_alone, monkeypatch):
    measured, measure, stop = [], Entry.measure, 5

    def count(self, sample, true, scorer):
        if len(measured) == stop:
            raise KeyboardInterrupt
        measured.append((self.label, sample.name))
        return measure(self, sample, true, scorer)

    monkeypatch.setattr(Entry, "measure", count)
    monkeypatch.setattr(run, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(ESRGAN, "available", lambda: False)
    monkeypatch.setattr(RealESRGAN, "available", lambda: False)
    asked = {"data": (faces,), "out": tmp_path / "out"}
    with pytest.raises(KeyboardInterrupt):
        reproduce("table1", **asked)
    stop = -1
    said = reproduce("table1", **asked)
    total = len(measured)
    assert len(set(measured)) == total == 2 * 10  # one model, two filters at four scales, the photograph
    assert "table1: 15 measurements to make, on 2 pictures" in said
    assert said[-1].endswith("0 s left")
    whole = read(tmp_path / "out" / "table1.json", Results)
    assert all(row.count == 2 and next(iter(row.pictures)) == "face0.png" for row in whole.rows)

    reproduce("table1", **asked)
    reproduce("table6", **asked)  # what one table measured, another knows
    assert len(measured) == total
    small = asked | {"limit": 1}
    with pytest.raises(BDFlowError, match=r"holds 2 pictures of faces/test, and 1 are asked for"):
        reproduce("table1", **small)
    with pytest.raises(BDFlowError, match=r"was measured with crop 0: give another --out"):
        reproduce("table1", crop=4, **asked)
    (faces / "face1.png").write_bytes((faces / "face0.png").read_bytes())  # other pixels of the same name
    (faces / "face0.png").unlink()
    (tmp_path / "out" / "table6.json").unlink()
    reproduce("table6", **asked)
    assert len(measured) == total


def test_a_sheet_is_drawn_of_what_was_restored_when_it_was_measured(tmp_path, x8_alone, monkeypatch):
    """No picture is encoded a second time for it; drawn anew later, each is encoded once."""
    stored, store = [], entries.store

    def count(method, true, scorer):
        stored.append(method.name)
        return store(method, true, scorer)

    monkeypatch.setattr(entries, "store", count)
    asked = {"data": (), "out": tmp_path / "out", "quick": True}
    reproduce("figure4", **asked)
    once = sum(row.count for row in read(tmp_path / "out" / "figure4.json", Results).rows)
    assert len(stored) == once > 0
    first = (tmp_path / "out" / "figure4.webp").read_bytes()
    reproduce("figure4", **asked)
    assert len(stored) == once
    (tmp_path / "out" / "figure4.webp").unlink()
    reproduce("figure4", **asked)
    assert len(stored) == 2 * once
    assert (tmp_path / "out" / "figure4.webp").read_bytes() == first


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        (["invertibility"], {"invertibility": []}),
        (["table6", "table1"], {"table6": ["lpips"], "table1": ["dists", "lpips", "niqe"]}),
    ],
)
def test_each_table_has_the_learned_measures_that_it_needs(
    tables, named, faces, tmp_path, x8_alone, monkeypatch
):
    asked, used = [], {}

    def learned(*names, data):
        asked.extend(names)
        return {name: Learned(lambda true, restored: 0.5, 1) for name in names}, {}

    def measure(table, plan, scorer, *more):
        used[table] = sorted(scorer.learned)
        raise BDFlowError("enough")

    monkeypatch.setattr(main, "learned", learned)
    monkeypatch.setattr(main, "measure", measure)
    try:
        reproduce(*tables, data=(faces,), out=tmp_path / "out")
    except BDFlowError:
        assert len(tables) == 1
    assert used == named
    assert sorted(asked) == max(named.values(), key=len)


def test_true_details_come_in_steps_and_their_scaled_histogram_is_no_comb():
    from bdflow.reproduce import latent

    steps = np.random.default_rng(0).normal(0, 8, 200_000).round().astype(np.float32) * latent.STEP
    comb, even = (np.array(latent._histogram([steps], step)["unit"]) for step in (0, latent.STEP))
    middle = slice(60, 100)  # within half a unit of 0
    assert (comb[middle] == 0).any()
    assert even[middle].min() > 0.4 * even[middle].max()


def test_a_picture_that_cannot_be_measured_is_named(faces, tmp_path, x8_alone):
    (faces / "text.png").write_text("no picture")
    Image.fromarray(smooth(9, 60)).save(faces / "tiny.png")
    said = reproduce("table1", data=(faces,), out=tmp_path / "out")
    row = read(tmp_path / "out" / "table1.json", Results).rows[0]
    assert row.count == 2
    assert row.failed["tiny.png"] == "60x9 is too small to measure: a side needs 11 pixels"
    assert any(line.startswith("table1 faces/test text.png: left out: ") for line in said)


def test_known_sets_and_own_folders_are_found(faces, tmp_path):
    data = tmp_path / "data"
    (data / "photos").mkdir(parents=True)
    (data / "photos" / "set5").symlink_to(faces, target_is_directory=True)
    sets = find_sets([data, faces], [], quick=False)
    assert [s.name for s in sets.known["photos/set5"]] == ["face0.png", "face1.png"]
    assert list(sets.choose(["photos/set5", "photos/set14"], 1)) == ["photos/set5", "faces/test"]
    assert len(sets.choose([], 1)["faces/test"]) == 1
    assert find_sets([faces], [], quick=True).own["faces/test"][0].digest.endswith("@192")


def test_pca_is_fitted_once_and_stands_among_portraits(faces, tmp_path):
    from bdflow.reproduce.portraits import Portraits

    portraits = Portraits([faces], 768)
    assert portraits.most == 1
    entry = portraits.entry(1)
    assert entry.facts.fitted_on == 2
    assert "fitted" not in vars(portraits)
    entry.ready()
    assert "fitted" in vars(portraits)  # no picture's seconds tell of it
    data, pixels = round_trip(entry.method, smooth())
    assert (len(data), pixels.shape) == (5, (48, 64, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table9", "--quick"], "no table 'table9'; there are table1, table2, table3, "),
        (["table1"], "test pictures are needed: name a folder (--data DIR) or set BDFLOW_DATA\n"),
        (["table1", "--data", "nowhere"], "nowhere: not a folder\n"),
        (["table1", "--quick", "--external", "GRAIN"], "GRAIN: write --external as NAME=DIR, such as "),
        (["table1", "--quick", "--model", "nowhere"], "no model 'nowhere': built in are "),
    ],
)
def test_what_the_user_can_mend_is_one_line(shell, arguments, message):
    status, out, err = shell("reproduce", *arguments)
    assert (status, out, err.count("\n")) == (1, b"", 1)
    assert err.startswith(f"bdflow: {message}")


def test_a_missing_package_is_one_line(shell, monkeypatch):
    find = "bdflow.system.extras.find_spec"
    monkeypatch.setattr(find, lambda name: None if name == "matplotlib" else object())
    assert shell("reproduce", "table1")[2] == ('bdflow: this needs matplotlib: pip install "bdflow[bench]"\n')


def test_a_quick_run_of_everything(shell, x8_alone):
    status, out, err = shell("reproduce", "all", "--quick", "--threads", 1, "--page", "page")
    assert status == 0, err
    folder = Path("quick-results")
    made = {path.stem for path in folder.glob("*.json")}
    assert made == set(NAMES) - {"table3", "table4"}  # those are a study's
    read_again = Folder.at(folder)
    assert set(read_again.tables) == made - {"table2", "figure2"}
    assert read_again.sizes
    assert read_again.latents
    text = Path("page/results.md").read_text()
    assert "Not measured yet: `bdflow reproduce table3` after `bdflow study" in text
    assert "no bdflow model of x64 yet" in text
    assert "table3: left out: there is no quick-results/boundary.json yet" in err
    for target in ("curves-bdflow-assets.svg", "table1.svg", "invertibility.svg", "figure2.svg"):
        assert f"]({target})" in text
        assert b"<svg" in Path("page", target).read_bytes()
    for name in ("figure1", "figure4", "figure5", "figure6"):
        with Image.open(folder / f"{name}.webp") as sheet:
            assert sheet.width > 600
    assert "Table 1, bdflow/assets: quality by scale" in out.decode()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.webp")}
    assert shell("reproduce", "figure4", "--quick", "--threads", 1)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.webp")} == before
