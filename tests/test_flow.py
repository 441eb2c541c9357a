"""InvBlocks: invertible with any weights, and Eq. 6 to the letter."""

import math

import pytest
import torch
from invertible import check_invertible, picture, stir
from torch import Tensor, nn

from bdflow.networks.flow import DenseBlock, InvBlock, ResidualBlock

couplings = pytest.mark.parametrize("coupling", ["additive", "affine"])
kinds = pytest.mark.parametrize("kind", [ResidualBlock, DenseBlock], ids=["residual", "dense"])


class Times(nn.Module):
    """A net that can be computed by hand: `factor` times its first channel, on every output channel."""

    def __init__(self, outputs: int, factor: float) -> None:
        super().__init__()
        self.outputs, self.factor = outputs, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x[:, :1].expand(-1, self.outputs, -1, -1)


@couplings
@kinds
@pytest.mark.parametrize(("channels", "split"), [(12, 3), (48, 3), (24, 18), (4, 1)])
@pytest.mark.parametrize("clamp", [0.5, 1.0, 2.0])
def test_round_trip(coupling, kind, channels, split, clamp):
    block = InvBlock(channels, split, lambda i, o: kind(i, o, 5), coupling, clamp)
    check_invertible(block, picture(2, channels, 3, 5))


@couplings
@kinds
def test_an_untrained_block_passes_its_input_through(coupling, kind):
    u = picture(1, 12, 4, 6).float()
    block = InvBlock(12, 3, lambda i, o: kind(i, o, 5), coupling)
    assert torch.equal(block(u), u)
    assert torch.equal(block.inverse(u), u)


@pytest.mark.parametrize("clamp", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scales_are_never_zero(clamp, dtype):
    """The log-scale stays within the clamp for whatever a net gives, and in float32 at least."""
    block = InvBlock(4, 1, lambda i, o: Times(o, 1), clamp=clamp)
    huge = torch.finfo(dtype).max
    r = torch.tensor([-huge, -30, -1, 0, 1, 30, huge], dtype=dtype)
    log_scale = block._log_scale(r)
    assert log_scale.dtype == torch.promote_types(dtype, torch.float32)
    expected = clamp * torch.tanh(r.double() / 2)
    torch.testing.assert_close(log_scale.double(), expected, rtol=0, atol=1e-6)
    assert log_scale.abs().max() <= clamp
    assert log_scale.exp().min() >= math.exp(-clamp) * (1 - 1e-6) > 0


@couplings
def test_equation_6_by_hand(coupling):
    """u1 = 0.3, u2 = (0.5, -2); phi, rho, eta are 0.7, -1.1 and 0.2 times what they see."""
    block = InvBlock(3, 1, lambda i, o: Times(o, 0), coupling)
    block.phi, block.rho, block.eta = Times(1, 0.7), Times(2, -1.1), Times(2, 0.2)

    def s(r: float) -> float:
        return math.exp(2 / (1 + math.exp(-r)) - 1)

    phi = 0.7 * 0.5
    v1 = (0.3 * s(phi) if coupling == "affine" else 0.3) + phi
    v2 = [u2 * s(-1.1 * v1) + 0.2 * v1 for u2 in (0.5, -2.0)]
    u = torch.tensor([0.3, 0.5, -2.0], dtype=torch.float64).view(1, 3, 1, 1)
    v = block(u)
    torch.testing.assert_close(v.flatten(), torch.tensor([v1, *v2], dtype=torch.float64), rtol=0, atol=1e-15)
    torch.testing.assert_close(block.inverse(v), u, rtol=0, atol=1e-15)


def test_residual_block_is_three_convolutions_beside_one():
    block = stir(ResidualBlock(3, 5, 7))
    x = picture(1, 3, 4, 4).float()
    inner = nn.Sequential(block.head, nn.LeakyReLU(0.2), block.body, nn.LeakyReLU(0.2), block.tail)
    torch.testing.assert_close(block(x), inner(x) + block.shortcut(x))
    sizes = [(conv.in_channels, conv.out_channels) for conv in (*inner[::2], block.shortcut)]
    assert sizes == [(3, 7), (7, 7), (7, 5), (3, 5)]
    assert block(x).shape == (1, 5, 4, 4)


def test_dense_block_is_five_convolutions_that_see_all_before():
    block = stir(DenseBlock(3, 5, 7))
    seen = [picture(1, 3, 4, 4).float()]
    for conv in block.convs:
        seen.append(nn.functional.leaky_relu(conv(torch.cat(seen, 1)), 0.2))
    torch.testing.assert_close(block(seen[0]), block.tail(torch.cat(seen, 1)))
    assert [conv.in_channels for conv in (*block.convs, block.tail)] == [3, 10, 17, 24, 31]


@couplings
def test_gradients_reach_every_weight(coupling):
    block = stir(InvBlock(12, 3, lambda i, o: ResidualBlock(i, o, 5), coupling))
    x = picture(1, 12, 4, 4).float()
    (block(x).square().mean() + block.inverse(x).square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in block.parameters())
