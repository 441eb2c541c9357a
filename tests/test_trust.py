"""Which models are loaded: those whose digests the package knows, and others where they are trusted."""

import hashlib
import os
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from small_files import saved_again
from tiny_models import CONFIGS

import bdflow
from bdflow import BDFlowError, zoo
from bdflow.pictures import reader
from bdflow.runtime.rescaler import Rescaler
from bdflow.zoo import graphs

FILES = ["down.onnx", "sample.onnx", "up.onnx", "weights.safetensors"]
FOREIGN = "not one of the models that came with bdflow; if you trust who made it, add --trust"


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    """A copy of tiny-x2 that may be changed; no built-in model."""
    return shutil.copytree(tiny("tiny-x2"), tmp_path / "copy")


def reseal(folder: Path, *more: str) -> None:
    """Make the folder vouch for itself, as anybody can."""
    names = [*FILES, *more]
    sums = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (folder / "SHA256SUMS").write_text("".join(sums))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(BDFlowError, match=match) as caught:
        zoo.find(folder, trust=True)
    assert str(caught.value).isprintable()


# What the package knows


def test_the_list_of_built_in_models_agrees_with_their_files():
    """If it does not: `bdflow export` into the package brings it up to date, and so does `make docs`."""
    listed = (zoo.BUILT_IN / "SHA256SUMS").read_text().splitlines()
    found = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(zoo.BUILT_IN).as_posix()}"
        for path in zoo.BUILT_IN.glob("*/*")
        if path.name in (*FILES, zoo.HALO)
    ]
    assert sorted(listed) == sorted(found)


def test_the_list_is_written_by_the_export_of_a_built_in_model(built_in, tiny, tmp_path, monkeypatch):
    from tiny_models import TRAINING, config, graphs_of, network

    from bdflow.train.export import export

    monkeypatch.setattr("bdflow.train.export.write_graph", graphs_of(tiny("tiny-x2")))
    weights = network("tiny-x2").state_dict()
    before = (built_in / "SHA256SUMS").read_text()
    export(config("tiny-x2"), weights, tmp_path / "own", TRAINING)
    assert (built_in / "SHA256SUMS").read_text() == before
    export(config("tiny-x2"), weights, built_in / "another-x2", TRAINING)
    assert zoo.find("another-x2").scale == 2
    assert zoo.find("tiny-x4").scale == 4


def test_a_foreign_folder_needs_trust(built_in, tiny):
    with pytest.raises(BDFlowError) as caught:
        zoo.find(tiny("tiny-x8"))
    assert str(caught.value) == f"{tiny('tiny-x8')}: {FOREIGN} (in Python: trust=True)"
    assert zoo.find(tiny("tiny-x8"), trust=True).scale == 8


def test_a_copy_of_a_built_in_model_is_known_wherever_it_lies(built_in, folder):
    assert zoo.find(folder).name == "tiny-x2"
    (folder / "card.md").write_text("remarks are not part of it")
    assert zoo.find(folder).name == "tiny-x2"


def test_files_of_two_built_in_models_are_no_model(built_in, tiny, folder):
    shutil.copy(tiny("tiny-x4") / "up.onnx", folder)
    reseal(folder)
    with pytest.raises(BDFlowError, match=FOREIGN):
        zoo.find(folder)


def test_what_was_put_beside_the_built_in_models_is_not_one_of_them(built_in, tiny):
    (built_in / "tiny-x8").symlink_to(tiny("tiny-x8"), target_is_directory=True)
    for find in (lambda: zoo.find("tiny-x8"), lambda: zoo.find_maker("tiny-x8", bytes(8))):
        with pytest.raises(BDFlowError, match=FOREIGN):
            find()


