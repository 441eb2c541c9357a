"""HCFlow: invertible with any weights, conditional from coarse to fine, as large as the authors' network."""

import math
from functools import partial

import pytest
import torch
from invertible import check_invertible, picture, stir
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_unshuffle

from bdflow.networks.build import count_multiply_adds, count_parameters
from bdflow.networks.config import NetworkConfig
from bdflow.networks.hcflow import ActNorm, ConditionalStep, FlowStep, HCFlow, Mix, Prior

Tiny = partial(NetworkConfig, network="hcflow", features=4, blocks=2, boundary_bits=0)


class Given(nn.Module):
    """A conditional module with its condition, so that the shared check can call it."""

    def __init__(self, module: nn.Module, condition: torch.Tensor) -> None:
        super().__init__()
        self.module, self.condition = module, condition

    def forward(self, u):
        return self.module(u, self.condition.to(u.dtype))

    def inverse(self, v):
        return self.module.inverse(v, self.condition.to(v.dtype))


def test_the_authors_network_at_x4():
    """They count 4.4 M parameters."""
    with torch.device("meta"):
        model = HCFlow(NetworkConfig(network="hcflow", scale=4, blocks=8, features=64, boundary_bits=0))
    assert count_parameters(model) == 4_394_448
    assert [len(level.steps) for level in model.levels] == [8, 8]
    assert [len(prior.steps) for prior in model.priors] == [6, 6]
    assert [len(prior.trunk) for prior in model.priors] == [4, 4]  # 3 RRDBs and a convolution
    assert model.sizes == [[6, 6], [3, 21]]


def test_multiply_adds_are_those_of_the_convolutions():
    """Not those of the matrix exponentials, which do not grow with the picture."""
    model = HCFlow(Tiny(scale=4))
    assert count_multiply_adds(model, 64) == 4 * count_multiply_adds(model, 32)


