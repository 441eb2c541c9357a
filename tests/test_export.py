"""An exported folder: one copy of the numbers, small graphs that point at it, and proof that they agree."""

import json
import os
import shutil
import stat

import numpy as np
import onnx
import pytest
import torch
from invertible import stir
from onnx import TensorProto
from safetensors.torch import load_file, save_file
from tiny_models import CONFIGS, TRAINING, config, graphs_of, metadata, network

from bdflow import BDFlowError, zoo
from bdflow.networks.build import count_multiply_adds, count_parameters
from bdflow.networks.config import NetworkConfig
from bdflow.networks.network import Down, Up, restore
from bdflow.system.offline import onnxruntime
from bdflow.train import export as exporting
from bdflow.train.config import OptimConfig, TrainConfig, to_dict
from bdflow.train.export import check_parity, export, export_run
from bdflow.train.green import network_of
from bdflow.train.state import LAST
from bdflow.zoo.loading import load_model, load_weights

GRAPHS = ["down.onnx", "sample.onnx", "up.onnx"]
FILES = ["SHA256SUMS", *GRAPHS, "weights.safetensors"]


@pytest.fixture(params=CONFIGS)
def folder(request, tiny):
    return tiny(request.param)


@pytest.fixture
def quick(tiny, monkeypatch):
    """Export without ten seconds of torch."""
    monkeypatch.setattr(exporting, "write_graph", graphs_of(tiny("tiny-x2")))


def test_the_folder_holds_five_files_that_anybody_may_read(folder):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    umask = os.umask(0)
    os.umask(umask)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o666 & ~umask}


def test_the_weights_tell_the_whole_configuration(folder):
    name = folder.name
    told = metadata(folder)
    assert told["name"] == name
    assert told["model"] == json.loads(json.dumps(to_dict(CONFIGS[name])))
    assert told["training"]["config"] == json.loads(json.dumps(to_dict(config(name))))
    assert TRAINING.items() <= told["training"].items()
    assert told["training"]["parameters"] == count_parameters(network(name))
    assert told["training"]["multiply_adds"] == count_multiply_adds(network(name))


def test_the_numbers_are_float16_and_those_of_the_network(folder):
    stored, true = load_file(folder / "weights.safetensors"), network(folder.name).state_dict()
    assert stored.keys() == true.keys()
    for key, value in stored.items():
        assert value.dtype == torch.float16
        torch.testing.assert_close(value, true[key].half(), rtol=0, atol=0)


def test_loading_gives_the_network_back_in_float32(folder):
    for source in (folder, folder / "weights.safetensors"):
        model = load_model(source)
        assert model.config == CONFIGS[folder.name]
        assert not model.training
        for key, value in network(folder.name).state_dict().items():
            assert model.state_dict()[key].dtype == torch.float32
            torch.testing.assert_close(model.state_dict()[key], value.half().float(), rtol=0, atol=0)


@pytest.mark.parametrize("graph", GRAPHS)
def test_graphs_are_small_and_hold_no_weights(folder, graph):
    assert (folder / graph).stat().st_size < 300_000
    proto = onnx.load(folder / graph, load_external_data=False)
    stored, data = load_file(folder / "weights.safetensors"), (folder / "weights.safetensors").read_bytes()
    seen = set()
    for tensor in proto.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            assert tensor.ByteSize() < 1000  # a constant of the graph
            continue
        entry = {item.key: item.value for item in tensor.external_data}
        begin, length = int(entry["offset"]), int(entry["length"])
        key = tensor.name.removeprefix("model.").removesuffix(".stored")
        assert entry["location"] == "weights.safetensors"
        assert not tensor.raw_data
        assert tensor.data_type == TensorProto.FLOAT16
        assert list(tensor.dims) == list(stored[key].shape)
        assert data[begin : begin + length] == stored[key].numpy().tobytes()
        seen.add(key)
    # What a graph does not need it does not name: Y of HCFlow does not depend on its priors.
    parts = {("tar", "down.onnx"): "encoder.", ("hcflow", "down.onnx"): "levels."}
    network = CONFIGS[folder.name].network
    needed = parts.get((network, graph), "decoder." if network == "tar" else "")
    assert seen == {key for key in stored if key.startswith(needed)}
    assert not proto.metadata_props


