"""The loop: every picture by every method, kept at once, so that a run that was stopped goes on."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bdflow.errors import BDFlowError
from bdflow.measure import METRICS, Scorer
from bdflow.reproduce.entries import Entry
from bdflow.reproduce.results import Document, Known, Row, Values, document, write
from bdflow.reproduce.sets import Sample

Plan = Mapping[str, tuple[Sequence[Sample], Sequence[Entry]]]

_SAVE_EVERY = 20.0  # seconds


def settings(scorer: Scorer, limit: int | None, quick: bool) -> dict[str, Any]:
    """What a results file says of how it was measured."""
    return {
        "crop": scorer.crop,
        "limit": limit,
        "quick": quick,
        "measures": sorted(scorer.measures),
        "sigma": 0,
        "metrics": METRICS,
    }


def measure(
    table: str,
    plan: Plan,
    scorer: Scorer,
    known: Known,
    target: Path,
    told: Mapping[str, Any],
    say: Callable[[str], None],
) -> Document:
    """Measure what is not known yet, and write the results file as it goes.

    Args:
        table: What is reproduced.
        plan: Pictures and methods of each set.
        scorer: What is measured.
        known: What earlier runs measured.
        target: The results file; written every 20 seconds, and in the end.
        told: The settings.
        say: Takes a line for every picture, with the time left.

    Returns:
        The document that was written.
    """
    rows = {name: [Row(name, e.label, e.facts) for e in entries] for name, (_, entries) in plan.items()}
    digests = {name: {s.name: s.digest for s in samples} for name, (samples, _) in plan.items()}
    todo = _known(plan, rows, scorer, known)
    old = known.documents.get(table)
    if old:
        check_covers(old, digests, told, target)
    theirs = [row for row in old["rows"] if _is_kept(row, plan)] if old else []
    before = known.before(table)
    total = sum(len(missing) for _, _, missing in todo)
    if total:
        say(f"{table}: {total:,} measurements to make, on {len(todo)} pictures")

    def save() -> Document:
        every = (row for group in rows.values() for row in group)
        kept = [row.as_json() for row in every if row.pictures or row.failed]
        made = document(table, told, digests, [*kept, *theirs], before)
        write(target, made)
        return made

    start = saved = time.monotonic()
    done = 0
    for number, (name, sample, missing) in enumerate(todo, 1):
        try:
            true = sample.read()
            scorer.check(true)
        except BDFlowError as error:
            for _, row in missing:
                row.failed[sample.name] = str(error).removeprefix(f"{sample.path}: ")
            say(f"{table} {name} {sample.name}: left out: {error}")
            continue
        for entry, row in missing:
            try:
                row.pictures[sample.name] = entry.measure(sample, true, scorer)
            except BDFlowError as error:
                row.failed[sample.name] = str(error)
            done += 1
            if time.monotonic() - saved > _SAVE_EVERY:
                save()
                saved = time.monotonic()
        spent = time.monotonic() - start
        left = spent / done * (total - done)
        say(f"{table} {number}/{len(todo)} {name} {sample.name}: {_minutes(spent)}, {_minutes(left)} left")
    for name, (samples, _) in plan.items():  # in the order of the set, whatever was measured when
        order = {sample.name: index for index, sample in enumerate(samples)}
        for row in rows[name]:
            row.pictures = dict(sorted(row.pictures.items(), key=lambda item: order[item[0]]))
    return save()


def _known(
    plan: Plan, rows: Mapping[str, Sequence[Row]], scorer: Scorer, known: Known
) -> list[tuple[str, Sample, list[tuple[Entry, Row]]]]:
    """Fill in what earlier runs measured; the rest, picture by picture."""
    todo = []
    for name, (samples, entries) in plan.items():
        for sample in samples:
            missing = []
            for entry, row in zip(entries, rows[name], strict=True):
                found = _lookup(known, entry, sample, scorer)
                why = known.failed(entry.facts, scorer.crop, sample.digest)
                if found is not None:
                    row.pictures[sample.name] = found
                elif why is not None:
                    row.failed[sample.name] = why
                else:
                    missing.append((entry, row))
            if missing:
                todo.append((name, sample, missing))
    return todo


def check_covers(
    old: Document, digests: Mapping[str, Mapping[str, str]], told: Mapping[str, Any], target: Path
) -> None:
    """Refuse to put a smaller measurement, or one of another kind, in the place of a larger one."""
    for key in ("quick", "crop"):
        if old["settings"].get(key) != told.get(key):
            raise BDFlowError(
                f"{target}: was measured with {key} {old['settings'][key]}: give another --out, or delete it"
            )
    for name, pictures in old["sets"].items():
        asked = len(digests.get(name, {}))
        if asked < len(pictures):
            raise BDFlowError(
                f"{target}: holds {len(pictures)} pictures of {name}, and {asked} are asked for: give another"
                " --out, or delete it first"
            )


def _is_kept(row: Document, plan: Plan) -> bool:
    """Whether a row of an earlier run stays: another program's or a named model's that takes no part now."""
    name = {"external": "name", "rival": "model", "bdflow": "model"}.get(row["facts"]["kind"])
    if name is None or row["set"] not in plan:
        return False
    return row["facts"][name] not in {entry.facts.get(name) for entry in plan[row["set"]][1]}


def _lookup(known: Known, entry: Entry, sample: Sample, scorer: Scorer) -> Values | None:
    wanted = scorer.measures | ({"lr_psnr"} if entry.ours else set())
    return known.values(entry.facts, scorer.crop, sample.digest, wanted)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
