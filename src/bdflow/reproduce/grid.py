"""What every table is made of: text in a grid, for the terminal and for Markdown, and figures of a row."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import cast

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from bdflow.reproduce.results import Document

Mean = Mapping[str, float]


@dataclass
class Grid:
    """A table: cells are text."""

    title: str
    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_rich(self) -> Group:
        table = Table(title=escape(self.title), title_justify="left")
        for index, heading in enumerate(self.headings):
            table.add_column(escape(heading), justify="right" if index else "left")
        for row in self.rows:
            table.add_row(*map(escape, row))
        return Group(table, *(escape(note) for note in self.notes), "")

    def as_markdown(self) -> str:
        lines = [f"**{self.title}**", "", _line(self.headings), "|---|" + "--:|" * (len(self.headings) - 1)]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, "", *self.notes, *([""] if self.notes else [])])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@cache
def published() -> Document:
    """What others printed."""
    return tomllib.loads((Path(__file__).parent / "published.toml").read_text())


def mean_of(row: Document, pictures: Iterable[str]) -> Mean:
    """The mean over some of the pictures of a row, as far as it has them."""
    found = [values for name in pictures if (values := row["pictures"].get(name))]
    if len(found) == row["count"]:
        return cast("Mean", row["mean"])  # of figures that were not rounded yet
    means = map(fmean, zip(*found, strict=True))
    return dict(zip(row["measures"], means, strict=False))  # no pictures, no means


def by_set(document: Document) -> Iterable[tuple[str, list[Document]]]:
    rows = [row for row in document["rows"] if row["count"]]
    for name in dict.fromkeys(row["set"] for row in rows):
        yield name, [row for row in rows if row["set"] == name]


def cell(mean: Mean, key: str, form: str) -> str:
    return format(mean[key], form) if key in mean else ""
