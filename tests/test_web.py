"""Weights for web pages, and the JavaScript that reads them: vectors for both languages, its own tests."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from bdflow import zoo
from bdflow.networks.restoration import Restoration, RestorationConfig, Restore
from bdflow.runtime.enhancer import Enhancer
from bdflow.runtime.tiles import cut
from bdflow.smallfile.container import read
from bdflow.zoo import web

ROOT = Path(__file__).parents[1]
VECTORS = Path(__file__).parent / "vectors"
PRECISIONS = ("float16", "int8")


@pytest.fixture
def model(tiny_restoration) -> zoo.Model:
    return zoo.find(tiny_restoration, trust=True)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_manifest_seals_the_file(model, tmp_path, precision):
    path = web.export_web(model, tmp_path / "web", precision)
    assert path == tmp_path / "web" / "restoration-fidelity.json"
    manifest = json.loads(path.read_text())
    data = (path.parent / manifest["file"]).read_bytes()
    assert manifest["sha256"] == hashlib.sha256(data).hexdigest()
    assert manifest["file"] == f"restoration-fidelity-{manifest['sha256'][:8]}.safetensors"
    assert (manifest["bytes"], manifest["version"]) == (len(data), 1)
    assert manifest["model"] == model.metadata["model"]
    assert (manifest["halo"], manifest["reach"]) == (64, 64)
    assert manifest["weights"] == model.weights_sha256
    assert sorted(file.name for file in path.parent.iterdir()) == sorted([path.name, manifest["file"]])
    said = zoo.read_metadata(path.parent / manifest["file"])
    assert said == {key: manifest[key] for key in said}


def test_float16_is_the_model_itself_and_int8_within_half_a_step(model, tmp_path):
    exact = load_file(model.folder / zoo.WEIGHTS)
    files = {}
    for precision in PRECISIONS:
        manifest = json.loads(web.export_web(model, tmp_path / precision, precision).read_text())
        files[precision] = tmp_path / precision / manifest["file"]
        tensors = web.read_tensors(files[precision])
        by_safetensors = load_file(files[precision])
        assert by_safetensors.keys() == tensors.keys()
        for name, values in by_safetensors.items():
            np.testing.assert_array_equal(values, tensors[name])
    halved = web.read_tensors(files["float16"])
    assert halved.keys() == exact.keys()
    tensors = web.read_tensors(files["int8"])
    computed = web.restored(tensors)
    assert computed.keys() == exact.keys()
    for name, values in exact.items():
        np.testing.assert_array_equal(halved[name], values)
        if values.ndim == 1:
            np.testing.assert_array_equal(computed[name], values)
            continue
        step = np.abs(values.astype(float)).reshape(len(values), -1).max(axis=1) / 127
        assert tensors[name].dtype == np.int8
        off = np.abs(computed[name] - values.astype(float)).reshape(len(values), -1).max(axis=1)
        assert (off <= step / 2 + 1e-7).all()


def test_a_channel_of_zeros_stays_so():
    tensors = web.quantized({"layer.weight": np.zeros((2, 3, 1, 1), np.float16)})
    np.testing.assert_array_equal(web.restored(tensors)["layer.weight"], 0)


def test_by_the_command_line(shell, restoring):
    status, out, err = shell("export", "restoration-fidelity", "--web", "page")
    assert (status, out, err) == (0, b"", f"{Path('page/restoration-fidelity.json')}: exported\n")
    assert json.loads(Path("page/restoration-fidelity.json").read_text())["precision"] == "int8"
    shell("export", "restoration-fidelity", "--web", "page", "--precision", "float16")
    assert json.loads(Path("page/restoration-fidelity.json").read_text())["precision"] == "float16"
    status, _, err = shell("export", "restoration-fidelity", "--web", "page", "--output", "model")
    assert (status, "say where to" in err) == (1, True)


# Vectors: BDFLOW_REGEN_GOLDEN=1 writes what is missing; what is there is never written anew.

FILES = ("x1.avif", "alpha-x1.5.avif", "gray-x3.avif", "x2.webp", "gray-x4.webp", "x2.jpg", "gray-x8.jpg")
CUTS = [(1, 1, 160, 8), (40, 300, 40, 8), (300, 200, 160, 16), (1000, 1000, 160, 16), (7, 2000, 53, 6)]


@pytest.fixture(scope="module")
def enhancers(tiny_restoration) -> dict[str, Enhancer]:
    """Python's, with the numbers of each of the vectors' weights files."""
    made = {}
    for precision in PRECISIONS:
        manifest = json.loads((VECTORS / precision / "restoration-fidelity.json").read_text())
        network = Restoration(RestorationConfig(**manifest["model"]))
        numbers = web.restored(web.read_tensors(VECTORS / precision / manifest["file"]))
        network.load_state_dict({name: torch.from_numpy(values) for name, values in numbers.items()})
        made[precision] = Enhancer(zoo.find(tiny_restoration, trust=True))
        session = partial(restore, Restore(network.eval()))
        made[precision]._network = partial(_network, session)
    return made


def _network(session: Callable[..., list[np.ndarray]], graph: str) -> Callable[..., list[np.ndarray]]:
    return session


@torch.no_grad()
def restore(network: Restore, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Stands for a session of ONNX Runtime."""
    return [network(torch.from_numpy(inputs["plain"]), torch.from_numpy(inputs["known"])).numpy()]


