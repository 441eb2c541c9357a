"""Training of a restoration network: pairs as the product has them, loss, resume, export, use."""

import json
import math
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from small_files import small as downscaled
from test_lpips_vgg16 import random_weights
from tiny_restoration import NETWORK, PAIRS, STEPS, config, make_pictures, trainer_of
from tiny_run import assert_same, rows, state

import bdflow
from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.quality.lpips_vgg16 import LPIPSOnVGG16
from bdflow.quality.metrics import luma, psnr, psnr_y
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import Enhancer, describe
from bdflow.train import restoration, study
from bdflow.train.config import RestorationTrainConfig, load_config, override, read_saved, to_dict
from bdflow.train.config_restoration import CropConfig, RestorationLossConfig
from bdflow.train.export import export_run
from bdflow.train.halo import measure_halo
from bdflow.train.pairs import Views
from bdflow.train.restoration import Crops, RestorationLoss, is_kernel, plain_enlargement
from bdflow.train.run import run
from bdflow.zoo.loading import load_graph


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("domains"))


@pytest.fixture(scope="module")
def cache(pictures, tmp_path_factory):
    """Filled, so that every run sees the same views."""
    views = Views([pictures], tmp_path_factory.mktemp("cache") / "pairs", PAIRS, 32)
    with views.making(1, len):
        views.wait(len(views.plan))
    return views.folder


@pytest.fixture(scope="module")
def exported(pictures, cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    trainer_of(pictures, folder / "run", cache=cache, steps=80).fit()
    parity = export_run(folder / "run", folder / "model")
    assert parity["up"] <= 1
    return folder


def test_a_pair_is_what_the_enhancer_would_see(pictures, cache):
    views = Views([pictures], cache, PAIRS, 32)
    crops = Crops(views, CropConfig(crop=32, flip=False, turned=(), unknown=0), seed=5)
    coded = [views.read(i, c) for i in range(views.held_out, views.made) for c in range(PAIRS.codings)]
    for number in range(12):
        pair = crops[number]
        assert pair.plain.shape == pair.true.shape == (32, 32, 3)
        assert any(
            np.array_equal(plain[y : y + 32, x : x + 32], pair.plain)
            and np.array_equal(true[y : y + 32, x : x + 32], pair.true)
            for true, small in coded
            if np.array_equal(describe(small), pair.known)
            for plain in [_Plain().rgb(replace(small, domain="plain"))]
            for y in range(0, 33, 4)
            for x in range(0, 33, 4)
        )


class _Plain(Enhancer):
    """An enhancer without a network: it only enlarges."""

    def __init__(self) -> None:
        self.tile = 1280


def test_samples_depend_on_their_number_and_use_every_choice(pictures, cache):
    views = Views([pictures], cache, PAIRS, 32)
    crops = Crops(views, CropConfig(crop=32, unknown=0.5), seed=1)
    known = np.concatenate([crops[number].known for number in range(60)])
    np.testing.assert_array_equal(crops[7].plain, crops[7].plain)
    portraits, unknown = known[:, 7].mean(), 1 - known[:, 6].mean()
    hidden = ~known[:, :3].any(1)  # the codec, too
    assert 0.1 < hidden.mean() < 0.4  # 0.25
    assert not known[hidden, 6].any()
    assert 0.35 < portraits < 0.75  # 0.55
    assert 0.3 < unknown < 0.7
    assert not known[known[:, 6] == 0, 4:6].any()
    only = Crops(views, CropConfig(crop=32, shares={"portraits": 1.0}), seed=1)
    assert all(only[number].known[0, 7] == 1 for number in range(8))


def test_batches_are_made_ahead_and_in_order(pictures, cache):
    crops = Crops(Views([pictures], cache, PAIRS, 32), CropConfig(crop=32, batch_size=2), seed=1)
    made = list(crops.batches(3, 6, rank=1, world=2))
    assert len(made) == 3
    for step, batch in zip(range(3, 6), made, strict=True):
        for part, expected in zip(batch, crops.batch(step, 1, 2), strict=True):
            assert torch.equal(part, expected)
    samples = [crops[(4 * 2 + place) * 2 + 1] for place in range(2)]
    np.testing.assert_array_equal(made[1][0][1].numpy(), samples[1].plain.transpose(2, 0, 1))


def test_the_loss_is_psnr_by_the_metrics():
    rng = np.random.default_rng(0)
    true, plain = rng.integers(0, 256, (2, 2, 16, 16, 3), np.uint8)
    batch = tuple(torch.from_numpy(each).permute(0, 3, 1, 2) for each in (plain, true))
    model = trainerless()
    known = torch.zeros(2, NETWORK.facts)
    for weights, measure in (((1, 0), psnr_y), ((0, 1), psnr)):
        loss = RestorationLoss(model, RestorationLossConfig(luma=weights[0], rgb=weights[1]))
        with torch.no_grad():
            terms = loss((*batch, known))
        expected = -np.mean([measure(p, t) for p, t in zip(plain, true, strict=True)])
        assert float(terms["total"]) == pytest.approx(expected, abs=1e-3)
        assert float(terms["gain"]) == pytest.approx(0, abs=1e-5)  # an untrained network is the enlargement
    assert RestorationLossConfig() == RestorationLossConfig(luma=0.65, rgb=0.35)
    assert luma(true[0]).min() >= 16


def test_the_loss_for_the_eye_adds_lpips_on_vgg16(monkeypatch):
    monkeypatch.setattr(restoration, "LPIPSOnVGG16", lambda: LPIPSOnVGG16(random_weights()))
    plain, true = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).mul(255).byte()
    batch = plain, true, torch.zeros(1, NETWORK.facts)
    model = trainerless()
    with torch.no_grad():
        without = RestorationLoss(model, RestorationLossConfig())(batch)["total"]
        terms = RestorationLoss(model, RestorationLossConfig(lpips=3.0))(batch)
        distance = LPIPSOnVGG16(random_weights())(plain / 255, true / 255)[0]
    assert float(distance) > 0.01
    torch.testing.assert_close(terms["lpips"], distance)
    torch.testing.assert_close(terms["total"], without + 3 * distance)


