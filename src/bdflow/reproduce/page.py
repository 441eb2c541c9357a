"""The page: a summary that says where bdflow wins, is level and loses, then every table and plot."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from bdflow.files import write_bytes
from bdflow.reproduce import curves, figures, tables
from bdflow.reproduce.grid import Grid
from bdflow.reproduce.harm import gains, losses_of_draws
from bdflow.reproduce.plans import MEASURED
from bdflow.reproduce.results import Document, documents, read
from bdflow.reproduce.sheets import SHEETS

PAGE = "results.md"
_ORDER = (
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
_ABLATIONS = ("table3", "table4")


def write_page(results: Path, folder: Path) -> None:
    """Write results.md and its plots.

    Args:
        results: The folder of results files.
        folder: Where the page goes; it must exist.
    """
    write_bytes(folder / PAGE, markdown(results, folder).encode(), overwrite=True)


def markdown(results: Path, folder: Path, *, plots: bool = True) -> str:
    """The page's text; its plots are drawn into ``folder`` unless told not to."""
    found = documents(results)
    parts = [
        "# Results",
        "Made by `bdflow reproduce` and `docs/generate.py` from the files in `results/`; nothing here was"
        " typed. Every figure of quality or bytes of ours is of a file that was stored and read back, with"
        " all its bytes counted. ± is the standard deviation over pictures; in Table 2 over runs, in Tables 3"
        " and 4 over seeds of training, and of a drawn Z over seeds of the draw. Rows marked *quoted* were"
        " printed by others and not measured here.",
        *summary(found.get("curves"), found.get("table1"), found.get("invertibility")),
    ]
    for name in _ORDER:
        made = tables.grids(name, results)
        if name not in found and not made:
            parts.append(f"## {_title(name)}\n\nNot measured yet: `bdflow reproduce {name}`{_how(name)}.")
            continue
        parts.append(f"## {_title(name)}")
        if name in _ABLATIONS:
            parts.append(_study_source(results, folder))
        if name in found:
            parts.append(_source(name, found[name], _beside(results / f"{name}.json", folder)))
        parts += _pictures(name, found.get(name), results, folder, plots)
        parts += [grid.as_markdown() for grid in made if grid.rows or grid.notes]
    parts.append(_LEFT_OUT)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def summary(rates: Document | None, quality: Document | None, harmed: Document | None) -> list[str]:
    """Where we win, are level and lose: against the best codec for equal quality, against thumbnails, and
    where the small picture was changed on its way."""
    missing = ["The curves are not measured yet: `bdflow reproduce curves`."]
    against_codecs = _codecs(rates) if rates else missing
    against_thumbnails = _thumbnails([document for document in (quality, rates) if document])
    return ["## In short", *against_codecs, *against_thumbnails, *(_on_its_way(harmed) if harmed else [])]


def _codecs(rates: Document) -> list[str]:
    sets = list(dict.fromkeys(row["set"] for row in rates["rows"]))
    cells: dict[tuple[str, str], dict[str, str]] = {}  # by measure and model, then by set
    count: Counter[str] = Counter()
    for name in sets:
        rows = [row for row in rates["rows"] if row["set"] == name]
        for measure in curves.MEASURES:
            found = curves.curves(rows, name, measure)
            rivals = {codec: found[codec] for codec in curves.CODECS if codec in found}
            for method, points in found.items():
                for point in points if method.startswith("bdflow") else ():
                    verdict = curves.verdict(point, rivals)
                    count[verdict.word if verdict else "beyond"] += 1
                    what = curves.MEASURES[measure].split(",")[0].split(" ")[0]
                    cells.setdefault((what, point.label.removeprefix("bdflow ")), {})[name] = _cell(verdict)
    counts = sorted(max(row["count"] for row in rates["rows"] if row["set"] == name) for name in sets)
    counted = " to ".join(str(n) for n in dict.fromkeys([*counts[:1], *counts[-1:]]))
    said = (
        "**In bytes, against codecs.** For the quality that our file restores, how many bytes does the best"
        " of JPEG, WebP, AVIF and JPEG XL take (each free to shrink the picture first)? Of"
        f" {count.total()} cases, by model, set and measure, bdflow wins {count['wins']}, is level in"
        f" {count['level']} (within {curves.LEVEL:.0%}) and loses {count['loses']}; {count['open']} are open,"
        f" and in {count['beyond']} no setting of a codec that was tried restores as well. Pictures a"
        f" set: {counted}."
    )
    grid = Grid("Our bytes over those of the best codec", ("for equal", "model", *sets))
    measures = list(dict.fromkeys(what for what, _ in cells))
    scales = {row["method"].removeprefix("bdflow "): row["facts"].get("scale") for row in rates["rows"]}
    for what, model in sorted(cells, key=lambda cell: (measures.index(cell[0]), scales[cell[1]])):
        of_set = cells[what, model]
        grid.rows.append((what, model, *(of_set.get(name, "") for name in sets)))
    grid.notes.append(
        "Below 1 our file is the smaller one. **Bold**: bdflow wins; *italic*: level. ≥: the codec's cheapest"
        " setting restores better still (and where it also takes more bytes than ours, the case is open)."
    )
    return [said, grid.as_markdown()]