def rgba(image) -> np.ndarray:
    return np.asarray(image.convert("RGBA"))


def in_text(samples: np.ndarray) -> str:
    return base64.b64encode(samples.tobytes()).decode()


def test_vectors(enhancers):
    path = VECTORS / "restorations.json"
    if os.environ.get("BDFLOW_REGEN_GOLDEN") and not path.exists():
        entries = []
        for number, name in enumerate(FILES):
            small, precision = read((VECTORS / name).read_bytes()), PRECISIONS[number % 2]
            samples, restored = rgba(small.image.to_pil()), rgba(enhancers[precision].restore(small))
            entry = {"file": name, "precision": precision}
            entries.append(entry | {"samples": in_text(samples), "restored": in_text(restored)})
        cuts = [
            {"arguments": case, "spans": [[span_of(each) for each in spans] for spans in cut(*case)]}
            for case in CUTS
        ]
        path.write_text(json.dumps({"restorations": entries, "tiles": cuts}, indent=1) + "\n")
    vectors = json.loads(path.read_text())
    assert [entry["file"] for entry in vectors["restorations"]] == list(FILES)
    for entry in vectors["restorations"]:
        small = read((VECTORS / entry["file"]).read_bytes())
        assert in_text(rgba(small.image.to_pil())) == entry["samples"]
        restored = rgba(enhancers[entry["precision"]].restore(small)).astype(int)
        expected = np.frombuffer(base64.b64decode(entry["restored"]), np.uint8).reshape(restored.shape)
        assert np.abs(restored - expected).max() <= 1
        plain = rgba(small.image.to_pil().resize(small.size))
        assert np.abs(plain.astype(int) - expected).max() > 1  # the network does something
    for entry in vectors["tiles"]:
        found = [[span_of(each) for each in spans] for spans in cut(*entry["arguments"])]
        assert found == entry["spans"]


def span_of(span) -> list[int]:
    return [span.seen.start, span.seen.stop, span.kept.start, span.kept.stop]


# The package's own tests


def test_the_javascript_package():
    node, clang = shutil.which("node"), shutil.which(os.environ.get("CLANG", "clang"))
    if not node or not clang or not shutil.which("wasm-ld"):
        pytest.skip("the JavaScript package was not tested: it needs node, and clang and lld for its kernels")
    for command in (["build.js", "kernels"], ["--test", "test/"]):
        done = subprocess.run(
            [node, *command], cwd=ROOT / "web", capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_pngs_model_is_exported_as_it_is(tiny, tmp_path):
    model = zoo.find(tiny("tiny-x4"), trust=True)
    path = web.export_web(model, tmp_path)
    manifest = json.loads(path.read_text())
    assert path.name == "tiny-x4.json"
    assert (manifest["weights"], manifest["halo"]) == (model.weights_sha256, model.halo)
    for sealed, name in ((manifest, "weights.safetensors"), (manifest["graph"], "up.onnx")):
        data = (tmp_path / sealed["file"]).read_bytes()
        assert data == (model.folder / name).read_bytes()
        assert (sealed["bytes"], sealed["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert len(list(tmp_path.iterdir())) == 3


ORT = ROOT / "web" / "node_modules" / "onnxruntime-web"


def test_own_kernels_are_onnx_runtimes_within_a_level(tmp_path):
    """The oracle: the graph of restoration-fidelity on onnxruntime-web, beside the package's kernels."""
    if not ORT.is_dir() or not shutil.which("wasm-ld"):
        pytest.skip("the kernels were not tested: run npm ci in web/, with node, clang and lld at hand")
    subprocess.run(["node", "build.js", "kernels"], cwd=ROOT / "web", check=True)
    model = zoo.find_restoration()
    y, x = np.mgrid[:72, :104]
    waves = np.stack([np.sin(x * y / 300), np.sin(x / 5), np.cos(y / 7)], axis=2)
    photo = (128 + 90 * waves + np.random.default_rng(0).normal(0, 9, waves.shape)).clip(0, 255)
    (tmp_path / "samples").write_bytes(photo.astype(np.uint8).tobytes())
    manifest = json.loads(web.export_web(model, tmp_path, "float16").read_text())
    command = ["node", "oracle.js", model.folder, tmp_path / manifest["file"], tmp_path / "samples"]
    done = subprocess.run(
        [*command, "72", "104"], cwd=ROOT / "web", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["furthest"] <= 1
    assert said["changed"] > 3  # levels, at most, that the network adds or takes
