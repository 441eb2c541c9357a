"""Invertible wavelet transforms: each halves the picture and makes four times the channels.

Channel order is `[A, H, V, D]` (Eq. 5): all averages first, then the horizontal details (differences
between columns), the vertical ones (between rows) and the diagonal ones. Averages keep the range of the
picture.
"""

import torch
from torch import Tensor, nn


def _polyphase(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]


def _interleave(parts: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """The inverse of `_polyphase`; pixel_shuffle is one well-optimised operator everywhere."""
    n, c, h, w = parts[0].shape
    return nn.functional.pixel_shuffle(torch.stack(parts, dim=2).reshape(n, 4 * c, h, w), 2)


class Haar(nn.Module):
    """Haar with average-type normalisation: A is the mean of each 2x2 square."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)`, even H and W, to `(N, 4C, H/2, W/2)`."""
        a, b, c, d = _polyphase(x)
        top, bottom, left, right = a + b, c + d, a - b, c - d
        return torch.cat((top + bottom, left + right, top - bottom, left - right), dim=1) / 4

    def inverse(self, u: Tensor) -> Tensor:
        """`(N, 4C, h, w)` to `(N, C, 2h, 2w)`."""
        a, h, v, d = u.chunk(4, dim=1)
        plus, minus, low, high = a + v, a - v, h + d, h - d
        return _interleave((plus + low, plus - low, minus + high, minus - high))


class CDF53(nn.Module):
    """CDF 5/3 (LeGall, JPEG 2000) by lifting, with whole-sample symmetric borders and unit gain of A."""

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)`, even H and W, to `(N, 4C, H/2, W/2)`."""
        low, high = self._analyse(x, -1)
        a, v = self._analyse(low, -2)
        h, d = self._analyse(high, -2)
        return torch.cat((a, h, v, d), dim=1)

    def inverse(self, u: Tensor) -> Tensor:
        """`(N, 4C, h, w)` to `(N, C, 2h, 2w)`."""
        a, h, v, d = u.chunk(4, dim=1)
        low, high = self._synthesise(a, v, -2), self._synthesise(h, d, -2)
        return self._synthesise(low, high, -1)

    @staticmethod
    def _shift(x: Tensor, dim: int, step: int) -> Tensor:
        """The neighbour at `step` (+1 or -1) along `dim`; the border sample repeats."""
        n = x.shape[dim]
        if step > 0:
            return torch.cat((x.narrow(dim, 1, n - 1), x.narrow(dim, n - 1, 1)), dim)
        return torch.cat((x.narrow(dim, 0, 1), x.narrow(dim, 0, n - 1)), dim)

    def _analyse(self, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        even = x[..., ::2] if dim == -1 else x[..., ::2, :]
        odd = x[..., 1::2] if dim == -1 else x[..., 1::2, :]
        high = odd - (even + self._shift(even, dim, 1)) / 2
        low = even + (high + self._shift(high, dim, -1)) / 4
        return low, high

    def _synthesise(self, low: Tensor, high: Tensor, dim: int) -> Tensor:
        even = low - (high + self._shift(high, dim, -1)) / 4
        odd = high + (even + self._shift(even, dim, 1)) / 2
        joined = torch.stack((even, odd), dim=dim if dim == -1 else -2)
        return joined.flatten(-2) if dim == -1 else joined.flatten(-3, -2)
