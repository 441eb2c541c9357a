"""The command line. Thin verbs: whatever is slow to import loads inside the verb that needs it."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from cyclopts.types import NonNegativeFloat, NonNegativeInt, PositiveInt

from bdflow import BDFlowError, __version__

if TYPE_CHECKING:
    from bdflow.images import Picture
    from bdflow.rescaler import Rescaler

app = App(
    name="bdflow",
    version=__version__,
    help="Shrink a photograph 2 to 64 times each way into one small PNG, and get the photograph back.",
)


def _no_option(_: object, path: str | None) -> None:
    """Of what begins with a hyphen, only "-" is a file."""
    if path and path.startswith("-") and path != "-":
        raise ValueError(f"There is no such option; a file of that name is ./{path}.")


Scale = Annotated[PositiveInt | None, Parameter(("--scale", "-x"))]
Input = Annotated[str, Parameter(allow_leading_hyphen=True, validator=_no_option)]
Output = Annotated[str | None, Parameter(("--output", "-o"), allow_leading_hyphen=True, validator=_no_option)]
Model = Annotated[str | None, Parameter(("--model", "-m"))]
Force = Annotated[bool, Parameter(("--force", "-f"), negative=())]


@app.command
def downscale(
    image: Input,
    /,
    *,
    output: Output = None,
    scale: Scale = None,
    model: Model = None,
    force: Force = False,
    threads: PositiveInt | None = None,
) -> None:
    """Shrink a picture into one ordinary small PNG that can be restored.

    Args:
        image: A picture file; "-" reads standard input.
        output: The small PNG; "-" writes to standard output. Default: photo.x8.png beside photo.jpg.
        scale: How many times smaller each way; takes the default model of that scale. Default: 8.
        model: A built-in model (see `bdflow models`) or a model folder.
        force: Overwrite an existing file.
        threads: Processor threads; default: all cores.
    """
    from bdflow.files import write_bytes

    rescaler = _load(model, 8 if scale is None and model is None else scale, threads)
    target = _target(output or _beside(image, f".x{rescaler.model.scale}.png"), force)
    if target != "-" and Path(target).suffix.lower() != ".png":
        raise BDFlowError(f"{target}: the small file is a PNG: end its name in .png")
    small = rescaler.downscale(_input(image))
    data = small.to_bytes()
    for note in small.image.notes:
        _say(f"note: {note}")
    if target == "-":
        sys.stdout.buffer.write(data)
        return
    write_bytes(target, data, overwrite=force)
    width, height = small.size
    _say(f"{target}: {width}x{height} to {small.image.width}x{small.image.height}, {len(data):,} bytes")


@app.command
def upscale(
    small: Input,
    /,
    *,
    output: Output = None,
    model: Model = None,
    sigma: NonNegativeFloat = 0.0,
    seed: NonNegativeInt | None = None,
    force: Force = False,
    threads: PositiveInt | None = None,
) -> None:
    """Restore a picture from the small PNG that `bdflow downscale` made.

    Args:
        small: The small PNG; "-" reads standard input.
        output: The restored picture (png, jpg, webp, avif, tif, bmp); "-" writes a PNG to standard output.
            Default: photo.restored.png beside photo.x8.png.
        model: For a file that lost its bdflow chunk, or was made by a model that is not built in.
        sigma: Spread of the latent Z that is drawn; 0 takes the likeliest picture.
        seed: Makes the draw repeatable.
        force: Overwrite an existing file.
        threads: Processor threads; default: all cores.
    """
    import bdflow
    from bdflow import images

    target = _target(output or _beside(small, ".restored.png"), force)
    restored = bdflow.upscale(_input(small), model=model, sigma=sigma, seed=seed, threads=threads)
    _deliver(images.read(restored), target, force)


@app.command
def info(small: Input, /) -> None:
    """Print what is inside a small PNG and where every byte of it goes.

    Args:
        small: A PNG that `bdflow downscale` made; "-" reads standard input.
    """
    from bdflow import container
    from bdflow.files import opened

    with opened(_input(small)) as (stream, _):
        parsed = container.read(stream)
        stream.seek(0)
        data = stream.read()
    width, height = parsed.size
    print(f"model     {parsed.model} (weights {parsed.weights.hex()})")
    print(f"restores  {width}x{height} from {parsed.image.width}x{parsed.image.height} (x{parsed.scale})")
    bits = f"{parsed.bits} bit{'s' * (parsed.bits > 1)}"
    print(f"boundary  {'none' if parsed.boundary is None else bits}")
    print(f"pixels    {'changed since it was made' if parsed.pixels_changed else 'as they were made'}")
    report = container.byte_report(data)
    for part, size in report.items():
        print(f"{size:9,} bytes  {part}")
    print(f"{len(data):9,} bytes  in all, {8 * len(data) / (width * height):.4f} bits a pixel")


@app.command
def models(*, paper: Annotated[bool, Parameter(negative=())] = False) -> None:
    """List the built-in models.

    Args:
        paper: Instead, count the paper's four networks and IRN's (Table 2). Needs bdflow[train].
    """
    from rich.console import Console

    from bdflow.report import models_table, paper_table

    if paper:
        _needs_torch()
    Console().print(paper_table() if paper else models_table())


@app.command
def demo(*, output: Annotated[Path, Parameter(("--output", "-o"))] = Path("demo-out")) -> None:
    """Shrink and restore the photograph that ships with bdflow, beside bicubic, JPEG and AVIF.

    Args:
        output: The folder for the small PNG, the restored picture and the side-by-side sheet.
    """
    from bdflow.demo import run

    run(output)


@app.command
def evaluate(
    model: str,
    folders: list[Path],
    /,
    *,
    json: Path | None = None,
    card: Annotated[bool, Parameter(negative=())] = False,
    limit: PositiveInt | None = None,
    crop: NonNegativeInt = 0,
    threads: PositiveInt | None = None,
    force: Force = False,
) -> None:
    """Measure a model on folders of pictures: quality, bytes, seconds, all on stored and re-read files.

    Args:
        model: A built-in model or a model folder.
        folders: Folders of pictures.
        json: Write the figures, picture by picture, with versions, hardware and settings.
        card: Write them into the model's own folder, with its card; what was there is replaced.
        limit: Only the first so many pictures of each folder.
        crop: Border pixels that the PSNR of restored pictures leaves out.
        threads: Processor threads; default: all cores.
        force: Overwrite an existing file.
    """
    from rich.console import Console

    from bdflow.evaluate import evaluate as run
    from bdflow.files import write_bytes
    from bdflow.report import evaluation_table, write_card

    if json:
        _target(str(json), force)
    rescaler = _load(model, None, threads)
    result = run(rescaler, folders, limit=limit, crop=crop, say=_say)
    Console().print(evaluation_table(result))
    if json:
        from json import dumps

        write_bytes(json, (dumps(result, indent=1) + "\n").encode(), overwrite=force)
    if card:
        write_card(rescaler.model, result)


@app.command
def mask(
    image: Input,
    /,
    *,
    output: Output = None,
    sigma: NonNegativeFloat = 1.0,
    magnitude: Literal["1-norm", "2-norm", "max-norm"] = "2-norm",
    suppress: bool = True,
    threshold: NonNegativeFloat = 50.0,
    bits: Literal[1, 2, 3] = 1,
    scale: Annotated[PositiveInt, Parameter(("--scale", "-x"))] = 8,
    force: Force = False,
) -> None:
    """Draw each step of the boundary-aware mask (Algorithm 1) as one picture. Needs bdflow[train].

    Args:
        image: A picture file; "-" reads standard input.
        output: The sheet. Default: photo.mask.png beside photo.jpg.
        sigma: Standard deviation of the Gaussian blur, pixels.
        magnitude: Norm of the gradient.
        suppress: Thin edges to their maxima.
        threshold: T, on the 0..255 scale of Sobel magnitudes.
        bits: Bits of a sample of the mask.
        scale: The mask is reduced to a grid so many times smaller each way.
        force: Overwrite an existing file.
    """
    _needs_torch()
    from bdflow import images
    from bdflow.train.config import MaskConfig
    from bdflow.train.mask import draw_steps

    target = _target(output or _beside(image, ".mask.png"), force)
    config = MaskConfig(sigma=sigma, magnitude=magnitude, suppress=suppress, threshold=threshold)
    sheet = draw_steps(images.read(_input(image)).rgb, config, scale, bits)
    _deliver(images.read(sheet), target, force)


@app.command
def compare(
    photos: list[Path],
    /,
    *,
    model: Model = None,
    scale: Scale = None,
    output: Annotated[Path | None, Parameter(("--output", "-o"))] = None,
    html: Path | None = None,
    json: Path | None = None,
    box: str | None = None,
    threads: PositiveInt | None = None,
    force: Force = False,
) -> None:
    """Show what JPEG, WebP, AVIF and JPEG XL make of photographs at the bytes of bdflow's file.

    Args:
        photos: Picture files.
        model: A built-in model (see `bdflow models`) or a model folder.
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
            _target(str(target), force)
    rescaler = _load(model, 8 if scale is None and model is None else scale, threads)
    run(rescaler, dict(zip(sheets, photos, strict=True)), html, json, box, force, say=_say)


