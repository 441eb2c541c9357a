"""A server from its start to its end."""

import logging
import signal
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import FrameType

import anyio
import uvicorn

from bdflow.errors import BDFlowError
from bdflow.runtime.computing import Computing
from bdflow.server.app import Application
from bdflow.server.folder import shown
from bdflow.server.limits import Limits
from bdflow.server.pool import Pool
from bdflow.system.files import printable, reason

_CHECKOUT = Path(__file__).parents[3] / "web" / "dist"  # where a clone's build lies; see docs/web.md
_UPLOAD = 10.0  # seconds for answers to be taken, after the last work is finished


def run(
    folder: Path,
    *,
    host: str,
    port: int,
    web: Path | None,
    origins: Sequence[str],
    limits: Limits,
    computing: Computing,
    say: Callable[[str], None],
) -> int:
    """Serve until a signal ends it.

    Args:
        folder: Of small files.
        host: Where to listen: a name or an address of this machine.
        port: 0 takes a free one.
        web: The built web package; None takes a clone's, where it has been built.
        origins, limits, computing: As for `Application`.
        say: Takes lines for whoever started it.

    Returns:
        The exit status: 128 and the number of the signal that ended it.

    Raises:
        BDFlowError: There is no such folder, or nobody can listen there.
    """
    if not folder.is_dir():
        raise BDFlowError(f"{folder}: there is no such folder: name one of small files")
    web = _built(web)
    app = Application(folder, web=web, origins=origins, limits=limits, computing=computing)
    with _listening(host, port) as listener:
        address, port = listener.getsockname()[:2]
        if not ip_address(address).is_loopback:
            say(
                f"bdflow: warning: {address} is not this machine's alone: there is no TLS and no password;"
                " docs/server.md says what to put in front"
            )
        if web is None:
            say(
                "bdflow: no built web package: the page shows the small files as they are. Build it"
                " (docs/web.md), or name its folder (--web)"
            )
        count = sum(1 for _ in shown(folder))
        url = f"http://{f'[{address}]' if ':' in address else address}:{port}/"
        server = _Server(
            uvicorn.Config(
                app.asgi,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level=logging.ERROR,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=limits.connections,
                timeout_graceful_shutdown=round(limits.grace + _UPLOAD),
            ),
            app.pool,
            limits.grace,
            lambda: say(f"serving {count:,} pictures of {printable(str(folder))} at {url} (Ctrl+C ends it)"),
        )
        server.run([listener])
    return 128 + (server.heard or signal.SIGTERM)


def _built(web: Path | None) -> Path | None:
    """The folder of the built web package, or that there is none.

    Raises:
        BDFlowError: What was named is none.
    """
    if web is None:
        return _CHECKOUT if (_CHECKOUT / "element.js").is_file() else None
    if not (web / "element.js").is_file():
        raise BDFlowError(
            f"{web}: holds no element.js: name the folder of the built web package (docs/web.md)"
        )
    return web


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        BDFlowError: The host is not this machine's, or the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that is none
        raise BDFlowError(f"{host}, port {port}: cannot listen there: {reason(error)}") from error


class _Server(uvicorn.Server):
    """uvicorn's, which tells when it is there, and ends work that takes too long when it shall end."""

    def __init__(self, config: uvicorn.Config, pool: Pool, grace: float, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.pool, self.grace, self.ready = pool, grace, ready
        self.heard: int | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """All of it."""
        await self.pool.start()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let work be finished, and end what is left."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._stop_work)
            await super().shutdown(sockets)
            group.cancel_scope.cancel()

    async def _stop_work(self) -> None:
        await anyio.sleep(self.grace)
        self.pool.stop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal; the second one ends it at once."""
        self.heard = self.heard or sig
        if self.should_exit:
            self.force_exit = True
            logging.getLogger(
                "uvicorn.error"
            ).disabled = True  # of work that is cut off it would tell at length
        self.should_exit = True
