"""A model folder's network in torch."""

from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file
from torch import nn

from bdflow.errors import BDFlowError
from bdflow.networks import facts
from bdflow.networks.build import build
from bdflow.networks.config import NetworkConfig
from bdflow.networks.facts import DOWN
from bdflow.networks.network import Down, Network, Up
from bdflow.networks.restoration import Restoration, RestorationConfig, Restore
from bdflow.zoo import RESTORATION, WEIGHTS, read_metadata

Weighted = TypeVar("Weighted", bound=nn.Module)


def load_model(weights: str | Path) -> Network:
    """The torch network of a model folder or a weights file, in float32.

    Raises:
        BDFlowError: It is no weights file of bdflow's, or of a network that is not built here.
    """
    path = Path(weights)
    path = path / WEIGHTS if path.is_dir() else path
    metadata = read_metadata(path)
    try:
        network = build(NetworkConfig.of(metadata["model"]))
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
    """What `down.onnx`, `up.onnx` or `sample.onnx` of a model folder computes, in torch.

    Raises:
        BDFlowError: As `load_model`.
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
