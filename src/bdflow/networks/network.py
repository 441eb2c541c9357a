"""What every network is, and what it does between a photograph and what is stored of it."""

import torch
from torch import Tensor, nn

from bdflow.networks.config import NetworkConfig
from bdflow.networks.facts import Facts
from bdflow.networks.stored import TOP, Storage, to_levels


class Network(nn.Module):
    """A photograph to Y (the small picture), B (the boundary map, of some) and Z (what no file stores), and
    back.

    A further network is a subclass in a module of its own, that `bdflow.networks.build.build` knows.

    Attributes:
        config: What it is made of.
        facts: What the runtime must know of it.
        has_boundary: Whether it has a B.
    """

    config: NetworkConfig
    facts: Facts
    has_boundary: bool = False

    @property
    def latent_channels(self) -> int:
        """Channels of Z."""
        return self.facts.latent_channels

    @property
    def storage(self) -> Storage:
        """How Y and B are stored."""
        return Storage(self.config.boundary_bits)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Downscale.

        Args:
            x: `(N, 3, H, W)` in [0, 1]; H and W multiples of the scale.

        Returns:
            Y `(N, 3, h, w)`, B `(N, 1, h, w)` or None, Z `(N, latent_channels, h, w)`, where h and
            w are H and W over the scale. None of them is rounded or clipped.
        """
        raise NotImplementedError

    def inverse(self, y: Tensor, boundary: Tensor | None = None, latent: Tensor | None = None) -> Tensor:
        """Restore; of invertible networks the exact inverse of `forward` on the same Y, B, Z.

        Args:
            y: `(N, 3, h, w)`.
            boundary: `(N, 1, h, w)`; None stands for an empty map.
            latent: `(N, latent_channels, h, w)`; None stands for Z = 0, the mode of its prior.

        Returns:
            `(N, 3, H, W)`, not clipped.
        """
        raise NotImplementedError


class Down(nn.Module):
    """What `down.onnx` computes: uint8 picture to uint8 Y and the levels of B."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        y, boundary, _ = self.model(image.float() / TOP)
        return self.model.storage.levels(y, boundary)


class Up(nn.Module):
    """What `up.onnx` computes: uint8 Y, the levels of B, and for `sample.onnx` Z, to a uint8 picture."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.model = model

    def forward(self, small: Tensor, boundary: Tensor | None = None, latent: Tensor | None = None) -> Tensor:
        restored = self.model.inverse(*self.model.storage.samples(small, boundary), latent)
        return to_levels(restored, TOP)


def restore(
    model: Network,
    y: Tensor,
    boundary: Tensor | None,
    sigma: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Round Y and B as they are stored, then invert with Z = 0 or Z drawn from N(0, sigma^2)."""
    latent = None
    if sigma:
        shape = (y.shape[0], model.latent_channels, *y.shape[-2:])
        latent = sigma * torch.randn(shape, generator=generator, device=y.device)
    return model.inverse(*model.storage.rounded(y, boundary), latent)
