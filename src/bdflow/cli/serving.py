"""The verb that serves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt
from cyclopts.validators import Number

from bdflow.cli.arguments import DEFAULT, Bytes, Computing, within
from bdflow.runtime import computing as runtime
from bdflow.server import limits as server
from bdflow.system.extras import needs
from bdflow.system.streams import say

_USUAL = server.Limits()


@Parameter(name="*")
@dataclass(frozen=True)
class Limits:
    """What the server takes on; more is refused, with the reason.

    Attributes:
        max_bytes: Of a body, such as 20M.
        max_pixels: Of a photograph, and of a small picture.
        seconds: For a body to arrive, for its turn to come, and for the work.
        jobs: Pictures at once, each in a process; the threads are shared out among them. Default: one a core,
            as far as memory goes at 2 GB each.
        queue: Further ones that may wait.
        grace: Seconds in which work may be finished after a request to end.
        connections: Open at once.
    """

    max_bytes: Bytes = _USUAL.max_bytes
    max_pixels: PositiveInt = _USUAL.max_pixels
    seconds: Annotated[float, Parameter(validator=within(0.1, 86_400))] = _USUAL.seconds
    jobs: Annotated[int | None, Parameter(("--jobs", "-j"), validator=Number(gt=0, lte=1024))] = None
    queue: NonNegativeInt = _USUAL.queue
    grace: Annotated[float, Parameter(validator=within(0, 86_400))] = _USUAL.grace
    connections: PositiveInt = _USUAL.connections


USUAL = Limits()


def serve(
    folder: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 8000,
    web: Path | None = None,
    cors: Annotated[list[str] | None, Parameter(negative=())] = None,
    limits: Limits = USUAL,
    computing: Computing = DEFAULT,
) -> int:
    """Serve a folder of small files as a page, and shrinking and restoring over HTTP, to this machine.

    docs/server.md says what is answered and refused. Ctrl+C ends it, when the work is finished. Needs
    bdflow[serve].

    Args:
        folder: The small files, in folders or not.
        host: Where to listen. Another address than this machine's own is for whoever reaches it: there is no
            TLS and no password.
        port: 0 takes a free one.
        web: The built web package, by which the page restores. Default: web/dist of a clone, if it is built.
        cors: An origin whose pages may read the small files, such as https://example.org; repeatable, "*" is
            for all.
    """
    needs("serve")
    from bdflow.batch.run import share
    from bdflow.server.run import run

    jobs, threads = share(limits.jobs, computing.threads)
    return run(
        folder,
        host=host,
        port=port,
        web=web,
        origins=cors or (),
        limits=server.Limits(**(asdict(limits) | {"jobs": jobs})),
        computing=runtime.Computing(**asdict(replace(computing, threads=threads))),
        say=say,
    )
