"""Nothing leaves the machine, and nothing is written but the results."""

import ast
import re
import subprocess
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from without_network import DIED_OF_A_SOCKET, run, start, written

ROOT = Path(__file__).parents[1]
COMMAND = "from bdflow.cli.main import main\nraise SystemExit(main())"
IN_PYTHON = """
import bdflow
import numpy as np

rng = np.random.default_rng(0)
model = bdflow.load("portraits-x8", threads=1)
small = model.downscale(rng.integers(0, 256, (64, 64, 3), np.uint8))
bdflow.upscale(small.to_bytes(), threads=1)
"""


@pytest.fixture
def home(tmp_path) -> Path:
    """An empty one."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def wants_socket(family: str, home: Path) -> int:
    child = start(f"import socket\nsocket.socket(socket.{family})", home=home)
    child.communicate(timeout=60)
    return child.returncode


@pytest.fixture
def guarded(home) -> None:
    if wants_socket("AF_INET", home) != DIED_OF_A_SOCKET:
        pytest.skip("no seccomp here, or of another processor: sockets go unseen")


@pytest.mark.usefixtures("guarded")
def test_the_guard_tells_sockets_apart(home):
    assert wants_socket("AF_UNIX", home) == 0
    assert wants_socket("AF_INET6", home) == DIED_OF_A_SOCKET


@pytest.mark.parametrize("kind", ["empty", "read-only", "missing", "a file"])
def test_the_command_leaves_the_home_folder_alone(kind, home, photo):
    if kind == "read-only":
        home.chmod(0o500)
    elif kind != "empty":
        home.rmdir()
    if kind == "a file":
        home.touch()
    _, err = run(COMMAND, "downscale", photo, home=home)
    assert re.fullmatch(r"\S+/photo\.x8\.png: 64x64 to 8x8, [\d,]+ bytes, by portraits-x8\n", err)
    _, err = run(COMMAND, "upscale", photo.with_name("photo.x8.png"), home=home)
    assert re.fullmatch(r"\S+: 64x64\n", err)
    assert written(home) == []
    assert home.exists() == (kind != "missing")


def test_python_leaves_the_home_folder_alone(home):
    assert run(IN_PYTHON, home=home) == ("", "")
    assert written(home) == []


def test_longer_runs_and_workers_want_no_socket(home, tmp_path, guarded):
    """As long as it takes ONNX Runtime to want one where its user lets it, which is some ten seconds."""
    pool = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

with ProcessPoolExecutor(1, get_context("spawn")) as pool:
    pool.submit(bdflow.upscale, small).result()
    print("ready", flush=True)
    input()
    pool.submit(int).result()  # fails if the worker died
"""
    longer = start(IN_PYTHON + pool, home=home)
    assert longer.stdout.readline() == "ready\n", longer.communicate()[1]
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    sending = start("import bdflow.system.offline\ninput()", home=allowed, ORT_DISABLE_TELEMETRY="0")
    with suppress(subprocess.TimeoutExpired):
        sending.wait(20)
    time.sleep(1)
    _, err = longer.communicate("\n", timeout=60)
    sending.communicate(None if sending.returncode else "\n", timeout=60)
    assert (longer.returncode, err, written(home)) == (0, "", [])
    if sending.returncode != DIED_OF_A_SOCKET:
        pytest.skip("this ONNX Runtime wants no socket, whatever its user says")


def test_the_switch_of_its_user_is_left_alone(home):
    code = """
import os
import sys

told = os.environ.get("ORT_DISABLE_TELEMETRY")
import onnxruntime

onnxruntime.disable_telemetry_events = lambda: print("stopped")
import bdflow.runtime.backends

assert os.environ.get("ORT_DISABLE_TELEMETRY") == told
"""
    assert run(code, home=home)[0] == "stopped\n"  # it was imported before bdflow
    for told in ("", "0", "1"):
        assert run(code, home=home, ORT_DISABLE_TELEMETRY=told)[0] == ""


def test_the_environment_is_as_before(home):
    code = "import os\nbefore = dict(os.environ)\nimport bdflow.runtime.backends\nassert os.environ == before"
    run(code, home=home)


def test_onnx_runtime_is_imported_in_one_place():
    places = []
    for folder in ("src", "scripts", "docs", "fuzz", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == "onnxruntime" for name in names):
                    places.append(path.name)
    assert places == ["offline.py"]


@pytest.mark.skipif(not find_spec("openvino"), reason="openvino is not installed (bdflow[openvino])")
def test_openvino_does_not_report_its_import(home):
    code = IN_PYTHON.replace("threads=1", "threads=1, backend='openvino'")
    assert run(code + "import openvino_telemetry", home=home) == ("", "")
    assert written(home) == []


@pytest.mark.skipif(not find_spec("lightning_fabric"), reason="needs bdflow[train]")
def test_training_and_plots_leave_the_home_folder_alone(home):
    code = "import bdflow.train.trainer"
    if find_spec("matplotlib"):
        code += "\nimport bdflow.reproduce.figures as f\nf.Figure().savefig('plot.svg')"
    run(code, home=home)
    # torch makes an empty folder for what it might compile.
    assert [name for name in written(home) if not name.startswith("torchinductor_")] == []
