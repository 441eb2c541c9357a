"""The application: its routes, and a body's way from the client to a worker and back."""

from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from anyio import create_task_group, move_on_after
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.runtime.computing import Computing
from bdflow.server import problems, queries, work
from bdflow.server.description import description
from bdflow.server.edge import Edge
from bdflow.server.folder import MODULES, PICTURES, Files, page
from bdflow.server.limits import Limits
from bdflow.server.metrics import Metrics
from bdflow.server.pool import Pool
from bdflow.server.weights import Weights
from bdflow.system.files import printable
from bdflow.version import __version__


class Application:
    """What `bdflow serve` runs, an ASGI application.

    Args:
        folder: Of small files.
        web: The built web package; None for a page that shows the small files as they are.
        origins: Of pages that may read the small files, such as ``https://example.org``; ``*`` for all.
        limits: What it takes on.
        computing: How each worker computes.

    Raises:
        BDFlowError: A built-in model is damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        web: Path | None,
        origins: Sequence[str] = (),
        limits: Limits,
        computing: Computing,
    ) -> None:
        self.folder, self.web, self.limits = folder, web, limits
        self.pool = Pool(limits, computing)
        self.metrics = Metrics(self.pool)
        models = [*zoo.built_in(), *zoo.built_in_restorations()]
        self._models = list(map(_model, models))
        self._description = description(limits)
        files: ASGIApp = Files(folder, PICTURES)
        if origins:
            files = _shared(files, origins)
        routes: list[BaseRoute] = [
            Route("/", self.page),
            Route("/page.css", _own("page.css", "text/css")),
            Route("/icon.svg", _own("icon.svg", "image/svg+xml")),
            Mount("/files", files),
            Route("/shrink", self.shrink, methods=["POST"]),
            Route("/restore", self.restore, methods=["POST"]),
            Route("/models", lambda _: JSONResponse(self._models)),
            Route("/openapi.json", lambda _: JSONResponse(self._description)),
            Route("/healthz", lambda _: JSONResponse({"status": "ok", "version": __version__})),
            Route(
                "/metrics",
                lambda _: PlainTextResponse(self.metrics.text(), media_type=Metrics.TYPE),
            ),
        ]
        if web:
            routes.append(Route("/bdflow/weights/{name}", Weights([model.name for model in models]).answer))
            routes.append(Mount("/bdflow", Files(web, MODULES)))
        handlers = {
            HTTPException: problems.refuse,
            ClientDisconnect: problems.left,
            Exception: problems.fail,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False
        self.asgi = Edge(app, self.metrics)

    def page(self, request: Request) -> Response:
        """The page of the folder."""
        number = request.query_params.get("page", "1")
        if not (number.isascii() and number.isdigit() and len(number) < 9):
            raise HTTPException(404)
        return HTMLResponse(page(self.folder, int(number), self.web), headers={"cache-control": "no-cache"})

    async def shrink(self, request: Request) -> Response:
        """A photograph into its small file."""
        return await self._worked(request, queries.Shrink, work.shrink)

    async def restore(self, request: Request) -> Response:
        """A small file into its photograph."""
        return await self._worked(request, queries.Restore, work.restore)

    async def _worked(self, request: Request, kind: type[Any], function: Callable[..., Any]) -> Response:
        """Whatever a worker makes of a body."""
        try:
            query = queries.parse(request.query_params, kind)
        except BDFlowError as error:
            raise HTTPException(400, str(error)) from error
        async with self.pool.place():
            data = await self._body(request)
            made: work.Made = await _unless_left(request, lambda: self.pool.run(function, data, query))
        headers = {"cache-control": "no-store"}
        if made.notes:
            headers["bdflow-notes"] = (
                "; ".join(map(printable, made.notes)).encode("ascii", "backslashreplace").decode()
            )
        return Response(made.data, headers=headers, media_type=made.type)

    async def _body(self, request: Request) -> bytes:
        """All of a body.

        Raises:
            HTTPException: 413 as soon as it is too large; 408 where it takes too long.
        """
        most, seconds = self.limits.max_bytes, self.limits.seconds
        large = HTTPException(413, f"the body has more than {most:,} bytes: send a smaller picture")
        told = request.headers.get("content-length", "")
        if told.isdigit() and int(told) > most:
            raise large
        data = bytearray()
        with move_on_after(seconds) as waiting:
            async for chunk in request.stream():
                data += chunk
                if len(data) > most:
                    raise large
        if waiting.cancelled_caught:
            raise HTTPException(408, f"the body did not arrive in {seconds:g} seconds: send it faster")
        self.metrics.read(len(data))
        if not data:
            raise HTTPException(422, "the body is empty: send the bytes of a picture")
        return bytes(data)


async def _unless_left(request: Request, begin: Callable[[], Awaitable[Any]]) -> Any:
    """What comes of some work, which is ended when nobody waits for it any longer.

    Raises:
        ClientDisconnect: The client is gone.
        Exception: What the work raises.
    """
    result, error = None, None
    async with create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            result = await begin()
        except Exception as raised:  # else the group would wrap it
            error = raised
        group.cancel_scope.cancel()
    if error:
        raise error
    if result is None:  # it was ended
        raise ClientDisconnect
    return result


def _model(model: zoo.Model) -> dict[str, Any]:
    """What `/models` says of one."""
    return {
        "name": model.name,
        "scale": model.metadata["model"].get("scale"),
        "bytes": model.size,
        "weights": model.weights_sha256,
    }


def _own(name: str, kind: str) -> Callable[[Request], Response]:
    """A route to a file of this package."""
    data = resources.files("bdflow.server").joinpath(name).read_bytes()
    return lambda _: Response(data, headers={"cache-control": "no-cache"}, media_type=kind)


def _shared(files: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Files that pages of other origins may read."""
    shared = CORSMiddleware(
        files, allow_origins=origins, allow_methods=["GET", "HEAD"], expose_headers=["ETag"]
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["cross-origin-resource-policy"] = "cross-origin"
            await send(message)

        await shared(scope, receive, sent)

    return app
