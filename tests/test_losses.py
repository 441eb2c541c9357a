"""The five terms, each by hand or against a named oracle, and their schedules."""

import math
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
from invertible import stir
from PIL import Image
from torch import Tensor, nn

from bdflow.networks.bdflow import BDFlow
from bdflow.networks.config import NetworkConfig
from bdflow.networks.network import restore
from bdflow.train.config import LossConfig, MaskConfig
from bdflow.train.losses import (
    Objective,
    backward_loss,
    bicubic_down,
    boundary_loss,
    forward_loss,
    latent_loss,
    squared_loss,
)
from bdflow.train.mask import boundary_mask, boundary_steps, normalise

SMALL = NetworkConfig(scale=2, features=4, blocks=1)
PHOTO = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[None]


class Distance(nn.Module):
    """In the place of LPIPS: a distance for each picture that one can compute by hand."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().mean((1, 2, 3)) * 10


def batch(n: int = 2, side: int = 32) -> Tensor:
    """uint8 crops with edges, whose detail is strong enough that B is not empty."""
    return torch.cat([PHOTO[..., 40 * i : 40 * i + side, 180 : 180 + side] for i in range(n)])


def objective(model: BDFlow, **weights) -> Objective:
    return Objective(model, LossConfig(**weights), MaskConfig(), Distance())


@pytest.mark.parametrize("scale", [2, 4, 8, 16, 32, 64])
def test_bicubic_is_pillows(scale):
    """The same filter to a thousandth of a level, and in 8 bits to one level.

    There Pillow also rounds and clips after its first axis, so that where the filter overshoots one sample in
    some hundreds differs by up to 6 levels; the softer picture has no such places.
    """
    picture = PHOTO[0, :, :448, :384].permute(1, 2, 0).numpy()
    size = (384 // scale, 448 // scale)
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
    ours = 255 * bicubic_down(x, scale)[0].permute(1, 2, 0).numpy()
    for channel in range(3):
        plane = Image.fromarray(picture[..., channel].astype(np.float32))
        exact = np.asarray(plane.resize(size, Image.Resampling.BICUBIC)).clip(0, 255)
        np.testing.assert_allclose(ours[..., channel], exact, rtol=0, atol=1e-3)
    soft = (60 + 0.5 * picture).astype(np.uint8)
    coded = np.asarray(Image.fromarray(soft).resize(size, Image.Resampling.BICUBIC))
    ours = 255 * bicubic_down(torch.from_numpy(soft).permute(2, 0, 1)[None].float() / 255, scale)
    assert np.abs(ours[0].permute(1, 2, 0).numpy().round() - coded).max() <= 1


def test_bicubic_stays_in_range():
    step = torch.zeros(1, 3, 16, 16)
    step[..., 8:] = 1
    assert bicubic_down(0.4 + 0.2 * step, 2).max() > 0.601  # it overshoots
    small = bicubic_down(step, 2)
    assert small.min() == 0
    assert small.max() == 1


def test_equation_8_by_hand():
    y = torch.tensor([[0.0, 0.5], [1.0, -0.5]]).view(1, 1, 2, 2)
    assert forward_loss(y, torch.zeros_like(y)) == pytest.approx((0 + 0.25 + 1 + 0.25) / 4)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("l1", (2 * 0.1 + 3 * 0.2 + 2.5 * 0.4) / 3), ("l2", (2 * 0.01 + 3 * 0.04 + 2.5 * 0.16) / 3)],
)
def test_equation_9_by_hand(norm, expected):
    x, restored = torch.zeros(1, 1, 1, 3), torch.tensor([0.1, -0.2, 0.4]).view(1, 1, 1, 3)
    weight = torch.tensor([2.0, 3.0, 2.5]).view(1, 1, 1, 3)
    assert backward_loss(restored, x, weight, norm) == pytest.approx(expected)
    plain = {"l1": 2 * 0.7 / 3, "l2": 2 * 0.21 / 3}[norm]
    assert backward_loss(restored, x, 2.0, norm) == pytest.approx(plain)


def test_equation_10_by_hand():
    boundary, mask = torch.tensor([0.2, 0.9, 0.0]), torch.tensor([0.0, 1.0, 1.0])
    assert boundary_loss(boundary, mask) == pytest.approx((0.04 + 0.01 + 1) / 3)


@pytest.mark.parametrize("variance", [0.05, 0.2, 1.0])
def test_equation_11_is_the_likelihood_of_a_normal_distribution(variance):
    z = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = -torch.distributions.Normal(0.0, math.sqrt(variance)).log_prob(z).mean()
    torch.testing.assert_close(latent_loss(z, variance), expected)


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("progress", [0.0, 0.3])
def test_all_terms_of_an_untrained_network_by_hand(bits, progress):
    """Untrained it is the Haar transform: Y the mean of 2x2, B the horizontal detail of red, Z the rest."""
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(64, (2, 3, 16, 16), generator=noise).byte() * 4  # so that Y lies on whole levels
    terms = objective(BDFlow(replace(SMALL, boundary_bits=bits)))(images, progress)
    x = images.double() / 255
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    y, h, v, diagonal = (a + b + c + d) / 4, (a - b + c - d) / 4, (a + b - c - d) / 4, (a - b - c + d) / 4
    steps = 2**bits - 1
    stored = (h[:, :1].clamp(0, 1) * steps).round() / steps
    restored = ((y * 255).round() / 255).repeat_interleave(2, 2).repeat_interleave(2, 3)
    signs = torch.tensor([1.0, -1.0]).repeat(images.shape[-1] // 2)
    restored[:, :1] += stored.repeat_interleave(2, 2).repeat_interleave(2, 3) * signs
    z = torch.cat((h[:, 1:], v, diagonal), 1)
    sparse = boundary_steps(x, MaskConfig()).sparse
    weight = 2 + normalise(sparse) if progress else 2
    expected = {
        "forward": 2 * (y - bicubic_down(x, 2)).square().mean(),
        "boundary": 16 * (h[:, :1] - boundary_mask(sparse, 2, bits)).square().mean(),
        "backward": (weight * (restored - x).abs()).mean(),
        "lpips": 10 * (restored - x).square().mean(),
        "latent": -4 * torch.distributions.Normal(0.0, math.sqrt(0.2)).log_prob(z).mean(),
    }
    assert stored.any() == (bits > 1)  # half a level is the most that an untrained B has
    assert set(terms) == {*expected, "total"}
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=2e-5), name
    assert terms["total"].item() == pytest.approx(sum(v.item() for v in expected.values()), rel=2e-5)


@pytest.mark.parametrize("name", ["forward", "backward", "lpips", "boundary", "latent"])
def test_each_weight_moves_its_term_alone(name):
    model = stir(BDFlow(SMALL))
    weights: list[dict[str, float]] = [{}, {name: 3 * getattr(LossConfig(), name)}]
    before, after = (
        objective(model, **changed)(batch(), 0.1, torch.Generator().manual_seed(0)) for changed in weights
    )
    for key in set(before) - {"total"}:
        torch.testing.assert_close(after[key], before[key] * (3 if key == name else 1))
    torch.testing.assert_close(after["total"], sum(v for k, v in after.items() if k != "total"))


def test_squares_take_over_from_l1_at_the_same_gradient():
    x = torch.zeros(2, 1, 1, 2)
    restored = torch.tensor([[0.1, -0.1], [0.02, 0.0]]).reshape(2, 1, 1, 2).requires_grad_()
    loss = squared_loss(restored, x, 2.0)
    # 2 * e^2 / (2 * mean |e|): 0.1 twice, then 0.04 and 0
    assert loss.item() == pytest.approx((0.1 + 0.1 + 0.04 + 0.0) / 4, rel=1e-5)
    loss.backward()
    # of l1 it would be weight * sign / 4 = 0.5 everywhere
    assert restored.grad.flatten().tolist() == pytest.approx([0.5, -0.5, 1.0, 0.0])


def test_squares_start_at_their_share_of_the_training():
    model = stir(BDFlow(SMALL))
    terms = [objective(model, squares_from=0.2)(batch(), p)["backward"].item() for p in (0.1, 0.2)]
    plain = objective(model)(batch(), 0.1)["backward"].item()
    assert terms[0] == plain != terms[1]


def test_the_weight_of_boundaries_starts_at_its_share_of_the_training():
    model = stir(BDFlow(SMALL))
    terms = {p: objective(model, weight_from=0.4)(batch(), p)["backward"].item() for p in (0, 0.39, 0.4, 1)}
    assert terms[0] == terms[0.39] < terms[0.4] == terms[1]


def test_lpips_joins_at_its_share_of_the_training():
    model = stir(BDFlow(SMALL))
    terms = {p: objective(model, lpips_from=0.5)(batch(), p) for p in (0.0, 0.49, 0.5, 1.0)}
    assert ["lpips" in terms[p] for p in (0.0, 0.49, 0.5, 1.0)] == [False, False, True, True]
    for term in terms.values():
        torch.testing.assert_close(term["total"], sum(v for k, v in term.items() if k != "total"))


def test_lpips_sees_both_pictures_on_a_grid_that_moves():
    seen = []

    class Watching(Distance):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            seen.append((a.shape[-2:], b.shape[-2:], b))
            return super().forward(a, b)

    watched, draws = objective(stir(BDFlow(SMALL))), torch.Generator().manual_seed(0)
    watched.lpips = Watching()
    for _ in range(64):
        watched(batch(side=64), 0.0, draws)
    assert {side for of_a, _, _ in seen for side in of_a} == set(range(64 - 15, 65))
    for of_a, of_b, true in seen:
        assert of_a == of_b
        torch.testing.assert_close(true, (batch(side=64).float() / 255)[..., -of_b[0] :, -of_b[1] :])


@pytest.mark.parametrize("weights", [{"boundary": 16.0}, {"boundary": 0.0}])
@pytest.mark.parametrize("bits", [0, 1])
def test_the_weight_of_boundaries_works_without_the_boundary_map(weights, bits):
    """BAW is a thing apart from BAM: no B, or no weight on B, leaves Eq. 4 as it is."""
    model = stir(BDFlow(replace(SMALL, boundary_bits=bits)))
    early, late = (objective(model, **weights)(batch(), p) for p in (0.0, 0.3))
    assert ("boundary" in early) == ("boundary" in late) == bool(bits and weights["boundary"])
    y, boundary, _ = model(batch().float() / 255)
    x = batch().float() / 255
    error = (restore(model, y, boundary) - x).abs()
    sparse = boundary_steps(x, MaskConfig()).sparse
    assert sparse.any()
    torch.testing.assert_close(early["backward"], 2 * error.mean())
    torch.testing.assert_close(late["backward"], ((2 + normalise(sparse)) * error).mean())


def test_the_weight_of_boundaries_can_be_left_out():
    model = stir(BDFlow(SMALL))
    terms = [objective(model, weight_from=1.0)(batch(), p)["backward"].item() for p in (0.0, 0.9999)]
    assert terms[0] == terms[1]


def test_terms_that_weigh_nothing_are_left_out():
    model = stir(BDFlow(SMALL))
    terms = Objective(model, LossConfig(lpips=0, boundary=0, latent=0))(batch(), 0.0)
    assert set(terms) == {"forward", "backward", "total"}


def test_lpips_must_be_given_where_it_weighs():
    with pytest.raises(ValueError, match="no LPIPS module was given"):
        Objective(BDFlow(SMALL), LossConfig(lpips=1.0))


def test_sampling_z_depends_on_the_generator_alone():
    model = stir(BDFlow(SMALL))
    sampled = objective(model, sample_sigma=0.3)

    def backward(seed: int) -> float:
        return sampled(batch(), 0.0, torch.Generator().manual_seed(seed))["backward"].item()

    assert backward(1) == backward(1) != backward(2)
    plain = [objective(model)(batch(), 0.0, torch.Generator().manual_seed(s))["backward"] for s in (1, 2)]
    assert plain[0] == plain[1]


def test_sampled_z_has_the_spread_asked_for():
    """Untrained, what Z adds to the restored picture is its Haar synthesis: 3 details, one sigma each."""
    model = BDFlow(replace(SMALL, boundary_bits=0))
    y = torch.full((1, 3, 64, 64), 0.6)
    restored = restore(model, y, None, 0.1, torch.Generator().manual_seed(0)) - 0.6
    assert restored.std().item() == pytest.approx(0.1 * math.sqrt(3), rel=0.02)
    assert restored.mean().item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("bits", [0, 1, 3])
def test_gradients_reach_every_weight(bits):
    model = stir(BDFlow(NetworkConfig(scale=4, features=4, blocks=2, boundary_bits=bits)))
    objective(model)(batch(), 0.5)["total"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_mixed_precision_keeps_the_terms_in_float32():
    model = stir(BDFlow(SMALL))
    full = objective(model)(batch(), 0.5, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective(model)(batch(), 0.5, torch.Generator().manual_seed(0))
    for key, value in mixed.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, full[key], rtol=0.02, atol=1e-3)
