"""The state of a run: what training changes, and what the run folder keeps so that a later run continues."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bdflow.system.environment import processor_name

LAST = "last.pt"


class State:
    """What training changes.

    Args:
        network: Its weights, without what wraps it for the training.
        optimizers: Of these.
        origin: Whose weights the run began with, and what their training took.

    Attributes:
        step: Steps that are done.
        seconds: What they took.
        ema: The moving average of the weights.
    """

    def __init__(
        self, network: nn.Module, optimizers: Sequence[Optimizer], origin: dict[str, Any] | None
    ) -> None:
        self.network, self.optimizers, self.origin = network, optimizers, origin
        self.step, self.seconds = 0, 0.0
        self.ema = {key: value.clone() for key, value in network.state_dict().items()}

    def average(self, most: float) -> None:
        """Move the average towards the weights; `most` is the share of it that stays."""
        # Early averages forget faster, or the random start would weigh on them.
        decay = min(most, (1 + self.step) / (10 + self.step))
        for key, value in self.network.state_dict().items():
            self.ema[key].lerp_(value, 1 - decay)

    @contextmanager
    def swapped(self, weights: dict[str, Tensor]) -> Iterator[None]:
        """The network with other weights; its own come back whatever happens."""
        trained = {key: value.clone() for key, value in self.network.state_dict().items()}
        try:
            self.network.load_state_dict(weights)
            yield
        finally:
            self.network.load_state_dict(trained)

    def save(self, folder: Path, **about: Any) -> None:
        """Write everything that a resumed run needs, and what the folder says of the run."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "origin": self.origin,
            "model": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "ema": self.ema,
        }
        write_state(folder, state | about)

    def load(self, saved: dict[str, Any]) -> None:
        """Take up what `save` wrote, as `read_state` gives it."""
        self.network.load_state_dict(saved["model"])
        for optimizer, of_optimizer in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(of_optimizer)
        for key, value in saved["ema"].items():
            self.ema[key].copy_(value)
        self.step, self.seconds, self.origin = saved["step"], saved["seconds"], saved["origin"]


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write a state, under a temporary name first."""
    temporary = folder / (LAST + ".tmp")
    torch.save(state, temporary)
    temporary.replace(folder / LAST)


def read_state(folder: Path) -> dict[str, Any]:
    """The state in a run folder, on the CPU."""
    state: dict[str, Any] = torch.load(folder / LAST, map_location="cpu", weights_only=True)
    return state


def machine(device: torch.device, count: int) -> str:
    """What trained: such as `1 core of AMD EPYC`; of GPUs, `count` of them."""
    if device.type == "cuda":
        return f"{count} x {torch.cuda.get_device_name()}"
    threads = torch.get_num_threads()
    return f"{threads} core{'s' * (threads > 1)} of {processor_name()}"
