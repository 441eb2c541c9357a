"""What batches on Ray cost: pictures a second by worker processes, beside threads, and memory of a worker.

python scripts/cluster_speed.py results/cluster.json [FILES [MANY]]

On an idle machine: FILES small pictures in each way, a few large ones, and MANY smaller ones by two workers.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from bdflow.system.environment import environment

PHOTO = Path(__file__).parent.parent / "src/bdflow/assets/astronaut.png"
MODEL = "portraits-x8"
RUNS = {
    "1 thread": ("--jobs", "1", "--threads", "1"),
    "2 threads": ("--jobs", "2", "--threads", "2"),
    "Ray, 1 worker": ("--on", "ray", "--jobs", "1"),
    "Ray, 2 workers": ("--on", "ray", "--jobs", "2"),
}
LARGE, LARGE_SIDE, SMALL_SIDE, MANY_SIDE = 8, 2048, 128, 64


def crops(folder: Path, photo: Image.Image, count: int, side: int) -> None:
    """So many small photographs, each another part of one."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        left, top = rng.integers(0, photo.width - side, 2).tolist()
        photo.crop((left, top, left + side, top + side)).save(folder / f"{number}.jpg", quality=90)


def memory(process: Path) -> tuple[int, int]:
    """What a process holds, and the most it ever held, in bytes."""
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    resident, peak = (int(status[name].split()[0]) << 10 for name in ("VmRSS", "VmHWM"))
    return resident, peak


def watch_workers(
    mark: str, stop: threading.Event, held: dict[str, list[int]], peaks: dict[str, int]
) -> None:
    """What each worker process of a run holds, twice a second, and its peak, by its number."""
    while not stop.wait(0.5):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name = (process / "cmdline").read_bytes()
                if b"MapBatches(_Files)" in name and mark.encode() in (process / "environ").read_bytes():
                    resident, peaks[process.name] = memory(process)
                    held.setdefault(process.name, []).append(resident)
            except (OSError, KeyError):  # ended meanwhile
                pass


def run(folder: Path, pictures: str, *options: str) -> dict:
    """One batch as a process."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        log, mark, stop = f"{out}/log", f"BDFLOW_MARK={out}", threading.Event()
        held: dict[str, list[int]] = {}
        peaks: dict[str, int] = {}
        watch = threading.Thread(target=watch_workers, args=(mark, stop, held, peaks))
        watch.start()
        command = [sys.executable, "-m", "bdflow", "downscale", folder / pictures, "-o", f"{out}/results"]
        command += ["--model", MODEL]
        start = time.monotonic()
        subprocess.run(
            [*command, "--json", log, *options],
            check=True,
            env=os.environ | {"BDFLOW_MARK": out},
            capture_output=True,
            start_new_session=True,  # as Ray's workers: Linux shares processors out among sessions
        )
        wall = time.monotonic() - start
        stop.set()
        watch.join()
        # When each result got its name: the log hears of it only when its task is done.
        done = sorted(path.stat().st_mtime for path in Path(out, "results").iterdir())
        records = [json.loads(line) for line in Path(log).read_text().splitlines()]
    span = done[-1] - done[0]
    return {
        "pictures": len(done),
        "wall_seconds": round(wall, 1),
        "run_seconds": records[-1]["seconds"],
        "seconds_from_first_to_last": round(span, 2),
        "pictures_per_second": round((len(done) - 1) / span, 2),
        "worker_peak_bytes": sorted(peaks.values(), reverse=True),
        # Of each worker: half way and at the end, as medians of a tenth of the run.
        "worker_bytes_half_way": [middle(samples, 0.45) for samples in held.values()],
        "worker_bytes_at_the_end": [middle(samples, 0.9) for samples in held.values()],
        "load_average_after": round(os.getloadavg()[0], 1),
    }


def middle(samples: list[int], begin: float) -> int:
    """The median of the tenth of the samples that begins there."""
    first = int(begin * len(samples))
    return int(np.median(samples[first : first + max(1, len(samples) // 10)]))


def main(results: str, files: str = "1000", many: str = "100000") -> None:
    """Measure, and write the results file."""
    photo, measured = Image.open(PHOTO).convert("RGB"), {}
    where = environment()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        crops(folder / "small", photo, int(files), SMALL_SIDE)
        crops(folder / "many", photo, int(many), MANY_SIDE)
        (folder / "large").mkdir()
        for number in range(LARGE):
            photo.rotate(number).resize((LARGE_SIDE, LARGE_SIDE)).save(folder / f"large/{number}.jpg")
        batches = {f"small, {name}": ("small", options) for name, options in RUNS.items()}
        batches |= {f"large, {name}": ("large", RUNS[name]) for name in ("2 threads", "Ray, 2 workers")}
        batches |= {"many, Ray, 2 workers": ("many", RUNS["Ray, 2 workers"])}
        for name, (pictures, options) in batches.items():
            measured[name] = run(folder, pictures, *options)
            print(name, measured[name], flush=True)
    document = {
        "settings": {
            "model": MODEL,
            "small": f"{files} JPEGs of {SMALL_SIDE}x{SMALL_SIDE}",
            "large": f"{LARGE} JPEGs of {LARGE_SIDE}x{LARGE_SIDE}",
            "many": f"{many} JPEGs of {MANY_SIDE}x{MANY_SIDE}",
        },
        "rows": [{"batch": name, **figures} for name, figures in measured.items()],
        "environment": where,
    }
    Path(results).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
