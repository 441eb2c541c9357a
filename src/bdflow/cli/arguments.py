"""What the verbs' arguments share: types, the names of results, and what is refused before the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from cyclopts import Parameter, Token
from cyclopts.types import PositiveInt
from cyclopts.validators import Number

from bdflow.errors import BDFlowError
from bdflow.runtime import computing
from bdflow.system.files import is_folder, is_same, located, reason
from bdflow.system.remote import RemotePath

if TYPE_CHECKING:
    from bdflow.pictures.strips import Strips
    from bdflow.smallfile.thumbnail import Domain

Device: TypeAlias = Literal["auto", "cpu", "cuda", "coreml", "directml"]
Backend: TypeAlias = Literal["onnxruntime", "openvino", "torch"]


def _no_option(_: object, path: str | None) -> None:
    """Of what begins with a hyphen, only "-" is a file."""
    if path and path.startswith("-") and path != "-":
        raise ValueError(f"There is no such option; a file of that name is ./{path}.")


def within(low: float, high: float) -> Callable[[object, float | None], None]:
    """A validator of numbers; unlike cyclopts' own, it refuses what is no number at all (nan)."""

    def check(_: object, value: float | None) -> None:
        if value is not None and not low <= value <= high:
            raise ValueError(f"Must be {low:,} to {high:,}.")

    return check


def each_within(low: float, high: float) -> Callable[[object, Sequence[float] | None], None]:
    """`within` for an option that is repeatable."""
    check = within(low, high)

    def check_each(_: object, values: Sequence[float] | None) -> None:
        for value in values or ():
            check(_, value)

    return check_each


def _factor(_: object, value: float | None) -> None:
    """One of those that a thumbnail's payload can name."""
    from bdflow.smallfile.thumbnail import FACTORS  # it loads numpy

    if value is not None and value not in FACTORS:
        raise ValueError(f"Choose from: {', '.join(f'{each:g}' for each in FACTORS)}.")


def _ray(_: object, value: str | None) -> None:
    """Where a batch may be done."""
    if value is not None and value != "ray" and not value.startswith("ray://"):
        raise ValueError("Write ray or ray://HOST:PORT.")


Factor = Annotated[float | None, Parameter(("--scale", "-x"), validator=_factor)]
For = Annotated[Literal["fidelity", "look"], Parameter("--for")]
Scale = Annotated[PositiveInt | None, Parameter(("--scale", "-x"))]
Input = Annotated[str, Parameter(allow_leading_hyphen=True, validator=_no_option)]
Output = Annotated[str | None, Parameter(("--output", "-o"), allow_leading_hyphen=True, validator=_no_option)]
Log = Annotated[str | None, Parameter("--json", allow_leading_hyphen=True, validator=_no_option)]
Metadata = Literal["keep", "strip"]
Model = Annotated[str | None, Parameter(("--model", "-m"))]
Force = Annotated[bool, Parameter(("--force", "-f"), negative=())]
Switch = Annotated[bool, Parameter(negative=())]
Threads = Annotated[int | None, Parameter(validator=Number(gt=0, lte=1024))]


def _count(_: object, tokens: Sequence[Token]) -> int:
    """Bytes as people write them: 3000, 3k, 1.5M."""
    text = tokens[0].value
    times = {"k": 1e3, "m": 1e6}.get(text[-1:].lower())
    number, times = (text[:-1], times) if times else (text, 1)
    try:
        count = float(number) * times
    except ValueError:
        raise ValueError(f"{text!r} is no number of bytes: write 3000, 3k or 1.5M") from None
    if not 1 <= count <= 1e12:  # not so of nan
        raise ValueError(f"{text} bytes: write a number from 1 on")
    return int(count)


Bytes = Annotated[int | None, Parameter(converter=_count)]
Bits = Annotated[float | None, Parameter(validator=within(1e-6, 1000))]


