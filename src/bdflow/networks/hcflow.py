"""HCFlow for image rescaling (Liang et al., Hierarchical Conditional Flow, ICCV 2021): a rival of BDFlow.

Each level halves the picture by Haar, passes it through flow steps and drops half of its channels. What is
dropped becomes Z by a flow that is conditional on what goes on, so Z = 0 restores its conditional mean.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pixel_shuffle, pixel_unshuffle

from bdflow.networks import facts
from bdflow.networks.config import NetworkConfig
from bdflow.networks.flow import DenseBlock, conv3x3, zero
from bdflow.networks.network import Network
from bdflow.networks.wavelets import Haar

_TERMS, _SQUARINGS = 8, 5  # of exp(A): within 1e-13 for a norm of pi, 1e-8 for one of 10


def _log_scale(h: Tensor) -> Tensor:
    """Within 0.5 of 0, and never in half precision: a scale and its inverse must cancel."""
    return torch.atan(2 * h.to(torch.promote_types(h.dtype, torch.float32))) / math.pi


def _affine(x: Tensor, h: Tensor) -> Tensor:
    shift, scale = h.chunk(2, dim=1)
    return (x + shift) * _log_scale(scale).exp()


def _undo_affine(x: Tensor, h: Tensor) -> Tensor:
    shift, scale = h.chunk(2, dim=1)
    return x * (-_log_scale(scale)).exp() - shift


class ActNorm(nn.Module):
    """A shift and a scale for each channel (Glow).

    They start at none, not from statistics of the first batch: Y must start as a picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.shift[:, None, None]) * self.log_scale.exp()[:, None, None]

    def inverse(self, x: Tensor) -> Tensor:
        return x * (-self.log_scale).exp()[:, None, None] - self.shift[:, None, None]


class Mix(nn.Module):
    """Invertible 1x1 convolution (Glow) by W = exp(A): exp(-A) undoes it for any A, and needs no solver (ONNX
    has none). It starts as a random rotation: A is antisymmetric then, with angles up to pi.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        a = torch.randn(channels, channels)
        self.exponent = nn.Parameter((a - a.T) * (math.pi / math.sqrt(8 * channels)))

    def forward(self, x: Tensor) -> Tensor:
        return self._apply_exponential(x, 1)

    def inverse(self, x: Tensor) -> Tensor:
        return self._apply_exponential(x, -1)

    def _apply_exponential(self, x: Tensor, sign: int) -> Tensor:
        # In half precision W and its inverse would not cancel.
        device = x.device.type
        mixed = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if mixed else nullcontext():
            a = self.exponent * (sign / 2**_SQUARINGS)
            w = a / _TERMS  # always W - 1, whose digits are the ones that count
            for k in range(_TERMS - 1, 0, -1):
                w = (a + a @ w) / k
            for _ in range(_SQUARINGS):
                w = 2 * w + w @ w
            x = x.to(w.dtype)
            return x + conv2d(x, w[:, :, None, None])


class FlowStep(nn.Module):
    """ActNorm, then a coupling of the image's 3 channels and the others.

    Of the steps of a level every other one scales and shifts the others by the image, the rest shift the
    image by the others. No 1x1 convolution: the authors' rescaling network has none here, so that image and
    detail stay apart.
    """

    def __init__(self, channels: int, growth: int, moves_image: bool) -> None:
        super().__init__()
        self.sizes = [3, channels - 3]
        self.norm = ActNorm(channels)
        self.moves_image = moves_image
        ends = (channels - 3, 3) if moves_image else (3, 2 * (channels - 3))
        self.net = DenseBlock(*ends, growth)

    def forward(self, u: Tensor) -> Tensor:
        """`(N, channels, h, w)` to the same shape."""
        image, others = torch.split(self.norm(u), self.sizes, dim=1)
        if self.moves_image:
            image = image + self.net(others)
        else:
            others = _affine(others, self.net(image))
        return torch.cat((image, others), dim=1)

    def inverse(self, v: Tensor) -> Tensor:
        """The exact inverse of `forward`."""
        image, others = torch.split(v, self.sizes, dim=1)
        if self.moves_image:
            image = image - self.net(others)
        else:
            others = _undo_affine(others, self.net(image))
        u: Tensor = self.norm.inverse(torch.cat((image, others), dim=1))
        return u


class ConditionalStep(nn.Module):
    """ActNorm, 1x1 convolution; then the others and the condition scale and shift half of the channels."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.sizes = [channels // 2, channels - channels // 2]
        self.norm = ActNorm(channels)
        self.mix = Mix(channels)
        self.net = nn.Sequential(
            conv3x3(self.sizes[0] + features, features),
            nn.ReLU(),
            nn.Conv2d(features, features, 1),
            nn.ReLU(),
            zero(conv3x3(features, 2 * self.sizes[1])),
        )

    def forward(self, u: Tensor, condition: Tensor) -> Tensor:
        """`(N, channels, h, w)` to the same shape; the condition is `(N, features, h, w)`."""
        u1, u2 = torch.split(self.mix(self.norm(u)), self.sizes, dim=1)
        return torch.cat((u1, _affine(u2, self.net(torch.cat((u1, condition), dim=1)))), dim=1)

    def inverse(self, v: Tensor, condition: Tensor) -> Tensor:
        """The exact inverse of `forward`, for the same condition."""
        v1, v2 = torch.split(v, self.sizes, dim=1)
        u2 = _undo_affine(v2, self.net(torch.cat((v1, condition), dim=1)))
        u: Tensor = self.norm.inverse(self.mix.inverse(torch.cat((v1, u2), dim=1)))
        return u


