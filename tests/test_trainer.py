"""The training loop: schedules, exact resume, every way in which it can end, and what it leaves behind."""

import json
import math
import os
import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
from PIL import Image
from tiny_run import STEPS, assert_same, config, rows, state, trainer_of
from torch import Tensor

from bdflow.errors import BDFlowError
from bdflow.system import interrupts
from bdflow.train import loop, losses, trainer
from bdflow.train.config import OptimConfig, load_config, to_dict
from bdflow.train.log import LOG
from bdflow.train.optim import has_bfloat16, learning_rate
from bdflow.train.run import run
from bdflow.train.state import LAST
from bdflow.train.trainer import Trainer
from bdflow.zoo import find


def at_step(monkeypatch, step: int, act) -> None:
    """Let `act` change the forward loss of a step (counted from 0)."""
    calls, plain = iter(range(1000)), losses.forward_loss

    def changed(y: Tensor, target: Tensor) -> Tensor:
        loss = plain(y, target)
        return act(loss) if next(calls) == step else loss

    monkeypatch.setattr(losses, "forward_loss", changed)


def test_the_learning_rate_by_hand():
    plain = OptimConfig(steps=100, learning_rate=1e-3, final_learning_rate=1e-5)
    assert learning_rate(0, plain) == 1e-3
    assert learning_rate(50, plain) == pytest.approx((1e-3 + 1e-5) / 2)
    assert learning_rate(25, plain) == pytest.approx(1e-5 + 0.99e-3 * (1 + math.sqrt(0.5)) / 2)
    assert learning_rate(100, plain) == pytest.approx(1e-5)
    warm = msgspec.structs.replace(plain, warmup=20)
    assert [learning_rate(i, warm) for i in (0, 9, 19, 20)] == pytest.approx([5e-5, 5e-4, 1e-3, 1e-3])
    assert learning_rate(60, warm) == pytest.approx((1e-3 + 1e-5) / 2)
    assert learning_rate(0, msgspec.structs.replace(plain, warmup=100)) == pytest.approx(1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_an_interrupted_run_ends_where_the_whole_one_does(optimizer, pictures, tmp_path):
    """Bit for bit: weights, moving average, moments; pictures, crops and Z are drawn as they were."""
    trainer_of(pictures, tmp_path / "whole", optimizer=optimizer).fit()
    parts = trainer_of(pictures, tmp_path / "parts", optimizer=optimizer)
    parts.fit(max_time=0)
    parts.fit(max_time=0)
    for expected in (2, 3):
        resumed = trainer_of(pictures, tmp_path / "parts", optimizer=optimizer)
        assert resumed.state.step == expected
        resumed.fit(max_time=0)
    trainer_of(pictures, tmp_path / "parts", optimizer=optimizer).fit()
    whole, resumed = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert whole["step"] == resumed["step"] == STEPS
    assert resumed["seconds"] > 0
    for key in ("model", "ema", "optimizers", "config"):
        assert_same(whole[key], resumed[key], key)
    start = trainer_of(pictures, tmp_path / "untrained").network.state_dict()
    assert not torch.equal(start["levels.0.blocks.0.phi.head.weight"],
                           whole["model"]["levels.0.blocks.0.phi.head.weight"])  # fmt: skip


def test_each_step_has_its_learning_rate_its_progress_and_its_own_draws(pictures, tmp_path):
    run, seen = trainer_of(pictures, tmp_path, warmup=2), []
    objective = run.objective

    def watched(batch: Tensor, progress: float, draws: torch.Generator) -> dict[str, Tensor]:
        seen.append((run.optimizers[0].param_groups[0]["lr"], progress, draws.initial_seed()))
        return objective(batch, progress, draws)

    run.objective = watched
    run.fit()
    rates, progress, seeds = zip(*seen, strict=True)
    assert list(rates) == [learning_rate(step, run.config.optim) for step in range(STEPS)]
    assert list(progress) == [step / STEPS for step in range(STEPS)]
    assert len(set(seeds)) == STEPS


def test_the_seed_determines_the_run(pictures, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer_of(pictures, tmp_path / name, steps=2, seed=seed).fit()
    a, b, c = (state(tmp_path / name)["model"] for name in "abc")
    assert_same(a, b)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_max_time_stops_before_it_is_over_and_saves(pictures, tmp_path, monkeypatch):
    """A clock that ticks a second a step: of 5.5 seconds 5 are used, for a sixth step would pass the end."""
    ticks = iter(range(1000))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    said: list[str] = []
    run = trainer_of(pictures, tmp_path, said, steps=50)
    run.fit(max_time=5.5)
    assert run.state.step == state(tmp_path)["step"] == 5
    assert state(tmp_path)["seconds"] == 5
    assert said[-1].startswith("step 5/50  ")
    again = trainer_of(pictures, tmp_path, steps=50)
    again.fit(max_time=2.5)
    assert (again.state.step, state(tmp_path)["seconds"]) == (7, 7)


def test_minutes_instead_of_steps(pictures, tmp_path, monkeypatch):
    """A clock that ticks a second a step: 0.1 minutes are 6 steps, and the rate has fallen by then."""
    ticks = iter(range(1000))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    run = trainer_of(pictures, tmp_path, minutes=0.1)
    run.fit(max_time=2.5)
    assert run.state.step == 2
    resumed = trainer_of(pictures, tmp_path, minutes=0.1)
    assert resumed.progress == pytest.approx(1 / 3)
    resumed.fit()
    assert (resumed.state.step, resumed.progress) == (6, pytest.approx(1))
    rates = {step: value for step, name, value in rows(tmp_path) if name == "learning_rate"}
    optim = run.config.optim
    assert rates[6] == pytest.approx(learning_rate(5, optim, 5 / 6), rel=1e-4)
    assert learning_rate(5, optim, 1.0) == optim.final_learning_rate


def test_steps_that_are_asked_for_rule_over_the_minutes_of_a_configuration(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("bdflow.train.run.load_config", lambda path: config(minutes=0.5, steps=50))
    run(Path("a.toml"), [pictures], tmp_path, steps=2, precision="32-true", device="cpu")
    assert state(tmp_path)["step"] == 2


def test_a_finished_run_has_nothing_left_to_do(pictures, tmp_path):
    trainer_of(pictures, tmp_path).fit()
    before = state(tmp_path)
    trainer_of(pictures, tmp_path).fit()
    assert_same(state(tmp_path), before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_keeps_the_last_good_state(pictures, tmp_path, monkeypatch, value):
    at_step(monkeypatch, 4, lambda loss: loss * value)
    with pytest.raises(BDFlowError) as caught:
        trainer_of(pictures, tmp_path, save_every=3).fit()
    message = str(caught.value)
    assert message.startswith(f"step 4: the gradient is not finite; the last good state is {tmp_path / LAST}")
    assert "\n" not in message
    saved = state(tmp_path)
    assert saved["step"] == 3
    assert all(tensor.isfinite().all() for key in ("model", "ema") for tensor in saved[key].values())
    monkeypatch.undo()
    trainer_of(pictures, tmp_path).fit()
    trainer_of(pictures, tmp_path / "whole").fit()
    assert_same(state(tmp_path)["model"], state(tmp_path / "whole")["model"])


def test_a_gradient_that_is_not_finite_from_the_start(pictures, tmp_path, monkeypatch):
    at_step(monkeypatch, 0, lambda loss: loss * math.nan)
    run = trainer_of(pictures, tmp_path)
    before = {key: value.clone() for key, value in run.network.state_dict().items()}
    with pytest.raises(BDFlowError, match=r"the last good state is the start$"):
        run.fit()
    assert not (tmp_path / LAST).exists()
    assert_same(dict(run.network.state_dict()), before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_end_finishes_the_step_and_saves(pictures, tmp_path, monkeypatch, number):
    def ask(loss: Tensor) -> Tensor:
        os.kill(os.getpid(), number)
        return loss

    at_step(monkeypatch, 2, ask)
    interrupts.listen()  # as the command line does: its thread, too, must leave the first request to training
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        trainer_of(pictures, tmp_path).fit()
    assert state(tmp_path)["step"] == 3
    assert signal.getsignal(number) is before
    monkeypatch.undo()
    trainer_of(pictures, tmp_path).fit()
    trainer_of(pictures, tmp_path / "whole").fit()
    assert_same(state(tmp_path)["model"], state(tmp_path / "whole")["model"])


def test_signals_are_given_back_after_training(pictures, tmp_path):
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    trainer_of(pictures, tmp_path, steps=1).fit()
    assert [signal.getsignal(number) for number in numbers] == before


def test_what_a_run_folder_holds(pictures, tmp_path):
    said: list[str] = []
    trainer_of(pictures, tmp_path, said, validate_every=4).fit()
    logged = rows(tmp_path)
    terms = ["forward", "boundary", "backward", "latent", "total"]
    scores = ["psnr_y", "bicubic_psnr_y", "lr_psnr"]
    assert [(step, name) for step, name, _ in logged] == [
        *((4, name) for name in scores),
        *((6, name) for name in ["learning_rate", "seconds", *terms, *scores]),
    ]
    values = {name: value for step, name, value in logged if step == STEPS}
    assert values["total"] == pytest.approx(sum(values[name] for name in terms[:-1]), rel=1e-4)
    assert values["learning_rate"] == pytest.approx(learning_rate(STEPS - 1, config().optim), rel=1e-5)
    events = list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert len(events) == 1
    content = events[0].read_bytes()
    assert all(name.encode() in content for name in [*terms, *scores, "LR__restored__true"])
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(
        json.dumps(to_dict(config(validate_every=4)))
    )
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 32, 2 * 32)
    assert said[0].startswith("tiny: ")
    assert "8 pictures (8 in memory, 0 skipped), 2 held out" in said[0]
    assert said[0].endswith("0 steps done")
    assert [line.split()[:2] for line in said[1:]] == [["step", "4:"], ["step", "6/6"], ["step", "6:"]]
    assert all("\n" not in line for line in said)
    assert not (tmp_path / (LAST + ".tmp")).exists()


def test_the_log_of_a_resumed_run_has_every_row_once(pictures, tmp_path, monkeypatch):
    at_step(monkeypatch, 5, lambda loss: loss * math.nan)
    options = {"steps": 8, "validate_every": 1, "save_every": 3}
    with pytest.raises(BDFlowError):
        trainer_of(pictures, tmp_path, **options).fit()
    assert max(step for step, *_ in rows(tmp_path)) == 5
    monkeypatch.undo()
    trainer_of(pictures, tmp_path, **options).fit()
    counts = Counter((step, name) for step, name, _ in rows(tmp_path))
    assert set(counts.values()) == {1}
    assert {step for step, name in counts if name == "psnr_y"} == set(range(1, 9))


def test_a_resumed_log_of_full_range_luma_says_so(pictures, tmp_path):
    trainer_of(pictures, tmp_path, steps=2, validate_every=1).fit()
    (tmp_path / LOG).write_text("1,psnr_y,30\n1,bicubic_y,28\n1,lr_psnr,35\n")
    trainer_of(pictures, tmp_path, steps=3, validate_every=3).fit()
    assert [row[:2] for row in rows(tmp_path) if "psnr" in row[1] or "bicubic" in row[1]] == [
        (1, "psnr_y_full_range"), (1, "bicubic_y_full_range"), (1, "lr_psnr"),
        (3, "psnr_y"), (3, "bicubic_psnr_y"), (3, "lr_psnr"),
    ]  # fmt: skip


def test_the_moving_average_by_hand(pictures, tmp_path):
    """It forgets a tenth of its past at first: min(0.9, (1 + step) / (10 + step)) is 0.1, then 2 / 11."""
    run = trainer_of(pictures, tmp_path)
    snapshots = [{key: value.clone() for key, value in run.network.state_dict().items()}]
    for _ in range(2):
        run.fit(max_time=0)
        snapshots.append({key: value.clone() for key, value in run.network.state_dict().items()})
    for key, value in run.state.ema.items():
        first, second, third = (snapshot[key] for snapshot in snapshots)
        once = 0.1 * first + 0.9 * second
        torch.testing.assert_close(value, 2 / 11 * once + 9 / 11 * third, rtol=1e-5, atol=1e-7)
    assert run.weights() is run.state.ema


def test_without_a_moving_average_the_weights_themselves_ship(pictures, tmp_path):
    run = trainer_of(pictures, tmp_path, ema=0.0, steps=2)
    start = {key: value.clone() for key, value in run.state.ema.items()}
    run.fit()
    assert_same(dict(run.weights()), dict(run.network.state_dict()))
    assert_same(run.state.ema, start)


def test_gradients_are_clipped(pictures, tmp_path):
    """Adam forgets a gradient's size, unless it is below its epsilon of 1e-8: then weights hardly move."""
    moved = {}
    for clip in (10.0, 1e-12):
        run = trainer_of(pictures, tmp_path / str(clip), steps=1, gradient_clip=clip)
        before = {key: value.clone() for key, value in run.network.state_dict().items()}
        run.fit()
        moved[clip] = max(float((v - before[k]).abs().max()) for k, v in run.network.state_dict().items())
    assert moved[10.0] == pytest.approx(2e-3, rel=0.01)
    assert moved[1e-12] < 1e-6


def test_fine_tuning_begins_with_given_weights(pictures, tmp_path):
    first = trainer_of(pictures, tmp_path / "first")
    first.fit()
    second = trainer_of(pictures, tmp_path / "second", start=first.weights(), seed=9)
    assert_same(dict(second.network.state_dict()), dict(first.weights()))
    assert_same(second.state.ema, dict(first.weights()))
    assert second.state.step == 0


def test_a_run_remembers_whose_weights_it_began_with(pictures, tmp_path):
    origin = {"model": "photos-x2", "weights_sha256": "ab" * 32, "steps": 7, "seconds": 3}
    first = trainer_of(pictures, tmp_path, origin=origin, steps=2)
    first.fit()
    assert trainer_of(pictures, tmp_path, steps=2).state.origin == origin


def test_another_network_in_the_folder_is_refused(pictures, tmp_path):
    trainer_of(pictures, tmp_path, steps=1).fit()
    with pytest.raises(BDFlowError, match=r"last\.pt holds another network: choose a new --out folder"):
        trainer_of(pictures, tmp_path, features=4)


@pytest.mark.parametrize("bits", [0, 1])
def test_training_lowers_the_loss(pictures, tmp_path, bits):
    weights = {"boundary": 0.5, "latent": 0.02, "sample_sigma": 0.0}
    run = trainer_of(pictures, tmp_path, steps=120, boundary_bits=bits, **weights)
    fixed = torch.stack([run.crops[i] for i in range(16)])
    with torch.no_grad():
        before, scores = run.objective(fixed, 0.0), trainer.validate(run.network, run.held_out)[0]
    run.fit()
    with torch.no_grad():
        after = run.objective(fixed, 0.0)
    assert after["total"] < before["total"]
    if bits:  # a new B costs more at first than it brings
        assert after["boundary"] < 0.75 * before["boundary"]
    else:
        assert after["backward"] < 0.8 * before["backward"]
        assert rows(tmp_path)[-3][1:] > ("psnr_y", scores["psnr_y"] + 1)


def test_mixed_precision_trains_in_float32_weights(pictures, tmp_path):
    run = Trainer(config(steps=2), [pictures], tmp_path, precision="bf16-mixed", accelerator="cpu", say=len)
    run.fit()
    assert {value.dtype for value in state(tmp_path)["model"].values()} == {torch.float32}


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [({"avx512_bf16": True}, "bf16-mixed"), ({"bf16": True}, "bf16-mixed"), ({"avx2": True}, "32-true")],
)
def test_half_precision_is_taken_only_where_the_processor_has_it(
    pictures, tmp_path, monkeypatch, capabilities, chosen
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    said: list[str] = []
    Trainer(config(steps=1), [pictures], tmp_path, accelerator="cpu", say=said.append).fit()
    assert state(tmp_path)["precision"] == chosen
    assert f"1 x cpu in {chosen}, 0 steps done" in said[0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert not has_bfloat16(on_cpu=False)


def test_run_reads_a_file_and_its_options_go_before_it(pictures, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(
        'name = "tiny"\n[model]\nscale = 2\nfeatures = 8\nblocks = 1\n[loss]\nlpips = 0.0\n'
        "[data]\ncrop = 16\nbatch_size = 2\nvalidation = 0\n[optim]\nsteps = 5\nlearning_rate = 1e-3\n"
    )
    run(path, [pictures], tmp_path / "plain", device="cpu", precision="32-true")
    assert state(tmp_path / "plain")["step"] == load_config(path).optim.steps == 5
    options = {"steps": 2, "learning_rate": 3e-4, "device": "cpu", "precision": "32-true"}
    run(path, [pictures], tmp_path / "changed", **options)
    changed = state(tmp_path / "changed")
    assert changed["step"] == changed["config"]["optim"]["steps"] == 2
    assert changed["config"]["optim"]["learning_rate"] == 3e-4
    run(path, [pictures], tmp_path / "timed", max_time=0, device="cpu", precision="32-true")
    assert state(tmp_path / "timed")["step"] == 1


def test_run_without_a_configuration_or_a_model(pictures, tmp_path):
    with pytest.raises(BDFlowError, match="give a configuration such as"):
        run(None, [pictures], tmp_path)


def test_run_goes_on_from_a_model_and_remembers_it(pictures, tmp_path):
    small = ["data.crop=16", "data.sides=[16, 32]", "data.batch_size=1", "data.validation=0"]
    run(None, [pictures], tmp_path, start="photos-x2", steps=1, settings=small, device="cpu")
    model, made = find("photos-x2"), state(tmp_path)
    assert made["step"] == 1
    told = model.metadata["training"]
    assert made["origin"] == {
        "model": "photos-x2",
        "weights_sha256": model.weights_sha256,
        "steps": told["steps"],
        "seconds": told["seconds"],
    }
    card = made["config"]["card"]  # that of photos-x2 tells of other pictures
    assert card["data"] == f"not described; before that: {told['data']}"
    assert card["command"].startswith("bdflow train --from photos-x2 --set=optim.steps=1 --set=data.crop=16 ")
