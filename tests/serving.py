"""`bdflow serve` in a process of its own, and in this one without a socket."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import anyio
import httpx

from bdflow import zoo
from bdflow.runtime.computing import Computing
from bdflow.server.app import Application
from bdflow.server.limits import Limits

CODE = """
import signal, sys
from bdflow.cli.main import main

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have inherited another
    sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Served:
    """A server, what it said, and a client of it."""

    process: subprocess.Popen[str]
    client: httpx.Client
    said: list[str] = field(default_factory=list)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)

    @property
    def workers(self) -> list[int]:
        """The processes that it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return list(map(int, children.split()))


@contextlib.contextmanager
def serving(folder: Path, *options: object, program: Path) -> Iterator[Served]:
    """Until it listens; in the end it must have said nothing more than that."""
    program.write_text(CODE)
    command = [sys.executable, "-W", "error", program, "serve", folder, "--port", 0, "--threads", 1, *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)
    served = Served(process, httpx.Client(timeout=60))
    try:
        assert process.stderr is not None
        for line in process.stderr:
            served.said.append(line.strip())
            if found := re.search(r"http://\S+/", line):
                served.client.base_url = httpx.URL(found[0])
                break
        yield served
        process.terminate()
        more = process.stderr.read()
        assert not more, more
    finally:
        served.client.close()
        process.kill()
        process.wait()
        process.stderr.close()


def ask(
    folder: Path, method: str, path: str | httpx.URL, *, web: Path | None = None, origins=(), **more
) -> httpx.Response:
    """One answer of an application, without a server."""
    app = application(zoo.BUILT_IN, folder, web, origins)

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app.asgi, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **more)

    return anyio.run(asked)


@cache
def application(_: Path, folder: Path, web: Path | None = None, origins=()) -> Application:
    """One for each folder: it looks at all models."""
    return Application(folder, web=web, origins=origins, limits=Limits(), computing=Computing(threads=1))


def wait_until(condition, seconds: float = 30) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


# What a worker may be asked for, in place of bdflow's work


def endless(data, query, computing, max_pixels):
    time.sleep(600)


def dying(data, query, computing, max_pixels):
    os.kill(os.getpid(), signal.SIGKILL)
