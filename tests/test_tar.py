"""TAR: an encoder and a decoder of equal size, without Z; and the rivals in the training loop."""

import json

import msgspec
import pytest
import torch
from invertible import picture, stir
from tiny_run import rows, state, trainer_of
from torch.nn.functional import avg_pool2d, interpolate

from bdflow.networks.build import build, count_multiply_adds, count_parameters
from bdflow.networks.config import NetworkConfig
from bdflow.networks.tar import TAR
from bdflow.train.losses import latent_loss
from bdflow.train.state import LAST


def tiny(scale: int, **settings) -> NetworkConfig:
    return NetworkConfig(
        network="tar", scale=scale, boundary_bits=0, **{"features": 8, "blocks": 1} | settings
    )


@pytest.mark.parametrize("scale", [2, 4, 8, 16, 64])
def test_shapes(scale):
    model, x = stir(TAR(tiny(scale))), picture(2, 3, 2 * scale, scale).float()
    y, boundary, latent = model(x)
    assert y.shape == (2, 3, 2, 1)
    assert boundary is None
    assert latent.shape == (2, 0, 2, 1)
    assert model.inverse(y).shape == x.shape
    assert torch.equal(model.inverse(y), model.inverse(y, None, latent))
    assert (model.inverse(y) - x).abs().max() > 0.01  # what is lost is lost


def test_the_untrained_network_gives_a_thumbnail_and_repeats_it():
    x = picture(1, 3, 16, 24)
    model = TAR(tiny(8)).double()
    y, _, _ = model(x)
    torch.testing.assert_close(y, avg_pool2d(x, 8), rtol=0, atol=1e-15)
    torch.testing.assert_close(model.inverse(y), interpolate(y, scale_factor=8.0), rtol=0, atol=1e-15)


def test_both_networks_are_of_one_size():
    from torch.utils.flop_counter import FlopCounterMode

    model = TAR(tiny(8, blocks=(1, 2, 0), features=(4, 8, 12)))
    shared = sum(p.numel() for p in model.encoder.parameters() if p.ndim > 1)
    assert shared == sum(p.numel() for p in model.decoder.parameters() if p.ndim > 1)
    with FlopCounterMode(display=False) as counter:
        model.decoder(torch.zeros(1, 3, 4, 4))
    assert count_multiply_adds(model, 32) == counter.get_total_flops() // 2


def test_blocks_and_features_are_those_of_each_level():
    """Convolutions by hand: two a block, one more a level, one a halving, one for Y; as many back."""
    model = TAR(tiny(4, blocks=(2, 1), features=(4, 8)))
    weights = 9 * (3 * 1 + (2 * 2 + 1) * 4 * 4 + 4 * 2 + (2 * 1 + 1) * 8 * 8 + 8 * 3)
    assert sum(p.numel() for p in model.encoder.parameters() if p.ndim > 1) == weights
    assert count_parameters(model) > 2 * weights


def test_gradients_reach_every_weight():
    model = stir(TAR(tiny(4)))
    y, _, _ = model(picture(1, 3, 8, 8).float())
    model.inverse(y).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_loss_of_an_empty_z_is_zero():
    latent = torch.zeros(2, 3, 4, 4, requires_grad=True)[:, :0]
    loss = latent_loss(latent, 0.2)
    assert loss.shape == ()
    assert loss == 0
    loss.backward()


RIVALS = {
    "hcflow": {"network": "hcflow", "scale": 4, "features": 4, "boundary_bits": 0},
    "tar": {"network": "tar", "scale": 4, "boundary_bits": 0, "sample_sigma": 0.0},
}


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("name", RIVALS)
def test_rivals_are_trained_validated_and_resumed(pictures, tmp_path, name, optimizer):
    settings = RIVALS[name] | {"optimizer": optimizer, "steps": 2, "validate_every": 1}
    run = trainer_of(pictures, tmp_path, **settings)
    start = {key: value.clone() for key, value in run.network.state_dict().items()}
    run.fit(max_time=0)
    trainer_of(pictures, tmp_path, **settings).fit()
    assert state(tmp_path)["step"] == 2
    values = {what: value for step, what, value in rows(tmp_path) if step == 2}
    assert {"forward", "backward", "latent", "total", "psnr_y"} <= values.keys()
    assert "boundary" not in values
    assert all(torch.tensor(value).isfinite() for value in values.values())
    assert values["latent"] == 0 or name == "hcflow"
    trained = state(tmp_path)["model"]
    assert all(trained[key].isfinite().all() for key in start)
    assert sum(not torch.equal(trained[key], value) for key, value in start.items()) > len(start) / 3


def test_a_run_of_before_there_were_rivals_goes_on(pictures, tmp_path):
    trainer_of(pictures, tmp_path, steps=2).fit(max_time=0)
    saved = state(tmp_path)
    del saved["config"]["model"]["network"]
    torch.save(saved, tmp_path / LAST)
    assert trainer_of(pictures, tmp_path, steps=2).state.step == 1


def test_each_network_is_built_from_its_configuration():
    for name in ("bdflow", "hcflow", "tar"):
        config = NetworkConfig(network=name, scale=2, blocks=1, features=4, boundary_bits=0)
        told = json.loads(msgspec.json.encode(config))
        assert type(build(msgspec.convert(told, NetworkConfig))).__name__.lower() == name
