"""The page of studies, docs/studies.md, from the results files that `bdflow study` wrote."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import refined

from bdflow.evaluation.grid import markdown
from bdflow.reproduce.results import Folder
from bdflow.reproduce.schemas import Study, StudyRow
from bdflow.reproduce.tables import TRAINED
from bdflow.smallfile.thumbnail import FACTORS

INTRODUCTION = """\
# Studies

One choice against another. Made by `make docs` from the files that `bdflow study configs/studies/NAME.toml`
wrote to `results/`; all variants of one study had the same pictures, time (or steps) and machine, and each
is measured on stored 8-bit files, Z = 0. ± is the standard deviation over runs that differ in their seed
alone; without one there was a single run, and a few hundredths of a dB mean nothing. *gain* is over bicubic
shrinking and enlarging; multiply-adds are at 128x128 pixels. Most runs shared the machine with other work, so
read *s per step* beside *steps* where they had equal time, and take *restored in* as a rough figure: `bdflow
reproduce table2` times networks alone.
"""
HEADINGS = (
    "variant", "parameters", "multiply-adds", "runs", "steps", "s per step", "PSNR-Y", "gain",
    "LR to bicubic LR", "SSIM-Y", "LPIPS-RGB", "bytes", "restored in",
)  # fmt: skip


BOUNDARY_MAP = """\
## Does the boundary map pay?

Not in the paper's form, in trainings as short as ours. The table shows its network at x16, trained for
1,000 steps on portraits of 256 pixels. All bytes are counted, and ± is over seeds. The last two rows weight
the loss as the paper does (Eq. 11). The others have no LPIPS in the loss, and a 32nd of the weight on the
map's own loss.

{table}

A map of one bit that must show boundaries restores worse than no map, with either loss (the paper's loss:
one run each). The weight on boundary pixels changes less than the seed does (one run without the map). The
same bits help when no loss guides them: the network then stores what restores best. So six of the seven
models have three unguided bits (`boundary_bits = 3`, `loss.boundary = 0`). portraits-x8-paper has the
paper's map, which is also the default of a configuration. The study *boundary* below has all variants:
norms, thresholds, mask and weight apart.
"""
FLOW = """\
## Does the flow pay?

Not in half an hour of one core. Networks of five kinds learned from the same pictures for 30 minutes each:
portraits, or photographs at x4. All had the loss and the learning rates that were chosen for BDFlow. BDFlow
has its map of one bit; the others have no map, as in their papers. The figures are means over the portraits
of portraits/test and celebahq1024/test, or the photographs of Set5, Set14 and BSD100.

{table}

A plain autoencoder (TAR), written from its paper, restores best at x8, in the fewest bytes: it makes more
steps in the same time, and need not be invertible. IRN's dense blocks make few steps at x4 and x8, and
restore worst. At x32 and x64 most of the paper's network computes what no file stores; at x64 it ends where
bicubic is. bdflow's models are flows because the paper's subject is a flow.
"""
EFFICIENT = """\
## What makes the efficient network efficient?

Variants of it learned at x16 for two minutes each, from nothing. This shows what helps at first, not where
each would end. Dropping channels after each level matters most: the same network with all channels makes
far fewer steps and is no better than bicubic. Width, depth and activation change no more than the seed
does. A doubled learning rate and affine couplings help a little. Predicting the dropped channels from those
kept, as the built-in models do, costs PSNR in so short a time, although the small picture comes closer to a
plain thumbnail. LPIPS in the loss lowers LPIPS-RGB by far, and PSNR somewhat. The study *efficient* below
has the figures.
"""

REFINE = """\
## What does --refine bring?

Up to a decibel, where the model was trained for PSNR. The network makes the small picture in one pass. That
picture is close to the one that restores best. `bdflow downscale --refine STEPS` improves it by gradient
descent: it changes the samples of the small picture and its map so that the network restores them with a
smaller squared error of all three colours. A step that makes it worse is dropped. The file has the same
format, and restores as fast. The same pictures without it and with it:

{table}

