"""The page: a summary that says where bdflow wins, is level and loses, then every table and plot."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from bdflow.evaluation.grid import Grid
from bdflow.reproduce import curves, figures
from bdflow.reproduce.facts import Flow, Resampling
from bdflow.reproduce.harm import gains, losses_of_draws
from bdflow.reproduce.plans import MEASURED
from bdflow.reproduce.results import Folder
from bdflow.reproduce.schemas import Latents, Reproduced, Results, Row, Sizes
from bdflow.reproduce.sheets import SHEETS
from bdflow.reproduce.tables import ABLATIONS, STUDY
from bdflow.reproduce.tables import grids as tables_of
from bdflow.system.files import write_bytes

PAGE = "results.md"
ORDER = (
    "table1",
    "marks",
    "curves",
    "table5",
    "table2",
    "table3",
    "table4",
    "table6",
    "invertibility",
    "figure2",
    *SHEETS,
)


def write_page(results: Folder, folder: Path) -> None:
    """Write results.md and its plots.

    Args:
        results: The results.
        folder: Where the page goes; it must exist.
    """
    write_bytes(folder / PAGE, markdown(results, folder).encode(), overwrite=True)


def markdown(results: Folder, folder: Path, *, plots: bool = True) -> str:
    """The page's text; its plots are drawn into `folder` unless told not to."""
    tables = results.tables
    parts = [
        "# Results",
        "`bdflow reproduce` and `docs/generate.py` make this page from the files in `results/`; no figure"
        " was typed. Each of our figures of quality and bytes is of a file that was stored and read back,"
        " with all its bytes counted. ± is the standard deviation over pictures; in Table 2 over runs, in"
        " Tables 3 and 4 over seeds of training, and for a random Z over its seeds. Rows marked *quoted* were"
        " printed by others and not measured here.",
        *summary(tables.get("curves"), tables.get("table1"), tables.get("invertibility")),
    ]
    for name in ORDER:
        grids, measured = tables_of(name, results), results.reproduced(name)
        if measured is None and not grids:
            parts.append(f"## {_title(name)}\n\nNot measured yet: `bdflow reproduce {name}`{_how(name)}.")
            continue
        parts.append(f"## {_title(name)}")
        if name in ABLATIONS:
            parts.append(_study_source(results, folder))
        if measured:
            parts.append(_source(name, measured, _beside(results.path / f"{name}.json", folder)))
            parts += _pictures(name, measured, results.path, folder, plots)
        parts += [grid.as_markdown() for grid in grids if grid.rows or grid.notes]
    parts.append(_LEFT_OUT)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def summary(rates: Results | None, quality: Results | None, harmed: Results | None) -> list[str]:
    """Where we win, are level and lose: against the best codec for equal quality, against thumbnails, and
    where the small picture was changed on its way."""
    missing = ["The curves are not measured yet: `bdflow reproduce curves`."]
    against_codecs = _codecs(rates) if rates else missing
    against_thumbnails = _thumbnails([results for results in (quality, rates) if results])
    return ["## In short", *against_codecs, *against_thumbnails, *(_on_its_way(harmed) if harmed else [])]


def _codecs(rates: Results) -> list[str]:
    sets = list(dict.fromkeys(row.set for row in rates.rows))
    cells: dict[tuple[str, Flow], dict[str, str]] = {}  # by measure and model, then by set
    count: Counter[str] = Counter()
    for name in sets:
        rows = [row for row in rates.rows if row.set == name]
        for measure in curves.PLOTTED:
            families = curves.curves(rows, name, measure)
            rivals = curves.of_codecs(families)
            for point in (point for points in families.values() for point in points):
                if isinstance(point.facts, Flow):
                    verdict = curves.verdict(point, rivals)
                    count[verdict.word if verdict else "beyond"] += 1
                    cells.setdefault((measure, point.facts), {})[name] = _cell(verdict)
    counts = sorted(max(row.count for row in rates.rows if row.set == name) for name in sets)
    counted = " to ".join(str(n) for n in dict.fromkeys([*counts[:1], *counts[-1:]]))
    sentence = (
        "**Bytes, against codecs.** How many bytes do JPEG, WebP, AVIF and JPEG XL need for the quality that"
        " our file restores? Each may shrink the picture first, and the best of them counts. There are"
        f" {count.total()} cases: each model on each set by each measure. bdflow wins {count['wins']}, is"
        f" level in {count['level']} (within {curves.LEVEL:.0%}) and loses {count['loses']};"
        f" {count['open']} are open. In {count['beyond']} cases no setting of a codec that was tried restores"
        f" as well. Pictures per set: {counted}."
    )
    grid = Grid("Our bytes over those of the best codec", ("for equal", "model", *sets))
    order = list(curves.PLOTTED)
    for measure, facts in sorted(cells, key=lambda case: (order.index(case[0]), case[1].scale)):
        of_set = cells[measure, facts]
        figures = (of_set.get(name, "") for name in sets)
        grid.rows.append((curves.MEASURES[measure].name, facts.model, *figures))
    grid.notes.append(
        "Below 1, our file is smaller. **Bold**: bdflow wins; *italic*: level. ≥: the codec's cheapest"
        " setting restores even better. If that setting takes more bytes than ours, the case is open."
    )
    return [sentence, grid.as_markdown()]


