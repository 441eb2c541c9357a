"""What others printed: published.toml."""

import tomllib
from functools import cache
from pathlib import Path

import msgspec


class _Quoted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row that others printed."""


class Paper(_Quoted, frozen=True, kw_only=True):
    """Where the rows come from, and how they differ from ours."""

    source: str
    differs: str


class Quality(_Quoted, frozen=True, kw_only=True):
    """Table 1. `differs`: why a row of another task cannot be compared with ours."""

    scale: int
    method: str
    psnr: float
    ssim: float
    lpips: float
    differs: str = ""

    @property
    def label(self) -> str:
        return f"{self.method} x{self.scale}"


class Cost(_Quoted, frozen=True, kw_only=True):
    """Table 2: parameters in millions, multiply-adds in thousand millions."""

    scale: int
    method: str
    parameters: float
    multiply_adds: float
    seconds: float


class Variant(_Quoted, frozen=True, kw_only=True):
    """Tables 3 and 4, at x64."""

    variant: str
    psnr: float
    ssim: float
    lpips: float


class Stored(_Quoted, frozen=True, kw_only=True):
    """Table 5. `quality`: of a codec, which is set beside a network of `scale`."""

    scale: int
    method: str
    psnr: float
    bytes: int
    quality: int | None = None

    @property
    def label(self) -> str:
        return f"{self.method} x{self.scale}" if self.quality is None else f"{self.method} {self.quality}"


class Domain(_Quoted, frozen=True, kw_only=True):
    """Table 6: PSNR-Y and SSIM-Y of two methods on a set."""

    set: str
    scale: int
    grain: tuple[float, float]
    bdflow: tuple[float, float]


class Photos(_Quoted, frozen=True, kw_only=True):
    """PSNR-Y on Set5, Set14 and BSD100."""

    scale: int
    method: str
    parameters: float
    psnr: tuple[float, float, float]


class Published(_Quoted, frozen=True, kw_only=True):
    """All of them."""

    paper: Paper
    table1: tuple[Quality, ...]
    table2: tuple[Cost, ...]
    table3: tuple[Variant, ...]
    table4: tuple[Variant, ...]
    table5: tuple[Stored, ...]
    table6: tuple[Domain, ...]
    photos: tuple[Photos, ...]


@cache
def published() -> Published:
    """What others printed."""
    return msgspec.convert(
        tomllib.loads(Path(__file__).with_suffix(".toml").read_text()), Published, strict=True
    )
