"""Standard streams, which may be closed, or missing (daemons, pythonw), or no files at all (notebooks).

Standard output is for results alone; whatever is said goes to standard error, or nowhere.
"""

import contextlib
import os
import sys
from typing import BinaryIO, TextIO

from bdflow.errors import BDFlowError
from bdflow.system.files import printable


def prepare() -> None:
    """Make the streams of a command bear whatever is written to them.

    Where a descriptor of a standard stream is free, the next file to be opened would get it, and all that
    libraries say. What a terminal's encoding has no character for is written as an escape.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # the lowest that is free
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and not stream.closed:
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Tell the user one line."""
    if sys.stderr is not None:  # else `print` would take standard output
        with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads on
            print(printable(text), file=sys.stderr)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody sees what is written there."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


def check_output() -> None:
    """Refuse, before the work, to print a result that nobody would get.

    Raises:
        BDFlowError: Standard output is closed.
    """
    if sys.stdout is None or sys.stdout.closed:
        raise BDFlowError("standard output is closed: open it, or name a file")


def output() -> BinaryIO:
    """Standard output, for the bytes of a result.

    Raises:
        BDFlowError: It is closed, or takes no bytes.
    """
    check_output()
    return _bytes(sys.stdout, "standard output takes no bytes here: name a file (-o FILE)")


def read_input() -> bytes:
    """All of standard input.

    Raises:
        BDFlowError: It is closed, or cannot be read.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise BDFlowError("standard input is closed: name a file")
    stream = _bytes(sys.stdin, "standard input gives no bytes here: name a file")
    try:
        return stream.read()
    except OSError as error:
        raise BDFlowError(f"standard input: {error.strerror}: name a file") from error


def _bytes(stream: TextIO, otherwise: str) -> BinaryIO:
    try:
        return stream.buffer
    except AttributeError:
        raise BDFlowError(otherwise) from None


def flush_output() -> None:
    """Write what is left.

    Raises:
        OSError: The system refuses.
    """
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def drop_output() -> None:
    """Let standard output lead nowhere, for nobody reads it; else the interpreter's end would say so."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
