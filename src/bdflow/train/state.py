"""What a run folder keeps of a run, so that a later one goes on from it."""

from pathlib import Path
from typing import Any

import torch

from bdflow.environment import processor_name

LAST = "last.pt"


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
    """What trained: such as ``1 core of AMD EPYC``; of GPUs, ``count`` of them."""
    if device.type == "cuda":
        return f"{count} x {torch.cuda.get_device_name()}"
    threads = torch.get_num_threads()
    return f"{threads} core{'s' * (threads > 1)} of {processor_name()}"
