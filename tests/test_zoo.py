"""Model folders: found by name, folder or scale; nothing is run that is not what was exported."""

import hashlib
import json
import shutil
from dataclasses import asdict

import pytest
import torch
from invertible import stir
from safetensors.torch import load_file, save_file
from tiny_models import CONFIGS, metadata

from bdflow import BDFlowError, zoo
from bdflow.networks.build import build
from bdflow.networks.config import NetworkConfig
from bdflow.runtime.rescaler import Rescaler
from bdflow.train.config import to_dict

FILES = ["down.onnx", "sample.onnx", "up.onnx", "weights.safetensors"]


@pytest.fixture
def folder(tiny, tmp_path):
    """A copy of tiny-x2 that may be damaged."""
    return shutil.copytree(tiny("tiny-x2"), tmp_path / "copy")


def refused(folder, match):
    with pytest.raises(BDFlowError, match=match) as caught:
        zoo.find(folder, trust=True)
    assert "\n" not in str(caught.value)


def test_built_in_models_are_listed_by_scale_and_found_three_ways(built_in):
    assert zoo.names() == ["tiny-x2", "tiny-x4"]
    assert [model.name for model in zoo.built_in()] == ["tiny-x2", "tiny-x4"]
    assert zoo.find("tiny-x4").folder == built_in / "tiny-x4"
    assert zoo.find(scale=4).name == "tiny-x4"
    assert zoo.find(str(built_in / "tiny-x4"), 4).name == "tiny-x4"


def test_of_two_models_of_a_scale_the_first_by_name_is_taken(built_in, tiny):
    (built_in / "a-x2").symlink_to(tiny("tiny-x2"), target_is_directory=True)
    assert zoo.names() == ["a-x2", "tiny-x2", "tiny-x4"]
    assert zoo.find(scale=2).folder == built_in / "a-x2"


def test_scale_sorts_as_a_number(built_in, tiny):
    renamed = shutil.copytree(tiny("tiny-x4"), built_in / "b-x16")
    weights = renamed / zoo.WEIGHTS
    data = weights.read_bytes()
    weights.write_bytes(data.replace(rb"\"scale\": 4", rb"\"scale\":16"))
    assert zoo.names() == ["tiny-x2", "tiny-x4", "b-x16"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a model (--model NAME) or a scale (-x N); `bdflow models` lists both"),
        ((None, 3), "no built-in model shrinks 3 times; there is x2 and x4"),
        (("tiny-x2", 4), "model tiny-x2 shrinks 2 times, not 4: drop -x or --model"),
        (
            ("nobody",),
            "no model 'nobody': built in are tiny-x2, tiny-x4;"
            " else give a folder that holds weights.safetensors",
        ),
    ],
)
def test_what_is_not_there_is_said_with_what_is(built_in, arguments, message):
    with pytest.raises(BDFlowError) as caught:
        zoo.find(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize("made", [False, True])
def test_a_package_without_models_says_so(tmp_path, monkeypatch, made):
    monkeypatch.setattr(zoo, "BUILT_IN", tmp_path / "models")
    if made:
        (tmp_path / "models").mkdir()
    assert zoo.names() == []
    with pytest.raises(BDFlowError, match=r"^no built-in model shrinks 8 times; there is none$"):
        zoo.find(scale=8)
    with pytest.raises(BDFlowError, match="built in are none; else give a folder"):
        zoo.find("nobody")


def test_a_damaged_built_in_model_does_not_keep_others_from_loading(built_in, folder):
    (built_in / "broken").mkdir()
    (built_in / "broken" / zoo.WEIGHTS).write_bytes(b"nothing")
    assert zoo.find("tiny-x2").scale == 2
    assert zoo.find(folder).scale == 2


def test_a_small_file_can_name_built_in_models_only(built_in, folder, monkeypatch):
    weights = bytes(range(8))
    assert zoo.find_maker("tiny-x4", weights).scale == 4
    monkeypatch.chdir(folder.parent)
    assert zoo.find("copy").scale == 2  # there is such a folder, but only the user may name it
    with pytest.raises(BDFlowError) as caught:
        zoo.find_maker("copy", weights)
    assert str(caught.value) == (
        "made by model 'copy' (weights 0001020304050607), which does not come with this bdflow:"
        " get that model's folder and name it (--model FOLDER --trust)"
    )


@pytest.mark.parametrize(
    ("name", "title"), [("tiny-x2", "BDFlow"), ("tiny-hcflow", "HCFlow"), ("tiny-tar", "TAR")]
)
def test_a_model_tells_what_its_network_declares(tiny, name, title):
    model = zoo.find(tiny(name), trust=True)
    declared = build(CONFIGS[name]).facts
    assert model.title == title
    assert model.facts == declared
    assert model.metadata["facts"] == json.loads(json.dumps(asdict(declared)))


@pytest.mark.parametrize("name", CONFIGS)
def test_weights_of_before_networks_declared_themselves_tell_the_same(tiny, name):
    model = zoo.find(tiny(name), trust=True)
    settings = model.metadata["model"] | {"extra": "boundary"}  # a setting of that time
    earlier = zoo.Model(model.folder, {"name": "a", "model": settings}, "")
    assert earlier.facts == model.facts
    if model.title == "BDFlow":  # as exported before there were others
        settings.pop("network")
        assert zoo.Model(model.folder, {"name": "a", "model": settings}, "").facts == model.facts


def test_irn_is_a_network_of_its_own():
    irn = NetworkConfig(scale=2, features=4, blocks=1, block="dense", boundary_bits=0)
    assert build(irn).facts.title == "IRN"


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "two\nlines"}, {"title": 3}, {"reach": -1}, {"reach": "far"}, {"latent_channels": 1.5},
        {"graphs": ["down"]}, {"graphs": ["up", "sideways"]}, {"graphs": 3},
    ],
)  # fmt: skip
def test_facts_that_are_none_are_refused(folder, wrong):
    told = metadata(folder)
    told["facts"] |= wrong
    save_file(load_file(folder / zoo.WEIGHTS), folder / zoo.WEIGHTS, {"bdflow": json.dumps(told)})
    refused(resealed(folder), "weights.safetensors: not weights of a bdflow model")


