"""Plots from results files, as SVG. They say the same on every machine: no date, fixed names."""

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from bdflow.reproduce import curves
from bdflow.reproduce.facts import Family, Resampling
from bdflow.reproduce.harm import gains
from bdflow.reproduce.published import published
from bdflow.reproduce.schemas import Latents, Results, Row
from bdflow.system.files import write_bytes
from bdflow.system.offline import passing_font_list

with passing_font_list():
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {
    "bdflow photos": "#d62728", "bdflow portraits": "#ff7f0e", "bdflow portraits-x8-paper": "#b00060",
    "JPEG": "#7f7f7f", "WebP": "#2ca02c", "AVIF": "#1f77b4", "JPEG XL": "#9467bd", "bicubic, PNG": "#bcbd22",
    "Lanczos, PNG": "#e0d68a", "PCA": "#8c564b", "ESRGAN": "#17becf", "Real-ESRGAN": "#0b5d66",
    "BDFlow, quoted": "#000000", "IRN, quoted": "#2ca02c", "GRAIN, quoted": "#9467bd",
}  # fmt: skip
_OTHERS = ("#e377c2", "#6a3d9a", "#a6761d", "#444444")  # a user's own models and other programs
_SHOWN = 0.003, 6.0  # bits per pixel
_STYLE: Any = {"svg.hashsalt": "bdflow", "svg.fonttype": "path", "font.size": 10, "axes.grid": True,
          "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False}  # fmt: skip


def rate_plots(results: Results, folder: Path) -> None:
    """A plot of each set."""
    for name in dict.fromkeys(row.set for row in results.rows):
        rows = [row for row in results.rows if row.set == name]
        shown = [m for m in curves.PLOTTED if any(m in row.mean for row in rows)]
        with matplotlib.rc_context(_STYLE):
            figure = Figure(figsize=(5.2 * len(shown), 4.4), layout="constrained")
            for index, measure in enumerate(shown, 1):
                axes = figure.add_subplot(1, len(shown), index)
                _rates(axes, rows, name, measure)
            count = max(row.count for row in rows)
            figure.suptitle(f"{name}, {count} picture{'s' * (count > 1)}: rate against quality")
            _legend(figure)
            _save(figure, folder / rate_plot(name))


def rate_plot(name: str) -> str:
    """The file of a set's plot."""
    return f"curves-{name.replace('/', '-')}.svg"


def _rates(axes: Axes, rows: Sequence[Row], name: str, measure: str) -> None:
    sign = curves.MEASURES[measure].sign
    others = itertools.cycle(_OTHERS)
    low, high = _SHOWN
    inside: list[float] = []
    for family, points in curves.curves(rows, name, measure).items():
        seen = [sign * point.quality for point in points if low <= point.rate <= high]
        if not seen:
            continue
        inside += seen
        axes.plot(
            [point.rate for point in points],
            [sign * point.quality for point in points],
            label=family.label,
            color=_COLOURS.get(family.label) or next(others),
            linewidth=2.4 if family.ours else 1.3,
            zorder=3 if family.ours else 2,
            marker="D" if family.ours else "o",
            markersize=7 if family.ours else 2.5,
        )
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    if inside:
        margin = 0.05 * (max(inside) - min(inside)) or 1
        axes.set_ylim(min(inside) - margin, max(inside) + margin)
    if sign < 0:
        axes.invert_yaxis()
    axes.set_xlabel("bits per pixel, every byte counted")
    axes.set_ylabel(curves.MEASURES[measure].axis)


def harm_plot(results: Results, folder: Path) -> None:
    """PSNR-Y over a bicubic thumbnail's that went through the same: a panel for each set, a dot a model."""
    gains_by_case = gains(results)
    if not gains_by_case:
        return
    sets, models, conditions = (list(dict.fromkeys(names)) for names in zip(*gains_by_case, strict=True))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(2.4 + 3.2 * len(sets), 4.6), layout="constrained")
        panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, sets, strict=True):
            axes.axvline(0, color="#000000", linewidth=1)
            for index, model in enumerate(models):
                x = [gains_by_case.get((name, model, condition), math.nan) for condition in conditions]
                # Off the middle of the line by model, so that no dot hides another.
                y = np.arange(len(conditions)) + 0.7 * ((index + 0.5) / len(models) - 0.5)
                axes.scatter(x, y, s=22, label=model, zorder=2)
            axes.set_yticks(range(len(conditions)), conditions)
            axes.set_title(name)
        panels[0].invert_yaxis()
        figure.supxlabel("PSNR-Y over an enlarged thumbnail that went through the same, dB", fontsize=10)
        _legend(figure)
        _save(figure, folder / "invertibility.svg")


