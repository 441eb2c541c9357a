"""The results files of a folder: read once, written whole. Runs continue from them.

Each names its schema; those of earlier releases, which do not, are told by what they hold.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bdflow.errors import BDFlowError
from bdflow.reproduce.schemas import Environment, Latents, Reproduced, Results, Schema, Sizes, Study, here
from bdflow.system.files import write_bytes

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
        tables: Measured picture by picture, by name; `sizes` is table2, `latents` figure2.
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
        BDFlowError: One line that says what is missing; `name` begins it.
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