def trainerless():
    from bdflow.networks.restoration import Restoration

    return Restoration(NETWORK)


def test_muon_takes_kernels_but_not_the_last(pictures, cache, tmp_path):
    run = trainer_of(pictures, tmp_path, cache=cache)
    names = {id(p): name for name, p in run.network.named_parameters()}
    adam, muon = ([names[id(p)] for p in o.param_groups[0]["params"]] for o in run.optimizers)
    assert "head.weight" in muon
    assert "middle.0.second.weight" in muon
    assert not any("condition" in name or "bias" in name or "embed" in name for name in muon)
    assert "tail.weight" in adam
    assert not is_kernel("tail.weight", run.network.tail.weight)


def test_training_lowers_the_loss_and_tells_what_is_gained(exported):
    logged = rows(exported / "run")
    last = {name: value for step, name, value in logged if step == 80}
    assert last["gain"] > 0.3  # decibels; an untrained network has none
    assert {name for name in last if name.startswith("gain_photos_x")} <= {
        f"gain_photos_x{factor}" for factor in ("1", "1.5", "3")
    }
    # Both held-out pictures are photographs.
    assert last["gain_photos"] == pytest.approx(last["psnr_y"] - last["plain_psnr_y"], abs=1e-3)
    with Image.open(exported / "run" / "sheet.png") as sheet:
        assert sheet.width == 3 * 64
    assert read_saved(json.loads((exported / "run" / "config.json").read_text())) == config(80)


