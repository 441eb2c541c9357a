"""Many machines, by Ray Data: batches of files (`--on ray`), and Ray datasets in, datasets out.

A model is loaded once by each worker process. One picture at a time is in the memory of a worker.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from bdflow.batch.making import Engine, Job, Maker, Outcome
from bdflow.batch.run import MEMORY_OF_A_PICTURE
from bdflow.batch.work import Work, coding, restoring, shrinking
from bdflow.errors import BDFlowError
from bdflow.runtime.computing import Computing
from bdflow.system.extras import needs
from bdflow.system.files import located, reason

if TYPE_CHECKING:
    import pyarrow
    from ray.data import Dataset

    from bdflow.smallfile.thumbnail import Domain

_FILES_OF_A_TASK = 32  # what is done again when a worker dies
_BYTES_OF_A_TASK = 64 << 20  # large pictures go alone: they take long
_RETRIES = 2  # of a task whose worker died; a picture that kills workers shall not do so for ever
_LOST = "its worker process died, again and again: too little memory? Run again with --resume"
# Read when Ray starts; whoever has set one has decided. Its log files tell the rest.
_SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


@contextmanager
def connected(address: str | None = None) -> Iterator[None]:
    """Within, Ray runs: the one of this process, if any, or that of an address, or one that starts here.

    Args:
        address: Such as `ray://head:10001`; None takes what `RAY_ADDRESS` names, or starts Ray on this
            machine, without its usage statistics and its dashboard.

    Raises:
        BDFlowError: Ray is not installed, or nobody answers.
    """
    needs("cluster", what="--on ray")
    import ray

    if ray.is_initialized():
        yield
        return
    own = address is None and "RAY_ADDRESS" not in os.environ
    silent = {name: value for name, value in _SILENT.items() if name not in os.environ}
    os.environ.update(silent)
    try:
        ray.init(
            "local" if own else address,
            include_dashboard=False if own else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # of many kinds: ConnectionError, RuntimeError, those of gRPC
        raise BDFlowError(f"{address or 'Ray'}: cannot be reached: {reason(error)}") from error
    finally:
        for name in silent:
            os.environ.pop(name, None)
    try:
        yield
    finally:
        ray.shutdown()


def engine(jobs: int | None = None, threads: int = 1) -> Engine:
    """Works a batch off on the Ray that is `connected`.

    All machines must see the files under the same paths: a shared disk, or remote ones. A result that is
    there is taken for one of this run's, for a task whose worker died is done again.

    Args:
        jobs: Worker processes at most; None takes what the cluster has room for.
        threads: Processors of each.
    """

    def work_off(
        queue: Iterator[Job], make: Maker, ended: Callable[[], bool]
    ) -> Iterator[tuple[Job, Outcome]]:
        import ray

        waiting = dict(enumerate(queue))
        here = Maker(make.work, make.out, None, True, make.times)
        if not waiting:
            return
        resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        room = jobs or max(1, int(resources.get("CPU", 1)) // threads)
        # Several tasks a worker, lest one of them has the last pictures to itself. What a lost machine leaves
        # is done by the others, one by one, so that a picture that kills its worker takes no other with it.
        for most in (max(1, min(_FILES_OF_A_TASK, len(waiting) // (4 * room))), 1):
            try:
                for row in _outcomes(list(_tasks(waiting, most)), here, jobs, threads):
                    yield waiting.pop(row["number"]), pickle.loads(row["outcome"])
                    if ended():
                        return
            except (ConnectionError, ray.exceptions.RayError) as error:
                why = reason(getattr(error, "cause", None) or error)  # a remote error is in another's words
                raise BDFlowError(f"Ray is gone ({why}): run again with --resume") from error
            if not waiting:
                return
        for job in waiting.values():
            yield job, Outcome("done") if job.target.exists() else Outcome("failed", _LOST)

    return work_off


def _tasks(jobs: dict[int, Job], most: int) -> Iterator[pyarrow.Table]:
    """Pictures that are done in one go: so many files at most, or so many bytes of them."""
    import pyarrow

    def table() -> pyarrow.Table:
        sources, targets, replaces = zip(*(jobs[number][1:] for number in numbers), strict=True)
        return pyarrow.table(
            {
                "number": numbers,
                "source": [os.fsencode(str(path)) for path in sources],  # names need not be UTF-8
                "target": [os.fsencode(str(path)) for path in targets],
                "replace": list(replaces),
            }
        )

    numbers: list[int] = []
    weight = 0
    for number, job in jobs.items():
        try:
            size = job.source.stat().st_size
        except OSError:  # reading it will tell
            size = 0
        if numbers and (len(numbers) == most or weight + size > _BYTES_OF_A_TASK):
            yield table()
            numbers, weight = [], 0
        numbers.append(number)
        weight += size
    yield table()


def _outcomes(
    tasks: list[pyarrow.Table], make: Maker, jobs: int | None, threads: int
) -> Iterator[dict[str, Any]]:
    """What became of each picture, as tasks are done."""
    import ray

    folder = str(Path.cwd())
    if not ray.util.client.ray.is_connected():  # type: ignore[no-untyped-call]
        driver = _Driver(tasks, make, folder, jobs, threads)
        while rows := driver.next():
            yield from rows
        return
    # Ray itself depends on its head. Any other machine may be lost.
    on_head: Any = ray.remote(num_cpus=0, resources={"node:__internal_head__": 0.001})(_Driver)
    remote = on_head.remote(tasks, make, folder, jobs, threads)
    while rows := ray.get(remote.next.remote()):
        yield from rows


class _Driver:
    """Runs the tasks: on the cluster where this process is a client, in which Ray Data does not run."""

    def __init__(
        self, tasks: list[pyarrow.Table], make: Maker, folder: str, jobs: int | None, threads: int
    ) -> None:
        import ray

        dataset = ray.data.from_arrow(tasks)
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # importing it has set another
        dataset.context.enable_progress_bars = False
        dataset.context.max_errored_blocks = -1  # what dead workers leave undone is done later
        done = _mapped(dataset, _Files, (make, folder), jobs, threads)
        batches = done.iter_batches(batch_size=None, batch_format="pyarrow")
        self.batches: Iterator[pyarrow.Table] = iter(cast(Any, batches))

    def next(self) -> list[dict[str, Any]]:
        """Some more rows; none at the end."""
        for batch in self.batches:
            if batch.num_rows:
                rows: list[dict[str, Any]] = batch.to_pylist()
                return rows
        return []


def _mapped(
    dataset: Dataset, worker: type, arguments: tuple[Any, ...], jobs: int | None, threads: int
) -> Dataset:
    """A dataset through an autoscaling pool of worker processes, with a GPU each where there are."""
    import ray

    room = max(node["Resources"].get("memory", 0) for node in ray.nodes())  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        # From Ray 2.64 on the number of retries is to be said otherwise; no release says how yet.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated", DeprecationWarning)
        return dataset.map_batches(
            worker,
            fn_constructor_args=arguments,
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=jobs, max_tasks_in_flight_per_actor=2),
            num_cpus=threads,
            num_gpus=1 if ray.cluster_resources().get("GPU") else None,  # type: ignore[no-untyped-call]
            memory=min(MEMORY_OF_A_PICTURE, int(room)),
            max_task_retries=_RETRIES,
        )


class _Files:
    """A worker that goes from files to files, whose names may begin at the folder where the run began."""

    def __init__(self, make: Maker, folder: str) -> None:
        with suppress(OSError):  # no such folder there: then all paths must be whole
            os.chdir(folder)
        self.make = make

    def __call__(self, table: pyarrow.Table) -> Iterator[pyarrow.Table]:
        import pyarrow

        for row in table.to_pylist():
            source, target = (located(os.fsdecode(row[name])) for name in ("source", "target"))
            outcome = self.make(source, target, row["replace"])
            yield pyarrow.table({"number": [row["number"]], "outcome": [pickle.dumps(outcome)]})


class _Rows:
    """A worker that goes from rows to rows."""

    def __init__(self, work: Work, column: str) -> None:
        self.work, self.column = work, column

    def __call__(self, table: pyarrow.Table) -> Iterator[pyarrow.Table]:
        import pyarrow

        kept = [name for name in table.column_names if name not in ("bytes", "width", "height", "error")]
        kinds = {"bytes": pyarrow.large_binary(), "width": pyarrow.int64(), "height": pyarrow.int64()}
        for index in range(table.num_rows):
            row = table.slice(index, 1)
            values = self.result(row[self.column][0].as_py())
            row = row.select(kept)
            for name, value in zip((*kinds, "error"), values, strict=True):
                row = row.append_column(name, pyarrow.array([value], kinds.get(name, pyarrow.string())))
            yield row

    def result(self, source: Any) -> tuple[bytes | None, int | None, int | None, str | None]:
        """A file, width and height of the large picture, and why there is none."""
        try:
            result = self.work(source)
            if result is None:
                return None, None, None, "small already"
            if isinstance(result.data, bytes):
                return result.data, result.width, result.height, None
            buffer = io.BytesIO()
            result.data.write_png(buffer)
            return buffer.getvalue(), result.width, result.height, None
        except Exception as error:  # a bad picture is a row like others
            expected = isinstance(error, BDFlowError)
            return None, None, None, str(error) if expected else f"unexpected {type(error).__name__}: {error}"


def downscale(
    dataset: Dataset,
    *,
    column: Literal["bytes", "path"] = "bytes",
    model: str | Path | None = None,
    scale: int | None = None,
    domain: Domain | None = None,
    trust: bool = False,
    max_bytes: int | None = None,
    bits_per_pixel: float | None = None,
    quality: int | None = None,
    format: str = "AVIF",
    jobs: int | None = None,
    computing: Computing = Computing(threads=1),  # noqa: B008  # frozen
) -> Dataset:
    """Shrink the pictures of a Ray dataset, such as `ray.data.read_binary_files(..., include_paths=True)`.

    Args:
        dataset: One picture a row.
        column: Holds them: `bytes` of files, or `path`, which may be remote.
        model, scale, trust: As for `bdflow.downscale`: the result is a PNG.
        domain: What the pictures show, of both kinds of file; None tries all, picture by picture.
        max_bytes, bits_per_pixel, quality, format: As for `bdflow.fit`, which is taken where one of the
            first three is given.
        jobs: Worker processes at most; None takes what the cluster has room for.
        computing: How each runs its network; `threads` are its processors.

    Returns:
        The dataset's columns, in which `bytes` is the small file, and besides `width` and `height` of
        the large picture and `error`. Of a picture that failed `error` says why, and the others are null.

    Raises:
        BDFlowError: There is no such model, or the arguments contradict each other.
    """
    needs("cluster", what="bdflow.cluster")
    from bdflow.fitting import Goal
    from bdflow.fitting.rescalers import rescalers
    from bdflow.runtime.enhancer import Enhancer
    from bdflow.zoo import find_restoration

    work: Work
    if (max_bytes, bits_per_pixel, quality) == (None, None, None):
        models = rescalers(model, scale, domain, trust=trust, computing=computing)
        work = shrinking(models, verify=False)
    else:
        if model or scale:
            raise BDFlowError("a scale and a model are for the PNG: leave out bytes, bits and quality")
        goal = Goal(max_bytes, bits_per_pixel, quality, format, domain)
        work = coding(Enhancer(find_restoration(), computing), goal)
    return _mapped(dataset, _Rows, (work, column), jobs, computing.threads or 1)


def upscale(
    dataset: Dataset,
    *,
    column: Literal["bytes", "path"] = "bytes",
    model: str | Path | None = None,
    trust: bool = False,
    purpose: Literal["fidelity", "look"] = "fidelity",
    jobs: int | None = None,
    computing: Computing = Computing(threads=1),  # noqa: B008  # frozen
) -> Dataset:
    """Restore the small files of a Ray dataset, such as those of `downscale`.

    Args:
        dataset, column, jobs, computing: As for `downscale`.
        model, trust, purpose: As for `bdflow.upscale`.

    Returns:
        As of `downscale`; `bytes` is the restored picture, a PNG.

    Raises:
        BDFlowError: There is no such model.
    """
    needs("cluster", what="bdflow.cluster")
    from bdflow.runtime.restorer import Restorer

    restorer = Restorer(model, purpose=purpose, trust=trust, computing=computing)
    work = restoring(restorer, sigma=0.0, seed=None)
    return _mapped(dataset, _Rows, (work, column), jobs, computing.threads or 1)
