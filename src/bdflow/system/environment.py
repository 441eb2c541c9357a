"""The machine: what a results file says of it, and what a run may use of it."""

import contextlib
import math
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bdflow.version import __version__

_PACKAGES = (
    "numpy", "pillow", "onnxruntime", "openvino", "torch", "imagecodecs", "blurhash", "scipy",
    "bjontegaard", "matplotlib",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Versions, commit, processor and date, ready for JSON."""
    installed = {name: _version(name) for name in _PACKAGES}
    return {
        "bdflow": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: version for name, version in installed.items() if version},
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def processor_name() -> str:
    """Such as `AMD EPYC`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The checkout's commit, with a mark where files differ from it; None outside a checkout of bdflow."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():  # installed, perhaps inside somebody's own repository
        return None
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


_CGROUPS = Path("/sys/fs/cgroup")  # where containers see their own limits, of version 2 or 1


def available_cores() -> int:
    """Processor cores that this process may use: the machine's, or its container's share of time."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota, _, period = (_limit("cpu.max") or "").partition(" ")
    if not period:
        quota, period = (_limit(f"cpu/cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
    try:
        share = int(quota) / int(period)  # "max", or -1, where there is no limit
    except (ValueError, ZeroDivisionError):
        return cores
    return min(cores, max(1, math.ceil(share))) if share > 0 else cores


def available_memory() -> int | None:
    """Bytes of memory that it may use: the machine's or its container's. None where nobody tells."""
    bounds = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        bounds.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(ValueError):  # "max"; version 1 names more than there is
            bounds.append(int(_limit(name) or ""))
    return min(bounds, default=None)


def _limit(name: str) -> str | None:
    """What a file of a control group says."""
    try:
        return (_CGROUPS / name).read_text().strip()
    except OSError:
        return None
