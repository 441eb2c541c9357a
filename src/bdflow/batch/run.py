"""Many pictures in one go: one bad file does not stop the rest, and a killed run is taken up by the next."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bdflow.batch.log import Log
from bdflow.batch.making import Engine, Job, Maker, Outcome, identity, in_threads, result_of
from bdflow.batch.progress import clock, heed_ctrl_c, progress
from bdflow.batch.tree import Folder, Plan
from bdflow.batch.work import Made, Work
from bdflow.system.environment import available_cores, available_memory
from bdflow.system.files import AnyPath, printable, reason

INTERRUPTED = "interrupted"  # `Tally.stopped` after Ctrl-C

MEMORY_OF_A_PICTURE = 2 << 30  # bytes; what a tile needs, and the pixels of a large photograph
_EXAMPLES = 3  # files that the summary names for each reason to skip some; the log names all
_MOST_NOTES = 20  # some name sizes and would fill the screen


def share(jobs: int | None, threads: int | None) -> tuple[int, int]:
    """How many pictures at once, and the processor threads of each.

    Args:
        jobs: None takes one for each thread, as far as memory goes.
        threads: Of all together; None takes the cores at hand.
    """
    threads = threads or available_cores()
    if jobs is None:
        jobs = max(1, min(threads, (available_memory() or 0) // MEMORY_OF_A_PICTURE))
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
    engine: Engine | None = None,
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
        engine: Works the pictures off; None takes threads of this process, as many as jobs.
        resume: A result that another run wrote meanwhile is as good as one of this run's.
        times: Each result gets the time at which its picture was last changed.
        log: Takes each picture when it is done, and a summary.
        say: Takes lines of progress (a terminal sees a bar instead), and in the end the summary with all that
            failed.

    Returns:
        What became of it; `stopped` tells of an early end: Ctrl-C, a full disk, or a folder of results that
        vanished.
    """
    batch = _Batch(plan, log)
    make = Maker(work, plan.out, identity(plan.out), resume, times)
    with heed_ctrl_c(say) as interrupted, progress(len(plan), say) as show:
        batch.work_off(engine or in_threads(jobs), make, interrupted, show)
    for line in batch.finish():
        say(printable(line))
    return batch.tally


class _Batch:
    """The books of a run."""

    def __init__(self, plan: Plan, log: Log | None) -> None:
        self.plan, self.log = plan, log
        self.tally = Tally(done=plan.done)
        self.failures: list[str] = []
        self.lost: Counter[AnyPath] = Counter()  # vanished folders, and how many pictures went with them
        self.notes: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()  # by the reason
        self.examples: dict[str, list[str]] = {}
        self.psnr_y: list[float] = []
        self.start = time.monotonic()
        for path, why in plan.failures.items():
            self.fail(path, why)
        for path, why in plan.skipped.items():
            self.skip(path, why)
        for path, why in plan.closed.items():
            self.write("not entered", {"file": path, "reason": why})
        for path in plan.stale:
            self.write("stale", {"file": path})

    def work_off(
        self, engine: Engine, make: Maker, interrupted: threading.Event, show: Callable[[int, str], None]
    ) -> None:
        """Do pictures until none is left or nothing more can be written."""
        total, handled = len(self.plan), 0

        def ended() -> bool:
            return bool(self.tally.stopped) or interrupted.is_set()

        for job, outcome in engine(self.queue(), make, ended):
            handled += self.take(job, outcome)
            show(handled + self.lost.total(), f", {self.tally.failed:,} failed" * bool(self.tally.failed))
        self.tally.left = total - handled - self.lost.total()
        if interrupted.is_set() and self.tally.left:
            self.tally.stopped = self.tally.stopped or INTERRUPTED

    def queue(self) -> Iterator[Job]:
        """The pictures in order, less those whose folder vanished."""
        for folder in self.plan.folders:
            for index, (name, result, replace) in enumerate(folder.items):
                if folder.gone:
                    self.lose(folder, len(folder.items) - index)
                    break
                yield Job(folder, folder.path(name), folder.target / result, replace)

    def take(self, job: Job, outcome: Outcome) -> bool:
        """Enter what became of a picture; whether it is settled."""
        if outcome.made:
            self.enter(job, outcome.made)
        elif outcome.status == "done":
            self.tally.done += 1
        elif outcome.status == "skipped":
            self.skip(str(job.source), outcome.reason)
        elif outcome.status == "stop":
            self.tally.stopped = self.tally.stopped or outcome.reason
            return False
        elif isinstance(job.folder.source, Path) and not job.folder.source.is_dir():
            self.lose(job.folder, 1)
            return False
        else:
            self.fail(str(job.source), outcome.reason)
        return True

    def enter(self, job: Job, made: Made) -> None:
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
            "result": str(result_of(job.target, made)),
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
