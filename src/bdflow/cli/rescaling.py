"""The verbs that shrink and restore: one picture, or many."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import NonNegativeFloat, NonNegativeInt, PositiveInt
from cyclopts.validators import Number

from bdflow.cli.arguments import (
    DEFAULT,
    LOSSLESS,
    ONE,
    Batch,
    Coding,
    Computing,
    Factor,
    For,
    Force,
    Input,
    Metadata,
    Model,
    Output,
    Scale,
    Switch,
    beside,
    check_target,
    deliver,
    read_input,
    results_folder,
    small_stem,
)
from bdflow.errors import BDFlowError
from bdflow.pictures.limits import MAX_PIXELS
from bdflow.system.remote import is_url
from bdflow.system.streams import output as standard_output
from bdflow.system.streams import say

if TYPE_CHECKING:
    from bdflow.batch.tree import Naming
    from bdflow.batch.work import Work


def downscale(
    image: Input,
    /,
    *more: str,
    output: Output = None,
    scale: Scale = None,
    model: Model = None,
    refine: NonNegativeInt = 0,
    metadata: Metadata = "strip",
    max_pixels: PositiveInt = MAX_PIXELS,
    trust: Switch = False,
    force: Force = False,
    verify: Switch = False,
    coding: Coding = LOSSLESS,
    computing: Computing = DEFAULT,
    batch: Batch = ONE,
) -> int | None:
    """Shrink pictures, each into one small picture file that `bdflow upscale` restores.

    The small file is a PNG. With --bytes, --bpp or --quality it is an AVIF, WebP or JPEG.

    Args:
        image: A picture file, or a folder of pictures; "-" reads standard input.
        more: Further picture files or folders.
        output: The small file; "-" writes to standard output. Default: photo.x8.png or photo.bd.avif
            (as --format says) beside photo.jpg. For several pictures: the folder for the small files.
        scale: How many times smaller the PNG is, each way. Selects the default model of that scale; where
            it has one for photos and one for portraits, the one that restores the picture better.
            Default: 8.
        model: A built-in model (see `bdflow models`) or a model folder.
        refine: Steps of a search for a small picture that restores with a higher PSNR. 20 steps are enough,
            and take as long as about 50 restorations. From x16 on the restored picture gets softer. Needs
            bdflow[torch].
        metadata: keep stores EXIF, XMP, IPTC and the resolution in the small file, and counts their bytes;
            strip drops them. Both apply the rotation.
        max_pixels: Refuse larger pictures, before they are decoded.
        trust: Take a model folder that did not come with bdflow.
        force: Overwrite existing files.
        verify: For several pictures: also restore each small file, and report the mean PSNR-Y.
    """
    from bdflow.fitting.rescalers import rescalers
    from bdflow.pictures import reader
    from bdflow.smallfile import container
    from bdflow.system.files import write_bytes

    inputs = [image, *more]
    folder = results_folder(inputs, output, verify or batch != ONE)
    coding.check()
    if coding.asked:
        if scale or model or refine or trust:
            raise BDFlowError(
                "a scale, a model and --refine are for the PNG: leave out --bytes, --bpp, --quality"
            )
        if folder is None:
            _fit(image, output, coding, computing, force, max_pixels, metadata)
            return None
        return _fit_many(inputs, folder, coding, computing, batch, verify, force, max_pixels, metadata)
    scale, domain = 8 if scale is None and model is None else scale, coding.named_domain
    if folder is not None:
        from bdflow.batch.tree import Naming
        from bdflow.batch.work import shrinking

        jobs, threads = _share(batch, computing, 1 if refine else None)
        models = rescalers(model, scale, domain, trust=trust, computing=replace(computing, threads=threads))
        naming = Naming(f".x{models.scale}.png", lambda name: Path(name).stem)
        work = shrinking(models, verify=verify, refine=refine, max_pixels=max_pixels, metadata=metadata)
        return _run(inputs, folder, naming, work, jobs, threads, batch, force)

    models = rescalers(model, scale, domain, trust=trust, computing=computing)
    target = output or beside(image, f".x{models.scale}.png")
    check_target(target, force, source=image)
    if target != "-":  # refused before the work
        container.check_ending(target, "PNG")
    picture = reader.read(read_input(image), max_pixels=max_pixels, metadata=metadata)
    small = models.of([picture]).downscale(picture, refine=refine)
    data = small.to_bytes()
    for note in small.notes:
        say(f"note: {note}")
    if target == "-":
        standard_output().write(data)
        return None
    write_bytes(target, data, overwrite=force)
    width, height = small.size
    sizes = f"{width}x{height} to {small.image.width}x{small.image.height}"
    say(f"{target}: {sizes}, {_bytes(data)}, by {small.model}")
    return None


def _bytes(data: bytes) -> str:
    """How many bytes a small file has."""
    from bdflow.smallfile.container import byte_report

    metadata = byte_report(data)["metadata"]
    return f"{len(data):,} bytes" + (f" ({metadata:,} of them metadata)" if metadata else "")


def _fit(
    image: str,
    output: str | None,
    coding: Coding,
    computing: Computing,
    force: bool,
    max_pixels: int,
    metadata: Metadata,
) -> None:
    """Shrink one picture into an ordinary codec's file."""
    import bdflow
    from bdflow.smallfile import container
    from bdflow.system.files import write_bytes

    format = coding.format_name
    targets = [output] if output else [beside(image, f".bd.{ending}") for ending in coding.endings]
    for target in dict.fromkeys(targets):  # refused before the work, whichever it will be
        check_target(target, force, source=image)
    if output and output != "-":
        named = container.of_ending(output).NAME
        if named == "PNG":
            raise BDFlowError(f"{output}: a PNG takes no --bytes, --bpp or --quality: end the name in .avif")
        if coding.format not in (None, "best"):
            container.check_ending(output, format)
        format = named
    small = bdflow.fit(
        read_input(image),
        format=format,
        max_pixels=max_pixels,
        metadata=metadata,
        **coding.options(),
        **asdict(computing),
    )
    assert small.format is not None  # it was coded just now
    target = output or beside(image, f".bd{container.ending_of(small.format)}")
    for note in small.notes:
        say(f"note: {note}")
    if target == "-":
        standard_output().write(small.data)
        return
    write_bytes(target, small.data, overwrite=force)
    width, height = small.size
    sizes = f"{width}x{height} to {small.image.width}x{small.image.height}"
    say(f"{target}: {sizes}, {_bytes(small.data)}, restored as {small.domain}")


