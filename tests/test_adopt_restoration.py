"""scripts/adopt_restoration.py: a bare training state becomes a run folder that goes on and is exported."""

import importlib.util
from pathlib import Path

import pytest
import torch
from tiny_run import assert_same, state

from bdflow.errors import BDFlowError
from bdflow.networks.restoration import Restoration, RestorationConfig
from bdflow.train.config import RestorationOptimConfig
from bdflow.train.optim import make_optimizers
from bdflow.train.restoration import is_kernel

SCRIPT = Path(__file__).parent.parent / "scripts" / "adopt_restoration.py"


def adopt(*arguments: Path) -> None:
    spec = importlib.util.spec_from_file_location("adopt_restoration", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.adopt(*arguments)


def test_a_bare_state_becomes_a_run(tmp_path):
    network = Restoration(RestorationConfig(width=8, deep=8, before=1, middle=1, after=1, embedding=8))
    optimizers = make_optimizers(network, RestorationOptimConfig(), is_kernel)
    network(torch.rand(1, 3, 16, 16), torch.rand(1, 9)).square().mean().backward()
    for optimizer in optimizers:
        optimizer.step()
    ema = {key: value + 1 for key, value in network.state_dict().items()}
    bare = {"model": network.state_dict(), "ema": ema, "step": 7, "seconds": 8.5}
    torch.save(bare | {"optimizers": [each.state_dict() for each in optimizers]}, tmp_path / "bare.pt")
    config = tmp_path / "tiny.toml"
    config.write_text(
        'name = "tiny"\n[model]\nnetwork = "restoration"\nwidth = 8\ndeep = 8\nbefore = 1\nmiddle = 1\n'
        "after = 1\nembedding = 8\n"
    )
    adopt(tmp_path / "bare.pt", config, tmp_path / "run")
    made = state(tmp_path / "run")
    assert (made["step"], made["seconds"], made["config"]["name"]) == (7, 8.5, "tiny")
    assert_same(dict(made["model"]), dict(network.state_dict()))
    assert_same(made["ema"], ema)
    for each, saved in zip(optimizers, made["optimizers"], strict=True):
        assert_same(saved["state"], each.state_dict()["state"])
    with pytest.raises(FileExistsError):  # a run is never written over
        adopt(tmp_path / "bare.pt", config, tmp_path / "run")
    config.write_text(config.read_text().replace("width = 8", "width = 12"))
    with pytest.raises(BDFlowError, match="does not fit the network of") as caught:
        adopt(tmp_path / "bare.pt", config, tmp_path / "other")
    assert "\n" not in str(caught.value)
