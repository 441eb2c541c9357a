"""A picture for a picture: a body's way from the client to a worker, and the answer's way back."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from anyio import create_task_group, move_on_after
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from bdflow.errors import BDFlowError
from bdflow.server import queries, work
from bdflow.server.metrics import Metrics
from bdflow.server.pool import Pool
from bdflow.system.files import printable

_PART = 1 << 16  # bytes
_SLOWEST = 100_000  # bytes in a second, by which an answer must be taken


class Streamed(StreamingResponse):
    """Bytes that are sent as they are taken: uvicorn would copy for itself all that it is given at once."""

    def __init__(self, data: bytes, kind: str, headers: Mapping[str, str]) -> None:
        headers = {**headers, "content-length": str(len(data))}
        super().__init__(_parts(data), headers=headers, media_type=kind)


async def _parts(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PART):
        yield data[start : start + _PART]


class Exchange:
    """An ASGI application that answers POST. A place in the pool is held until the answer has been taken.

    Args:
        pool: Where the work is done.
        metrics: Counts the bytes that were read.
        kind: What the query is checked by.
        function: The work.
    """

    def __init__(
        self, pool: Pool, metrics: Metrics, kind: type[queries.Query], function: Callable[..., Any]
    ) -> None:
        self.pool, self.metrics, self.kind, self.function = pool, metrics, kind, function

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            query = queries.parse(request.query_params, self.kind)
        except BDFlowError as error:
            raise HTTPException(400, str(error)) from error
        async with self.pool.place():
            answer = await self._answer(request, query)
            headers = {"cache-control": "no-store"}
            if answer.notes:
                notes = "; ".join(map(printable, answer.notes))
                headers["bdflow-notes"] = notes.encode("ascii", "backslashreplace").decode()
            seconds = self.pool.limits.seconds + len(answer.data) / _SLOWEST
            with move_on_after(seconds, shield=True):  # what is made is not taken back; then uvicorn hangs up
                await Streamed(answer.data, answer.type, headers)(scope, receive, send)

    async def _answer(self, request: Request, query: queries.Query) -> work.Answer:
        """What comes of the body, which is not kept longer."""
        data = await self._body(request)
        return await _unless_left(request, lambda: self.pool.run(self.function, data, query))

    async def _body(self, request: Request) -> bytes:
        """All of a body.

        Raises:
            HTTPException: 413 as soon as it is too large; 408 where it takes too long; 422 where it is empty.
        """
        most, seconds = self.pool.limits.max_bytes, self.pool.limits.seconds
        large = HTTPException(413, f"the body has more than {most:,} bytes: send a smaller picture")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > most:
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


async def _unless_left(request: Request, begin: Callable[[], Awaitable[work.Answer]]) -> work.Answer:
    """What comes of some work, which is ended when nobody waits for it any longer.

    Raises:
        ClientDisconnect: The client is gone.
        Exception: What the work raises.
    """
    answer, error = None, None
    async with create_task_group() as group:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            answer = await begin()
        except Exception as raised:  # else the group would wrap it
            error = raised
        group.cancel_scope.cancel()
    if error:
        raise error
    if answer is None:  # it was ended
        raise ClientDisconnect
    return answer
