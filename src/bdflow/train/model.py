"""BDFlow: a picture to a small picture, a boundary map and a latent, and back."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

import msgspec
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from bdflow.train.config import ModelConfig
from bdflow.train.flow import DenseBlock, InvBlock, ResidualBlock
from bdflow.train.hcflow import HCFlow
from bdflow.train.tar import TAR
from bdflow.train.wavelets import CDF53, Haar


class Level(nn.Module):
    """One halving: a wavelet, then InvBlocks on all its channels. The first ``kept`` channels go on."""

    wavelet: Haar | CDF53
    blocks: Sequence[InvBlock]

    def __init__(self, config: ModelConfig, index: int, inputs: int, kept: int) -> None:
        super().__init__()
        blocks, features = config.of_level(index)
        block = {"residual": ResidualBlock, "dense": DenseBlock}[config.block]

        def make_block(inputs: int, outputs: int) -> nn.Module:
            return block(inputs, outputs, features, config.activation)

        split = 3 if config.split == "image" else min(kept, 3 * inputs)
        self.wavelet = Haar() if config.wavelet == "haar" else CDF53()
        made = (InvBlock(4 * inputs, split, make_block, config.coupling, config.clamp) for _ in range(blocks))
        self.blocks = cast("Sequence[InvBlock]", nn.ModuleList(made))
        self.sizes = [kept, 4 * inputs - kept]

    def forward(self, x: Tensor) -> Tensor:
        x = self.wavelet(x)
        for block in self.blocks:
            x = block(x)
        return x

    def inverse(self, u: Tensor) -> Tensor:
        for block in reversed(self.blocks):
            u = block.inverse(u)
        return self.wavelet.inverse(u)


class BDFlow(nn.Module):
    """The network of Section 3: ``n`` levels for a scale of ``2^n``, invertible as a whole.

    After the last level the first 3 channels are Y (the small picture), the next is B (the boundary
    map, unless the model has none) and the rest is Z (what no file stores). Channels that a level drops
    early (``ModelConfig.kept``) are folded to the grid of Y, so Z is one tensor in every configuration.
    """

    levels: Sequence[Level]

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.has_boundary = config.boundary_bits > 0 and config.extra == "boundary"
        levels, channels = [], 3
        for index in range(config.levels):
            last = index == config.levels - 1
            # The last level drops nothing: Y, B and Z are told apart after it.
            kept = 4 * channels if last or not config.kept else config.kept[index]
            levels.append(Level(config, index, channels, kept))
            channels = kept
        self.levels = cast("Sequence[Level]", nn.ModuleList(levels))

    @property
    def latent_channels(self) -> int:
        """Channels of Z: 3 * 4^n less those of Y and B."""
        return 3 * self.config.scale**2 - 3 - self.has_boundary

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Downscale.

        Args:
            x: ``(N, 3, H, W)`` in [0, 1]; H and W multiples of the scale.

        Returns:
            Y ``(N, 3, h, w)``, B ``(N, 1, h, w)`` or None, Z ``(N, latent_channels, h, w)``, where h and
            w are H and W over the scale. None of them is rounded or clipped.
        """
        dropped = []
        for index, level in enumerate(self.levels):
            u = level(x)
            x, rest = torch.split(u, level.sizes, dim=1)
            if rest.shape[1]:
                dropped.append(pixel_unshuffle(rest, 2 ** (len(self.levels) - 1 - index)))
        boundary = x[:, 3:4] if self.has_boundary else None
        latent = torch.cat((x[:, 3 + self.has_boundary :], *dropped), dim=1)
        return x[:, :3], boundary, latent

    def inverse(self, y: Tensor, boundary: Tensor | None = None, latent: Tensor | None = None) -> Tensor:
        """Restore: the exact inverse of :meth:`forward` on the same Y, B, Z.

        Args:
            y: ``(N, 3, h, w)``.
            boundary: ``(N, 1, h, w)``; None stands for an empty map.
            latent: ``(N, latent_channels, h, w)``; None stands for Z = 0, the mode of its prior.

        Returns:
            ``(N, 3, H, W)``, not clipped.
        """
        n, _, h, w = y.shape
        if latent is None:
            latent = y.new_zeros(n, self.latent_channels, h, w)
        parts = [y]
        if self.has_boundary:
            parts.append(y.new_zeros(n, 1, h, w) if boundary is None else boundary)
        folded = [level.sizes[1] * 4 ** (len(self.levels) - 1 - i) for i, level in enumerate(self.levels)]
        sizes = [self.latent_channels - sum(folded), *(f for f in folded if f)]
        last, *dropped = torch.split(latent, sizes, dim=1)
        x = torch.cat((*parts, last), dim=1)
        for index, level in reversed(list(enumerate(self.levels))):
            if level.sizes[1]:
                rest = pixel_shuffle(dropped.pop(), 2 ** (len(self.levels) - 1 - index))
                x = torch.cat((x, rest), dim=1)
            x = level.inverse(x)
        return x