def test_an_interrupted_run_ends_where_the_whole_one_does(pictures, cache, tmp_path):
    trainer_of(pictures, tmp_path / "whole", cache=cache).fit()
    for step in range(STEPS):
        part = trainer_of(pictures, tmp_path / "parts", cache=cache)
        assert part.state.step == step
        part.fit(max_time=0)
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole["step"] == parts["step"] == STEPS
    for key in ("model", "ema", "optimizers", "config"):
        assert_same(whole[key], parts[key], key)


def test_another_network_in_the_folder_is_refused(pictures, cache, tmp_path):
    trainer_of(pictures, tmp_path, cache=cache, steps=1).fit()
    other = msgspec.structs.replace(config(), model=replace(NETWORK, width=12))
    from bdflow.train.restoration import RestorationTrainer

    with pytest.raises(BDFlowError, match="holds another network: choose a new --out folder"):
        RestorationTrainer(other, [pictures], tmp_path, cache=cache, accelerator="cpu", say=len)


def test_training_begins_while_views_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr("bdflow.train.restoration._FIRST_VIEWS", 1)
    pictures, said = make_pictures(tmp_path / "pictures"), []
    run = trainer_of(
        pictures, tmp_path / "run", said, pairs=msgspec.structs.replace(PAIRS, views=40), steps=2
    )
    run.fit()
    assert run.state.step == 2
    assert 3 <= run.views.made < len(run.views.plan)
    assert (tmp_path / "run" / "pairs" / "cache.json").is_file()


def test_the_exported_model_restores(exported, pictures):
    model = zoo.find(exported / "model", trust=True)
    training = model.metadata["training"]
    assert (model.name, training["steps"], training["data"]) == ("tiny-restoration", 80, "none: waves")
    assert read_saved(training["config"]) == config(80)
    assert measure_halo(exported / "model") is None
    assert load_graph(model.folder, "up") is not None
    with Image.open(pictures / "photos" / "4.png") as photo:
        true = np.asarray(photo)
    enhancer = Enhancer(model, Computing(threads=1, device="cpu"))
    from bdflow.fitting import Goal, fit
    from bdflow.pictures.reader import Picture

    small = fit(Picture(true), enhancer, Goal(max_bytes=450, domain="photos")).small
    with pytest.raises(
        BDFlowError, match="made by model 'portraits-x8', which tiny-restoration cannot replace"
    ):
        bdflow.upscale(downscaled(), model=model.folder, trust=True)
    restored = np.asarray(bdflow.upscale(small.to_bytes(), model=model.folder, trust=True))
    np.testing.assert_array_equal(restored, enhancer.rgb(small))
    assert psnr_y(true, restored) > psnr_y(true, plain_enlargement(small)[: len(true), : true.shape[1]])


def write_config(path: Path) -> Path:
    network = "".join(f"{key} = {json.dumps(value)}\n" for key, value in to_dict(NETWORK).items())
    tree = to_dict(PAIRS)
    factors = "".join(
        "[[pairs.factors]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in each.items())
        for each in tree["factors"]
    )
    path.write_text(
        f'name = "tiny-restoration"\n[model]\n{network}[pairs]\nview = 64\nlongest = 80\nviews = 2\n'
        f"codings = 2\nhold_out = 4\n{factors}[data]\ncrop = 32\nbatch_size = 2\n[optim]\nsteps = 2\n"
    )
    return path


def test_the_command_reads_a_file_and_begins_with_a_model(exported, pictures, cache, tmp_path):
    path = write_config(tmp_path / "tiny.toml")
    options = {"cache": cache, "device": "cpu", "precision": "32-true"}
    run(path, [pictures], tmp_path / "run", start=str(exported / "model"), trust=True, **options)
    begun = state(tmp_path / "run")
    assert (begun["step"], begun["origin"]["steps"]) == (2, 80)
    run(None, [pictures], tmp_path / "tuned", start=str(exported / "model"), trust=True, steps=1, **options)
    tuned = state(tmp_path / "tuned")
    assert tuned["config"]["card"]["data"] == "not described; before that: none: waves"
    path.write_text(path.read_text().replace("width = 8", "width = 16"))
    with pytest.raises(BDFlowError, match="describes another network"):
        run(path, [pictures], tmp_path / "other", start=str(exported / "model"), trust=True, **options)
    with pytest.raises(BDFlowError, match="network bdflow learns from the pictures: leave out --cache"):
        run(None, [pictures], tmp_path / "x2", start="photos-x2", **options)


