"""Training runs of a second: a few thousand numbers, pictures of a few hundred pixels."""

import csv
from dataclasses import replace
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from bdflow.networks.config import NetworkConfig
from bdflow.train.config import DataConfig, LossConfig, OptimConfig, TrainConfig, to_dict
from bdflow.train.log import LOG
from bdflow.train.state import LAST
from bdflow.train.trainer import Trainer

STEPS = 6


def config(steps: int = STEPS, **changes) -> TrainConfig:
    """`changes` are fields of any part; every name stands in one part only."""
    parts = {
        "model": NetworkConfig(scale=2, features=8, blocks=1),
        "loss": LossConfig(lpips=0, sample_sigma=0.1),
        "data": DataConfig(crop=16, batch_size=2, validation=2, validation_size=32),
        "optim": OptimConfig(steps=steps, learning_rate=2e-3, ema=0.9, seed=3),
    }
    for name, part in parts.items():
        own = {key: changes.pop(key) for key in list(changes) if key in to_dict(part)}
        parts[name] = (replace if name == "model" else msgspec.structs.replace)(part, **own)
    return TrainConfig(name="tiny", **parts, **{"validate_every": 100, "save_every": 100} | changes)


def trainer_of(pictures: Path, out: Path, said: list[str] | None = None, **changes) -> Trainer:
    options = {key: changes.pop(key) for key in ("start", "origin") if key in changes}
    say = (said if said is not None else []).append
    return Trainer(
        config(**changes), [pictures], out, precision="32-true", accelerator="cpu", say=say, **options
    )


def state(out: Path) -> dict:
    return torch.load(out / LAST, weights_only=True)


def rows(out: Path) -> list[tuple[int, str, float]]:
    with (out / LOG).open(newline="") as file:
        return [(int(step), name, float(value)) for step, name, value in csv.reader(file)]


def assert_same(a: object, b: object, path: str = "state") -> None:
    """Bit for bit, however deep."""
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{path}.{i}")
    else:
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b, path
