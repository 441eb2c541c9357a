"""What a network is made of, in one frozen structure that the standard library alone can check."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from bdflow.pictures.limits import SCALES

Activation = Literal["leaky_relu", "silu", "gelu"]

# Settings that weights of earlier releases name, each with the one value that networks of today have.
_RETIRED = {"extra": "boundary"}
_NAMED = ("scale", "blocks", "features")  # by weights of every release: a default would be another network


@dataclass(frozen=True, kw_only=True, slots=True)  # without slots, msgspec would leave defaults unset
class NetworkConfig:
    """The network. The defaults are the paper's; `scale` and `blocks` tell its four models apart.

    The rivals take `scale`, `blocks`, `features` and, where they have a Z, `latent_variance`; what
    else is set for them is refused, and `boundary_bits` must be 0.

    Attributes:
        network: BDFlow (IRN is one, of dense blocks); HCFlow and TAR are its rivals, in files of their names.
        scale: How many times smaller each way, a power of two up to 64: what a small file can tell.
        blocks: InvBlocks per level; one number for all levels or one for each, finest level first. Of HCFlow:
            unconditional flow steps; of TAR: residual blocks each way.
        features: Width of phi, rho and eta; likewise. With dense blocks, their growth. Of HCFlow: channels
            of its condition; of TAR: channels. Both divide it by 4.
        kept: Channels that go on after each level but the last, finest first; the others join Z.
            Empty: all go on, as in the paper.
        split: Channels of u1 in every InvBlock: the 3 of the image (paper), or all that are kept.
        block: Residual blocks of three convolutions (paper) or IRN's dense blocks of five.
        activation: Between the convolutions; leaky ReLU (slope 0.2) is IRN's.
        coupling: `additive`: u1 + phi(u2), Eq. 1 and IRN; `affine`: as printed in Eq. 6.
        wavelet: What halves the picture at each level.
        clamp: Scales are exp(clamp * (2 sigmoid(r) - 1)), so they are never zero.
        boundary_bits: Bits of a sample of B, 1 to 3; 0 drops B (its channel joins Z).
        latent_variance: sigma^2 of the prior of Z.

    Raises:
        ValueError: There is no such network.
    """

    network: Literal["bdflow", "hcflow", "tar"] = "bdflow"
    scale: int = 8
    blocks: int | tuple[int, ...] = 2
    features: int | tuple[int, ...] = 64
    kept: tuple[int, ...] = ()
    split: Literal["image", "kept"] = "image"
    block: Literal["residual", "dense"] = "residual"
    activation: Activation = "leaky_relu"
    coupling: Literal["additive", "affine"] = "additive"
    wavelet: Literal["haar", "cdf53"] = "haar"
    clamp: float = 1.0
    boundary_bits: int = 1
    latent_variance: float = 0.2

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration that the metadata of weights hold, in dictionaries, lists and numbers.

        Raises:
            ValueError: A setting is not known or left out, or its value is of a wrong type; or there is no
                such network.
        """
        for name in _NAMED:
            if name not in settings:
                raise ValueError(f"it names no {name}")
        kinds, values = get_type_hints(cls), {}
        for name, value in settings.items():
            if name in _RETIRED and value == _RETIRED[name]:
                continue
            if name not in kinds:
                raise ValueError(f"unknown setting {name} = {value!r:.40}")
            try:
                values[name] = _fitted(value, kinds[name])
            except TypeError:
                raise ValueError(f"{name} cannot be {value!r:.40}") from None
        return cls(**values)

    def __post_init__(self) -> None:
        if self.network != "bdflow":
            self._check_rival()
        if self.scale not in SCALES:
            raise ValueError(f"scale must be a power of two from 2 to {max(SCALES)}, not {self.scale}")
        if not 0 <= self.boundary_bits <= 3:
            raise ValueError(f"boundary_bits must be 0 to 3, not {self.boundary_bits}")
        for name in ("blocks", "features"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != self.levels:
                raise ValueError(f"{name} needs one number for each of the {self.levels} levels")
        if self.kept and len(self.kept) != self.levels - 1:
            raise ValueError(f"kept needs {self.levels - 1} numbers: one for each level but the last")
        channels = 3
        for level, kept in enumerate(self.kept):
            if not 3 <= kept <= 4 * channels:
                raise ValueError(f"level {level} can keep 3 to {4 * channels} channels, not {kept}")
            channels = kept

    def _check_rival(self) -> None:
        if self.boundary_bits:
            raise ValueError(f"network {self.network} has no boundary map: boundary_bits must be 0")
        foreign = {"kept", "split", "block", "activation", "coupling", "wavelet", "clamp"}
        foreign |= {"latent_variance"} if self.network == "tar" else set()
        for setting in fields(self):
            if setting.name in foreign and getattr(self, setting.name) != setting.default:
                raise ValueError(f"network {self.network} has no {setting.name}: leave it out")
        widths = self.features if isinstance(self.features, tuple) else (self.features,)
        if any(width < 4 or width % 4 for width in widths):
            raise ValueError(f"network {self.network} needs features that are multiples of 4")

    @property
    def levels(self) -> int:
        """n of scale = 2^n."""
        return self.scale.bit_length() - 1

    def of_level(self, index: int) -> tuple[int, int]:
        """`blocks` and `features` of a level; 0 is the finest."""
        blocks = self.blocks if isinstance(self.blocks, int) else self.blocks[index]
        return blocks, self.features if isinstance(self.features, int) else self.features[index]


def _fitted(value: Any, kind: Any) -> Any:
    """A value from JSON as the type of a field asks for it; TypeError if it is none."""
    if isinstance(kind, UnionType):
        wanted = tuple if isinstance(value, list | tuple) else int
        kind = next(each for each in get_args(kind) if (get_origin(each) or each) is wanted)
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_fitted(each, get_args(kind)[0]) for each in value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind in (int, float) and isinstance(value, int | kind) and not isinstance(value, bool):
        return kind(value)
    raise TypeError
