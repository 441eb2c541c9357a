"""The results file: figures picture by picture, and what says where they come from. Runs go on from it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from bdflow.environment import environment
from bdflow.errors import BDFlowError
from bdflow.files import write_bytes

Values = dict[str, float]
Document = dict[str, Any]


def identity(facts: Mapping[str, Any]) -> str:
    """One text for all that decides a measurement, whatever the order of its parts."""
    return json.dumps(facts, sort_keys=True)


@dataclass
class Row:
    """One method on one set.

    Attributes:
        set: The set's name.
        method: What tables say.
        facts: All that decides the figures: kind, settings, weights, versions.
        pictures: Figures by picture.
        failed: Why a picture has none.
    """

    set: str
    method: str
    facts: Mapping[str, Any]
    pictures: dict[str, Values] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def measures(self) -> list[str]:
        """What all pictures were measured by."""
        every = list(self.pictures.values())
        return [name for name in every[0] if all(name in values for values in every)] if every else []

    def as_json(self) -> Document:
        columns = {name: [values[name] for values in self.pictures.values()] for name in self.measures}
        return {
            "set": self.set,
            "method": self.method,
            "facts": self.facts,
            "count": len(self.pictures),
            "mean": {name: rounded(fmean(column)) for name, column in columns.items()},
            "spread": {name: rounded(pstdev(column)) for name, column in columns.items()},
            "measures": list(columns),
            "pictures": {
                picture: [rounded(values[name]) for name in columns]
                for picture, values in self.pictures.items()
            },
            "failed": self.failed,
        }


class Known:
    """All that earlier runs measured, in any results file of a folder."""

    def __init__(self, folder: Path) -> None:
        self._values: dict[tuple[str, str], Values] = {}
        self._asked: dict[tuple[str, str], set[str]] = {}
        self._failed: dict[tuple[str, str], str] = {}
        self._tables: dict[tuple[str, str], set[str]] = {}
        self._used: set[str] = set()
        self.documents = documents(folder)
        for table, document in self.documents.items():
            for row in document["rows"]:
                if "pictures" not in row:
                    continue
                digests = document["sets"][row["set"]]
                key = self._key(row["facts"], document["settings"]["crop"])
                asked = document["settings"].get("measures", ())
                for picture, values in row["pictures"].items():
                    place = key, digests[picture]
                    self._values.setdefault(place, {}).update(zip(row["measures"], values, strict=True))
                    self._asked.setdefault(place, set()).update(row["measures"], asked)
                    self._tables.setdefault(place, set()).add(table)
                for picture, why in row["failed"].items():
                    self._failed[key, digests[picture]] = why

    @staticmethod
    def _key(facts: Mapping[str, Any], crop: int) -> str:
        return identity({"facts": facts, "crop": crop})

    def values(self, facts: Mapping[str, Any], crop: int, digest: str, wanted: set[str]) -> Values | None:
        """The figures of a picture, if all that is wanted was asked for; small pictures lack some."""
        place = self._key(facts, crop), digest
        if place not in self._values or not wanted <= self._asked[place]:
            return None
        self._used |= self._tables[place]
        return self._values[place]

    def before(self, table: str) -> list[Document]:
        """The environments of a table's earlier runs, and of those whose figures were taken over."""
        old = [self.documents[name] for name in sorted({table, *self._used}) if name in self.documents]
        return [place for document in old for place in (*document["earlier"], document["environment"])]

    def failed(self, facts: Mapping[str, Any], crop: int, digest: str) -> str | None:
        return self._failed.get((self._key(facts, crop), digest))


def document(
    table: str,
    settings: Mapping[str, Any],
    sets: Mapping[str, Mapping[str, str]],
    rows: Iterable[Document],
    before: Iterable[Document] = (),
    **more: Any,
) -> Document:
    """A results file.

    Args:
        table: What it reproduces.
        settings: How it was measured; ``crop`` among them.
        sets: Name and digest of every picture, by set.
        rows: The figures.
        before: Environments of the runs that this one went on from.
        more: What else the table holds.
    """
    now = _here()
    earlier = [e for e in before if _place(e) != _place(now)]
    return {
        "reproduces": table,
        "settings": dict(settings),
        "environment": now,
        "earlier": list({_place(e): e for e in earlier}.values()),
        "sets": sets,
        "rows": list(rows),
        **more,
    }


