"""The control of configs/studies/boundary.toml: a BDFlow without B, whose bits refine Y's green instead.

Does B restore photographs, or would any further bits do? The small picture's green is stored with
`boundary_bits` more of them, the low ones in the plane that otherwise holds B. Files and graphs of such a
model are like all others; torch outside of training does not know it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bdflow.networks.bdflow import BDFlow
from bdflow.networks.build import build
from bdflow.networks.config import NetworkConfig
from bdflow.networks.network import Network
from bdflow.networks.stored import TOP, Storage, quantize, to_levels
from bdflow.train.config import TrainConfig


@dataclass(frozen=True)
class GreenStorage(Storage):
    """Y with green as a fixed-point number: its 8 high bits in the picture, the `bits` low ones in the
    plane."""

    @property
    def green_top(self) -> int:
        """The highest level of green."""
        return TOP << self.bits

    def rounded(self, y: Tensor, boundary: Tensor | None) -> tuple[Tensor, Tensor | None]:
        red_blue = quantize(y[:, ::2], TOP + 1)
        green = quantize(y[:, 1:2], self.green_top + 1)
        return torch.cat((red_blue[:, :1], green, red_blue[:, 1:]), dim=1), None

    def levels(self, y: Tensor, boundary: Tensor | None) -> tuple[Tensor, ...]:
        red_blue = to_levels(y[:, ::2], TOP)
        green = (y[:, 1:2].clamp(0, 1) * self.green_top).round().int()
        high = green >> self.bits
        small = torch.cat((red_blue[:, :1], high.to(torch.uint8), red_blue[:, 1:]), dim=1)
        return small, (green - (high << self.bits)).to(torch.uint8)

    def samples(self, small: Tensor, boundary: Tensor | None) -> tuple[Tensor, Tensor | None]:
        y = small.float() / TOP
        if boundary is not None:
            y = torch.cat((y[:, :1], y[:, 1:2] + boundary.float() / self.green_top, y[:, 2:]), dim=1)
        return y, None


class GreenBDFlow(BDFlow):
    """A BDFlow without B, its small picture stored with further bits of green."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(replace(config, boundary_bits=0))
        self._storage = GreenStorage(config.boundary_bits)

    @property
    def storage(self) -> Storage:
        return self._storage


def network_of(config: TrainConfig) -> Network:
    """The network that a run trains, untrained."""
    return GreenBDFlow(config.model) if config.plane == "green" else build(config.model)
