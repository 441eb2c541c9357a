"""PCA on aligned portraits: the linear rival. A portrait is its mean picture and a byte for each component.

Portraits of one alignment lie near a plane of few dimensions (Sirovich and Kirby, 1987), so it works on them
and on nothing else.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bdflow.errors import BDFlowError
from bdflow.files import named, opened
from bdflow.images import READABLE
from bdflow.images import read as read_picture
from bdflow.resize import resize

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_SIZE_BYTES = 4  # height and width, 16 bits each
_MAX_SIDE = 0xFFFF
_ARRAYS = ("mean", "basis", "low", "high")


@dataclass(frozen=True, eq=False)
class PCA:
    """A fitted basis. Pictures of any size are brought to its ``side`` x ``side`` pixels, and back.

    Attributes:
        mean: ``(3 * side**2,)``, the mean picture in levels.
        basis: ``(components, 3 * side**2)``, orthonormal rows, the largest spread first.
        low: ``(components,)``, the least coefficient of the portraits it was fitted on; code 0.
        high: Likewise the largest; code 255.
        name: What tables say.
    """

    mean: Floats
    basis: Floats
    low: Floats
    high: Floats
    name: str = "PCA"

    @property
    def side(self) -> int:
        return math.isqrt(len(self.mean) // 3)

    def encode(self, rgb: Pixels) -> bytes:
        """4 bytes of true height and width, and one for each component.

        Args:
            rgb: uint8 ``(H, W, 3)``.

        Raises:
            BDFlowError: A side is above 65535 pixels.
        """
        height, width = (int(side) for side in rgb.shape[:2])
        if max(height, width) > _MAX_SIDE:
            raise BDFlowError(f"{width}x{height} pixels are too many: a side may have {_MAX_SIDE} at most")
        coefficients = self.basis @ (_vector(rgb, self.side) - self.mean)
        codes = 255 * (coefficients - self.low) / np.maximum(self.high - self.low, 1e-6)
        code: bytes = codes.round().clip(0, 255).astype(np.uint8).tobytes()
        return height.to_bytes(2) + width.to_bytes(2) + code

    def decode(self, data: bytes) -> Pixels:
        """The picture, uint8 ``(H, W, 3)``, enlarged bicubically to its true size.

        Raises:
            BDFlowError: ``data`` is not what :meth:`encode` gives with as many components.
        """
        size, codes = (int.from_bytes(data[:2]), int.from_bytes(data[2:4])), data[_SIZE_BYTES:]
        if len(codes) != len(self.basis) or not min(size):
            raise BDFlowError(f"not a portrait in {len(self.basis)} components: decode with what encoded it")
        coefficients = self.low + np.frombuffer(codes, np.uint8) * ((self.high - self.low) / 255)
        pixels = (self.mean + coefficients @ self.basis).round().clip(0, 255).astype(np.uint8)
        return resize(pixels.reshape(self.side, self.side, 3), size)

    def save(self, path: Path) -> None:
        """One .npz file."""
        with path.open("wb") as file:  # savez would add an ending to a name
            np.savez(file, **{name: getattr(self, name) for name in _ARRAYS})


def load(path: Path) -> PCA:
    """Read what :meth:`PCA.save` wrote; a file can hold nothing that would be executed.

    Raises:
        BDFlowError: The file cannot be read, or is another.
    """
    with opened(path) as (stream, name), named(name):
        try:
            with np.load(stream, allow_pickle=False) as arrays:
                mean, basis, low, high = (arrays[key] for key in _ARRAYS)
        except Exception as error:  # numpy's, zipfile's and zlib's own
            raise BDFlowError(f"not a PCA that bdflow saved ({error})") from None
        pca = PCA(mean, basis, low, high)
        shapes = (3 * pca.side**2,), (len(low), len(mean)), (len(low),), (len(low),)
        if any(
            a.shape != s or a.dtype != np.float32
            for a, s in zip((mean, basis, low, high), shapes, strict=True)
        ):
            raise BDFlowError("not a PCA that bdflow saved: its arrays do not fit each other")
        return pca


def fit(pictures: Iterable[Pixels], components: int, side: int = 128) -> PCA:
    """Find the plane nearest to the portraits.

    Args:
        pictures: uint8 ``(H, W, 3)`` of any size, aligned alike; more than ``components``. They are held in
            memory as floats: ``12 * side**2`` bytes each.
        components: Bytes of a coded portrait, less 4.
        side: Pixels, each way, of the pictures that the basis is made of.

    Raises:
        BDFlowError: There are not enough pictures.
    """
    x = np.stack([_vector(rgb, side) for rgb in pictures])
    if not 1 <= components < len(x):
        raise BDFlowError(f"{len(x)} pictures give 1 to {len(x) - 1} components, not {components}")
    mean = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    x -= mean
    # By the small matrix of inner products (the method of snapshots): pictures are fewer than pixels.
    exact = x.astype(np.float64)
    spreads, mixtures = np.linalg.eigh(exact @ exact.T)
    largest = mixtures[:, ::-1][:, :components] / np.sqrt(np.maximum(spreads[::-1][:components], 1e-9))
    basis = np.linalg.qr(x.T @ largest.astype(np.float32))[0].T
    coefficients = x @ basis.T
    return PCA(mean, basis, coefficients.min(axis=0), coefficients.max(axis=0))


def fit_folders(folders: Iterable[Path], components: int, side: int = 128) -> PCA:
    """:func:`fit` on all pictures directly or deeper in ``folders``.

    Raises:
        BDFlowError: A folder is missing, a picture cannot be read, or there are not enough.
    """
    paths = []
    for folder in folders:
        if not folder.is_dir():
            raise BDFlowError(f"{folder}: not a folder; give folders of pictures")
        paths += sorted(path for path in folder.rglob("*") if path.suffix.lower() in READABLE)
    if not paths:
        raise BDFlowError("there are no pictures in these folders")
    return fit((read_picture(path).rgb for path in paths), components, side)


def _vector(rgb: Pixels, side: int) -> Floats:
    """A picture brought to ``side`` x ``side``, whatever its shape, in levels."""
    return resize(rgb, (side, side)).reshape(-1).astype(np.float32)
