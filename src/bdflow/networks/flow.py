"""Invertible blocks: a coupling layer (Eq. 6) around three small convolutional networks."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from bdflow.networks.config import Activation


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def zero(conv: nn.Conv2d) -> nn.Conv2d:
    """Start at zero, so that an untrained block passes its input through."""
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def activation_layer(name: Activation) -> nn.Module:
    """What stands between convolutions."""
    return {"leaky_relu": nn.LeakyReLU(0.2), "silu": nn.SiLU(), "gelu": nn.GELU()}[name]


class ResidualBlock(nn.Module):
    """Three 3x3 convolutions of width `features` beside a 3x3 convolution from input to output."""

    def __init__(
        self, inputs: int, outputs: int, features: int, activation: Activation = "leaky_relu"
    ) -> None:
        super().__init__()
        self.head = conv3x3(inputs, features)
        self.body = conv3x3(features, features)
        self.tail = zero(conv3x3(features, outputs))
        self.shortcut = zero(conv3x3(inputs, outputs))
        self.act = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.tail(self.act(self.body(self.act(self.head(x))))) + self.shortcut(x)
        return out


class DenseBlock(nn.Module):
    """IRN's block: five 3x3 convolutions, each seeing the input and all results before it."""

    def __init__(self, inputs: int, outputs: int, growth: int, activation: Activation = "leaky_relu") -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv3x3(inputs + i * growth, growth) for i in range(4))
        self.tail = zero(conv3x3(inputs + 4 * growth, outputs))
        self.act = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = torch.cat((x, self.act(conv(x))), dim=1)
        out: Tensor = self.tail(x)
        return out


class InvBlock(nn.Module):
    """One invertible block on `channels` channels, of which the first `split` are u1 (low frequency).

    `additive`: v1 = u1 + phi(u2) (Eq. 1); `affine`: v1 = u1 * s(phi(u2)) + phi(u2) (Eq. 6).
    Either way v2 = u2 * s(rho(v1)) + eta(v1), with s(r) = exp(clamp * (2 sigmoid(r) - 1)) > 0.
    """

    def __init__(
        self,
        channels: int,
        split: int,
        make_block: Callable[[int, int], nn.Module],
        coupling: Literal["additive", "affine"] = "additive",
        clamp: float = 1.0,
    ) -> None:
        super().__init__()
        self.sizes = [split, channels - split]
        self.phi = make_block(channels - split, split)
        self.rho = make_block(split, channels - split)
        self.eta = make_block(split, channels - split)
        self.affine = coupling == "affine"
        self.clamp = clamp

    def _log_scale(self, r: Tensor) -> Tensor:
        # Never in half precision: a scale and its inverse must cancel.
        return self.clamp * (2 * torch.sigmoid(r.to(torch.promote_types(r.dtype, torch.float32))) - 1)

    def forward(self, u: Tensor) -> Tensor:
        """`(N, channels, h, w)` to the same shape."""
        u1, u2 = torch.split(u, self.sizes, dim=1)
        phi = self.phi(u2)
        v1 = (u1 * self._log_scale(phi).exp() if self.affine else u1) + phi
        v2 = u2 * self._log_scale(self.rho(v1)).exp() + self.eta(v1)
        return torch.cat((v1, v2), dim=1)

    def inverse(self, v: Tensor) -> Tensor:
        """The exact inverse of `forward`."""
        v1, v2 = torch.split(v, self.sizes, dim=1)
        u2 = (v2 - self.eta(v1)) * (-self._log_scale(self.rho(v1))).exp()
        phi = self.phi(u2)
        u1 = v1 - phi
        if self.affine:
            u1 = u1 * (-self._log_scale(phi)).exp()
        return torch.cat((u1, u2), dim=1)