CONFIGS = {
    **{f"x{2**n}": Tiny(scale=2**n) for n in range(1, 7)},
    "one block": Tiny(scale=4, blocks=1),
    "no block": Tiny(scale=4, blocks=0),
    "deep": Tiny(scale=4, blocks=8, features=8),
    "per level": Tiny(scale=8, blocks=(1, 2, 3), features=(4, 8, 12)),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_round_trip(config):
    n, h, w = (2, 2, 3) if config.scale < 32 else (1, 1, 2)
    model = HCFlow(config)
    x = picture(n, 3, h * config.scale, w * config.scale)
    check_invertible(model, x)
    y, boundary, latent = model(x.float())
    assert boundary is None
    assert y.shape == (n, 3, h, w)
    assert latent.shape == (n, model.latent_channels, h, w)


def test_round_trip_with_weights_as_they_start():
    model, x = HCFlow(Tiny(scale=8)).double(), picture(1, 3, 16, 24)
    torch.testing.assert_close(model.inverse(*model(x)), x, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_round_trip_of_the_authors_network_at_full_width():
    config = NetworkConfig(network="hcflow", scale=4, blocks=8, features=64, boundary_bits=0)
    check_invertible(HCFlow(config), picture(1, 3, 64, 32))


@pytest.mark.parametrize(
    "module", [ActNorm(5), Mix(5), Mix(48), FlowStep(12, 4, True), FlowStep(12, 4, False)]
)
def test_the_parts_are_invertible(module):
    channels = {ActNorm: 5, FlowStep: 12}.get(type(module)) or len(module.exponent)
    check_invertible(module, picture(2, channels, 3, 4))


@pytest.mark.parametrize("channels", [2, 6, 9])
def test_the_conditional_parts_are_invertible(channels):
    condition = picture(2, 4, 3, 5, seed=1)
    check_invertible(Given(ConditionalStep(channels, 4), condition), picture(2, channels, 3, 5))
    check_invertible(Given(Prior(3, channels, 4, steps=2, depth=1), condition), picture(2, channels, 3, 5))


@pytest.mark.parametrize("norm", [0.1, math.pi, 10.0])
def test_mix_is_the_matrix_exponential(norm):
    mix, x = Mix(6).double(), torch.eye(6, dtype=torch.float64).view(6, 6, 1, 1)
    with torch.no_grad():
        mix.exponent.mul_(norm / torch.linalg.matrix_norm(mix.exponent, 2))
        expected = torch.linalg.matrix_exp(mix.exponent).T
        torch.testing.assert_close(mix(x)[..., 0, 0], expected, rtol=0, atol=1e-12 if norm < 4 else 1e-6)


def test_mix_starts_as_a_rotation_that_mixes():
    torch.manual_seed(0)
    with torch.no_grad():
        w = Mix(24).double()(torch.eye(24, dtype=torch.float64).view(24, 24, 1, 1))[..., 0, 0]
    torch.testing.assert_close(w @ w.T, torch.eye(24, dtype=torch.float64), rtol=0, atol=1e-6)
    assert w.diagonal().abs().mean() < 0.5


def test_mix_keeps_its_digits_in_mixed_precision():
    mix, x = Mix(9), picture(1, 9, 4, 4).float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(mix.inverse(mix(x)), x, rtol=0, atol=1e-5)
        torch.testing.assert_close(mix(x), Mix.forward(mix.double(), x.double()).float(), rtol=0, atol=1e-5)


def test_the_untrained_network_gives_a_thumbnail_and_repeats_it():
    x = picture(1, 3, 16, 24)
    model = HCFlow(Tiny(scale=8)).double()
    y, _, _ = model(x)
    torch.testing.assert_close(y, avg_pool2d(x, 8), rtol=0, atol=1e-14)
    torch.testing.assert_close(model.inverse(y), interpolate(y, scale_factor=8.0), rtol=0, atol=1e-12)


def test_no_z_stands_for_zero():
    model, y = stir(HCFlow(Tiny(scale=4))), picture(2, 3, 3, 2).float()
    assert torch.equal(model.inverse(y), model.inverse(y, None, torch.zeros(2, model.latent_channels, 3, 2)))


def test_z_of_zero_is_the_mean_that_the_condition_tells():
    """Without steps the prior is z = (dropped + shift) * scale, by hand."""
    prior = stir(Prior(3, 2, 4, steps=0, depth=1)).double()
    dropped, condition = picture(1, 2, 3, 3), picture(1, 4, 3, 3, seed=1)
    with torch.no_grad():
        h = prior.moments(condition)
        scale = torch.exp(torch.atan(2 * h[:, 2:]) / math.pi)
        torch.testing.assert_close(prior(dropped, condition), (dropped + h[:, :2]) * scale)
        torch.testing.assert_close(prior.inverse(torch.zeros_like(dropped), condition), -h[:, :2])


def test_levels_are_conditional_on_all_that_is_coarser():
    """By hand at x4: level 1 on Y, level 0 on what it keeps and on the features of level 1."""
    model, x = stir(HCFlow(Tiny(scale=4))).double(), picture(1, 3, 8, 12)
    y, _, latent = model(x)
    u = model.levels[0](x)
    v = model.levels[1](u[:, :6])
    coarse = model.priors[1].condition(v[:, :3])
    fine = model.priors[0].condition(torch.cat((u[:, :6], interpolate(coarse, scale_factor=2.0)), 1))
    z = [model.priors[0](u[:, 6:], fine), model.priors[1](v[:, 3:], coarse)]
    torch.testing.assert_close(y, v[:, :3])
    torch.testing.assert_close(latent, torch.cat((pixel_unshuffle(z[0], 2), z[1]), 1))
    assert [prior.head.in_channels for prior in HCFlow(Tiny(scale=8)).priors] == [6 + 8, 12 + 4, 3]


def test_gradients_reach_every_weight():
    model, x = stir(HCFlow(Tiny(scale=4))), picture(1, 3, 8, 8).float()
    y, _, latent = model(x)
    (model.inverse(y).square().mean() + latent.square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_pictures_of_a_batch_do_not_see_each_other():
    model, x = stir(HCFlow(Tiny(scale=4))).double(), picture(3, 3, 8, 8)
    together, alone = model(x), model(x[1:2])
    torch.testing.assert_close(together[0][1:2], alone[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(together[2][1:2], alone[2], rtol=0, atol=1e-12)
