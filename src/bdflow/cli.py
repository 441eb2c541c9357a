"""The command line. Thin verbs: whatever is slow to import loads inside the verb that needs it."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from cyclopts.types import NonNegativeFloat, NonNegativeInt, PositiveInt
from cyclopts.validators import Number

from bdflow import BDFlowError, __version__
from bdflow.arguments import (
    DEFAULT,
    LOSSLESS,
    ONE,
    Batch,
    Coding,
    Computing,
    Force,
    Input,
    Model,
    Output,
    Scale,
    Switch,
    Threads,
    beside,
    check_target,
    deliver,
    each_within,
    read_input,
    results_folder,
    say,
    small_stem,
    within,
)
from bdflow.extras import needs
from bdflow.limits import MAX_PIXELS
from bdflow.reproduce.cli import reproduce
from bdflow.train import cli as training

if TYPE_CHECKING:
    from bdflow.batch.run import Work
    from bdflow.batch.tree import Naming
    from bdflow.rescaler import Rescaler

app = App(
    name="bdflow",
    version=__version__,
    help="Shrink a photograph 2 to 64 times each way into one small PNG, and get the photograph back.",
)


@app.command
def downscale(
    image: Input,
    /,
    *more: str,
    output: Output = None,
    scale: Scale = None,
    model: Model = None,
    refine: NonNegativeInt = 0,
    max_pixels: PositiveInt = MAX_PIXELS,
    trust: Switch = False,
    force: Force = False,
    verify: Switch = False,
    coding: Coding = LOSSLESS,
    computing: Computing = DEFAULT,
    batch: Batch = ONE,
) -> int | None:
    """Shrink pictures, each into one ordinary small picture file that can be restored.

    It is a PNG by the model of a scale; or, with --bytes, --bpp or --quality, an AVIF, WebP or JPEG.

    Args:
        image: A picture file, or a folder of pictures; "-" reads standard input.
        more: More of them.
        output: The small file; "-" writes to standard output. Default: photo.x8.png or photo.bd.avif
            beside photo.jpg. For several pictures: the folder for the small files.
        scale: How many times smaller each way; takes the default model of that scale. Default: 8.
        model: A built-in model (see `bdflow models`) or a model folder.
        refine: Steps of a search for the small picture that restores with the highest PSNR; 20 are plenty,
            and take as long as some 50 restorations. From x16 on it costs sharpness. Needs bdflow[torch].
        max_pixels: Refuse larger pictures, before they are decoded.
        trust: Take a model folder that did not come with bdflow.
        force: Overwrite existing files.
        verify: Of several pictures: restore each small PNG, too, and report the mean PSNR-Y.
    """
    from bdflow import container
    from bdflow.files import write_bytes

    inputs = [image, *more]
    folder = results_folder(inputs, output, verify or batch != ONE)
    if coding.asked:
        if scale or model or refine or trust:
            raise BDFlowError(
                "a scale, a model and --refine are for the PNG: leave out --bytes, --bpp, --quality"
            )
        if folder is not None:
            raise BDFlowError("--bytes, --bpp and --quality take one picture at a time for now")
        _fit(image, output, coding, computing, force, max_pixels)
        return None
    scale = 8 if scale is None and model is None else scale
    if folder is not None:
        from bdflow.batch.run import share, shrinking
        from bdflow.batch.tree import Naming

        jobs, threads = share(batch.jobs or (1 if refine else None), computing.threads)
        rescaler = _load(model, scale, replace(computing, threads=threads), trust)
        naming = Naming(f".x{rescaler.model.scale}.png", lambda name: Path(name).stem)
        work = shrinking(rescaler, verify=verify, refine=refine, max_pixels=max_pixels)
        return _run(inputs, folder, naming, work, jobs, batch, force)

    rescaler = _load(model, scale, computing, trust)
    target = output or beside(image, f".x{rescaler.model.scale}.png")
    check_target(target, force, source=image)
    if target != "-":  # refused before the work
        container.check_ending(target, "PNG")
    small = rescaler.downscale(read_input(image), refine=refine, max_pixels=max_pixels)
    data = small.to_bytes()
    for note in small.notes:
        say(f"note: {note}")
    if target == "-":
        sys.stdout.buffer.write(data)
        return None
    write_bytes(target, data, overwrite=force)
    width, height = small.size
    say(f"{target}: {width}x{height} to {small.image.width}x{small.image.height}, {len(data):,} bytes")
    return None


def _fit(
    image: str, output: str | None, coding: Coding, computing: Computing, force: bool, max_pixels: int
) -> None:
    """Shrink one picture into an ordinary codec's file."""
    import bdflow
    from bdflow import container
    from bdflow.files import write_bytes

    target = output or beside(image, ".bd.avif")
    check_target(target, force, source=image)
    format = "AVIF" if target == "-" else container.of_ending(target).NAME
    if format == "PNG":
        raise BDFlowError(f"{target}: a PNG takes no --bytes, --bpp or --quality: end the name in .avif")
    small = bdflow.fit(
        read_input(image),
        max_bytes=coding.bytes,
        bits_per_pixel=coding.bpp,
        quality=coding.quality,
        format=format,
        domain=None if coding.domain == "auto" else coding.domain,
        max_pixels=max_pixels,
        **asdict(computing),
    )
    for note in small.notes:
        say(f"note: {note}")
    if target == "-":
        sys.stdout.buffer.write(small.data)
        return
    write_bytes(target, small.data, overwrite=force)
    width, height = small.size
    sizes = f"{width}x{height} to {small.image.width}x{small.image.height}"
    say(f"{target}: {sizes}, {len(small.data):,} bytes, restored as {small.domain}")


@app.command
def upscale(
    small: Input,
    /,
    *more: str,
    output: Output = None,
    model: Model = None,
    scale: Annotated[float | None, Parameter(("--scale", "-x"), validator=within(1, 16))] = None,
    trust: Switch = False,
    sigma: NonNegativeFloat = 0.0,
    seed: NonNegativeInt | None = None,
    quality: Annotated[int | None, Parameter(validator=Number(gte=1, lte=100))] = None,
    max_pixels: PositiveInt = MAX_PIXELS,
    force: Force = False,
    computing: Computing = DEFAULT,
    batch: Batch = ONE,
) -> int | None:
    """Restore pictures from the small files that `bdflow downscale` made.

    Args:
        small: The small file, or a folder of them; "-" reads standard input.
        more: More of them.
        output: The restored picture (png, jpg, webp, avif, tif, bmp); "-" writes a PNG to standard output.
            Default: photo.restored.png beside photo.x8.png. For several pictures: the folder for the PNGs.
        model: For a PNG that lost its bdflow chunk, or was made by a model that is not built in.
        scale: For an AVIF, WebP or JPEG that lost what bdflow added: how many times smaller it is.
        trust: Take a model folder that did not come with bdflow.
        sigma: Spread of the latent Z that is drawn; 0 takes the likeliest picture.
        seed: Makes the draw repeatable.
        quality: Of a jpg, webp or avif: 1 to 100. Default: 95.
        max_pixels: Refuse files whose small or restored picture is larger, before the work.
        force: Overwrite existing files.
    """
    from bdflow import codecs
    from bdflow.rescaler import check_draw
    from bdflow.restorer import Restorer

    check_draw(sigma, seed)
    inputs = [small, *more]
    folder = results_folder(inputs, output, batch != ONE)
    if quality is not None and (folder is not None or output == "-"):
        raise BDFlowError("a PNG takes no quality: leave it out, or name one file (-o photo.jpg)")
    if folder is not None:
        from bdflow.batch.run import restoring, share
        from bdflow.batch.tree import Naming

        jobs, threads = share(batch.jobs, computing.threads)
        restorer = Restorer(model, scale=scale, trust=trust, **asdict(replace(computing, threads=threads)))
        work = restoring(restorer, sigma=sigma, seed=seed, max_pixels=max_pixels)
        return _run(inputs, folder, Naming(".restored.png", small_stem), work, jobs, batch, force)

    target = output or ("-" if small == "-" else f"{small_stem(small)}.restored.png")
    if target == "-":  # before standard input is waited for
        check_target(target, force)
    restorer = Restorer(model, scale=scale, trust=trust, **asdict(computing))
    rescaler, accepted, remarks = restorer.accept(read_input(small), max_pixels=max_pixels)
    if target != "-":
        check_target(target, force, source=small)
        alpha = accepted.image.alpha is not None
        codecs.check_writable(target, *accepted.size, alpha=alpha, quality=quality)
    for remark in remarks:
        warnings.warn(remark, stacklevel=1)
    deliver(rescaler.restore_strips(accepted, sigma=sigma, seed=seed), target, force, quality)
    return None