def _fit_many(
    inputs: Sequence[str],
    folder: str,
    options: Coding,
    computing: Computing,
    batch: Batch,
    verify: bool,
    force: bool,
    max_pixels: int,
    metadata: Metadata,
) -> int:
    """A batch in an ordinary codec; the exit status."""
    from bdflow.batch.tree import Naming
    from bdflow.batch.work import coding
    from bdflow.fitting import Goal
    from bdflow.runtime.enhancer import Enhancer
    from bdflow.zoo import find_restoration

    format, (usual, *others) = options.format_name, options.endings
    goal = Goal(format=format, **options.options())
    jobs, threads = _share(batch, computing)
    enhancer = Enhancer(find_restoration(), replace(computing, threads=threads))
    work = coding(enhancer, goal, verify=verify, max_pixels=max_pixels, metadata=metadata)
    naming = Naming(f".bd.{usual}", lambda name: Path(name).stem, tuple(f".{other}" for other in others))
    return _run(inputs, folder, naming, work, jobs, threads, batch, force)


def upscale(
    small: Input,
    /,
    *more: str,
    output: Output = None,
    model: Model = None,
    scale: Factor = None,
    domain: Literal["photos", "portraits"] | None = None,
    purpose: For = "fidelity",
    trust: Switch = False,
    sigma: NonNegativeFloat = 0.0,
    seed: NonNegativeInt | None = None,
    quality: Annotated[int | None, Parameter(validator=Number(gte=1, lte=100))] = None,
    metadata: Metadata = "keep",
    max_pixels: PositiveInt = MAX_PIXELS,
    force: Force = False,
    computing: Computing = DEFAULT,
    batch: Batch = ONE,
) -> int | None:
    """Restore pictures from the small files that `bdflow downscale` made.

    Args:
        small: The small file, or a folder of them; "-" reads standard input.
        more: Further small files or folders.
        output: The restored picture (png, jpg, webp, avif, tif, bmp); "-" writes a PNG to standard output.
            Default: photo.restored.png beside photo.x8.png. For several pictures: the folder for the PNGs.
        model: For a PNG that lost its bdflow chunk, or was made by a model that is not built in.
        scale: For an AVIF, WebP or JPEG that lost bdflow's bytes, or was saved anew in any format: how many
            times smaller than the photograph it is.
        domain: With --scale: what the picture shows. Default: photos.
        purpose: What an AVIF, WebP or JPEG is restored for: fidelity gives the highest PSNR, look the
            sharpest picture.
        trust: Take a model folder that did not come with bdflow.
        sigma: Standard deviation of the random latent Z; 0 restores the most likely picture.
        seed: Makes the random Z repeatable.
        quality: The quality of a restored jpg, webp or avif, 1 to 100. Default: 95.
        metadata: keep copies EXIF, XMP, IPTC and the resolution from the small file into the restored
            picture; strip leaves them out.
        max_pixels: Refuse a file whose small or restored picture is larger, before the work.
        force: Overwrite existing files.
    """
    from bdflow.pictures import codecs
    from bdflow.runtime.rescaler import check_draw
    from bdflow.runtime.restorer import Restorer

    check_draw(sigma, seed)
    inputs = [small, *more]
    folder = results_folder(inputs, output, batch != ONE)
    if quality is not None and (folder is not None or output == "-"):
        raise BDFlowError("a PNG takes no quality: leave it out, or name one file (-o photo.jpg)")
    if folder is not None:
        from bdflow.batch.tree import Naming
        from bdflow.batch.work import restoring

        jobs, threads = _share(batch, computing)
        restorer = Restorer(
            model,
            scale=scale,
            domain=domain,
            purpose=purpose,
            trust=trust,
            computing=replace(computing, threads=threads),
        )
        work = restoring(restorer, sigma=sigma, seed=seed, max_pixels=max_pixels, metadata=metadata)
        return _run(inputs, folder, Naming(".restored.png", small_stem), work, jobs, threads, batch, force)

    target = output or ("-" if small == "-" else f"{small_stem(small)}.restored.png")
    if target == "-":  # before standard input is waited for
        check_target(target, force)
    restorer = Restorer(model, scale=scale, domain=domain, purpose=purpose, trust=trust, computing=computing)
    rescaler, accepted, remarks = restorer.accept(read_input(small), max_pixels=max_pixels)
    if target != "-":
        check_target(target, force, source=small)
        alpha = accepted.image.alpha is not None
        codecs.check_writable(target, *accepted.size, alpha=alpha, quality=quality)
    for remark in remarks:
        warnings.warn(remark, stacklevel=1)
    strips = rescaler.restore_strips(accepted, sigma=sigma, seed=seed).keeping(metadata)
    deliver(strips, target, force, quality)
    return None


