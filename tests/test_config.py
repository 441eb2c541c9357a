"""Configurations: wrong ones are refused in one line that names the fault."""

import json
from pathlib import Path

import msgspec
import pytest

from bdflow.errors import BDFlowError
from bdflow.networks.bdflow import BDFlow
from bdflow.train.config import (
    DataConfig,
    LossConfig,
    NetworkConfig,
    OptimConfig,
    TrainConfig,
    load_config,
    read_saved,
    to_dict,
)

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.toml"))
RIVAL = {"network": "hcflow", "scale": 4, "boundary_bits": 0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": 1}, "scale must be a power of two from 2 to 64, not 1"),
        ({"scale": 0}, "scale must be a power of two"),
        ({"scale": 12}, "scale must be a power of two from 2 to 64, not 12"),
        ({"scale": 128}, "scale must be a power of two from 2 to 64, not 128"),
        ({"scale": -4}, "scale must be a power of two"),
        ({"boundary_bits": 4}, "boundary_bits must be 0 to 3, not 4"),
        ({"boundary_bits": -1}, "boundary_bits must be 0 to 3, not -1"),
        ({"scale": 8, "blocks": (2, 2)}, "blocks needs one number for each of the 3 levels"),
        ({"scale": 4, "features": (8, 8, 8)}, "features needs one number for each of the 2 levels"),
        ({"scale": 8, "kept": (6,)}, "kept needs 2 numbers: one for each level but the last"),
        ({"scale": 4, "kept": (2,)}, "level 0 can keep 3 to 12 channels, not 2"),
        ({"scale": 8, "kept": (6, 25)}, "level 1 can keep 3 to 24 channels, not 25"),
        ({"network": "hcflow"}, "network hcflow has no boundary map: boundary_bits must be 0"),
        ({"network": "tar"}, "network tar has no boundary map: boundary_bits must be 0"),
        (RIVAL | {"kept": (6,)}, "network hcflow has no kept: leave it out"),
        (RIVAL | {"split": "kept"}, "network hcflow has no split: leave it out"),
        (RIVAL | {"block": "dense"}, "network hcflow has no block: leave it out"),
        (RIVAL | {"activation": "silu"}, "network hcflow has no activation: leave it out"),
        (RIVAL | {"coupling": "affine"}, "network hcflow has no coupling: leave it out"),
        (RIVAL | {"wavelet": "cdf53"}, "network hcflow has no wavelet: leave it out"),
        (RIVAL | {"clamp": 2.0}, "network hcflow has no clamp: leave it out"),
        (RIVAL | {"network": "tar", "latent_variance": 1.0}, "network tar has no latent_variance: leave"),
        (RIVAL | {"network": "tar", "block": "dense"}, "network tar has no block: leave it out"),
        (RIVAL | {"features": 2}, "network hcflow needs features that are multiples of 4"),
        (RIVAL | {"features": (8, 6)}, "network hcflow needs features that are multiples of 4"),
        (RIVAL | {"blocks": (1, 2, 3)}, "blocks needs one number for each of the 2 levels"),
    ],
)
def test_networks_that_cannot_be(wrong, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**wrong)


@pytest.mark.parametrize("kept", [(3, 3), (12, 48), (12, 3)])
def test_the_most_and_the_least_that_a_level_can_keep(kept):
    assert BDFlow(NetworkConfig(scale=8, kept=kept, blocks=1, features=2)).latent_channels == 188


@pytest.mark.parametrize(("scale", "levels"), [(2, 1), (4, 2), (8, 3), (64, 6)])
def test_levels(scale, levels):
    assert NetworkConfig(scale=scale).levels == levels


def test_tar_has_no_z_to_draw():
    tar = NetworkConfig(**RIVAL | {"network": "tar"})
    with pytest.raises(ValueError, match="network tar has no Z to draw: sample_sigma must be 0"):
        TrainConfig(name="x", model=tar, loss=LossConfig(sample_sigma=0.1))


def test_hcflow_has_a_prior():
    assert NetworkConfig(**RIVAL, latent_variance=1.0).latent_variance == 1


def test_the_crop_must_fit_the_scale():
    with pytest.raises(ValueError, match="crop 100 must be a multiple of the scale 8"):
        TrainConfig(name="x", data=DataConfig(crop=100))


def test_a_configuration_cannot_be_changed():
    with pytest.raises(AttributeError):
        NetworkConfig().scale = 4


