"""The five-term loss (Eq. 7-11)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bdflow.networks.network import Network, restore
from bdflow.quality.lpips import GRID, LEAST
from bdflow.train.config import LossConfig, MaskConfig
from bdflow.train.mask import boundary_mask, boundary_steps, boundary_weight

DEFAULT_MASK = MaskConfig()


def bicubic_down(x: Tensor, scale: int) -> Tensor:
    """The target of Y: antialiased bicubic (a = -0.5, as Pillow's and MATLAB's), clipped to [0, 1]."""
    size = (x.shape[-2] // scale, x.shape[-1] // scale)
    return interpolate(x, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)


def forward_loss(y: Tensor, target: Tensor) -> Tensor:
    """Eq. 8 without its weight: mean square of Y's error."""
    return (y - target).square().mean()


def backward_loss(restored: Tensor, x: Tensor, weight: Tensor | float, norm: str = "l1") -> Tensor:
    """Eq. 9: mean absolute error (or square) under the pixel weight lambda_BAW."""
    error = restored - x
    return (weight * (error.abs() if norm == "l1" else error.square())).mean()


def squared_loss(restored: Tensor, x: Tensor, weight: Tensor | float) -> Tensor:
    """Mean square error in each picture's own unit, so that it takes over from l1 at the same gradient.

    PSNR is a logarithm of squares, so an error counts by its share of its own picture's error.
    """
    error = restored - x
    unit = 2 * error.detach().abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-6)
    return (weight * error.square() / unit).mean()


def boundary_loss(boundary: Tensor, mask: Tensor) -> Tensor:
    """Eq. 10 without its weight: mean square of B's error."""
    return (boundary - mask).square().mean()


def latent_loss(latent: Tensor, variance: float) -> Tensor:
    """Eq. 11 without its weight: mean negative log-likelihood of Z under N(0, variance); 0 if Z is empty."""
    if not latent.numel():
        return latent.sum()
    return 0.5 * (latent.square().mean() / variance + math.log(2 * math.pi * variance))


def _shifted(a: Tensor, b: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Both without up to 15 of their first rows and columns, drawn anew each time.

    AlexNet keeps every 16th pixel. On a grid that never moves, a network learns a grain that LPIPS takes for
    texture there, and for an error a pixel beside.
    """
    room = max(1, min(GRID, min(a.shape[-2:]) - LEAST + 1))
    top, left = torch.randint(room, (2,), generator=generator, device=a.device).tolist()
    return a[..., top:, left:], b[..., top:, left:]


class Objective(nn.Module):
    """Eq. 7 as a module, so that one call covers both directions of the flow on any number of devices.

    Args:
        network: Its parameters are this module's.
        loss: Weights and schedules.
        mask: Parameters of the boundary-aware mask.
        lpips: The perceptual distance; needed where its weight is not zero.
    """

    def __init__(
        self,
        network: Network,
        loss: LossConfig,
        mask: MaskConfig = DEFAULT_MASK,
        lpips: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.network, self.lpips, self.loss, self.mask = network, lpips, loss, mask
        if loss.lpips and lpips is None:
            raise ValueError("the loss weighs LPIPS, but no LPIPS module was given")

    def forward(
        self, images: Tensor, progress: float = 1.0, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The weighted terms, and their sum under `"total"`.

        Args:
            images: uint8 `(N, 3, H, W)`. (Not floats: a mixed-precision wrapper would halve them.)
            progress: Share of the training that is done, for the schedules of BAW and LPIPS.
            generator: Draws Z where `loss.sample_sigma` is not zero, and where the grid of LPIPS begins.
        """
        network, loss = self.network, self.loss
        scale, bits = network.config.scale, network.config.boundary_bits
        x = images.to(memory_format=torch.channels_last).float() / 255
        y, boundary, latent = network(x)
        restored = restore(network, y, boundary, loss.sample_sigma, generator)
        terms = {"forward": loss.forward * forward_loss(y, bicubic_down(x, scale))}
        weight: Tensor | float = loss.backward
        has_mask = boundary is not None and loss.boundary > 0
        if has_mask or progress >= loss.weight_from:
            with torch.no_grad():
                sparse = boundary_steps(x, self.mask).sparse
                weight = boundary_weight(sparse, loss.backward, progress, loss.weight_from)
        if boundary is not None and has_mask:
            terms["boundary"] = loss.boundary * boundary_loss(boundary, boundary_mask(sparse, scale, bits))
        if loss.squares_from is not None and progress >= loss.squares_from:
            terms["backward"] = squared_loss(restored, x, weight)
        else:
            terms["backward"] = backward_loss(restored, x, weight, loss.backward_norm)
        if self.lpips is not None and loss.lpips and progress >= loss.lpips_from:
            terms["lpips"] = loss.lpips * self.lpips(*_shifted(restored, x, generator)).mean()
        if loss.latent:
            terms["latent"] = loss.latent * latent_loss(latent, network.config.latent_variance)
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms
