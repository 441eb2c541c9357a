"""From a picture's file to its result's, here in threads; another engine may do the same elsewhere."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from bdflow.batch.tree import Folder
from bdflow.batch.work import Made, Work
from bdflow.errors import BDFlowError
from bdflow.system.files import AnyPath, make_folder, reason, writing

_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # the next picture would fare no better
_COARSEST = 2_000_000_000  # nanoseconds: FAT's steps of time


class Job(NamedTuple):
    """A picture that is to be done.

    Attributes:
        folder: Where it stands in the plan.
        source: Its file.
        target: The file of its result, whose ending the work may change.
        replace: Whether an existing result gives way.
    """

    folder: Folder
    source: AnyPath
    target: AnyPath
    replace: bool


class Outcome(NamedTuple):
    """What became of a picture.

    Attributes:
        status: `done`: its result was there already, or another run was quicker. `skipped`: it is small
            already. `stop`: nothing more can be written.
        reason: Of failing and stopping.
        made: Its result, without the data; where it was made.
    """

    status: Literal["made", "done", "skipped", "failed", "stop"]
    reason: str = ""
    made: Made | None = None


class _Stop(Exception):
    """Nothing more can be written; the message says why."""


@dataclass(frozen=True)
class Maker:
    """Makes results. Other processes may get a copy.

    Attributes:
        work: Makes one picture's result.
        out: The folder of all results.
        identity: Of that folder, by `identity`; None on other machines, where it need only be there.
        resume: A result that another run wrote meanwhile is as good as one of this run's.
        times: Each result gets the time at which its picture was last changed.
    """

    work: Work
    out: AnyPath
    identity: tuple[int, int] | None
    resume: bool
    times: bool

    def __call__(self, source: AnyPath, target: AnyPath, replace: bool) -> Outcome:
        """One picture; see `Job`. The outcome says what went wrong."""
        try:
            result = self._make(source, target, replace)
        except FileExistsError:  # another run was quicker
            return Outcome("done")
        except _Stop as stop:
            return Outcome("stop", str(stop))
        except Exception as error:  # of whatever kind: the night is long, and the others wait
            expected = isinstance(error, BDFlowError)
            why = str(error) if expected else f"unexpected {type(error).__name__}: {reason(error)}"
            return Outcome("failed", why)
        return Outcome("made", made=result) if result else Outcome("skipped", "small already")

    def _make(self, source: AnyPath, target: AnyPath, replace: bool) -> Made | None:
        if self.resume and not replace and target.exists():
            raise FileExistsError
        changed = _changed(source) if self.times else None  # before it is read: a later edit counts
        made = self.work(source)
        if made is None:
            return None
        if self._out_is_gone():  # never fill the folder that a lost disk was mounted on
            raise _Stop(f"{self.out}: the folder of the results is gone")
        result = result_of(target, made)
        try:
            make_folder(target.parent)
            with writing(str(result), overwrite=replace) as file:
                if isinstance(made.data, bytes):
                    file.write(made.data)
                else:
                    made.data.write_png(file)
                size = file.tell()
            if changed is not None and isinstance(result, Path):
                _set_changed(result, changed)
            return made._replace(size=size, data=b"")
        except BDFlowError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in _DISK_IS_FULL:
                raise _Stop(str(error)) from error
            if isinstance(cause, FileExistsError) and self.resume and target.is_file():
                raise cause from None
            raise

    def _out_is_gone(self) -> bool:
        if not isinstance(self.out, Path):
            return False
        now = identity(self.out)
        return now is None or self.identity not in (None, now)


# Works jobs off with a maker, in any order, and takes no more of them once it is to end.
Engine = Callable[[Iterator[Job], Maker, Callable[[], bool]], Iterable[tuple[Job, Outcome]]]


def in_threads(count: int) -> Engine:
    """As many pictures at work, and in memory, as there are threads."""

    def work_off(
        jobs: Iterator[Job], make: Maker, ended: Callable[[], bool]
    ) -> Iterator[tuple[Job, Outcome]]:
        waiting: dict[Future[Outcome], Job] = {}
        with ThreadPoolExecutor(count) as pool:
            while True:
                while len(waiting) < count and not ended():
                    job = next(jobs, None)
                    if job is None:
                        break
                    waiting[pool.submit(make, job.source, job.target, job.replace)] = job
                if not waiting:
                    break
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()

    return work_off


def result_of(target: AnyPath, made: Made) -> AnyPath:
    """The file of a result, by the ending that the work chose."""
    return target.with_suffix(made.suffix) if made.suffix else target


def identity(folder: AnyPath) -> tuple[int, int] | None:
    """Which folder has this name now; of one that is not on a disk of this machine, None."""
    if not isinstance(folder, Path):
        return None
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _set_changed(path: Path, changed: int) -> None:
    """Give a file a time in nanoseconds; where the disk keeps coarser ones, the next later one, lest the file
    be older than its picture, and made anew by every run."""
    os.utime(path, ns=(changed, changed))
    if path.stat().st_mtime_ns < changed:
        later = -(-changed // _COARSEST) * _COARSEST
        os.utime(path, ns=(later, later))


def _changed(path: AnyPath) -> int | None:
    """When a file was last changed; None of one that is gone, which reading it will tell."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
