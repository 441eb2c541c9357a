"""So much work at once, in processes: what takes too long is killed with its process, which no thread can be.

anyio's worker processes do it (`anyio.to_process`). This adds places to wait, and limits of time.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import (
    BrokenWorkerProcess,
    CancelScope,
    CapacityLimiter,
    Semaphore,
    create_task_group,
    current_time,
    get_cancelled_exc_class,
    move_on_after,
    to_process,
)
from starlette.exceptions import HTTPException

from bdflow.runtime.computing import Computing
from bdflow.server import work
from bdflow.server.limits import Limits

_T = TypeVar("_T")
_WEIGHT = 0.2  # of the latest in the running mean of seconds


class Pool:
    """Worker processes, and who waits for them.

    Attributes:
        held: Requests that hold a place, waiting or at work.
        working: Those at work.
        killed: Worker processes that were killed, or died.
    """

    def __init__(self, limits: Limits, computing: Computing) -> None:
        self.limits, self.computing = limits, computing
        self.held = self.working = self.killed = 0
        self._turns, self._workers = Semaphore(limits.jobs), CapacityLimiter(limits.jobs)
        self._mean = 1.0  # seconds of a picture
        self._scopes: set[CancelScope] = set()

    async def start(self) -> None:
        """Start all workers, so that no request need wait for them.

        Raises:
            BDFlowError: The network cannot run so.
        """
        await self._ready()  # alone, for a group would wrap what it raises
        async with create_task_group() as group:
            for _ in range(self.limits.jobs):
                group.start_soon(self._ready)

    def stop(self) -> None:
        """End all work at once; those who wait for it are told."""
        for scope in self._scopes:
            scope.cancel()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for a body and its work. They are bounded, and with them the bytes in memory.

        Raises:
            HTTPException: 429 where none is free; 503 where `stop` ended what was done in it.
        """
        if self.held >= self.limits.jobs + self.limits.queue:
            wait = math.ceil(self.held * self._mean / self.limits.jobs)
            raise HTTPException(
                429,
                f"{self.held} pictures wait or are worked on, and more may not: try again later",
                {"Retry-After": str(wait)},
            )
        self.held += 1
        try:
            with CancelScope() as scope:
                self._scopes.add(scope)
                yield
        finally:
            self._scopes.discard(scope)
            self.held -= 1
        if scope.cancelled_caught:
            raise HTTPException(503, "the server is ending: try again later", {"Retry-After": "5"})

    async def run(
        self,
        function: Callable[[bytes, _T, Computing, int], work.Answer | work.Refused],
        data: bytes,
        query: _T,
    ) -> work.Answer:
        """One piece of work, when its turn has come; when it is cancelled, the process is killed.

        Raises:
            HTTPException: 422 with the reason where it was refused; 503 where it took too long to begin or to
                finish; 500 where its process died.
        """
        seconds = self.limits.seconds
        with move_on_after(seconds) as waiting:
            await self._turns.acquire()
        if waiting.cancelled_caught:
            why = f"others are worked on, and its turn did not come in {seconds:g} seconds: try again later"
            raise HTTPException(503, why, {"Retry-After": "5"})
        self.working += 1
        begun = current_time()
        try:
            await self._ready()
            with move_on_after(seconds):
                result = await self._in_process(function, data, query)
                if isinstance(result, work.Refused):
                    raise HTTPException(422, result.reason)
                return result
            raise HTTPException(503, f"took more than {seconds:g} seconds: send a smaller picture")
        except BrokenWorkerProcess as error:
            raise HTTPException(500, "the process that worked on it died: try again later") from error
        finally:
            self._mean += _WEIGHT * (current_time() - begun - self._mean)
            self.working -= 1
            self._turns.release()

    async def _in_process(
        self,
        function: Callable[[bytes, _T, Computing, int], work.Answer | work.Refused],
        data: bytes,
        query: _T,
    ) -> work.Answer | work.Refused:
        arguments = data, query, self.computing, self.limits.max_pixels
        try:
            return await to_process.run_sync(function, *arguments, cancellable=True, limiter=self._workers)
        except (BrokenWorkerProcess, get_cancelled_exc_class()):
            self.killed += 1
            raise

    async def _ready(self) -> None:
        """A worker that waits. Not to be cancelled: anyio would leave one behind that is just starting."""
        with CancelScope(shield=True):
            await to_process.run_sync(work.prepare, self.computing, limiter=self._workers)
