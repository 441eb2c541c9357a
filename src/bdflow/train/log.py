"""What a run leaves to look at: figures in a CSV file and in TensorBoard, and a contact sheet."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from tensorboardX import SummaryWriter
from torch import Tensor

LOG, SHEET = "log.csv", "sheet.png"


class Log:
    """The log of a run folder; to be closed.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._board = SummaryWriter(str(folder / "tensorboard"))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append ``step, name, value`` rows to the CSV log, and scalars to TensorBoard."""
        with (self._folder / LOG).open("a", newline="") as file:
            csv.writer(file).writerows((step, key, f"{value:.6g}") for key, value in values.items())
        for key, value in values.items():
            self._board.add_scalar(key, value, step)

    def draw(self, step: int, title: str, sheet: Tensor) -> None:
        """Keep the contact sheet (3, H, W), in [0, 1], in place of the last."""
        pixels = (sheet.clamp(0, 1) * 255).round().byte()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(self._folder / SHEET)
        self._board.add_image(title, pixels.numpy(), step)

    def close(self) -> None:
        self._board.close()


def rewind(folder: Path, step: int) -> None:
    """Drop from the CSV log what came after ``step``: it will come again."""
    log = folder / LOG
    if not log.exists():
        return
    rows = [row for row in log.read_text().splitlines() if int(row.split(",")[0]) <= step]
    if any(",bicubic_y," in row for row in rows):  # logged when this scored full-range luma
        rows = [re.sub(r",(psnr_y|bicubic_y),", r",\1_full_range,", row) for row in rows]
    log.write_text("".join(f"{row}\n" for row in rows))
