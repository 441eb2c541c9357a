"""The whole network: size, layout and round trips; what a stored file restores is tested apart from them."""

from functools import partial

import pytest
import torch
from invertible import check_invertible, picture, stir
from torch.nn.functional import avg_pool2d, interpolate, pixel_unshuffle

from bdflow.networks.bdflow import BDFlow
from bdflow.networks.build import count_multiply_adds, count_parameters
from bdflow.networks.config import NetworkConfig
from bdflow.networks.network import restore
from bdflow.networks.stored import quantize
from bdflow.networks.wavelets import Haar
from bdflow.train.run import extends, graft

Tiny = partial(NetworkConfig, features=4, blocks=2)


def on_meta(config: NetworkConfig) -> BDFlow:
    """The network without its numbers."""
    with torch.device("meta"):
        return BDFlow(config)


PAPER = [
    (8, 4, 3_156_228, 3.4399),
    (16, 2, 4_584_336, 1.9119),
    (32, 2, 15_944_862, 2.0933),
    (64, 2, 60_722_604, 2.2720),
]


@pytest.mark.parametrize(("scale", "blocks", "parameters", "giga"), PAPER)
@pytest.mark.parametrize("coupling", ["additive", "affine"])
def test_table_2_of_the_paper(scale, blocks, parameters, giga, coupling):
    model = on_meta(NetworkConfig(scale=scale, blocks=blocks, coupling=coupling))
    assert count_parameters(model) == parameters
    assert round(count_multiply_adds(model) / 1e9, 4) == giga


@pytest.mark.parametrize(("scale", "millions"), [(8, 11.12), (16, 34.19), (32, 122.49), (64, 471.72)])
def test_irn_of_table_2(scale, millions):
    config = NetworkConfig(scale=scale, blocks=8, features=32, block="dense", boundary_bits=0)
    assert round(count_parameters(on_meta(config)) / 1e6, 2) == millions


def test_multiply_adds_do_not_touch_the_model_and_grow_with_the_picture():
    model = BDFlow(Tiny(scale=4))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert count_multiply_adds(model, 64) == 4 * count_multiply_adds(model, 32)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


