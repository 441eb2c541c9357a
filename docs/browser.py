"""The figures of docs/web.md, from results/web.json that scripts/web_speed.py wrote."""

import json
from pathlib import Path
from typing import Any

MEASURES = {"psnr_y": "PSNR-Y", "psnr_rgb": "PSNR-RGB", "lpips": "LPIPS-RGB"}


def costs(path: Path) -> str:
    """Bytes and seconds."""
    result = json.loads(path.read_text())
    sizes, where = result["bytes"], result["environment"]
    rows = [
        "| fetched once | bytes |",
        "|---|---|",
        f"| all JavaScript, gzipped, {sizes['kernels alone']:,} of it the kernels for WebAssembly |"
        f" {sizes['code']:,} |",
        f"| the weights of {result['model']}, int8 | {sizes['weights']:,} |",
        f"| for comparison: onnxruntime-web, WebAssembly alone, gzipped | {sizes['onnxruntime-web']:,} |",
        "",
        f"Seconds of one core of {where['processor']}, with {result['model']}, on one thread, all in one run"
        f" ({where['date']}, commit {where['commit']}, random weights: the arithmetic is the same):"
        if result["random weights"]
        else f"Seconds of one core of {where['processor']}, with {result['model']}, on one thread, all in one"
        f" run ({where['date']}, commit {where['commit']}):",
        "",
        "| photograph | in Chromium, from file to pixels | our kernels in node | onnxruntime-web in node |"
        " ONNX Runtime, native | onnxruntime-web takes | native takes |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [_speed(row) for row in result["speed"]]
    return "\n".join(rows)


def summary(path: Path) -> str:
    """The README's line."""
    result = json.loads(path.read_text())
    sizes, row = result["bytes"], result["speed"][0]
    seconds = row["ours in chromium"]
    return (
        f"The code has {sizes['code'] / 1000:.0f} kB, the network {sizes['weights'] / 1000:.0f} kB."
        f" A picture of {row['side']}x{row['side']} takes {seconds:.2f} s of one core in Chromium."
    )


def _speed(row: dict[str, Any]) -> str:
    ours, native = row["ours in node"], row["onnxruntime"]
    return (
        f"| {row['side']}x{row['side']} | {row['ours in chromium']:.2f} | {ours:.2f} |"
        f" {row['onnxruntime-web in node']:.2f} | {native:.2f} |"
        f" {row['onnxruntime-web / ours']:.2f} times ours | {native / ours:.2f} times ours |"
    )


def paid_back(path: Path) -> str:
    """After how many pictures the download is paid back."""
    result = json.loads(path.read_text())
    rows = [
        "| network | pictures | for equal | our bytes, over the best plain codec's | fetched once |"
        f" paid back after, at {result['payback'][0]['file']:,} bytes each |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["payback"]:
        # A network is judged by what it was trained for; others by both.
        apt = {"restoration-fidelity": ("psnr_rgb",), "restoration-look": ("lpips",)}
        if row["measure"] not in apt.get(row["model"], ("psnr_rgb", "lpips")):
            continue
        after = f"{row['pictures']:,} pictures" if row["pictures"] else "never"
        rows.append(
            f"| {row['model']} | {row['set']} | {MEASURES[row['measure']]} | {row['share']:.2f} |"
            f" {row['download']:,} bytes | {after} |"
        )
    return "\n".join(rows)
