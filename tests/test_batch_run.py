"""The run of a batch, with work that a test can watch."""

import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bdflow.batch import progress
from bdflow.batch.run import INTERRUPTED, Made, run, share
from bdflow.batch.tree import Naming, plan
from bdflow.system import environment

NAMING = Naming(".out", lambda name: Path(name).stem)
RESULT = Made(b"result", 4, 3, None, ())


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    names = [Path("in", folder, f"{i}.png") for folder in ("x/y", "z") for i in range(10)]
    for name in names:
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text("x")
    return names


def results(**options):
    return plan(["in"], "out", NAMING, **{"recursive": True, "resume": False, "force": False} | options)


def go(work, *, jobs: int = 1, todo=None, **options):
    said: list[str] = []
    return run(todo or results(), work, jobs=jobs, say=said.append, **options), said


def test_no_more_pictures_at_once_than_allowed(files):
    lock, now, most = threading.Lock(), 0, 0

    def work(_: Path) -> Made:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return RESULT

    assert go(work, jobs=3)[0].made == 20
    assert most == 3


def test_an_unexpected_error_is_one_failure(files):
    def work(path: Path) -> Made:
        if path.name == "3.png":
            raise ZeroDivisionError("division by zero")
        return RESULT

    tally, said = go(work)
    assert (tally.made, tally.failed) == (18, 2)
    assert said[-1] == "failed: in/z/3.png: unexpected ZeroDivisionError: division by zero"


def test_a_vanished_folder_is_one_line(files):
    def work(path: Path) -> Made:
        if path == Path("in/x/y/4.png"):
            shutil.rmtree("in/x")
        path.read_bytes()
        return RESULT

    tally, said = go(work)
    assert (tally.made, tally.failed, tally.left) == (14, 1, 0)
    assert said[2:] == ["failed: in/x: the folder is gone, with 6 pictures that were to be done"]


def test_a_vanished_folder_of_results_stops_the_run_and_is_not_made_again(files):
    def work(path: Path) -> Made:
        if path == Path("in/x/y/4.png"):
            shutil.rmtree("out")
        return RESULT

    tally, said = go(work)
    assert (tally.made, tally.failed, tally.left) == (4, 0, 16)
    assert said[-1] == "stopped: out: the folder of the results is gone"
    assert not Path("out").exists()


