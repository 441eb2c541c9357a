"""PCA on aligned portraits: the linear rival. A portrait is its mean picture and a byte for each component.

Portraits of one alignment lie near a plane of few dimensions (Sirovich and Kirby, 1987), so it works on them
and on nothing else.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bdflow.errors import BDFlowError
from bdflow.methods.protocol import split_size, with_size
from bdflow.pictures.picture import RGB
from bdflow.pictures.resize import resize

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PCA:
    """A fitted basis. Pictures of any size are brought to its `side` x `side` pixels, and back.

    Attributes:
        mean: `(3 * side**2,)`, the mean picture in levels.
        basis: `(components, 3 * side**2)`, orthonormal rows, the largest spread first.
        low: `(components,)`, the least coefficient of the portraits it was fitted on; code 0.
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

    def encode(self, rgb: RGB) -> bytes:
        """4 bytes of true height and width, and one for each component.

        Args:
            rgb: uint8 `(H, W, 3)`.

        Raises:
            BDFlowError: A side is above 65535 pixels.
        """
        coefficients = self.basis @ (_vector(rgb, self.side) - self.mean)
        codes = 255 * (coefficients - self.low) / np.maximum(self.high - self.low, 1e-6)
        return with_size(rgb, codes.round().clip(0, 255).astype(np.uint8).tobytes())

    def decode(self, data: bytes) -> RGB:
        """The picture, uint8 `(H, W, 3)`, enlarged bicubically to its true size.

        Raises:
            BDFlowError: `data` is not what `encode` gives with as many components.
        """
        size, codes = split_size(data)
        if len(codes) != len(self.basis) or not min(size):
            raise BDFlowError(f"not a portrait in {len(self.basis)} components: decode with what encoded it")
        coefficients = self.low + np.frombuffer(codes, np.uint8) * ((self.high - self.low) / 255)
        pixels = (self.mean + coefficients @ self.basis).round().clip(0, 255).astype(np.uint8)
        return resize(pixels.reshape(self.side, self.side, 3), size)


def fit(pictures: Iterable[RGB], components: int, side: int = 128) -> PCA:
    """Find the plane nearest to the portraits.

    Args:
        pictures: uint8 `(H, W, 3)` of any size, aligned alike; more than `components`. They are held in
            memory as floats: `12 * side**2` bytes each.
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


def _vector(rgb: RGB, side: int) -> Floats:
    """A picture brought to `side` x `side`, whatever its shape, in levels."""
    return resize(rgb, (side, side)).reshape(-1).astype(np.float32)
