"""The network behind an ordinary codec: it restores a photograph from its thumbnail's plain enlargement.

One network for every codec, quality, factor and domain. It sees the enlargement at the photograph's size, in
cells of 4x4 pixels, and adds what is missing: first residual blocks on the grid of the cells, then more of
them on a grid half as fine, with a path past these, then the first kind again. What is known of the file
(`bdflow.runtime.enhancer.describe`) scales and shifts the channels of each block; with these folded into its
kernels, it is nothing but convolutions. No normalisation and no pooling over the picture: a tile that sees
`reach` pixels around is restored exactly.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdflow.networks.facts import UP, Facts
from bdflow.networks.stored import TOP, to_levels

CELL = 4  # pixels each way
GRID = 2 * CELL  # a picture's sides are multiples of it


@dataclass(frozen=True, kw_only=True, slots=True)  # without slots, msgspec would leave defaults unset
class RestorationConfig:
    """The network.

    Attributes:
        width: Channels on the grid of the cells.
        deep: Channels on the grid half as fine.
        before, middle, after: Residual blocks on the first grid, the second, and the first again.
        facts: Numbers that are known of a file; see `bdflow.runtime.enhancer.describe`.
        embedding: Channels that these become, from which each block takes its scales and shifts.

    Raises:
        ValueError: One of them is not positive.
    """

    network: Literal["restoration"] = "restoration"
    width: int = 64
    deep: int = 128
    before: int = 3
    middle: int = 6
    after: int = 3
    facts: int = 9
    embedding: int = 64

    def __post_init__(self) -> None:
        for name in ("width", "deep", "before", "middle", "after", "facts", "embedding"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1 on, not {value!r:.40}")


class Block(nn.Module):
    """Two 3x3 convolutions beside a straight path; what is known of the file acts between them."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.condition = nn.Linear(embedding, 2 * channels)
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)
        with torch.no_grad():  # near the identity at first, however many blocks there are
            self.second.weight.mul_(0.2)
            nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """`x` (N, channels, h, w), and what is known (N, embedding)."""
        scale, shift = self.condition(embedded)[:, :, None, None].chunk(2, dim=1)
        inner = functional.leaky_relu(self.first(x) * (1 + scale) + shift, 0.1)
        refined: Tensor = x + self.second(inner)
        return refined


class Restoration(nn.Module):
    """See above. It has no way down: an ordinary thumbnail is that."""

    def __init__(self, config: RestorationConfig) -> None:
        super().__init__()
        self.config = config
        width, deep, embedding = config.width, config.deep, config.embedding
        self.embed = nn.Sequential(
            nn.Linear(config.facts, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.head = nn.Conv2d(3 * CELL**2, width, 3, padding=1)
        self.before = nn.ModuleList(Block(width, embedding) for _ in range(config.before))
        self.down = nn.Conv2d(width, deep, 2, stride=2)
        self.middle = nn.ModuleList(Block(deep, embedding) for _ in range(config.middle))
        self.up = nn.Conv2d(deep, 4 * width, 1)
        self.after = nn.ModuleList(Block(width, embedding) for _ in range(config.after))
        self.tail = nn.Conv2d(width, 3 * CELL**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)  # the plain enlargement at first
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    @property
    def facts(self) -> Facts:
        """What the runtime must know of it."""
        config = self.config
        cells = 2 + 2 * config.before + 2 * config.after  # 3x3 convolutions in a row
        reach = CELL * cells + GRID * (2 * config.middle + 1)
        return Facts("Restoration", reach, 0, (UP,))

    def forward(self, plain: Tensor, known: Tensor) -> Tensor:
        """Restore.

        Args:
            plain: The enlargement (N, 3, H, W) in [0, 1]; H and W multiples of `GRID`.
            known: What is known of the file (N, facts).

        Returns:
            The photograph (N, 3, H, W), not clipped.
        """
        embedded = self.embed(known)
        x = self.head(functional.pixel_unshuffle(plain - 0.5, CELL))
        for block in self.before:
            x = block(x, embedded)
        inner = self.down(x)
        for block in self.middle:
            inner = block(inner, embedded)
        x = x + functional.pixel_shuffle(self.up(inner), 2)
        for block in self.after:
            x = block(x, embedded)
        return plain + functional.pixel_shuffle(self.tail(x), CELL).float()


class Restore(nn.Module):
    """What `up.onnx` computes: the uint8 enlargement and what is known of the file, to a uint8 picture."""

    def __init__(self, model: Restoration) -> None:
        super().__init__()
        self.model = model

    def forward(self, plain: Tensor, known: Tensor) -> Tensor:
        """`plain` (N, 3, H, W) uint8, `known` (N, facts)."""
        return to_levels(self.model(plain.float() / TOP, known), TOP)


def multiply_adds(config: RestorationConfig) -> float:
    """Multiply-adds of the convolutions, per pixel of the photograph."""
    width, deep, sides = config.width, config.deep, 3 * CELL**2
    first = 2 * 9 * sides * width + (config.before + config.after) * 2 * 9 * width**2
    second = 4 * width * deep + 4 * width * deep + config.middle * 2 * 9 * deep**2
    return first / CELL**2 + second / GRID**2
