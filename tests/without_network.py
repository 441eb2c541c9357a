"""Children that die at the first socket that could leave the machine (Linux's seccomp; needs no rights)."""

import ctypes
import os
import platform
import signal
import struct
import subprocess
import sys
from pathlib import Path

DIED_OF_A_SOCKET = -getattr(signal, "SIGSYS", 0)
_FOLDERS = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "src")]
_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "OMP_NUM_THREADS")
# The kernel's names of a processor and its number of the call socket(2).
_CALLS = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}


def forbid_sockets() -> None:
    """From now on, in this process and those it starts; does nothing where there is no seccomp.

    A socket of the machine's own (AF_UNIX) is let pass: the C library asks for users' names so.
    """
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return
    architecture, number = _CALLS[platform.machine()]
    load, equal, give, allow, kill = 0x20, 0x15, 0x06, 0x7FFF0000, 0x80000000
    steps = [  # what it does, where to go on if so and if not (counted from the next), and its number
        (load, 0, 0, 4), (equal, 0, 5, architecture),
        (load, 0, 0, 0), (equal, 0, 3, number),
        (load, 0, 0, 16), (equal, 1, 0, 1),  # the family, AF_UNIX
        (give, 0, 0, kill), (give, 0, 0, allow),
    ]  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    libc.prctl(22, 2, program, 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def start(code: str, *arguments: object, home: Path, **variables: str) -> subprocess.Popen[str]:
    """Python code in a process of its own, with that home folder and nothing of the user's settings."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    folder = home.parent / f"{home.name}.temporary"
    folder.mkdir(exist_ok=True)
    env = kept | {"HOME": str(home), "USERPROFILE": str(home), "TMPDIR": str(folder), "TEMP": str(folder)}
    env |= {"PYTHONPATH": os.pathsep.join(_FOLDERS), "PYTHONDONTWRITEBYTECODE": "1"} | variables
    code = f"import without_network\nwithout_network.forbid_sockets()\n{code}"
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=env, cwd=home.parent, stdin=pipe, stdout=pipe, stderr=pipe, text=True,
    )  # fmt: skip


def run(code: str, *arguments: object, home: Path, **variables: str) -> tuple[str, str]:
    """What it wrote to standard output and to standard error; it must not fail, nor want a socket."""
    child = start(code, *arguments, home=home, **variables)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, f"status {child.returncode}: {err}"
    return out, err


def written(home: Path) -> list[str]:
    """All that lies in the home folder and in the folder of temporary files."""
    folders = (home, home.parent / f"{home.name}.temporary")
    return [path.name for folder in folders if folder.is_dir() for path in folder.rglob("*")]
