"""Write the tables and pictures of the documentation from measured results. Run by `make docs`.

Usage: python docs/generate.py [DATA]     (the folder of test sets: renews the pictures too)

docs/results.md and its plots come from results/, which `bdflow reproduce` fills.
"""

import json
import sys
import textwrap
from pathlib import Path

import browser
import first_picture
import models
import performance
import server
import studies

from bdflow import zoo
from bdflow.evaluation.grid import markdown
from bdflow.evaluation.report import CARD, card, results
from bdflow.reproduce import marks, page
from bdflow.reproduce.results import Folder
from bdflow.runtime.rescaler import Rescaler

ROOT = Path(__file__).parent.parent


def figures() -> str:
    """The quality table of the README: for each model the first two folders that it was measured on."""
    rows = []
    for model in zoo.built_in():
        measured = results(model)
        for folder, row in list(measured["folders"].items())[:2] if measured else ():
            mean = row["mean"]
            rows.append(
                (
                    model.name,
                    f"{row['count']} of {folder}",
                    f"{mean['psnr_y']:.2f} dB",
                    f"{mean['psnr_y'] - mean['bicubic_psnr_y']:+.2f} dB",
                    f"{mean['lpips']:.3f} ({mean['bicubic_lpips']:.3f})",
                    f"{mean['lr_psnr']:.2f} dB",
                    f"{mean['bytes']:,.0f}",
                    f"{mean['bits_per_pixel']:.3f}",
                )
            )
    return markdown(
        (
            "model", "pictures", "PSNR-Y", "over bicubic", "LPIPS-RGB (bicubic)", "LR to bicubic LR", "bytes",
            "bits/px",
        ),
        rows,
    )  # fmt: skip


def claim(measured: Folder) -> str:
    """The README's first figures."""
    sets = dict(measured.tables["marks"].by_set()) if "marks" in measured.tables else {}
    parts = []
    for name, said in (("portraits/test", "portraits"), ("photos/kodak24", "Kodak's photographs")):
        y = marks.saving(sets.get(name, []), zoo.find_restoration().name, "psnr_y")
        look = marks.share(sets.get(name, []), zoo.find_restoration("look").name)
        if y and look:
            parts.append((said, f"{-y.mean:.0f} % fewer bytes", f"{100 * (1 - look.mean):.0f} % fewer"))
    equal = " and ".join(f"{psnr} on {said}" for said, psnr, _ in parts)
    eye = " and ".join(f"{lpips} on {said}" for said, _, lpips in parts)
    count = min((row.count for rows in sets.values() for row in rows), default=0)
    claimed = (
        f"Compared with the best codec at low rates, bdflow needs {equal} for the same PSNR. With `--for"
        f" look` it needs {eye} for the same LPIPS (how different two pictures look). So far these are means"
        f" over {count} pictures of each set. [Results](#results) has the details, and shows where bdflow"
        " loses."
    )
    return textwrap.fill(claimed, 120, break_on_hyphens=False)


def saved(measured: Folder) -> str:
    """The README's table of files in ordinary codecs: bytes beside the best codec's."""
    rows = []
    table = measured.tables.get("marks")
    for name, of_set in table.by_set() if table else ():
        y, rgb = (marks.saving(of_set, zoo.find_restoration().name, key) for key in marks.COMPARED)
        if not (y and rgb):
            continue
        look = marks.share(of_set, "restoration-look")
        rows.append(
            (
                f"{y.count} of {name}",
                f"{y.low:.3f} to {y.high:.2f}",
                f"{y.mean:+.1f} %",
                f"{rgb.mean:+.1f} %",
                f"{max(y.worst, rgb.worst):+.1f} %",
                f"{look.mean:.2f} times" if look else "-",
            )
        )
    headings = (
        "pictures", "bits per pixel", "bytes for equal PSNR-Y", "for equal PSNR-RGB", "worst picture",
        "bytes for equal LPIPS-RGB (`--for look`)",
    )  # fmt: skip
    return markdown(headings, rows)


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
    rows, total = [], 0
    for target, what in FUZZED.items():
        own = [run for run in runs if run["target"] == target]
        executions, seconds = (sum(run[key] for run in own) for key in ("executions", "seconds"))
        faults, total = sum(len(run["faults"]) for run in own), total + executions
        rows.append((f"`{target}`", what, f"{executions:,}", f"{seconds / 3600:.2f}", str(faults)))
    rows.append(("all", "", f"{total:,}", "", str(sum(len(run["faults"]) for run in runs))))
    return markdown(("target", "what is read", "executions", "hours", "faults"), rows)


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
    rows = []
    for name, run in (json.loads(path.read_text()) if path.is_file() else {}).items():
        own = ", ".join(
            f"{k}: {v:,}" for k, v in run.items() if k not in ("outcome", "seconds", "environment")
        )
        test, commit = f"`{name.split('::')[1]}`", run["environment"]["commit"]
        rows.append((test, run["outcome"], f"{run['seconds']:,}", own, commit))
    return markdown(("test", "outcome", "seconds", "measured", "commit"), rows)


