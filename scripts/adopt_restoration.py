"""A run folder from a bare training state: `python scripts/adopt_restoration.py last.pt CONFIG -o RUN`.

The first hours of restoration-fidelity were trained by a script that kept only `model`, `ema`, `step`,
`seconds` and `optimizers`, under the names that the network still has. `bdflow train CONFIG --data
PICTURES --out RUN` goes on from the run folder, `bdflow export RUN -o MODEL` makes a model of it.
"""

import argparse
from pathlib import Path

import torch

from bdflow import BDFlowError
from bdflow.networks.restoration import Restoration
from bdflow.train.config import RestorationTrainConfig, load_config, to_dict
from bdflow.train.optim import make_optimizers
from bdflow.train.restoration import is_kernel
from bdflow.train.state import machine, write_state


def adopt(state: Path, config: Path, out: Path, precision: str = "bf16-mixed") -> None:
    """Write a run folder with the weights, averages, moments and clock of `state`.

    Raises:
        BDFlowError: The configuration is of another kind of network, or of one that the state does not fit.
    """
    settings = load_config(config)
    if not isinstance(settings, RestorationTrainConfig):
        raise BDFlowError(f"{config}: its network is {settings.model.network}, not restoration")
    bare = torch.load(state, map_location="cpu", weights_only=True)
    network = Restoration(settings.model)
    optimizers = make_optimizers(network, settings.optim, is_kernel)
    try:
        for weights in (bare["ema"], bare["model"]):
            network.load_state_dict(weights)
        for optimizer, saved in zip(optimizers, bare.get("optimizers", ()), strict=False):
            optimizer.load_state_dict(saved)
    except (KeyError, RuntimeError, ValueError) as error:
        raise BDFlowError(f"{state}: does not fit the network of {config} ({str(error)[:80]!r})") from None
    out.mkdir(parents=True)  # an error if it is there: a run is never written over
    write_state(
        out,
        {
            "step": bare["step"],
            "seconds": bare["seconds"],
            "origin": None,
            "model": network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "ema": bare["ema"],
            "machine": machine(torch.device("cpu"), 1),
            "precision": precision,
            "config": to_dict(settings),
        },
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("state", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1, help="that it was trained with")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    try:
        adopt(given.state, given.config, given.out)
    except (BDFlowError, OSError) as error:
        raise SystemExit(f"adopt_restoration: {error}") from None
