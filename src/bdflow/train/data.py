"""Training pictures: decoded once, kept within a memory bound, cropped at random but reproducibly."""

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bdflow.errors import BDFlowError
from bdflow.train.config import DataConfig

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp"}


def decode(path: Path) -> NDArray[np.uint8]:
    """An RGB array ``(H, W, 3)``; any fault is an OSError or ValueError that names no path."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def list_pictures(folders: Iterable[str | Path], exclude: Sequence[str] = ()) -> list[Path]:
    """Picture files directly or deeper in ``folders``, sorted by name, less those matching ``exclude``."""
    paths = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise BDFlowError(f"{folder}: not a folder; --data takes a folder of pictures")
        found = [p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
        found = [p for p in found if not any(fnmatch(p.name, pattern) for pattern in exclude)]
        if not found:
            raise BDFlowError(f"{folder}: no pictures in it ({', '.join(sorted(SUFFIXES))})")
        paths += found
    return sorted(paths, key=lambda p: (p.name, p))


class Pictures:
    """Decoded pictures in memory as far as ``cache_gb`` allows; the others are decoded when asked for.

    Broken pictures, and those smaller than ``smallest`` pixels a side, are skipped, named and counted.
    """

    def __init__(
        self, paths: Sequence[Path], smallest: int, cache_gb: float, warn: Callable[[str], None] = print
    ) -> None:
        self.warn = warn
        self.skipped = 0
        self.paths: list[Path] = []
        self._cache: list[NDArray[np.uint8] | None] = []
        room = cache_gb * 1e9
        with ThreadPoolExecutor() as pool:
            # Pillow decodes outside the interpreter's lock, so threads use every core.
            for path, image in zip(paths, pool.map(self._try_decode, paths), strict=True):
                if image is None or min(image.shape[:2]) < smallest:
                    if image is not None:
                        self._skip(path, f"{image.shape[1]}x{image.shape[0]}, smaller than {smallest} pixels")
                    continue
                room -= image.nbytes
                self.paths.append(path)
                self._cache.append(image if room >= 0 else None)
        if not self.paths:
            raise BDFlowError(f"none of {len(paths)} pictures can be used for training: see the reasons above")

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

    def _skip(self, path: Path, why: str) -> None:
        self.skipped += 1
        self.warn(f"skipped {path}: {why}")

    def _try_decode(self, path: Path) -> NDArray[np.uint8] | None:
        try:
            return decode(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            self._skip(path, f"broken ({error})")
            return None


class Crops(Dataset[Tensor]):
    """Sample ``i`` is a function of the seed and ``i`` alone, so a resumed run sees what it would have seen."""

    def __init__(self, pictures: Pictures, config: DataConfig, seed: int) -> None:
        self.pictures, self.config, self.seed = pictures, config, seed

    def __getitem__(self, i: int) -> Tensor:
        """A ``(3, crop, crop)`` uint8 crop. Every picture is seen once before any is seen again."""
        epoch, place = divmod(i, len(self.pictures))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.pictures))
        rng = np.random.default_rng((self.seed, epoch, place))
        image, crop = self.pictures[int(order[place])], self.config.crop
        top, left = (int(rng.integers(side - crop + 1)) for side in image.shape[:2])
        patch = image[top : top + crop, left : left + crop]
        if self.config.flip and rng.random() < 0.5:
            patch = patch[:, ::-1]
        if self.config.rotate:
            patch = np.rot90(patch, int(rng.integers(4)))
        return torch.from_numpy(np.ascontiguousarray(patch)).permute(2, 0, 1)


def loader(crops: Crops, first_step: int, last_step: int, rank: int, world: int) -> DataLoader[Tensor]:
    """Batches for steps ``first_step`` to ``last_step``; ``batch_size`` is that of one process."""
    batch = crops.config.batch_size
    samples = range(first_step * batch * world + rank, last_step * batch * world, world)
    # With all pictures in memory a crop costs microseconds, and worker processes would only cost cores.
    workers = 0 if crops.pictures.cached == len(crops.pictures) else 2
    return DataLoader(
        crops, batch_size=batch, sampler=samples, num_workers=workers, persistent_workers=False
    )
