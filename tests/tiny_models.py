"""Models of a few thousand random numbers, as `bdflow export` writes them."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from invertible import stir

from bdflow.networks.build import build
from bdflow.networks.config import NetworkConfig
from bdflow.networks.network import Network
from bdflow.networks.restoration import Restoration, RestorationConfig
from bdflow.train.config import CardConfig, TrainConfig
from bdflow.train.export import export, export_restoration

CONFIGS = {
    "tiny-x2": NetworkConfig(scale=2, features=4, blocks=1),
    "tiny-x4": NetworkConfig(scale=4, features=4, blocks=1, boundary_bits=2, kept=(6,)),
    "tiny-x8": NetworkConfig(scale=8, features=4, blocks=1, boundary_bits=0, split="kept"),
    "tiny-hcflow": NetworkConfig(network="hcflow", scale=4, features=4, blocks=2, boundary_bits=0),
    "tiny-tar": NetworkConfig(network="tar", scale=4, features=8, blocks=1, boundary_bits=0),
}
TRAINING = {
    "steps": 12,
    "seconds": 90,
    "machine": "a test",
    "command": "bdflow train tiny.toml",
    "data": "none: random numbers",
    "history": "",
    "limits": "restores nothing",
}


def config(name: str) -> TrainConfig:
    return TrainConfig(name=name, model=CONFIGS[name], card=CardConfig(data="none: random numbers"))


def network(name: str) -> Network:
    """Random everywhere, yet pictures stay in range, and the boundary map has every level."""
    model = stir(build(CONFIGS[name]))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):
                parameter.mul_(0.1)
        if model.has_boundary:
            tail = model.levels[-1].blocks[-1].eta.tail
            tail.weight[0] *= 8
            tail.bias[0] = 0.5
    return model.eval()


def make(name: str, out: Path) -> Path:
    export(config(name), network(name).state_dict(), out, TRAINING)
    return out


def make_restoration(out: Path) -> Path:
    """A restoration network that changes what it is given by some levels, and sees 64 pixels around."""
    torch.manual_seed(0)
    model = Restoration(RestorationConfig(width=4, deep=4, before=1, middle=2, after=1, embedding=4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.tail.weight.mul_(0.2)
        model.tail.bias.mul_(0.1)
    export_restoration("restoration-fidelity", model.eval(), out, TRAINING)
    return out


def metadata(folder: Path) -> dict:
    """A second reader of the safetensors header, to check the first."""
    with (folder / "weights.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header["__metadata__"]["bdflow"])


def graphs_of(model: Path) -> Callable[[Network, str, Path], None]:
    """Stands for the exporter of graphs: those of `model` hold for all weights of its kind."""

    def start(folder: Path) -> int:
        return int.from_bytes((folder / "weights.safetensors").read_bytes()[:8], "little")

    def write(_: Network, graph: str, out: Path) -> None:
        proto = onnx.load(model / f"{graph}.onnx", load_external_data=False)
        for tensor in proto.graph.initializer:
            for item in tensor.external_data:
                if item.key == "offset":  # another header of the weights, of another length
                    item.value = str(int(item.value) + start(out) - start(model))
        (out / f"{graph}.onnx").write_bytes(proto.SerializeToString())

    return write
