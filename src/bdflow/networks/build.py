"""Networks from their configuration, and how large they are."""

from collections.abc import Iterator

import torch
from torch import nn

from bdflow.networks.bdflow import BDFlow
from bdflow.networks.config import NetworkConfig
from bdflow.networks.hcflow import HCFlow
from bdflow.networks.network import Network
from bdflow.networks.tar import TAR


def build(config: NetworkConfig) -> Network:
    """The network that `config` describes, untrained."""
    return {"bdflow": BDFlow, "hcflow": HCFlow, "tar": TAR}[config.network](config)


def count_parameters(network: nn.Module) -> int:
    """Trainable numbers in `network`."""
    return sum(p.numel() for p in network.parameters())


def count_multiply_adds(network: Network, size: int = 128) -> int:
    """Multiply-adds of the convolutions in one direction on a `size` x `size` picture (Table 2).

    Both directions of each network have as many.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        copy = build(network.config)
        with FlopCounterMode(display=False) as counter:
            copy(torch.empty(1, 3, size, size))
    return int(counter.get_flop_counts()["Global"][torch.ops.aten.convolution]) // 2


def paper_sizes() -> Iterator[tuple[str, int, int, int]]:
    """The networks of Table 2, counted: title, scale, parameters, multiply-adds at 128x128."""
    for scale in (8, 16, 32, 64):
        bdflow = NetworkConfig(scale=scale, blocks=4 if scale == 8 else 2)
        irn = NetworkConfig(scale=scale, blocks=8, block="dense", features=32, boundary_bits=0)
        for config in (bdflow, irn):
            with torch.device("meta"):
                network = build(config)
            yield network.facts.title, scale, count_parameters(network), count_multiply_adds(network)
