"""Long nights: thousands of pictures in one process and in a batch, and folders on disks of other kinds.

All of it is slow. BDFLOW_SOAK is the number of pictures, 20,000 unless it says otherwise; of every hundred
one is large. Disks are mounted, which takes root, a kernel and tools for it: where that does not work, tests
are skipped.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL import Image

import bdflow
from bdflow.errors import BDFlowError
from bdflow.system.files import write_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc, and mounts disks"),
]

PICTURES = int(os.environ.get("BDFLOW_SOAK", "20000"))
MODEL, SUFFIX = "portraits-x32", "x32"  # a quick one
LARGE = 800, 1200
GROWTH = 24  # MiB, as allocators keep some of what a large picture took


def photo(number: int) -> np.ndarray:
    """Waves and noise, 64 to 256 pixels each way; one in a hundred is large."""
    rng = np.random.default_rng(number)
    height, width = LARGE if number % 100 == 50 else rng.integers(64, 257, 2)
    rows, columns = np.mgrid[0:height, 0:width] / rng.uniform(3, 30)
    waves = [np.sin(rows * a + columns * b) for a, b in rng.uniform(0, 1, (3, 2))]
    noise = rng.integers(0, 20, (height, width, 3))
    return np.uint8(110 + 100 * np.stack(waves, axis=2) + noise)


class Watch:
    """Memory in MiB, and open descriptors, of a process: at most up to its hundredth picture, and since."""

    def __init__(self, process: int | str = "self") -> None:
        self.process, self.first, self.later = process, (0.0, 0), (0.0, 0)

    def look(self, pictures: int) -> None:
        """Look after so many pictures, or while the next ones are worked on."""
        status = Path(f"/proc/{self.process}/status").read_text()
        open_files = sum(1 for _ in Path(f"/proc/{self.process}/fd").iterdir())
        found = int(status.split("VmRSS:")[1].split()[0]) / 1024, open_files
        known = self.first if pictures <= 100 else self.later
        most = max(known[0], found[0]), max(known[1], found[1])
        if pictures <= 100:
            self.first = most
        else:
            self.later = most

    def is_flat(self, record: Callable[[str, object], None], what: str = "") -> bool:
        for when, (memory, open_files) in (("first hundred", self.first), ("later", self.later)):
            record(f"MiB{what}, {when}", round(memory))
            record(f"descriptors{what}, {when}", open_files)
        assert self.later[1]  # something was seen
        return self.later[0] <= self.first[0] + GROWTH and self.later[1] <= self.first[1]


def rescaled() -> Callable[[np.ndarray], PIL.Image.Image]:
    model = bdflow.load(MODEL, threads=1)
    return lambda rgb: model.upscale(model.downscale(rgb).to_bytes())


def fitted() -> Callable[[np.ndarray], PIL.Image.Image]:
    options = {"threads": 1}
    return lambda rgb: bdflow.upscale(bdflow.fit(rgb, max_bytes=900, **options).to_bytes(), **options)


# A search for the best file takes fifteen times as long; it may find the codec's own.
@pytest.mark.filterwarnings("ignore:.*no bdflow chunk")
@pytest.mark.parametrize(("way", "share"), [(rescaled, 1), (fitted, 50)])
def test_one_process(way, share, record_property):
    there_and_back, watch, seconds = way(), Watch(), []
    for hundred in range(max(1, PICTURES // share // 100)):
        start = time.monotonic()
        for number in range(100):
            rgb = photo(100 * hundred + number)
            assert there_and_back(rgb).size == rgb.shape[1::-1]
            watch.look(100 * hundred + number + 1)
        seconds.append(time.monotonic() - start)
    record_property("pictures", len(seconds) * 100)
    record_property("seconds a hundred, the first", round(seconds[0], 1))
    record_property("the median", round(float(np.median(seconds)), 1))
    record_property("the last", round(seconds[-1], 1))
    assert watch.is_flat(record_property)


def batch(*arguments: str | Path, watch: bool = False) -> tuple[int, dict, Watch]:
    """A run of the command: its exit status, the summary in its log, and what it took."""
    command = [sys.executable, "-m", "bdflow", *map(str, arguments), "--jobs", "1", "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        seen = Watch(process.pid)
        log = Path(arguments[arguments.index("--json") + 1])
        while watch and process.poll() is None:
            try:
                seen.look(log.read_bytes().count(b"\n") if log.is_file() else 0)
            except (OSError, IndexError):  # it has ended
                break
            time.sleep(0.1)
        process.wait()
    return process.returncode, json.loads(log.read_text().splitlines()[-1]), seen


def test_a_batch_and_its_next_night(tmp_path, record_property):
    """Down, again with changed inputs, up."""
    source, small, log = tmp_path / "in", tmp_path / "small", tmp_path / "log"
    source.mkdir()
    for number in range(PICTURES):
        Image.fromarray(photo(number)).save(source / f"{number}.png", compress_level=1)
    down = ("downscale", source, "-o", small, "-m", MODEL, "--resume", "--json", log)
    code, first, watch = batch(*down, watch=True)
    assert (code, first["made"], first["failed"]) == (0, PICTURES, 0)
    record_property("pictures", PICTURES)
    record_property("seconds down", round(first["seconds"]))
    assert watch.is_flat(record_property, " down")

    changed, lost, emptied, gone = ({n for n in range(PICTURES) if n % 50 == each} for each in range(4))
    later = time.time_ns()
    for number in changed:
        Image.fromarray(photo(number + 1)).save(source / f"{number}.png")
    for number in lost:
        (small / f"{number}.{SUFFIX}.png").unlink()
    for number in emptied:
        (small / f"{number}.{SUFFIX}.png").write_bytes(b"")
    for number in gone:
        (source / f"{number}.png").unlink()
    (source / "new.png").write_bytes((source / "0.png").read_bytes())
    code, second, _ = batch(*down)
    assert (code, second["failed"]) == (0, 0)
    assert second["made"] == len(changed | lost | emptied) + 1
    assert second["done"] == PICTURES + 1 - len(gone) - second["made"]
    made_now = {path.stem for path in small.iterdir() if path.stat().st_mtime_ns > later}
    assert made_now == {f"{number}.{SUFFIX}" for number in changed | lost | emptied} | {f"new.{SUFFIX}"}

    up = ("upscale", small, "-o", tmp_path / "back", "--json", tmp_path / "log-up")
    code, third, watch = batch(*up, watch=True)
    assert (code, third["made"], third["failed"]) == (0, PICTURES + 1, 0)
    record_property("seconds up", round(third["seconds"]))
    assert watch.is_flat(record_property, " up")
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.fixture
def mounted(tmp_path) -> Iterator[Callable[..., Path]]:
    """Mounts a disk, by a command that makes a file one, the kind for `mount`, and its options."""
    folders = []

    def mount(kind: str, options: str = "", make: str = "") -> Path:
        folder, image = tmp_path / kind, tmp_path / f"{kind}.img"
        folder.mkdir()
        source = kind
        try:
            if make:
                with image.open("wb") as file:
                    file.truncate(64 << 20)
                subprocess.run([make, image], check=True, capture_output=True)
                source, options = str(image), ",".join(filter(None, ("loop", options)))
            command = ["mount", "-t", kind, *(("-o", options) if options else ()), source, str(folder)]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no {kind} can be mounted here: {error}")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", folder], check=True)


# exfat-fuse is for kernels without any of the first two: mount -t exfat-fuse runs mount.exfat-fuse.
FOLDING = {"vfat": "mkfs.vfat", "exfat": "mkfs.exfat", "exfat-fuse": "mkfs.exfat"}


@pytest.mark.parametrize("kind", FOLDING)
def test_a_disk_without_links_whose_names_ignore_case(kind, mounted, tmp_path):
    disk = mounted(kind, make=FOLDING[kind])
    with pytest.raises(OSError, match=r"."):
        (disk / "b").hardlink_to(tmp_path / f"{kind}.img")
    source, small = tmp_path / "in", disk / "small"
    source.mkdir()
    for name in ("a.png", "A.png", "b.png"):
        Image.fromarray(photo(len(name) + ord(name[0]))[:64, :64]).save(source / name)
        os.utime(source / name, ns=(1_700_000_001_234_567_891, 1_700_000_001_234_567_891))
    down = ("downscale", source, "-o", small, "-m", MODEL, "--times", "--json", tmp_path / "log")
    code, summary, _ = batch(*down)
    assert (code, summary["made"], len(list(small.iterdir()))) == (0, 3, 3)
    restored = {path.name: bdflow.load(MODEL, threads=1).downscale(source / path.name).to_bytes()
                for path in source.iterdir()}  # fmt: skip
    assert sorted(path.read_bytes() for path in small.iterdir()) == sorted(restored.values())
    for _ in range(2):  # however coarse the disk's times
        code, summary, _ = batch(*down, "--resume")
        assert (code, summary["made"], summary["done"]) == (0, 0, 3)
    code, summary, _ = batch(*down[:-1], tmp_path / "other")
    assert (code, summary["made"], summary["failed"]) == (1, 0, 3)
    write_bytes(disk / "photo.png", b"mine")
    for name in ("photo.png", "PHOTO.png"):
        with pytest.raises(BDFlowError, match="exists already"):
            write_bytes(disk / name, b"other")
    assert (disk / "photo.png").read_bytes() == b"mine"
    code, summary, _ = batch("upscale", small, "-o", disk / "back", "--json", tmp_path / "up")
    assert (code, summary["made"], len(list((disk / "back").iterdir()))) == (0, 3, 3)
    assert not list(disk.rglob("*.tmp"))


def test_a_disk_that_fills_up(mounted, tmp_path):
    disk, source = mounted("tmpfs", "size=256k"), tmp_path / "in"
    source.mkdir()
    noise = np.random.default_rng(0)
    for number in range(24):
        Image.fromarray(noise.integers(0, 256, (512, 512, 3), np.uint8)).save(source / f"{number:02}.png")
    down = (
        "downscale",
        source,
        "-o",
        disk / "small",
        "-m",
        "portraits-x8",
        "--resume",
        "--json",
        tmp_path / "log",
    )
    code, summary, _ = batch(*down)
    assert (code, summary["stopped"].endswith("cannot be written: the disk is full")) == (1, True)
    assert 0 < summary["made"] < 24
    assert summary["made"] + summary["left"] == 24
    written = sorted((disk / "small").iterdir())
    assert [path.name for path in written] == [f"{number:02}.x8.png" for number in range(summary["made"])]
    assert bdflow.upscale(written[-1], threads=1).size == (512, 512)
    subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
    code, summary, _ = batch(*down)
    assert (code, summary["made"], summary["done"]) == (0, 24 - len(written), len(written))
