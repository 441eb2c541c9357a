"""Tables from results files. Quoted rows come from published.toml."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, pstdev, stdev

from bdflow.evaluation.grid import Grid, cell
from bdflow.reproduce import curves
from bdflow.reproduce.arrived import left
from bdflow.reproduce.domains import table6
from bdflow.reproduce.facts import Coded, Flow, Resampling
from bdflow.reproduce.marks import marks
from bdflow.reproduce.plans import paper_label
from bdflow.reproduce.published import Variant, published
from bdflow.reproduce.results import Folder
from bdflow.reproduce.schemas import Latents, Results, Row, Sizes, Study

STUDY, NETWORKS = "boundary", "networks-portraits"
ABLATIONS = ("table3", "table4")
TRAINED = {
    "paper": "BDFlow, the paper's",
    "efficient": "BDFlow, efficient",
    "irn": "IRN",
    "hcflow": "HCFlow",
    "tar": "TAR (not invertible)",
    "deeper": "BDFlow, deeper",
}


def grids(table: str, results: Folder) -> list[Grid]:
    """The tables of a results file; of figures none, and none where there is no such file."""
    if table == "table2":
        return table2(results.sizes) if results.sizes else []
    if table == "figure2":
        return figure2(results.latents) if results.latents else []
    if table in ABLATIONS:
        study = results.studies.get(STUDY)
        return {"table3": table3, "table4": table4}[table](study) if study else []
    measured = results.tables.get(table)
    if measured is None:
        return []
    if table == "table1":
        return table1(measured, results.studies.get(NETWORKS))
    return _GRIDS[table](measured) if table in _GRIDS else []


def table1(results: Results, study: Study | None = None) -> list[Grid]:
    """By set; with the networks of the study of equal time, where they were measured on its pictures."""
    grids = []
    headings = (
        "", "PSNR-Y", "PSNR-RGB", "SSIM-Y", "SSIM-RGB", "LPIPS-RGB", "LPIPS-Y", "DISTS", "NIQE", "bytes",
        "pictures",
    )  # fmt: skip
    for name, rows in results.by_set():
        grid = Grid(f"Table 1, {name}: quality by scale", headings, [], [published().paper.differs])
        for scale in sorted({row.facts.scale for row in rows if row.facts.scale}):
            of_scale = [row for row in rows if row.facts.scale == scale]
            grid.rows += [(row.method, *_quality(row)) for row in of_scale]
            if not any(isinstance(row.facts, Flow) for row in of_scale):
                grid.rows.append((f"no bdflow model of x{scale} yet", *[""] * 10))
            grid.rows += _trained(study, name, scale) if study else ()
            for paper in (row for row in published().table1 if row.scale == scale):
                quality = f"{paper.psnr:.2f}", "", f"{paper.ssim:.4f}", "", "", f"{paper.lpips:.4f}"
                grid.rows.append((f"{paper.label}, quoted", *quality, *[""] * 4))
        grid.rows += [(row.method, *_quality(row)) for row in rows if not row.facts.scale]
        blind = "; ".join(f"{row.label}: {row.differs}" for row in published().table1 if row.differs)
        grid.notes.append(f"Of the quoted rows: {blind}.")
        if study:
            grid.notes.append(
                f"Rows with {study.study.length}: networks that were trained on our pictures for that time,"
                " all with BDFlow's settings (configs/studies/networks-portraits.toml)."
            )
        grids += [grid, _small_pictures(name, rows)]
    return grids


def _trained(study: Study, name: str, scale: int) -> Iterable[tuple[str, ...]]:
    for row in study.rows:
        if row.scale == scale and (mean := row.folders.get(name)):
            yield (
                f"{TRAINED[row.network]}, x{scale}, {study.study.length}",
                f"{mean['psnr_y']:.2f}",
                f"{mean['psnr_rgb']:.2f}",
                f"{mean['ssim_y']:.4f}",
                "",
                cell(mean, "lpips", ".4f"),
                *[""] * 3,
                f"{mean['bytes']:,.0f}",
                str(mean["count"]),
            )


def _quality(row: Row) -> tuple[str, ...]:
    mean = row.mean
    return (
        f"{mean['psnr_y']:.2f} ± {row.spread['psnr_y']:.2f}",
        f"{mean['psnr_rgb']:.2f}",
        f"{mean['ssim_y']:.4f}",
        *(cell(mean, name, ".4f") for name in ("ssim_rgb", "lpips", "lpips_y", "dists")),
        cell(mean, "niqe", ".2f"),
        f"{mean['bytes']:,.0f}",
        str(row.count),
    )


def _small_pictures(name: str, rows: Sequence[Row]) -> Grid:
    grid = Grid(
        f"Small pictures, {name}: ours (the bicubic one)",
        ("", "PSNR to bicubic", "samples at 0 or 255", "PNG", "lossless WebP", "JPEG 75", "boundary map"),
    )
    for row in (row for row in rows if "lr_psnr" in row.mean):
        mean = row.mean
        sizes = (f"{mean[f'lr_{k}']:,.0f} ({mean[f'bicubic_lr_{k}']:,.0f})" for k in ("png", "webp", "jpeg"))
        clipped = f"{100 * mean['lr_clipped']:.2f} % ({100 * mean['bicubic_lr_clipped']:.2f} %)"
        boundary = f"{mean['bytes_boundary']:,.0f} bytes"
        grid.rows.append((row.method, f"{mean['lr_psnr']:.2f} dB", clipped, *sizes, boundary))
    return grid


def table2(sizes: Sizes) -> list[Grid]:
    settings = sizes.settings
    grid = Grid(
        f"Table 2: size and speed, {settings.side}x{settings.side} pixels, on {settings.device}"
        f" ({settings.threads} threads, torch {settings.torch}), {settings.runs} runs",
        ("", "parameters", "multiply-adds at 128x128", "s down", "s up", "peak memory", "s, quoted"),
    )
    quoted = {paper_label(row.method, row.scale): row for row in published().table2}
    for row in sizes.rows:
        paper = quoted.pop(row.method, None)
        seconds = (f"{row.mean[way]:.3f} ± {row.spread[way]:.3f}" for way in ("seconds_down", "seconds_up"))
        grid.rows.append(
            (
                row.method,
                f"{row.parameters:,}",
                f"{row.multiply_adds / 1e9:.4f} G",
                *seconds,
                f"{row.peak_mib:,} MiB",
                f"{paper.seconds:.3f}" if paper else "",
            )
        )
    for paper in quoted.values():
        size, work = f"{paper.parameters} M", f"{paper.multiply_adds} G"
        label = f"{paper.method} x{paper.scale}, quoted"
        grid.rows.append((label, size, work, "", "", "", f"{paper.seconds:.3f}"))
    grid.notes.append("The paper names neither the picture's size nor the machine of its seconds.")
    return [grid]


def table3(study: Study) -> list[Grid]:
    names = {
        "bam-and-baw": "mask and weight",
        "bam": "mask alone",
        "baw": "weight alone, no boundary map",
        "neither": "neither (control)",
        "free-channel": "a stored channel that nothing guides (control)",
        "paper-loss": "mask and weight, the paper's loss",
        "paper-loss-neither": "neither, the paper's loss (control)",
    }
    return _ablation(study, "Table 3: boundary-aware mask and weight", names, published().table3)


def table4(study: Study) -> list[Grid]:
    names = {
        "threshold-20": "1 bit, 2-norm, T 20",
        "bam-and-baw": "1 bit, 2-norm, T 50",
        "threshold-100": "1 bit, 2-norm, T 100",
        "norm-1": "1 bit, 1-norm, T 50",
        "bits-2": "2 bits, 2-norm, T 50",
        "bits-3": "3 bits, 2-norm, T 50",
        "more-lr": "1 bit more of green in Y instead (control)",
        "free-bits-3": "3 bits that nothing guides (control; six of the seven models ship so)",
    }
    return _ablation(study, "Table 4: bits, norm and threshold", names, published().table4)


def _ablation(study: Study, title: str, names: Mapping[str, str], quoted: Sequence[Variant]) -> list[Grid]:
    grids = []
    paper = {row.variant: row for row in quoted}
    headings = (
        "", "PSNR-Y", "LR to bicubic LR", "SSIM-Y", "LPIPS-RGB", "bytes", "runs", "pictures",
        "quoted (x64): PSNR-Y / SSIM-Y / LPIPS-Y",
    )  # fmt: skip
    for folder in study.rows[0].folders if study.rows else ():
        grid = Grid(f"{title}, {folder}, {study.study.length} of training each", headings)
        for variant, label in names.items():
            runs = [row.folders[folder] for row in study.rows if row.variant == variant]
            row = paper.get(variant)
            printed = f"{row.psnr:.2f} / {row.ssim:.4f} / {row.lpips:.4f}" if row else ""
            if not runs:
                grid.rows.append((f"{label}: not trained yet", *[""] * 7, printed))
                continue
            mean = {
                name: fmean(run[name] for run in runs) for name in runs[0] if all(name in r for r in runs)
            }
            spread = f" ± {stdev(run['psnr_y'] for run in runs):.2f}" if len(runs) > 1 else ""
            grid.rows.append(
                (
                    label,
                    f"{mean['psnr_y']:.2f}{spread}",
                    f"{mean['lr_psnr']:.2f}",
                    f"{mean['ssim_y']:.4f}",
                    cell(mean, "lpips", ".4f"),
                    f"{mean['bytes']:,.0f}",
                    str(len(runs)),
                    f"{mean['count']:.0f}",
                    printed,
                )
            )
        grid.notes.append(
            "Our runs differ from the paper's in scale, size, optimiser and training time, and in the weights"
            " of the loss unless the row says otherwise (configs/studies/boundary.toml). So compare the"
            " differences between rows, not the values. ± is the standard deviation over seeds."
        )
        grids.append(grid)
    return grids


def table5(results: Results) -> list[Grid]:
    grids = []
    headings = ("", "bytes", "PSNR-Y", "PSNR-RGB", "SSIM-Y", "LPIPS-RGB", "pictures")
    for name, rows in results.by_set():
        grid = Grid(f"Table 5, {name}: every byte counted, and the codecs in as many", headings)
        paper = Grid(
            f"Table 5, {name}, as the paper counts: without boundary map, the small picture as JPEG",
            ("", "bytes", "PSNR-Y"),
        )
        for row in rows:
            mean, psnr = row.mean, f"{row.mean['psnr_y']:.2f}"
            if isinstance(row.facts, Flow):
                paper.rows.append((row.method, f"{mean['lr_jpeg']:,.0f}", psnr))
            if isinstance(row.facts, Coded) and row.facts.quality is not None:
                paper.rows.append((row.method, f"{mean['bytes']:,.0f}", psnr))
                continue
            figures = psnr, f"{mean['psnr_rgb']:.2f}", f"{mean['ssim_y']:.4f}", cell(mean, "lpips", ".4f")
            grid.rows.append((row.method, f"{mean['bytes']:,.0f}", *figures, str(row.count)))
        for quoted in published().table5:
            paper.rows.append((f"{quoted.label}, quoted", f"{quoted.bytes:,}", f"{quoted.psnr:.2f}"))
        paper.notes.append(
            "Our rows here have the bytes of the small picture as a JPEG of quality 75, because the paper's"
            " bytes are about those. But their PSNR, like the paper's, is that of the lossless small picture"
            " with its boundary map. The JPEG would restore far worse (see the invertibility table)."
        )
        coded = [row.facts for row in rows if isinstance(row.facts, Coded)]
        if any(facts.codec == "AVIF" and facts.tuning == "iq" for facts in coded):
            grid.notes.append(
                "Here AVIF is at speed 6 and tuned for the eye, and no codec shrinks by 1.5. The curves,"
                " which were measured later, have stronger rivals."
            )
        failed = [f"{row.method}: {len(row.failed)}" for row in rows if row.failed]
        if failed:
            grid.notes.append(f"Pictures that a codec cannot hold in so few bytes: {'; '.join(failed)}.")
        grids += [grid, paper]
    return grids


def rates(results: Results) -> list[Grid]:
    """BD-rate, and the bytes that the codecs take for the quality of each of our points."""
    deltas = Grid(
        "BD-rate: more bytes (+) or fewer (-) than the codec for equal quality, on average",
        ("set", "curve", "measure", *(f"to {codec}" for codec in curves.CODECS)),
    )
    equal = Grid(
        "Bytes for equal quality: ours over the codec's (below 1: ours is smaller)",
        ("set", "point", "bits per pixel", "measure", "ours", *curves.CODECS),
    )
    for name, rows in results.by_set():
        for key in curves.PLOTTED:
            measure, families = curves.MEASURES[key], curves.curves(rows, name, key)
            codecs = curves.of_codecs(families)
            for family, points in ((family, points) for family, points in families.items() if family.ours):
                bd_rates = [curves.bd_rate(codecs.get(codec, []), points) for codec in curves.CODECS]
                if any(rate is not None for rate in bd_rates):
                    text = ("" if rate is None else f"{rate:+.0f} %" for rate in bd_rates)
                    deltas.rows.append((name, family.label, measure.heading, *text))
                for point in points:
                    cost = [curves.rate_at(codecs.get(codec, []), point.quality) for codec in curves.CODECS]
                    ratios = (
                        "" if rate is None else f"{'≥ ' * rate.at_most}{point.rate / rate.bits:.2f}"
                        for rate in cost
                    )
                    quality = f"{abs(point.quality):.{measure.digits}f}"
                    equal.rows.append(
                        (name, point.label, f"{point.rate:.4f}", measure.heading, quality, *ratios)
                    )
        every = max(row.count for row in rows)
        left_out = [f"{row.method} ({row.count} of {every})" for row in rows if row.count < every]
        if left_out:
            equal.notes.append(f"{name}: left out, because there are no pictures: {', '.join(left_out)}.")
    deltas.notes.append(
        "Blank, or no line: a codec's settings cover less than"
        f" {curves.OVERLAP:.0%} of the range of our models' quality, or there is only one model."
    )
    equal.notes.append(
        "≥: the codec's cheapest setting restores even better, so fewer bytes would be enough. Blank: no"
        " setting of the codec that was tried restores as well."
    )
    return [deltas, equal]


def invertibility(results: Results) -> list[Grid]:
    grids = [_harmed(name, rows) for name, rows in results.by_set()]
    return [*(grid for grid in grids if grid), *_arrived(results)]


def _harmed(name: str, rows: Sequence[Row]) -> Grid | None:
    """What happens to the small picture, and a drawn Z: a row for each, a column for each model."""
    ours = [(row.facts, row) for row in rows if isinstance(row.facts, Flow)]
    bicubic = [(row.facts, row) for row in rows if isinstance(row.facts, Resampling)]
    if not (ours or bicubic):
        return None
    scales = {facts.model: facts.scale for facts, _ in ours}
    restored = {(f.model, f.condition): row.mean["psnr_y"] for f, row in ours if f.condition}
    plain = {(f.scale, f.condition): row.mean["psnr_y"] for f, row in bicubic if f.condition}
    count = max(row.count for _, row in (*ours, *bicubic))
    grid = Grid(
        f"What happens to the small picture, {name}, {count} pictures: PSNR-Y (bicubic, likewise)",
        ("condition", *scales),
    )
    conditions = (row.facts.condition for row in rows if isinstance(row.facts, Flow | Resampling))
    for condition in dict.fromkeys(condition for condition in conditions if condition):
        cells = (
            f"{restored[model, condition]:.2f} ({plain[scale, condition]:.2f})"
            if (model, condition) in restored and (scale, condition) in plain
            else ""
            for model, scale in scales.items()
        )
        grid.rows.append((condition, *cells))
    drawn: dict[float, dict[str, list[float]]] = {}
    for facts, row in ours:
        if facts.sigma is not None:
            of_model = drawn.setdefault(facts.sigma, {})
            of_model.setdefault(facts.model, []).append(row.mean["psnr_y"])
    for sigma, of_model in sorted(drawn.items()):
        cells = (f"{fmean(x):.2f} ± {pstdev(x):.3f}" if (x := of_model.get(m)) else "" for m in scales)
        seeds = max(len(values) for values in of_model.values())
        grid.rows.append((f"Z drawn with sigma {sigma:g}, {seeds} seeds", *cells))
    return grid


def _arrived(results: Results) -> list[Grid]:
    """What happens to files in ordinary codecs; nothing where none was measured."""
    grid = Grid(
        "What happens to a file in an ordinary codec: PSNR-Y restored by a network, and enlarged by Lanczos",
        ("set", "network", "bits per pixel", "condition", "restored", "enlarged", "gain", "pictures"),
    )
    for (name, model, rate, condition), mean in left(results).items():
        quality = f"{mean.restored:.2f}", f"{mean.enlarged:.2f}", f"{mean.restored - mean.enlarged:+.2f} dB"
        grid.rows.append((name, model, f"{rate:g}", condition, *quality, str(mean.pictures)))
    grid.notes.append(
        "AVIFs as `bdflow downscale --bpp` writes them. If the file lost its scale and domain, they were"
        " given (`bdflow upscale --scale --domain`)."
    )
    return [grid] if grid.rows else []


def figure2(latents: Latents) -> list[Grid]:
    grid = Grid(
        "Figure 2: mean and variance of what the file does not hold; the prior is N(0, 0.2)",
        ("set", "values of", "mean", "variance", "kurtosis (normal: 3)", "pictures"),
    )
    for row in latents.rows:
        moments = f"{row.mean['value']:.4f}", f"{row.mean['variance']:.5f}", f"{row.kurtosis:.1f}"
        grid.rows.append((row.set, row.method, *moments, str(row.count)))
    return [grid]


_GRIDS: Mapping[str, Callable[[Results], list[Grid]]] = {
    "table5": table5,
    "table6": table6,
    "curves": rates,
    "marks": marks,
    "invertibility": invertibility,
}