def _run(
    inputs: Sequence[str], out: str, naming: Naming, work: Work, jobs: int, options: Batch, force: bool
) -> int:
    """A batch; the exit status."""
    from bdflow.batch.log import open_log
    from bdflow.batch.run import INTERRUPTED, run
    from bdflow.batch.tree import plan

    if options.resume and force:
        raise BDFlowError("--resume keeps what is done, --force makes it anew: choose one")
    todo = plan(inputs, out, naming, recursive=options.recursive, resume=options.resume, force=force)
    with open_log(options.json, resume=options.resume, force=force) as log:
        tally = run(todo, work, jobs=jobs, resume=options.resume, log=log, say=say)
    if tally.stopped == INTERRUPTED:
        return 130
    return 1 if tally.failed or tally.stopped else 0


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

    from bdflow.report import models_table, paper_table

    if paper:
        needs("torch", what="--paper")
    Console().print(paper_table() if paper else models_table())


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
    threads: Threads = None,
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
        threads: Processor threads; default: all cores.
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
        found, folders, limit=limit, crop=crop, refine=refine, budgets=bpp, threads=threads, say=say
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
    output: Annotated[Path | None, Parameter(("--output", "-o"))] = None,
    html: Path | None = None,
    json: Path | None = None,
    box: str | None = None,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Show what JPEG, WebP, AVIF and JPEG XL make of photographs at the bytes of bdflow's file.

    Args:
        photos: Picture files.
        model: A built-in model (see `bdflow models`) or a model folder.
        trust: Take a model folder that did not come with bdflow.
        scale: How many times smaller each way; takes the default model of that scale. Default: 8.
        output: The sheet of enlarged boxes, a PNG; for several photos, a folder that there is.
            Default: photo.compare.png beside photo.jpg.
        html: One page with a slider, thumbnails and a table; everything is in the file.
        json: The figures, with versions, hardware and settings.
        box: X,Y,W,H in pixels: the part to enlarge. Default: one full of detail.
        threads: Processor threads of bdflow; default: all cores.
        force: Overwrite existing files.
    """
    from bdflow.compare.run import run, sheet_paths

    sheets = sheet_paths(photos, output)
    for target in (*sheets, html, json):
        if target:
            check_target(str(target), force)
    rescaler = _load(
        model, 8 if scale is None and model is None else scale, Computing(threads=threads), trust
    )
    run(rescaler, dict(zip(sheets, photos, strict=True)), html, json, box, force, say=say)


for verb in (reproduce, training.mask, training.train, training.study, training.export, training.benchmark):
    app.command(verb)


def _load(model: str | None, scale: int | None, computing: Computing, trust: bool) -> Rescaler:
    from bdflow import load

    return load(model, scale=scale, trust=trust, **asdict(computing))


def _end(number: int, _: object) -> None:
    """Ctrl-C: no half-written file stays, and whoever waits for this process learns what ended it."""
    from bdflow.files import discard_unfinished

    discard_unfinished()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, 1 for input that must be mended, 2 for wrong
    arguments, 130 after Ctrl-C.

    Args:
        arguments: Those of the command line, without the program's name; None takes the process's own.
    """
    warnings.showwarning = lambda message, *_: say(f"bdflow: warning: {message}")
    # Training and batches listen themselves.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    try:
        status = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
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
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        from bdflow.files import reason

        say(f"bdflow: {error.filename or 'standard output'}: {reason(error)}")
        return 1
    except KeyboardInterrupt:
        return 130
    return status or 0