@app.command
def train(
    config: Path | None = None,
    /,
    *,
    data: list[Path],
    out: Annotated[Path, Parameter(("--out", "-o"))],
    start: Annotated[str | None, Parameter("--from")] = None,
    steps: PositiveInt | None = None,
    learning_rate: float | None = None,
    max_time: timedelta | None = None,
    precision: Literal["bf16-mixed", "16-mixed", "32-true"] = "bf16-mixed",
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    threads: PositiveInt | None = None,
) -> None:
    """Train a model; a run folder that holds a state goes on from it. Needs bdflow[train].

    On many GPUs: torchrun --nproc-per-node 8 -m bdflow train CONFIG --data DIR --out RUN

    Args:
        config: A TOML file such as configs/portraits-x8.toml; with --from it may be left out.
        data: Folders of training pictures.
        out: The run folder: state, logs (CSV, TensorBoard), contact sheet.
        start: Begin from the weights of this model (a name or a folder), to fine-tune them.
        steps: Instead of the configuration's.
        learning_rate: Instead of the configuration's.
        max_time: Stop after this long with the state saved, such as 90m or 1h30m.
        precision: Of the convolutions; couplings, losses and weights are always float32.
        device: What to train on; auto takes every GPU there is.
        threads: Processor threads; default: all cores.
    """
    _needs_torch()
    from bdflow.train.trainer import run

    run(
        config, data, out, start=start, steps=steps, learning_rate=learning_rate,
        max_time=max_time.total_seconds() if max_time else None,
        precision=precision, device=device, threads=threads,
    )  # fmt: skip