@pytest.mark.parametrize("verb", ["downscale", "upscale", "evaluate", "compare", "train"])
def test_every_verb_that_loads_a_model_asks_for_trust(shell, built_in, tiny, photo, verb):
    made, bare = bdflow.downscale(photo, model=tiny("tiny-x8"), trust=True), Path("bare.png")
    bare.write_bytes(saved_again(made.to_bytes(), "PNG"))
    arguments = {
        "downscale": (photo, "--model", tiny("tiny-x8")),
        "upscale": (bare, "--model", tiny("tiny-x8")),
        "evaluate": (tiny("tiny-x8"), "."),
        "compare": (photo, "--model", tiny("tiny-x8")),
        "train": ("--from", tiny("tiny-x8"), "--data", ".", "--out", "run", "--steps", "1"),
    }[verb]
    files = sorted(Path().iterdir())
    status, out, err = shell(verb, *arguments)
    assert (status, out) == (1, b"")
    assert err == f"bdflow: {tiny('tiny-x8')}: {FOREIGN} (in Python: trust=True)\n"
    assert sorted(Path().iterdir()) == files
    if verb in ("downscale", "upscale"):
        assert shell(verb, *arguments, "--trust")[0] == 0


def test_every_way_in_python_asks_for_trust(built_in, tiny, photo):
    from bdflow.runtime.restorer import Restorer

    ways = (
        bdflow.load,
        lambda model, **trust: bdflow.downscale(photo, model=model, **trust),
        lambda model, **trust: bdflow.upscale(made, model=model, **trust),
        Restorer,
    )
    made = bdflow.downscale(photo, model=tiny("tiny-x8"), trust=True)
    for way in ways:
        with pytest.raises(BDFlowError, match=FOREIGN):
            way(tiny("tiny-x8"))
        way(tiny("tiny-x8"), trust=True)


# What a foreign folder may not do, trusted or not


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/hostname", "..", ".", "a/b", "a\\b", ""])
def test_sums_name_files_of_their_folder_alone(folder, name):
    with (folder / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  {name}\n")
    refused(folder, "which is no file of that folder")


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    outside = (folder / "down.onnx").rename(tmp_path / "outside.onnx")
    (folder / "down.onnx").symlink_to(outside)
    refused(folder, "names 'down.onnx', which is no file of that folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["SHA256SUMS", "down.onnx"])
def test_a_pipe_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, "incomplete model folder .* is no ordinary file")


def test_absurd_lengths_are_refused_before_memory_is_taken(folder):
    with (folder / "SHA256SUMS").open("r+b") as file:
        file.truncate(1 << 40)
    refused(folder, "SHA256SUMS has more than 65,536 bytes")
    with (folder / "up.onnx").open("r+b") as file:
        file.truncate(graphs.MAX_GRAPH + 1)
    reseal(folder)
    refused(folder, r"up\.onnx has more than 67,108,864 bytes")


HEADERS = {
    "nested too deep": b"[" * 200_000,
    "a header of 2 GB": b"",
    "a scale that is no whole number": b'{"__metadata__": {"bdflow": "{\\"name\\": \\"a\\", \\"model\\":'
    b' {\\"scale\\": Infinity, \\"boundary_bits\\": 1}}"}}',
    "a scale of 3": b'{"__metadata__": {"bdflow": "{\\"name\\": \\"a\\", \\"model\\":'
    b' {\\"scale\\": 3, \\"boundary_bits\\": 1}}"}}',
    "no blocks": b'{"__metadata__": {"bdflow": "{\\"name\\": \\"a\\", \\"model\\":'
    b' {\\"scale\\": 2, \\"boundary_bits\\": 1}}"}}',
    "9 bits": b'{"__metadata__": {"bdflow": "{\\"name\\": \\"a\\", \\"model\\":'
    b' {\\"scale\\": 2, \\"boundary_bits\\": 9}}"}}',
    "an escape in its name": b'{"__metadata__": {"bdflow": "{\\"name\\": \\"\\\\u001b[2J\\", \\"model\\":'
    b' {\\"scale\\": 2, \\"boundary_bits\\": 1}}"}}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_absurd_weights_give_one_line(folder, header):
    length = len(header) or 2 << 30
    (folder / zoo.WEIGHTS).write_bytes(length.to_bytes(8, "little") + header)
    reseal(folder)
    refused(folder, "weights.safetensors: not weights of a bdflow model")


def changed(graph: bytes, kind: str) -> bytes:
    """A graph of bdflow's after somebody meant harm."""
    model = onnx.ModelProto.FromString(graph)
    if kind == "other file":
        model.graph.initializer[0].external_data[0].value = "../../secret"
    elif kind == "file by its root":
        model.graph.initializer[0].external_data[0].value = "/etc/hostname"
    elif kind == "address in memory":
        model.graph.initializer[0].external_data[0].value = "*/_ORT_MEM_ADDR_/*"
    elif kind == "other file, named again":
        model.graph.initializer[0].external_data.add(key="location", value="other")
    elif kind == "other file in a constant":
        tensor = TensorProto(name="c", data_type=1, dims=[1], data_location=1)
        tensor.external_data.add(key="location", value="other")
        model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    elif kind == "other file in a sparse constant":
        sparse = onnx.SparseTensorProto(dims=[1])
        sparse.values.external_data.add(key="location", value="other")
        model.graph.sparse_initializer.append(sparse)
    elif kind == "operator of a library":
        model.graph.node[0].domain = "com.microsoft"
    elif kind == "loop":
        body = helper.make_graph([helper.make_node("Neg", ["a"], ["b"])], "body", [], [])
        model.graph.node.append(helper.make_node("Loop", ["n"], ["m"], body=body))
    elif kind == "function":
        model.functions.append(onnx.FunctionProto(name="f", domain="d"))
    elif kind == "training":
        model.training_info.add()
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("other file", r"it reads '\.\./\.\./secret', not weights\.safetensors"),
        ("file by its root", "it reads '/etc/hostname', not"),
        ("address in memory", "it reads .*MEM_ADDR.*, not"),
        ("other file, named again", "it reads 'other', not"),
        ("other file in a constant", "it reads 'other', not"),
        ("other file in a sparse constant", "it reads 'other', not"),
        ("operator of a library", r"it needs operators of 'com\.microsoft', not ONNX's own"),
        ("loop", "it holds graphs within graphs, which bdflow's graphs do not"),
        ("function", "it holds functions"),
        ("training", "it holds training"),
    ],
)
def test_a_graph_that_reaches_beyond_itself_never_comes_to_onnx_runtime(folder, monkeypatch, kind, message):
    (folder / "up.onnx").write_bytes(changed((folder / "up.onnx").read_bytes(), kind))
    reseal(folder)
    monkeypatch.setattr("onnxruntime.InferenceSession", None)
    refused(folder, rf"^{folder / 'up.onnx'}: {message}")


