"""How fast: every model both ways, step by step, beside rivals and the machine's own ceiling, in one run.

Everything is timed in rounds, one run of each in turn, so that a busy moment of the machine falls on all
alike; brief runs come right after one that does not count. What counts is the ratio of medians. The ceiling
is the rate of a large convolution in the same runtime.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from rich.table import Table
from safetensors.torch import save

from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.evaluation.demo import PHOTOGRAPH
from bdflow.evaluation.grid import Grid
from bdflow.networks.build import build, count_multiply_adds
from bdflow.networks.config import NetworkConfig
from bdflow.pictures import reader
from bdflow.pictures.codecs import AVIF, JPEG_XL
from bdflow.pictures.resize import resize
from bdflow.pictures.strips import Strips
from bdflow.quality.metrics import psnr_y
from bdflow.runtime.computing import Computing
from bdflow.runtime.rescaler import Rescaler
from bdflow.smallfile import container
from bdflow.system.environment import available_cores, environment
from bdflow.system.offline import onnxruntime
from bdflow.train.export import OPSET, write_graph
from bdflow.zoo import WEIGHTS, Model
from bdflow.zoo.loading import load_model

AVIF_QUALITY = JPEG_XL_QUALITY = 60  # what web pages use; the time hardly depends on it
IRN_SIDES = 1024  # pixels; at 2048 a round of IRN would take as long as all else together
LARGEST_IRN = 64  # 472 million parameters: its export takes 6 GB of memory for a moment
_IRN_BLOCKS: Mapping[str, Any] = {"block": "dense", "blocks": 8, "features": 32}  # a level
_CEILING_SIDE = 256
_BRIEF = 0.5  # seconds


@dataclass
class Timing:
    """One thing that is timed.

    Attributes:
        subject: A model's name, or a rival's.
        task: What it does.
        side: Pixels of a side of the photograph; 0 where there is none.
        run: Does it once.
        multiply_adds: Of one run, where it is a network.
        seconds: Of each round.
        loss: dB of PSNR on Y that it costs against ONNX Runtime, where it is another backend.
    """

    subject: str
    task: str
    side: int
    run: Callable[[], object]
    multiply_adds: float | None = None
    seconds: list[float] = field(default_factory=list)
    loss: float | None = None


def measure(
    models: Sequence[Model],
    sides: Sequence[int],
    *,
    rounds: int = 5,
    threads: int | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Time everything.

    Args:
        models: Those to time.
        sides: Of the square photograph, pixels.
        rounds: Times that each is run, after one run that does not count.
        threads: Processor threads of networks; None takes all cores. (AVIF takes two, JPEG XL all.)
        say: Takes lines of progress.

    Returns:
        `settings`, `environment` and `rows`, ready for JSON; see `table`.
    """
    if threads:
        torch.set_num_threads(threads)
    rows, skipped = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        rivals = []
        for scale in sorted({model.scale for model in models if model.scale <= LARGEST_IRN}):
            say(f"exporting IRN x{scale}")
            rivals.append(_IRN(scale, threads, Path(temporary, f"irn-x{scale}")))
        for side in (0, *sides):
            say(f"{side} pixels" if side else "the ceiling, and start-up")
            if side == 0:
                coming = _alone(models, threads, Path(temporary))
            else:
                fitting = [irn for irn in rivals if side <= IRN_SIDES and side % irn.scale == 0]
                coming = chain(_of(models, side, threads), (irn.timing(side) for irn in fitting))
            timings = []
            for timing in coming:
                try:
                    timing.run()
                    timings.append(timing)
                except (BDFlowError, MemoryError) as error:
                    skipped[f"{timing.subject}, {timing.task}"] = str(error)
            for number in range(rounds):
                say(f"round {number + 1} of {rounds}")
                for timing in timings:
                    seconds = _time(timing.run)
                    # Weights may have left the caches since the last round; a long run makes nothing of it.
                    timing.seconds.append(_time(timing.run) if seconds < _BRIEF else seconds)
            rows += [_row(timing) for timing in timings]
    return {
        "settings": {
            "sides": list(sides),
            "rounds": rounds,
            "threads": threads or available_cores(),
            "photograph": f"{PHOTOGRAPH.name}, resized",
            "codecs": f"AVIF speed 6 and JPEG XL at quality {AVIF_QUALITY}",
        },
        "environment": environment(),
        "count": len(rows),
        "rows": rows,
        "skipped": skipped,
    }


def _time(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _row(timing: Timing) -> dict[str, Any]:
    row: dict[str, Any] = {"subject": timing.subject, "task": timing.task, "side": timing.side}
    row |= {"seconds": round(median(timing.seconds), 6), "each": [round(s, 6) for s in timing.seconds]}
    if timing.multiply_adds:
        row["multiply_adds"] = timing.multiply_adds
        row["multiply_adds_per_second"] = round(timing.multiply_adds / median(timing.seconds))
    if timing.loss is not None:
        row["psnr_y_loss"] = round(timing.loss, 4)
    return row


def _photograph(side: int) -> np.ndarray:
    return resize(reader.read(PHOTOGRAPH).rgb, (side, side))


def _of(models: Sequence[Model], side: int, threads: int | None) -> Iterator[Timing]:
    """What is timed at one size."""
    rgb = _photograph(side)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=90)
    jpeg = buffer.getvalue()
    for model in models:
        if side % model.scale:
            continue
        yield from _of_model(Rescaler(model, Computing(threads=threads, device="cpu")), rgb, jpeg, threads)
    yield Timing("JPEG", "decode", side, lambda: reader.read(jpeg))
    yield Timing("PNG", "encode", side, lambda: Strips.of(rgb).write_png(io.BytesIO()))
    for codec, quality in ((AVIF, AVIF_QUALITY), (JPEG_XL, JPEG_XL_QUALITY)):
        yield Timing(codec.name, "encode", side, partial(codec.encode, rgb, quality))
        try:
            data = codec.encode(rgb, quality)
        except BDFlowError:
            continue  # its encoding, asked for first, says why
        yield Timing(codec.name, "decode", side, partial(codec.decode, data))


