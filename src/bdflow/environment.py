"""The machine: what a results file says of it, and what a run may use of it."""

import contextlib
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from bdflow import __version__

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
    """Such as ``AMD EPYC``."""
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
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():  # installed, perhaps inside somebody's own repository
        return None
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def available_cores() -> int:
    """Processor cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_memory() -> int | None:
    """Bytes of memory that it may use: the machine's or its container's. None where nobody tells."""
    bounds = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        bounds.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(ValueError, OSError):  # "max", or no such control group
        bounds.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(bounds, default=None)
