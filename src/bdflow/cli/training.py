"""The verbs of the training half. They import it only when they run, so that all have a `--help`."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from bdflow.cli.arguments import (
    Force,
    Input,
    Output,
    Switch,
    Threads,
    beside,
    check_target,
    deliver,
    read_input,
    within,
)
from bdflow.errors import BDFlowError
from bdflow.system.extras import needs
from bdflow.system.streams import say


def mask(
    image: Input,
    /,
    *,
    output: Output = None,
    sigma: Annotated[float, Parameter(validator=within(0, 100))] = 1.0,
    magnitude: Literal["1-norm", "2-norm", "max-norm"] = "2-norm",
    suppress: bool = True,
    threshold: Annotated[float, Parameter(validator=within(0, 10**6))] = 50.0,
    bits: Literal[1, 2, 3] = 1,
    scale: Annotated[int, Parameter(("--scale", "-x"), validator=within(1, 64))] = 8,
    force: Force = False,
) -> None:
    """Draw each step of the boundary-aware mask (Algorithm 1) as one picture. Needs bdflow[train].

    Args:
        image: A picture file; "-" reads standard input.
        output: The sheet. Default: photo.mask.png beside photo.jpg.
        sigma: Standard deviation of the Gaussian blur in pixels.
        magnitude: The norm of the gradient.
        suppress: Thin edges to their maxima.
        threshold: The threshold T, on the 0..255 scale of Sobel magnitudes.
        bits: Bits per sample of the mask.
        scale: How many times smaller the grid of the mask is, each way.
        force: Overwrite an existing file.
    """
    needs("train")
    from bdflow.pictures import reader
    from bdflow.pictures.strips import Strips
    from bdflow.train.config import MaskConfig
    from bdflow.train.mask import draw_steps

    target = check_target(output or beside(image, ".mask.png"), force)
    config = MaskConfig(sigma=sigma, magnitude=magnitude, suppress=suppress, threshold=threshold)
    sheet = draw_steps(reader.read(read_input(image)).rgb, config, scale, bits)
    deliver(Strips.of(sheet), target, force)


def train(
    config: Path | None = None,
    /,
    *,
    data: list[Path],
    out: Annotated[Path, Parameter(("--out", "-o"))],
    start: Annotated[str | None, Parameter("--from")] = None,
    trust: Switch = False,
    cache: Path | None = None,
    steps: Annotated[int | None, Parameter(validator=within(1, 10**9))] = None,
    learning_rate: Annotated[float | None, Parameter(validator=within(1e-12, 1))] = None,
    settings: Annotated[list[str] | None, Parameter("--set", negative=())] = None,
    max_time: timedelta | None = None,
    precision: Literal["auto", "bf16-mixed", "32-true"] = "auto",
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    threads: Threads = None,
) -> None:
    """Train a model. The same command resumes a run. Needs bdflow[train].

    On many GPUs: torchrun --nproc-per-node 8 -m bdflow train CONFIG --data DIR --out RUN

    Args:
        config: A TOML file such as configs/portraits-x8.toml. Optional with --from.
        data: Folders of training pictures.
        out: The run folder: state, logs (CSV, TensorBoard), contact sheet.
        start: A model (a name or a folder) whose weights are fine-tuned.
        trust: Take a model folder that did not come with bdflow.
        cache: A folder for the coded thumbnails that a restoration network learns from; several runs can
            share it. Default: in the run folder.
        steps: The number of steps, in place of the configuration's.
        learning_rate: The learning rate, in place of the configuration's.
        settings: Another setting in place of the configuration's, such as --set data.crop=96; repeatable.
        max_time: Save the state and stop after this time, such as 90m or 1h30m.
        precision: The precision of the convolutions; couplings, losses and weights are always float32. auto
            uses bfloat16 if the machine computes in it.
        device: The hardware to train on; auto uses every GPU.
        threads: The number of processor threads. Default: all cores.
    """
    needs("train")
    from bdflow.train.run import run

    run(
        config,
        data,
        out,
        start=start,
        trust=trust,
        cache=cache,
        steps=steps,
        learning_rate=learning_rate,
        settings=settings or (),
        max_time=max_time.total_seconds() if max_time else None,
        precision=precision,
        device=device,
        threads=threads,
    )


def study(
    plan: Path,
    /,
    *,
    data: list[Path],
    test: list[Path],
    out: Annotated[Path, Parameter(("--out", "-o"))],
    json: Path | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    threads: Threads = None,
) -> None:
    """Train variants of a model for equal time, and measure each on stored files.

    The same command resumes a study: variants in the results file are not trained again. Needs bdflow[train].

    Args:
        plan: A study, such as configs/studies/boundary.toml.
        data: Folders of training pictures.
        test: Folders of test pictures.
        out: The folder for run folders and models.
        json: The file for the results. Default: results/STUDY.json.
        device: The hardware to train on; auto uses a GPU if there is one.
        threads: The number of processor threads for training. Default: all cores.
    """
    needs("train")
    from rich.console import Console

    from bdflow.train.study import is_first, run, table

    results = json or Path("results") / f"{plan.stem}.json"
    rows = run(plan, data, test, out, results, device=device, threads=threads, say=say)
    if is_first():
        Console().print(table(rows))


def export(
    run: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(("--output", "-o"))] = None,
    web: Path | None = None,
    precision: Literal["int8", "float16"] = "int8",
    trust: Switch = False,
) -> None:
    """Make a model folder from a run, and check its graphs against torch. Needs bdflow[train].

    With --web: write a model for web pages, which needs no further package.

    Args:
        run: The run folder that `bdflow train` wrote; with --web a built-in model or a model folder.
        output: The model folder.
        web: The folder for a web page's model: MODEL.json and the files that it names.
        precision: The numbers of a restoration network for web pages; float16 takes twice as many bytes.
        trust: Take a model folder that did not come with bdflow.
    """
    if (output is None) == (web is None):
        raise BDFlowError("say where to: a model folder (--output DIR), or one for a web page (--web DIR)")
    if web is not None:
        from bdflow import zoo
        from bdflow.zoo.web import export_web

        path = export_web(zoo.find(run, trust=trust), web, precision)
        say(f"{path}: exported")
        return
    needs("train")
    from bdflow.train.export import export_run
    from bdflow.train.halo import measure_halo

    assert output is not None
    parity = export_run(Path(run), output)
    measure_halo(output)
    worst = max(parity.values())
    say(f"{output}: exported; ONNX Runtime and torch differ by at most {worst:.0f} of 255 levels")
