"""Write the tables and pictures of the documentation from measured results. Run by `make docs`.

Usage: python docs/generate.py [DATA]     (the folder of test sets: renews the pictures too)

docs/results.md and its plots come from results/, which `bdflow reproduce` fills.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import first_picture
import models
import performance
import refined
import studies

from bdflow import zoo
from bdflow.networks.build import paper_sizes
from bdflow.report import CARD, card, results
from bdflow.reproduce import marks, page
from bdflow.reproduce.grid import by_set, published
from bdflow.reproduce.results import read
from bdflow.rescaler import Rescaler

ROOT = Path(__file__).parent.parent


def figures() -> str:
    """The quality table of the README: for each model the first two folders that it was measured on."""
    rows = [
        "| model | pictures | PSNR-Y | over bicubic | LPIPS-RGB (bicubic) | LR to bicubic LR | bytes |"
        " bits/px |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model in zoo.built_in():
        measured = results(model)
        for folder, row in list(measured["folders"].items())[:2] if measured else ():
            m = row["mean"]
            gain, lpips = m["psnr_y"] - m["bicubic_psnr_y"], f"{m['lpips']:.3f} ({m['bicubic_lpips']:.3f})"
            rows.append(
                f"| {model.name} | {row['count']} of {folder} | {m['psnr_y']:.2f} dB | {gain:+.2f} dB |"
                f" {lpips} | {m['lr_psnr']:.2f} dB | {m['bytes']:,.0f} | {m['bits_per_pixel']:.3f} |"
            )
    return "\n".join(rows)


def saved() -> str:
    """The README's table of files in ordinary codecs: bytes beside the best codec's."""
    rows = [
        "| pictures | bits a pixel | bytes for equal PSNR-Y | for equal PSNR-RGB | worst picture |"
        " bytes for equal LPIPS-RGB (`--for look`) |",
        "|---|---|---|---|---|---|",
    ]
    path = ROOT / "results" / "marks.json"
    for name, measured in by_set(read(path)) if path.is_file() else ():
        y, rgb = (marks.saving(measured, zoo.find_restoration().name, key) for key in marks.MEASURES)
        if not (y and rgb):
            continue
        look = marks.share(measured, "restoration-look")
        share = f"{look.mean:.2f} times" if look else "-"
        rows.append(
            f"| {y.count} of {name} | {y.low:.3f} to {y.high:.2f} | {y.mean:+.1f} % | {rgb.mean:+.1f} % |"
            f" {max(y.worst, rgb.worst):+.1f} % | {share} |"
        )
    return "\n".join(rows)


def photos() -> str:
    """The README's table of the models for photographs beside what others published, as the field has it."""
    sets = ("photos/set5", "photos/set14", "photos/bsd100")
    rows = [
        "| | scale | parameters | bits a pixel of the small picture | Set5 | Set14 | BSD100 |",
        "|---|---|---|---|---|---|---|",
    ]
    quoted = published()["photos"]
    for scale in sorted({other["scale"] for other in quoted}):
        model = zoo.find(f"photos-x{scale}")
        plain, more = results(model)["folders"], refined.measured(model)
        parameters = model.metadata["training"]["parameters"]
        bits = 24 + model.metadata["model"]["boundary_bits"]
        for name, folders in ((model.name, plain), (f"{model.name}, refined", more)):
            whole = [f for f in sets if f in folders and folders[f]["count"] == plain[f]["count"]]
            psnr = [folders[f]["mean"]["psnr_y_cropped"] if f in whole else None for f in sets]
            if whole:
                rows.append(_photos_row(name, scale, parameters, bits, psnr))
        for other in (q for q in quoted if q["scale"] == scale):
            name = f"{other['method']}, quoted"
            rows.append(_photos_row(name, scale, other["parameters"], 24, other["psnr"]))
    return "\n".join(rows)


def _photos_row(name: str, scale: int, parameters: float, bits: int, psnr: Sequence[float | None]) -> str:
    cells = " | ".join("-" if value is None else f"{value:.2f} dB" for value in psnr)
    return f"| {name} | x{scale} | {parameters / 1e6:.2f} M | {bits} | {cells} |"


def sizes() -> str:
    """The parameter and multiply-add table of the README."""
    rows = ["| network | scale | parameters | multiply-adds at 128x128 |", "|---|---|---|---|"]
    rows += [
        f"| {name} | x{scale} | {parameters:,} | {madds / 1e9:.4f} G |"
        for name, scale, parameters, madds in paper_sizes()
    ]
    return "\n".join(rows)


FUZZED = {
    "images": "whole files of nine formats, through the reader of pictures",
    "container": "whole PNGs, AVIFs, WebPs and JPEGs, checksums mended, through the reader of small files",
    "slim": "whole AVIFs, before and after they are shortened",
    "payload": "the payload, its checksum mended",
    "boundary": "the decoder of boundary maps",
    "models": "ONNX graphs and the head of a weights file",
}