def test_a_network_that_only_restores_needs_no_other_graph(folder):
    told = metadata(folder)
    told["facts"]["graphs"] = ["up"]
    save_file(load_file(folder / zoo.WEIGHTS), folder / zoo.WEIGHTS, {"bdflow": json.dumps(told)})
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES[2:]]
    (folder / "SHA256SUMS").write_text("".join(lines))
    rescaler = Rescaler(zoo.find(folder, trust=True))
    with pytest.raises(BDFlowError, match=r"^model tiny-x2 has no down\.onnx: BDFlow does not do that$"):
        rescaler.downscale(b"P5 8 8 255 " + bytes(64))


def test_a_model_describes_itself(tiny):
    model = zoo.find(tiny("tiny-x4"), trust=True)
    assert (model.name, model.scale, model.bits) == ("tiny-x4", 4, 2)
    assert zoo.find(tiny("tiny-x8"), trust=True).bits == 0
    assert model.metadata == metadata(model.folder)
    weights = (model.folder / "weights.safetensors").read_bytes()
    assert model.weights_sha256 == hashlib.sha256(weights).hexdigest()
    assert model.size == sum((model.folder / name).stat().st_size for name in [*FILES, "SHA256SUMS"])


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    refused(folder, rf"copy/{name} is damaged or was changed; export or install the model again$")


@pytest.mark.parametrize("name", [*FILES[:3], "SHA256SUMS"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(folder, rf"copy: incomplete model folder \(.*{name}.*\); export or install it again$")


@pytest.mark.parametrize("name", FILES)
def test_every_file_that_is_used_must_have_its_sum(folder, name):
    sums = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in sums if name not in line))
    refused(folder, rf"SHA256SUMS does not name {name}; export the model again$")


@pytest.mark.parametrize("text", [b"no sums at all\n", b"\xff\xfe\x00"])
def test_sums_that_are_none_are_refused(folder, text):
    (folder / "SHA256SUMS").write_bytes(text)
    refused(folder, "incomplete model folder")


