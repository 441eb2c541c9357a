"""What a network that restores coded thumbnails learns from: views, codings, crops, loss."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bdflow.smallfile.thumbnail import DOMAINS, FACTORS, FORMATS

_LEARNED = [name for name in DOMAINS if name != "plain"]


class Frozen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Immutable, keyword-only, and strict about names."""


class FactorConfig(Frozen, frozen=True):
    """How often a factor is drawn, relative to the others, and with which qualities of the codec."""

    factor: float
    weight: float
    qualities: tuple[int, int]

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise ValueError(
                f"a factor is one of {', '.join(f'{each:g}' for each in FACTORS)}, not {self.factor:g}"
            )
        if self.weight <= 0:
            raise ValueError(f"the weight of a factor must be above 0, not {self.weight:g}")
        low, high = self.qualities
        if not 0 < low <= high <= 100:
            raise ValueError(f"qualities must be two numbers in order, 1 to 100, not {low} and {high}")


def _factor(factor: float, weight: float, low: int, high: int) -> FactorConfig:
    return FactorConfig(factor=factor, weight=weight, qualities=(low, high))


# A larger thumbnail is coded more coarsely: so each factor meets the bytes at which it can be the best.
_FACTORS = (
    _factor(1, 0.14, 5, 80),
    _factor(1.5, 0.12, 8, 75),
    _factor(2, 0.2, 8, 80),
    _factor(3, 0.17, 12, 88),
    _factor(4, 0.15, 15, 92),
    _factor(6, 0.09, 20, 95),
    _factor(8, 0.07, 25, 96),
    _factor(12, 0.03, 30, 97),
    _factor(16, 0.03, 35, 98),
)


def _default(value: Any) -> Any:
    return msgspec.field(default_factory=lambda: value.copy())


class PairsConfig(Frozen, frozen=True):
    """Views of pictures, each coded beforehand at several qualities and factors; see `bdflow.train.pairs`.

    A change of any of these needs another cache, but of `cache_gb`.

    Attributes:
        domains: Each domain's folder of pictures, below one that `--data` names; or that folder itself.
        exclude: Patterns of names that are left out.
        hold_out: One of so many pictures is kept for validation; 0 keeps none.
        views: Views of each picture.
        view: Sides of a view in pixels, a multiple of 8, or as many as the picture has.
        longest: The picture is first shrunk to a shorter side between `view` and this.
        whole: Share of a domain's views that show nearly the whole picture instead: its shorter side is
            within an eighth of `view`.
        native: Share of them that are cut from the picture as large as it is, up to `longest`.
        codings: Files of each view.
        formats: How often each format is drawn, relative to the others.
        for_eye: Share of the AVIF files that are tuned for the eye, which spends bits elsewhere.
        factors: What they are shrunk by.
        seed: Of all these draws.
        cache_gb: The cache takes at most so many gigabytes; views that do not fit are not made.
    """

    domains: dict[str, str] = _default({"portraits": "portraits", "photos": "photos"})
    exclude: tuple[str, ...] = ()
    hold_out: int = 40
    views: int = 8
    view: int = 512
    longest: int = 1400
    whole: dict[str, float] = _default({"portraits": 0.3})
    native: dict[str, float] = _default({"portraits": 0.5, "photos": 0.3})
    codings: int = 6
    formats: dict[str, float] = _default({"AVIF": 0.72, "WebP": 0.2, "JPEG": 0.08})
    for_eye: float = 0.12
    factors: tuple[FactorConfig, ...] = _FACTORS
    seed: int = 0
    cache_gb: float = 8.0

    def __post_init__(self) -> None:
        for name in ("views", "view", "codings", "cache_gb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.view % 8:
            raise ValueError(f"view {self.view} must be a multiple of 8")
        if self.longest < self.view:
            raise ValueError(f"longest {self.longest} must be the view {self.view} or more")
        if not self.domains:
            raise ValueError("domains: name at least one")
        _check_names("domains", self.domains, _LEARNED)
        _check_names("whole", self.whole, _LEARNED)
        _check_names("native", self.native, _LEARNED)
        _check_names("formats", self.formats, FORMATS)
        if self.hold_out < 0 or self.hold_out == 1:
            raise ValueError(f"hold_out must be 0, or 2 or more, not {self.hold_out}")
        _check_weights("formats", self.formats)
        if not self.factors:
            raise ValueError("factors: name at least one")


class CropConfig(Frozen, frozen=True):
    """Crops of the views.

    Attributes:
        crop: Sides in pixels, a multiple of 8.
        batch_size: Of one process.
        shares: How often each domain is drawn, relative to the others.
        unknown: Share of the crops whose file is taken to hide its quality; of half of these, its
            codec, too.
        flip: Half of the crops are mirrored from left to right.
        turned: Domains of which half of the crops are turned by 0, 90, 180 or 270 degrees.
    """

    crop: int = 256
    batch_size: int = 8
    shares: dict[str, float] = _default({"portraits": 0.55, "photos": 0.45})
    unknown: float = 0.1
    flip: bool = True
    turned: tuple[str, ...] = ("photos",)

    def __post_init__(self) -> None:
        if self.crop < 8 or self.crop % 8:
            raise ValueError(f"crop {self.crop} must be a multiple of 8")
        if not 0 <= self.unknown <= 1:
            raise ValueError(f"unknown must be 0 to 1, not {self.unknown:g}")
        _check_names("shares", self.shares, _LEARNED)
        _check_names("turned", self.turned, _LEARNED)
        _check_weights("shares", self.shares)


class RestorationLossConfig(Frozen, frozen=True):
    """Weights of the loss.

    Attributes:
        luma, rgb: Of the mean squared error of luma (BT.601) and of that of RGB, both in decibels.
        lpips: Of LPIPS on VGG16, for networks for the eye: so many decibels is a distance of 1 worth.
    """

    luma: float = 0.65
    rgb: float = 0.35
    lpips: float = 0.0


def _check_names(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{what}: {name} is none of {', '.join(known)}")


def _check_weights(what: str, weights: Mapping[str, float]) -> None:
    if any(weight < 0 for weight in weights.values()) or not sum(weights.values()) > 0:
        raise ValueError(f"{what} must be numbers from 0 on, and one above 0")