def _share(batch: Batch, computing: Computing, usual: int | None = None) -> tuple[int, int]:
    """Pictures at once, and the threads of each; on Ray, those of a worker process."""
    from bdflow.batch.run import share

    if batch.on:
        return 1, computing.threads or 1
    return share(batch.jobs or usual, computing.threads)


def _run(
    inputs: Sequence[str],
    out: str,
    naming: Naming,
    work: Work,
    jobs: int,
    threads: int,
    options: Batch,
    force: bool,
) -> int:
    """A batch; the exit status."""
    from bdflow.batch.log import open_log
    from bdflow.batch.run import INTERRUPTED, run
    from bdflow.batch.tree import plan

    if options.times and is_url(out):
        raise BDFlowError("--times: only a disk takes the time of another: leave it out")
    if options.resume and force:
        raise BDFlowError("--resume keeps what is done, --force makes it anew: choose one")
    todo = plan(inputs, out, naming, recursive=options.recursive, resume=options.resume, force=force)
    with ExitStack() as stack:
        engine = None
        if options.on:
            from bdflow import cluster

            stack.enter_context(cluster.connected(None if options.on == "ray" else options.on))
            engine = cluster.engine(options.jobs, threads)
        log = stack.enter_context(open_log(options.json, resume=options.resume, force=force))
        tally = run(
            todo,
            work,
            jobs=jobs,
            engine=engine,
            resume=options.resume,
            times=options.times,
            log=log,
            say=say,
        )
    if tally.stopped == INTERRUPTED:
        return 130
    return 1 if tally.failed or tally.stopped else 0