def test_defaults_are_the_papers():
    model, optim = NetworkConfig(), OptimConfig()
    assert (model.features, model.block, model.wavelet, model.latent_variance) == (
        64,
        "residual",
        "haar",
        0.2,
    )
    loss = TrainConfig(name="x").loss
    assert (loss.forward, loss.backward, loss.lpips, loss.boundary, loss.latent) == (2, 2, 1, 16, 4)
    assert loss.weight_from == 0.3
    assert (optim.learning_rate, optim.final_learning_rate, optim.betas) == (2e-4, 1e-6, (0.9, 0.999))


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_shipped_configurations_are_read_and_survive_json(path):
    config = load_config(path)
    assert config.name == path.stem
    kind = type(config)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(to_dict(config))), kind) == config


def test_the_network_in_metadata_is_read_without_msgspec():
    for config in (
        NetworkConfig(),
        NetworkConfig(scale=8, blocks=(1, 2, 3), features=(4, 8, 8), kept=(6, 7)),
    ):
        stored = json.loads(json.dumps(to_dict(config)))
        assert NetworkConfig.of(stored) == config == msgspec.convert(stored, NetworkConfig)
        assert (
            NetworkConfig.of(stored | {"extra": "boundary"}) == config
        )  # as weights of earlier releases say
    assert NetworkConfig.of({"scale": 2, "blocks": 1, "features": 4, "clamp": 2}).clamp == 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scales": 4}, "unknown setting scales = 4"),
        ({"extra": "green"}, "unknown setting extra = 'green'"),
        ({"scale": "4"}, "scale cannot be '4'"),
        ({"scale": True}, "scale cannot be True"),
        ({"blocks": 2.0}, r"blocks cannot be 2\.0"),
        ({"blocks": ["two"]}, r"blocks cannot be \['two'\]"),
        ({"kept": 6}, "kept cannot be 6"),
        ({"coupling": "none"}, "coupling cannot be 'none'"),
        ({"coupling": ["additive"]}, "coupling cannot be "),
        ({"clamp": None}, "clamp cannot be None"),
        ({"scale": 3}, "scale must be a power of two"),
    ],
)
def test_what_is_wrong_in_metadata_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig.of({"scale": 4, "blocks": 1, "features": 4} | changes)
    with pytest.raises(ValueError, match="it names no features"):
        NetworkConfig.of({"scale": 4, "blocks": 1})


def test_settings_of_an_earlier_release():
    config = TrainConfig(name="x", model=NetworkConfig(boundary_bits=2))
    tree = json.loads(json.dumps(to_dict(config)))
    assert read_saved(tree) == config
    del tree["plane"]
    for extra in ("boundary", "green"):
        earlier = tree | {"model": tree["model"] | {"extra": extra}}
        assert read_saved(earlier) == msgspec.structs.replace(config, plane=extra)
    with pytest.raises(BDFlowError, match="this release of bdflow cannot read: Object contains unknown f"):
        read_saved(tree | {"model": tree["model"] | {"scales": 4}})


def test_further_bits_of_green_need_bits():
    with pytest.raises(ValueError, match="plane green needs boundary_bits of 1 to 3"):
        TrainConfig(name="x", model=NetworkConfig(boundary_bits=0), plane="green")


def test_toml_is_read(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('name = "c"\n[model]\nscale = 4\nblocks = [1, 2]\n[data]\ncrop = 64\n')
    config = load_config(path)
    assert config == TrainConfig(
        name="c", model=NetworkConfig(scale=4, blocks=(1, 2)), data=DataConfig(crop=64)
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 'c'\n[model]\nscales = 4\n", ["scales", "model"]),
        ("name = 'c'\n[model]\nscale = 'four'\n", ["int", "scale"]),
        ("name = 'c'\n[model]\nscale = 6\n", ["power of two", "6"]),
        ("name = 'c'\n[model]\nscale = 128\n[data]\ncrop = 256\n", ["2 to 64", "128"]),
        ("name = 'c'\n[model]\ncoupling = 'none'\n", ["none", "coupling"]),
        ("name = 'c'\n[model]\nscale = 4\nkept = [2]\n", ["can keep 3 to 12"]),
        ("[model]\nscale = 4\n", ["name"]),
        ("name = \n", ["line 1"]),
        ("name = 'c'\n[data]\ncrop = 100\n", ["multiple of the scale"]),
    ],
)
def test_what_is_wrong_in_toml_is_named_in_one_line(tmp_path, text, words):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(BDFlowError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_toml_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(BDFlowError, match=r"none\.toml: cannot be read \(No such file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BDFlowError, match=r"binary\.toml"):
        load_config(tmp_path / "binary.toml")
