"""Where the weights of learned metrics lie. They are others' work and no part of the package."""

import os
from pathlib import Path

from bdflow.errors import BDFlowError


def cache() -> Path:
    """The folder that torch keeps such files in."""
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def find(name: str, data: str | Path | None = None) -> Path:
    """A file of that name in `metrics` of `data` or of `$BDFLOW_DATA`, or in torch's cache.

    Raises:
        BDFlowError: It is in none of these places.
    """
    roots = [Path(root) / "metrics" for root in (data, os.environ.get("BDFLOW_DATA")) if root]
    for root in (*roots, cache()):
        if (root / name).is_file():
            return root / name
    raise BDFlowError(
        f"{name} not found: `make metrics` in a clone of bdflow fetches it; or put it into"
        f" $BDFLOW_DATA/metrics or {cache()}"
    )
