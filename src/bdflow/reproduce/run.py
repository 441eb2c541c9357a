"""The loop: every picture by every method, kept at once, so that a run that was stopped goes on."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bdflow.errors import BDFlowError
from bdflow.evaluation.measure import METRICS, Scorer
from bdflow.pictures.picture import RGB
from bdflow.reproduce.entries import Entry
from bdflow.reproduce.facts import Foreign, Trained
from bdflow.reproduce.known import Memory
from bdflow.reproduce.results import Folder, earlier
from bdflow.reproduce.schemas import Digests, Results, Row, Settings, Values, here
from bdflow.reproduce.sets import Sample

Plan = Mapping[str, tuple[Sequence[Sample], Sequence[Entry]]]
Restored = dict[tuple[Sample, Entry], RGB]

_SAVE_EVERY = 20.0  # seconds


@dataclass
class _Measurements:
    """What was measured of one method on one set."""

    entry: Entry
    pictures: dict[str, Values] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def row(self, name: str, samples: Sequence[Sample]) -> Row:
        """In the order of the set, whatever was measured when."""
        pictures = {s.name: self.pictures[s.name] for s in samples if s.name in self.pictures}
        return Row.of(name, self.entry.label, self.entry.facts, pictures, self.failed)


def settings(scorer: Scorer, entries: Iterable[Entry], limit: int | None, quick: bool) -> Settings:
    """What a results file says of how it was measured; `measures` are those of all entries."""
    skipped = {name for entry in entries for name in entry.without}
    measures = tuple(sorted(scorer.without(skipped).measures))
    return Settings(crop=scorer.crop, limit=limit, quick=quick, measures=measures, metrics=METRICS)


def measure(
    table: str,
    plan: Plan,
    scorer: Scorer,
    folder: Folder,
    memory: Memory,
    settings: Settings,
    say: Callable[[str], None],
    restored: Restored | None = None,
) -> Results:
    """Measure what is not known yet, and write the results file as it goes.

    Args:
        table: What is reproduced.
        plan: Pictures and methods of each set.
        scorer: What is measured.
        folder: Takes the results; their file is written every 20 seconds, and in the end.
        memory: What earlier runs measured.
        settings: How it is measured.
        say: Takes a line for every picture, with the time left.
        restored: Takes the restored pictures, if they are needed; only of what was not known.

    Returns:
        The results that were written.
    """
    rows = {name: [_Measurements(entry) for entry in entries] for name, (_, entries) in plan.items()}
    digests = {name: {s.name: s.digest for s in samples} for name, (samples, _) in plan.items()}
    todo, used = _unknown(plan, rows, scorer, memory)
    old = folder.tables.get(table)
    if old:
        check_covers(old, digests, settings, folder.path / f"{table}.json")
    theirs = [row for row in old.rows if _is_kept(row, plan)] if old else []
    before = earlier(memory.runs(table, used))
    total = sum(len(missing) for _, _, missing in todo)
    if total:
        say(f"{table}: {total:,} measurements to make, on {len(todo)} pictures")

    def save() -> Results:
        measured = [m.row(name, plan[name][0]) for name, group in rows.items() for m in group]
        results = Results(
            reproduces=table,
            settings=settings,
            environment=here(),
            earlier=before,
            sets=digests,
            rows=[*(row for row in measured if row.count or row.failed), *theirs],
        )
        folder.write(table, results)
        return results

    start = saved = time.monotonic()
    done = 0
    for number, (name, sample, missing) in enumerate(todo, 1):
        try:
            true = sample.read()
            scorer.check(true)
        except BDFlowError as error:
            for measurements in missing:
                measurements.failed[sample.name] = str(error).removeprefix(f"{sample.path}: ")
            say(f"{table} {name} {sample.name}: left out: {error}")
            continue
        for measurements in missing:
            entry = measurements.entry
            try:
                measurements.pictures[sample.name], pixels = entry.measure(sample, true, scorer)
            except BDFlowError as error:
                measurements.failed[sample.name] = str(error)
            else:
                if restored is not None:
                    restored[sample, entry] = pixels
            done += 1
            if time.monotonic() - saved > _SAVE_EVERY:
                save()
                saved = time.monotonic()
        spent = time.monotonic() - start
        left = spent / done * (total - done)
        say(f"{table} {number}/{len(todo)} {name} {sample.name}: {_minutes(spent)}, {_minutes(left)} left")
    return save()


def _unknown(
    plan: Plan, rows: Mapping[str, Sequence[_Measurements]], scorer: Scorer, memory: Memory
) -> tuple[list[tuple[str, Sample, list[_Measurements]]], set[str]]:
    """Fill in what earlier runs measured; the rest, picture by picture, and the tables that knew."""
    todo, used = [], set[str]()
    for name, (samples, _) in plan.items():
        for sample in samples:
            missing = []
            for measurements in rows[name]:
                entry = measurements.entry
                wanted = scorer.without(entry.without).measures | ({"lr_psnr"} if entry.ours else set())
                known = memory.recall(entry.facts, scorer.crop, sample.digest, wanted)
                if known is None:
                    missing.append(measurements)
                elif known.failed is None:
                    measurements.pictures[sample.name] = known.values
                    used |= known.tables
                else:
                    measurements.failed[sample.name] = known.failed
            if missing:
                todo.append((name, sample, missing))
    return todo, used


def check_covers(old: Results, digests: Digests, settings: Settings, target: Path) -> None:
    """Refuse to put a smaller measurement, or one of another kind, in the place of a larger one."""
    check_same("quick", old.settings.quick, settings.quick, target)
    check_same("crop", old.settings.crop, settings.crop, target)
    check_as_many(old.sets, digests, target)


def check_same(name: str, old: int, asked: int, target: Path) -> None:
    """Refuse to put figures of another setting in the place of older ones."""
    if old != asked:
        raise BDFlowError(f"{target}: was measured with {name} {old}: give another --out, or delete it")


def check_as_many(old: Digests, digests: Digests, target: Path) -> None:
    """Refuse to put figures of fewer pictures in the place of those of more."""
    for name, pictures in old.items():
        asked = len(digests.get(name, {}))
        if asked < len(pictures):
            raise BDFlowError(
                f"{target}: holds {len(pictures)} pictures of {name}, and {asked} are asked for: give another"
                " --out, or delete it first"
            )


def _is_kept(row: Row, plan: Plan) -> bool:
    """Whether a row of an earlier run stays: another program's or a named model's that takes no part now."""
    who = _who(row)
    return who is not None and row.set in plan and who not in {_who(entry) for entry in plan[row.set][1]}


def _who(one: Row | Entry) -> str | None:
    """The program or the model that it is of."""
    match one.facts:
        case Foreign(name=name):
            return name
        case Trained(model=name):
            return name
    return None


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
