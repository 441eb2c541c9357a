"""A log of JSON lines, which a run that was killed may continue."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from bdflow.errors import BDFlowError
from bdflow.system import streams
from bdflow.system.files import reason

_LONGEST_LINE = 1 << 20  # bytes


class Log:
    """Writes one JSON object per line, at once: what happened (`status`) and when comes first in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, status: str, record: dict[str, Any]) -> None:
        """Add a line.

        Raises:
            OSError: The system refuses.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"status": status, "time": now, **record}) + "\n"
        data = memoryview(line.encode())
        while data:  # on a disk that fills up, an unbuffered file takes a part first
            data = data[self._file.write(data) :]
        self._file.flush()


@contextmanager
def open_log(path: str | None, *, resume: bool, force: bool) -> Iterator[Log | None]:
    """A log in a file, or "-": on standard output. No path, no log.

    Args:
        path: An existing file is neither continued nor replaced unasked.
        resume: An earlier log is continued; a last line that a kill cut short is removed.
        force: An earlier log is replaced.

    Raises:
        BDFlowError: The file exists, is no log, or cannot be written.
    """
    if path is None:
        yield None
    elif path == "-":
        yield Log(streams.output())
    else:
        with _open(Path(path), resume, force) as file:
            yield Log(file)


def _open(path: Path, resume: bool, force: bool) -> BinaryIO:
    try:
        if path.exists() and not (resume or force):
            how = "continue it (--resume), choose another name or allow overwriting (--force)"
            raise BDFlowError(f"{path}: exists already: {how}")
        if path.exists() and resume:
            _mend(path)
        # Unbuffered: nothing may be left to be written when it closes.
        return cast(BinaryIO, path.open("ab" if resume else "wb", buffering=0))
    except (OSError, ValueError) as error:
        raise BDFlowError(f"{path}: cannot be written: {reason(error)}") from error


def _mend(path: Path) -> None:
    """Cut off what follows the last whole line; of a file that is no log, nothing."""
    with path.open("r+b") as file:
        if file.read(10) not in (b"", b'{"status":'):
            raise BDFlowError(f"{path}: it is no log of bdflow: choose another name")
        end = file.seek(0, os.SEEK_END)
        start = file.seek(max(0, end - _LONGEST_LINE))
        file.truncate(start + file.read().rfind(b"\n") + 1)