def fuzzing() -> str:
    """What the fuzzer did, a row for each target."""
    path = ROOT / "results" / "fuzzing.json"
    runs = json.loads(path.read_text())["runs"] if path.is_file() else []
    rows = ["| target | what is read | executions | hours | faults |", "|---|---|---|---|---|"]
    total = 0
    for target, what in FUZZED.items():
        mine = [run for run in runs if run["target"] == target]
        executions, seconds = (sum(run[key] for run in mine) for key in ("executions", "seconds"))
        faults, total = sum(len(run["faults"]) for run in mine), total + executions
        rows.append(f"| `{target}` | {what} | {executions:,} | {seconds / 3600:.2f} | {faults} |")
    return "\n".join([*rows, f"| all | | {total:,} | | {sum(len(run['faults']) for run in runs)} |"])


def corpora() -> str:
    """What became of other programs' test pictures, a row for each corpus and way."""
    path = ROOT / "results" / "corpora.json"
    rows = [
        "| way | pictures up to | corpus | files | other files, skipped | made small | restored | refused:"
        " too large | refused: other reasons | faults |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for way in json.loads(path.read_text())["rows"] if path.is_file() else ():
        for index, (name, found) in enumerate(way["corpora"].items()):
            large = sum(count for why, count in found["refused"].items() if "reduce it first" in why)
            counts = (
                found["files"],
                sum(found["skipped"].values()),
                found.get("made", 0),
                found.get("restored", 0),
                large,
                sum(found["refused"].values()) - large,
            )
            faults = f"{len(way['faults'])} in all" if index == 0 else ""
            cells = " | ".join(f"{count:,}" for count in counts)
            rows.append(f"| {way['way']} | {way['max_pixels']:,} pixels | {name} | {cells} | {faults} |")
    return "\n".join(rows)


def slow_tests() -> str:
    """What the slow tests did when they were last run, a row for each."""
    path = ROOT / "results" / "slow-tests.json"
    rows = ["| test | outcome | seconds | measured | commit |", "|---|---|---|---|---|"]
    for name, run in (json.loads(path.read_text()) if path.is_file() else {}).items():
        commit = run["environment"]["commit"]
        own = ", ".join(
            f"{k}: {v:,}" for k, v in run.items() if k not in ("outcome", "seconds", "environment")
        )
        rows.append(f"| `{name.split('::')[1]}` | {run['outcome']} | {run['seconds']:,} | {own} | {commit} |")
    return "\n".join(rows)


def decoders() -> str:
    """What another decoder makes of our files, and what it costs."""
    path = ROOT / "results" / "decoders.json"
    rows = [
        "| codec | decoded by | thumbnails differ by, at most | PSNR between thumbnails |"
        " between restored pictures | loss of PSNR-RGB, mean | largest | files |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {row['codec']} | {row['decoder']} | {row['levels']} levels | {row['thumbnails']:.1f} dB |"
        f" {row['restored']:.1f} dB | {row['loss']:.2f} dB | {row['largest loss']:.2f} dB | {row['count']} |"
        for row in (json.loads(path.read_text())["rows"] if path.is_file() else ())
    ]
    return "\n".join(rows)


def halos() -> str:
    """How far each model looks, and what that makes of tiles."""
    rows = ["| model | reach | halo | tile | kept of it |", "|---|---|---|---|---|"]
    for name in zoo.names():
        model = zoo.find(name)
        tile = Rescaler(model).tile
        kept = (tile - 2 * model.halo) ** 2 / tile**2
        rows.append(f"| {name} | {model.reach:,} | {model.halo} | {tile:,} | {100 * kept:.0f} % |")
    return "\n".join(rows)


def fill(text: str, name: str, content: str) -> str:
    """Put ``content`` between the marks of ``name``."""
    before, rest = text.split(f"<!-- begin {name}, made by docs/generate.py -->")
    after = rest.split(f"<!-- end {name} -->")[1]
    mark = f"<!-- begin {name}, made by docs/generate.py -->\n{content}\n<!-- end {name} -->"
    return before + mark + after


def main() -> None:
    for model in (*zoo.built_in(), *zoo.built_in_restorations()):
        if measured := results(model):
            (model.folder / CARD).write_text(card(model, measured))
    zoo.list_built_in()  # if a model's files came here by another way than `bdflow export`
    readme = ROOT / "README.md"
    text = fill(readme.read_text(), "quality", figures())
    text = fill(text, "marks", saved())
    text = fill(text, "photos", photos())
    text = fill(text, "refined", refined.table())
    readme.write_text(fill(text, "sizes", sizes()))
    (ROOT / "docs" / "models.md").write_text(models.page())
    (ROOT / "docs" / "performance.md").write_text(performance.page(ROOT / "results"))
    (ROOT / "docs" / "studies.md").write_text(studies.page(ROOT / "results"))
    reliability = ROOT / "docs" / "reliability.md"
    text = fill(reliability.read_text(), "fuzzing", fuzzing())
    text = fill(text, "corpora", corpora())
    reliability.write_text(fill(text, "slow tests", slow_tests()))
    limits = ROOT / "docs" / "limits.md"
    limits.write_text(fill(limits.read_text(), "decoders", decoders()))
    large = ROOT / "docs" / "sizes.md"
    large.write_text(fill(large.read_text(), "halos", halos()))
    page.write_page(ROOT / "results", ROOT / "docs")
    if len(sys.argv) > 1:
        models.draw_sheets(Path(sys.argv[1]))
        first_picture.draw_sheet(Path(sys.argv[1]), ROOT / "docs" / "small-file.jpg")


if __name__ == "__main__":
    main()
