"""Tables of text: one writer for the terminal, one for Markdown."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group
from rich.markup import escape
from rich.table import Table


@dataclass
class Grid:
    """A table whose cells are text.

    Attributes:
        title: Stands above it.
        headings: Of the columns.
        rows: As many cells each.
        notes: Lines below it.
        words: Columns of words, on the left in the terminal; the others hold figures, on the right.
        sections: In the terminal a line is drawn after so many rows.
    """

    title: str
    headings: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    words: Collection[int] = (0,)
    sections: Collection[int] = ()

    def table(self) -> Table:
        """For the terminal, without the notes."""
        table = Table(title=escape(self.title) or None, title_justify="left")
        for index, heading in enumerate(self.headings):
            table.add_column(escape(heading), justify="left" if index in self.words else "right")
        for count, row in enumerate(self.rows, 1):
            table.add_row(*map(escape, row), end_section=count in self.sections)
        return table

    def as_rich(self) -> Group:
        """For the terminal: the table, its notes and an empty line."""
        return Group(self.table(), *map(escape, self.notes), "")

    def as_markdown(self) -> str:
        """For a page: title, table and notes."""
        table = markdown(self.headings, self.rows, figures=True)
        return "\n".join([f"**{self.title}**", "", table, "", *self.notes, *([""] if self.notes else [])])


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]], *, figures: bool = False) -> str:
    """A table in Markdown.

    Args:
        headings: Of the columns.
        rows: As many cells each.
        figures: All columns but the first stand on the right.
    """
    rule = ["---|", *["--:|" if figures else "---|"] * (len(headings) - 1)]
    return "\n".join([_line(headings), "|" + "".join(rule), *map(_line, rows)])


def cell(figures: Mapping[str, float], name: str, form: str) -> str:
    """A figure as text; nothing where there is none."""
    return format(figures[name], form) if name in figures else ""


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
