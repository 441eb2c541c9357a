"""What earlier runs measured, so that nothing is measured twice."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from bdflow.reproduce.facts import Facts
from bdflow.reproduce.results import Folder
from bdflow.reproduce.schemas import Environment, Results, Values

# What the seconds were called before `evaluate` and `reproduce` had one set of names.
_FORMER = {"seconds_encode": "seconds_down", "seconds_decode": "seconds_up"}
_Key = tuple[bytes, int, str]  # facts, crop and the picture's digest


@dataclass
class Known:
    """A picture's figures by one method, from any table.

    Attributes:
        values: The figures.
        asked: All measures that were asked for; small pictures lack some of them.
        tables: Whose results hold them.
        failed: Why there are none.
    """

    values: Values = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    failed: str | None = None


class Memory:
    """All that the results of a folder hold."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._known: dict[_Key, Known] = {}
        for table, results in folder.tables.items():
            self.add(table, results)

    def add(self, table: str, results: Results) -> None:
        """Take note of a table's results."""
        for row in results.rows:
            digests = results.sets[row.set]
            for picture in row.pictures:
                known = self._at(row.facts, results.settings.crop, digests[picture])
                values = row.values(picture)
                known.values.update({_FORMER.get(name, name): value for name, value in values.items()})
                known.asked.update(row.measures, results.settings.measures)
                known.tables.add(table)
            for picture, why in row.failed.items():
                self._at(row.facts, results.settings.crop, digests[picture]).failed = why

    def _at(self, facts: Facts, crop: int, digest: str) -> Known:
        return self._known.setdefault((msgspec.json.encode(facts), crop, digest), Known())

    def recall(self, facts: Facts, crop: int, digest: str, wanted: set[str]) -> Known | None:
        """A picture's figures, if all that is wanted was asked for; or why it has none."""
        known = self._known.get((msgspec.json.encode(facts), crop, digest))
        if known and known.values and wanted <= known.asked:
            return Known(known.values, tables=known.tables)
        return Known(failed=known.failed) if known and known.failed is not None else None

    def runs(self, table: str, used: Iterable[str]) -> list[Environment]:
        """Where a table and those whose figures it takes over were measured."""
        old = [self._folder.tables.get(name) for name in sorted({table, *used})]
        return [run for results in old if results for run in (*results.earlier, results.environment)]
