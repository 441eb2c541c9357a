"""Studies: one choice against another, each trained for as long and measured on stored files."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import msgspec
import torch
from PIL import Image
from rich.table import Table

from bdflow.errors import BDFlowError
from bdflow.evaluation.budgets import evaluate_model
from bdflow.evaluation.grid import Grid
from bdflow.pictures.reader import READABLE
from bdflow.pictures.reader import read as read_picture
from bdflow.system.environment import environment
from bdflow.system.files import write_bytes
from bdflow.system.offline import hidden
from bdflow.train.config import (
    CardConfig,
    Config,
    RestorationTrainConfig,
    load_config,
    override,
    read_saved,
    read_toml,
)
from bdflow.train.config_restoration import Frozen
from bdflow.train.data import shrink
from bdflow.train.export import export_run
from bdflow.train.run import trainer_of
from bdflow.zoo import find

with hidden("torchmetrics"):
    from lightning_fabric.utilities.rank_zero import rank_zero_only

Row = dict[str, Any]


class Study(Frozen, frozen=True):
    """What a study file (TOML) holds.

    Attributes:
        question: What the study is to answer, in a sentence.
        base: The configuration that every variant changes; a path beside the study file.
        minutes: Training time of each run; the networks may differ in speed.
        steps: Or steps of each run: fairer on a busy machine, where the networks are alike in cost.
        variants: Settings of each, by dotted names such as `optim.learning_rate`.
        changes: Settings that differ from the base in all of them; a variant's own come on top.
        seeds: Each variant is trained once with each;
        repeated: or these alone, and the others with the first.
        limit: How many test pictures of each folder are measured; all of them without it.
        test_side: Test pictures are shrunk to this shorter side first.
    """

    question: str
    base: str
    variants: dict[str, dict[str, Any]]
    minutes: float | None = None
    steps: int | None = None
    changes: dict[str, Any] = msgspec.field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    repeated: tuple[str, ...] | None = None
    limit: int | None = None
    test_side: int | None = None


def configurations(path: Path) -> Iterator[tuple[str, int, Config]]:
    """Variant, seed and configuration of every run that the study file at `path` asks for."""
    study = read_toml(path, Study)
    if (study.minutes is None) == (study.steps is None):
        raise BDFlowError(f"{path}: give either minutes or steps")
    length = {"minutes": study.minutes} if study.steps is None else {"minutes": None, "steps": study.steps}
    # The base's card tells of the base's weights.
    base = msgspec.structs.replace(load_config(path.parent / study.base), card=CardConfig())
    repeated = study.variants if study.repeated is None else study.repeated
    if unknown := set(repeated) - set(study.variants):
        raise BDFlowError(f"{path}: repeated: there is no variant {min(unknown)}")
    for seed in study.seeds:  # a whole study with the first seed, before any is repeated
        for variant, own in study.variants.items():
            if seed != study.seeds[0] and variant not in repeated:
                continue
            named = {"optim.seed": seed, "name": f"{path.stem}-{variant}"}
            timed = {f"optim.{unit}": value for unit, value in length.items()}
            try:
                yield variant, seed, override(base, {**named, **timed, **study.changes, **own})
            except BDFlowError as error:
                raise BDFlowError(f"{path}: variant {variant}: {error}") from None


def run(
    path: Path,
    data: list[Path],
    tests: list[Path],
    out: Path,
    results: Path,
    *,
    device: str = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Train and measure what the results file does not hold yet; interrupted, a rerun goes on.

    Args:
        path: The study file.
        data: Folders of training pictures.
        tests: Folders of test pictures.
        out: Run folders and exported models.
        results: The results file (JSON), written anew after every run and in the end. A row whose
            configuration has changed since is replaced; one that the study no longer asks for goes.
        device: What to train on; `threads`: on so many of a processor's (None: all).

    Returns:
        All rows, in the order of the study file. Of several processes the first alone writes files.
    """
    if threads:
        torch.set_num_threads(threads)
    study, planned = read_toml(path, Study), list(configurations(path))
    out.mkdir(parents=True, exist_ok=True)
    if study.test_side and is_first():
        tests = [_shrunk(folder, out / f"tests-{study.test_side}", study.test_side) for folder in tests]
    known = {(row["variant"], row["seed"]): row for row in _read(results)}
    wanted = {(variant, seed): config for variant, seed, config in planned}

    @rank_zero_only
    def save() -> None:
        rows = [known[key] for key in wanted if key in known]
        document = {"schema": "study-1", "study": msgspec.to_builtins(study), "rows": rows}
        write_bytes(results, (json.dumps(document, indent=1) + "\n").encode(), overwrite=True)

    for key, config in wanted.items():
        if key in known and _describes(known[key]["config"], config):
            continue
        variant, seed = key
        say(f"{path.stem}: {variant}, seed {seed}, {_length(study)}")
        folder = out / f"{variant}-{seed}-{_digest(config)}"
        known[key] = {
            "variant": variant,
            "seed": seed,
            **_train_and_measure(config, data, tests, folder, device, study.limit, say),
        }
        save()
    save()  # the study's own words may have changed, or a variant have gone
    return [known[key] for key in wanted]