def test_the_sums_are_those_of_sha256sum(tiny):
    folder = tiny("tiny-x2")
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    assert sorted(lines) == sorted(
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in FILES
    )


def resealed(folder):
    """The folder with sums of what is in it, as somebody would write who damages it on purpose."""
    sums = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in FILES)
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def header_only(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\xff" * 64,  # a header of 2**64 bytes
        header_only("{"),
        header_only("[]"),
        header_only("{}"),
        header_only('{"__metadata__": {"format": "pt"}}'),
        header_only('{"__metadata__": {"bdflow": "[1]"}}'),
        header_only(json.dumps({"__metadata__": {"bdflow": json.dumps({"name": "a", "model": {}})}})),
        header_only(json.dumps({"__metadata__": {"bdflow": json.dumps({"model": {"scale": 2}})}})),
    ],
)
def test_other_weights_are_refused(folder, data):
    (folder / zoo.WEIGHTS).write_bytes(data)
    refused(resealed(folder), "weights.safetensors: not weights of a bdflow model")


@pytest.mark.parametrize("data", [b"not a graph", None])
def test_what_is_no_graph_is_refused(folder, data):
    graph = folder / "down.onnx"
    graph.write_bytes(graph.read_bytes()[:200] if data is None else data)
    refused(resealed(folder), r"down\.onnx: it is damaged, or no ONNX graph$")


def test_a_graph_that_cannot_be_loaded_gives_one_line(folder):
    (folder / "down.onnx").write_bytes(b"")  # a message without fields: in form, a graph
    rescaler = Rescaler(zoo.find(resealed(folder), trust=True))
    with pytest.raises(BDFlowError, match=r"down.onnx: ONNX Runtime cannot load it: .") as caught:
        rescaler.downscale(b"P5 8 8 255 " + bytes(64))
    assert "\n" not in str(caught.value)


REACHES = [
    *CONFIGS.values(),
    NetworkConfig(scale=4, features=4, blocks=(1, 2)),
    NetworkConfig(scale=2, features=4, blocks=1, block="dense"),
    NetworkConfig(scale=4, features=4, blocks=1, wavelet="cdf53"),
    NetworkConfig(scale=8, features=4, blocks=0, wavelet="cdf53"),
    NetworkConfig(network="hcflow", scale=8, features=4, blocks=(0, 1, 2), boundary_bits=0),
    NetworkConfig(network="tar", scale=8, features=4, blocks=(2, 0, 1), boundary_bits=0),
]


@pytest.mark.parametrize(
    "config", REACHES, ids=lambda c: f"{c.network}-x{c.scale}-{c.block}-{c.wavelet}-{c.blocks}"
)
def test_reach_is_how_far_a_change_spreads(config, tmp_path):
    """NaN in one cell gives NaN nowhere beyond the reach, and as far as it, to within a cell.

    (A small change would not do: after twenty convolutions nothing of it is left at the far end.)
    """
    network = stir(build(config)).double()
    model = zoo.Model(tmp_path, {"name": "a", "model": json.loads(json.dumps(to_dict(config)))}, "")
    scale, reach = config.scale, model.reach
    middle = -(-reach // scale) + 2
    cells = 2 * middle + 1
    x = torch.rand(1, 3, 4 * scale, cells * scale, dtype=torch.float64)
    with torch.no_grad():
        y, b, z = network(x)
        x[..., middle * scale : (middle + 1) * scale] = torch.nan
        down = [spread(part) for part in network(x) if part is not None and part.numel()]
        for part in (y, b, z):
            if part is not None:
                part[..., middle] = torch.nan
        up = spread(network.inverse(y, b, z))
    # Cells of the small picture that a pixel can touch, then pixels that a cell can touch.
    assert max(max(middle - first, last - middle) for first, last in down) <= -(-reach // scale)
    assert up[0] >= middle * scale - reach
    assert up[1] < (middle + 1) * scale + reach
    if config.network != "hcflow":  # where the reach is an upper bound
        assert up[0] <= middle * scale - reach + scale


def spread(x: torch.Tensor) -> tuple[int, int]:
    """First and last column that holds a NaN."""
    columns = x.isnan().any(dim=(0, 1, 2)).nonzero()
    return int(columns.min()), int(columns.max())
