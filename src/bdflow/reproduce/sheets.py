"""Figures 1, 4, 5 and 6: photographs side by side, a box of each enlarged, as each method gives it back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from PIL import Image, ImageDraw

from bdflow.compare.box import ENLARGED, Box, choose_box
from bdflow.errors import BDFlowError
from bdflow.evaluation.measure import Scorer
from bdflow.evaluation.report import contact_sheet
from bdflow.pictures.codecs import AVIF, WEBP
from bdflow.pictures.picture import RGB
from bdflow.pictures.resize import resize
from bdflow.quality.metrics import MAX_PSNR, psnr_y
from bdflow.reproduce.entries import Entry, resampled, restored_elsewhere
from bdflow.reproduce.plans import Party
from bdflow.reproduce.run import Restored
from bdflow.reproduce.schemas import Row
from bdflow.reproduce.sets import Sample

_CELLS = 4  # pixels of the small picture that a box shows at least, or there would be nothing to see
_COLUMNS = 4  # of a sheet of every scale: each beside its bicubic
_TALL = 20  # of 48ths of the height: where the hair of a portrait is


@dataclass(frozen=True)
class Sheet:
    """A figure.

    Attributes:
        title: What it shows.
        sets: Whose pictures: only sets that may be shown.
        pictures: How many of them.
        scale: The paper's; the model nearest to it is shown.
        every: All models take part, not only the nearest.
        hair: The box is sought in the upper part.
    """

    title: str
    sets: Sequence[str]
    pictures: int
    scale: int
    every: bool = False
    hair: bool = False

    def entries(self, party: Party, samples: Sequence[Sample]) -> list[Entry]:
        """The methods, from the plainest to ours; then what other programs restored."""
        models = sorted(party.models, key=lambda ours: -ours.facts.scale)
        portraits = [ours for ours in models if ours.facts.model.startswith("portraits")] or models
        near = min(portraits, key=lambda ours: abs(math.log2(ours.facts.scale / self.scale)))
        shown: list[Entry] = []
        for ours in portraits if self.every else [near]:
            plain = resampled("bicubic", ours.facts.scale)
            shown += [] if plain.label in {entry.label for entry in shown} else [plain]
            shown += [] if self.every else [ours.matched(codec) for codec in (WEBP, AVIF)]
            shown.append(ours.entry())
        return shown + [restored_elsewhere(each) for each in party.externals if each.has(samples)]


SHEETS: Mapping[str, Sheet] = {
    "figure1": Sheet("every scale beside bicubic", ("portraits/test",), 1, 64, every=True),
    "figure4": Sheet("portraits by several methods", ("portraits/test",), 3, 32),
    "figure5": Sheet("hair, enlarged", ("portraits/test",), 2, 64, hair=True),
    "figure6": Sheet("another domain than that of training", ("photos/kodak24",), 2, 16),
}


def draw(
    sheet: Sheet,
    samples: Sequence[Sample],
    entries: Sequence[Entry],
    rows: Sequence[Row],
    restored: Restored,
) -> bytes:
    """A WebP file: a line for each picture, which is shown whole, then its box as each method restores it. A
    sheet of every scale takes several lines.

    The boxes are enlarged by repeating pixels; of a sheet without boxes of hair they are a fifth of the
    picture.

    Args:
        sheet: The figure.
        samples: Its pictures.
        entries: Its methods.
        rows: What was measured of them.
        restored: What the measuring restored; other pictures are stored and restored now.

    Raises:
        BDFlowError: A method cannot have a picture.
    """
    measured = {row.facts: row for row in rows}
    panels: dict[str, RGB] = {}
    for number, sample in enumerate(samples, 1):
        true = sample.read()
        box = _box(true, sheet)
        side = box.zoom * box.width
        mark = "" if len(samples) == 1 else f" {number}"
        panels[f"the photograph{mark}"] = _whole(true, box, side)
        panels[f"true{mark}, enlarged"] = box.enlarge(true)
        for entry in entries:
            row = measured[entry.facts]
            if sample.name in row.failed:
                raise BDFlowError(f"{entry.label}, {sample.name}: {row.failed[sample.name]}")
            pixels = restored.get((sample, entry))
            if pixels is None:
                _, pixels = entry.measure(sample, true, Scorer())
            count = row.values(sample.name)["bytes"]
            label = f"{entry.facts.short}: {count:,.0f} B, {min(psnr_y(true, pixels), MAX_PSNR):.2f} dB"
            panels[f"{label}{mark and f' ({number})'}"] = box.enlarge(pixels)
    together = contact_sheet(_same_size(panels), _COLUMNS if sheet.every else len(entries) + 2)
    return WEBP.encode(together, 88)


def _box(true: RGB, sheet: Sheet) -> Box:
    height = true.shape[0]
    part = true[: max(8, height * _TALL // 48)] if sheet.hair else true
    return choose_box(np.ascontiguousarray(part), least=_CELLS * sheet.scale)


def _whole(true: RGB, box: Box, side: int) -> RGB:
    """The photograph in a square of the boxes' size, with a frame around the box."""
    ratio = side / max(true.shape[:2])
    size = max(1, round(true.shape[0] * ratio)), max(1, round(true.shape[1] * ratio))
    image = Image.new("RGB", (side, side), "white")
    image.paste(Image.fromarray(resize(true, size, Image.Resampling.LANCZOS)), (0, 0))
    corners = [round(v * ratio) for v in (box.x, box.y, box.x + box.width, box.y + box.height)]
    ImageDraw.Draw(image).rectangle(corners, outline="#ffd400", width=2)
    return np.asarray(image)


def _same_size(panels: Mapping[str, RGB]) -> dict[str, RGB]:
    """All as large as the largest: pictures of several sizes have boxes of several."""
    side = max(ENLARGED // 2, *(pixels.shape[0] for pixels in panels.values()))
    return {
        label: pixels
        if pixels.shape[:2] == (side, side)
        else resize(pixels, (side, side), Image.Resampling.NEAREST)
        for label, pixels in panels.items()
    }


def drawn_of(samples: Sequence[Sample], entries: Sequence[Entry]) -> list[Any]:
    """What a sheet shows, as JSON gives it back: as long as it is the same, the sheet is not drawn again."""
    shown = [sample.digest for sample in samples], [entry.facts for entry in entries]
    as_read: list[Any] = msgspec.json.decode(msgspec.json.encode(shown))
    return as_read
