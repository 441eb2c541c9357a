"""Training pictures: decoded once, kept within a memory bound, cropped at random but reproducibly."""

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bdflow.errors import BDFlowError
from bdflow.pictures import reader
from bdflow.pictures.reader import READABLE
from bdflow.pictures.resize import resize
from bdflow.system.environment import available_cores
from bdflow.train.config import DataConfig


def decode(path: Path) -> NDArray[np.uint8]:
    """An RGB array `(H, W, 3)`, as the runtime reads it; any fault is a ValueError that names no path."""
    try:
        return reader.read(path).rgb
    except BDFlowError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from error


def list_pictures(folders: Iterable[str | Path], exclude: Sequence[str] = ()) -> list[Path]:
    """Picture files directly or deeper in `folders`, sorted by name, less those matching `exclude`."""
    paths = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise BDFlowError(f"{folder}: not a folder; --data takes a folder of pictures")
        pictures = [p for p in folder.rglob("*") if p.suffix.lower() in READABLE and p.is_file()]
        pictures = [p for p in pictures if not any(fnmatch(p.name, pattern) for pattern in exclude)]
        if not pictures:
            raise BDFlowError(f"{folder}: no pictures in it ({', '.join(sorted(READABLE))})")
        paths += pictures
    return sorted(paths, key=lambda p: (p.name, p))


def _usable(path: Path, smallest: int) -> NDArray[np.uint8] | str:
    """The decoded picture, or why it cannot be used."""
    try:
        image = decode(path)
    except ValueError as error:
        return f"broken ({error})"
    if min(image.shape[:2]) < smallest:
        return f"{image.shape[1]}x{image.shape[0]}, smaller than {smallest} pixels"
    return image


class Pictures:
    """Decoded pictures in memory as far as `cache_gb` allows; the others are decoded when asked for.

    Broken pictures, and those smaller than `smallest` pixels per side, are skipped, named and counted.
    """

    def __init__(
        self, paths: Sequence[Path], smallest: int, cache_gb: float, warn: Callable[[str], None] = print
    ) -> None:
        self.skipped = 0
        self.paths: list[Path] = []
        self._cache: list[NDArray[np.uint8] | None] = []
        room, workers = cache_gb * 1e9, min(available_cores(), 8)
        usable = partial(_usable, smallest=smallest)
        with ThreadPoolExecutor(workers) as pool:
            # Pillow decodes outside the interpreter's lock, so threads use every core. They are given a few
            # pictures at a time: what is decoded beyond the cache's bound must not pile up.
            for first in range(0, len(paths), 2 * workers):
                some = paths[first : first + 2 * workers]
                for path, image in zip(some, pool.map(usable, some), strict=True):
                    if isinstance(image, str):
                        self.skipped += 1
                        warn(f"skipped {path}: {image}")
                        continue
                    keep = image.nbytes <= room
                    room -= keep * image.nbytes
                    self.paths.append(path)
                    self._cache.append(image if keep else None)
        if not self.paths:
            raise BDFlowError(
                f"none of {len(paths)} pictures can be used for training: see the reasons above"
            )

    @property
    def cached(self) -> int:
        """How many pictures are held in memory."""
        return sum(image is not None for image in self._cache)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        cached = self._cache[index]
        return cached if cached is not None else decode(self.paths[index])

    def drop(self, indices: Collection[int]) -> None:
        """Take pictures out, such as those held out for validation."""
        self.paths = [path for i, path in enumerate(self.paths) if i not in indices]
        self._cache = [image for i, image in enumerate(self._cache) if i not in indices]


class Crops(Dataset[Tensor]):
    """Sample `i` depends on the seed, the process and `i` alone, so a resumed run sees what it would have
    seen."""

    def __init__(self, pictures: Pictures, config: DataConfig, seed: int, rank: int = 0) -> None:
        self.pictures, self.config = pictures, config
        self._entropy = (seed, rank) if rank else (seed,)

    def __getitem__(self, i: int) -> Tensor:
        """A `(3, crop, crop)` uint8 crop. Every picture is seen once before any is seen again."""
        epoch, position = divmod(i, len(self.pictures))
        order = np.random.default_rng((*self._entropy, epoch)).permutation(len(self.pictures))
        rng = np.random.default_rng((*self._entropy, epoch, position))
        image, crop = self.pictures[int(order[position])], self.config.crop
        window = crop
        if self.config.sides:
            low, high = self.config.sides
            shorter = min(image.shape[:2])
            # Only the window is resized, and not the picture: at times it is a small part of it.
            window = max(crop, round(crop * shorter / (low * (high / low) ** rng.random())))
        top, left = (int(rng.integers(side - window + 1)) for side in image.shape[:2])
        patch = image[top : top + window, left : left + window]
        if window != crop:
            patch = resize(patch, (crop, crop))
        if self.config.flip and rng.random() < 0.5:
            patch = patch[:, ::-1]
        if self.config.rotate:
            patch = np.rot90(patch, int(rng.integers(4)))
        return torch.from_numpy(np.ascontiguousarray(patch)).permute(2, 0, 1)


def shrink(image: NDArray[np.uint8], sides: tuple[int, int] | None) -> NDArray[np.uint8]:
    """A whole picture at the largest of the sizes that training sees."""
    if sides is None or min(image.shape[:2]) <= sides[1]:
        return image
    height, width = (round(side * sides[1] / min(image.shape[:2])) for side in image.shape[:2])
    return resize(image, (height, width))


def loader(crops: Crops, first_step: int, last_step: int) -> DataLoader[Tensor]:
    """Batches for steps `first_step` to `last_step`; `batch_size` is that of one process."""
    batch = crops.config.batch_size
    samples = range(first_step * batch, last_step * batch)
    # With all pictures in memory a crop costs microseconds, and worker processes would only cost cores.
    workers = 0 if crops.pictures.cached == len(crops.pictures) else min(2, available_cores())
    return DataLoader(crops, batch_size=batch, sampler=samples, num_workers=workers)
