"""Many pictures in one go: one bad file does not stop the rest, and a killed run is taken up by the next."""

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bdflow.batch.log import Log
from bdflow.batch.progress import clock, heed_ctrl_c, progress
from bdflow.batch.tree import Folder, Plan
from bdflow.batch.work import Made, Work
from bdflow.errors import BDFlowError
from bdflow.system.environment import available_cores, available_memory
from bdflow.system.files import make_folder, printable, reason, writing

INTERRUPTED = "interrupted"  # `Tally.stopped` after Ctrl-C

_MEMORY_OF_A_PICTURE = 2 << 30  # bytes; what a tile needs, and the pixels of a large photograph
_DISK_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # the next picture would fare no better
_EXAMPLES = 3  # files that the summary names for each reason to skip some; the log names all
_COARSEST = 2_000_000_000  # nanoseconds: FAT's steps of time
_MOST_NOTES = 20  # some name sizes and would fill the screen


def share(jobs: int | None, threads: int | None) -> tuple[int, int]:
    """How many pictures at once, and the processor threads of each.

    Args:
        jobs: None takes one for each thread, as far as memory goes.
        threads: Of all together; None takes the cores at hand.
    """
    threads = threads or available_cores()
    if jobs is None:
        jobs = max(1, min(threads, (available_memory() or 0) // _MEMORY_OF_A_PICTURE))
    return jobs, max(1, threads // jobs)


@dataclass
class Tally:
    """What became of a batch.

    Attributes:
        made: Pictures done by this run.
        done: Results that were there.
        skipped: Files that are no pictures, or small already.
        failed: Pictures and folders that could not be done.
        left: Pictures that an early end left undone.
        stopped: Why the run ended early.
        pixels: Of the large pictures that were made small, or restored.
        bytes_before: Of their files.
        bytes_after: Of the results.
        metadata: Of these bytes, those of EXIF, XMP, IPTC and texts in small files.
        psnr_y: The mean over pictures, where it was measured.
        seconds: Of the whole run.
    """

    made: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    stopped: str | None = None
    pixels: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    metadata: int = 0
    psnr_y: float | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        counts = {
            "made": self.made,
            "done before": self.done,
            "skipped": self.skipped,
            "failed": self.failed,
            "left undone": self.left,
        }
        parts = [f"{count:,} {what}" for what, count in counts.items() if count or what == "made"]
        lines = [f"{', '.join(parts)} in {clock(self.seconds)}"]
        if self.made:
            quality = "" if self.psnr_y is None else f", mean PSNR-Y {self.psnr_y:.2f} dB"
            sizes = f"{self.bytes_before:,} bytes to {self.bytes_after:,}"
            sizes += f" ({self.metadata:,} of them metadata)" if self.metadata else ""
            lines.append(f"{self.pixels / 1e6:,.2f} megapixels, {sizes}{quality}")
        return "\n".join(lines)


def run(
    plan: Plan,
    work: Work,
    *,
    jobs: int,
    resume: bool = False,
    times: bool = False,
    log: Log | None = None,
    say: Callable[[str], None] = print,
) -> Tally:
    """Do what was planned. Ctrl-C lets the pictures at work be finished; pressed again, it ends at once.

    Args:
        plan: From `bdflow.batch.tree.plan`.
        work: Makes one picture's result; called in threads.
        jobs: Pictures at once, and so at most in memory.
        resume: A result that another run wrote meanwhile is as good as one of this run's.
        times: Each result gets the time at which its picture was last changed.
        log: Takes each picture when it is done, and a summary.
        say: Takes lines of progress (a terminal sees a bar instead), and in the end the summary with all that
            failed.

    Returns:
        What became of it; `stopped` tells of an early end: Ctrl-C, a full disk, or a folder of results that
        vanished.
    """
    batch = _Batch(plan, work, resume, times, log)
    with heed_ctrl_c(say) as interrupted, progress(len(plan), say) as show:
        batch.work_off(jobs, interrupted, show)
    for line in batch.finish():
        say(printable(line))
    return batch.tally


class _Job(NamedTuple):
    folder: Folder
    source: Path
    target: Path
    replace: bool


class _Stop(Exception):
    """Nothing more can be written; the message says why."""


class _Batch:
    """A run, and its books: only `make` is called in threads."""

    def __init__(self, plan: Plan, work: Work, resume: bool, times: bool, log: Log | None) -> None:
        self.plan, self.work, self.resume, self.times, self.log = plan, work, resume, times, log
        self.tally = Tally(done=plan.done)
        self.failures: list[str] = []
        self.lost: Counter[Path] = Counter()  # vanished folders, and how many pictures went with them
        self.notes: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()  # by the reason
        self.examples: dict[str, list[str]] = {}
        self.psnr_y: list[float] = []
        self.out = _identity(plan.out)
        self.start = time.monotonic()
        for path, why in plan.failures.items():
            self.fail(path, why)
        for path, why in plan.skipped.items():
            self.skip(path, why)
        for path, why in plan.closed.items():
            self.write("not entered", {"file": path, "reason": why})
        for path in plan.stale:
            self.write("stale", {"file": path})

    def work_off(self, jobs: int, interrupted: threading.Event, show: Callable[[int, str], None]) -> None:
        """Keep as many pictures at work as allowed, until none is left or nothing more can be written."""
        queue, total = self.queue(), len(self.plan)
        waiting: dict[Future[Made | None], _Job] = {}
        handled = 0
        with ThreadPoolExecutor(jobs) as pool:
            while True:
                while len(waiting) < jobs and not self.tally.stopped and not interrupted.is_set():
                    job = next(queue, None)
                    if job is None:
                        break
                    waiting[pool.submit(self.make, job)] = job
                if not waiting:
                    break
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    handled += self.take(waiting.pop(future), future)
                show(handled + self.lost.total(), f", {self.tally.failed:,} failed" * bool(self.tally.failed))
        self.tally.left = total - handled - self.lost.total()
        if interrupted.is_set() and self.tally.left:
            self.tally.stopped = self.tally.stopped or INTERRUPTED

    def queue(self) -> Iterator[_Job]:
        """The pictures in order, less those whose folder vanished."""
        for folder in self.plan.folders:
            for index, (name, result, replace) in enumerate(folder.items):
                if folder.gone:
                    self.lose(folder, len(folder.items) - index)
                    break
                yield _Job(folder, (folder.source or Path()) / name, folder.target / result, replace)

    def make(self, job: _Job) -> Made | None:
        """One picture, from its file to the file of its result."""
        if self.resume and not job.replace and job.target.exists():
            raise FileExistsError
        changed = _changed(job.source) if self.times else None  # before it is read: a later edit counts
        made = self.work(job.source)
        if made is None:
            return None
        if _identity(self.plan.out) != self.out:  # never fill the folder that a lost disk was mounted on
            raise _Stop(f"{self.plan.out}: the folder of the results is gone")
        try:
            make_folder(job.target.parent)
            with writing(_target(job, made), overwrite=job.replace) as file:
                if isinstance(made.data, bytes):
                    file.write(made.data)
                else:
                    made.data.write_png(file)
                size = file.tell()
            if changed is not None:
                _set_changed(_target(job, made), changed)
            return made._replace(size=size)
        except BDFlowError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in _DISK_IS_FULL:
                raise _Stop(str(error)) from error
            if isinstance(cause, FileExistsError) and self.resume and job.target.is_file():
                raise cause from None
            raise

    def take(self, job: _Job, future: Future[Made | None]) -> bool:
        """Enter what became of a picture; whether it is settled."""
        try:
            made = future.result()
        except FileExistsError:  # another run was quicker
            self.tally.done += 1
        except _Stop as stop:
            self.tally.stopped = self.tally.stopped or str(stop)
            return False
        except Exception as error:  # of whatever kind: the night is long, and the others wait
            if job.folder.source and not job.folder.source.is_dir():
                self.lose(job.folder, 1)
                return False
            expected = isinstance(error, BDFlowError)
            why = str(error) if expected else f"unexpected {type(error).__name__}: {reason(error)}"
            self.fail(str(job.source), why)
        else:
            if made is None:
                self.skip(str(job.source), "small already")
            else:
                self.enter(job, made)
        return True

    def enter(self, job: _Job, made: Made) -> None:
        """Count a picture that was made."""
        try:
            before = job.source.stat().st_size
        except OSError:  # deleted since it was read
            before = 0
        self.tally.made += 1
        self.tally.pixels += made.width * made.height
        self.tally.bytes_before += before
        self.tally.bytes_after += made.size
        self.tally.metadata += made.metadata
        self.notes.update(made.notes)
        record = {
            "file": str(job.source),
            "result": str(_target(job, made)),
            "width": made.width,
            "height": made.height,
            "bytes_before": before,
            "bytes_after": made.size,
        }
        if made.metadata:
            record["metadata"] = made.metadata
        if made.psnr_y is not None:
            self.psnr_y.append(made.psnr_y)
            record["psnr_y"] = round(made.psnr_y, 5)
        if made.notes:
            record["notes"] = list(made.notes)
        self.write("made", record)

    def fail(self, path: str, why: str) -> None:
        """Count a failure, to be named in the end."""
        self.tally.failed += 1
        why = why.removeprefix(f"{path}: ")
        self.failures.append(f"{path}: {why}")
        self.write("failed", {"file": path, "reason": why})

    def skip(self, path: str, why: str) -> None:
        """Count a file that is left as it is."""
        self.tally.skipped += 1
        self.skipped[why] += 1
        examples = self.examples.setdefault(why, [])
        if len(examples) < _EXAMPLES:
            examples.append(Path(path).name)
        self.write("skipped", {"file": path, "reason": why})

    def lose(self, folder: Folder, pictures: int) -> None:
        """Count pictures of a folder that vanished; however many, and however deep: one failure."""
        folder.gone = True
        top = folder.source or Path()
        while top.parent != top and not top.parent.is_dir():
            top = top.parent
        if not self.lost[top]:
            self.tally.failed += 1
            self.write("failed", {"file": str(top), "reason": "the folder is gone"})
        self.lost[top] += pictures

    def finish(self) -> Iterator[str]:
        """Close the books: the lines of the summary."""
        self.tally.seconds = round(time.monotonic() - self.start, 3)
        if self.psnr_y:
            self.tally.psnr_y = round(sum(self.psnr_y) / len(self.psnr_y), 5)
        self.write("summary", asdict(self.tally))
        yield from str(self.tally).splitlines()
        for note, times in self.notes.most_common(_MOST_NOTES):
            yield f"note, {times:,} {'times' if times > 1 else 'time'}: {note}"
        for why, times in self.skipped.most_common(_MOST_NOTES):
            more = ", ..." if times > _EXAMPLES else ""
            yield f"skipped, {times:,}: {why}: {', '.join(self.examples[why])}{more}"
        for why, times in Counter(self.plan.closed.values()).items():
            yield f"note: {times:,} {'folders were' if times > 1 else 'folder was'} not entered: {why}"
        for path in self.plan.stale:
            yield f"note: {path} is of an earlier run; the picture's result has another name now: delete it"
        for folder, pictures in self.lost.items():
            yield f"failed: {folder}: the folder is gone, with {pictures:,} pictures that were to be done"
        for failure in sorted(self.failures):
            yield f"failed: {failure}"
        if self.tally.stopped:
            yield f"stopped: {self.tally.stopped}"

    def write(self, status: str, record: dict[str, Any]) -> None:
        """Put a line into the log."""
        if self.log is None:
            return
        try:
            self.log.write(status, record)
        except OSError as error:
            self.log = None
            self.tally.stopped = f"the log cannot be written: {reason(error)}"


def _target(job: _Job, made: Made) -> Path:
    return job.target.with_suffix(made.suffix) if made.suffix else job.target


def _set_changed(path: Path, changed: int) -> None:
    """Give a file a time in nanoseconds; where the disk keeps coarser ones, the next later one, lest the file
    be older than its picture, and made anew by every run."""
    os.utime(path, ns=(changed, changed))
    if path.stat().st_mtime_ns < changed:
        later = -(-changed // _COARSEST) * _COARSEST
        os.utime(path, ns=(later, later))


def _changed(path: Path) -> int | None:
    """When a file was last changed; None of one that is gone, which reading it will tell."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
