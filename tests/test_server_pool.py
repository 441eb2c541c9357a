"""The pool of worker processes: what takes too long is ended, and nobody is left waiting."""

import anyio
import pytest
from serving import dying, endless
from starlette.exceptions import HTTPException
from thumbnails import photo

from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.pictures import codecs
from bdflow.runtime.computing import Computing
from bdflow.server import work
from bdflow.server.limits import Limits
from bdflow.server.pool import Pool

PHOTO = codecs.encode(photo(), "png")
ONE = Computing(threads=1)


def refused(limits: Limits, *functions) -> list[HTTPException | Exception]:
    """What comes of pieces of work, all begun at once; then all are ended, and the next still works."""
    errors: list[Exception] = []

    async def run() -> None:
        pool = Pool(limits, ONE)

        async def one(function) -> None:
            try:
                async with pool.place():
                    await pool.run(function, PHOTO, None)
            except Exception as error:
                errors.append(error)

        with anyio.fail_after(120):
            async with anyio.create_task_group() as group:
                for function in functions:
                    group.start_soon(one, function)
        assert (pool.held, pool.working) == (0, 0)

    anyio.run(run)
    return errors


def test_work_that_takes_too_long_is_killed_and_who_waited_too_long_is_told():
    first, second = refused(Limits(jobs=1, seconds=1), endless, endless)
    assert {first.status_code, second.status_code} == {503}
    texts = sorted([first.detail, second.detail])
    assert "took more than 1 seconds" in texts[1]


def test_a_turn_that_does_not_come():
    async def run() -> None:
        pool = Pool(Limits(jobs=1, seconds=0.05), ONE)
        await pool._turns.acquire()
        with pytest.raises(HTTPException) as caught:
            await pool.run(endless, PHOTO, None)
        assert caught.value.status_code == 503
        assert "its turn did not come in 0.05 seconds" in caught.value.detail
        pool._turns.release()
        assert pool.working == 0

    anyio.run(run)


def test_a_worker_that_dies_takes_nobody_with_it():
    (error,) = refused(Limits(jobs=1), dying)
    assert (error.status_code, error.detail) == (500, "the process that worked on it died: try again later")


def test_what_is_at_work_when_the_time_to_end_is_over_is_refused():
    async def run() -> None:
        pool = Pool(Limits(jobs=1), ONE)

        async def ended() -> None:
            with pytest.raises(HTTPException) as caught:
                async with pool.place():
                    await pool.run(endless, PHOTO, None)
            assert (caught.value.status_code, caught.value.detail[:20]) == (503, "the server is ending")

        async with anyio.create_task_group() as group:
            group.start_soon(ended)
            while not pool.working:
                await anyio.sleep(0.01)
            pool.stop()
        assert (pool.held, pool.working) == (0, 0)

    anyio.run(run)


def test_a_damaged_model_is_no_business_of_the_clients():
    with pytest.raises(RuntimeError):
        work._refusal(BDFlowError(f"{zoo.BUILT_IN}/portraits-x8: weights.safetensors is damaged"))
    assert work._refusal(BDFlowError("the data: no picture")).reason == "no picture"
