"""Fuzz every target for a while, and add what was done to results/fuzzing.json.

Usage: python fuzz/run.py [--minutes 20] [--results FILE] [TARGET...]      (needs bdflow[fuzz])
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bdflow.system.environment import environment

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / "build" / "fuzz"

# What part of the time each target gets.
TARGETS = {"images": 0.25, "container": 0.25, "slim": 0.1, "models": 0.15, "payload": 0.15, "boundary": 0.1}

Run = dict[str, Any]


def run(target: str, seconds: float) -> Run:
    """Fuzz one target; an input that breaks it ends the run and is kept in build/fuzz/faults."""
    found, faults = SCRATCH / target, SCRATCH / "faults"
    for folder in (found, faults):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "fuzz" / "corpus" / target
    command = [sys.executable, ROOT / "fuzz" / f"{target}.py", f"-max_total_time={max(1, round(seconds))}"]
    command += ["-print_final_stats=1", "-max_len=4096", f"-artifact_prefix={faults}/{target}-", found, seeds]
    about = environment()
    about["packages"]["atheris"] = version("atheris")
    before, started = set(faults.iterdir()), time.monotonic()
    environ = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environ)
    executions = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    broken = sorted(path.name for path in set(faults.iterdir()) - before)
    if not executions or (done.returncode and not broken):
        sys.exit(f"{target}: the fuzzer did not run:\n{done.stderr[-3000:]}")
    if broken:
        print(done.stderr[-3000:], file=sys.stderr)
    return {
        "target": target,
        "executions": int(executions[1]),
        "seconds": round(time.monotonic() - started),
        "faults": broken,
        "environment": about,
    }


def record(done: Run, results: Path) -> None:
    """Add a run to the results; runs of one target in one environment are added up."""
    runs = json.loads(results.read_text())["runs"] if results.is_file() else []
    for earlier in runs:
        if all(earlier[key] == done[key] for key in ("target", "environment")):
            for key in ("executions", "seconds", "faults"):
                earlier[key] += done[key]
            break
    else:
        runs.append(done)
    results.write_text(json.dumps({"command": "python fuzz/run.py", "runs": runs}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "fuzzing.json")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    targets = options.targets or list(TARGETS)
    if unknown := set(targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(unknown)}")
    whole = sum(TARGETS[target] for target in targets)
    for target in targets:
        done = run(target, 60 * options.minutes * TARGETS[target] / whole)
        record(done, options.results)
        rate = done["executions"] / done["seconds"]
        print(f"{target}: {done['executions']:,} executions, {rate:,.0f} a second, faults: {done['faults']}")


if __name__ == "__main__":
    main()
