"""Refusals, as RFC 9457 writes them."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

TYPE = "application/problem+json"
_OF_STARLETTE = {
    "Not Found": "there is nothing of that name",
    "Method Not Allowed": "it is asked for in another way: Allow says which",
}
CLIENT_LEFT = 499  # of no standard; nobody reads it but a log


async def refuse(_: Request, error: Exception) -> Response:
    """The answer to what was refused."""
    assert isinstance(error, HTTPException)
    detail = _OF_STARLETTE.get(error.detail, error.detail)
    return _problem(error.status_code, detail, dict(error.headers or {}))


async def fail(_: Request, error: Exception) -> Response:
    """The answer to a fault of the server's own. Its log says more than the client may read."""
    return _problem(500, "a fault of the server's: its log says more", {})


async def left(_: Request, error: Exception) -> Response:
    """What takes the place of an answer to a client that is gone."""
    assert isinstance(error, ClientDisconnect)
    return Response(status_code=CLIENT_LEFT)


def _problem(status: int, detail: str, headers: dict[str, str]) -> Response:
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JSONResponse(content, status, headers, TYPE)
