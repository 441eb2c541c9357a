"""Folders that other programs filled: restored pictures, and the bytes that each took."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from bdflow.errors import BDFlowError
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import read as read_picture
from bdflow.reproduce.facts import Foreign
from bdflow.reproduce.sets import Sample

BYTES = "bytes.csv"


class External:
    """What another program restored: a folder of pictures, and the bytes that each took.

    In `folder`, or in one of the set's name inside it, lie pictures named as the true ones (the ending may
    differ) and `BYTES`, a table with the columns `picture` and `bytes`. They are scored as our own. Of
    pictures that were all resized, only those in a folder of the set's name (`cats/test@1024x1024`) count.

    Raises:
        BDFlowError: There is no such folder, or its table cannot be read.
    """

    def __init__(self, name: str, folder: Path) -> None:
        if not folder.is_dir():
            raise BDFlowError(f"{folder}: not a folder; --external takes NAME=DIR")
        self.name, self._folder = name, folder
        tables = sorted(folder.rglob(BYTES))
        if not tables:
            raise BDFlowError(f"{folder}: no {BYTES} in it; write one with the columns picture,bytes")
        digest = hashlib.sha256()
        self._counts: dict[Path, int] = {}
        for table in tables:
            self._counts |= _counts(table)
        for path in sorted(self._counts):
            digest.update(f"{path.relative_to(folder)} {self._counts[path]}".encode() + path.read_bytes())
        scale = name.rpartition("-x")[2]
        self.facts = Foreign(
            name=name,
            scale=int(scale) if scale.isdigit() else None,
            files=digest.hexdigest()[:16],
        )

    def has(self, samples: Sequence[Sample]) -> bool:
        """Whether it restored any of them."""
        return any(self._find(sample) for sample in samples)

    def stored(self, sample: Sample, true: RGB) -> tuple[int, RGB]:
        """Bytes and restored picture; BDFlowError if it has none of that size."""
        path = self._find(sample)
        if path is None:
            raise BDFlowError(f"not in {self._folder.name}")
        pixels = read_picture(path).rgb
        if pixels.shape != true.shape:
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise BDFlowError(f"{path.name} is {size}, the true picture {true.shape[1]}x{true.shape[0]}")
        return self._counts[path], pixels

    def _find(self, sample: Sample) -> Path | None:
        inner = self._folder / sample.set
        if sample.squared and not inner.is_dir():
            return None  # what lies in the folder itself is of the picture in its own size
        folder = inner if inner.is_dir() else self._folder
        return next((p for p in self._counts if p.parent == folder and p.stem == sample.path.stem), None)


def _counts(table: Path) -> dict[Path, int]:
    try:
        with table.open(newline="") as file:
            counts = {table.parent / row["picture"]: int(row["bytes"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BDFlowError(f"{table}: not a table with the columns picture,bytes ({error})") from None
    missing = next((path for path in counts if not path.is_file()), None)
    if missing:
        raise BDFlowError(f"{table} names {missing.name}, which is not there")
    return counts
