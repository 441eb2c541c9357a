"""The one writer of tables, for the terminal and for Markdown."""

import io

from rich.console import Console

from bdflow.evaluation.grid import Grid, cell, markdown


def shown(printable):
    console = Console(file=io.StringIO(), width=60)
    console.print(printable)
    return console.file.getvalue()


def test_markdown():
    rows = [("a|b", "1"), ("", "2")]
    assert markdown(("name", "count"), rows) == ("| name | count |\n|---|---|\n| a\\|b | 1 |\n|  | 2 |")
    assert markdown(("name", "count", "more"), [], figures=True) == "| name | count | more |\n|---|--:|--:|"
    grid = Grid("A title", ("name",), [("x",)], ["A note."])
    assert grid.as_markdown() == "**A title**\n\n| name |\n|---|\n| x |\n\nA note.\n"
    assert Grid("A title", ("name",)).as_markdown() == "**A title**\n\n| name |\n|---|\n"


def test_the_terminal_shows_what_was_named_and_no_markup_of_it():
    grid = Grid("[red]Title", ("[b]name", "count"), [("[i]x", "7"), ("y", "1,234")], ["[dim]note"])
    text = shown(grid.as_rich())
    for words in ("[red]Title", "[b]name", "[i]x", "[dim]note"):
        assert words in text
    (line,) = (line for line in text.splitlines() if "7" in line)
    assert "     7 │" in line  # figures on the right
    assert "note" not in shown(grid.table())
    plain = shown(grid.table())
    grid.sections = (1,)
    assert len(shown(grid.table()).splitlines()) == len(plain.splitlines()) + 1


def test_a_figure_that_is_not_there_is_no_text():
    assert (cell({"psnr_y": 30.126}, "psnr_y", ".2f"), cell({}, "psnr_y", ".2f")) == ("30.13", "")
