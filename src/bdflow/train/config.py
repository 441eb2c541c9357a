"""Every hyper-parameter, in frozen structures: read from TOML, saved in run folders and in the weights."""

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from bdflow.errors import BDFlowError
from bdflow.networks.config import NetworkConfig
from bdflow.networks.restoration import RestorationConfig
from bdflow.train.config_restoration import CropConfig, Frozen, PairsConfig, RestorationLossConfig
from bdflow.zoo import RESTORATION

Kind = TypeVar("Kind", bound=Frozen)


class MaskConfig(Frozen, frozen=True):
    """Algorithm 1, the boundary-aware mask. `threshold` is on the 0..255 scale of Sobel magnitudes."""

    sigma: float = 1.0
    magnitude: Literal["1-norm", "2-norm", "max-norm"] = "2-norm"
    suppress: bool = True
    threshold: float = 50.0


class LossConfig(Frozen, frozen=True):
    """Weights of Eq. 7-11 (the paper's by default; every norm is a mean over elements).

    `weight_from` is alpha of Eq. 4: the share of training after which B_s weights the pixels (1: never).
    `lpips_from` is the share after which LPIPS joins; `squares_from` that after which squares of errors
    take the place of `backward_norm` (ours: PSNR asks for squares, but l1 learns faster; None: never).
    `sample_sigma` is the spread of the Z that the backward pass draws; 0 restores from Z = 0 as the shipped
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
    """Crops of pictures. `cache_gb` bounds the memory that decoded pictures may take.

    `sides`: every picture is first shrunk to a shorter side drawn between these two (never enlarged).
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

    `minutes`: train for so long instead of for `steps`, all schedules fitted to it. Networks of unequal
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
        command: Where it is not `bdflow train configs/NAME.toml`.
    """

    data: str = "not described"
    history: str = ""
    limits: str = "not described"
    command: str = ""


class TrainConfig(Frozen, frozen=True):
    """One training run.

    `plane`: what the plane of `model.boundary_bits` holds: B, or, in a control of the boundary study,
    further bits of Y's green (`bdflow.train.green`).
    """

    name: str
    card: CardConfig = CardConfig()
    model: NetworkConfig = NetworkConfig()
    mask: MaskConfig = MaskConfig()
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    optim: OptimConfig = OptimConfig()
    plane: Literal["boundary", "green"] = "boundary"
    validate_every: int = 500
    save_every: int = 250

    def __post_init__(self) -> None:
        if self.data.crop % self.model.scale:
            raise ValueError(f"crop {self.data.crop} must be a multiple of the scale {self.model.scale}")
        if self.data.sides and not self.data.crop <= self.data.sides[0] <= self.data.sides[1]:
            raise ValueError(f"sides must be two numbers in order, the crop {self.data.crop} or more")
        if self.model.network == "tar" and self.loss.sample_sigma:
            raise ValueError("network tar has no Z to draw: sample_sigma must be 0")
        if self.plane == "green" and not self.model.boundary_bits:
            raise ValueError("plane green needs boundary_bits of 1 to 3")


class RestorationOptimConfig(OptimConfig, frozen=True):
    """What a restoration network learned fastest with, in short trials."""

    optimizer: Literal["adam", "muon"] = "muon"
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int = 200
    gradient_clip: float = 1.0
    ema: float = 0.999


class RestorationTrainConfig(Frozen, frozen=True):
    """One training run of a network that restores thumbnails in ordinary codecs.

    `pairs` says what is coded beforehand, `data` what is drawn from that.
    """

    name: str
    card: CardConfig = CardConfig()
    model: RestorationConfig = RestorationConfig()
    pairs: PairsConfig = PairsConfig()
    data: CropConfig = CropConfig()
    loss: RestorationLossConfig = RestorationLossConfig()
    optim: RestorationOptimConfig = RestorationOptimConfig()
    validate_every: int = 1000
    save_every: int = 250

    def __post_init__(self) -> None:
        if 8 * self.data.crop > 7 * self.pairs.view:  # the least side of a view that shows the whole picture
            raise ValueError(f"crop {self.data.crop} is larger than 7/8 of its view {self.pairs.view}")
        if not any(self.data.shares.get(domain) for domain in self.pairs.domains):
            raise ValueError(f"shares: none of {', '.join(self.pairs.domains)} is above 0")


Config: TypeAlias = TrainConfig | RestorationTrainConfig


def load_config(path: str | Path) -> Config:
    """Read a TOML file; a wrong key, type or value gives one line that names it.

    `model.network` decides which of the structures it is.
    """
    config: Config = _read(Path(path), None)
    return config


def read_toml(path: Path, kind: type[Kind]) -> Kind:
    """Read any of the frozen structures; a fault gives one line that names it."""
    structure = _read(path, kind)
    assert isinstance(structure, kind)
    return structure


def _read(path: Path, kind: type[Frozen] | None) -> Any:
    try:
        tree = tomllib.loads(path.read_text())
        return _convert(tree, kind or _kind(tree))
    except OSError as error:
        raise BDFlowError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BDFlowError(f"{path}: {error}") from None


def _kind(tree: Mapping[str, Any]) -> type[Config]:
    model = tree.get("model")
    restores = isinstance(model, Mapping) and model.get("network") == RESTORATION
    return RestorationTrainConfig if restores else TrainConfig


def read_saved(tree: Mapping[str, Any]) -> Config:
    """The configuration in a run folder, in weights or in results, of this release or an earlier one.

    Raises:
        BDFlowError: It has settings that this release does not know.
    """
    model = dict(tree["model"])
    saved = {**tree, "model": model}
    if _kind(tree) is TrainConfig:
        # Until the network was apart from the control of one study, the model's `extra` said it.
        saved["plane"] = tree.get("plane") or model.pop("extra", "boundary")
    try:
        kind: type[Config] = _kind(tree)
        config: Config = _convert(saved, kind)
        return config
    except msgspec.ValidationError as error:
        raise BDFlowError(f"a configuration that this release of bdflow cannot read: {error}") from None


def _convert(tree: Any, kind: type[Kind]) -> Kind:
    """Plain dictionaries as a structure; msgspec alone would pass over unknown names of the model's."""
    if issubclass(kind, TrainConfig | RestorationTrainConfig) and isinstance(tree.get("model"), Mapping):
        network = NetworkConfig if issubclass(kind, TrainConfig) else RestorationConfig
        for name in tree["model"].keys() - {setting.name for setting in dataclasses.fields(network)}:
            raise msgspec.ValidationError(f"Object contains unknown field `{name}` - at `$.model`")
    return msgspec.convert(tree, kind)


def parse_setting(text: str) -> tuple[str, Any]:
    """`data.crop=96` to `("data.crop", 96)`. The value is TOML, or else a plain word."""
    name, equals, value = text.partition("=")
    if not equals:
        raise BDFlowError(f"{text}: write a setting as NAME=VALUE, such as data.crop=96")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


Configured = TypeVar("Configured", bound=TrainConfig | RestorationTrainConfig)


def override(config: Configured, changes: Mapping[str, Any]) -> Configured:
    """Another configuration, with some fields replaced.

    Args:
        changes: New values by dotted names, such as `optim.learning_rate`.

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
        return _convert(tree, type(config))
    except msgspec.ValidationError as error:
        raise BDFlowError(f"{', '.join(changes)}: {error}") from None


def to_dict(config: Frozen | NetworkConfig | RestorationConfig) -> dict[str, Any]:
    """Plain dictionaries, lists and numbers, ready for JSON."""
    result: dict[str, Any] = msgspec.to_builtins(config)
    return result
