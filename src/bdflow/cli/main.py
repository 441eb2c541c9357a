"""The command line. Thin verbs: whatever is slow to import loads inside the verb that needs it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from cyclopts.types import PositiveInt

from bdflow.cli import measuring, rescaling, serving, training
from bdflow.cli.arguments import Input, Switch, read_input
from bdflow.errors import BDFlowError
from bdflow.pictures.limits import MAX_PIXELS
from bdflow.system import interrupts
from bdflow.system.extras import needs
from bdflow.system.streams import check_output, drop_output, flush_output, prepare, say
from bdflow.version import __version__

app = App(
    name="bdflow",
    version=__version__,
    help="Shrink a photograph into one small picture file, and restore the photograph from it.",
)


app.command(rescaling.downscale)
app.command(rescaling.upscale)


@app.command
def info(small: Input, /, *, max_pixels: PositiveInt = MAX_PIXELS) -> None:
    """Print what is inside a small file and where every byte of it goes.

    Args:
        small: A file that `bdflow downscale` made; "-" reads standard input.
        max_pixels: Refuse a file whose small or restored picture is larger, before it is decoded.
    """
    from bdflow.evaluation.report import small_file
    from bdflow.smallfile import container
    from bdflow.system.files import opened

    check_output()
    with opened(read_input(small)) as (stream, _):
        parsed = container.read(stream, max_pixels=max_pixels)
        stream.seek(0)
        print(small_file(parsed, stream.read()))


@app.command
def models(*, paper: Switch = False) -> None:
    """List the built-in models.

    Args:
        paper: Print the sizes of the paper's networks and of IRN's instead (Table 2). Needs bdflow[torch].
    """
    from rich.console import Console

    from bdflow.evaluation.report import models_tables, paper_table

    check_output()
    if paper:
        needs("torch", what="--paper")
    Console().print(paper_table() if paper else models_tables())


@app.command
def demo(
    photo: Path | None = None, /, *, output: Annotated[Path, Parameter(("--output", "-o"))] = Path("demo-out")
) -> None:
    """Shrink and restore one photograph, and compare the result with bicubic, AVIF, WebP and JPEG.

    Args:
        photo: A picture file. Default: a photograph that comes with bdflow.
        output: The folder for the small files, the restored pictures and the side-by-side sheet.
    """
    from bdflow.evaluation.demo import run

    run(output, photo)


VERBS = (
    measuring.evaluate,
    measuring.compare,
    measuring.benchmark,
    measuring.reproduce,
    training.mask,
    training.train,
    training.study,
    training.export,
    serving.serve,
)
for verb in VERBS:
    app.command(verb)


def _warn(message: Warning | str) -> None:
    """A warning; Pillow's do not name the file that it reads."""
    from bdflow.pictures.reader import being_read

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
        from bdflow.system.files import reason

        where = "the current folder" if isinstance(error, FileNotFoundError) else "standard output"
        say(f"bdflow: {error.filename or where}: {reason(error)}")
        drop_output()  # what is left to be written would be refused again
        return 1
    except KeyboardInterrupt:
        return 130
    return status or 0