def _cell(verdict: curves.Verdict | None) -> str:
    if verdict is None:
        return "beyond all codecs"
    marked = {"wins": "**{}**", "level": "*{}*", "open": "open, {}", "loses": "{}"}[verdict.word]
    return marked.format(f"{'≥ ' * verdict.at_least}{verdict.ratio:.2f} {verdict.rival}")


def _thumbnails(tables: Sequence[Results]) -> list[str]:
    """Each set by the first table that has it."""
    rows: list[Row] = []
    for results in tables:
        shown = {row.set for row in rows}
        rows += [row for row in results.rows if row.count and row.set not in shown]
    grid = Grid(
        "Against a thumbnail of as many pixels, enlarged",
        ("model", "set", "PSNR-Y", "bicubic", "gain", "our bytes over its PNG's"),
    )
    gains, ratios = [], []
    plain = {
        (row.set, row.facts.scale): row.mean
        for row in rows
        if isinstance(row.facts, Resampling) and row.facts.filter == "bicubic"
    }
    for row in rows:
        if not isinstance(row.facts, Flow) or (row.set, row.facts.scale) not in plain:
            continue
        mean, bicubic = row.mean, plain[row.set, row.facts.scale]
        gains.append(mean["psnr_y"] - bicubic["psnr_y"])
        ratios.append(mean["bytes"] / bicubic["bytes"])
        quality = f"{mean['psnr_y']:.2f}", f"{bicubic['psnr_y']:.2f}", f"{gains[-1]:+.2f} dB"
        grid.rows.append((row.facts.model, row.set, *quality, f"{ratios[-1]:.2f}"))
    if not gains:
        return []
    better = sum(gain > 0 for gain in gains)
    sentence = (
        f"**Pixels, against thumbnails.** In {better} of {len(gains)} cases bdflow restores better than an"
        f" enlarged bicubic thumbnail of as many pixels. The gain is {min(gains):+.2f} to"
        f" {max(gains):+.2f} dB, in {min(ratios):.2f} to {max(ratios):.2f} times the bytes of the"
        " thumbnail's PNG."
    )
    return [sentence, grid.as_markdown()]


def _on_its_way(results: Results) -> list[str]:
    gains_by_case = gains(results)
    if not gains_by_case:
        return []
    conditions = dict.fromkeys(condition for _, _, condition in gains_by_case)
    cases = dict.fromkeys((name, model) for name, model, _ in gains_by_case)
    grid = Grid(
        "What is left of the gain over a thumbnail that was changed in the same way, PSNR-Y",
        ("the small picture", "mean gain", "least", "most", "cases below the thumbnail"),
    )
    for condition in conditions:
        of_case = [gain for (_, _, happened), gain in gains_by_case.items() if happened == condition]
        cells = (f"{gain:+.2f} dB" for gain in (fmean(of_case), min(of_case), max(of_case)))
        grid.rows.append((condition, *cells, str(sum(gain < 0 for gain in of_case))))
    if losses := losses_of_draws(results):
        least = min(losses)
        grid.notes.append(
            f"A random Z (sigma {least:g}) in place of Z = 0 lowers PSNR-Y by {min(losses[least]):.1f} to"
            f" {max(losses[least]):.1f} dB. Figure 2 shows the spread of the Z of trained networks."
        )
    sentence = (
        "**Changed files.** The small picture must arrive as it was stored, with its chunk. The table shows"
        f" what is left of the gain if it was changed ({len(cases)} cases: each model on each set)."
    )
    return [sentence, grid.as_markdown()]