Network: TypeAlias = BDFlow | HCFlow | TAR


def build(config: ModelConfig) -> Network:
    """The network that ``config`` describes, untrained."""
    networks: dict[str, type[Network]] = {"bdflow": BDFlow, "hcflow": HCFlow, "tar": TAR}
    return networks[config.network](config)


def extends(config: ModelConfig, coarse: ModelConfig) -> bool:
    """Whether a network is that of ``coarse`` behind finer levels, the last of which hands on 3 channels."""
    more = config.levels - coarse.levels
    if config.network != "bdflow" or more <= 0 or len(config.kept) < more or config.kept[more - 1] != 3:
        return False
    same = all(config.of_level(more + index) == coarse.of_level(index) for index in range(coarse.levels))
    return same and coarse == msgspec.structs.replace(
        config, scale=coarse.scale, blocks=coarse.blocks, features=coarse.features, kept=config.kept[more:]
    )


def graft(weights: Mapping[str, Tensor], more: int) -> dict[str, Tensor]:
    """Name the weights of a network as those of the coarse levels of one that :func:`extends` it.

    An untrained level is a bare wavelet, so the larger network begins as the smaller one on pictures that are
    shrunk by averaging.
    """
    split = ((key.split(".", 2), value) for key, value in weights.items())
    return {f"levels.{int(level) + more}.{rest}": value for (_, level, rest), value in split}


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


def quantize(x: Tensor, levels: int | Tensor) -> Tensor:
    """Clip ``x`` to [0, 1] and round it to ``levels`` even steps; the gradient passes straight through.

    Except where it would drive a clipped value further out. That changes nothing that is stored, yet under
    it Y runs away in white and black parts of pictures, and its way back drowns out all else.
    """
    rounded: Tensor = _Quantize.apply(x, levels)  # type: ignore[no-untyped-call]
    return rounded


class _Quantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: int | Tensor) -> Tensor:
        ctx.save_for_backward(x)
        levels = levels.to(x.device) if isinstance(levels, Tensor) else levels
        return (x.clamp(0, 1) * (levels - 1)).round() / (levels - 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        outwards = ((x > 1) & (gradient < 0)) | ((x < 0) & (gradient > 0))
        return gradient.masked_fill(outwards, 0), None


def levels_of_y(config: ModelConfig) -> int | Tensor:
    """How finely Y is stored: 256 levels, or with further bits of green ``(3, 1, 1)`` of them."""
    if config.extra == "boundary":
        return 256
    return torch.tensor([256, (255 << config.boundary_bits) + 1, 256]).reshape(3, 1, 1)


def paper_sizes() -> Iterator[tuple[str, int, int, int]]:
    """The networks of Table 2, counted: name, scale, parameters, multiply-adds at 128x128."""
    for scale in (8, 16, 32, 64):
        bdflow = ModelConfig(scale=scale, blocks=4 if scale == 8 else 2)
        irn = ModelConfig(scale=scale, blocks=8, block="dense", features=32, boundary_bits=0)
        for name, config in (("BDFlow", bdflow), ("IRN", irn)):
            with torch.device("meta"):
                model = BDFlow(config)
            yield name, scale, count_parameters(model), count_multiply_adds(model)
