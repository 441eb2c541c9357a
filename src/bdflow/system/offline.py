"""Imports of dependencies that would write below the home folder or call somebody: so, they do neither.

On Linux, ONNX Runtime from 1.29 reports to its maker: its import writes a device id and a database below the
home folder, and some nine seconds later it looks up a host. Whoever has set `ORT_DISABLE_TELEMETRY`, to
whatever value, has decided, and nothing is done here.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

_SWITCH = "ORT_DISABLE_TELEMETRY"
_decided_by_user = _SWITCH in os.environ

try:
    # Read once, in the import: neither the rest of this process nor programs that it starts need see it.
    os.environ.setdefault(_SWITCH, "1")
    import onnxruntime
finally:
    if not _decided_by_user:
        os.environ.pop(_SWITCH, None)

if not _decided_by_user:
    # Another may have imported it before. What its import began goes on; nothing is added.
    onnxruntime.disable_telemetry_events()

__all__ = ["hidden", "onnxruntime", "passing_font_list"]


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Import something as if a package that it can do without were not installed."""
    if package in sys.modules:  # loaded already: what it does, it has done
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own mark: its import fails
    try:
        yield
    finally:
        sys.modules.pop(package, None)


@contextmanager
def passing_font_list() -> Iterator[None]:
    """Import matplotlib without the list of fonts that it would keep below the home folder.

    Where the user has said where it shall keep such things (`MPLCONFIGDIR`), it does.
    """
    if "MPLCONFIGDIR" in os.environ:
        yield
        return
    with TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("MPLCONFIGDIR", None)