def test_torch_and_onnx_runtime_agree_to_the_level(folder):
    parity = check_parity(load_model(folder), folder)
    assert parity.keys() == {"down", "up", "sample"}
    assert max(parity.values()) <= 1


@pytest.mark.parametrize("name", ["tiny-x2", "tiny-tar"])
def test_weights_of_before_there_were_rivals_are_bdflows(tiny, tmp_path, name):
    """Metadata without `model.network` (and of a rival's weights: a clear fault, not another network)."""
    source, copy = tiny(name) / "weights.safetensors", tmp_path / "weights.safetensors"
    told = metadata(tiny(name))
    assert told["model"].pop("network") == CONFIGS[name].network
    save_file(load_file(source), copy, {"bdflow": json.dumps(told)})
    if name == "tiny-x2":
        assert load_model(copy).config == CONFIGS[name]
    else:
        with pytest.raises(BDFlowError, match=r"it has 0 channels of Z, and the network that torch .* 45: "):
            load_model(copy)


@pytest.mark.parametrize("part", ["phi", "eta"])
def test_graphs_that_compute_something_else_are_not_passed(tiny, part):
    model = load_model(tiny("tiny-x2"))
    with torch.no_grad():
        getattr(model.levels[0].blocks[0], part).tail.bias += 0.2
    with pytest.raises(BDFlowError, match=r"^the exported graph.* differ.* from torch.*: not exported$"):
        check_parity(model, tiny("tiny-x2"))


