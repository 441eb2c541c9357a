"""Tables from results files. Quoted rows come from published.toml."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, pstdev, stdev
from typing import Any

from bdflow.reproduce import curves
from bdflow.reproduce.arrived import left
from bdflow.reproduce.domains import table6
from bdflow.reproduce.grid import Grid, by_set, cell, published
from bdflow.reproduce.marks import marks
from bdflow.reproduce.results import Document, read

STUDY, NETWORKS = "boundary.json", "networks-portraits.json"
TRAINED = {
    "paper": "BDFlow, the paper's", "efficient": "BDFlow, efficient", "irn": "IRN", "hcflow": "HCFlow",
    "tar": "TAR (not invertible)", "deeper": "BDFlow, deeper",
}  # fmt: skip


def grids(table: str, folder: Path) -> list[Grid]:
    """The tables of a results file; of figures none, and none where there is no such file."""
    networks = read(folder / NETWORKS) if (folder / NETWORKS).is_file() else None
    makers: dict[str, Callable[[Document], list[Grid]]] = {
        "table1": partial(table1, study=networks), "table2": table2, "table3": table3, "table4": table4,
        "table5": table5, "table6": table6, "curves": rates, "marks": marks, "invertibility": invertibility,
        "figure2": figure2,
    }  # fmt: skip
    path = folder / (STUDY if table in ("table3", "table4") else f"{table}.json")
    return makers[table](read(path)) if table in makers and path.is_file() else []


def table1(document: Document, study: Document | None = None) -> list[Grid]:
    """By set; with the networks of the study of equal time, where they were measured on its pictures."""
    made = []
    headings = ("", "PSNR-Y", "PSNR-RGB", "SSIM-Y", "SSIM-RGB", "LPIPS-RGB", "LPIPS-Y", "DISTS", "NIQE",
                "bytes", "pictures")  # fmt: skip
    for name, rows in by_set(document):
        grid = Grid(f"Table 1, {name}: quality by scale", headings, [], [published()["paper"]["differs"]])
        quoted = published()["table1"]
        for scale in sorted({s for r in rows if (s := r["facts"].get("scale"))}):
            of_scale = [row for row in rows if row["facts"].get("scale") == scale]
            grid.rows += [(row["method"], *_quality(row)) for row in of_scale]
            if not any(row["facts"]["kind"] == "bdflow" for row in of_scale):
                grid.rows.append((f"no bdflow model of x{scale} yet", *[""] * 10))
            grid.rows += _trained(study, name, scale) if study else ()
            for q in (q for q in quoted if q["scale"] == scale):
                quality = f"{q['psnr']:.2f}", "", f"{q['ssim']:.4f}", "", "", f"{q['lpips']:.4f}"
                grid.rows.append((f"{q['method']} x{scale}, quoted", *quality, *[""] * 4))
        grid.rows += [(row["method"], *_quality(row)) for row in rows if not row["facts"].get("scale")]
        blind = "; ".join(f"{q['method']} x{q['scale']}: {q['differs']}" for q in quoted if "differs" in q)
        grid.notes.append(f"Of the quoted rows: {blind}.")
        if study:
            grid.notes.append(
                f"Rows with {length_of(study)}: networks that learned from our pictures for so long, all with"
                " the settings that were chosen for BDFlow (configs/studies/networks-portraits.toml)."
            )
        made += [grid, _small_pictures(name, rows)]
    return made


def _trained(study: Document, name: str, scale: int) -> Iterable[tuple[str, ...]]:
    for row in study["rows"]:
        of_scale, _, network = row["variant"].partition("-")
        if of_scale == f"x{scale}" and (m := row["folders"].get(name)):
            yield (
                f"{TRAINED[network]}, {of_scale}, {length_of(study)}", f"{m['psnr_y']:.2f}",
                f"{m['psnr_rgb']:.2f}", f"{m['ssim_y']:.4f}", "", cell(m, "lpips", ".4f"), "", "", "",
                f"{m['bytes']:,.0f}", str(m["count"]),
            )  # fmt: skip


def _quality(row: Document) -> tuple[str, ...]:
    m, s = row["mean"], row["spread"]
    return (
        f"{m['psnr_y']:.2f} ± {s['psnr_y']:.2f}", f"{m['psnr_rgb']:.2f}", f"{m['ssim_y']:.4f}",
        cell(m, "ssim_rgb", ".4f"), cell(m, "lpips", ".4f"), cell(m, "lpips_y", ".4f"),
        cell(m, "dists", ".4f"), cell(m, "niqe", ".2f"), f"{m['bytes']:,.0f}", str(row["count"]),
    )  # fmt: skip


def _small_pictures(name: str, rows: Sequence[Document]) -> Grid:
    grid = Grid(
        f"Small pictures, {name}: ours (the bicubic one)",
        ("", "PSNR to bicubic", "samples at 0 or 255", "PNG", "lossless WebP", "JPEG 75", "boundary map"),
    )
    for row in (row for row in rows if "lr_psnr" in row["mean"]):
        m = row["mean"]
        sizes = (f"{m[f'lr_{k}']:,.0f} ({m[f'bicubic_lr_{k}']:,.0f})" for k in ("png", "webp", "jpeg"))
        clipped = f"{100 * m['lr_clipped']:.2f} % ({100 * m['bicubic_lr_clipped']:.2f} %)"
        boundary = f"{m['bytes_boundary']:,.0f} bytes"
        grid.rows.append((row["method"], f"{m['lr_psnr']:.2f} dB", clipped, *sizes, boundary))
    return grid


def table2(document: Document) -> list[Grid]:
    told = document["settings"]
    grid = Grid(
        f"Table 2: size and speed, {told['side']}x{told['side']} pixels, on {told['device']}"
        f" ({told['threads']} threads, torch {told['torch']}), {told['runs']} runs",
        ("", "parameters", "multiply-adds at 128x128", "s down", "s up", "peak memory", "s, quoted"),
    )
    quoted = {(q["method"], q["scale"]): q for q in published()["table2"]}
    for row in document["rows"]:
        m, s = row["mean"], row["spread"]
        paper = quoted.pop((row["method"].split(" ")[0], row["scale"]), None)
        grid.rows.append((
            row["method"], f"{row['parameters']:,}", f"{row['multiply_adds'] / 1e9:.4f} G",
            *(f"{m[k]:.3f} ± {s[k]:.3f}" for k in ("seconds_down", "seconds_up")),
            f"{row['peak_mib']:,} MiB", f"{paper['seconds']:.3f}" if paper else "",
        ))  # fmt: skip
    for (method, scale), q in quoted.items():
        size, work = f"{q['parameters']} M", f"{q['multiply_adds']} G"
        grid.rows.append((f"{method} x{scale}, quoted", size, work, "", "", "", f"{q['seconds']:.3f}"))
    grid.notes.append("The paper names neither the picture's size nor the machine of its seconds.")
    return [grid]


def table3(study: Document) -> list[Grid]:
    names = {
        "bam-and-baw": "mask and weight", "bam": "mask alone", "baw": "weight alone, no boundary map",
        "neither": "neither (control)", "free-channel": "a stored channel that nothing guides (control)",
        "paper-loss": "mask and weight, the paper's loss",
        "paper-loss-neither": "neither, the paper's loss (control)",
    }  # fmt: skip
    return _ablation(study, "Table 3: boundary-aware mask and weight", names, published()["table3"])


def table4(study: Document) -> list[Grid]:
    names = {
        "threshold-20": "1 bit, 2-norm, T 20", "bam-and-baw": "1 bit, 2-norm, T 50",
        "threshold-100": "1 bit, 2-norm, T 100", "norm-1": "1 bit, 1-norm, T 50",
        "bits-2": "2 bits, 2-norm, T 50", "bits-3": "3 bits, 2-norm, T 50",
        "more-lr": "1 bit more of green in Y instead (control)",
        "free-bits-3": "3 bits that nothing guides (control; six of the seven models ship so)",
    }  # fmt: skip
    return _ablation(study, "Table 4: bits, norm and threshold", names, published()["table4"])


def length_of(study: Document) -> str:
    """How long each run of a study was."""
    told = study["study"]
    return f"{told['steps']:,} steps" if told.get("steps") else f"{told['minutes']:g} minutes"


def _ablation(
    study: Document, title: str, names: Mapping[str, str], quoted: Sequence[Mapping[str, Any]]
) -> list[Grid]:
    made = []
    paper, length = {q["variant"]: q for q in quoted}, length_of(study)
    for folder in study["rows"][0]["folders"] if study["rows"] else ():
        grid = Grid(
            f"{title}, {folder}, {length} of training each",
            (
                "",
                "PSNR-Y",
                "LR to bicubic LR",
                "SSIM-Y",
                "LPIPS-RGB",
                "bytes",
                "runs",
                "pictures",
                "quoted (x64): PSNR-Y / SSIM-Y / LPIPS-Y",
            ),
        )
        for variant, said in names.items():
            found = [row["folders"][folder] for row in study["rows"] if row["variant"] == variant]
            q = paper.get(variant)
            last = f"{q['psnr']:.2f} / {q['ssim']:.4f} / {q['lpips']:.4f}" if q else ""
            if not found:
                grid.rows.append((f"{said}: not trained yet", *[""] * 7, last))
                continue
            mean = {k: fmean(f[k] for f in found) for k in found[0] if all(k in f for f in found)}
            spread = f" ± {stdev(f['psnr_y'] for f in found):.2f}" if len(found) > 1 else ""
            grid.rows.append((
                said, f"{mean['psnr_y']:.2f}{spread}", f"{mean['lr_psnr']:.2f}", f"{mean['ssim_y']:.4f}",
                cell(mean, "lpips", ".4f"), f"{mean['bytes']:,.0f}", str(len(found)),
                f"{mean['count']:.0f}", last,
            ))  # fmt: skip
        grid.notes.append(
            "Ours have another scale, size, optimiser and training time than the paper's, and other weights"
            " of the loss where the row does not say so (configs/studies/boundary.toml): read differences,"
            " not levels. ± is the standard deviation over seeds."
        )
        made.append(grid)
    return made


def table5(document: Document) -> list[Grid]:
    made = []
    headings = ("", "bytes", "PSNR-Y", "PSNR-RGB", "SSIM-Y", "LPIPS-RGB", "pictures")
    for name, rows in by_set(document):
        grid = Grid(f"Table 5, {name}: every byte counted, and the codecs in as many", headings)
        paper = Grid(f"Table 5, {name}, as the paper counts: without boundary map, the small picture as JPEG",
                     ("", "bytes", "PSNR-Y"))  # fmt: skip
        for row in rows:
            m, facts = row["mean"], row["facts"]
            line = (row["method"], f"{m['bytes']:,.0f}", f"{m['psnr_y']:.2f}", f"{m['psnr_rgb']:.2f}",
                    f"{m['ssim_y']:.4f}", cell(m, "lpips", ".4f"), str(row["count"]))  # fmt: skip
            if facts["kind"] == "bdflow":
                paper.rows.append((row["method"], f"{m['lr_jpeg']:,.0f}", f"{m['psnr_y']:.2f}"))
            if "quality" in facts:
                paper.rows.append(line[:3])
            else:
                grid.rows.append(line)
        for q in published()["table5"]:
            scale = "" if q["method"].startswith("JPEG") else f" x{q['scale']}"
            paper.rows.append((f"{q['method']}{scale}, quoted", f"{q['bytes']:,}", f"{q['psnr']:.2f}"))
        paper.notes.append(
            "Our rows here count what a JPEG of quality 75 of the small picture would take: the paper's bytes"
            " are about those. But their PSNR, like the paper's, is that of the lossless small picture with"
            " its boundary map. From the JPEG it would restore far worse (see the invertibility table)."
        )
        if any(r["facts"].get("codec") == "AVIF" and r["facts"].get("tuning") == "iq" for r in rows):
            grid.notes.append(
                "AVIF is here at speed 6 and tuned for the eye, and no codec was shrunk by 1.5: measured"
                " before the curves, whose rivals are stronger."
            )
        failed = [f"{r['method']}: {len(r['failed'])}" for r in rows if r["failed"]]
        if failed:
            grid.notes.append(f"Pictures that a codec cannot hold in so few bytes: {'; '.join(failed)}.")
        made += [grid, paper]
    return made


def rates(document: Document) -> list[Grid]:
    """BD-rate, and the bytes that the codecs take for the quality of each of our points."""
    deltas = Grid(
        "BD-rate: more bytes (+) or fewer (-) than the codec for equal quality, on average",
        ("set", "curve", "measure", *(f"to {codec}" for codec in curves.CODECS)),
    )
    equal = Grid(
        "Bytes for equal quality: ours over the codec's (below 1: ours is smaller)",
        ("set", "point", "bits a pixel", "measure", "ours", *curves.CODECS),
    )
    for name, rows in by_set(document):
        for measure in curves.MEASURES:
            found = curves.curves(rows, name, measure)
            codecs = {codec: found[codec] for codec in curves.CODECS if codec in found}
            for method, points in found.items():
                if method in codecs or not method.startswith("bdflow"):
                    continue
                cells = [curves.bd_rate(codecs.get(codec, []), points) for codec in curves.CODECS]
                if any(cell is not None for cell in cells):
                    text = ("" if cell is None else f"{cell:+.0f} %" for cell in cells)
                    deltas.rows.append((name, method, curves.MEASURES[measure].split(",")[0], *text))
                for point in points:
                    cost = [curves.rate_at(codecs.get(codec, []), point.quality) for codec in curves.CODECS]
                    digits = 2 if measure == "psnr_y" else 4
                    equal.rows.append((
                        name, point.label, f"{point.rate:.4f}", curves.MEASURES[measure].split(",")[0],
                        f"{abs(point.quality):.{digits}f}",
                        *("" if c is None else f"{'≥ ' * c.at_most}{point.rate / c.bits:.2f}" for c in cost),
                    ))  # fmt: skip
        every = max(row["count"] for row in rows)
        left_out = [f"{row['method']} ({row['count']} of {every})" for row in rows if row["count"] < every]
        if left_out:
            equal.notes.append(f"{name}: left out, for want of pictures: {', '.join(left_out)}.")
    deltas.notes.append(
        "Blank, or no line: a codec's settings reach less than"
        f" {curves.OVERLAP:.0%} of the range of our models' quality, or there is one model alone."
    )
    equal.notes.append(
        "≥: the codec's cheapest setting restores better still, and fewer bytes would do. Blank: no setting"
        " of the codec that was tried restores as well."
    )
    return [deltas, equal]


def invertibility(document: Document) -> list[Grid]:
    made = []
    for name, every in by_set(document):
        rows = [row for row in every if row["facts"]["kind"] in ("bdflow", "resampled")]
        if not rows:
            continue
        models = list(dict.fromkeys(r["facts"]["model"] for r in rows if r["facts"]["kind"] == "bdflow"))
        scales = {r["facts"]["model"]: r["facts"]["scale"] for r in rows if "model" in r["facts"]}
        harmed = {
            (r["facts"].get("model") or r["facts"]["scale"], r["facts"]["condition"]): r["mean"]["psnr_y"]
            for r in rows if "condition" in r["facts"]
        }  # fmt: skip
        count = max(row["count"] for row in rows)
        grid = Grid(
            f"What happens to the small picture, {name}, {count} pictures: PSNR-Y (bicubic, likewise)",
            ("condition", *models),
        )
        for condition in dict.fromkeys(condition for _, condition in harmed):
            cells = (
                f"{harmed[model, condition]:.2f} ({harmed[scales[model], condition]:.2f})"
                if (model, condition) in harmed and (scales[model], condition) in harmed
                else ""
                for model in models
            )
            grid.rows.append((condition, *cells))
        drawn: dict[float, dict[str, list[float]]] = {}
        for row in (row for row in rows if "sigma" in row["facts"]):
            of_model = drawn.setdefault(row["facts"]["sigma"], {})
            of_model.setdefault(row["facts"]["model"], []).append(row["mean"]["psnr_y"])
        for sigma, of_model in sorted(drawn.items()):
            told = (f"{fmean(v):.2f} ± {pstdev(v):.3f}" if (v := of_model.get(m)) else "" for m in models)
            seeds = max(len(values) for values in of_model.values())
            grid.rows.append((f"Z drawn with sigma {sigma:g}, {seeds} seeds", *told))
        made.append(grid)
    files = Grid(
        "What happens to a file in an ordinary codec: PSNR-Y restored by a network, and enlarged by Lanczos",
        ("set", "network", "bits a pixel", "condition", "restored", "enlarged", "gain", "pictures"),
    )
    for (name, model, rate, condition), found in left(document).items():
        files.rows.append((
            name, model, f"{rate:g}", condition, f"{found.restored:.2f}", f"{found.enlarged:.2f}",
            f"{found.restored - found.enlarged:+.2f} dB", str(found.pictures),
        ))  # fmt: skip
    files.notes.append(
        "AVIFs as `bdflow downscale --bpp` writes them. Where the file no longer says them, its scale and its"
        " domain are named (`bdflow upscale --scale --domain`)."
    )
    return [*made, files] if files.rows else made


def figure2(document: Document) -> list[Grid]:
    grid = Grid(
        "Figure 2: mean and variance of what the file does not hold; the prior is N(0, 0.2)",
        ("set", "values of", "mean", "variance", "kurtosis (normal: 3)", "pictures"),
    )
    for row in document["rows"]:
        mean, variance = row["mean"]["value"], row["mean"]["variance"]
        numbers = f"{mean:.4f}", f"{variance:.5f}", f"{row['kurtosis']:.1f}"
        grid.rows.append((row["set"], row["method"], *numbers, str(row["count"])))
    return [grid]