class ResidualInResidual(nn.Module):
    """RRDB (Wang et al., ESRGAN, 2018): three dense blocks, each and all beside a shortcut."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DenseBlock(features, features, features // 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for block in self.blocks:
            out = out + 0.2 * block(out)
        return x + 0.2 * out


class Prior(nn.Module):
    """What a level drops, as Z: by `steps` conditional flow steps, less its mean, over its spread."""

    steps: Sequence[ConditionalStep]

    def __init__(self, inputs: int, dropped: int, features: int, steps: int, depth: int) -> None:
        super().__init__()
        self.head = conv3x3(inputs, features)
        trunk = [*(ResidualInResidual(features) for _ in range(depth)), conv3x3(features, features)]
        self.trunk = nn.Sequential(*trunk)
        flow = (ConditionalStep(dropped, features) for _ in range(steps))
        self.steps = cast("Sequence[ConditionalStep]", nn.ModuleList(flow))
        self.moments = zero(conv3x3(features, 2 * dropped))

    def condition(self, x: Tensor) -> Tensor:
        """`(N, inputs, h, w)`, what goes on, to the features `(N, features, h, w)` that Z depends on."""
        head = self.head(x)
        out: Tensor = head + self.trunk(head)
        return out

    def forward(self, dropped: Tensor, condition: Tensor) -> Tensor:
        for step in self.steps:
            dropped = step(dropped, condition)
        return _affine(dropped, self.moments(condition))

    def inverse(self, z: Tensor, condition: Tensor) -> Tensor:
        dropped = _undo_affine(z, self.moments(condition))
        for step in reversed(self.steps):
            dropped = step.inverse(dropped, condition)
        return dropped


class Level(nn.Module):
    """One halving: Haar, then flow steps."""

    steps: Sequence[FlowStep]

    def __init__(self, channels: int, growth: int, steps: int) -> None:
        super().__init__()
        self.wavelet = Haar()
        flow = (FlowStep(channels, growth, moves_image=bool(i % 2)) for i in range(steps))
        self.steps = cast("Sequence[FlowStep]", nn.ModuleList(flow))

    def forward(self, x: Tensor) -> Tensor:
        x = self.wavelet(x)
        for step in self.steps:
            x = step(x)
        return x

    def inverse(self, u: Tensor) -> Tensor:
        for step in reversed(self.steps):
            u = step.inverse(u)
        return self.wavelet.inverse(u)


class HCFlow(Network):
    """`n` levels for a scale of `2^n`, invertible as a whole.

    The last level keeps 3 channels, which are Y; the others keep half of theirs. `blocks` = 8 and
    `features` = 64 are the authors' network: 8 flow steps of growth 32 per level, 6 conditional ones, and a
    condition of 3 RRDBs of growth 16. They fix it for x4; at other scales a level is conditional, as in their
    x8 super-resolution, on what it keeps and on the features of all coarser levels.
    """

    levels: Sequence[Level]
    priors: Sequence[Prior]

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config, self.facts = config, facts.hcflow(config)
        self.sizes: list[list[int]] = []  # channels that a level keeps and drops
        levels, priors, channels = [], [], 3
        for index in range(config.levels):
            blocks, features = config.of_level(index)
            channels = 4 * channels
            kept = 3 if index == config.levels - 1 else channels // 2
            coarser = sum(config.of_level(i)[1] for i in range(index + 1, config.levels))
            steps, depth = max(1, 3 * blocks // 4), max(1, 3 * blocks // 8)
            levels.append(Level(channels, features // 2, blocks))
            priors.append(Prior(kept + coarser, channels - kept, features, steps, depth))
            self.sizes.append([kept, channels - kept])
            channels = kept
        self.levels = cast("Sequence[Level]", nn.ModuleList(levels))
        self.priors = cast("Sequence[Prior]", nn.ModuleList(priors))

    def forward(self, x: Tensor) -> tuple[Tensor, None, Tensor]:
        """Downscale, as `Network.forward`. Z is folded to Y's grid, finest first."""
        kept, dropped = [], []
        for level, sizes in zip(self.levels, self.sizes, strict=True):
            x, rest = torch.split(level(x), sizes, dim=1)
            kept.append(x)
            dropped.append(rest)
        conditions: list[Tensor] = []
        latent: list[Tensor] = []
        for index in reversed(range(len(self.levels))):
            condition = self._condition(index, kept[index], conditions)
            z = self.priors[index](dropped[index], condition)
            latent.insert(0, pixel_unshuffle(z, self._fold(index)))
            conditions.append(condition)
        return x, None, torch.cat(latent, dim=1)

    def inverse(self, y: Tensor, boundary: Tensor | None = None, latent: Tensor | None = None) -> Tensor:
        """Restore; None stands for Z = 0, its mean given Y. See `Network.inverse`."""
        if latent is None:
            latent = y.new_zeros(y.shape[0], self.latent_channels, *y.shape[-2:])
        folded = [dropped * self._fold(index) ** 2 for index, (_, dropped) in enumerate(self.sizes)]
        parts = torch.split(latent, folded, dim=1)
        conditions: list[Tensor] = []
        x = y
        for index in reversed(range(len(self.levels))):
            condition = self._condition(index, x, conditions)
            z = pixel_shuffle(parts[index], self._fold(index))
            x = torch.cat((x, self.priors[index].inverse(z, condition)), dim=1)
            x = self.levels[index].inverse(x)
            conditions.append(condition)
        return x

    def _fold(self, index: int) -> int:
        """Cells of a level along one of Y's."""
        return int(2 ** (len(self.levels) - 1 - index))

    def _condition(self, index: int, kept: Tensor, coarser: list[Tensor]) -> Tensor:
        """Of one level, given the conditions of the coarser ones, coarsest first."""
        count = len(coarser)
        enlarged = [
            interpolate(c, scale_factor=float(2 ** (count - i)), mode="nearest")
            for i, c in enumerate(coarser)
        ]
        return self.priors[index].condition(torch.cat((kept, *enlarged), dim=1))
