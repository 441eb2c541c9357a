"""The application: what stands at which address."""

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bdflow import zoo
from bdflow.runtime.computing import Computing
from bdflow.server import problems, queries, work
from bdflow.server.description import description
from bdflow.server.edge import Edge
from bdflow.server.exchange import Exchange
from bdflow.server.folder import MODULES, PICTURES, Files, page
from bdflow.server.limits import Limits
from bdflow.server.metrics import Metrics
from bdflow.server.pool import Pool
from bdflow.server.weights import Weights
from bdflow.version import __version__


class Application:
    """What `bdflow serve` runs, an ASGI application.

    Args:
        folder: Of small files.
        web: The built web package; None for a page that shows the small files as they are.
        origins: Of pages that may read the small files, such as `https://example.org`; `*` for all.
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
        self.folder, self.web = folder, web
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
            Route("/shrink", self._exchange(queries.Shrink, work.shrink), methods=["POST"]),
            Route("/restore", self._exchange(queries.Restore, work.restore), methods=["POST"]),
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

    def _exchange(self, kind: type[queries.Query], function: Callable[..., Any]) -> Exchange:
        return Exchange(self.pool, self.metrics, kind, function)

    def page(self, request: Request) -> Response:
        """The page of the folder."""
        number = request.query_params.get("page", "1")
        if not (number.isascii() and number.isdigit() and len(number) < 9):
            raise HTTPException(404)
        return HTMLResponse(page(self.folder, int(number), self.web), headers={"cache-control": "no-cache"})


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
