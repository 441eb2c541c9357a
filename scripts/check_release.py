"""Build the wheel and the sdist, and try both as a stranger would: installed into environments of their own.

python scripts/check_release.py DIST    # `make dist`; two minutes

Refuses a tree with changes, and a version without a dated heading in CHANGELOG.md.
"""

import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from bdflow.version import __version__

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "src/bdflow/assets/astronaut.png"
TRIALS = (
    ("--version",),
    ("models",),
    ("downscale", "photo.png", "--bytes", "3k", "-o", "small.avif"),
    ("upscale", "small.avif", "-o", "avif.png"),
    ("downscale", "photo.png", "-x", "8", "-o", "small.png"),
    ("upscale", "small.png", "-o", "png.png"),
)


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """A command's standard output; what it says of an error ends this script."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def files_of(wheel: Path) -> dict[str, int]:
    """Names and checksums of what it installs."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.CRC for info in archive.infolist()}


def try_out(wheel: Path) -> str:
    """Install it alone, and restore a photograph by both methods; the version that it says."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        venv.create(folder / "venv", with_pip=True)
        run(folder / "venv/bin/python", "-m", "pip", "install", "--quiet", wheel)
        (folder / "photo.png").write_bytes(PHOTO.read_bytes())
        said = [run(folder / "venv/bin/bdflow", *trial, folder=folder) for trial in TRIALS]
        compared = "import bdflow.quality.metrics as m, numpy as n; from PIL import Image as I;"
        compared += (
            "a, *b = (n.asarray(I.open(f).convert('RGB')) for f in ('photo.png', 'avif.png', 'png.png'));"
        )
        compared += "print(*(f'{m.psnr_y(a, each):.2f} dB' for each in b))"
        print(
            f"{wheel.name}: restored at {run(folder / 'venv/bin/python', '-c', compared, folder=folder)}",
            end="",
        )
        return said[0].split()[-1]


def main(dist: str) -> None:
    """Build, compare, try; see above."""
    if run("git", "status", "--porcelain"):
        sys.exit("there are changes that are not committed: a release is of a commit")
    heading = rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE):
        sys.exit(f"CHANGELOG.md has no heading of version {__version__} with its date")
    run(sys.executable, "-m", "build", "--outdir", dist, ROOT)  # the wheel is built from the sdist
    (wheel,), (sdist,) = (
        sorted(Path(dist).glob(f"bdflow-{__version__}{end}")) for end in ("-*.whl", ".tar.gz")
    )
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    kept = set(run("git", "ls-files", "src").split())
    installed = {f"src/{name}" for name in files_of(wheel) if not name.startswith("bdflow-")}
    for what, names in (("the sdist", packed), ("the wheel", installed)):
        if missing := sorted(kept - names):
            sys.exit(f"{what} lacks {', '.join(missing)}")
    if extra := sorted(installed - kept):
        sys.exit(f"the wheel has {', '.join(extra)}, which nobody committed")
    version = try_out(wheel)
    if version != __version__:
        sys.exit(f"installed, it says that it is {version}")
    for path in (wheel, sdist):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
