"""The command line. Thin verbs: whatever is slow to import loads inside the verb that needs it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from cyclopts.types import NonNegativeInt, PositiveInt

from bdflow import BDFlowError, __version__, interrupts
from bdflow.arguments import (
    DEFAULT,
    Bits,
    Bytes,
    Computing,
    Force,
    Input,
    Model,
    Scale,
    Switch,
    check_target,
    each_within,
    read_input,
)
from bdflow.batch import cli as rescaling
from bdflow.batch.cli import load
from bdflow.extras import needs
from bdflow.limits import MAX_PIXELS
from bdflow.reproduce.cli import reproduce
from bdflow.streams import check_output, drop_output, flush_output, prepare, say
from bdflow.train import cli as training

app = App(
    name="bdflow",
    version=__version__,
    help="Shrink a photograph 2 to 64 times each way into one small PNG, and get the photograph back.",
)


app.command(rescaling.downscale)
app.command(rescaling.upscale)


@app.command
def info(small: Input, /, *, max_pixels: PositiveInt = MAX_PIXELS) -> None:
    """Print what is inside a small file and where every byte of it goes.

    Args:
        small: A PNG that `bdflow downscale` made; "-" reads standard input.
        max_pixels: Refuse a file whose small or restored picture is larger, before it is decoded.
    """
    from bdflow import container
    from bdflow.files import opened
    from bdflow.report import small_file

    check_output()
    with opened(read_input(small)) as (stream, _):
        parsed = container.read(stream, max_pixels=max_pixels)
        stream.seek(0)
        print(small_file(parsed, stream.read()))


@app.command
def models(*, paper: Switch = False) -> None:
    """List the built-in models.

    Args:
        paper: Instead, count the paper's four networks and IRN's (Table 2). Needs bdflow[torch].
    """
    from rich.console import Console

    from bdflow.report import models_tables, paper_table

    check_output()
    if paper:
        needs("torch", what="--paper")
    Console().print(paper_table() if paper else models_tables())


@app.command
def demo(
    photo: Path | None = None, /, *, output: Annotated[Path, Parameter(("--output", "-o"))] = Path("demo-out")
) -> None:
    """Shrink and restore a photograph, beside bicubic, JPEG and AVIF.

    Args:
        photo: A picture file. Default: the one that ships with bdflow.
        output: The folder for the small PNG, the restored picture and the side-by-side sheet.
    """
    from bdflow.demo import run

    run(output, photo)


@app.command
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
    """Measure a model on folders of pictures: quality, bytes, seconds, all on stored and re-read files.

    Args:
        model: A built-in model or a model folder.
        folders: Folders of pictures.
        trust: Take a model folder that did not come with bdflow.
        json: Write the figures, picture by picture, with versions, hardware and settings.
        card: Write them into the model's own folder, with its card; what was there is replaced.
        limit: Only the first so many pictures of each folder.
        crop: Border pixels that the PSNR of restored pictures leaves out.
        refine: Steps by which each small picture is refined, as `bdflow downscale --refine` does.
        bpp: Of a restoration network: the bits a pixel of its files, against the best plain codec in as many;
            repeatable. Default: 0.03, 0.1 and 0.3.
        force: Overwrite an existing file.
    """
    from rich.console import Console

    from bdflow import zoo
    from bdflow.evaluate_budgets import evaluate_model
    from bdflow.files import write_bytes
    from bdflow.report import evaluation_table, write_card

    if card and refine:
        raise BDFlowError("a card tells of the model as it is: leave out --refine, or write --json FILE")
    if json:
        check_target(str(json), force)
    found = zoo.find(model, trust=trust)
    result = evaluate_model(
        found, folders, limit=limit, crop=crop, refine=refine, budgets=bpp, computing=computing, say=say
    )
    Console().print(evaluation_table(result))
    if json:
        from json import dumps

        write_bytes(json, (dumps(result, indent=1) + "\n").encode(), overwrite=force)
    if card:
        write_card(found, result)


@app.command
def compare(
    photos: list[Path],
    /,
    *,
    model: Model = None,
    trust: Switch = False,
    scale: Scale = None,
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
    """Show what JPEG, WebP, AVIF and JPEG XL make of photographs at the bytes of bdflow's file.

    Args:
        photos: Picture files.
        model: A built-in model (see `bdflow models`) or a model folder.
        trust: Take a model folder that did not come with bdflow.
        scale: How many times smaller each way; takes the default model of that scale. Default: 8.
        bytes: Instead of a PNG, an ordinary AVIF, WebP or JPEG of so many bytes at most, such as 3k.
        bpp: The same, in bits for each pixel of the photograph.
        format: Of that file.
        output: The sheet of enlarged boxes, a PNG; for several photos, a folder that there is.
            Default: photo.compare.png beside photo.jpg, or none where --html or --json is given.
        html: One page with a slider, thumbnails and a table; everything is in the file.
        json: The figures, with versions, hardware and settings.
        box: X,Y,W,H in pixels: the part to enlarge. Default: one full of detail.
        force: Overwrite existing files.
    """
    from bdflow.compare.run import run, sheet_paths
    from bdflow.methods import FittedTo, Rescaled

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
        from bdflow.container import of_ending
        from bdflow.enhancer import Enhancer
        from bdflow.zoo import find_restoration

        enhancer = Enhancer(find_restoration(), computing)
        ours = FittedTo(enhancer, bytes, bpp, of_ending(f"a.{format}").NAME)
    else:
        scale = 8 if scale is None and model is None else scale
        ours = Rescaled(load(model, scale, computing, trust))
    run(ours, photos, sheets, html, json, box, force, say=say)


for verb in (reproduce, training.mask, training.train, training.study, training.export, training.benchmark):
    app.command(verb)


def _warn(message: Warning | str) -> None:
    """A warning; Pillow's do not name the file that it reads."""
    from bdflow.images import being_read

    name = being_read()
    say(f"bdflow: warning: {f'{name}: ' if name else ''}{message}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, 1 for input that must be mended, 2 for wrong
    arguments, 130 after Ctrl-C, 143 after a request to end.

    Args:
        arguments: Those of the command line, without the program's name; None takes the process's own.
    """
    warnings.showwarning = lambda message, *_: _warn(message)
    prepare()
    interrupts.listen()  # training and batches listen themselves, too
    try:
        status = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        flush_output()
    except UnusedCliTokensError as error:
        say(f"bdflow: too many arguments: {' '.join(error.unused_tokens or [])}. See bdflow --help")
        return 2
    except CycloptsError as error:
        say(f"bdflow: {error} See bdflow --help")
        return 2
    except BDFlowError as error:
        say(f"bdflow: {error}")
        return 1
    except BrokenPipeError:
        drop_output()
        return 1
    except OSError as error:
        from bdflow.files import reason

        where = "the current folder" if isinstance(error, FileNotFoundError) else "standard output"
        say(f"bdflow: {error.filename or where}: {reason(error)}")
        drop_output()  # what is left to be written would be refused again
        return 1
    except KeyboardInterrupt:
        return 130
    return status or 0
