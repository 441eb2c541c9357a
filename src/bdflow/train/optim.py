"""What updates the weights: Adam, or Muon for kernels; and how fast."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bdflow.train.config import OptimConfig


def has_bfloat16(on_cpu: bool) -> bool:
    """Whether the machine computes in bfloat16; a processor that must emulate it takes ten times as long."""
    if on_cpu:
        has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
        return any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # the last is ARM's
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)


def learning_rate(step: int, config: OptimConfig, progress: float | None = None) -> float:
    """Linear warm-up, then half a cosine from `learning_rate` to `final_learning_rate`.

    Args:
        progress: Share of the training that is done; None counts steps from the end of the warm-up.
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if progress is None:
        progress = (step - config.warmup) / max(1, config.steps - config.warmup)
    low, high = config.final_learning_rate, config.learning_rate
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimizers(
    model: nn.Module, config: OptimConfig, is_kernel: Callable[[str, Tensor], bool] = lambda _, p: p.ndim > 1
) -> list[Optimizer]:
    """Adam for all that the model learns (the paper); or Muon for kernels and Adam for the others.

    Args:
        is_kernel: Whether a parameter, by its name and itself, is one for Muon.
    """
    kernels: list[Tensor] = []
    others: list[Tensor] = []
    for name, p in model.named_parameters():
        (kernels if config.optimizer == "muon" and is_kernel(name, p) else others).append(p)
    adam = torch.optim.Adam(others, lr=config.learning_rate, betas=config.betas)
    return [adam, Muon(kernels, config.learning_rate)] if kernels else [adam]


class Muon(Optimizer):
    """Muon (Jordan et al., 2024) with Nesterov momentum: momentum made orthogonal, for kernels.

    Adam scales each number of a kernel by itself; Muon gives every direction of the whole kernel the same
    length, and learned far more in equal time, in short trials against Adam at one rate (docs/studies.md).
    PyTorch's own takes matrices alone; this one takes kernels as matrices `(out, in * height * width)`, and
    all of one shape at once. Its learning rate means what Adam's does (updates have Adam's usual size).

    Args:
        params: Kernels or matrices, two dimensions or more.
        lr: Learning rate.
        momentum: Share of the past in the average of gradients.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: defaultdict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is None:
                    continue
                state: dict[str, Any] = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                average = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(average, group["momentum"]).reshape(len(p), -1)
                alike[len(p), update.shape[1]].append((p, update))
            for (rows, columns), pairs in alike.items():
                updates = orthogonalize(torch.stack([update for _, update in pairs]))
                rate = group["lr"] * 0.2 * max(rows, columns) ** 0.5  # root mean square 0.2, as Adam's
                for (p, _), update in zip(pairs, updates, strict=True):
                    p.sub_(update.reshape(p.shape), alpha=rate)
        return loss


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring all singular values of each matrix near 1 (0.5 to 1.5) by five steps of Newton and Schulz.

    Args:
        matrices: `(N, rows, columns)`.

    Returns:
        float32, the same shape.
    """
    x = matrices.bfloat16() if has_bfloat16(matrices.is_cpu) else matrices.float()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return (x.mT if tall else x).float()
