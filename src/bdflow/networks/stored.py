"""What storage does to the small picture Y and the boundary map B: the one place that says it.

Networks compute Y and B as unbounded numbers. Files hold whole levels of them: Y in 8 bits per sample, B in
1 to 3. Training rounds as files do, and lets the gradient pass; export writes the same rounding into the
graphs, so that the runtime has levels alone.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TOP = 255  # the highest level of a sample of a picture; the lowest is 0


@dataclass(frozen=True)
class Storage:
    """Y as a picture of 8 bits per sample, B as a plane beside it.

    Attributes:
        bits: Bits of a sample of the plane; 0 where there is none.
    """

    bits: int

    @property
    def boundary_top(self) -> int:
        """The highest level of B."""
        return (1 << self.bits) - 1

    def rounded(self, y: Tensor, boundary: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Y and B as they come back from a file, in [0, 1]; the gradient passes (see `quantize`).

        Args:
            y: `(N, 3, h, w)`.
            boundary: `(N, 1, h, w)` or None.
        """
        if boundary is not None:
            boundary = quantize(boundary, self.boundary_top + 1)
        return quantize(y, TOP + 1), boundary

    def levels(self, y: Tensor, boundary: Tensor | None) -> tuple[Tensor, ...]:
        """What a file holds of Y and, if there is one, of B: uint8 levels, in the shapes of both."""
        small = to_levels(y, TOP)
        return (small,) if boundary is None else (small, to_levels(boundary, self.boundary_top))

    def samples(self, small: Tensor, boundary: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Y and B in [0, 1] from the levels that a file holds."""
        return small.float() / TOP, None if boundary is None else boundary.float() / self.boundary_top


def to_levels(x: Tensor, top: int) -> Tensor:
    """The uint8 levels 0 to `top` of samples in [0, 1]; what is beyond is clipped."""
    return (x.clamp(0, 1) * top).round().to(torch.uint8)


def quantize(x: Tensor, levels: int) -> Tensor:
    """Clip `x` to [0, 1] and round it to `levels` even steps; the gradient passes straight through.

    Except where it would drive a clipped value further out. That changes nothing that is stored, yet under
    it Y runs away in white and black parts of pictures, and its way back drowns out all else.
    """
    rounded: Tensor = _Quantize.apply(x, levels)  # type: ignore[no-untyped-call]
    return rounded


class _Quantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x)
        return (x.clamp(0, 1) * (levels - 1)).round() / (levels - 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        outwards = ((x > 1) & (gradient < 0)) | ((x < 0) & (gradient > 0))
        return gradient.masked_fill(outwards, 0), None