@Parameter(name="*")
@dataclass(frozen=True)
class Coding:
    """Options for an ordinary AVIF, WebP or JPEG in place of a PNG; the ending of the output names it.

    --domain also applies to a PNG.

    Attributes:
        bytes: The largest size of the file in bytes, such as 3000 or 3k; every byte counts. bdflow chooses
            the factor and the quality that restore best.
        bpp: The same in bits per pixel of the photograph.
        quality: The codec's quality, 0 to 100, at full size.
        domain: What the photograph shows. auto tries all domains and keeps the best; plain uses no network,
            and does not apply to a PNG.
        format: The format, if the name of the output does not give it. best tries all formats and keeps the
            one that restores best. Default: avif.
        effort: low is quick, for many pictures; high tries all that may win.
        purpose: What the file will be restored for: fidelity gives the highest PSNR, look the sharpest
            picture. Either file restores for both.
    """

    bytes: Bytes = None
    bpp: Bits = None
    quality: Annotated[int | None, Parameter(validator=Number(gte=0, lte=100))] = None
    domain: Literal["auto", "portraits", "photos", "plain"] = "auto"
    format: Literal["avif", "webp", "jpg", "best"] | None = None
    effort: Literal["low", "medium", "high"] = "medium"
    purpose: For = "fidelity"

    @property
    def asked(self) -> bool:
        """Whether an ordinary codec was asked for."""
        return (self.bytes, self.bpp, self.quality) != (None, None, None)

    @property
    def endings(self) -> tuple[str, ...]:
        """Of a result whose name is not given: what it may be."""
        return ("avif", "webp", "jpg") if self.format == "best" else (self.format or "avif",)

    @property
    def format_name(self) -> str:
        """What `bdflow.fit` calls the format where no name tells it."""
        return {"webp": "WebP", "jpg": "JPEG", "best": "best"}.get(self.format or "", "AVIF")

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            BDFlowError: It does.
        """
        if [self.bytes, self.bpp, self.quality].count(None) < 2:
            raise BDFlowError("--bytes, --bpp and --quality each say how small: choose one")
        usual = (None, "medium", "fidelity")
        if not self.asked and (self.format, self.effort, self.purpose) != usual:
            raise BDFlowError(
                "--format, --effort and --for are for --bytes, --bpp or --quality: add one of these"
            )
        if not self.asked and self.domain == "plain":
            raise BDFlowError("--domain plain is for --bytes, --bpp or --quality: add one of these")

    @property
    def named_domain(self) -> Domain | None:
        """None stands for all."""
        return None if self.domain == "auto" else self.domain

    def options(self) -> dict[str, Any]:
        """Those of `bdflow.fit`, but for the format."""
        return {
            "max_bytes": self.bytes,
            "bits_per_pixel": self.bpp,
            "quality": self.quality,
            "domain": self.named_domain,
            "effort": self.effort,
            "purpose": self.purpose,
        }


@Parameter(name="*")
@dataclass(frozen=True)
class Batch:
    """Options for several pictures, whose results go into a folder (-o FOLDER).

    Attributes:
        recursive: Enter the folders in a folder; the results keep the tree.
        resume: Skip each picture whose result exists, is not empty and is not older than the picture. Other
            results are made anew.
        jobs: How many pictures are worked on at once; they share the threads. Default: one per core, if
            there are 2 GB of memory for each.
        times: Give each result the modification time of its picture.
        json: Write a log with one JSON object per line: one per picture when it is done, and a summary. With
            --resume an earlier log is continued. "-" writes to standard output.
        on: Where it is done: "ray" is Ray on this machine, or the cluster that RAY_ADDRESS names;
            ray://HOST:PORT is another one. Needs bdflow[cluster]; --jobs is then the number of worker
            processes, and --threads those of each.
    """

    recursive: Annotated[bool, Parameter(("--recursive", "-r"), negative=())] = False
    resume: Switch = False
    jobs: Annotated[int | None, Parameter(("--jobs", "-j"), validator=Number(gt=0, lte=1024))] = None
    times: Switch = False
    json: Log = None
    on: Annotated[str | None, Parameter(validator=_ray)] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Computing(computing.Computing):
    """How the network is run. The restored samples differ by at most one level of 255, but for OpenVINO.

    Attributes:
        tile: The side of a tile in pixels of the photograph; memory grows with its square. Default: 1280, or
            more for models with a long reach (see docs/sizes.md).
        threads: The number of processor threads. Default: all cores.
        device: The hardware that computes. auto uses CUDA or DirectML if the installed ONNX Runtime has it.
        backend: The library that computes. openvino (bdflow[openvino]) is about twice as fast on processors
            with bfloat16, and differs by a few levels of 255; torch (bdflow[torch]) has its own CUDA.
    """

    tile: Annotated[int | None, Parameter(validator=Number(gt=0))] = None
    threads: Threads = None
    device: Device = "auto"
    backend: Backend = "onnxruntime"


DEFAULT = Computing()
LOSSLESS = Coding()  # nothing asked for: a PNG
ONE = Batch()  # nothing asked for: a single picture, unless the input is several


def results_folder(inputs: Sequence[str], output: str | None, asked: bool) -> str | None:
    """The folder for the results of a batch; None where there is one picture and its result is a file.

    Args:
        inputs: As typed.
        output: As typed.
        asked: An option for batches was given.

    Raises:
        BDFlowError: It is a batch, but no folder is named for its results.
    """
    from bdflow.pictures.codecs import WRITABLE

    folder = next((path for path in inputs if is_folder(located(path))), None)
    output = output or None
    into = output not in (None, "-") and (output.endswith((os.sep, "/")) or is_folder(located(output)))
    if not (len(inputs) > 1 or folder or into or asked):
        return None
    if "-" in (*inputs, output):
        raise BDFlowError('"-" stands for one picture: name files or a folder, and one for the results')
    if output is None or (not into and Path(output).suffix.lower()[1:] in WRITABLE):
        what = f"{folder}: it is a folder" if folder else "this is for several pictures"
        raise BDFlowError(f"{what}: name a folder for the results (-o FOLDER)")
    return output


def read_input(path: str) -> str | bytes:
    """What a picture is read from."""
    from bdflow.system import streams

    return streams.read_input() if path == "-" else path


def small_stem(path: str) -> str:
    """`photo` of `photo.x8.png`, of `photo.bd.avif` and of `photo.jpg`."""
    stem = located(path).with_suffix("")
    kind = stem.suffix
    ours = kind == ".bd" or (kind.startswith(".x") and kind[2:].isdigit())
    return str(stem.with_suffix("") if ours else stem)


def beside(path: str, ending: str) -> str:
    """`photo.mask.png` for `photo.jpg`."""
    return "-" if path == "-" else f"{located(path).with_suffix('')}{ending}"


def check_target(path: str, force: bool, source: str = "-") -> str:
    """Where to write, refused before the work is done rather than after it: what is there, unless it may be
    replaced, and in any case the `source` that the result is made of."""
    if path == "-":
        from bdflow.system import streams

        streams.output()
        if streams.is_terminal(sys.stdout):
            raise BDFlowError("a picture is nothing for a terminal: name a file (-o FILE) or a pipe")
        return path
    target = located(path)
    if isinstance(target, RemotePath):
        target.check_writable()
    elif not target.parent.is_dir():
        raise BDFlowError(f"{path}: there is no such folder: make it first")
    try:
        if not target.exists():
            return path
    except OSError as error:
        raise BDFlowError(f"{path}: {reason(error)}") from error
    if not force:
        raise BDFlowError(f"{path}: exists already: choose another name or allow overwriting (--force)")
    if source != "-" and is_same(target, located(source)):
        raise BDFlowError(f"{path}: would replace the picture that it is made of: choose another name")
    return path


def deliver(picture: Strips, target: str, force: bool, quality: int | None = None) -> None:
    """Write a picture to a file, or as PNG to standard output."""
    from bdflow.pictures import strips
    from bdflow.system import streams

    if target == "-":
        picture.write_png(streams.output())
        return
    strips.write(picture, target, overwrite=force, quality=quality)
    streams.say("{}: {}x{}".format(target, *picture.size))