@cache
def _here() -> Document:
    """The environment when the run began: its code was read then, whatever is committed while it goes on."""
    return environment()


def _place(environment: Mapping[str, Any]) -> str:
    return identity({key: value for key, value in environment.items() if key != "date"})


def write(path: Path, document: Document) -> None:
    """One line for each picture of each row: small, and still a diff that can be read."""
    check(document, str(path))
    head = {key: value for key, value in document.items() if key != "rows"}
    lines = json.dumps(head, indent=1)[:-2] + ',\n "rows": ['
    rows = []
    for row in document["rows"]:
        text = json.dumps({key: value for key, value in row.items() if key != "pictures"})
        if "pictures" in row:
            pictures = ",".join(
                f"\n   {json.dumps(name)}: {json.dumps(values, separators=(',', ':'))}"
                for name, values in row["pictures"].items()
            )
            text = f'{text[:-1]}, "pictures": {{{pictures}}}}}'
        rows.append("\n  " + text)
    write_bytes(path, (lines + ",".join(rows) + "]\n}\n").encode(), overwrite=True)


def read(path: Path) -> Document:
    """Any results file: of this verb, of `bdflow evaluate` or `benchmark`, of a study, of fuzzing and tests.

    Raises:
        BDFlowError: It cannot be read, or does not say where its figures come from.
    """
    try:
        document: Document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BDFlowError(f"{path}: not a results file ({error})") from None
    check(document, str(path))
    return document


def documents(folder: Path) -> dict[str, Document]:
    """The results of this verb in a folder, by table; other files are left alone.

    Raises:
        BDFlowError: One of them is damaged.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            ours = "reproduces" in json.loads(path.read_text())
        except (OSError, ValueError, TypeError):
            ours = False
        if ours:
            found[path.stem] = read(path)
    return found


def check(document: Any, name: str) -> None:
    """Refuse results that lack versions, settings or counts.

    Raises:
        BDFlowError: One line that says what is missing.
    """
    try:
        if "study" in document:
            places = [row["environment"] for row in document["rows"]]
            counted = [folder for row in document["rows"] for folder in row["folders"].values()]
            settings = [document["study"], *(row["config"] for row in document["rows"])]
        elif "runs" in document:  # of the fuzzer: no pictures, but as many tries
            places, settings = [run["environment"] for run in document["runs"]], [document["command"]]
            counted = [{"count": run["executions"]} for run in document["runs"]]
        elif document and all("outcome" in test for test in document.values()):  # of the slow tests
            places, settings, counted = [test["environment"] for test in document.values()], [True], []
        else:
            places, settings = [document["environment"]], [document["settings"]]
            counted = [*document["folders"].values()] if "folders" in document else [*document["rows"]]
        if not all(settings):
            raise ValueError("no settings")
        for place in places:
            if not place["bdflow"] or not place["packages"]["numpy"] or not place["python"]:
                raise ValueError("no versions")
            _ = place["processor"], place["cores"], place["commit"], place["date"]
        for row in counted:
            if not isinstance(len(row["each"]) if "each" in row else row["count"], int):
                raise ValueError("a count that is no number")
            if "pictures" in row and row["count"] != len(row["pictures"]):
                raise ValueError(f"a count of {row['count']} for {len(row['pictures'])} pictures")
            if "reproduces" in document and row["count"] and set(row["mean"]) != set(row["spread"]):
                raise ValueError("a mean without a spread")
    except KeyError as error:
        raise BDFlowError(f"{name}: results without {error}: measure again") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise BDFlowError(f"{name}: these are no results ({error}): measure again") from None


def rounded(value: float) -> float:
    """Five digits; whole numbers stay whole."""
    return value if isinstance(value, int) else float(f"{value:.5g}")
