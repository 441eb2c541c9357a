"""The one check that every invertible module passes."""

import math

import torch
from torch import Tensor, nn


def stir(module: nn.Module, seed: int = 0, gain: float = 0.4) -> nn.Module:
    """Weights far from their start: normal everywhere, the zero-initialised layers too, activations near 1.

    With a gain near 1 the activations of deep flows explode and float32 has no digits left to invert.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            parameter.normal_(0, gain / math.sqrt(fan_in) if fan_in > 1 else 0.1, generator=generator)
    return module


def picture(*shape: int, seed: int = 0) -> Tensor:
    """Uniform noise in [0, 1]: nothing in it is smooth, nothing predictable."""
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def check_invertible(module: nn.Module, x: Tensor, tight: float = 1e-12, single: float = 1e-4) -> None:
    """Shape, dtype and round trip from both sides, in float64 (within `tight`) and float32 (`single`).

    The weights are stirred first; `module` may give one tensor or several, or None among them.
    """
    stir(module)
    for dtype, tolerance in ((torch.float64, tight), (torch.float32, single)):
        module.to(dtype)
        with torch.no_grad():
            out = module(x.to(dtype))
            parts = out if isinstance(out, tuple) else (out,)
            assert {part.dtype for part in parts if part is not None} == {dtype}
            assert sum(part.numel() for part in parts if part is not None) == x.numel()
            back = module.inverse(*parts)
            assert back.dtype == dtype
            torch.testing.assert_close(back, x.to(dtype), rtol=0, atol=tolerance)
            again = module(back)
        for part, other in zip(parts, again if isinstance(again, tuple) else (again,), strict=True):
            if part is not None:
                torch.testing.assert_close(other, part, rtol=tolerance, atol=tolerance)