def is_first() -> bool:
    """Whether this is the first of the processes that train, or the only one."""
    return not getattr(rank_zero_only, "rank", 0)  # lightning sets it


def summary(rows: list[Row], folder: str, measure: str) -> dict[str, tuple[float, float]]:
    """Mean of a measure over a variant's seeds, and its standard deviation (NaN for a single seed)."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["variant"], []).append(row["folders"][folder][measure])
    return {v: (fmean(x), stdev(x) if len(x) > 1 else float("nan")) for v, x in found.items()}


def table(rows: list[Row]) -> Table:
    """What the terminal shows: a row for each variant and folder, the mean over seeds, and their spread."""
    headings = (
        "variant", "pictures", "runs", "steps", "PSNR-Y", "spread", "LR", "SSIM-Y", "LPIPS-RGB", "bytes",
    )  # fmt: skip
    grid = Grid("", headings, words=range(len(headings)))
    for folder in rows[0]["folders"]:
        means = {key: summary(rows, folder, key) for key in rows[0]["folders"][folder] if key != "count"}
        for variant, (psnr, spread) in means["psnr_y"].items():
            steps = [row["steps"] for row in rows if row["variant"] == variant]
            grid.rows.append(
                (
                    variant,
                    folder,
                    str(len(steps)),
                    f"{fmean(steps):,.0f}",
                    f"{psnr:.2f} dB",
                    "" if math.isnan(spread) else f"{spread:.2f}",
                    f"{means['lr_psnr'][variant][0]:.2f} dB" if "lr_psnr" in means else "",
                    f"{means['ssim_y'][variant][0]:.4f}",
                    f"{means['lpips'][variant][0]:.4f}" if "lpips" in means else "",
                    f"{means['bytes'][variant][0]:,.0f}",
                )
            )
    return grid.table()


def _train_and_measure(
    config: Config,
    data: list[Path],
    tests: list[Path],
    out: Path,
    device: str,
    limit: int | None,
    say: Callable[[str], None],
) -> Row:
    """One run; of several processes the first exports and measures, and the others wait for its row."""
    cache = None
    if isinstance(config, RestorationTrainConfig):  # one for all variants that learn from the same views
        coded = msgspec.json.encode((config.pairs, config.data.crop))
        cache = out.parent / f"pairs-{hashlib.sha256(coded).hexdigest()[:8]}"
    trainer = trainer_of(config, data, out / "run", device=device, cache=cache, say=say)
    trainer.fit()
    row: Any = _export_and_measure(out, tests, limit) if trainer.fabric.is_global_zero else None
    measured: Row = trainer.fabric.broadcast(row)
    return measured


def _export_and_measure(out: Path, tests: list[Path], limit: int | None) -> Row:
    """What a run folder made, as a model that is measured on stored files."""
    export_run(out / "run", out / "model")
    model = find(out / "model", trust=True)
    measured = evaluate_model(model, tests, limit=limit, say=lambda line: None)
    training = model.metadata["training"]
    facts = ("parameters", "multiply_adds", "multiply_adds_per_pixel", "steps", "seconds", "machine")
    return {
        **{fact: training[fact] for fact in facts if fact in training},
        "config": training["config"],
        "folders": {name: {"count": f["count"], **f["mean"]} for name, f in measured["folders"].items()},
        "environment": environment(),
    }


def _length(study: Study) -> str:
    return f"{study.steps:,} steps" if study.minutes is None else f"{study.minutes:g} minutes"


def _digest(config: Config) -> str:
    """Keeps the run of a configuration apart from one of the same name that was changed since."""
    return hashlib.sha256(msgspec.json.encode(config)).hexdigest()[:8]


def _describes(stored: dict[str, Any], config: Config) -> bool:
    """Whether a row's configuration is this one; settings that are newer than the row have their defaults."""
    try:
        return read_saved({**stored, "card": {}}) == config
    except BDFlowError:
        return False


def _read(results: Path) -> list[Row]:
    if not results.exists():
        return []
    try:
        rows: list[Row] = json.loads(results.read_text())["rows"]
        return rows
    except (OSError, ValueError, KeyError) as error:
        raise BDFlowError(f"{results}: not the results of a study ({error}): name another file") from None


def _shrunk(folder: Path, into: Path, side: int) -> Path:
    """The folder's pictures as PNGs of a shorter side `side`, under the same two last names."""
    target = into.joinpath(*folder.resolve().parts[-2:])
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        small = target / f"{path.stem}.png"
        if path.suffix.lower() in READABLE and not small.exists():
            rgb = shrink(read_picture(path).rgb, (side, side))
            Image.fromarray(rgb).save(small)
    return target
