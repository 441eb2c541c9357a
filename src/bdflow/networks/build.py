"""Networks from their configuration, or whole from a model folder; and how large they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from bdflow.errors import BDFlowError
from bdflow.networks import facts
from bdflow.networks.bdflow import BDFlow
from bdflow.networks.config import ModelConfig
from bdflow.networks.facts import DOWN
from bdflow.networks.hcflow import HCFlow
from bdflow.networks.network import Down, Network, Up
from bdflow.networks.restoration import Restoration, RestorationConfig, Restore
from bdflow.networks.tar import TAR
from bdflow.zoo import RESTORATION, WEIGHTS, read_metadata

Weighted = TypeVar("Weighted", bound=nn.Module)


def build(config: ModelConfig) -> Network:
    """The network that ``config`` describes, untrained."""
    return {"bdflow": BDFlow, "hcflow": HCFlow, "tar": TAR}[config.network](config)


def load_model(weights: str | Path) -> Network:
    """The torch network of a model folder or a weights file, in float32.

    Raises:
        BDFlowError: It is no weights file of bdflow's, or of a network that is not built here.
    """
    path = Path(weights)
    path = path / WEIGHTS if path.is_dir() else path
    metadata = read_metadata(path)
    try:
        network = build(ModelConfig.of(metadata["model"]))
        declared = facts.read(metadata).latent_channels
    except (KeyError, TypeError, ValueError) as error:
        raise BDFlowError(f"{path}: not weights of a bdflow model ({error!r:.80})") from None
    if declared != network.latent_channels:
        raise BDFlowError(
            f"{path}: it has {declared} channels of Z, and the network that torch would build"
            f" {network.latent_channels}: only its graphs can be run (--backend onnxruntime)"
        )
    return load_weights(network, path)


def load_graph(folder: Path, graph: str) -> nn.Module:
    """What ``down.onnx``, ``up.onnx`` or ``sample.onnx`` of a model folder computes, in torch.

    Raises:
        BDFlowError: As :func:`load_model`.
    """
    settings = read_metadata(folder / WEIGHTS)["model"]
    if settings.get("network") == RESTORATION:
        restoration = Restoration(RestorationConfig(**settings))
        return Restore(load_weights(restoration, folder / WEIGHTS))
    return (Down if graph == DOWN else Up)(load_model(folder))


def load_weights(network: Weighted, path: Path) -> Weighted:
    """A network with the numbers of a weights file, in float32, ready to run."""
    network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    return network.eval()


def count_parameters(model: nn.Module) -> int:
    """Trainable numbers in ``model``."""
    return sum(p.numel() for p in model.parameters())


def count_multiply_adds(model: Network, size: int = 128) -> int:
    """Multiply-adds of the convolutions in one direction on a ``size`` x ``size`` picture (Table 2).

    Both directions of each network have as many.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        copy = build(model.config)
        with FlopCounterMode(display=False) as counter:
            copy(torch.empty(1, 3, size, size))
    return int(counter.get_flop_counts()["Global"][torch.ops.aten.convolution]) // 2


def paper_sizes() -> Iterator[tuple[str, int, int, int]]:
    """The networks of Table 2, counted: title, scale, parameters, multiply-adds at 128x128."""
    for scale in (8, 16, 32, 64):
        bdflow = ModelConfig(scale=scale, blocks=4 if scale == 8 else 2)
        irn = ModelConfig(scale=scale, blocks=8, block="dense", features=32, boundary_bits=0)
        for config in (bdflow, irn):
            with torch.device("meta"):
                model = build(config)
            yield model.facts.title, scale, count_parameters(model), count_multiply_adds(model)
