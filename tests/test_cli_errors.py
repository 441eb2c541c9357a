"""What goes wrong at the command line ends in one line and a status, never in a traceback."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bdflow

MENDABLE = [  # arguments, and how the one line goes on after "bdflow: "
    ("downscale missing.jpg -x 2", "missing.jpg: no such file or folder"),
    ("downscale . -x 2 -o out.png", ".: it is a folder"),
    ("downscale text.jpg -x 2", "text.jpg: no picture that bdflow reads (PNG, "),
    ("downscale cut.png -x 2", "cut.png: the picture is damaged or cut short: get it again"),
    ("downscale empty.png -x 2", "empty.png: the file is empty"),
    ("downscale photo.png -m nobody", "no model 'nobody': built in are tiny-x2, tiny-x4; else give a fo"),
    ("downscale photo.png -x 3", "no built-in model shrinks 3 times; there is x2 and x4"),
    ("downscale photo.png -x 2 -m tiny-x4", "model tiny-x4 shrinks 4 times, not 2: drop -x or --model"),
    ("downscale photo.png -x 2 -o no/out.png", "no/out.png: there is no such folder: make it first"),
    ("downscale photo.png -x 2 -o out.jpg", "out.jpg: the small file is a PNG: end its name in .png"),
    ("downscale photo.png -x 2 -o out", "out: the small file is a PNG: end its name in .png"),
    ("downscale photo.png -m tiny-x4 --max-pixels 398", "photo.png: 21x19 is more than 398 pixels: reduce"),
    (
        "downscale photo.png -m tiny-x4 --max-pixels 9",
        "photo.png: it has more than 9 pixels: reduce it first",
    ),
    ("upscale photo.x2.png --max-pixels 398", "photo.x2.png: the photograph's 21x19 is more than 398 pixels"),
    (
        "upscale photo.png -m tiny-x2 --max-pixels 1595",
        "a picture of 21x19 without a bdflow chunk would b",
    ),
    ("info photo.x2.png --max-pixels 398", "photo.x2.png: the photograph's 21x19 is more than 398 pixels"),
    ("upscale missing.png", "missing.png: no such file or folder"),
    ("upscale photo.png", "photo.png: no bdflow chunk in this file: it was re-saved or converted, or nev"),
    ("upscale cut.png", "cut.png: the PNG is cut short: get it again"),
    ("upscale photo.x2.png -o out", "out: add an ending, one of png, jpg, jpeg, webp, avif, tif, tiff, bmp"),
    ("upscale photo.x2.png -o out.xyz", "cannot write 'xyz': choose one of png, "),
    ("upscale photo.x2.png -o no/out.png", "no/out.png: there is no such folder: make it first"),
    ("upscale photo.x2.png --sigma inf", "sigma must be 0 to 100, not inf"),
    ("upscale photo.x2.png --sigma 1e300", "sigma must be 0 to 100, not 1e+300"),
    ("info photo.png", "photo.png: no bdflow chunk in this file: it was re-saved or converted, or never m"),
    ("info text.jpg", "text.jpg: no picture that bdflow reads (PNG, "),
    ("info missing.png", "missing.png: no such file or folder"),
    ("mask missing.png", "missing.png: no such file or folder"),
    ("compare missing.png -x 2", "missing.png: no such file or folder"),
    ("compare photo.png -x 2 -o out.jpg", "out.jpg: the sheet is a PNG: end its name in .png"),
    ("compare photo.png cut.png -x 2 -o out.png", "out.png: for several photos, name a folder that there"),
    ("compare photo.png ./photo.png -x 2", "photo.compare.png: two of the photos would be drawn there: "),
    ("compare photo.png -x 2 --html no/out.html", "no/out.html: there is no such folder: make it first"),
    ("compare photo.png -x 2 --box 1,2,3", "'1,2,3' is no box: give X,Y,W,H in pixels, such as "),
    ("compare photo.png -x 2 --box 0,0,3,9", "the box 0,0,3,9 cannot be shown: it begins at 0,0 or later,"),
    ("compare photo.png -x 2 --box 9,9,12,12", "photo.png: the box 9,9,12,12 is not inside its 21x19 pix"),
    ("evaluate nobody .", "no model 'nobody': "),
    ("evaluate tiny-x2 missing", "missing: not a folder; give folders of pictures"),
    ("evaluate tiny-x2 . --json no/out.json", "no/out.json: there is no such folder: make it first"),
    ("export run", "say where to: a model folder (--output DIR), or one for a web page (--web DIR)"),
    ("export . -o model", ".: no last.pt in it; give the folder that `bdflow train` wrote"),
    ("train missing.toml --data . --out run", "missing.toml: cannot be read "),
    ("train --data . --out run", "give a configuration such as configs/portraits-x8.toml, or --from MODEL"),
]
MISTYPED = [
    ("downscale", 'Command "downscale" parameter IMAGE requires an argument. See bdflow --help'),
    ("nothing", 'Unknown command "nothing". '),
    ("downscale photo.png --bogus", "Unknown option: --bogus. "),
    ("downscale --bogus photo.png", 'Invalid value "--bogus" for IMAGE. There is no such option; a file of '),
    (
        "downscale photo.png -o -x",
        'Invalid value "-x" for -o. There is no such option; a file of that name i',
    ),
    ("info photo.png other.png", "too many arguments: other.png. See bdflow --help"),
    ("downscale photo.png -x eight", 'Invalid value for -x: unable to convert "eight" into int. See '),
    ("downscale photo.png -x 0", 'Invalid value "0" for -x. Must be > 0. See bdflow --help'),
    (
        "info photo.x2.png --max-pixels 0",
        'Invalid value "0" for --max-pixels. Must be > 0. See bdflow --help',
    ),
    ("downscale photo.png --threads 0", 'Invalid value "0" for --threads. Must be > 0. See bdflow --help'),
    ("upscale photo.x2.png --sigma -1", 'Invalid value "-1.0" for --sigma. Must be >= 0. See bdflow --help'),
    ("upscale photo.x2.png --seed -1", 'Invalid value "-1" for --seed. Must be >= 0. See bdflow --help'),
    ("downscale photo.png --threads 99999", 'Invalid value "99999" for --threads. Must be <= 1024. See '),
    ("downscale photo.png --jobs 0", 'Invalid value "0" for --jobs. Must be > 0. See bdflow --help'),
    ("mask photo.png --sigma 1e9", 'Invalid value "1000000000.0" for --sigma. Must be 0 to 100. See bdflo'),
    ("mask photo.png --sigma nan", 'Invalid value "nan" for --sigma. Must be 0 to 100. See bdflow --help'),
    ("mask photo.png --threshold inf", 'Invalid value "inf" for --threshold. Must be 0 to 1,000,000. See '),
    ("mask photo.png -x 1000000", 'Invalid value "1000000" for -x. Must be 1 to 64. See bdflow --help'),
    (
        "train --data . --out run --learning-rate nan",
        'Invalid value "nan" for --learning-rate. Must be 1e-12',
    ),
    ("train --data . --out run --steps 0", 'Invalid value "0" for --steps. Must be 1 to 1,000,000,000. See '),
    ("train --data . --out run --max-time soon", 'Invalid value for --max-time: unable to convert "soon"'),
    ("mask photo.png --bits 4", 'Invalid value "4" for --bits. Choose from: 1, 2, 3. See bdflow --help'),
    ("evaluate tiny-x2", 'Command "evaluate" parameter FOLDERS requires an argument. See bdflow --help'),
    ("evaluate tiny-x2 . --crop -1", 'Invalid value "-1" for --crop. Must be >= 0. See bdflow --help'),
    ("train own.toml", 'Command "train" parameter --data requires an argument. See bdflow --help'),
]


@pytest.fixture
def files(small):
    Path("text.jpg").write_text("no picture")
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:-200])
    Path("empty.png").touch()
    return sorted(Path().iterdir())


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [(a, 1, m) for a, m in MENDABLE] + [(a, 2, m) for a, m in MISTYPED],
    ids=[a for a, _ in MENDABLE + MISTYPED],
)
def test_one_line_and_a_status(shell, files, monkeypatch, arguments, status, message):
    monkeypatch.setattr(
        "bdflow.evaluation.measure.learned", lambda *names, data=None: ({}, {"lpips": "not wanted"})
    )
    got, out, err = shell(*arguments.split())
    assert err.startswith(f"bdflow: {message}")
    assert (got, out, err.count("\n")) == (status, b"", 1)
    assert sorted(Path().iterdir()) == files


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(shell, small):
    Path("locked").mkdir(mode=0o555)
    got = shell("upscale", small, "-o", "locked/out.png")
    assert got == (1, b"", "bdflow: locked/out.png: cannot be written: no permission\n")


def test_what_the_system_refuses_is_one_line(shell, small, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bdflow.smallfile.container.byte_report", full)
    assert shell("info", small)[0::2] == (1, "bdflow: standard output: the disk is full\n")


PARSER_ALONE = [sys.executable, "-W", "error", "-c", "import cyclopts"]


def bdflow_command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "bdflow", *map(str, arguments)]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [("--version", 0, bdflow.__version__), ("--help", 0, "Usage: bdflow COMMAND"), ("downscale", 2, "")],
)
def test_quick_answers(arguments, status, said):
    """In at most six times the processor time that the parser of arguments takes to load, best of five."""
    alone, times = [], []
    while len(times) < 5 and (not times or min(times) > 6 * min(alone)):
        for command, taken in ((PARSER_ALONE, alone), (bdflow_command(arguments), times)):
            before = os.times()
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            after = os.times()
            taken.append(sum(after[2:4]) - sum(before[2:4]))  # of children, in user and in system mode
        assert done.returncode == status
        assert done.stdout.startswith(said)
    assert min(times) <= 6 * min(alone)


def test_every_verb_has_help(shell):
    verbs = [
        "downscale",
        "upscale",
        "info",
        "models",
        "demo",
        "evaluate",
        "mask",
        "compare",
        "train",
        "export",
        "serve",
    ]
    listed = shell("--help")[1].decode()
    for verb in verbs:
        status, out, err = shell(verb, "--help")
        assert (status, err) == (0, "")
        assert out.decode().startswith(f"Usage: bdflow {verb} ")
        assert f"│ {verb} " in listed


@pytest.mark.skipif(os.name == "nt", reason="pipes of another kind")
@pytest.mark.parametrize("verb", ["info", "upscale"])
def test_a_closed_pipe_ends_quietly(tiny, tmp_path, verb):
    large = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)  # more than a pipe holds
    bdflow.downscale(large, model=tiny("tiny-x2"), trust=True).save(tmp_path / "small.png")
    options = ("-m", tiny("tiny-x2"), "--trust", "-o", "-") if verb == "upscale" else ()
    command = bdflow_command(verb, tmp_path / "small.png", *options)
    # Buffered, as it is anywhere: what cannot be written shows at the very end.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_ctrl_c_ends_at_once_and_quietly(tiny, tmp_path):
    os.mkfifo(tmp_path / "slow.png")
    code = """
import signal, sys
from bdflow.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have inherited another
sys.exit(main(sys.argv[1:]))
"""
    command = [
        sys.executable,
        "-c",
        code,
        "downscale",
        tmp_path / "slow.png",
        "-m",
        tiny("tiny-x2"),
        "--trust",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pipe = None
    while pipe is None and process.poll() is None:
        with contextlib.suppress(OSError):  # until the command reads from it
            pipe = os.open(tmp_path / "slow.png", os.O_WRONLY | os.O_NONBLOCK)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    os.close(pipe)
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")


def test_python_dash_m_and_pipes_work_as_processes(tiny, photo):
    model = ("-m", tiny("tiny-x2"), "--trust")
    with photo.open("rb") as photograph:
        small = subprocess.run(
            bdflow_command("downscale", "-", *model), stdin=photograph, capture_output=True
        )
    assert (small.returncode, small.stderr) == (0, b"")
    restored = subprocess.run(
        bdflow_command("upscale", "-", *model), input=small.stdout, capture_output=True, timeout=60
    )
    assert (restored.returncode, restored.stderr) == (0, b"")
    assert restored.stdout.startswith(b"\x89PNG")
