"""A request for tables, carried out one after the other."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.evaluation.measure import Learned, Scorer, learned
from bdflow.networks.facts import DOWN
from bdflow.reproduce import page
from bdflow.reproduce.entries import Ours
from bdflow.reproduce.external import External
from bdflow.reproduce.known import Memory
from bdflow.reproduce.plans import MEASURED, Party
from bdflow.reproduce.portraits import Portraits
from bdflow.reproduce.results import Folder, before
from bdflow.reproduce.run import Restored, check_as_many, check_same, measure, settings
from bdflow.reproduce.schemas import Latents, LatentSettings, Results, Sizes, here
from bdflow.reproduce.sets import PAPER_SIDE, Sample, Sets, find_sets
from bdflow.reproduce.sheets import SHEETS, draw, drawn_of
from bdflow.reproduce.tables import ABLATIONS, STUDY, grids
from bdflow.runtime.computing import DEFAULT, Computing
from bdflow.runtime.enhancer import Enhancer
from bdflow.runtime.rescaler import Rescaler
from bdflow.system.extras import needs
from bdflow.system.files import make_folder, write_bytes

Say = Callable[[str], None]

NAMES = (
    "table1", "table2", *ABLATIONS, "table5", "table6", "curves", "marks", "invertibility", "figure1",
    "figure2", "figure4", "figure5", "figure6",
)  # fmt: skip
_TORCH = ("table2", "figure2")
_WIDTH = 130  # columns of the widest table
_COMPONENTS, _QUICK_PORTRAITS = 768, 33


@dataclass(frozen=True)
class Request:
    """What was asked for; see `bdflow reproduce --help`."""

    tables: tuple[str, ...]
    data: tuple[Path, ...]
    out: Path
    page: Path | None = None
    limit: int | None = None
    quick: bool = False
    models: tuple[Path, ...] = ()
    trust: bool = False
    externals: tuple[str, ...] = ()
    train: tuple[Path, ...] = ()
    crop: int = 0
    computing: Computing = DEFAULT


def run(request: Request, say: Say) -> None:
    """Measure, write results, print tables, write the page.

    Raises:
        BDFlowError: A name, a folder or a model is wrong, or nothing that was asked for could be measured.
    """
    wanted = NAMES if "all" in request.tables else tuple(dict.fromkeys(request.tables))
    unknown = next((name for name in wanted if name not in NAMES), None)
    if unknown:
        raise BDFlowError(f"no table {unknown!r}; there are {', '.join(NAMES)} and all")
    sets = find_sets(request.data, request.train, quick=request.quick)
    make_folder(request.out)
    party = _party(request, sets)
    if not party.models:
        say("no bdflow model is built in or named: only the others are measured")
    judges: Mapping[str, Learned] = {}
    if request.quick:
        say("a quick run does without LPIPS, DISTS and NIQE")
    else:
        needed = dict.fromkeys(name for table in wanted for name in _learned(table))
        judges, missing = learned(*needed, data=next(iter(request.data), None))
        for name, why in missing.items():
            say(f"without {name.upper()}: {why}")
    results = Folder.at(request.out)
    memory = Memory(results)
    for table in wanted:
        try:
            _make(table, request, sets, party, Scorer(request.crop, judges), results, memory, say)
        except BDFlowError as error:
            if len(wanted) == 1:
                raise
            say(f"{table}: left out: {error}")
            continue
        wide = Console(width=max(Console().width, _WIDTH))  # cut figures would serve nobody
        for grid in grids(table, results):
            wide.print(grid.as_rich())
    if request.page:
        make_folder(request.page)
        page.write_page(results, request.page)
        say(f"{request.page / page.PAGE}: written from the results in {request.out}")


def _make(
    table: str,
    request: Request,
    sets: Sets,
    party: Party,
    scorer: Scorer,
    results: Folder,
    memory: Memory,
    say: Say,
) -> None:
    """One table's results file; BDFlowError where there can be none."""
    if table in _TORCH:
        needs("torch", what="it")
    if table in ABLATIONS:
        if STUDY not in results.studies:
            raise BDFlowError(
                f"there is no {request.out / STUDY}.json yet:"
                " `bdflow study configs/studies/boundary.toml` makes it"
            )
    elif table == "table2":
        _table2(request, party, results, say)
    elif table == "figure2":
        _figure2(request, sets, party, results, say)
    else:
        measured = _measured(table, request, sets, party, scorer, results, memory, say)
        memory.add(table, measured)