*takes* is the time to shrink, as a multiple of the time to restore the same picture. photos-x4 and
portraits-x8 were trained for the squared error, and gain in LPIPS-RGB as well. At x2 there is little to gain.
The models of larger scales learned to look sharp: refined pictures are closer to the true ones and look
softer, so leave it out where people look. No other table has refined pictures, except the rows of
[models.md](models.md#photographs-beside-irn-and-hcflow) that say so.
"""
LOOK = """\
## Which file for the look?

Held-out training pictures, {count} views of {side} pixels, in as many bytes each: AVIF tuned for PSNR or for
the eye, at the factor that PSNR chooses or at others of the list (1, 1.5, 2, 3, 4, 6, 8, 12, 16), restored
with `--for look`. LPIPS-RGB and DISTS are distances, the lower the better. The table has what changes against
the file that is best for fidelity; PSNR is of what `--for fidelity` restores.

{table}

{answer}
"""
LOOK_ANSWER = """\
So `downscale --for look` has AVIF tuned for the eye, at the factor that PSNR chooses: a larger one brings no
more LPIPS-RGB, and costs PSNR. The file restores for fidelity, too, somewhat worse.
"""
SHRINKING = """\
## Does another thumbnail restore better?

No. Held-out training pictures, {count} views of {side} pixels, were shrunk in other ways than by Lanczos,
coded by AVIF at {qualities} qualities and restored for fidelity. BD-rate says how many more bytes (+) or
fewer (-) a way takes than Lanczos for equal PSNR. *Moved* thumbnails had a part of what the restored picture
lacks, shrunk, added before they were coded: a search through the codec for the best thumbnail, without
gradients.

{table}
"""
SEARCH = """\
## Is the file that seems best the best?

Not always. The search compares kinds of file (factor and domain) by quick files and by parts of the restored
picture. At the default effort it then makes up to three of a small picture, one for each factor, and keeps
the best. Held-out training pictures, {count} views of {side} pixels, at three rates each: what that brings
over making only the kind that seems best. Pictures of a megapixel and more are made once.

{table}
"""
REFINED = """\
## Does a thumbnail that gradients refined restore better?

Hardly.

{table}

`scripts/refined_thumbnails.py` does for AVIF what `--refine` does for the PNG. From the thumbnail of the file
that the search chose, each of {steps} steps moves it down the slope of error and bytes, as if the codec
handed on every change; the real codec and the network decide whether the step is kept. The pictures are
{count} of the views above, at two rates each. Bytes are saved against what the search would need for as much
PSNR, by what it gains with a tenth more of them; a refined file may fill its budget better than the one that
the search chose. It takes torch, and {times:.0f} times as long as the search, so bdflow does not do it.
"""


def page(results: Folder) -> str:
    """docs/studies.md, of the studies in a folder."""
    parts = [
        INTRODUCTION,
        BOUNDARY_MAP.format(table=boundary(results.studies["boundary"])),
        FLOW.format(table=networks(results)),
        EFFICIENT,
        REFINE.format(table=refined.table()),
        *_small_files(results.path),
    ]
    for name, study in results.studies.items():
        parts += _study(name, study)
    return "\n".join(parts)


def _small_files(results: Path) -> Iterator[str]:
    """The studies of files in ordinary codecs, by scripts/small_file_studies.py."""
    path = results / "look.json"
    if path.is_file():
        document = json.loads(path.read_text())
        yield LOOK.format(**_views(document), table=_look(document["rows"]), answer=LOOK_ANSWER)
    path = results / "shrinking.json"
    if path.is_file():
        document = json.loads(path.read_text())
        qualities = len(next(iter(document["settings"]["qualities"].values())))
        yield SHRINKING.format(**_views(document), table=_shrinking(document["rows"]), qualities=qualities)
    path = results / "search.json"
    if path.is_file():
        document = json.loads(path.read_text())
        yield SEARCH.format(**_views(document), table=_search(document["rows"]))
    path = results / "refined-thumbnails.json"
    if path.is_file():
        document = json.loads(path.read_text())
        rows = document["rows"]
        seconds = [sum(row[f"seconds of {what}"] for row in rows) for what in ("refining", "the search")]
        yield REFINED.format(
            count=len({row["picture"] for row in rows}),
            steps=document["settings"]["steps"],
            table=_refined(rows),
            times=seconds[0] / seconds[1],
        )


def _views(document: dict[str, Any]) -> dict[str, int]:
    return {"count": len({row["picture"] for row in document["rows"]}), "side": document["settings"]["side"]}


def _look(rows: list[dict[str, Any]]) -> str:
    """What other files change, against the one that PSNR chooses: means over pictures and rates."""
    cases: dict[tuple[str, str, float], dict[tuple[str, float], dict[str, Any]]] = {}
    for row in rows:
        case = cases.setdefault((row["domain"], row["picture"], row["rate"]), {})
        case[row["tuning"], row["factor"]] = row
    more: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for (domain, *_), case in cases.items():
        usual = max(
            (row for (tuning, _), row in case.items() if tuning == "psnr"), key=lambda row: row["psnr"]
        )
        usual_index = FACTORS.index(usual["factor"])
        for (tuning, factor), row in case.items():
            change = {key: row[key] - usual[key] for key in ("lpips", "dists", "psnr")}
            more.setdefault((domain, tuning, FACTORS.index(factor) - usual_index), []).append(change)
    lines = [
        "| pictures | AVIF tuned for | factor | LPIPS-RGB | DISTS | PSNR for fidelity | cases |",
        "|---" * 7 + "|",
    ]
    for (domain, tuning, further), changes in sorted(
        more.items(), key=lambda item: (item[0][0], item[0][1] == "iq", item[0][2])
    ):
        if abs(further) > 2:
            continue
        mean = {key: fmean(change[key] for change in changes) for key in changes[0]}
        distance = f"{further:+} in the list" if further else "that of PSNR"
        lines.append(
            f"| {domain} | {_TUNED[tuning]} | {distance} | {mean['lpips']:+.4f} | {mean['dists']:+.4f} |"
            f" {mean['psnr']:+.2f} dB | {len(changes)} |"
        )
    return "\n".join(lines)


_TUNED = {"psnr": "PSNR", "iq": "the eye"}


def _shrinking(rows: list[dict[str, Any]]) -> str:
    """BD-rates, means over pictures."""
    groups = list(dict.fromkeys((row["domain"], row["factor"]) for row in rows))
    lines = [
        "| thumbnail | " + " | ".join(f"{domain}, x{factor:g}: Y / RGB" for domain, factor in groups) + " |",
        "|---" * (len(groups) + 1) + "|",
    ]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        if variant == "Lanczos":
            continue
        cells = []
        for group in groups:
            mine = [r for r in rows if (r["domain"], r["factor"], r["variant"]) == (*group, variant)]
            y, rgb = (fmean(row[key] for row in mine if row[key] is not None) for key in ("y", "rgb"))
            cells.append(f"{y:+.1f} / {rgb:+.1f} %")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _search(rows: list[dict[str, Any]]) -> str:
    """What several kinds of file bring over one."""
    few, many = sorted({row["finalists"] for row in rows})
    cells = []
    for domain in dict.fromkeys(row["domain"] for row in rows):
        one, best = ([r for r in rows if (r["domain"], r["finalists"]) == (domain, n)] for n in (few, many))
        gains = [b["psnr"] - a["psnr"] for a, b in zip(one, best, strict=True)]
        seconds = [sum(row["seconds"] for row in side) for side in (one, best)]
        cells.append(
            (
                domain,
                f"{fmean(gains):+.3f} dB",
                f"{max(gains):+.2f} dB",
                f"{seconds[1] / seconds[0]:.2f} times",
            )
        )
    return markdown(("domain", "mean PSNR", "most", "processor time"), cells)


def _refined(rows: list[dict[str, Any]]) -> str:
    """What refined thumbnails gain, by domain and rate."""
    groups: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["domain"], row["rate"]), []).append(row)
    cells = []
    for (domain, rate), group in groups.items():
        gains, saved = [], []
        for row in group:
            found, refined, more = (
                (row[n]["y"] + row[n]["rgb"]) / 2 for n in ("found", "refined", "a tenth more")
            )
            slope = (more - found) / math.log(row["a tenth more"]["bytes"] / row["found"]["bytes"])
            needed = row["found"]["bytes"] * math.exp((refined - found) / slope)
            gains.append(refined - found)
            saved.append(100 * (1 - row["refined"]["bytes"] / needed))
        factors = ", ".join(f"x{factor:g}" for factor in sorted({row["factor"] for row in group}))
        cells.append(
            (
                domain,
                f"{rate:g}",
                factors,
                f"{fmean(gains):+.2f} dB",
                f"{max(gains):+.2f} dB",
                f"{fmean(saved):.1f} %",
                str(len(group)),
            )
        )
    headings = ("pictures", "bits per pixel", "factors", "mean PSNR", "most", "bytes saved", "views")
    return markdown(headings, cells)


_BOUNDARY = {  # and, without a map, what each is set against
    "neither": ("no map", "neither"),
    "bam-and-baw": ("the paper's map: 1 bit, guided by its mask and weighting pixels", "neither"),
    "bits-3": ("the paper's map with 3 bits", "neither"),
    "free-channel": ("1 bit that nothing guides", "neither"),
    "free-bits-3": ("3 bits that nothing guides", "neither"),
    "more-lr": ("no map, 1 bit more of green in the small picture", "neither"),
    "paper-loss-neither": ("no map, the loss weighted as the paper has it", "paper-loss-neither"),
    "paper-loss": ("the paper's map, the loss weighted as the paper has it", "paper-loss-neither"),
}


def boundary(study: Study) -> str:
    """What the boundary map brings for its bytes, beside none: of all pictures of the study together."""
    runs = {v: [_over_folders(row) for row in study.rows if row.variant == v] for v in _BOUNDARY}
    rows = []
    for variant, (label, against) in _BOUNDARY.items():
        if not (own := runs[variant]) or not runs[against]:
            continue
        plain = [fmean(run[key] for run in runs[against]) for key in ("psnr_y", "bytes")]
        psnr, lpips, size = (fmean(run[key] for run in own) for key in ("psnr_y", "lpips", "bytes"))
        spread = f" ± {stdev(run['psnr_y'] for run in own):.2f}" if len(own) > 1 else ""
        more = f"{psnr - plain[0]:+.2f} dB for {size - plain[1]:.0f} bytes" if variant != against else ""
        rows.append((label, f"{psnr:.2f}{spread} dB", f"{lpips:.3f}", f"{size:.0f}", more, str(len(own))))
    return markdown(("beside the small picture", "PSNR-Y", "LPIPS-RGB", "bytes", "over no map", "runs"), rows)


def networks(results: Folder) -> str:
    """What each network learns in equal time: of all pictures of a study together."""
    rows = []
    for name, pictures in (("networks-photos", "photos"), ("networks-portraits", "portraits")):
        study = results.studies.get(name)
        for row in study.rows if study else ():
            mean = _over_folders(row)
            count = sum(folder["count"] for folder in row.folders.values())
            rows.append(
                (
                    f"x{row.scale}",
                    TRAINED[row.network],
                    f"{row.parameters:,}",
                    f"{row.steps:,}",
                    f"{mean['psnr_y']:.2f} dB",
                    f"{mean['lpips']:.3f}",
                    f"{mean['bytes']:,.0f}",
                    f"{count} {pictures}",
                )
            )
    return markdown(
        ("scale", "network", "parameters", "steps", "PSNR-Y", "LPIPS-RGB", "bytes", "pictures"), rows
    )


def _over_folders(row: StudyRow) -> dict[str, float]:
    """Means over the pictures of all folders."""
    folders = row.folders.values()
    count = sum(folder["count"] for folder in folders)
    return {
        key: sum(folder["count"] * folder[key] for folder in folders) / count
        for key in ("psnr_y", "lpips", "bytes")
    }


def _study(name: str, study: Study) -> Iterator[str]:
    head, rows = study.study, study.rows
    missing = [variant for variant in head.variants if variant not in {row.variant for row in rows}]
    machines = ", ".join(sorted({row.machine for row in rows}))
    commits = ", ".join(sorted({str(row.environment.commit) for row in rows}))
    yield f"## {name}\n"
    yield f"{head.question}\n"
    files = f"[The study](../configs/studies/{name}.toml), [its results](../results/{name}.json)"
    yield f"{files}: {head.length} a run, on {machines}; commit {commits}."
    if missing:
        yield f"Not trained yet: {', '.join(missing)}."
    for folder, first in rows[0].folders.items():
        side = f", shrunk to {head.test_side} pixels" if head.test_side else ""
        yield f"\n{first['count']} pictures of {folder}{side}:\n"
        runs = {variant: [row for row in rows if row.variant == variant] for variant in head.variants}
        measured = {variant: [row for row in each if folder in row.folders] for variant, each in runs.items()}
        yield markdown(HEADINGS, [_cells(v, each, folder) for v, each in measured.items() if each])
    yield ""


def _cells(variant: str, runs: Sequence[StudyRow], folder: str) -> Sequence[str]:
    measured = [run.folders[folder] for run in runs]
    mean = {key: fmean(m[key] for m in measured) for key in measured[0] if all(key in m for m in measured)}
    psnr = [figures["psnr_y"] for figures in measured]
    spread = f" ± {stdev(psnr):.2f}" if len(psnr) > 1 else ""
    return (
        variant,
        f"{runs[0].parameters:,}",
        f"{runs[0].multiply_adds / 1e9:.2f} G",
        str(len(runs)),
        f"{fmean(run.steps for run in runs):,.0f}",
        f"{fmean(run.seconds / run.steps for run in runs):.2f}",
        f"{mean['psnr_y']:.2f}{spread} dB",
        f"{mean['psnr_y'] - mean['bicubic_psnr_y']:+.2f} dB",
        f"{mean['lr_psnr']:.2f} dB",
        f"{mean['ssim_y']:.4f}",
        f"{mean['lpips']:.4f}" if "lpips" in mean else "-",
        f"{mean['bytes']:,.0f}",
        f"{mean['seconds_up']:.2f} s",
    )
