"""Training on several processes, started by torchrun, which talk on the loopback alone."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny_restoration import make_pictures
from tiny_run import rows, state, trainer_of

from bdflow.errors import BDFlowError
from bdflow.train.data import Crops, Pictures, list_pictures, loader
from bdflow.train.loop import Clock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

STEPS = 6
PLAIN = {"steps": STEPS, "sample_sigma": 0.0, "save_every": 1, "validate_every": 3}  # no Z is drawn
CONFIG = """
name = "tiny"
validate_every = 3
save_every = 1
[model]
scale = 2
features = 8
blocks = 1
[loss]
lpips = 0
sample_sigma = 0
[data]
crop = 16
batch_size = 2
validation = 2
validation_size = 32
[optim]
steps = %d
learning_rate = 2e-3
ema = 0.9
seed = 3
"""


RESTORATION = """
name = "tiny-restoration"
[model]
network = "restoration"
width = 8
deep = 8
before = 1
middle = 1
after = 1
embedding = 8
[pairs]
view = 64
longest = 80
views = 1
codings = 2
hold_out = 4
factors = [{factor = 1, weight = 1, qualities = [20, 40]}, {factor = 3, weight = 2, qualities = [40, 90]}]
[data]
crop = 32
batch_size = 2
[optim]
steps = %d
"""


def start(pictures: Path, out: Path, steps: int = STEPS, of: str = CONFIG) -> subprocess.Popen[str]:
    config = out.with_suffix(".toml")
    config.write_text(of % steps)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    train = ["-m", "bdflow", "train", config, "--data", pictures, "--out", out, "--precision", "32-true"]
    return subprocess.Popen(
        [sys.executable, *torchrun, *map(str, train), "--device", "cpu"],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def of_two(pictures, tmp_path) -> tuple[Path, str]:
    """The run folder of two processes, and what they printed."""
    out = tmp_path / "two"
    process = start(pictures, out)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out, printed


def test_two_processes_are_one_with_twice_the_batch(pictures, of_two, tmp_path):
    """Within 1e-5 of weights of up to 1: sums of gradients round otherwise."""
    out, printed = of_two
    one = trainer_of(pictures, tmp_path / "one", **PLAIN)
    paths = list_pictures([pictures])
    halves = []
    for rank in (0, 1):
        share = Pictures(paths[rank::2], 16, 1.0)
        if rank == 0:
            one._hold_out(share)
        halves.append(Crops(share, one.config.data, one.config.optim.seed, rank))
    one._batches = lambda first, last: (
        torch.cat(batches) for batches in zip(*(loader(half, first, last) for half in halves), strict=True)
    )
    one.fit()
    alone, together = state(tmp_path / "one"), state(out)
    assert together["step"] == alone["step"] == STEPS
    for part in ("model", "ema"):
        for name, value in alone[part].items():
            torch.testing.assert_close(together[part][name], value, rtol=1e-4, atol=1e-5, msg=name)

    # One of the two writes and speaks.
    assert [step for step, name, _ in rows(out) if name == "learning_rate"] == [STEPS]
    assert [step for step, name, _ in rows(out) if name == "psnr_y"] == [3, 6]
    assert len(re.findall(r"^tiny: ", printed, re.M)) == 1
    assert "2 x cpu" in printed
    assert (out / "config.json").is_file()

    with pytest.raises(BDFlowError, match=r"last\.pt: of a run on 2 processes, not 1: start as many"):
        trainer_of(pictures, out, **PLAIN)


@pytest.mark.slow
def test_two_processes_train_a_restoration_network(tmp_path):
    """One of them codes the views, and both draw from these."""
    run = start(make_pictures(tmp_path / "pictures"), tmp_path / "run", of=RESTORATION)
    printed, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    assert len(re.findall(r"^tiny-restoration: .*2 x cpu", printed, re.M)) == 1
    assert state(tmp_path / "run")["step"] == STEPS
    assert [step for step, name, _ in rows(tmp_path / "run") if name == "psnr_y"] == [STEPS]


@pytest.mark.slow
def test_more_processes_than_pictures_are_refused(pictures, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    first = list_pictures([pictures])[0]
    (few / first.name).write_bytes(first.read_bytes())
    process = start(few, tmp_path / "run")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "bdflow: 2 processes share 1 pictures: start no more than there are" in errors


def rank_of(process: int) -> str:
    environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
    return next((each.removeprefix(b"RANK=").decode() for each in environment if each[:5] == b"RANK="), "")


def test_a_killed_process_ends_the_run_in_one_line_and_the_state_is_kept(pictures, tmp_path):
    run = start(pictures, tmp_path / "run", steps=100_000)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "last.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        (second,) = (child for child in map(int, children) if rank_of(child) == "1")
        os.kill(second, signal.SIGKILL)
        _, errors = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode != 0
    told = [line for line in errors.splitlines() if line.startswith("bdflow: ")]
    assert told == ["bdflow: another process of the run has ended; last.pt keeps the last state"]
    assert "bdflow/" not in errors  # no traceback of ours
    assert state(tmp_path / "run")["step"] >= 1


class Told:
    """The processes of a made-up run: this one, and others whose figures are added."""

    world_size, device = 2, torch.device("cpu")

    def __init__(self, is_global_zero: bool, others: list[list[float]]) -> None:
        self.is_global_zero, self.others, self.asked = is_global_zero, iter(others), 0

    def all_reduce(self, told: torch.Tensor, reduce_op: str) -> torch.Tensor:
        assert reduce_op == "sum"
        self.asked += 1
        return told + torch.tensor(next(self.others))


def test_clocks_agree_at_times_and_reckon_in_between():
    fabric = Told(False, [[step, 0.0] for step in (*range(2, 22, 2), 60.0)])
    clock = Clock(fabric)
    for step in range(1, 11):
        clock.tick([])
        assert (clock.seconds, clock.pace) == (2 * step, 2)
    for step in range(11, 20):
        clock.tick([signal.SIGTERM])  # the others do not know yet
        assert (clock.seconds, clock.interrupted) == (2 * step, False)
    assert fabric.asked == 10
    clock.tick([signal.SIGTERM])
    assert (clock.seconds, clock.pace, clock.interrupted) == (60, 3, True)