def _party(request: Request, sets: Sets) -> Party:
    folders = [*zoo.built_in(), *zoo.built_in_restorations()]
    folders += [zoo.find(folder, trust=request.trust) for folder in request.models]
    models: dict[str, zoo.Model] = {}
    for model in folders:  # a copy of a built-in model is that one
        models.setdefault(model.weights_sha256, model)
    for name, count in Counter(model.name for model in models.values()).items():
        if count > 1:
            raise BDFlowError(f"two models are called {name}: export one under another name")
    externals = []
    for text in request.externals:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise BDFlowError(f"{text}: write --external as NAME=DIR, such as GRAIN-x64=restored")
        externals.append(External(name, Path(folder)))
    portraits = None
    if sets.training:
        portraits = Portraits(sets.training, _COMPONENTS, _QUICK_PORTRAITS if request.quick else None)
    flows = [model for model in models.values() if DOWN in model.graphs]
    ours = [Ours(Rescaler(model, request.computing)) for model in flows]
    enhancers = [Enhancer(model, request.computing) for model in models.values() if model not in flows]
    ours.sort(key=lambda model: model.facts.scale)
    return Party(ours, enhancers, portraits, externals, request.quick)


def _learned(table: str) -> Sequence[str]:
    """The learned measures that a table or a sheet is of."""
    if table in MEASURED:
        return MEASURED[table].learned
    return ("lpips",) if table in SHEETS else ()


def _measured(
    table: str,
    request: Request,
    sets: Sets,
    party: Party,
    scorer: Scorer,
    results: Folder,
    memory: Memory,
    say: Say,
) -> Results:
    """A table or a sheet, picture by picture."""
    chosen: dict[str, tuple[Sample, ...]]
    sheet = SHEETS.get(table)
    scorer = replace(
        scorer,
        learned={name: judge for name, judge in scorer.learned.items() if name in _learned(table)},
        both=sheet is None and MEASURED[table].both,
    )
    if sheet:
        chosen = sets.choose(sheet.sets, sheet.pictures) if party.models else {}
        chosen = dict(list(chosen.items())[:1])
    else:
        chosen = sets.choose(MEASURED[table].sets, request.limit)
        if not request.quick:
            chosen |= sets.choose_squared(MEASURED[table].squared, request.limit, PAPER_SIDE)
    if not chosen:
        raise BDFlowError("none of its sets is at hand, or no model for its sheet")
    if sheet is None:
        plan = MEASURED[table].plan(chosen, party)
        every = [entry for _, entries in plan.values() for entry in entries]
        how = settings(scorer, every, request.limit, request.quick)
        return measure(table, plan, scorer, results, memory, how, say)
    ((name, samples),) = chosen.items()
    entries = sheet.entries(party, samples)
    how = settings(scorer, entries, sheet.pictures, request.quick)
    picture, shows = request.out / f"{table}.webp", drawn_of(samples, entries)
    earlier = results.tables.get(table)
    drawn = earlier is not None and earlier.shows == shows and picture.is_file()
    restored: Restored = {}
    measured = measure(
        table, {name: (samples, entries)}, scorer, results, memory, how, say, None if drawn else restored
    )
    if not drawn:
        sheet_bytes = draw(sheet, samples, entries, measured.rows, restored)
        write_bytes(picture, sheet_bytes, overwrite=True)
        say(f"{table}: drawn as {picture}")
    measured.shows = shows
    results.write(table, measured)
    return measured


def _table2(request: Request, party: Party, results: Folder, say: Say) -> None:
    from bdflow.reproduce import sizes

    old = results.sizes
    if old:
        check_same("quick", old.settings.quick, request.quick, request.out / "table2.json")
    how, rows = sizes.measure(party.models, old.rows if old else [], request.quick, say)
    measured = Sizes(
        reproduces="table2", settings=how, environment=here(), earlier=before(old), sets={}, rows=rows
    )
    results.write("table2", measured)


def _figure2(request: Request, sets: Sets, party: Party, results: Folder, say: Say) -> None:
    from bdflow.reproduce import latent

    old, target = results.latents, request.out / "figure2.json"
    chosen = sets.choose(latent.SETS, request.limit or latent.LIMIT)
    digests = {name: {s.name: s.digest for s in samples} for name, samples in chosen.items()}
    if old:
        check_same("quick", old.settings.quick, request.quick, target)
        check_as_many(old.sets, digests, target)
    rows = latent.measure(chosen, party.ours, old.rows if old else [], say)
    how = LatentSettings(
        quick=request.quick,
        edges=(float(latent.EDGES[0]), float(latent.EDGES[-1]), len(latent.EDGES)),
        pixels=latent.LIMIT_PIXELS,
        prior_variance=latent.PRIOR_VARIANCE,
        note="Z is not rounded; pictures in 0..1; the true high frequencies are the first Haar level's,"
        " where scaled spread over their steps of 1/510",
    )
    measured = Latents(
        reproduces="figure2", settings=how, environment=here(), earlier=before(old), sets=digests, rows=rows
    )
    results.write("figure2", measured)
