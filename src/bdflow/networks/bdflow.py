"""BDFlow: a picture to a small picture, a boundary map and a latent, and back."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from bdflow.networks import facts
from bdflow.networks.config import NetworkConfig
from bdflow.networks.flow import DenseBlock, InvBlock, ResidualBlock
from bdflow.networks.network import Network
from bdflow.networks.wavelets import CDF53, Haar


class Level(nn.Module):
    """One halving: a wavelet, then InvBlocks on all its channels. The first `kept` channels go on."""

    wavelet: Haar | CDF53
    blocks: Sequence[InvBlock]

    def __init__(self, config: NetworkConfig, index: int, inputs: int, kept: int) -> None:
        super().__init__()
        blocks, features = config.of_level(index)
        block = {"residual": ResidualBlock, "dense": DenseBlock}[config.block]

        def make_block(inputs: int, outputs: int) -> nn.Module:
            return block(inputs, outputs, features, config.activation)

        split = 3 if config.split == "image" else min(kept, 3 * inputs)
        self.wavelet = Haar() if config.wavelet == "haar" else CDF53()
        inv_blocks = (
            InvBlock(4 * inputs, split, make_block, config.coupling, config.clamp) for _ in range(blocks)
        )
        self.blocks = cast("Sequence[InvBlock]", nn.ModuleList(inv_blocks))
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


class BDFlow(Network):
    """The network of Section 3: `n` levels for a scale of `2^n`, invertible as a whole.

    After the last level the first 3 channels are Y (the small picture), the next is B (the boundary
    map, unless the model has none) and the rest is Z (what no file stores). Channels that a level drops
    early (`NetworkConfig.kept`) are folded to the grid of Y, so Z is one tensor in every configuration.
    """

    levels: Sequence[Level]

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config, self.facts = config, facts.bdflow(config)
        self.has_boundary = config.boundary_bits > 0
        levels, channels = [], 3
        for index in range(config.levels):
            last = index == config.levels - 1
            # The last level drops nothing: Y, B and Z are told apart after it.
            kept = 4 * channels if last or not config.kept else config.kept[index]
            levels.append(Level(config, index, channels, kept))
            channels = kept
        self.levels = cast("Sequence[Level]", nn.ModuleList(levels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Downscale; see `Network.forward`."""
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
        """Restore, exactly; see `Network.inverse`."""
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
