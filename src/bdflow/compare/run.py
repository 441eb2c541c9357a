"""Every photograph in turn: its table to the terminal, its sheet, then the page and the figures of all."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bdflow.compare.box import parse_box
from bdflow.compare.comparison import compare, entry, readable, results, table
from bdflow.compare.page import draw_page, section
from bdflow.compare.sheet import draw_sheet
from bdflow.errors import BDFlowError
from bdflow.methods import FittedTo, Rescaled
from bdflow.pictures.codecs import encode
from bdflow.pictures.reader import Picture
from bdflow.system.files import write_bytes


def sheet_paths(photos: Sequence[Path], output: Path | None, *, elsewhere: bool = False) -> list[Path | None]:
    """Where the sheet of each photograph goes.

    Args:
        photos: Picture files.
        output: A folder that there is, the sheet of a single photograph, or None: beside each photograph.
        elsewhere: A page or figures are written. Nobody then asked for sheets but by `output`.

    Returns:
        A path for each; None for no sheet.

    Raises:
        BDFlowError: Several photographs and no folder, two with one name, or a sheet that is no PNG.
    """
    if output is None and elsewhere:
        return [None] * len(photos)
    if output is not None and not output.is_dir():
        if len(photos) > 1:
            raise BDFlowError(f"{output}: for several photos, name a folder that there is")
        if output.suffix.lower() != ".png":
            raise BDFlowError(f"{output}: the sheet is a PNG: end its name in .png")
        return [output]
    sheets: list[Path | None] = [(output or photo.parent) / f"{photo.stem}.compare.png" for photo in photos]
    if len(set(sheets)) < len(sheets):
        twice = next(sheet for sheet in sheets if sheets.count(sheet) > 1)
        raise BDFlowError(f"{twice}: two of the photos would be drawn there: compare them one at a time")
    return sheets


def run(
    ours: Rescaled | FittedTo,
    photos: Sequence[Path],
    sheets: Sequence[Path | None],
    page: Path | None,
    figures: Path | None,
    box: str | None,
    overwrite: bool,
    say: Callable[[str], None] = print,
) -> None:
    """Compare photographs, print a table of each, and write sheets, page and figures.

    Args:
        ours: How bdflow stores them.
        photos: Picture files.
        sheets: Where the sheet of each goes, if anywhere.
        page: Where the HTML page goes, if anywhere.
        figures: Where the JSON goes, if anywhere.
        box: `X,Y,W,H` to show enlarged; None finds a box in each photograph.
        overwrite: Replace existing files.
        say: Takes lines of progress.

    Raises:
        BDFlowError: A photograph cannot be compared, or a file cannot be written.
    """
    shown_box = None if box is None else parse_box(box)
    for photo in photos:  # before the first takes its minutes
        readable(photo, shown_box)
    sections, entries = [], []
    for sheet, photo in zip(sheets, photos, strict=True):  # one at a time in memory, each by a dozen methods
        comparison = compare(ours, photo, box=shown_box, say=say)
        Console().print(table(comparison))
        if sheet:
            drawn = Picture(draw_sheet(comparison), icc=comparison.icc)
            write_bytes(sheet, encode(drawn, "png"), overwrite=overwrite)
            say(f"{sheet}: {drawn.width}x{drawn.height}")
        entries.append(entry(comparison))
        if page:
            sections.append(section(comparison))
    if page:
        text = draw_page(sections).encode()
        write_bytes(page, text, overwrite=overwrite)
        say(f"{page}: {len(text) / 1e6:.1f} MB, open it in a browser")
    if figures:
        text = (json.dumps(results(ours, entries), indent=1) + "\n").encode()
        write_bytes(figures, text, overwrite=overwrite)
