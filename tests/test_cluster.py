"""Batches and datasets on Ray: a real one on this machine, with two workers, one of which is killed."""

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import bdflow
from bdflow import cluster
from bdflow.batch.making import Job
from bdflow.batch.tree import Folder
from bdflow.errors import BDFlowError
from bdflow.system import extras

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
COUNT = 80
# In one process, for Ray takes ten seconds to start. Its own warnings are not errors there.
SCRIPT = """
import json, os, signal, sys, threading, time
from pathlib import Path

from bdflow import cluster
from bdflow.cli.main import main

folder, model = Path(sys.argv[1]), sys.argv[2]
command = ["downscale", f"{folder}/in", "-o", f"{folder}/out", "-m", model, "--trust", "-r", "--on", "ray"]
command += ["--jobs", "2", "--json", f"{folder}/log"]
told = {"killed": []}


def ours(pid):
    environment = Path("/proc", pid, "environ").read_bytes()
    return b"BDFLOW_MARK=" + os.environ["BDFLOW_MARK"].encode() in environment


def kill_a_worker():
    while not list(folder.glob("out/*/*.png")):
        time.sleep(0.005)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = Path("/proc", pid, "cmdline").read_bytes()
            if name.startswith(b"ray::") and b"MapBatches(_Files)" in name and ours(pid):
                os.kill(int(pid), signal.SIGKILL)
                told["killed"].append(int(pid))
                return
        except OSError:
            pass


with cluster.connected():
    import ray

    told["usage"] = os.environ.get("RAY_USAGE_STATS_ENABLED")
    thread = threading.Thread(target=kill_a_worker)
    thread.start()
    told["status"] = main(command)
    thread.join()
    told["again"] = main([*command, "--resume"])

    rows = ray.data.from_items([{"path": str(path)} for path in sorted(folder.glob("few/*"))])
    small = cluster.downscale(rows, column="path", model=model, trust=True, jobs=1).materialize()
    told["columns"] = small.columns()
    told["small"] = [
        (row["path"], row["bytes"] and row["bytes"].hex(), row["width"], row["height"], row["error"])
        for row in small.take_all()
    ]
    back = cluster.upscale(small, model=model, trust=True, jobs=1)
    told["back"] = [
        (row["path"], row["bytes"] and row["bytes"].hex(), row["error"]) for row in back.take_all()
    ]
print(json.dumps(told))
"""


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)).save(path)


@pytest.fixture(scope="module")
def told(tiny, tmp_path_factory):
    """What the script told, its folder, and the results that there should be."""
    folder, name = tmp_path_factory.mktemp("cluster"), tiny("tiny-x2")
    model = bdflow.load(name, threads=1, trust=True)
    results, few = {}, {}
    for number in range(COUNT):
        path = folder / "in" / str(number % 3) / f"{number}.png"
        save(path, number)
        results[f"{number % 3}/{number}.x2.png"] = model.downscale(path).to_bytes()
    for number in range(3):
        save(folder / "few" / f"{number}.png", number)
        few[str(folder / "few" / f"{number}.png")] = model.downscale(folder / "few" / f"{number}.png")
    (folder / "few" / "none.png").write_text("no picture")
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, folder / "script.py", folder, name]
    environment = os.environ | {"BDFLOW_MARK": str(folder)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout.splitlines()[-1])
    return SimpleNamespace(folder=folder, results=results, few=few, err=run.stderr, **answer)


@needs_ray
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the worker in /proc")
def test_a_worker_that_is_killed_loses_nothing(told):
    assert len(told.killed) == 1
    assert told.status == 0, told.err
    out = told.folder / "out"
    found = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.png")}
    assert found == told.results
    records = [json.loads(line) for line in (told.folder / "log").read_text().splitlines()]
    made = [record["file"] for record in records if record["status"] == "made"]
    assert len(made) == len(set(made))
    summaries = [record for record in records if record["status"] == "summary"]
    assert summaries[0]["made"] + summaries[0]["done"] == COUNT
    assert summaries[0]["made"] == len(made) > COUNT // 2
    assert {record["result"] for record in records if record["status"] == "made"} <= {
        str(out / name) for name in told.results
    }


@needs_ray
def test_the_next_run_finds_all_done(told):
    assert told.again == 0
    assert f"0 made, {COUNT} done before in 0:00:" in told.err


@needs_ray
def test_columns_in_columns_out(told):
    assert sorted(told.columns) == ["bytes", "error", "height", "path", "width"]
    small = {path: rest for path, *rest in told.small}
    assert len(small) == 4
    for path, expected in told.few.items():
        assert small[path] == [expected.to_bytes().hex(), 80, 60, None]
    (bad,) = (rest for path, rest in small.items() if path.endswith("none.png"))
    assert bad[:3] == [None, None, None]
    assert "none.png: no picture that bdflow reads" in bad[3]


@needs_ray
def test_a_dataset_there_and_back(told, tiny):
    back = {path: rest for path, *rest in told.back}
    for path, expected in told.few.items():
        restored = np.asarray(Image.open(io.BytesIO(bytes.fromhex(back[path][0]))))
        whole = bdflow.upscale(expected, model=tiny("tiny-x2"), trust=True, threads=1)
        np.testing.assert_array_equal(restored, np.asarray(whole))
    (bad,) = (rest for path, rest in back.items() if path.endswith("none.png"))
    assert bad[0] is None
    assert bad[1]


@needs_ray
def test_nothing_is_reported(told):
    assert told.usage is None  # only while Ray starts
    assert "usage" not in told.err
    assert "warning" not in told.err.lower()


@needs_ray
def test_tasks_are_bounded_by_bytes_and_by_files(tmp_path, monkeypatch):
    folder, sizes = Folder(None, tmp_path), [1] * 40 + [100, 30, 30, 30, 100, 5]
    jobs = {}
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}\udcff.png").write_bytes(bytes(size))  # no UTF-8
        jobs[number] = Job(folder, tmp_path / f"{number}\udcff.png", tmp_path / f"{number}.x2.png", False)
    monkeypatch.setattr(cluster, "_BYTES_OF_A_TASK", 64)
    tasks = [table.column("number").to_pylist() for table in cluster._tasks(jobs, 32)]
    assert [number for task in tasks for number in task] == list(range(46))
    assert [len(task) for task in tasks] == [32, 8, 1, 2, 1, 1, 1]


def test_a_missing_ray_is_one_line(shell, tiny, monkeypatch):
    installed = extras._installed
    monkeypatch.setattr(extras, "_installed", lambda name: name != "ray" and installed(name))
    save(Path("in/a.png"), 0)
    command = ("downscale", "in", "-o", "out", "-m", str(tiny("tiny-x2")), "--trust", "--on", "ray")
    assert shell(*command)[::2] == (1, 'bdflow: --on ray needs ray: pip install "bdflow[cluster]"\n')
    with pytest.raises(BDFlowError, match="needs ray"):
        cluster.downscale(None)


def test_nowhere_else(shell):
    assert shell("downscale", "in", "-o", "out", "--on", "spark")[0] == 2