def decoders() -> str:
    """What another decoder makes of our files, and what it costs."""
    path = ROOT / "results" / "decoders.json"
    rows = [
        (
            row["codec"],
            row["decoder"],
            f"{row['levels']} levels",
            f"{row['thumbnails']:.1f} dB",
            f"{row['restored']:.1f} dB",
            f"{row['loss']:.2f} dB",
            f"{row['largest loss']:.2f} dB",
            str(row["count"]),
        )
        for row in (json.loads(path.read_text())["rows"] if path.is_file() else ())
    ]
    headings = (
        "codec", "decoded by", "thumbnails differ by, at most", "PSNR between thumbnails",
        "between restored pictures", "loss of PSNR-RGB, mean", "largest", "files",
    )  # fmt: skip
    return markdown(headings, rows)


def halos() -> str:
    """How far each model looks, and what that makes of tiles."""
    rows = []
    for name in zoo.names():
        model = zoo.find(name)
        tile = Rescaler(model).tile
        kept = (tile - 2 * model.halo) ** 2 / tile**2
        rows.append((name, f"{model.reach:,}", str(model.halo), f"{tile:,}", f"{100 * kept:.0f} %"))
    return markdown(("model", "reach", "halo", "tile", "kept of it"), rows)


def cluster() -> str:
    """Batches on Ray: pictures a second, memory of a worker, and what many machines would do."""
    document = json.loads((ROOT / "results" / "cluster.json").read_text())
    runs = {row["batch"]: row for row in document["rows"]}
    settings, where = document["settings"], document["environment"]

    def megabytes(sizes: list[int]) -> str:
        return ", ".join(f"{size / 1e6:.0f} MB" for size in sizes) or "-"

    rows = [
        (
            name,
            f"{each['pictures']:,}",
            f"{each['pictures_per_second']:.1f}" if each["pictures_per_second"] > 1 else "below 1",
            f"{each['run_seconds']:,.0f} s",
            f"{each['wall_seconds']:,.0f} s",
            megabytes(each["worker_bytes_half_way"]),
            megabytes(each["worker_bytes_at_the_end"]),
            f"{each['load_average_after']:.0f}",
        )
        for name, each in runs.items()
    ]
    headings = (
        "batch", "pictures", "per second", "run", "command",
        "memory per worker, half way", "at the end", "load",
    )  # fmt: skip
    two = runs["small, Ray, 2 workers"]["pictures_per_second"]
    rate = two * 100
    return "\n".join(
        [
            markdown(headings, rows),
            "",
            f"Small: {settings['small']}; large: {settings['large']}; many: {settings['many']};"
            f" {settings['model']}; {where['processor']}, {where['cores']} cores, {where['date']},"
            f" commit {where['commit']}.",
            "",
            f"Two workers on this machine did {two:.1f} small pictures per second. A hundred such machines"
            f" would do {rate:,.0f} per second, {rate * 3600 / 1e6:.1f} million per hour, if nothing else"
            " held them up. That is reckoned, not measured.",
        ]
    )


def fill(text: str, name: str, content: str) -> str:
    """Put `content` between the marks of `name`."""
    before, rest = text.split(f"<!-- begin {name}, made by docs/generate.py -->")
    after = rest.split(f"<!-- end {name} -->")[1]
    mark = f"<!-- begin {name}, made by docs/generate.py -->\n{content}\n<!-- end {name} -->"
    return before + mark + after


def main() -> None:
    for model in (*zoo.built_in(), *zoo.built_in_restorations()):
        if evaluation := results(model):
            (model.folder / CARD).write_text(card(model, evaluation))
    zoo.list_built_in()  # if a model's files came here by another way than `bdflow export`
    readme, all_results = ROOT / "README.md", Folder.at(ROOT / "results")
    text = fill(readme.read_text(), "quality", figures())
    text = fill(text, "marks", saved(all_results))
    text = fill(text, "claim", claim(all_results))
    readme.write_text(fill(text, "page", browser.summary(ROOT / "results" / "web.json")))
    (ROOT / "docs" / "models.md").write_text(models.page())
    (ROOT / "docs" / "performance.md").write_text(performance.page(ROOT / "results"))
    (ROOT / "docs" / "studies.md").write_text(studies.page(all_results))
    reliability = ROOT / "docs" / "reliability.md"
    text = fill(reliability.read_text(), "fuzzing", fuzzing())
    text = fill(text, "corpora", corpora())
    reliability.write_text(fill(text, "slow tests", slow_tests()))
    limits = ROOT / "docs" / "limits.md"
    limits.write_text(fill(limits.read_text(), "decoders", decoders()))
    large = ROOT / "docs" / "sizes.md"
    large.write_text(fill(large.read_text(), "halos", halos()))
    machines = ROOT / "docs" / "cluster.md"
    machines.write_text(fill(machines.read_text(), "cluster", cluster()))
    web, measured = ROOT / "docs" / "web.md", ROOT / "results" / "web.json"
    text = fill(web.read_text(), "costs", browser.costs(measured))
    web.write_text(fill(text, "paid back", browser.paid_back(measured)))
    serving = ROOT / "docs" / "server.md"
    text = fill(serving.read_text(), "limits", server.limits())
    serving.write_text(fill(text, "measured", server.measured(ROOT / "results" / "slow-tests.json")))
    page.write_page(all_results, ROOT / "docs")
    if len(sys.argv) > 1:
        models.draw_sheets(Path(sys.argv[1]))
        first_picture.draw_sheet(Path(sys.argv[1]), ROOT / "docs" / "small-file.jpg")


if __name__ == "__main__":
    main()