CONFIGS = {
    **{f"x{2**n}": Tiny(scale=2**n) for n in range(1, 7)},
    **{f"{bits} bits": Tiny(scale=4, boundary_bits=bits) for bits in range(4)},
    "x8 with four blocks": Tiny(scale=8, blocks=4),
    "affine": Tiny(scale=8, coupling="affine"),
    "affine x64": Tiny(scale=64, coupling="affine"),
    "dense": Tiny(scale=8, block="dense"),
    "dense affine cdf53": Tiny(scale=8, block="dense", coupling="affine", wavelet="cdf53"),
    "cdf53": Tiny(scale=8, wavelet="cdf53"),
    "cdf53 x64": Tiny(scale=64, wavelet="cdf53"),
    "kept, no boundary": Tiny(scale=8, kept=(5, 3), boundary_bits=0),
    "kept": Tiny(scale=8, kept=(6, 24)),
    "kept and split": Tiny(scale=8, kept=(6, 12), split="kept"),
    "kept cdf53 affine": Tiny(scale=8, kept=(6, 24), split="kept", wavelet="cdf53", coupling="affine"),
    "per level": Tiny(scale=8, blocks=(1, 2, 3), features=(2, 3, 4)),
    "x32 with factor-out": Tiny(scale=32, kept=(6, 12, 24, 48), split="kept", blocks=(1, 2, 2, 3, 4)),
    "x64 with factor-out": Tiny(scale=64, kept=(6, 12, 24, 48, 96), split="kept"),
    "clamp 2": Tiny(scale=4, clamp=2.0),
    "silu": Tiny(scale=4, activation="silu"),
    "gelu, dense": Tiny(scale=4, activation="gelu", block="dense"),
    "a level without blocks": Tiny(scale=8, blocks=(0, 2, 1), kept=(12, 20), split="kept"),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_round_trip(config):
    n, h, w = (2, 2, 3) if config.scale < 32 else (1, 1, 2)
    model, x = BDFlow(config), picture(n, 3, h * config.scale, w * config.scale)
    check_invertible(model, x)
    y, boundary, latent = model(x.float())
    assert y.shape == (n, 3, h, w)
    assert latent.shape == (n, model.latent_channels, h, w)
    if config.boundary_bits:
        assert boundary.shape == (n, 1, h, w)
    else:
        assert boundary is None


@pytest.mark.parametrize(
    ("scale", "blocks"), [(8, 4), (16, 2), (32, 2), pytest.param(64, 2, marks=pytest.mark.slow)]
)
def test_round_trip_of_the_papers_networks_at_full_width(scale, blocks):
    check_invertible(BDFlow(NetworkConfig(scale=scale, blocks=blocks)), picture(1, 3, 128, 64))


def test_the_untrained_network_is_the_wavelet_alone():
    """Y starts as the mean of each cell: already a thumbnail."""
    x = picture(1, 3, 16, 24)
    y, boundary, latent = BDFlow(Tiny(scale=8)).double()(x)
    torch.testing.assert_close(y, avg_pool2d(x, 8), rtol=0, atol=1e-15)
    haar = Haar()
    u = haar(haar(haar(x)))
    torch.testing.assert_close(torch.cat((y, boundary, latent), 1), u, rtol=0, atol=1e-15)


def test_factored_out_channels_are_folded_into_z_finest_first():
    x, haar = picture(1, 3, 16, 8), Haar()
    y, boundary, latent = BDFlow(Tiny(scale=8, kept=(6, 7))).double()(x)
    fine = haar(x)
    middle = haar(fine[:, :6])
    coarse = haar(middle[:, :7])
    folded = [pixel_unshuffle(fine[:, 6:], 4), pixel_unshuffle(middle[:, 7:], 2)]
    expected = torch.cat((coarse, *folded), dim=1)
    torch.testing.assert_close(torch.cat((y, boundary, latent), 1), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kept", [(), (6,)])
@pytest.mark.parametrize("bits", [0, 1])
def test_what_is_not_given_is_taken_as_zero(kept, bits):
    model = stir(BDFlow(Tiny(scale=4, kept=kept, boundary_bits=bits)))
    y = picture(2, 3, 3, 2).float()
    zeros = torch.zeros(2, model.latent_channels, 3, 2)
    assert torch.equal(model.inverse(y), model.inverse(y, torch.zeros(2, 1, 3, 2) if bits else None, zeros))


def test_levels_have_their_own_blocks_and_widths():
    model = BDFlow(NetworkConfig(scale=8, blocks=(1, 2, 3), features=(4, 5, 6)))
    assert [len(level.blocks) for level in model.levels] == [1, 2, 3]
    assert [level.blocks[0].phi.head.out_channels for level in model.levels] == [4, 5, 6]


@pytest.mark.parametrize(
    ("config", "splits"),
    [
        (Tiny(scale=8), [[3, 9], [3, 45], [3, 189]]),
        (Tiny(scale=8, kept=(6, 24), split="image"), [[3, 9], [3, 21], [3, 93]]),
        (Tiny(scale=8, kept=(6, 20), split="kept"), [[6, 6], [18, 6], [60, 20]]),
    ],
)
def test_what_the_couplings_split(config, splits):
    assert [level.blocks[0].sizes for level in BDFlow(config).levels] == splits


@pytest.mark.parametrize("coupling", ["additive", "affine"])
def test_pictures_of_a_batch_do_not_see_each_other(coupling):
    model = stir(BDFlow(Tiny(scale=4, coupling=coupling))).double()
    x = picture(3, 3, 8, 8)
    for together, alone in zip(model(x), model(x[1:2]), strict=True):
        torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-13)


# What is stored is rounded: from here on, a file.


@pytest.mark.parametrize("levels", [2, 4, 8, 256])
def test_quantize_rounds_to_even_steps(levels):
    x = torch.linspace(-0.5, 1.5, 1001, dtype=torch.float64)
    expected = (x.clamp(0, 1) * (levels - 1)).round() / (levels - 1)
    q = quantize(x, levels)
    torch.testing.assert_close(q, expected, rtol=0, atol=1e-15)
    assert len(expected.unique()) == levels
    torch.testing.assert_close(quantize(q, levels), q, rtol=0, atol=1e-15)


def test_the_gradient_of_quantize_passes_straight_through():
    x = torch.tensor([0.0, 0.3, 0.5, 1.0], requires_grad=True)
    weights = torch.tensor([1.0, -2.0, 3.0, -4.0])
    (weights * quantize(x, 256)).sum().backward()
    assert torch.equal(x.grad, weights)


def test_what_is_clipped_can_come_back_but_goes_no_further():
    """A descent moves against the gradient."""
    x = torch.tensor([-1.0, -1.0, 2.0, 2.0], requires_grad=True)
    (torch.tensor([5.0, -5.0, 5.0, -5.0]) * quantize(x, 2)).sum().backward()
    assert x.grad.tolist() == [0.0, -5.0, 5.0, 0.0]


@pytest.mark.parametrize("bits", range(4))
@pytest.mark.parametrize("kept", [(), (6,)])
def test_a_stored_file_restores_what_training_sees(bits, kept):
    """Y in 8 bits and B in its own, as integers, give what the straight-through rounding gave."""
    model = stir(BDFlow(Tiny(scale=4, kept=kept, boundary_bits=bits)))
    y, boundary, _ = model(picture(2, 3, 16, 24).float())
    small = (y.clamp(0, 1) * 255).round().to(torch.uint8)
    stored = None
    if bits:
        spread = (boundary - boundary.min()) / (boundary.max() - boundary.min())
        boundary = 1.2 * spread - 0.1  # all levels occur, and some values beyond them
        top = 2**bits - 1
        codes = (boundary.clamp(0, 1) * top).round().to(torch.uint8)
        assert len(codes.unique()) == 2**bits
        stored = codes.float() / top
    decoded = model.inverse(small.float() / 255, stored)
    torch.testing.assert_close(restore(model, y, boundary), decoded, rtol=0, atol=1e-5)


def test_a_stored_file_of_the_untrained_network_is_the_mean_of_each_cell():
    x = picture(1, 3, 24, 16)
    model = BDFlow(Tiny(scale=8, boundary_bits=0)).double()
    y, boundary, _ = model(x)
    means = (255 * avg_pool2d(x, 8)).round() / 255
    expected = interpolate(means, scale_factor=8, mode="nearest")
    torch.testing.assert_close(restore(model, y, boundary), expected, rtol=0, atol=1e-14)


def test_the_state_dict_has_the_names_that_weights_files_carry():
    keys = set(BDFlow(Tiny(scale=4, blocks=(1, 2))).state_dict())
    nets = [f"{net}.{conv}" for net in ("phi", "rho", "eta") for conv in ("head", "body", "tail", "shortcut")]
    blocks = ["levels.0.blocks.0", "levels.1.blocks.0", "levels.1.blocks.1"]
    assert keys == {f"{b}.{n}.{p}" for b in blocks for n in nets for p in ("weight", "bias")}
    dense = set(BDFlow(Tiny(scale=2, blocks=1, block="dense")).state_dict())
    convs = [*(f"convs.{i}" for i in range(4)), "tail"]
    assert dense == {
        f"levels.0.blocks.0.{net}.{conv}.{p}"
        for net in ("phi", "rho", "eta")
        for conv in convs
        for p in ("weight", "bias")
    }


def test_a_graft_begins_as_the_coarse_network_on_an_averaged_picture():
    coarse = NetworkConfig(scale=4, kept=(6,), split="kept", blocks=(1, 2), features=(4, 8))
    fine = NetworkConfig(scale=16, kept=(6, 3, 6), split="kept", blocks=(1, 1, 1, 2), features=(4, 4, 4, 8))
    assert extends(fine, coarse)
    trained, larger = stir(BDFlow(coarse)), BDFlow(fine)
    larger.load_state_dict({**larger.state_dict(), **graft(trained.state_dict(), 2)})
    x = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    y, boundary, _ = larger(x)
    expected, expected_boundary, _ = trained(avg_pool2d(x, 4))
    assert torch.allclose(y, expected, atol=1e-5)
    assert torch.allclose(boundary, expected_boundary, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"kept": (6, 4, 6)},  # hands on no picture
        {"features": (4, 4, 4, 4)},
        {"split": "image"},
        {"boundary_bits": 2},
        {"scale": 4, "kept": (6,), "blocks": 1, "features": 4},
    ],
)
def test_what_no_graft_fits(changes):
    coarse = NetworkConfig(scale=4, kept=(6,), split="kept", blocks=(1, 2), features=(4, 8))
    fine = {"scale": 16, "kept": (6, 3, 6), "split": "kept", "blocks": (1, 1, 1, 2), "features": (4, 4, 4, 8)}
    assert not extends(NetworkConfig(**{**fine, **changes}), coarse)
