"""Batches as processes: killed at any moment, a rerun finishes and nothing half-written has a final name."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bdflow

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of another kind")

COUNT = 60
CODE = """
import signal, sys
from bdflow.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have inherited another
sys.exit(main(sys.argv[1:]))
"""


def start(*arguments: str | Path) -> subprocess.Popen:
    command = [sys.executable, "-W", "error", "-c", CODE, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def wait_for(process: subprocess.Popen, condition) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.002)


@pytest.fixture
def photos(tiny, tmp_path) -> dict[str, bytes]:
    """The names of the results of a tree of pictures, and what is to be in them."""
    rng, model, expected = np.random.default_rng(0), bdflow.load(tiny("tiny-x2"), threads=1, trust=True), {}
    for number in range(COUNT):
        path = tmp_path / "in" / str(number % 3) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(path)
        expected[f"{number % 3}/{number}.x2.png"] = model.downscale(path).to_bytes()
    return expected


@pytest.mark.parametrize("kills", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_random_moments_a_rerun_finishes(tiny, tmp_path, photos, kills):
    out, log, dice = tmp_path / "out", tmp_path / "log", random.Random(kills)
    command = (
        "downscale",
        tmp_path / "in",
        "-o",
        out,
        "-m",
        tiny("tiny-x2"),
        "--trust",
        "--recursive",
        "--resume",
    )
    command = (*command, "--jobs", "2", "--threads", "2", "--json", log)
    for _ in range(kills):
        process, before = start(*command), names(out)
        wait_for(process, lambda before=before: names(out) - before)
        time.sleep(dice.uniform(0, 0.1))  # COUNT pictures take longer
        process.kill()
        process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)
        for name in names(out) - {path for path in names(out) if path.endswith(".tmp")}:
            assert (out / name).read_bytes() == photos[name]
    process = start(*command)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert {name: (out / name).read_bytes() for name in names(out)} == photos
    records = [json.loads(line) for line in log.read_text().splitlines()]
    made = [record["file"] for record in records if record["status"] == "made"]
    assert len(made) == len(set(made)) >= COUNT - 2 * kills  # killed between the result and its line
    assert records[-1]["made"] + records[-1]["done"] == COUNT


def test_ctrl_c_ends_with_a_summary_and_nothing_half_done(tiny, tmp_path, photos):
    out = tmp_path / "out"
    process = start(
        "downscale", tmp_path / "in", "-o", out, "-m", tiny("tiny-x2"), "--trust", "-r", "-j", "1"
    )
    wait_for(process, lambda: names(out))
    process.send_signal(signal.SIGINT)
    stdout, err = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    first, counts, _, last = err.splitlines()
    assert first == "stopping when the pictures at work are finished; Ctrl-C again ends at once"
    done = names(out)
    assert counts.startswith(f"{len(done)} made, {COUNT - len(done)} left undone in ")
    assert last == "stopped: interrupted"
    assert all((out / name).read_bytes() == photos[name] for name in done)


def test_ctrl_c_leaves_no_half_of_a_single_picture(tiny, tmp_path):
    photo, small = tmp_path / "photo.png", tmp_path / "small.png"
    Image.new("RGB", (3000, 3000)).save(photo)
    bdflow.load(tiny("tiny-x2"), trust=True).downscale(photo).save(small)
    out = tmp_path / "out"
    out.mkdir()
    process = start(
        "upscale", small, "-o", out / "photo.png", "-m", tiny("tiny-x2"), "--trust", "--tile", "64"
    )
    wait_for(process, lambda: names(out))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err, names(out)) == (-signal.SIGINT, "", set())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_second_ctrl_c_ends_at_once(tiny, tmp_path):
    os.mkfifo(tmp_path / "slow.png")
    process = start(
        "downscale", tmp_path / "slow.png", "-o", f"{tmp_path}/out/", "-m", tiny("tiny-x2"), "--trust"
    )
    pipe = None
    while pipe is None and process.poll() is None:
        with contextlib.suppress(OSError):  # until the command reads from it
            pipe = os.open(tmp_path / "slow.png", os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline().startswith("stopping when the pictures at work are finished")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(pipe)
    assert (process.returncode, err) == (-signal.SIGINT, "")
