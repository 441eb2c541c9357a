"""The verbs that measure: models, a photograph beside codecs, the paper's tables, speed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from bdflow.cli.arguments import (
    DEFAULT,
    Bits,
    Bytes,
    Computing,
    Force,
    Model,
    Scale,
    Switch,
    Threads,
    check_target,
    each_within,
)
from bdflow.errors import BDFlowError
from bdflow.system.extras import needs
from bdflow.system.streams import say

Folders = Annotated[list[Path] | None, Parameter(negative=())]


def evaluate(
    model: str,
    folders: list[Path],
    /,
    *,
    trust: Switch = False,
    json: Path | None = None,
    card: Switch = False,
    limit: PositiveInt | None = None,
    crop: NonNegativeInt = 0,
    refine: NonNegativeInt = 0,
    bpp: Annotated[list[float] | None, Parameter(negative=(), validator=each_within(1e-6, 1000))] = None,
    computing: Computing = DEFAULT,
    force: Force = False,
) -> None:
    """Measure a model on folders of pictures: quality, bytes and seconds, on stored files that are read back.

    Args:
        model: A built-in model or a model folder.
        folders: Folders of pictures.
        trust: Take a model folder that did not come with bdflow.
        json: A file for the figures of each picture, with versions, hardware and settings.
        card: Write the figures and a card into the model's folder, and replace the old ones.
        limit: How many pictures of each folder are measured. Default: all.
        crop: How many border pixels the PSNR of restored pictures leaves out.
        refine: Steps of refinement of each small picture, as of `bdflow downscale --refine`.
        bpp: Bits per pixel of the files of a restoration network, and of the best plain codec; repeatable.
            Default: 0.03, 0.1 and 0.3.
        force: Overwrite an existing file.
    """
    from rich.console import Console

    from bdflow import zoo
    from bdflow.evaluation.budgets import evaluate_model
    from bdflow.evaluation.report import evaluation_table, write_card
    from bdflow.system.files import write_bytes

    if card and refine:
        raise BDFlowError("a card tells of the model as it is: leave out --refine, or write --json FILE")
    if json:
        check_target(str(json), force)
    model_folder = zoo.find(model, trust=trust)
    result = evaluate_model(
        model_folder,
        folders,
        limit=limit,
        crop=crop,
        refine=refine,
        budgets=bpp,
        computing=computing,
        say=say,
    )
    Console().print(evaluation_table(result))
    if json:
        from json import dumps

        write_bytes(json, (dumps(result, indent=1) + "\n").encode(), overwrite=force)
    if card:
        write_card(model_folder, result)


def compare(
    photos: list[Path],
    /,
    *,
    model: Model = None,
    trust: Switch = False,
    scale: Scale = None,
    domain: Literal["photos", "portraits"] | None = None,
    bytes: Bytes = None,
    bpp: Bits = None,
    format: Literal["avif", "webp", "jpg"] = "avif",
    output: Annotated[Path | None, Parameter(("--output", "-o"))] = None,
    html: Path | None = None,
    json: Path | None = None,
    box: str | None = None,
    computing: Computing = DEFAULT,
    force: Force = False,
) -> None:
    """Compare bdflow on photographs with JPEG, WebP, AVIF and JPEG XL in as many bytes.

    Args:
        photos: Picture files.
        model: A built-in model (see `bdflow models`) or a model folder.
        trust: Take a model folder that did not come with bdflow.
        scale: How many times smaller the PNG is, each way. Selects the default model of that scale; where
            it has one for photos and one for portraits, the one that restores the photographs better.
            Default: 8.
        domain: What the photographs show. Default: all domains are tried.
        bytes: Compare an AVIF, WebP or JPEG of at most so many bytes, such as 3k, in place of a PNG.
        bpp: The same in bits per pixel of the photograph.
        format: The format for --bytes or --bpp.
        output: The sheet of enlarged boxes, a PNG; for several photographs, an existing folder. Default:
            photo.compare.png beside photo.jpg, or no sheet if --html or --json is given.
        html: A page with a slider, thumbnails and a table, in a single file.
        json: A file for the figures, with versions, hardware and settings.
        box: The part to enlarge, X,Y,W,H in pixels. Default: a part full of detail.
        force: Overwrite existing files.
    """
    from bdflow.compare.run import run, sheet_paths
    from bdflow.fitting.rescalers import rescalers
    from bdflow.methods import FittedTo, Rescaled
    from bdflow.pictures import reader

    coded = bytes is not None or bpp is not None
    if bytes is not None and bpp is not None:
        raise BDFlowError("--bytes and --bpp each say how small: choose one")
    if coded and (model or scale):
        raise BDFlowError("-x and --model make a PNG, --bytes and --bpp an AVIF, WebP or JPEG: choose one")
    sheets = sheet_paths(photos, output, elsewhere=bool(html or json))
    for target in (*sheets, html, json):
        if target:
            check_target(str(target), force)
    ours: FittedTo | Rescaled
    if coded:
        from bdflow.runtime.enhancer import Enhancer
        from bdflow.smallfile.container import of_ending
        from bdflow.zoo import find_restoration

        enhancer = Enhancer(find_restoration(), computing)
        ours = FittedTo(enhancer, bytes, bpp, of_ending(f"a.{format}").NAME, domain)
    else:
        scale = 8 if scale is None and model is None else scale
        models = rescalers(model, scale, domain, trust=trust, computing=computing)
        ours = Rescaled(models.of(reader.read(photo) for photo in photos))
    run(ours, photos, sheets, html, json, box, force, say=say)


def reproduce(
    tables: list[str],
    /,
    *,
    data: Folders = None,
    out: Annotated[Path | None, Parameter(("--out", "-o"))] = None,
    page: Path | None = None,
    limit: PositiveInt | None = None,
    quick: Switch = False,
    model: Annotated[list[Path] | None, Parameter(("--model", "-m"), negative=())] = None,
    trust: Switch = False,
    external: Annotated[list[str] | None, Parameter(negative=())] = None,
    train: Folders = None,
    crop: NonNegativeInt = 0,
    computing: Computing = DEFAULT,
) -> None:
    """Measure the paper's tables and figures anew, and print them. Needs bdflow[bench].

    The same command resumes a stopped run: results that exist are not measured again.

    Args:
        tables: table1 to table6, curves, marks, invertibility, figure1, figure2, figure4 to figure6, or all.
        data: A folder of test pictures, or one with the known sets (portraits/test, photos/kodak24, ...);
            repeat it for more. Default: $BDFLOW_DATA.
        out: The folder for the results, NAME.json each. Default: results, or quick-results with --quick.
        page: A folder for results.md and its plots, made from all results in --out.
        limit: How many pictures of each set are measured. Default: all (figure2: 30).
        quick: Try it with one small picture per set and few settings, in 5 minutes at most.
        model: A further model folder, besides the built-in models.
        trust: Take model folders that did not come with bdflow.
        external: NAME=DIR, a folder of pictures that another program restored, with bytes.csv
            (picture,bytes). A NAME that ends in -x8 gives its scale.
        train: A folder of aligned portraits that PCA is fitted on. Default: portraits/train in --data.
        crop: How many border pixels PSNR leaves out.
    """
    needs("bench")
    from bdflow.reproduce.main import Request, run

    default = os.environ.get("BDFLOW_DATA")
    request = Request(
        tables=tuple(tables),
        data=tuple(data or ([Path(default)] if default else [])),
        out=out or Path("quick-results" if quick else "results"),
        page=page,
        limit=limit,
        quick=quick,
        models=tuple(model or ()),
        trust=trust,
        externals=tuple(external or ()),
        train=tuple(train or ()),
        crop=crop,
        computing=computing,
    )
    run(request, say)


def benchmark(
    *,
    model: Annotated[list[str] | None, Parameter(("--model", "-m"), negative=())] = None,
    trust: Switch = False,
    side: Annotated[list[PositiveInt] | None, Parameter(negative=())] = None,
    rounds: PositiveInt = 5,
    threads: Threads = None,
    json: Path | None = None,
    force: Force = False,
) -> None:
    """Time every model both ways, beside IRN, torch, AVIF, JPEG XL and the machine's peak rate.

    Prints seconds and shares of the peak rate. Everything is timed in one run, because only ratios are
    comparable. Takes about a minute per model on two cores. Needs bdflow[train,bench].

    Args:
        model: A built-in model or a model folder; repeatable. Default: all built-in models.
        trust: Take model folders that did not come with bdflow.
        side: The side of the photograph in pixels; repeatable. Default: 512, 1024, 2048.
        rounds: How many times each is timed.
        threads: The number of processor threads. Default: all cores.
        json: A file for the figures, with versions, hardware and settings.
        force: Overwrite an existing file.
    """
    needs("train")
    from json import dumps

    from rich.console import Console

    from bdflow import zoo
    from bdflow.system.files import write_bytes
    from bdflow.train.speed import measure, table

    if json:
        check_target(str(json), force)
    models = [zoo.find(name, trust=trust) for name in model or zoo.names()]
    result = measure(models, side or (512, 1024, 2048), rounds=rounds, threads=threads, say=say)
    Console().print(table(result))
    if json:
        write_bytes(json, (dumps(result, indent=1) + "\n").encode(), overwrite=force)
