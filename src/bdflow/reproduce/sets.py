"""Test pictures: the sets of the paper in a folder, or any folder of one's own."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bdflow.errors import BDFlowError
from bdflow.evaluation.evaluate import pictures_in
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import READABLE
from bdflow.pictures.reader import read as read_picture
from bdflow.pictures.resize import resize

PORTRAITS = ("portraits/test", "celebahq1024/test", "celebahq512/test")
OTHERS = (
    "cats/test", "churches/test", "photos/set5", "photos/set14", "photos/bsd100", "photos/urban100",
    "photos/div2k", "photos/kodak24",
)  # fmt: skip
TRAINING = "portraits/train"
PAPER_SIDE = 1024  # pixels: Table 6's figures fit only if every picture is first resized to this square
QUICK_SIDE, QUICK_PICTURES = 192, 1
BUNDLED = Path(__file__).parent.parent / "assets"


@dataclass(frozen=True)
class Sample:
    """One test picture.

    Attributes:
        set: The name of its set.
        path: Its file.
        side: Its middle square is shrunk to this many pixels, for quick runs; None takes it whole.
        squared: It is resized to a square of so many pixels per side, whatever its shape; None leaves it.
    """

    set: str
    path: Path
    side: int | None = None
    squared: int | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def digest(self) -> str:
        """Which pixels were measured: of the file, and how they were reduced."""
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]
        if self.squared:
            return f"{digest}@{self.squared}x{self.squared}"
        return f"{digest}@{self.side}" if self.side else digest

    def read(self) -> RGB:
        """The pixels (H, W, 3), transparency left out; BDFlowError if the file cannot be read."""
        rgb = read_picture(self.path).rgb
        if self.squared is not None:
            return resize(rgb, (self.squared, self.squared))
        if self.side is None:
            return rgb
        height, width = rgb.shape[:2]
        square = min(height, width)
        top, left = (height - square) // 2, (width - square) // 2
        cut = np.ascontiguousarray(rgb[top : top + square, left : left + square])
        return resize(cut, (min(self.side, square), min(self.side, square)))


@dataclass(frozen=True)
class Sets:
    """The test sets at hand.

    Attributes:
        known: The paper's, and those that stand in for them, by the names in `PORTRAITS` and `OTHERS`.
        own: Folders that hold pictures themselves: measured in every table.
        training: The folder of aligned portraits that PCA is fitted on, where there is one.
    """

    known: Mapping[str, tuple[Sample, ...]]
    own: Mapping[str, tuple[Sample, ...]]
    training: tuple[Path, ...]

    def choose(self, names: Sequence[str], limit: int | None) -> dict[str, tuple[Sample, ...]]:
        """The sets of a table, in its order, each with at most `limit` pictures, evenly spread over the
        names: the first of them are often of one kind. A limit twice as high has the same ones, too."""
        chosen = {name: self.known[name] for name in names if name in self.known} | dict(self.own)
        return {name: _spread(samples, limit) for name, samples in chosen.items()}

    def choose_squared(
        self, names: Sequence[str], limit: int | None, side: int
    ) -> dict[str, tuple[Sample, ...]]:
        """`choose` of the known sets, every picture resized to `side` x `side` pixels."""
        chosen = {}
        for name in (name for name in names if name in self.known):
            resized, samples = squared(name, side), _spread(self.known[name], limit)
            chosen[resized] = tuple(Sample(resized, sample.path, squared=side) for sample in samples)
        return chosen


def squared(name: str, side: int = PAPER_SIDE) -> str:
    """What the set is called whose pictures are all resized to `side` x `side` pixels."""
    return f"{name}@{side}x{side}"


def _spread(samples: tuple[Sample, ...], limit: int | None) -> tuple[Sample, ...]:
    count = len(samples) if limit is None else min(limit, len(samples))
    return tuple(samples[index * len(samples) // count] for index in range(count))


def find_sets(data: Sequence[Path], train: Sequence[Path], *, quick: bool) -> Sets:
    """Look into folders.

    Args:
        data: Each holds pictures, and is then a set, or holds the known sets.
        train: Folders of aligned portraits; none takes `TRAINING` in `data`.
        quick: Pictures are few and small; without `data` the one that ships with bdflow serves.

    Raises:
        BDFlowError: There are no test pictures, or a folder is missing.
    """
    if not data and not quick:
        raise BDFlowError("test pictures are needed: name a folder (--data DIR) or set BDFLOW_DATA")
    for folder in (*data, *train):
        if not folder.is_dir():
            raise BDFlowError(f"{folder}: not a folder")
    known: dict[str, tuple[Sample, ...]] = {}
    own: dict[str, tuple[Sample, ...]] = {}
    side, count = (QUICK_SIDE, QUICK_PICTURES) if quick else (None, None)

    def samples(name: str, folder: Path) -> tuple[Sample, ...]:
        return tuple(Sample(name, path, side) for path in pictures_in(folder)[:count])

    for folder in data or (BUNDLED,):
        if any(path.suffix.lower() in READABLE for path in folder.iterdir()):
            name = "/".join(folder.resolve().parts[-2:])
            own[name] = samples(name, folder)
        present = {n: samples(n, folder / n) for n in (*PORTRAITS, *OTHERS) if (folder / n).is_dir()}
        if not present and not own:
            raise BDFlowError(f"{folder}: no pictures in it, and none of {', '.join((*PORTRAITS, *OTHERS))}")
        known |= present
    default = [folder / TRAINING for folder in data if (folder / TRAINING).is_dir()]
    return Sets(known, own, tuple(train) or tuple(default[:1]))
