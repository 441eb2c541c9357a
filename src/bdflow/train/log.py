"""What a run says and leaves to look at: figures in a CSV file and in TensorBoard, and a contact sheet."""

import csv
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from PIL import Image
from torch import Tensor

from bdflow.system.offline import hidden

with hidden("boto3"):  # it would open a socket to look for IPv6
    from tensorboardX import SummaryWriter

LOG, SHEET = "log.csv", "sheet.png"


@dataclass(frozen=True)
class Scores:
    """What a validation found.

    Attributes:
        values: Figures by name, for the log.
        summary: The most important of them, for people.
        sheet: Some of the pictures, a row each, (3, H, W) in [0, 1].
        columns: What the sheet shows.
    """

    values: Mapping[str, float]
    summary: str
    sheet: Tensor
    columns: str


class Log:
    """The log of a run, a context.

    Args:
        folder: The run folder; None writes no files, as the further processes of a run do.
        say: Takes lines for people.
    """

    def __init__(self, folder: Path | None, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._board = SummaryWriter(str(folder / "tensorboard")) if folder else None

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._board:
            self._board.close()

    def terms(
        self,
        step: int,
        last: int | None,
        terms: Mapping[str, float],
        run: Mapping[str, float],
        pace: float,
        left: float,
    ) -> None:
        """Tell of the loss.

        Args:
            step: The step that is done.
            last: How many there will be, where that is known.
            terms: The loss's terms, means since they were told last.
            run: What is logged besides: the learning rate and the seconds.
            pace: Seconds per step.
            left: Seconds to the end.
        """
        text = "  ".join(f"{name} {value:.4f}" for name, value in terms.items())
        minutes = f"{left / 60:.0f} min left" if math.isfinite(left) else ""
        steps = f"step {step}" + (f"/{last}" if last else "")
        self._say(f"{steps}  {text}  {pace:.2f} s per step, {minutes}")
        self._add(step, {**run, **terms})

    def scores(self, step: int, scores: Scores) -> None:
        """Tell of a validation, and keep its contact sheet in place of the last."""
        self._say(f"step {step}: held-out {scores.summary}")
        self._add(step, scores.values)
        if self._folder and self._board:
            pixels = (scores.sheet.clamp(0, 1) * 255).round().byte()
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(self._folder / SHEET)
            self._board.add_image(scores.columns, pixels.numpy(), step)

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        """Append `step, name, value` rows to the CSV log, and scalars to TensorBoard."""
        if not (self._folder and self._board):
            return
        with (self._folder / LOG).open("a", newline="") as file:
            csv.writer(file).writerows((step, name, f"{value:.6g}") for name, value in values.items())
        for name, value in values.items():
            self._board.add_scalar(name, value, step)


def rewind(folder: Path, step: int) -> None:
    """Drop from the CSV log what came after `step`: it will come again."""
    log = folder / LOG
    if not log.exists():
        return
    rows = [row for row in log.read_text().splitlines() if int(row.split(",")[0]) <= step]
    if any(",bicubic_y," in row for row in rows):  # logged when this scored full-range luma
        rows = [re.sub(r",(psnr_y|bicubic_y),", r",\1_full_range,", row) for row in rows]
    log.write_text("".join(f"{row}\n" for row in rows))