@pytest.mark.parametrize("name", CONFIGS)
def test_what_bdflow_exports_passes(tiny, name):
    for graph in ("down.onnx", "sample.onnx", "up.onnx"):
        graphs.check((tiny(name) / graph).read_bytes(), zoo.WEIGHTS)


def test_the_built_in_graphs_would_pass():
    for path in zoo.BUILT_IN.glob("*/*.onnx"):
        graphs.check(path.read_bytes(), zoo.WEIGHTS)


@pytest.mark.parametrize("data", [b"\x0b", b"\x3a\x05ab", b"\x00\x00", b"\xff" * 12, b"\x3a", b"\x09abc"])
def test_what_is_no_graph_is_refused(data):
    with pytest.raises(BDFlowError, match="damaged, or no ONNX graph"):
        graphs.check(data, zoo.WEIGHTS)


def test_a_tensor_beyond_the_end_of_the_weights_is_one_line(folder):
    """The judge lets it pass: ONNX Runtime knows the length of its file."""
    model = onnx.ModelProto.FromString((folder / "up.onnx").read_bytes())
    for item in model.graph.initializer[0].external_data:
        if item.key == "offset":
            item.value = str(1 << 40)
    (folder / "up.onnx").write_bytes(model.SerializeToString())
    reseal(folder)
    rescaler = Rescaler(zoo.find(folder, trust=True))
    with pytest.raises(BDFlowError, match=r"up\.onnx: ONNX Runtime cannot load it: "):
        rescaler.upscale(reader.read(b"P5 4 4 255 " + bytes(16)))