@pytest.mark.parametrize("name", ["down", "up", "sample"])
def test_each_graph_is_checked(tiny, tmp_path, name):
    """A graph of another network is noticed, whichever it is."""
    folder = shutil.copytree(tiny("tiny-x2"), tmp_path / "copy")
    proto = onnx.load(folder / f"{name}.onnx", load_external_data=False)
    (image,) = (output for output in proto.graph.output if output.name != "boundary")
    for node in proto.graph.node:
        node.output[:] = ["before" if made == image.name else made for made in node.output]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.uint8(3), "three"))
    proto.graph.node.append(onnx.helper.make_node("BitwiseXor", ["before", "three"], [image.name]))
    (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(BDFlowError, match=r"differ from torch by [23] levels"):
        check_parity(load_model(folder), folder)


def test_the_boundary_map_is_checked(tiny, tmp_path):
    folder = shutil.copytree(tiny("tiny-x2"), tmp_path / "copy")
    proto = onnx.load(folder / "down.onnx", load_external_data=False)
    for node in proto.graph.node:
        node.output[:] = ["before" if made == "boundary" else made for made in node.output]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.uint8(1), "one"))
    proto.graph.node.append(onnx.helper.make_node("BitwiseXor", ["before", "one"], ["boundary"]))
    (folder / "down.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(BDFlowError, match="boundary map differs from torch's: not exported"):
        check_parity(load_model(folder), folder)


def test_sample_restores_with_a_given_z_what_torch_does(folder):
    """With the true Z, Y and B rounded alone: `sample.onnx` is the inverse, not only at Z = 0."""
    model, scale = load_model(folder), CONFIGS[folder.name].scale
    if not model.latent_channels:
        pytest.skip("there is no Z")
    x = torch.rand(1, 3, 6 * scale, 4 * scale, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y, boundary, z = model(x)
        torch.testing.assert_close(model.inverse(y, boundary, z), x, rtol=0, atol=1e-4)
        inputs = {"small": levels(y, 255), "latent": z}
        if boundary is not None:
            top = 2**model.config.boundary_bits - 1
            inputs["boundary"] = levels(boundary, top)
            boundary = inputs["boundary"] / top
        expected = levels(model.inverse(inputs["small"] / 255, boundary, z), 255)
        plain = levels(model.inverse(inputs["small"] / 255, boundary), 255)
    session = onnxruntime.InferenceSession(folder / "sample.onnx")
    (got,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    assert np.abs(got.astype(int) - expected.numpy()).max() <= 1
    assert np.abs(got.astype(int) - plain.numpy()).max() > 1


def test_sample_gives_a_photograph_back_exactly_where_nothing_was_rounded(tiny):
    """The float path whole: a photograph whose Y and B are whole levels, made by running backwards."""
    model = load_model(tiny("tiny-x2"))
    generator = torch.Generator().manual_seed(0)
    small = torch.randint(120, 136, (1, 3, 5, 4), generator=generator, dtype=torch.uint8)
    boundary = torch.zeros(1, 1, 5, 4, dtype=torch.uint8)
    z = 0.1 * torch.randn(1, model.latent_channels, 5, 4, generator=generator)
    with torch.no_grad():
        x = model.inverse(small / 255, boundary.float(), z)
        assert ((x > 0) & (x < 1)).float().mean() > 0.5  # or clipping would hide all
        y, b, found = model(x)
    torch.testing.assert_close(y, small / 255, rtol=0, atol=1e-4)
    torch.testing.assert_close(b, boundary.float(), rtol=0, atol=1e-4)
    session = onnxruntime.InferenceSession(tiny("tiny-x2") / "sample.onnx")
    inputs = {"small": small.numpy(), "boundary": boundary.numpy(), "latent": found.numpy()}
    (got,) = session.run(None, inputs)
    assert np.abs(got - 255 * x.clamp(0, 1).numpy()).max() <= 0.51


def test_further_bits_of_green_are_stored_in_place_of_the_boundary_map(tmp_path):
    """The control of the boundary study: what the graphs store and restore is what training sees."""
    green = TrainConfig(
        name="green", model=NetworkConfig(scale=2, features=4, blocks=1, boundary_bits=2), plane="green"
    )
    model = stir(network_of(green)).eval()
    parity = export(green, model.state_dict(), tmp_path / "green", TRAINING)
    assert max(parity.values()) <= 1
    folder = zoo.find(tmp_path / "green", trust=True)
    assert (folder.bits, folder.latent_channels) == (2, 9)
    with pytest.raises(BDFlowError, match="it has 9 channels of Z, and the network that torch "):
        load_model(folder.folder)
    model = load_weights(network_of(green), folder.folder / zoo.WEIGHTS)
    image = torch.randint(0, 256, (1, 3, 16, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y, boundary, _ = model(image / 255)
        small, further = Down(model)(image.to(torch.uint8))
        stored = (4 * small[:, 1:2].int() + further) / (4 * 255)
        assert boundary is None
        assert set(further.unique().tolist()) == {0, 1, 2, 3}
        assert (stored - y[:, 1:2].clamp(0, 1)).abs().max() <= 0.5 / (4 * 255) + 1e-6
        expected = restore(model, y, None).clamp(0, 1) * 255
        assert (Up(model)(small, further).float() - expected).abs().max() <= 0.51


def levels(x: torch.Tensor, top: int) -> torch.Tensor:
    return (x.clamp(0, 1) * top).round().to(torch.uint8)


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "diary.txt"):
        with pytest.raises(BDFlowError, match=r": holds other files; choose a new folder or that of an ol"):
            export(config("tiny-x2"), {}, out, {})
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_an_empty_folder_may_be_filled_and_an_older_export_replaced(quick, tiny, tmp_path):
    out = tmp_path / "new" / "model"
    weights = network("tiny-x2").state_dict()
    export(config("tiny-x2"), weights, out, TRAINING)
    before = {name: (out / name).read_bytes() for name in FILES}
    assert before == {name: (tiny("tiny-x2") / name).read_bytes() for name in FILES}
    (out / "card.md").write_text("kept")
    weights["levels.0.blocks.0.eta.tail.bias"] += 0.25
    export(config("tiny-x2"), weights, out, TRAINING)
    assert sorted(path.name for path in out.iterdir()) == sorted([*FILES, "card.md"])
    assert (out / "card.md").read_text() == "kept"
    changed = {name for name, data in before.items() if (out / name).read_bytes() != data}
    assert changed == {"weights.safetensors", "SHA256SUMS"}


def test_an_export_that_fails_leaves_the_older_one(quick, tmp_path, monkeypatch):
    out = tmp_path / "model"
    weights = network("tiny-x2").state_dict()
    export(config("tiny-x2"), weights, out, TRAINING)
    before = {name: (out / name).read_bytes() for name in FILES}

    def other(model, weights):
        load_weights(model, weights)
        with torch.no_grad():
            model.levels[0].blocks[0].eta.tail.bias += 1
        return model

    monkeypatch.setattr(exporting, "load_weights", other)
    for folder in (out, tmp_path / "new"):
        with pytest.raises(BDFlowError, match="not exported"):
            export(config("tiny-x2"), weights, folder, {"steps": 99})
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert list((tmp_path / "new").iterdir()) == []


def test_float32_may_be_stored_too(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "check_parity", lambda model, folder: {})  # the graphs say float16
    export(config("tiny-x2"), network("tiny-x2").state_dict(), tmp_path / "model", {}, torch.float32)
    for key, value in load_file(tmp_path / "model" / "weights.safetensors").items():
        torch.testing.assert_close(value, network("tiny-x2").state_dict()[key], rtol=0, atol=0)


def run_folder(tmp_path, ema: float, origin: dict | None = None):
    settings = config("tiny-x2")
    state = {
        "config": to_dict(type(settings)(name="tiny-x2", model=settings.model, optim=OptimConfig(ema=ema))),
        "step": 40,
        "seconds": 12.6,
        "origin": origin,
        "machine": "a test",
        "model": network("tiny-x2").state_dict(),
        "ema": {key: value * 0.5 for key, value in network("tiny-x2").state_dict().items()},
    }
    run = tmp_path / "run"
    run.mkdir()
    torch.save(state, run / LAST)
    return run


@pytest.mark.parametrize(("ema", "factor"), [(0.0, 1.0), (0.9, 0.5)])
def test_a_run_is_exported_with_its_averaged_weights_if_it_has_some(quick, tmp_path, ema, factor):
    out = tmp_path / "model"
    parity = export_run(run_folder(tmp_path, ema), out)
    assert max(parity.values()) <= 1
    stored, true = load_file(out / "weights.safetensors"), network("tiny-x2").state_dict()
    for key, value in stored.items():
        torch.testing.assert_close(value, (factor * true[key]).half(), rtol=0, atol=0)
    training = metadata(out)["training"]
    assert (training["steps"], training["seconds"], training["machine"]) == (40, 13, "a test")
    assert training["command"].startswith("bdflow train configs/tiny-x2.toml ")
    assert training["data"] == training["limits"] == "not described"


def test_a_run_counts_what_it_began_with(quick, tmp_path):
    origin = {"model": "photos-x2", "weights_sha256": "ab" * 32, "steps": 100, "seconds": 3600}
    export_run(run_folder(tmp_path, 0.0, origin), tmp_path / "model")
    training = metadata(tmp_path / "model")["training"]
    assert (training["steps"], training["seconds"], training["origin"]) == (140, 3613, origin)


def test_a_folder_without_a_state_is_no_run(tmp_path):
    for run in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BDFlowError, match=r"no last.pt in it; give the folder that `bdflow train` wrot"):
            export_run(run, tmp_path / "model")
    assert not (tmp_path / "model").exists()
