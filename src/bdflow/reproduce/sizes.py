"""Table 2: parameters, multiply-adds, seconds and memory of each network, each in a process of its own."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import torch

from bdflow.errors import BDFlowError
from bdflow.networks.build import build, count_multiply_adds, count_parameters
from bdflow.networks.config import NetworkConfig
from bdflow.reproduce.entries import Ours
from bdflow.reproduce.plans import PAPER_SCALES, paper_label
from bdflow.reproduce.schemas import Size, SizeFacts, SizeSettings
from bdflow.zoo.loading import load_model


def networks(models: Sequence[Ours]) -> dict[str, NetworkConfig]:
    """The paper's networks, IRN's, and those that take part here."""
    configs = {}
    for scale in PAPER_SCALES:
        configs[paper_label("BDFlow", scale)] = NetworkConfig(scale=scale, blocks=4 if scale == 8 else 2)
        irn = NetworkConfig(scale=scale, blocks=8, block="dense", features=32, boundary_bits=0)
        configs[paper_label("IRN", scale)] = irn
    for ours in models:
        model = ours.rescaler.model
        configs[f"{model.name}, shipped"] = load_model(model.folder).config
    return configs


def measure(
    models: Sequence[Ours], known: Sequence[Size], quick: bool, say: Callable[[str], None]
) -> tuple[SizeSettings, list[Size]]:
    """Every network, untrained, on a random picture: time does not depend on the numbers.

    Args:
        models: The bdflow models that take part.
        known: Rows of an earlier run; those of the same network, picture and machine are not measured again.
        quick: Only the smallest networks, on a small picture.
        say: Takes lines of progress.

    Returns:
        Settings, and a row for each network; a network that memory does not hold has none.
    """
    side, runs = (128, 2) if quick else (512, 3)
    settings = SizeSettings(
        quick=quick,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "processor",
        threads=torch.get_num_threads(),
        torch=str(torch.__version__),
        side=side,
        runs=runs,
    )
    timed = msgspec.structs.asdict(settings)
    timed.pop("quick")
    rows: list[Size] = []
    for name, config in networks(models).items():
        facts = SizeFacts(**timed, network=asdict(config))
        with torch.device("meta"):
            empty = build(config)
        parameters = count_parameters(empty)
        if quick and parameters > 4e6:
            continue
        named: dict[str, Any] = {"method": name, "scale": config.scale, "facts": facts}
        if old := next((row for row in known if _same(row.facts, facts)), None):
            rows.append(msgspec.structs.replace(old, **named))
            continue
        say(f"table2 {name}: {parameters / 1e6:.1f} million parameters")
        try:
            # A fresh process: the peak of its memory is this network's, and it is given back.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                figures = pool.submit(_timed, config, side, runs).result()
        except (OSError, RuntimeError) as error:  # killed for memory, or CUDA's own
            say(f"table2 {name}: left out: {error}")
            continue
        counts: dict[str, Any] = {
            "parameters": parameters,
            "multiply_adds": count_multiply_adds(empty),
            "count": runs,
        }
        rows.append(Size(**figures, **counts, **named))
    if not rows:
        raise BDFlowError("table2: no network could be measured")
    return settings, rows


def _same(known: SizeFacts, facts: SizeFacts) -> bool:
    """Whether a row, perhaps of an earlier release, measured the same network in the same way."""
    try:
        network = asdict(NetworkConfig.of(known.network))
    except ValueError:
        return False
    return msgspec.structs.replace(known, network=network) == facts


def _timed(config: NetworkConfig, side: int, runs: int) -> dict[str, Any]:
    """Seconds each way, mean and spread over runs after one to warm up, and the peak of memory in MiB."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = _peak()
    model = build(config).to(device).eval()
    x = torch.rand(1, 3, side, side, device=device)
    seconds: dict[str, list[float]] = {"down": [], "up": []}
    with torch.no_grad():
        for _ in range(runs + 1):
            start = _now()
            y, boundary, _ = model(x)
            middle = _now()
            model.inverse(y, boundary)
            seconds["down"].append(middle - start)
            seconds["up"].append(_now() - middle)
    on_gpu = device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _peak() - before
    taken = {way: column[1:] for way, column in seconds.items()}
    return {
        "mean": {f"seconds_{way}": round(statistics.fmean(c), 5) for way, c in taken.items()},
        "spread": {f"seconds_{way}": round(statistics.pstdev(c), 5) for way, c in taken.items()},
        "peak_mib": round(memory),
    }


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak() -> float:
    """The most memory that this process has held, in MiB."""
    if sys.platform == "linux":  # its ru_maxrss is never less than that of the process which started this one
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
