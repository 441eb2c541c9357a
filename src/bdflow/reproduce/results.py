"""The results files: figures picture by picture, and what says where they come from. Runs continue from them.

Each names its schema; those of earlier releases, which do not, are told by what they hold.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, TypeVar

import msgspec

from bdflow.environment import environment
from bdflow.errors import BDFlowError
from bdflow.files import write_bytes
from bdflow.reproduce.facts import AnyFacts

Values = dict[str, float]
Digests = Mapping[str, Mapping[str, str]]  # of every picture, by set and name


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Versions and machine of a run; see :func:`bdflow.environment.environment`."""

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
        measures: The columns of ``pictures``.
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
        found = [self.pictures[name] for name in pictures if name in self.pictures]
        if len(found) == self.count:
            return self.mean  # of figures that were not rounded yet
        return dict(zip(self.measures, map(fmean, zip(*found, strict=True)), strict=False))  # perhaps none


class _Head(msgspec.Struct, kw_only=True):
    """What every results file of `reproduce` begins with.

    Attributes:
        reproduces: The table.
        environment: Where it was measured; ``earlier``: where a part of it was.
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
    """What decides a network's size and seconds; ``network`` is its configuration."""

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
    """Of the histograms: ``edges`` is the first, the last and how many."""

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
    """A network that was trained and measured; of a folder the means and the ``count`` of pictures."""

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
_T = TypeVar("_T", Results, Sizes, Latents, Study)


def earlier(runs: Iterable[Environment]) -> list[Environment]:
    """Each place of earlier runs once, without this one."""
    return list({run.place: run for run in runs if run.place != here().place}.values())


def before(old: Reproduced | None) -> list[Environment]:
    """The earlier runs of results that are measured anew."""
    return earlier((*old.earlier, old.environment)) if old else []


@dataclass
class Folder:
    """All results in a folder; each file is parsed once.

    Attributes:
        path: The folder.
        tables: Measured picture by picture, by name; ``sizes`` is table2, ``latents`` figure2.
        studies: By name.
    """

    path: Path
    tables: dict[str, Results] = field(default_factory=dict)
    sizes: Sizes | None = None
    latents: Latents | None = None
    studies: dict[str, Study] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> "Folder":
        """Read a folder; what is not of `reproduce` or `study` is left alone.

        Raises:
            BDFlowError: A results file is damaged.
        """
        folder = cls(path)
        for file in sorted(path.glob("*.json")):
            try:
                document = json.loads(file.read_text())
            except (OSError, ValueError):
                continue
            if isinstance(document, dict) and schema(document) in _KINDS:
                folder.add(file.stem, parse(document, str(file)))
        return folder

    def reproduced(self, name: str) -> Reproduced | None:
        """What `reproduce` measured under this name."""
        return {"table2": self.sizes, "figure2": self.latents}.get(name) or self.tables.get(name)

    def add(self, name: str, results: Schema) -> None:
        """Put results beside the others, or in the place of older ones."""
        match results:
            case Sizes():
                self.sizes = results
            case Latents():
                self.latents = results
            case Study():
                self.studies[name] = results
            case _:
                self.tables[name] = results

    def write(self, name: str, results: Reproduced) -> None:
        """Add results and write their file, whole or not at all."""
        write_bytes(self.path / f"{name}.json", text(results).encode(), overwrite=True)
        self.add(name, results)


_KINDS: dict[str, Any] = {
    "pictures-1": Results, "sizes-1": Sizes, "latents-1": Latents, "study-1": Study,
}  # fmt: skip


def schema(document: Mapping[str, Any]) -> str | None:
    """What a results file says that it is; of an earlier release, what it must be."""
    if "schema" in document:
        return str(document["schema"])
    if "reproduces" in document:
        return {"table2": "sizes-1", "figure2": "latents-1"}.get(document["reproduces"], "pictures-1")
    return "study-1" if "study" in document else None


def parse(document: Mapping[str, Any], name: str) -> Schema:
    """Results from their JSON.

    Raises:
        BDFlowError: One line that says what is missing; ``name`` begins it.
    """
    kind = schema(document)
    if kind not in _KINDS:
        raise BDFlowError(f"{name}: this bdflow knows no results of schema {kind}: take a newer one")
    try:
        results: Schema = msgspec.convert({"schema": kind, **document}, _KINDS[kind])
    except msgspec.ValidationError as error:
        raise BDFlowError(f"{name}: these are no results ({error}): measure again") from None
    return results


def read(path: Path, kind: type[_T]) -> _T:
    """One results file.

    Raises:
        BDFlowError: It cannot be read, is of another kind, or does not say where its figures come from.
    """
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BDFlowError(f"{path}: not a results file ({error})") from None
    results = parse(document, str(path))
    if not isinstance(results, kind):
        raise BDFlowError(f"{path}: these are other results")
    return results


def text(results: Reproduced) -> str:
    """JSON with one line for each picture of each row: small, and still a diff that can be read."""
    document = msgspec.to_builtins(results)
    parse(document, results.reproduces)
    rows: Sequence[dict[str, Any]] = document.pop("rows")
    head = json.dumps(document, indent=1)[:-2] + ',\n "rows": ['
    return head + ",".join("\n  " + _line(row) for row in rows) + "]\n}\n"


def _line(row: dict[str, Any]) -> str:
    pictures = row.pop("pictures", None)
    line = json.dumps(row)
    if pictures is None:
        return line
    lines = ",".join(
        f"\n   {json.dumps(name)}: {json.dumps(values, separators=(',', ':'))}"
        for name, values in pictures.items()
    )
    return f'{line[:-1]}, "pictures": {{{lines}}}}}'


def rounded(value: float) -> float:
    """Five digits; whole numbers stay whole."""
    return value if isinstance(value, int) else float(f"{value:.5g}")