def _pictures(name: str, measured: Reproduced, results: Path, folder: Path, plots: bool) -> list[str]:
    """The sheet or the plots of a table; these are drawn first, if they shall be."""
    if name in SHEETS:
        return [_image(_title(name), _beside(results / f"{name}.webp", folder))]
    if isinstance(measured, Latents):
        if plots:
            figures.latent_plot(measured, folder)
        return [_image("histograms", "figure2.svg")] if measured.rows else []
    if isinstance(measured, Sizes) or name not in _PLOTS:
        return []
    draw, title = _PLOTS[name]
    if plots:
        draw(measured, folder)
    if name == "curves":
        sets = dict.fromkeys(row.set for row in measured.rows)
        return [_image(f"{each}: {title}", figures.rate_plot(each)) for each in sets]
    return [_image(title, f"{name}.svg")] if measured.rows else []


_PLOTS: Mapping[str, tuple[Callable[[Results, Path], None], str]] = {
    "curves": (figures.rate_plots, "rate against quality"),
    "table1": (figures.scale_plot, "quality by scale"),
    "invertibility": (figures.harm_plot, "what a changed small picture restores to"),
}


def _beside(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _image(title: str, target: str) -> str:
    return f"![{title}]({target})"


def _title(name: str) -> str:
    if name in _TITLES:
        return _TITLES[name]
    title = (SHEETS[name] if name in SHEETS else MEASURED[name]).title
    for kind in ("table", "figure"):
        if name.startswith(kind):
            return f"{kind.capitalize()} {name.removeprefix(kind)}: {title}"
    return title.capitalize()


_TITLES = {
    "table2": "Table 2: size and speed",
    "table3": "Table 3: mask and weight",
    "table4": "Table 4: bits, norm and threshold",
    "figure2": "Figure 2: high frequencies and Z",
}


def _study_source(results: Folder, folder: Path) -> str:
    path, rows = results.path / f"{STUDY}.json", results.studies[STUDY].rows
    commits = ", ".join(sorted({str(row.environment.commit) for row in rows}))
    machines = ", ".join(sorted({row.machine for row in rows}))
    return (
        f"`bdflow study configs/studies/{STUDY}.toml` at commits {commits}, on {machines}."
        f" All settings and versions: [{path.name}]({_beside(path, folder)})."
    )


def _how(name: str) -> str:
    return " after `bdflow study configs/studies/boundary.toml`" if name in ABLATIONS else ""


def _source(name: str, measured: Reproduced, target: str) -> str:
    """Where the figures come from, in one line; versions are in the file."""
    here, parts = measured.environment, list[str]()
    if isinstance(measured, Results):
        limit = measured.settings.limit
        parts = ["all pictures" if limit is None else f"at most {limit} pictures per set"]
        parts.append(f"border crop {measured.settings.crop}")
    parts += ["a quick run on shrunken pictures"] if measured.settings.quick else []
    again = f" Earlier runs measured a part: {len(measured.earlier)}." if measured.earlier else ""
    return (
        f"`bdflow reproduce {name}` at commit {here.commit}, {here.date}, {here.cores} cores of"
        f" {here.processor}{''.join(f', {part}' for part in parts)}.{again} Every picture's figures and"
        f" all versions: [{name}.json]({target})."
    )


_LEFT_OUT = """## What is left out, and why

- GRAIN, GLEAN, GPEN, pSp, PULSE, DIC, SRFlow and WSRNet cannot run here: their published rows are quoted.
  If you have their pictures, the same code scores them: `bdflow reproduce table1 --external
  NAME-x64=FOLDER`. FOLDER holds the restored pictures, named as the true ones, and `bytes.csv` with the
  columns `picture,bytes`. ESRGAN and Real-ESRGAN take part if their weights are there (`make rivals`
  fetches them).
- PSNR and SSIM agree with torchmetrics and scikit-image within 1e-5 dB and 1e-10, LPIPS (AlexNet, v0.1)
  and DISTS with torchmetrics within 1e-4 of their values, NIQE with its authors' figure of one picture within
  0.001 (tests/test_metrics.py, test_lpips.py, test_dists.py, test_niqe.py). DISTS shrinks pictures to 256
  pixels first, as its authors do. NIQE does not use the true picture, so compare it with the photograph's
  own. `make metrics` fetches the weights of all three. The package bjontegaard computes BD-rate, with PCHIP.
- Table 1 has HCFlow, TAR and IRN as `bdflow study configs/studies/networks-portraits.toml` trained and
  measured them. `--model RUNS/x8-hcflow-.../model --trust` adds them to the other tables."""
