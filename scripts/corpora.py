"""What other programs' test pictures come to, down and up in one batch: write results/corpora.json.

Usage: python scripts/corpora.py FOLDER [--work DIR] [--minutes 30]     (two hours on one core)

Each folder in FOLDER is a corpus: the sources of Pillow, ImageMagick, libvips and libavif, unpacked, and
PngSuite. The whole FOLDER goes through `bdflow downscale` and what came of it through `bdflow upscale`, once
for each of WAYS, a picture at a time on one thread. A batch that takes longer than the minutes is killed,
which is a fault.

Of a picture that is refused, nothing but a line is asked. Faults are: an exit status of neither 0 nor 1, an
unexpected error, a traceback, a file of which nothing is said, a result of another size than the picture's,
and temporary files that are left. Each run replaces the rows of its ways.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from bdflow.system.environment import environment
from bdflow.system.files import write_bytes

RESULTS = Path(__file__).parent.parent / "results" / "corpora.json"
# By name: the options of `downscale`, and pixels beyond which pictures are refused, as time is short.
WAYS: dict[str, tuple[Sequence[str], int]] = {
    "portraits-x64": (("--model", "portraits-x64"), 16_000_000),
    "portraits-x8": (("--model", "portraits-x8"), 70_000),
    "photos-x2": (("--model", "photos-x2"), 20_000),
    "WebP of quality 50": (("--quality", "50", "--format", "webp", "--domain", "photos"), 5_000),
}


def batch(verb: str, source: Path, out: Path, options: Sequence[str], minutes: float) -> list[str]:
    """Run a verb on a folder; what was wrong with it."""
    log = out.with_suffix(".jsonl")
    command = [sys.executable, "-m", "bdflow", verb, str(source), "-o", str(out), "--recursive", "--json"]
    command += [str(log), "--jobs", "1", "--threads", "1", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        return [f"{verb}: killed after {minutes:g} minutes"]
    faults = [] if done.returncode in (0, 1) else [f"{verb}: exit status {done.returncode}"]
    faults += [f"{verb}: a traceback"] if "Traceback" in done.stderr else []
    faults += [f"{verb}: wrote to standard output"] if done.stdout else []
    return faults + [f"{verb}: left {path.name}" for path in out.rglob("*.tmp")]


def records(log: Path) -> list[dict[str, Any]]:
    """The lines of a log that are about a file or a folder."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if "file" in line]


def count(pictures: Path, small: Path, restored: Path) -> tuple[dict[str, Any], list[str]]:
    """By corpus what became of its files, and what was wrong with it."""
    found: dict[str, Any] = defaultdict(lambda: {"files": 0, "refused": Counter(), "skipped": Counter()})
    faults, open_files = [], {str(path) for path in pictures.rglob("*") if path.is_file()}
    sizes: dict[str, tuple[int, int]] = {}
    for line in records(small.with_suffix(".jsonl")):
        path = Path(line["file"])
        corpus = found[path.relative_to(pictures).parts[0]]
        if line["status"] == "not entered":
            open_files -= {name for name in open_files if path in Path(name).parents}
            continue
        open_files.discard(line["file"])
        corpus["files"] += 1
        reason = re.sub(r"\d[\d,.]*", "N", line.get("reason", ""))
        if line["status"] == "made":
            corpus["made"] = corpus.get("made", 0) + 1
            sizes[line["result"]] = line["width"], line["height"]
        elif line["status"] == "skipped":
            corpus["skipped"][reason] += 1
        else:
            corpus["refused"][reason] += 1
            if reason.startswith("unexpected"):
                faults.append(f"downscale: {path.relative_to(pictures)}: {line['reason']}")
    faults += [f"downscale: nothing is said of {name}" for name in sorted(open_files)]
    for line in records(restored.with_suffix(".jsonl")):
        path = Path(line["file"])
        if line["status"] != "made":
            faults.append(f"upscale: {path.relative_to(small)}: {line.get('reason')}")
            continue
        corpus = found[path.relative_to(small).parts[0]]
        with Image.open(line["result"]) as image:
            image.load()
            right = image.size == sizes[line["file"]]
        corpus["restored"] = corpus.get("restored", 0) + right
        faults += [] if right else [f"upscale: {path.relative_to(small)} has another size than its picture"]
    faults += [
        f"upscale: nothing came of {n}"
        for n in set(sizes) - {r["file"] for r in records(restored.with_suffix(".jsonl"))}
    ]
    return {name: found[name] for name in sorted(found)}, faults


def measured(way: str, pictures: Path, work: Path, minutes: float) -> dict[str, Any]:
    """A row of the results."""
    options, most = WAYS[way]
    small, restored = work / way / "small", work / way / "restored"
    small.parent.mkdir(parents=True)
    limit, start = ("--max-pixels", str(most)), time.monotonic()
    faults = batch("downscale", pictures, small, (*options, *limit), minutes)
    middle = time.monotonic()
    faults += batch("upscale", small, restored, (), minutes)
    seconds = {"down": round(middle - start), "up": round(time.monotonic() - middle)}
    corpora, more = count(pictures, small, restored)
    row = {"way": way, "options": list(options), "max_pixels": most, "seconds": seconds, "corpora": corpora}
    return row | {"faults": faults + more, "environment": environment()}


def main() -> None:
    parser = argparse.ArgumentParser(description="What other programs' test pictures come to.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, help="a folder for what is made; default: a temporary one")
    parser.add_argument("--minutes", type=float, default=30, help="that a batch may take")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for way in arguments.ways:
            row = measured(way, arguments.folder, arguments.work or Path(temporary), arguments.minutes)
            known = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []
            rows = {old["way"]: old for old in (*known, row)}
            result = {"command": "python scripts/corpora.py FOLDER", "rows": list(rows.values())}
            write_bytes(RESULTS, (json.dumps(result, indent=1) + "\n").encode(), overwrite=True)
            print(way, row["seconds"], *row["faults"], sep="\n")


if __name__ == "__main__":
    main()
