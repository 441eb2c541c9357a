"""Every hyper-parameter, in frozen structures: read from TOML, saved in run folders and in the weights."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from bdflow.container import SCALES
from bdflow.errors import BDFlowError

Activation = Literal["leaky_relu", "silu", "gelu"]


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, keyword-only, and strict about names."""


Kind = TypeVar("Kind", bound=Frozen)


class ModelConfig(Frozen, frozen=True):
    """The network. The defaults are the paper's; ``scale`` and ``blocks`` tell its four models apart.

    The rivals take ``scale``, ``blocks``, ``features`` and, where they have a Z, ``latent_variance``; what
    else is set for them is refused, and ``boundary_bits`` must be 0.

    Attributes:
        network: BDFlow (IRN is one, of dense blocks); HCFlow and TAR are its rivals, in files of their names.
        scale: How many times smaller each way, a power of two up to 64: what a small file can tell.
        blocks: InvBlocks a level; one number for all levels or one for each, finest level first. Of HCFlow:
            unconditional flow steps; of TAR: residual blocks each way.
        features: Width of phi, rho and eta; likewise. With dense blocks, their growth. Of HCFlow: channels
            of its condition; of TAR: channels. Both divide it by 4.
        kept: Channels that go on after each level but the last, finest first; the others join Z.
            Empty: all go on, as in the paper.
        split: Channels of u1 in every InvBlock: the 3 of the image (paper), or all that are kept.
        block: Residual blocks of three convolutions (paper) or IRN's dense blocks of five.
        activation: Between the convolutions; leaky ReLU (slope 0.2) is IRN's.
        coupling: ``additive``: u1 + phi(u2), Eq. 1 and IRN; ``affine``: as printed in Eq. 6.
        wavelet: What halves the picture at each level.
        clamp: Scales are exp(clamp * (2 sigmoid(r) - 1)), so they are never zero.
        boundary_bits: Bits of a sample of B, 1 to 3; 0 drops B (its channel joins Z).
        extra: What the plane of ``boundary_bits`` holds: B, or (a control) so many further bits of Y's green.
        latent_variance: sigma^2 of the prior of Z.
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
    extra: Literal["boundary", "green"] = "boundary"
    latent_variance: float = 0.2

    def __post_init__(self) -> None:
        if self.network != "bdflow":
            self._check_rival()
        if self.scale not in SCALES:
            raise ValueError(f"scale must be a power of two from 2 to {max(SCALES)}, not {self.scale}")
        if not 0 <= self.boundary_bits <= 3:
            raise ValueError(f"boundary_bits must be 0 to 3, not {self.boundary_bits}")
        if self.extra == "green" and not self.boundary_bits:
            raise ValueError("extra green needs boundary_bits of 1 to 3")
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
        for name, default in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            if name in foreign and getattr(self, name) != default:
                raise ValueError(f"network {self.network} has no {name}: leave it out")
        widths = self.features if isinstance(self.features, tuple) else (self.features,)
        if any(width < 4 or width % 4 for width in widths):
            raise ValueError(f"network {self.network} needs features that are multiples of 4")

    @property
    def levels(self) -> int:
        """n of scale = 2^n."""
        return self.scale.bit_length() - 1

    def of_level(self, index: int) -> tuple[int, int]:
        """``blocks`` and ``features`` of a level; 0 is the finest."""
        blocks = self.blocks if isinstance(self.blocks, int) else self.blocks[index]
        return blocks, self.features if isinstance(self.features, int) else self.features[index]


class MaskConfig(Frozen, frozen=True):
    """Algorithm 1, the boundary-aware mask. ``threshold`` is on the 0..255 scale of Sobel magnitudes."""

    sigma: float = 1.0
    magnitude: Literal["1-norm", "2-norm", "max-norm"] = "2-norm"
    suppress: bool = True
    threshold: float = 50.0


class LossConfig(Frozen, frozen=True):
    """Weights of Eq. 7-11 (the paper's by default; every norm is a mean over elements).

    ``weight_from`` is alpha of Eq. 4: the share of training after which B_s weights the pixels (1: never).
    ``lpips_from`` is the share after which LPIPS joins; ``squares_from`` that after which squares of errors
    take the place of ``backward_norm`` (ours: PSNR asks for squares, but l1 learns faster; None: never).
    ``sample_sigma`` is the spread of the Z that the backward pass draws; 0 restores from Z = 0 as the shipped
    models do.
    """

    forward: float = 2.0
    backward: float = 2.0
    lpips: float = 1.0
    boundary: float = 16.0
    latent: float = 4.0
    backward_norm: Literal["l1", "l2"] = "l1"
    weight_from: float = 0.3
    lpips_from: float = 0.0
    squares_from: float | None = None
    sample_sigma: float = 0.0


class DataConfig(Frozen, frozen=True):
    """Crops of pictures. ``cache_gb`` bounds the memory that decoded pictures may take.

    ``sides``: every picture is first shrunk to a shorter side drawn between these two (never enlarged).
    None takes pictures as they are.
    """

    crop: int = 144
    sides: tuple[int, int] | None = None
    batch_size: int = 16
    flip: bool = True
    rotate: bool = False
    validation: int = 8
    validation_size: int = 512
    exclude: tuple[str, ...] = ()
    cache_gb: float = 4.0


class OptimConfig(Frozen, frozen=True):
    """Adam and cosine, as in the paper; Muon, steps, warm-up, clipping and averaging are ours.

    ``minutes``: train for so long instead of for ``steps``, all schedules fitted to it. Networks of unequal
    speed are compared so; but a rerun is no longer equal bit for bit.
    """

    optimizer: Literal["adam", "muon"] = "adam"
    steps: int = 500_000
    minutes: float | None = None
    learning_rate: float = 2e-4
    final_learning_rate: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 0
    gradient_clip: float = 10.0
    ema: float = 0.0
    seed: int = 0


class CardConfig(Frozen, frozen=True):
    """What the model card says that no program can know.

    Attributes:
        command: Where it is not ``bdflow train configs/NAME.toml``.
    """

    data: str = "not described"
    history: str = ""
    limits: str = "not described"
    command: str = ""


class TrainConfig(Frozen, frozen=True):
    """One training run."""

    name: str
    card: CardConfig = CardConfig()
    model: ModelConfig = ModelConfig()
    mask: MaskConfig = MaskConfig()
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    validate_every: int = 500
    save_every: int = 250

    def __post_init__(self) -> None:
        if self.data.crop % self.model.scale:
            raise ValueError(f"crop {self.data.crop} must be a multiple of the scale {self.model.scale}")
        if self.data.sides and not self.data.crop <= self.data.sides[0] <= self.data.sides[1]:
            raise ValueError(f"sides must be two numbers in order, the crop {self.data.crop} or more")
        if self.model.network == "tar" and self.loss.sample_sigma:
            raise ValueError("network tar has no Z to draw: sample_sigma must be 0")


def load_config(path: str | Path) -> TrainConfig:
    """Read a TOML file; a wrong key, type or value gives one line that names it."""
    return read_toml(Path(path), TrainConfig)


def read_toml(path: Path, kind: type[Kind]) -> Kind:
    """Read any of the frozen structures; a fault gives one line that names it."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), kind)
    except OSError as error:
        raise BDFlowError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BDFlowError(f"{path}: {error}") from None


def parse_setting(text: str) -> tuple[str, Any]:
    """``data.crop=96`` to ``("data.crop", 96)``. The value is TOML, or else a plain word."""
    name, equals, value = text.partition("=")
    if not equals:
        raise BDFlowError(f"{text}: write a setting as NAME=VALUE, such as data.crop=96")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def override(config: TrainConfig, changes: Mapping[str, Any]) -> TrainConfig:
    """Another configuration, with some fields replaced.

    Args:
        changes: New values by dotted names, such as ``optim.learning_rate``.

    Raises:
        BDFlowError: There is no such field, or the value does not fit it.
    """
    tree = to_dict(config)
    for name, value in changes.items():
        *path, last = name.split(".")
        node: Any = tree
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            raise BDFlowError(f"{name}: there is no such setting; see configs/ for their names")
        node[last] = value
    try:
        return msgspec.convert(tree, TrainConfig)
    except msgspec.ValidationError as error:
        raise BDFlowError(f"{', '.join(changes)}: {error}") from None


def to_dict(config: Frozen) -> dict[str, Any]:
    """Plain dictionaries, lists and numbers, ready for JSON."""
    result: dict[str, Any] = msgspec.to_builtins(config)
    return result