def _of_model(rescaler: Rescaler, rgb: np.ndarray, jpeg: bytes, threads: int | None) -> Iterator[Timing]:
    model, side = rescaler.model, rgb.shape[0]
    name = model.name
    work = float(count_multiply_adds(load_model(model.folder))) * (side / 128) ** 2
    small = rescaler.downscale(rgb)
    data = small.to_bytes()
    image = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])
    inputs = {"small": np.ascontiguousarray(small.image.rgb.transpose(2, 0, 1)[None])}
    if small.boundary is not None:
        inputs["boundary"] = small.boundary[None, None]
    down, up = rescaler.session("down"), rescaler.session("up")

    yield Timing(name, "shrink: network", side, lambda: down({"image": image}), work)
    yield Timing(name, "shrink: write the small PNG", side, small.to_bytes)
    yield Timing(name, "shrink: JPEG to small PNG", side, lambda: rescaler.downscale(jpeg).to_bytes())
    yield Timing(name, "restore: read the small PNG", side, lambda: container.read(data))
    yield Timing(name, "restore: network", side, lambda: up(inputs), work)
    yield Timing(name, "restore: small PNG to pixels", side, lambda: rescaler.upscale(data))
    exact = psnr_y(rgb, _pixels(up(inputs)))
    for backend in ("torch", "openvino"):
        try:
            computing = Computing(threads=threads, device="cpu", backend=backend)
            other = Rescaler(model, computing).session("up")
        except BDFlowError:
            continue  # not installed
        loss = exact - psnr_y(rgb, _pixels(other(inputs)))
        yield Timing(name, f"restore: network, {backend}", side, partial(other, inputs), work, loss=loss)


def _pixels(made: list[np.ndarray]) -> np.ndarray:
    return np.moveaxis(made[0][0], 0, 2)


class _IRN:
    """IRN with random weights, for its time alone."""

    def __init__(self, scale: int, threads: int | None, folder: Path) -> None:
        folder.mkdir()
        torch.manual_seed(0)
        network = build(NetworkConfig(scale=scale, boundary_bits=0, **_IRN_BLOCKS))
        (folder / WEIGHTS).write_bytes(save(network.state_dict(), {}))
        write_graph(network, "up", folder)
        self.scale = scale
        self._session = _session(folder / "up.onnx", threads)
        self._multiply_adds = count_multiply_adds(network)

    def timing(self, side: int) -> Timing:
        small = {"small": np.zeros((1, 3, side // self.scale, side // self.scale), np.uint8)}
        work = self._multiply_adds * (side / 128) ** 2
        return Timing(
            f"IRN x{self.scale}", "restore: network", side, partial(self._session.run, None, small), work
        )


def _alone(models: Sequence[Model], threads: int | None, folder: Path) -> Iterator[Timing]:
    """What needs no photograph: convolutions that fill the machine, and the start of a command."""
    draws = np.random.default_rng(0)
    for channels in (64, 128, 256):
        shape = (1, channels, _CEILING_SIDE, _CEILING_SIDE)
        kernel = draws.standard_normal((channels, channels, 3, 3), np.float32)
        graph = helper.make_graph(
            [helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1])],
            "convolution",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(kernel, "kernel")],
        )
        path = folder / "convolution.onnx"
        opsets = [helper.make_opsetid("", OPSET)]
        path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
        x = draws.standard_normal(shape, np.float32)
        run = partial(_session(path, threads).run, None, {"x": x})
        yield Timing(
            "ceiling", f"convolution of {channels} channels", 0, run, 9.0 * channels**2 * _CEILING_SIDE**2
        )
    for model in models:
        if model.folder.parent != zoo.BUILT_IN:
            continue  # a small file does not bring along a foreign model's folder
        small = folder / f"{model.name}.png"
        small.write_bytes(Rescaler(model, Computing(threads=threads)).downscale(_photograph(64)).to_bytes())
        command = [sys.executable, "-m", "bdflow", "upscale", os.fspath(small), "-o", "-"]
        start = partial(subprocess.run, command, check=True, capture_output=True)
        yield Timing(model.name, "command: restore 64x64 pixels", 0, start)


def _session(path: Path, threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])


def ceiling(result: dict[str, Any]) -> float:
    """Multiply-adds per second of the fastest convolution."""
    return max(float(r["multiply_adds_per_second"]) for r in result["rows"] if r["subject"] == "ceiling")


def table(result: dict[str, Any]) -> Table:
    """What the terminal shows: each median, and for networks the share of the ceiling."""
    top = ceiling(result)
    headings = ("", "task", "side", "seconds", "of the ceiling")
    grid = Grid(f"medians of {result['settings']['rounds']} rounds", headings, words=(0, 1))
    for row in result["rows"]:
        rate = row.get("multiply_adds_per_second")
        share = f"{100 * rate / top:.0f} %" if rate else ""
        cells = row["subject"], row["task"], f"{row['side'] or ''}", f"{row['seconds']:.4f}", share
        grid.rows.append(cells)
    return grid.table()
