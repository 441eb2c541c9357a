"""Muon against PyTorch's own, which takes matrices alone."""

import pytest
import torch
from torch import nn

from bdflow.networks.bdflow import BDFlow
from bdflow.networks.config import NetworkConfig
from bdflow.train.config import OptimConfig
from bdflow.train.optim import Muon, make_optimizers, orthogonalize


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("shape", [(8, 24), (24, 8), (5, 5)])
def test_singular_values_come_near_one(shape, native, monkeypatch):
    """In bfloat16 where the processor has it, else in float32: emulated, it is ten times as slow."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    used = []
    multiply = torch.baddbmm
    monkeypatch.setattr(
        torch, "baddbmm", lambda x, *rest, **how: used.append(x.dtype) or multiply(x, *rest, **how)
    )
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrices * 1e-3))
    assert values.min() > 0.4
    assert values.max() < 1.3
    assert set(used) == {torch.bfloat16 if native else torch.float32}


def test_steps_equal_pytorchs_on_the_kernels_as_matrices():
    oracle = getattr(torch.optim, "Muon", None)
    if oracle is None:
        pytest.skip("this PyTorch has no Muon")
    draws = torch.Generator().manual_seed(1)
    starts = [torch.randn(s, generator=draws) for s in ((6, 4, 3, 3), (6, 4, 3, 3), (40, 2, 3, 3), (7, 5))]
    ours = [nn.Parameter(p.clone().contiguous(memory_format=torch.preserve_format)) for p in starts]
    theirs = [nn.Parameter(p.flatten(1).clone()) for p in starts]
    optimizer = Muon(ours, lr=0.01)
    reference = oracle(theirs, lr=0.01, weight_decay=0, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=draws)
            b.grad = a.grad.flatten(1).clone()
        optimizer.step()
        reference.step()
    for a, b, start in zip(ours, theirs, starts, strict=True):
        moved = (b - start.flatten(1)).abs().max()
        # bfloat16 in both; stacked products round otherwise than single ones
        assert (a.flatten(1) - b).abs().max() < 0.05 * moved


def test_what_has_no_gradient_stays():
    still, moving = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    moving.grad = torch.eye(2)
    Muon([still, moving], lr=0.1).step()
    assert torch.equal(still, torch.ones(2, 2))
    assert not torch.equal(moving, torch.ones(2, 2))


def test_muon_takes_the_kernels_and_adam_the_biases():
    model = BDFlow(NetworkConfig(scale=2, blocks=1, features=4))
    adam, muon = make_optimizers(model, OptimConfig(optimizer="muon"))
    assert {p.ndim for p in muon.param_groups[0]["params"]} == {4}
    assert {p.ndim for p in adam.param_groups[0]["params"]} == {1}
    counted = sum(len(o.param_groups[0]["params"]) for o in (adam, muon))
    assert counted == len(list(model.parameters()))
    assert len(make_optimizers(model, OptimConfig())) == 1
