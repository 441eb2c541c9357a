"""Standard streams that are closed, missing or no files; names that no terminal takes; the process's end."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from pictures import COLOUR, file
from PIL import Image

from bdflow.cli.main import main
from bdflow.errors import BDFlowError
from bdflow.system import streams
from bdflow.system.files import printable

SHELL = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
BDFLOW = f"exec {sys.executable} -m bdflow "


def sh(command: str, folder: Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["sh", "-c", BDFLOW + command], cwd=folder, capture_output=True, timeout=120, **options
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "a.png").write_bytes(file(Image.fromarray(COLOUR)))
    return tmp_path


@SHELL
def test_without_any_stream_a_picture_and_a_batch_are_made(folder):
    done = sh("downscale a.png -o b.x8.png >&- 2>&- <&-", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (folder / "in").mkdir()
    (folder / "a.png").rename(folder / "in" / "a.png")
    done = sh("downscale in -o out >&- 2>&- <&-", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (folder / "out" / "a.x8.png").read_bytes() == (folder / "b.x8.png").read_bytes()


@SHELL
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("downscale a.png -o - >&-", "standard output is closed: open it, or name a file"),
        ("downscale - -o b.png <&-", "standard input is closed: name a file"),
        ("info a.png >&-", "standard output is closed: open it, or name a file"),
        ("models >&-", "standard output is closed: open it, or name a file"),
        ("downscale a.png -o out/ --json - >&-", "standard output is closed: open it, or name a file"),
        ("downscale /nothing/a.png", "/nothing/a.x8.png: there is no such folder: make it first"),
    ],
)
def test_a_stream_that_is_needed_is_asked_for_first(folder, command, message):
    done = sh(command, folder)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(f"bdflow: {message}")
    assert done.stderr.count(b"\n") == 1
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["a.png"]


def test_what_is_said_never_goes_to_standard_output(monkeypatch, capsys):
    for missing in (None, io.StringIO()):
        if missing:
            missing.close()
        monkeypatch.setattr(sys, "stderr", missing)
        streams.say("a warning")
        assert main(["downscale", "nothing.png"]) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("another", stacklevel=1)
    assert capsys.readouterr().out == ""


def test_streams_of_notebooks_have_no_bytes(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stdin", io.StringIO("text"))
    with pytest.raises(BDFlowError, match="takes no bytes here: name a file"):
        streams.output()
    with pytest.raises(BDFlowError, match="gives no bytes here: name a file"):
        streams.read_input()


@SHELL
def test_the_current_folder_may_be_gone(folder):
    code = "mkdir gone; cd gone; rmdir ../gone; " + BDFLOW + "evaluate portraits-x8 ."
    done = subprocess.run(["sh", "-c", code], cwd=folder, capture_output=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == "bdflow: the current folder: no such file or folder"


# Names


def test_a_name_on_one_line():
    name = os.fsdecode(b"a\xff\n\x1b[31m") + "\u202eä"
    assert printable(name) == r"a\udcff\n\x1b[31m\u202eä"


@SHELL
def test_names_that_are_no_text(folder):
    name = os.fsdecode(b"b\xff\x1b[2J\xc3\xa4.png")
    (folder / "in").mkdir()
    (folder / "a.png").rename(folder / "in" / name)
    with Image.open(folder / "in" / name) as image:
        image.resize((64, 64)).save(folder / "in" / name)
    plain = os.environ | {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "bdflow", "downscale", f"in/{name}"],
        cwd=folder,
        capture_output=True,
        env=plain,
    )
    shown = rb"in/b\udcff\x1b[2J"
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(shown)
    assert done.stderr.isascii()
    done = sh("evaluate portraits-x8 in --json figures.json", folder, env=plain)
    assert (done.returncode, done.stdout.isascii()) == (0, True)
    pictures = json.loads((folder / "figures.json").read_text())["folders"][f"{folder.name}/in"]["pictures"]
    assert [each for each in pictures if "x8" not in each] == ["b\\udcff\\x1b[2Jä.png"]


# The end


@SHELL
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_process_1_of_a_container_ends_when_told(folder, number, status):
    alone = ["unshare", "-Urpf", "--mount-proc"]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no process namespaces here")
    Image.new("RGB", (1200, 1200)).save(folder / "large.png")
    heard = ["env", "--default-signal=INT"]  # a shell's background jobs, such as this run, may ignore it
    command = [*alone, *heard, sys.executable, "-m", "bdflow", "downscale", "large.png", "--threads", "1"]
    with subprocess.Popen(command, cwd=folder) as process:
        child = None
        while process.poll() is None and not (child and _catches(child, signal.SIGTERM)):
            time.sleep(0.05)
            child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip()
        while process.poll() is None:  # on a busy machine the first may come before it is listened to
            with suppress(ProcessLookupError):
                os.kill(int(child), number)
            time.sleep(0.5)
        assert process.returncode == status
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "large.png"]


def _catches(process: str, number: int) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> number - 1 & 1)


@SHELL
def test_signals_are_heard_while_a_network_runs():
    """The main thread hears of them when its call into C returns; this one never does."""
    code = """
import ctypes, signal
from bdflow.system import interrupts
signal.signal(signal.SIGTERM, signal.SIG_DFL)
interrupts.listen()
print("ready", flush=True)
lock = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(64)
lock.pthread_mutex_lock(mutex)
lock.pthread_mutex_lock(mutex)  # never returns, whatever signal comes
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(30) == -signal.SIGTERM
        finally:
            process.kill()
