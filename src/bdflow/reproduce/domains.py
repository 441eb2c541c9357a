"""Table 6: pictures of other domains, as they are and by the paper's protocol, beside the paper's rows."""

from collections.abc import Mapping, Sequence

from bdflow.evaluation.grid import Grid, cell
from bdflow.reproduce.facts import Foreign, Resampling, Trained
from bdflow.reproduce.published import published
from bdflow.reproduce.schemas import Results, Row
from bdflow.reproduce.sets import squared


def table6(results: Results) -> list[Grid]:
    """Both protocols beside the paper's rows, then each in full."""
    sets = dict(results.by_set())
    resized = {name: sets[squared(name)] for name in results.sets if squared(name) in sets}
    native = {name: rows for name, rows in sets.items() if name not in map(squared, resized)}
    grids = [_protocols(native, resized)] if resized else []
    grids.append(_quality("Table 6: pictures of other domains, each in its own size", native))
    if resized:
        grids.append(_quality("Table 6: each picture first resized to 1024x1024", resized))
    notes = grids[-1].notes
    notes.append(
        "Bicubic is that of the pictures in the row. Models named portraits saw only portraits in training."
    )
    commands = {
        row.method: row.facts.command
        for row in results.rows
        if isinstance(row.facts, Trained) and row.facts.command
    }
    notes += [f"{name} was trained for this table: `{command}`" for name, command in commands.items()]
    return grids


def _restored(rows: Sequence[Row]) -> list[Row]:
    """What networks and other programs restored."""
    return [row for row in rows if isinstance(row.facts, Trained | Foreign)]


def _bicubic(rows: Sequence[Row]) -> dict[int | None, Row]:
    return {row.facts.scale: row for row in rows if isinstance(row.facts, Resampling)}


def _quality(title: str, sets: Mapping[str, Sequence[Row]]) -> Grid:
    headings = (
        "set", "model", "PSNR-Y", "bicubic", "SSIM-Y", "bicubic", "LPIPS-RGB", "bicubic", "bytes", "pictures",
    )  # fmt: skip
    grid = Grid(title, headings)
    for name, rows in sets.items():
        plain = _bicubic(rows)
        for row in _restored(rows):
            mean, scale = row.mean, row.facts.scale
            bicubic = plain[scale].mean_of(row.pictures) if scale in plain else {}
            grid.rows.append(
                (
                    name,
                    row.method,
                    f"{mean['psnr_y']:.2f} ± {row.spread['psnr_y']:.2f}",
                    cell(bicubic, "psnr_y", ".2f"),
                    f"{mean['ssim_y']:.4f}",
                    cell(bicubic, "ssim_y", ".4f"),
                    cell(mean, "lpips", ".4f"),
                    cell(bicubic, "lpips", ".4f"),
                    f"{mean['bytes']:,.0f}",
                    str(row.count),
                )
            )
    return grid


def _protocols(native: Mapping[str, Sequence[Row]], resized: Mapping[str, Sequence[Row]]) -> Grid:
    """What was measured at a scale of which the paper prints a row of the same set, both ways."""
    grid = Grid(
        "Table 6: the paper's rows, and ours of both protocols, PSNR-Y / SSIM-Y / LPIPS-RGB",
        (
            "set",
            "pictures",
            "model",
            "each in its own size",
            "resized to 1024x1024",
            "bicubic, so resized",
            "BDFlow, quoted",
            "GRAIN, quoted",
        ),
        notes=[_WHY],
    )
    quoted = {(row.set, row.scale): row for row in published().table6}
    for name, rows in resized.items():
        unchanged = {row.method: row for row in native.get(name, ())}
        plain = _bicubic(rows)
        for row in _restored(rows):
            scale = row.facts.scale
            if scale is None or (name, scale) not in quoted:
                continue
            paper = quoted[name, scale]
            measured = (_figures(each) for each in (unchanged.get(row.method), row, plain.get(scale)))
            printed = (f"{psnr:.2f} / {ssim:.4f}" for psnr, ssim in (paper.bdflow, paper.grain))
            grid.rows.append((name, str(row.count), row.method, *measured, *printed))
    return grid


def _figures(row: Row | None) -> str:
    if row is None:
        return ""
    figures = (("psnr_y", ".2f"), ("ssim_y", ".4f"), ("lpips", ".4f"))
    return " / ".join(text for text in (cell(row.mean, *figure) for figure in figures) if text)


_WHY = (
    "There are two protocols because the paper does not say at which size it measured these pictures. Its"
    " figures are decibels above what the same scale can reach on Set5, Set14 and BSD100 at their own size:"
    " there, the small picture at x64 has some 40 pixels. If the pictures are first resized to 1024x1024, the"
    " size of the paper's portraits, they are enlarged, hold little that can be lost, and our figures come"
    " close to the paper's. (Here they are resized by the bicubic of all figures, whatever their shape.) That"
    " the paper did so is inferred from its figures. They do not show the filter, nor whether pictures were"
    " squashed or cropped. The quoted models were trained on CelebA-HQ (Set5 to BSD100) or on the domain"
    " itself (cats, churches), ours on portraits only. Its cats and churches may be other pictures than ours."
)