@app.command
def export(run: Path, /, *, output: Annotated[Path, Parameter(("--output", "-o"))]) -> None:
    """Write a run's weights as a model folder and check its graphs against torch. Needs bdflow[train].

    Args:
        run: The run folder that `bdflow train` wrote.
        output: The model folder.
    """
    _needs_torch()
    from bdflow.train.export import export_run

    parity = export_run(run, output)
    worst = max(parity.values())
    _say(f"{output}: exported; ONNX Runtime and torch differ by at most {worst:.0f} of 255 levels")


def _load(model: str | None, scale: int | None, threads: int | None) -> Rescaler:
    from bdflow import load

    return load(model, scale=scale, threads=threads)


def _needs_torch() -> None:
    from importlib.util import find_spec

    if not all(find_spec(name) for name in ("torch", "msgspec", "safetensors", "lightning_fabric", "onnx")):
        raise BDFlowError('this needs the training half: pip install "bdflow[train]"')


def _input(path: str) -> str | bytes:
    return sys.stdin.buffer.read() if path == "-" else path


def _beside(path: str, suffix: str) -> str:
    """``photo.jpg`` or ``photo.x8.png`` with another ending."""
    if path == "-":
        return "-"
    stem = Path(path).with_suffix("")
    if stem.suffix.startswith(".x") and stem.suffix[2:].isdigit():
        stem = stem.with_suffix("")
    return f"{stem}{suffix}"


def _target(path: str, force: bool) -> str:
    """Where to write, refused before the work is done rather than after it."""
    if path == "-":
        if sys.stdout.isatty():
            raise BDFlowError("a picture is nothing for a terminal: name a file (-o FILE) or a pipe")
    elif not Path(path).parent.is_dir():
        raise BDFlowError(f"{path}: there is no such folder: make it first")
    elif Path(path).exists() and not force:
        raise BDFlowError(f"{path}: exists already: choose another name or allow overwriting (--force)")
    return path


def _deliver(picture: Picture, target: str, force: bool) -> None:
    from bdflow import images

    if target == "-":
        sys.stdout.buffer.write(images.encode(picture, "png"))
        return
    images.write(picture, target, overwrite=force)
    _say(f"{target}: {picture.width}x{picture.height}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0, 1 for input that must be mended, 2 for wrong arguments.

    Args:
        arguments: Those of the command line, without the program's name; None takes the process's own.
    """
    warnings.showwarning = lambda message, *_: _say(f"bdflow: warning: {message}")
    # Python would hear Ctrl-C only when the network is through with a picture. (Training listens itself.)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except UnusedCliTokensError as error:
        _say(f"bdflow: too many arguments: {' '.join(error.unused_tokens or [])}. See bdflow --help")
        return 2
    except CycloptsError as error:
        _say(f"bdflow: {error} See bdflow --help")
        return 2
    except BDFlowError as error:
        _say(f"bdflow: {error}")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        from bdflow.files import reason

        _say(f"bdflow: {error.filename or 'standard output'}: {reason(error)}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
