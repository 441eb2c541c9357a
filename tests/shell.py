"""The command line, run in the process of the tests."""

import io
import sys
from pathlib import Path

from bdflow.cli.main import main


class Shell:
    """Call it as one types, after `bdflow`; returns the status, standard output and standard error."""

    def __init__(self, capture, monkeypatch) -> None:
        self.capture, self.monkeypatch = capture, monkeypatch

    def __call__(self, *arguments: str | int | Path, stdin: bytes = b"") -> tuple[int, bytes, str]:
        self.monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self.capture.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = self.capture.readouterr()
        return status, out, err.decode()
