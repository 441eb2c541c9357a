"""The structures of results files: figures picture by picture, and what says where they come from.

The tag of each is the `schema` that its file names.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from statistics import fmean, pstdev
from typing import Any

import msgspec

from bdflow.reproduce.facts import AnyFacts
from bdflow.system.environment import environment

Values = dict[str, float]
Digests = Mapping[str, Mapping[str, str]]  # of every picture, by set and name


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Versions and machine of a run; see `bdflow.system.environment.environment`."""

    bdflow: str
    commit: str | None
    python: str
    packages: dict[str, str]
    processor: str
    cores: int
    date: str

    def __post_init__(self) -> None:
        if not (self.bdflow and self.python and self.packages.get("numpy")):
            raise ValueError("no versions")

    @property
    def place(self) -> bytes:
        """All but the date."""
        return msgspec.json.encode(msgspec.structs.replace(self, date=""), order="sorted")


@cache
def here() -> Environment:
    """The environment when the run began: its code was read then, whatever is committed since."""
    return msgspec.convert(environment(), Environment)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How pictures were measured."""

    crop: int
    limit: int | None = None
    quick: bool = False
    measures: tuple[str, ...] = ()
    sigma: int | float = 0
    metrics: str = ""


class Row(msgspec.Struct, frozen=True):
    """One method on one set.

    Attributes:
        set: The set's name.
        method: What tables say.
        facts: All that decides the figures.
        count: Pictures that were measured.
        mean, spread: Over these, of what all of them were measured by.
        measures: The columns of `pictures`.
        failed: Why a picture has no figures.
        pictures: Figures by picture.
    """

    set: str
    method: str
    facts: AnyFacts
    count: int
    mean: Values
    spread: Values
    measures: tuple[str, ...]
    failed: dict[str, str]
    pictures: dict[str, tuple[int | float, ...]]

    def __post_init__(self) -> None:
        if self.count != len(self.pictures):
            raise ValueError(f"a count of {self.count} for {len(self.pictures)} pictures")
        if self.mean.keys() != self.spread.keys():
            raise ValueError("a mean without a spread")

    @classmethod
    def of(
        cls,
        set: str,
        method: str,
        facts: AnyFacts,
        pictures: Mapping[str, Values],
        failed: Mapping[str, str] | None = None,
    ) -> "Row":
        """The row of some pictures' figures."""
        every = list(pictures.values())
        names = [name for name in every[0] if all(name in values for values in every)] if every else []
        columns = {name: [values[name] for values in every] for name in names}
        return cls(
            set=set,
            method=method,
            facts=facts,
            count=len(pictures),
            mean={name: rounded(fmean(column)) for name, column in columns.items()},
            spread={name: rounded(pstdev(column)) for name, column in columns.items()},
            measures=tuple(names),
            failed=dict(failed or {}),
            pictures={
                picture: tuple(rounded(values[name]) for name in names)
                for picture, values in pictures.items()
            },
        )

    def values(self, picture: str) -> Values:
        """The figures of one of its pictures."""
        return dict(zip(self.measures, self.pictures[picture], strict=True))

    def mean_of(self, pictures: Iterable[str]) -> Values:
        """The mean over some pictures, as far as it has them."""
        figures = [self.pictures[name] for name in pictures if name in self.pictures]
        if len(figures) == self.count:
            return self.mean  # of figures that were not rounded yet
        return dict(zip(self.measures, map(fmean, zip(*figures, strict=True)), strict=False))  # perhaps none


class _Head(msgspec.Struct, kw_only=True):
    """What every results file of `reproduce` begins with.

    Attributes:
        reproduces: The table.
        environment: Where it was measured; `earlier`: where a part of it was.
        sets: Name and digest of every picture, by set.
    """

    reproduces: str
    environment: Environment
    earlier: list[Environment] = []
    sets: dict[str, dict[str, str]] = {}


class Results(_Head, kw_only=True, tag_field="schema", tag="pictures-1"):
    """A table that was measured picture by picture.

    Attributes:
        shows: What a sheet was drawn of.
    """

    settings: Settings
    rows: list[Row]
    shows: list[Any] | msgspec.UnsetType = msgspec.UNSET

    def by_set(self) -> list[tuple[str, list[Row]]]:
        """Rows with figures, by set."""
        rows = [row for row in self.rows if row.count]
        return [
            (name, [row for row in rows if row.set == name]) for name in dict.fromkeys(r.set for r in rows)
        ]


class SizeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How networks alone were timed."""

    quick: bool
    device: str
    threads: int
    torch: str
    side: int
    runs: int


class SizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What decides a network's size and seconds; `network` is its configuration."""

    device: str
    threads: int
    torch: str
    side: int
    runs: int
    network: dict[str, Any]


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """A network's size, seconds and memory."""

    mean: Values
    spread: Values
    peak_mib: int
    parameters: int
    multiply_adds: int
    method: str
    scale: int
    facts: SizeFacts
    count: int


class Sizes(_Head, kw_only=True, tag_field="schema", tag="sizes-1"):
    """Table 2."""

    settings: SizeSettings
    rows: list[Size]


class LatentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Of the histograms: `edges` is the first, the last and how many."""

    quick: bool
    edges: tuple[float, float, int]
    pixels: int
    prior_variance: float
    note: str


class LatentFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What decides a histogram."""

    source: str
    pictures: tuple[str, ...]
    step: float | None = None
    weights: str | None = None


class Latent(msgspec.Struct, frozen=True, kw_only=True):
    """How values are spread."""

    set: str
    method: str
    facts: LatentFacts
    count: int
    mean: Values
    spread: Values
    kurtosis: float
    outside: float
    histogram: tuple[float, ...]
    unit: tuple[float, ...]


class Latents(_Head, kw_only=True, tag_field="schema", tag="latents-1"):
    """Figure 2."""

    settings: LatentSettings
    rows: list[Latent]


class StudyHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a study asks."""

    question: str = ""
    variants: dict[str, Any] = {}
    minutes: float | None = None
    steps: int | None = None
    test_side: int | None = None

    @property
    def length(self) -> str:
        """How long each run was."""
        return f"{self.steps:,} steps" if self.steps else f"{self.minutes:g} minutes"


class StudyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A network that was trained and measured; of a folder the means and the `count` of pictures."""

    variant: str
    parameters: int
    multiply_adds: int = 0
    steps: int
    seconds: float
    machine: str
    config: dict[str, Any]
    folders: dict[str, dict[str, int | float]]
    environment: Environment

    def __post_init__(self) -> None:
        if not self.config or not all(isinstance(f.get("count"), int) for f in self.folders.values()):
            raise ValueError("no settings or counts")

    @property
    def scale(self) -> int | None:
        """Of the flow that was trained."""
        scale: int | None = self.config["model"].get("scale")
        return scale

    @property
    def network(self) -> str:
        """The variant without its scale, of a study of several scales."""
        return self.variant.removeprefix(f"x{self.scale}-")


class Study(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="study-1"):
    """What `bdflow study` wrote."""

    study: StudyHead
    rows: list[StudyRow]


Reproduced = Results | Sizes | Latents
Schema = Reproduced | Study


def rounded(value: float) -> float:
    """Five digits; whole numbers stay whole."""
    return value if isinstance(value, int) else float(f"{value:.5g}")
