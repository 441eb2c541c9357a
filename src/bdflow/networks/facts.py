"""What the runtime must know of a network that it does not build.

Each network declares its facts, `bdflow export` writes them into the metadata of the weights, and
`bdflow.zoo.Model` reads them there. Earlier weights do not tell. So the facts of the networks of that
time are computed here, without torch, and these networks declare what is computed here; a new network
declares its own beside its layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bdflow.networks.config import NetworkConfig

DOWN, SAMPLE, UP = GRAPHS = ("down", "sample", "up")


@dataclass(frozen=True)
class Facts:
    """What a network declares.

    Attributes:
        title: Its name in tables and model cards.
        reach: How far, in the photograph's pixels, a pixel can be from what it depends on, either way.
        latent_channels: Channels of Z, on the grid of the small picture; 0 where there is none.
        graphs: What it can do, of `down` (photograph to small picture), `up` (back, with Z = 0) and
            `sample` (back, with a given Z). One that only restores has `up` alone.

    Raises:
        ValueError: A fact is none.
    """

    title: str
    reach: int
    latent_channels: int
    graphs: tuple[str, ...] = GRAPHS

    def __post_init__(self) -> None:
        if not isinstance(self.title, str) or not self.title.isprintable():
            raise ValueError(f"title {self.title!r:.40}")
        for name in ("reach", "latent_channels"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} {value!r:.40}")
        if UP not in self.graphs or not set(self.graphs) <= set(GRAPHS):
            raise ValueError(f"graphs {self.graphs!r:.40}")


def read(metadata: Mapping[str, Any]) -> Facts:
    """The facts that the metadata of weights tell, or those of earlier weights.

    Raises:
        KeyError, TypeError, ValueError: They tell neither facts nor a network.
    """
    if "facts" not in metadata:
        config = NetworkConfig.of(metadata["model"])
        return {"bdflow": bdflow, "hcflow": hcflow, "tar": tar}[config.network](config)
    facts = metadata["facts"]
    return Facts(facts["title"], facts["reach"], facts["latent_channels"], tuple(facts["graphs"]))


def bdflow(config: NetworkConfig) -> Facts:
    """Z has the 3 * 4^n channels less those of Y and B."""
    # An InvBlock's inner networks follow on each other; CDF 5/3 adds one pixel, Haar none.
    block, wavelet = 2 * (5 if config.block == "dense" else 3), int(config.wavelet == "cdf53")
    return Facts(
        "IRN" if config.block == "dense" else "BDFlow",
        sum((blocks * block + wavelet) << level + 1 for level, blocks in _levels(config)),
        3 * config.scale**2 - 3 - bool(config.boundary_bits),
    )


def hcflow(config: NetworkConfig) -> Facts:
    """Z has the 3 * 4^n channels less those of Y."""

    def cells(blocks: int) -> int:
        # Flow steps of 5, a condition of 15 an RRDB, conditional steps of 2.
        return 5 * blocks + 3 + 15 * max(1, 3 * blocks // 8) + 2 * max(1, 3 * blocks // 4)

    reach = sum(cells(blocks) << level + 1 for level, blocks in _levels(config))
    return Facts("HCFlow", reach, 3 * config.scale**2 - 3)


def tar(config: NetworkConfig) -> Facts:
    """There is no Z."""
    blocks = sum((2 * blocks + 1) << level + 1 for level, blocks in _levels(config))
    # Besides there is a convolution a level on the grid twice as fine, and one on the small picture's.
    return Facts("TAR", blocks + 2 * config.scale - 1, 0)


def _levels(config: NetworkConfig) -> list[tuple[int, int]]:
    """Number and `blocks` of each level; a step on its grid is one of 2^(number + 1) pixels."""
    return [(level, config.of_level(level)[0]) for level in range(config.levels)]
