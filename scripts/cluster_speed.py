"""What batches on Ray cost: pictures a second by worker processes, beside threads, and memory of a worker.

python scripts/cluster_speed.py results/cluster.json [FILES]
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
RUNS = {
    "1 thread": ("--jobs", "1", "--threads", "1"),
    "2 threads": ("--jobs", "2", "--threads", "2"),
    "Ray, 1 worker": ("--on", "ray", "--jobs", "1"),
    "Ray, 2 workers": ("--on", "ray", "--jobs", "2"),
}
LARGE, LARGE_SIDE, SMALL_SIDE = 16, 2048, 128


def peak_of_workers(mark: str, stop: threading.Event, found: dict[str, int]) -> None:
    """The most memory that each worker process of a run had, in bytes, by its number."""
    while not stop.wait(0.5):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                name = (process / "cmdline").read_bytes()
                if b"MapBatches(_Files)" in name and mark.encode() in (process / "environ").read_bytes():
                    status = dict(
                        line.split(":", 1) for line in (process / "status").read_text().splitlines()
                    )
                    found[process.name] = int(status["VmHWM"].split()[0]) << 10
            except (OSError, KeyError):
                pass


def run(folder: Path, pictures: str, *options: str) -> dict:
    """One batch as a process."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        log, mark, found, stop = f"{out}/log", f"BDFLOW_MARK={out}", {}, threading.Event()
        watch = threading.Thread(target=peak_of_workers, args=(mark, stop, found))
        watch.start()
        command = [sys.executable, "-m", "bdflow", "downscale", folder / pictures, "-o", f"{out}/results"]
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
        "worker_peak_bytes": sorted(found.values(), reverse=True),
        "load_average_after": round(os.getloadavg()[0], 1),
    }


def main(results: str, files: str = "400") -> None:
    """Measure, and write the results file."""
    photo, rng, measured = Image.open(PHOTO).convert("RGB"), np.random.default_rng(0), {}
    where = environment()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "small").mkdir()
        (folder / "large").mkdir()
        for number in range(int(files)):
            left, top = rng.integers(0, photo.width - SMALL_SIDE, 2).tolist()
            crop = photo.crop((left, top, left + SMALL_SIDE, top + SMALL_SIDE))
            crop.save(folder / f"small/{number}.jpg", quality=90)
        for number in range(LARGE):
            photo.rotate(number).resize((LARGE_SIDE, LARGE_SIDE)).save(folder / f"large/{number}.jpg")
        for name, options in RUNS.items():
            measured[f"small, {name}"] = run(folder, "small", *options)
            print(name, measured[f"small, {name}"], flush=True)
        measured["large, Ray, 2 workers"] = run(folder, "large", *RUNS["Ray, 2 workers"])
    document = {
        "settings": {
            "model": "the default of scale 8",
            "small": f"{files} JPEGs of {SMALL_SIDE}x{SMALL_SIDE}",
            "large": f"{LARGE} JPEGs of {LARGE_SIDE}x{LARGE_SIDE}",
        },
        "rows": [{"batch": name, **figures} for name, figures in measured.items()],
        "environment": where,
    }
    Path(results).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