@pytest.fixture
def interruptible():
    """Ctrl-C interrupts; a shell's background job is born ignoring it, and then the tests would, too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_finishes_what_is_at_work(files, interruptible):
    sent = threading.Event()

    def work(path: Path) -> Made:
        if sent.is_set():
            time.sleep(0.5)  # for the main thread to notice, on a busy machine too
        if path.name == "4.png":
            sent.set()
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.5)
        return RESULT

    before = signal.getsignal(signal.SIGINT)
    tally, said = go(work, jobs=2)
    assert signal.getsignal(signal.SIGINT) is before
    assert tally.stopped == INTERRUPTED
    assert (tally.failed, tally.made + tally.left) == (0, 20)
    assert 5 <= tally.made <= 7
    assert len(list(Path("out").rglob("*.out"))) == tally.made
    assert said[0] == "stopping when the pictures at work are finished; Ctrl-C again ends at once"
    assert go(lambda _: RESULT, todo=results(resume=True))[0].made == tally.left


def test_what_another_run_made_meanwhile_is_kept(files):
    def work(path: Path) -> Made:
        if path.name == "3.png":  # while this run works on it, and on the one before
            for number in (3, 4):
                Path("out", path.parent.relative_to("in"), f"{number}.out").write_bytes(b"theirs")
        return RESULT

    tally, _ = go(work, todo=results(resume=True), resume=True)
    assert (tally.made, tally.done, tally.failed) == (16, 4, 0)
    assert Path("out/z/4.out").read_bytes() == b"theirs"
    shutil.rmtree("out")
    tally, said = go(work)
    assert (tally.made, tally.failed) == (16, 4)
    assert "exists already" in said[-1]
    assert Path("out/z/3.out").read_bytes() == b"theirs"


def test_a_folder_that_cannot_be_made_is_no_picture_that_was_done(files):
    Path("out").mkdir()
    Path("out/z").write_text("in the way")
    for resume in (False, True):
        tally, _ = go(lambda _: RESULT, todo=results(resume=resume), resume=resume)
        assert (tally.made + tally.done, tally.failed) == (10, 10)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress(files, monkeypatch, capsys, terminal):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    tally, said = go(lambda _: time.sleep(0.01) or RESULT)
    lines = [line for line in said if " left" in line]
    assert tally.made == 20
    if terminal:
        assert not lines
    else:
        assert len(lines) == 20
        assert re.fullmatch(r"10 of 20, [\d.]+ a second, 0:00:0\d left", lines[9])


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr("bdflow.batch.run.available_cores", lambda: 8)
    for memory, jobs, threads, expected in [
        (64 << 30, None, None, (8, 1)),
        (5 << 30, None, None, (2, 4)),
        (1 << 30, None, None, (1, 8)),
        (None, None, None, (1, 8)),
        (64 << 30, None, 3, (3, 1)),
        (1 << 30, 3, None, (3, 2)),
        (1 << 30, 20, 4, (20, 1)),
    ]:
        monkeypatch.setattr("bdflow.batch.run.available_memory", lambda memory=memory: memory)
        assert share(jobs, threads) == expected


def test_what_is_left_is_counted_and_named(files):
    for number in range(5):
        Path(f"in/{number}.mov").write_text("x")
    written: list[tuple[str, dict]] = []
    log = SimpleNamespace(write=lambda status, record: written.append((status, record)))
    tally, said = go(lambda path: None if path.name == "3.png" else RESULT, log=log)
    left = {record["file"]: record["reason"] for status, record in written if status == "skipped"}
    assert {name: why for name, why in left.items() if name.endswith(".mov")} == {
        f"in/{number}.mov": "no picture by the ending .mov" for number in range(5)
    }
    assert len(left) == tally.skipped == 5 + sum(path.name == "3.png" for path in files)
    lines = [line for line in said if line.startswith("skipped, ")]
    assert lines[0].startswith("skipped, 5: no picture by the ending .mov: ")
    assert lines[0].count(".mov") == 4
    assert lines[0].endswith(", ...")
    assert lines[1].split(": ")[1] == "small already"


def test_limits_of_containers(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_CGROUPS", tmp_path)
    cores, memory = environment.available_cores(), environment.available_memory()
    for version in (
        {"memory.max": "max", "cpu.max": "max 100000"},
        {"memory/memory.limit_in_bytes": "9223372036854771712", "cpu/cpu.cfs_quota_us": "-1"},
        {"memory.max": "1000000", "cpu.max": "50000 100000"},
        {
            "memory.max": "max",
            "cpu.max": "max",
            "memory/memory.limit_in_bytes": "1000000",
            "cpu/cpu.cfs_quota_us": "80000",
        },
    ):
        for name, text in ({"cpu/cpu.cfs_period_us": "100000"} | version).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(f"{text}\n")
        limited = "1000000" in version.values()
        assert environment.available_memory() == (1_000_000 if limited else memory)
        assert environment.available_cores() == (1 if limited else cores)


def test_results_have_the_times_of_their_pictures(files):
    for number, path in enumerate(files):
        os.utime(path, ns=(10**18, 10**18 + number * 10**9))
    assert go(lambda _: RESULT, times=True)[0].made == len(files)
    for path in files:
        result = Path("out", *path.parts[1:]).with_suffix(".out")
        assert result.stat().st_mtime_ns == path.stat().st_mtime_ns
    assert len(results(resume=True)) == 0
    os.utime(files[0])
    assert len(results(resume=True)) == 1


def test_times_of_results_whose_ending_the_work_chose(files):
    """As with --format best; they once were failures, though the results were there."""
    os.utime(files[0], ns=(10**18, 10**18))
    tally, said = go(lambda _: RESULT._replace(suffix=".webp"), times=True)
    assert (tally.made, tally.failed, said[2:]) == (len(files), 0, [])
    assert Path("out", *files[0].parts[1:]).with_suffix(".webp").stat().st_mtime_ns == 10**18


def test_a_disk_of_coarse_times_makes_no_result_older_than_its_picture(files, monkeypatch):
    set_times = os.utime

    def coarse(path: Path, *, ns: tuple[int, int]) -> None:
        step = 2 * 10**9
        set_times(path, ns=(ns[0] // step * step, ns[1] // step * step))

    for path in files:
        set_times(path, ns=(10**18, 10**18 + 1_234_567_891))
    monkeypatch.setattr(os, "utime", coarse)
    assert go(lambda _: RESULT, times=True)[0].made == len(files)
    assert len(results(resume=True)) == 0


def test_metadata_are_counted(files):
    tally, said = go(lambda _: RESULT._replace(metadata=3))
    assert tally.metadata == 3 * len(files)
    assert said[1].endswith(f"bytes to {6 * len(files)} ({3 * len(files)} of them metadata)")
