"""The page of speed, docs/performance.md, from results/speed-*.json that `bdflow benchmark` wrote."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bdflow.evaluation.grid import markdown

INTRODUCTION = """\
# Performance

Made by `make docs` from `results/speed-*.json`, which `bdflow benchmark` wrote. All of one table was
timed in one run, in turn, on one machine; a busy machine slows all of it alike, so read the ratios rather
than the seconds.
"""
LEGEND = """\
- *of the ceiling*: multiply-adds per second of the network, as a share of those of the fastest of three large
  convolutions in the same runtime, measured in the same run.
- *IRN*: the same scale, IRN's own blocks and widths with random weights, exported and run as our models are.
- *torch, OpenVINO*: the same network there (`--backend`), as a multiple of its time in ONNX Runtime.
- *AVIF, JPEG XL*: the whole photograph at speed 6 and at the default effort.
- Z = 0 leaves nothing to skip: in the inverse of a block (Eq. 6) no convolution reads Z, a difference does.
"""


def page(results: Path) -> str:
    """docs/performance.md, of the runs in a folder."""
    parts = [INTRODUCTION]
    runs = sorted(results.glob("speed-*.json"))
    for path in runs:
        parts += _machine(json.loads(path.read_text()))
    if not runs:
        return INTRODUCTION + "\nNot measured yet: `bdflow benchmark --json results/speed-MACHINE.json`.\n"
    return "\n".join([*parts, LEGEND])


def _machine(result: dict[str, Any]) -> Iterator[str]:
    where, settings = result["environment"], result["settings"]
    rows = {(row["subject"], row["task"], row["side"]): row for row in result["rows"]}
    top = max(row["multiply_adds_per_second"] for row in result["rows"] if row["subject"] == "ceiling")
    models = list(
        dict.fromkeys(key[0] for key in rows if key[1] == "restore: network" and key[0][:3] != "IRN")
    )
    versions = "ONNX Runtime {onnxruntime}, torch {torch}".format(**where["packages"])
    yield f"## {settings['threads']} threads of {where['processor']}"
    yield ""
    yield (
        f"{where['date']}, commit {where['commit']}, {versions}; medians of {settings['rounds']} rounds."
        f" The ceiling: {top / 1e9:.0f} G multiply-adds per second."
    )
    for side in settings["sides"]:
        encode = {name: rows.get((name, "encode", side)) for name in ("AVIF", "JPEG XL")}
        told = [f"{name} encodes it in {row['seconds']:.2f} s" for name, row in encode.items() if row]
        yield f"\n### {side}x{side} pixels\n"
        yield "; ".join(told) + ".\n"
        headings = (
            "model", "shrink", "restore", "of the ceiling", "IRN takes", "torch", "OpenVINO",
            "AVIF to encode",
        )  # fmt: skip
        of_side = [model for model in models if (model, "restore: network", side) in rows]
        yield markdown(headings, [_row(model, side, rows, top) for model in of_side])
    losses: dict[int, float] = {}
    for row in result["rows"]:
        if row["task"].endswith("openvino"):
            losses[row["side"]] = max(losses.get(row["side"], 0.0), row["psnr_y_loss"])
    if losses:
        told = ", ".join(f"{loss:.3f} dB at {side}" for side, loss in losses.items())
        yield f"\nThe most that OpenVINO costs of the photograph's PSNR: {told} pixels (enlarged from 512)."
    yield "\n### Where the time goes\n"
    steps = [
        (model, str(side), *(_step(rows, model, task, side) for task in _STEPS))
        for model in models
        for side in settings["sides"]
        if (model, "restore: network", side) in rows
    ]
    yield markdown(("model", "side", *_STEPS), steps)
    yield "\n### Start-up\n"
    starts = [
        (f"{task.partition(': ')[2]}, {subject}", f"{row['seconds']:.2f}")
        for (subject, task, _), row in rows.items()
        if task.startswith("command")
    ]
    yield markdown(("command", "seconds"), starts)
    for what, why in result["skipped"].items():
        yield f"\nNot measured: {what}: {why}."
    yield ""


_STEPS = {
    "JPEG: decode": ("JPEG", "decode"),
    "shrink: network": None,
    "shrink: write the small PNG": None,
    "restore: read the small PNG": None,
    "restore: network": None,
    "PNG: encode": ("PNG", "encode"),
}


def _step(rows: dict[Any, Any], model: str, task: str, side: int) -> str:
    row = rows[(*(_STEPS[task] or (model, task)), side)]
    return f"{1000 * row['seconds']:.1f} ms"


def _times(ratio: float) -> str:
    """A digit behind the point, or of small ratios the first that says anything."""
    return f"{ratio:.1f}" if ratio >= 0.095 else f"{ratio:.1g}"


def _row(model: str, side: int, rows: dict[Any, Any], top: float) -> Sequence[str]:
    restore = rows[model, "restore: network", side]
    whole = rows[model, "restore: small PNG to pixels", side]["seconds"]

    def ratio(subject: str, task: str, own: float) -> str:
        row = rows.get((subject, task, side))
        return f"{_times(row['seconds'] / own)} times as long" if row else "-"

    scale = re.search(r"-x(\d+)", model)  # as in portraits-x8-paper
    irn = f"IRN x{scale[1]}" if scale else ""
    return (
        model,
        f"{rows[model, 'shrink: JPEG to small PNG', side]['seconds']:.3f} s",
        f"{whole:.3f} s",
        f"{100 * restore['multiply_adds_per_second'] / top:.0f} %",
        ratio(irn, "restore: network", restore["seconds"]),
        ratio(model, "restore: network, torch", restore["seconds"]),
        ratio(model, "restore: network, openvino", restore["seconds"]),
        ratio("AVIF", "encode", whole),
    )
