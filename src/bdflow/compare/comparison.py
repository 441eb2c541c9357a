"""What every method makes of one photograph, with all bytes counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.markup import escape

from bdflow.compare.box import Box, choose_box
from bdflow.errors import BDFlowError
from bdflow.evaluation import measure
from bdflow.evaluation.grid import Grid
from bdflow.methods import FittedTo, Rescaled, rivals
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import Picture
from bdflow.pictures.reader import read as read_picture
from bdflow.smallfile.downscaled import Downscaled
from bdflow.system.environment import environment
from bdflow.system.files import named, printable


@dataclass(frozen=True, eq=False)
class MethodResult:
    """A photograph stored by one method and read back.

    Attributes:
        method: its name.
        pixels: uint8 (H, W, 3).
        bytes: all that decoding takes.
        bits_per_pixel: of the photograph.
        psnr_y: decibels, 100 at most.
        psnr_rgb: decibels, 100 at most.
        ssim_y: up to 1.
        lpips: LPIPS-RGB, the learned distance, 0 for equal; None where torch or its weights are not at hand.
    """

    method: str
    pixels: RGB
    bytes: int
    bits_per_pixel: float
    psnr_y: float
    psnr_rgb: float
    ssim_y: float
    lpips: float | None = None

    def figures(self) -> dict[str, float]:
        """All but the pixels, rounded, ready for JSON."""
        names = ["bytes", "bits_per_pixel", "psnr_y", "psnr_rgb", "ssim_y"]
        names += [] if self.lpips is None else ["lpips"]
        return {name: round(getattr(self, name), 6) for name in names}


@dataclass(frozen=True, eq=False)
class Comparison:
    """One photograph by every method.

    Attributes:
        path: the photograph's file.
        true: uint8 (H, W, 3).
        icc: the colour profile of all these pixels; none of the methods stores it.
        notes: what reading the photograph changed.
        factor: how many times smaller each way the small picture is.
        format: of the small picture: "PNG", "AVIF", "WebP" or "JPEG".
        small: the small picture, uint8 (h, w, 3).
        stored: by each method; first by bdflow.
        skipped: why a method has no result, by its name.
        box: the part that is shown enlarged.
    """

    path: Path
    true: RGB
    icc: bytes | None
    notes: tuple[str, ...]
    factor: float
    format: str
    small: RGB
    stored: tuple[MethodResult, ...]
    skipped: dict[str, str]
    box: Box

    @property
    def title(self) -> str:
        height, width = self.true.shape[:2]
        return f"{printable(self.path.name)}, {width}x{height}"

    @property
    def rule(self) -> str:
        """What every reader must know of the bytes."""
        ours = self.stored[0]
        return (
            f"Each codec may take as many bytes as the bdflow file, {ours.bytes:,} ({ours.bits_per_pixel:.3f}"
            " bits per pixel), and shrinks the photograph first where that serves it."
        )


def compare(
    ours: Rescaled | FittedTo,
    photo: Path,
    *,
    box: Box | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Store a photograph by every method and read it back.

    Transparency is left out. A method that cannot store this photograph, or lacks a package, is skipped.

    Args:
        ours: How bdflow stores it; that file sets the bytes that the codecs may take.
        photo: A picture file.
        box: The part to show enlarged; None finds one full of detail.
        say: Takes lines of progress.

    Raises:
        BDFlowError: As `readable`.
    """
    picture = readable(photo, box)
    true = picture.rgb
    scorer = measure.Scorer(learned=measure.learned("lpips")[0])
    say(f"{photo}: {ours.name}")
    own = measure.store(ours, true, scorer)
    stored = [_stored(ours.name, own)]
    skipped = {}
    small = ours.small(own.data)
    scale = small.scale if isinstance(small, Downscaled) else None
    for method in rivals(len(own.data), scale):
        say(f"{photo}: {method.name}")
        try:
            rival = measure.store(method, true, scorer)
        except BDFlowError as error:
            skipped[method.name] = str(error)
        else:
            stored.append(_stored(method.name, rival))
    notes = picture.notes + (("transparency left out",) if picture.alpha is not None else ())
    return Comparison(
        path=photo,
        true=true,
        icc=None if picture.gray else picture.icc,  # a gray profile does not fit pixels of three channels
        notes=notes,
        factor=small.scale if isinstance(small, Downscaled) else small.factor,
        format="PNG" if isinstance(small, Downscaled) else small.format or "unknown",
        small=small.image.rgb,
        stored=tuple(stored),
        skipped=skipped,
        box=box or choose_box(true),
    )


def readable(photo: Path, box: Box | None) -> Picture:
    """A photograph that can be compared.

    Raises:
        BDFlowError: It cannot be read, is too small to measure, or the box is not inside it.
    """
    picture = read_picture(photo)
    with named(str(photo)):
        measure.Scorer().check(picture.rgb)
        if box and (box.x + box.width > picture.width or box.y + box.height > picture.height):
            size = f"{picture.width}x{picture.height}"
            raise BDFlowError(f"the box {','.join(map(str, box))} is not inside its {size} pixels")
    return picture


def _stored(method: str, stored: measure.Stored) -> MethodResult:
    values = stored.values
    return MethodResult(
        method=method,
        pixels=stored.pixels,
        bytes=int(values["bytes"]),
        bits_per_pixel=values["bits_per_pixel"],
        psnr_y=values["psnr_y"],
        psnr_rgb=values["psnr_rgb"],
        ssim_y=values["ssim_y"],
        lpips=values.get("lpips"),
    )


def table(comparison: Comparison) -> Group:
    """What the terminal shows."""
    learned = comparison.stored[0].lpips is not None
    headings = ("", "bytes", "bits per pixel", "PSNR-Y", "PSNR-RGB", "SSIM-Y", *["LPIPS-RGB"] * learned)
    grid = Grid(comparison.title, headings)
    for stored in comparison.stored:
        grid.rows.append(
            (
                stored.method,
                f"{stored.bytes:,}",
                f"{stored.bits_per_pixel:.4f}",
                f"{stored.psnr_y:.2f} dB",
                f"{stored.psnr_rgb:.2f} dB",
                f"{stored.ssim_y:.4f}",
                *([] if stored.lpips is None else [f"{stored.lpips:.4f}"]),
            )
        )
    lines = [comparison.rule, *(f"note: {note}" for note in comparison.notes)]
    lines += [f"without {method}: {why}" for method, why in comparison.skipped.items()]
    return Group(grid.table(), *map(escape, lines))


def entry(comparison: Comparison) -> dict[str, Any]:
    """The figures of one photograph, for `results`."""
    return {
        "photo": printable(comparison.path.name),
        "width": comparison.true.shape[1],
        "height": comparison.true.shape[0],
        "notes": list(comparison.notes),
        "box": list(comparison.box),
        "methods": {stored.method: stored.figures() for stored in comparison.stored},
        "skipped": comparison.skipped,
    }


def results(ours: Rescaled | FittedTo, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All figures with versions, hardware and settings, ready for JSON."""
    return {
        "model": ours.model.name,
        "weights_sha256": ours.model.weights_sha256,
        "settings": {
            **ours.settings(),
            "metrics": measure.METRICS,
            "codecs": "best PSNR in at most the bytes of the bdflow file, over quality and size",
        },
        "environment": environment(),
        "photos": list(entries),
    }
