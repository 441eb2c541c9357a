"""PCA, fitted on aligned portraits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bdflow.evaluation.evaluate import pictures_in
from bdflow.methods import pca
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import read as read_picture
from bdflow.reproduce.entries import Entry
from bdflow.reproduce.facts import Principal

PCA_SIDE = 128


class Portraits:
    """PCA on a folder of aligned portraits; fitted when it is first needed.

    Args:
        folders: Training pictures.
        most: The largest number of components.
        pictures: So many of them are used; None takes all.
    """

    def __init__(self, folders: Sequence[Path], most: int, pictures: int | None = None) -> None:
        self._paths = [path for folder in folders for path in pictures_in(folder)][:pictures]
        self.most = min(most, len(self._paths) - 1)
        listing = "".join(f"{path.name} {path.stat().st_size}\n" for path in self._paths)
        self._files = hashlib.sha256(listing.encode()).hexdigest()[:12]

    @cached_property
    def fitted(self) -> pca.PCA:
        """The PCA of the most components."""
        return pca.fit((read_picture(path).rgb for path in self._paths), self.most, PCA_SIDE)

    def first(self, components: int) -> pca.PCA:
        """The PCA of fewer components: a byte each."""
        whole = self.fitted
        k = slice(components)
        return pca.PCA(whole.mean, whole.basis[k], whole.low[k], whole.high[k])

    def entry(self, components: int) -> Entry:
        """PCA of so many components, not yet fitted."""
        facts = Principal(
            side=PCA_SIDE,
            fitted_on=len(self._paths),
            fitted_on_files=self._files,
            components=components,
        )
        method = _PCA(self, components)
        return Entry(f"PCA, {components} components", facts, method, ready=lambda: self.fitted)


@dataclass(frozen=True)
class _PCA:
    portraits: Portraits
    components: int
    name: str = "PCA"

    def encode(self, rgb: RGB) -> bytes:
        return self.portraits.first(self.components).encode(rgb)

    def decode(self, data: bytes) -> RGB:
        return self.portraits.first(self.components).decode(data)
