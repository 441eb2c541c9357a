"""Ctrl-C and a request to end (SIGTERM): no half-written file stays, and the process ends at once."""

import ctypes
import os
import signal
import socket
import threading
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_watched = False


def end(number: int, _frame: FrameType | None = None) -> None:
    """End this process as the signal does, so that whoever waits for it learns what ended it."""
    from bdflow.system.files import discard_unfinished

    discard_unfinished()
    ctypes.pythonapi.PyOS_setsig(number, None)  # `signal.signal` is for the main thread alone
    signal.raise_signal(number)
    os._exit(128 + number)  # process 1 of a container, which no signal ends unless it listens


def listen() -> None:
    """Heed both signals, unless somebody does already, or they are ignored."""
    global _watched
    if threading.current_thread() is not threading.main_thread():  # no other may set what happens
        return
    for number in _NUMBERS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)
    if not _watched:
        _watched = True
        _watch()


def _watch() -> None:
    """Hear of signals in a thread: the main one sees them only when a network's run is over."""
    ears, mouth = socket.socketpair()
    mouth.setblocking(False)
    signal.set_wakeup_fd(mouth.detach(), warn_on_full_buffer=False)
    if hasattr(os, "register_at_fork"):  # what children hear is not for this process
        os.register_at_fork(after_in_child=_deaf)

    def heed() -> None:
        while heard := ears.recv(1):
            if signal.getsignal(heard[0]) is end:
                end(heard[0], None)

    threading.Thread(target=heed, daemon=True, name="bdflow-signals").start()


def _deaf() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)