def latent_plot(latents: Latents, folder: Path) -> None:
    """Figure 2: histograms as they are, and at the prior's spread."""
    rows = [row for row in latents.rows if row.set == latents.rows[0].set]
    low, high, count = latents.settings.edges
    edges = np.linspace(low, high, count)
    middle = (edges[1:] + edges[:-1]) / 2
    variance = latents.settings.prior_variance
    prior = np.exp(-(middle**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(12, 4), layout="constrained")
        kinds = (
            ("as they are", [row.histogram for row in rows]),
            (f"scaled to a variance of {variance:g}", [row.unit for row in rows]),
        )
        for index, (title, histograms) in enumerate(kinds, 1):
            axes = figure.add_subplot(1, 2, index)
            axes.plot(middle, prior, color="#000000", linestyle="--", label=f"N(0, {variance:g})")
            for row, histogram in zip(rows, histograms, strict=True):
                axes.step(middle, histogram, where="mid", label=row.method)
            axes.set_yscale("log")
            axes.set_ylim(bottom=1e-4)
            axes.set_title(title)
            axes.set_xlabel("value")
        figure.axes[0].set_ylabel("density")
        _legend(figure)
        figure.suptitle(f"{rows[0].set}: true high frequencies, and Z of trained networks")
        _save(figure, folder / "figure2.svg")


def scale_plot(results: Results, folder: Path) -> None:
    """Table 1 as a plot: PSNR-Y against scale, ours, bicubic's and what the paper prints."""
    rows = [row for row in results.rows if row.count and row.facts.scale]
    if not rows:
        return
    name = rows[0].set
    measured: dict[Family, dict[int, list[float]]] = {}
    for row in (row for row in rows if row.set == name):
        family, scale = row.facts.family, row.facts.scale
        if scale and not (isinstance(row.facts, Resampling) and row.facts.filter == "bilinear"):
            measured.setdefault(family, {}).setdefault(scale, []).append(row.mean["psnr_y"])
    printed: dict[str, dict[int, list[float]]] = {}
    for quoted in published().table1:
        if quoted.method in ("BDFlow", "IRN", "GRAIN"):
            label = f"{quoted.method}, quoted"
            printed.setdefault(label, {}).setdefault(quoted.scale, []).append(quoted.psnr)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.5, 4.2), layout="constrained")
        axes = figure.add_subplot()
        others = itertools.cycle(_OTHERS)
        for family, values in measured.items():
            axes.plot(
                *_means(values),
                label=family.label,
                marker="D" if family.ours else "o",
                color=_COLOURS.get(family.label) or next(others),
                linewidth=2.4 if family.ours else 1.3,
                linestyle="-",
                zorder=3 if family.ours else 2,
            )
        for label, values in printed.items():
            colour = _COLOURS.get(label) or next(others)
            axes.plot(
                *_means(values),
                label=label,
                marker="o",
                color=colour,
                linewidth=1.3,
                linestyle=":",
                zorder=2.5,
            )
        axes.set_xscale("log", base=2)
        ticks = sorted({scale for values in (*measured.values(), *printed.values()) for scale in values})
        axes.set_xticks(ticks, [f"x{tick}" for tick in ticks])
        axes.set_ylabel("PSNR-Y, dB")
        axes.set_title(f"{name}: quality by scale")
        axes.legend(frameon=False)
        _save(figure, folder / "table1.svg")


def _means(values: Mapping[int, Sequence[float]]) -> tuple[list[int], list[float]]:
    """Scales, and the mean at each."""
    scales = sorted(values)
    return scales, [fmean(values[scale]) for scale in scales]


def _legend(figure: Figure) -> None:
    """One beside all axes, of what the first shows."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)


def _save(figure: Figure, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    write_bytes(path, buffer.getvalue(), overwrite=True)
