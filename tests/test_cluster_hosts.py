"""A cluster that is there already, and a picture that kills whoever opens it."""

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_cluster import save

import bdflow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not find_spec("ray"), reason="Ray is not installed"),
]

KILLING = """
import os, signal, sys
from pathlib import Path

from bdflow import cluster
from bdflow.batch.making import Job, Maker
from bdflow.batch.tree import Folder

folder = Path(sys.argv[1])


def work(path):
    if path.name == "5.png":
        os.kill(os.getpid(), signal.SIGKILL)


jobs = [Job(Folder(None, folder), folder / f"{n}.png", folder / "out" / f"{n}.png", False) for n in range(12)]
with cluster.connected():
    maker = Maker(work, folder / "out", None, False, False)
    for job, outcome in cluster.engine(jobs=1)(iter(jobs), maker, lambda: False):
        print(job.source.name, outcome.status, outcome.reason)
"""


def test_a_picture_that_kills_its_worker_fails_alone(tmp_path):
    (tmp_path / "script.py").write_text(KILLING)
    command = [sys.executable, tmp_path / "script.py", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    lines = sorted(line for line in run.stdout.splitlines() if ".png" in line)
    killer = (
        "5.png failed its worker process died, again and again: too little memory? Run again with --resume"
    )
    assert lines == sorted([killer, *(f"{n}.png skipped small already" for n in range(12) if n != 5)])


def test_a_client_of_a_cluster(tiny, tmp_path, record_property):
    """`ray start` gives a cluster; this process sees it through `ray://` alone."""
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    model, ports = tiny("tiny-x2"), (26379, 20001)
    for number in range(40):
        save(tmp_path / "in" / f"{number}.png", number)
    start = "start --head --block --num-cpus 1 --include-dashboard false --node-ip-address 127.0.0.1"
    start += f" --port {ports[0]} --ray-client-server-port {ports[1]}"
    arguments = ("downscale", "in", "-o", "out", "-m", model, "--trust", "--json", "log")
    batch = [sys.executable, "-m", "bdflow", *arguments, "--on", f"ray://127.0.0.1:{ports[1]}"]
    with tempfile.TemporaryDirectory() as home:  # of a short name, for sockets
        command = [Path(sys.executable).with_name("ray"), *start.split(), "--temp-dir", home]
        head = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            run = subprocess.run(
                batch, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400
            )
        finally:
            head.terminate()  # and what it started
            head.wait(60)
    assert run.returncode == 0, run.stderr
    expected = bdflow.load(model, threads=1, trust=True)
    for number in range(40):
        small = expected.downscale(tmp_path / "in" / f"{number}.png").to_bytes()
        assert (tmp_path / "out" / f"{number}.x2.png").read_bytes() == small
    summary = json.loads((tmp_path / "log").read_text().splitlines()[-1])
    assert (summary["made"], summary["failed"]) == (40, 0)
    record_property("seconds of the batch", summary["seconds"])
