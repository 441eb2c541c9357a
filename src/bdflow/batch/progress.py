"""What a long run shows while it lasts, and how it hears that it shall end."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from bdflow.system import interrupts
from bdflow.system.streams import is_terminal

_SECONDS_BETWEEN_LINES = 30.0


def clock(seconds: float) -> str:
    """Such as `0:03:20`."""
    return str(timedelta(seconds=round(seconds)))


@contextmanager
def progress(total: int, say: Callable[[str], None]) -> Iterator[Callable[[int, str], None]]:
    """Show how far a run is: a bar where standard error is a terminal, else a line now and then.

    Args:
        total: How many steps there are.
        say: Takes the lines.

    Yields:
        To be called after each step with the number of steps done and something to add.
    """
    start = last = time.monotonic()

    def pace(done: int, more: str) -> str:
        rate = done / max(time.monotonic() - start, 1e-9)
        speed = f"{rate:.1f} a second" if rate >= 1 else f"{rate * 60:.1f} a minute"
        return f"{done:,} of {total:,}, {speed}, {clock((total - done) / rate)} left{more}"

    if not is_terminal(sys.stderr):

        def line(done: int, more: str) -> None:
            nonlocal last
            if done and time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                say(pace(done, more))

        yield line
        return

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = BarColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"0 of {total:,}", total=total)

        def move(done: int, more: str) -> None:
            if done:
                bar.update(task, completed=done, description=pace(done, more))

        yield move


@contextmanager
def heed_ctrl_c(say: Callable[[str], None]) -> Iterator[threading.Event]:
    """Within, Ctrl-C only sets the event; pressed again, it ends the process. Where ignored, it stays so."""
    event = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def heard(_signal: int, _frame: FrameType | None) -> None:
        event.set()
        signal.signal(signal.SIGINT, end)
        say("stopping when the pictures at work are finished; Ctrl-C again ends at once")

    def end(_signal: int, _frame: FrameType | None) -> None:
        if sys.stderr is not None and is_terminal(sys.stderr):
            sys.stderr.write("\x1b[?25h")  # the cursor, which the bar hides
        interrupts.end(signal.SIGINT)

    main = threading.current_thread() is threading.main_thread()  # no other may set what happens
    if not main or before is signal.SIG_IGN:
        yield event
        return
    signal.signal(signal.SIGINT, heard)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