def test_a_study_takes_it_as_the_others(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("bdflow.evaluation.budgets.BUDGETS", (0.9,))
    write_config(tmp_path / "tiny.toml")
    plan = tmp_path / "loss.toml"
    plan.write_text(
        'question = "Which error?"\nbase = "tiny.toml"\nsteps = 1\nlimit = 1\n'
        '[variants.luma]\n"loss.rgb" = 0.0\n[variants.both]\n'
    )
    results = tmp_path / "results.json"
    options = {"device": "cpu", "threads": 1, "say": len}
    rows = study.run(plan, [pictures], [pictures / "photos"], tmp_path / "out", results, **options)
    assert [row["variant"] for row in rows] == ["luma", "both"]
    (folder,) = rows[0]["folders"]
    assert folder.endswith("photos at 0.9 bpp")
    assert len(list((tmp_path / "out").glob("pairs-*"))) == 1
    assert study.table(rows).row_count == 2
    monkeypatch.setattr(study, "trainer_of", None)  # and nothing is trained again
    assert study.run(plan, [pictures], [pictures / "photos"], tmp_path / "out", results, **options) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\ncrop = 30", "crop 30 must be a multiple of 8"),
        ("[data]\ncrop = 456", r"crop 456 is larger than 7/8 of its view 512"),
        ("[data]\nshares = {portraits = 0}", "shares must be numbers from 0 on, and one above 0"),
        ("[data]\nturned = ['cats']", "turned: cats is none of photos, portraits"),
        ("[pairs]\ndomains = {cats = 'cats'}", "domains: cats is none of photos, portraits"),
        ("[pairs]\ndomains = {}", "domains: name at least one"),
        ("[pairs]\nformats = {PNG = 1}", "formats: PNG is none of AVIF, WebP, JPEG"),
        ("[pairs]\nhold_out = 1", "hold_out must be 0, or 2 or more, not 1"),
        ("[pairs]\nview = 500", "view 500 must be a multiple of 8"),
        ("[pairs]\nfactors = []", "factors: name at least one"),
        ("[[pairs.factors]]\nfactor = 5\nweight = 1\nqualities = [1, 2]", "a factor is one of 1, 1.5, 2, 3"),
        ("[[pairs.factors]]\nfactor = 2\nweight = 1\nqualities = [9, 2]", "qualities must be two numbers in"),
        ("[pairs]\nlossless = true", "unknown field `lossless`"),
        ("[loss]\nssim = 1.0", "unknown field `ssim`"),
    ],
)
def test_wrong_settings_give_one_line(tmp_path, text, message):
    path = tmp_path / "a.toml"
    path.write_text(f'name = "a"\n[model]\nnetwork = "restoration"\n{text}\n')
    with pytest.raises(BDFlowError, match=message) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["width = 0", 'width = "8"', "scale = 4"])
def test_wrong_networks_give_one_line(tmp_path, setting):
    path = tmp_path / "a.toml"
    path.write_text(f'name = "a"\n[model]\nnetwork = "restoration"\n{setting}\n')
    with pytest.raises(BDFlowError) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_settings_are_replaced_by_dotted_names():
    changed = override(config(), {"pairs.formats.AVIF": 0.5, "data.crop": 16, "model.width": 12})
    assert isinstance(changed, RestorationTrainConfig)
    assert (changed.pairs.formats["AVIF"], changed.data.crop, changed.model.width) == (0.5, 16, 12)
    assert math.isclose(sum(config().pairs.formats.values()), 1)