def _cell(verdict: curves.Verdict | None) -> str:
    if verdict is None:
        return "beyond all codecs"
    marked = {"wins": "**{}**", "level": "*{}*", "open": "open, {}", "loses": "{}"}[verdict.word]
    return marked.format(f"{'≥ ' * verdict.at_least}{verdict.ratio:.2f} {verdict.rival}")


def _thumbnails(documents: Sequence[Document]) -> list[str]:
    """Each set by the first document that has it."""
    rows: list[Document] = []
    for document in documents:
        there = {row["set"] for row in rows}
        rows += [row for row in document["rows"] if row["count"] and row["set"] not in there]
    grid = Grid(
        "Against a thumbnail of as many pixels, enlarged",
        ("model", "set", "PSNR-Y", "bicubic", "gain", "our bytes over its PNG's"),
    )
    gains, ratios = [], []
    plain = {
        (row["set"], row["facts"]["scale"]): row["mean"]
        for row in rows
        if row["facts"].get("filter") == "bicubic"
    }
    for row in (row for row in rows if row["facts"]["kind"] == "bdflow"):
        m, b = row["mean"], plain.get((row["set"], row["facts"]["scale"]))
        if b is None:
            continue
        gains.append(m["psnr_y"] - b["psnr_y"])
        ratios.append(m["bytes"] / b["bytes"])
        cells = f"{m['psnr_y']:.2f}", f"{b['psnr_y']:.2f}", f"{gains[-1]:+.2f} dB", f"{ratios[-1]:.2f}"
        grid.rows.append((row["facts"]["model"], row["set"], *cells))
    if not gains:
        return []
    better = sum(gain > 0 for gain in gains)
    told = (
        f"**In pixels, against thumbnails.** Of {len(gains)} cases, bdflow restores better than an enlarged"
        f" bicubic thumbnail in {better}: by {min(gains):+.2f} to {max(gains):+.2f} dB, in"
        f" {min(ratios):.2f} to {max(ratios):.2f} times the bytes of its PNG."
    )
    return [told, grid.as_markdown()]


def _on_its_way(document: Document) -> list[str]:
    found = gains(document)
    if not found:
        return []
    conditions = dict.fromkeys(condition for _, _, condition in found)
    cases = dict.fromkeys((name, model) for name, model, _ in found)
    grid = Grid(
        "What is left of the gain over a thumbnail that went through the same, PSNR-Y",
        ("the small picture", "mean gain", "least", "most", "cases below the thumbnail"),
    )
    for condition in conditions:
        of_case = [gain for (_, _, happened), gain in found.items() if happened == condition]
        cells = (f"{gain:+.2f} dB" for gain in (fmean(of_case), min(of_case), max(of_case)))
        grid.rows.append((condition, *cells, str(sum(gain < 0 for gain in of_case))))
    if losses := losses_of_draws(document):
        least = min(losses)
        grid.notes.append(
            f"With Z drawn (sigma {least:g}) in place of 0, PSNR-Y falls by {min(losses[least]):.1f} to"
            f" {max(losses[least]):.1f} dB. How far the Z of trained networks is spread, Figure 2 shows."
        )
    told = (
        "**On its way.** The small picture must arrive as it was stored, with its chunk. What is left of the"
        f" gain where something happened to it (cases by model and set: {len(cases)}):"
    )
    return [told, grid.as_markdown()]


