"""What every request and every answer pass: headers of safety, metrics, and the rest of a refused body."""

import time

from anyio import move_on_after
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bdflow.server.metrics import Metrics

POLICY = (  # docs/web.md says what the package needs; the rest is forbidden
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self';"
    " img-src 'self' blob:; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LINGER = 2.0  # seconds


class Edge:
    """Stands before an application.

    Of a body that the application refused before it came to the end, what still comes is dropped for two
    seconds, and then the connection is closed. Closed at once, many a client would not see the refusal.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0
        headers = Headers(scope=scope)
        ended = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"

        async def received() -> Message:
            nonlocal ended
            message = await receive()
            ended = ended or not message.get("more_body", False)  # a client that left, too
            return message

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer.setdefault(name, value)
                if not ended:
                    answer["connection"] = "close"
            elif not ended and not message.get("more_body", False):
                await send({**message, "more_body": True})
                with move_on_after(_LINGER):
                    while not ended:
                        await received()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self.app(scope, received, sent)
        finally:
            self.metrics.answered(scope["path"], status, time.monotonic() - begun)