def _pictures(name: str, document: Document | None, results: Path, folder: Path, plots: bool) -> list[str]:
    if document is None:
        return []
    if name in SHEETS:
        return [_image(_title(name), _beside(results / f"{name}.webp", folder))]
    if not plots:
        return [_image(title, target) for title, target in _plots(name, document).items()]
    draw = {
        "table1": figures.scale_plot, "invertibility": figures.harm_plot, "figure2": figures.latent_plot,
    }  # fmt: skip
    if name == "curves":
        figures.rate_plots(document, folder)
    elif name in draw:
        draw[name](document, folder)
    return [_image(title, target) for title, target in _plots(name, document).items()]


def _plots(name: str, document: Document) -> dict[str, str]:
    """Plots of a table, by what they show."""
    if name == "curves":
        sets = dict.fromkeys(row["set"] for row in document["rows"])
        return {f"{s}: rate against quality": f"curves-{s.replace('/', '-')}.svg" for s in sets}
    one = {"table1": "quality by scale", "invertibility": "what the small picture went through",
           "figure2": "histograms"}  # fmt: skip
    return {one[name]: f"{name}.svg"} if name in one and document["rows"] else {}


def _beside(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _image(title: str, target: str) -> str:
    return f"![{title}]({target})"


def _title(name: str) -> str:
    if name in SHEETS:
        return f"Figure {name[-1]}: {SHEETS[name].title}"
    if name in MEASURED:
        title = MEASURED[name].title
        return f"Table {name[-1]}: {title}" if name.startswith("table") else title.capitalize()
    return {
        "table2": "Table 2: size and speed", "table3": "Table 3: mask and weight",
        "table4": "Table 4: bits, norm and threshold", "figure2": "Figure 2: high frequencies and Z",
    }[name]  # fmt: skip


def _study_source(results: Path, folder: Path) -> str:
    path = results / tables.STUDY
    rows = read(path)["rows"]
    commits = ", ".join(sorted({row["environment"]["commit"] for row in rows}))
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    return (
        f"`bdflow study configs/studies/{path.stem}.toml` at commits {commits}, on {machines}."
        f" All settings and versions: [{path.name}]({_beside(path, folder)})."
    )


def _how(name: str) -> str:
    return " after `bdflow study configs/studies/boundary.toml`" if name in _ABLATIONS else ""


def _source(name: str, document: Document, target: str) -> str:
    """Where the figures come from, in one line; versions are in the file."""
    place, told = document["environment"], document["settings"]
    picked = "all pictures" if told.get("limit") is None else f"at most {told['limit']} pictures a set"
    parts = [picked, f"border crop {told['crop']}"] if "crop" in told else []
    parts += ["a quick run on shrunken pictures"] if told.get("quick") else []
    again = f" Earlier runs measured a part: {len(document['earlier'])}." if document["earlier"] else ""
    return (
        f"`bdflow reproduce {name}` at commit {place['commit']}, {place['date']}, {place['cores']} cores of"
        f" {place['processor']}{''.join(f', {part}' for part in parts)}.{again} Every picture's figures and"
        f" all versions: [{name}.json]({target})."
    )


_LEFT_OUT = """## What is left out, and why

- GRAIN, GLEAN, GPEN, pSp, PULSE, DIC, SRFlow and WSRNet cannot run here: their published rows are quoted.
  Whoever has their pictures scores them by the same code: `bdflow reproduce table1 --external
  NAME-x64=FOLDER`, where FOLDER holds the restored pictures, named as the true ones, and `bytes.csv` with the
  columns `picture,bytes`. ESRGAN and Real-ESRGAN take part where their weights are at
  hand (`make rivals` fetches them).
- PSNR and SSIM agree with torchmetrics and scikit-image within 1e-5 dB and 1e-10, LPIPS (AlexNet, v0.1)
  and DISTS with torchmetrics within 1e-4 of their values, NIQE with its authors' figure of one picture within
  0.001 (tests/test_metrics.py, test_lpips.py, test_dists.py, test_niqe.py). DISTS shrinks pictures to 256
  pixels first, as its authors do; NIQE knows no true picture, so read it beside the photograph's own. `make
  metrics` fetches the weights of all three. BD-rate is that of the package bjontegaard with PCHIP.
- HCFlow, TAR and IRN stand in Table 1 as `bdflow study configs/studies/networks-portraits.toml` trained and
  measured them; in the other tables where they are named: `--model RUNS/x8-hcflow-.../model --trust`."""
