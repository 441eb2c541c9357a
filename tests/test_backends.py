"""What computes the networks: each backend restores the same picture, and says in one line what it lacks."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import bdflow
from bdflow import zoo
from bdflow.cli import arguments
from bdflow.quality.metrics import psnr_y
from bdflow.runtime import backends
from bdflow.runtime.computing import Computing
from bdflow.runtime.rescaler import Rescaler

PHOTOGRAPH = Path(bdflow.__file__).parent / "assets" / "astronaut.png"
LOSS = 0.06  # dB that half precision may cost; 0.053 at x2 on processors that multiply matrices in it


def load(folder: Path, **options) -> Rescaler:
    return Rescaler(zoo.find(folder, trust=True), Computing(threads=1, **options))


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (41, 45, 3), np.uint8)


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    return np.asarray(Image.open(PHOTOGRAPH).convert("RGB"))[40:203, 60:251]


@pytest.mark.parametrize("name", bdflow.list_models())
def test_torch_computes_what_onnx_runtime_does(name, crop):
    one, other = bdflow.load(name, threads=1), bdflow.load(name, threads=1, backend="torch")
    small, again = one.downscale(crop), other.downscale(crop)
    assert np.abs(small.image.rgb.astype(int) - again.image.rgb).max() <= 1
    restored = (np.asarray(model.upscale(small)).astype(int) for model in (one, other))
    assert np.abs(np.subtract(*restored)).max() <= 1
    drawn = (np.asarray(model.upscale(small, sigma=0.1, seed=1)) for model in (one, other))
    assert psnr_y(*drawn) > 50


@pytest.mark.skipif(not find_spec("openvino"), reason="openvino is not installed (bdflow[openvino])")
@pytest.mark.parametrize("name", bdflow.list_models())
def test_openvino_costs_next_to_nothing(name, crop, tmp_path):
    """In processes of its own: beside torch and worker processes that fork, OpenVINO has crashed."""

    def bdflow_with_openvino(*arguments):
        command = [sys.executable, "-m", "bdflow", *arguments, "--backend", "openvino", "--threads", "1"]
        subprocess.run(command, check=True, cwd=tmp_path, capture_output=True)

    model = bdflow.load(name, threads=1)
    small = model.downscale(crop)
    small.save(tmp_path / "small.png")
    Image.fromarray(crop).save(tmp_path / "photo.png")
    bdflow_with_openvino("upscale", "small.png", "-o", "restored.png")
    bdflow_with_openvino("downscale", "photo.png", "-m", name, "-o", "shrunk.png")
    exact = psnr_y(crop, np.asarray(model.upscale(small)))
    assert psnr_y(crop, np.asarray(Image.open(tmp_path / "restored.png"))) > exact - LOSS
    assert psnr_y(crop, np.asarray(model.upscale(tmp_path / "shrunk.png"))) > exact - LOSS


def test_a_backend_that_is_not_there(tiny, monkeypatch):
    monkeypatch.setattr("bdflow.system.extras.find_spec", lambda name: None)
    for backend, packages in (("openvino", "openvino"), ("torch", "torch and safetensors")):
        line = rf'^backend {backend} needs {packages}: pip install "bdflow\[{backend}\]"$'
        with pytest.raises(bdflow.BDFlowError, match=line):
            load(tiny("tiny-x2"), backend=backend)
    with pytest.raises(
        bdflow.BDFlowError, match=r"^no backend 'mlx': choose one of onnxruntime, openvino, torch$"
    ):
        load(tiny("tiny-x2"), backend="mlx")


def test_the_command_line_offers_what_there_is():
    assert get_args(arguments.Backend) == tuple(backends.BACKENDS)
    assert get_args(arguments.Device) == backends.DEVICES


def test_a_device_that_the_backend_cannot_use(tiny, monkeypatch):
    monkeypatch.setattr("bdflow.system.extras.find_spec", lambda name: name)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(bdflow.BDFlowError, match=r"^openvino cannot use cuda here: choose cpu$"):
        load(tiny("tiny-x2"), backend="openvino", device="cuda")
    with pytest.raises(bdflow.BDFlowError, match=r"^torch cannot use coreml here: choose cpu$"):
        load(tiny("tiny-x2"), backend="torch", device="coreml")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert backends.choose("auto", "torch") == "cuda"
    assert backends.choose("cpu", "torch") == "cpu"


def test_devices(tiny, monkeypatch):
    cpu, cuda, dml, coreml = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Dml", "CoreML"))

    def there(*names):
        monkeypatch.setattr(backends.onnxruntime, "get_available_providers", lambda: list(names))

    there(cpu)
    assert backends.choose("auto") == "cpu"
    for device in ("cuda", "coreml", "directml"):
        with pytest.raises(bdflow.BDFlowError, match=f"^the installed ONNX Runtime cannot use {device}: "):
            load(tiny("tiny-x2"), device=device)
    with pytest.raises(bdflow.BDFlowError, match=r"^no device 'gpu': choose one of auto, cpu, cuda, "):
        load(tiny("tiny-x2"), device="gpu")
    there(coreml, cpu)
    assert backends.choose("auto") == "cpu"
    assert backends.choose("coreml") == "coreml"
    there(dml, cuda, cpu)
    assert backends.choose("auto") == "cuda"
    assert backends.choose("cpu") == "cpu"


def test_a_device_that_was_asked_for_and_does_not_work_is_an_error(tiny, monkeypatch):
    """ONNX Runtime falls back on the processor with a log line; so does `auto`, and nothing else."""
    folder, names = tiny("tiny-x2"), ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(backends.onnxruntime, "get_available_providers", lambda: names)
    real = backends.onnxruntime.InferenceSession
    monkeypatch.setattr(
        backends.onnxruntime, "InferenceSession", lambda path, options, _: real(path, options, names[1:])
    )
    auto = load(folder)
    with monkeypatch.context() as context:
        waiting = SimpleNamespace(Lock=lambda: pytest.fail("runs wait in vain"))
        context.setattr(backends, "threading", waiting)
        assert auto.downscale(noise()).size == (45, 41)  # on the processor, several at a time
    with pytest.raises(bdflow.BDFlowError, match=r"^cuda does not work here .* take --device cpu$"):
        load(folder, device="cuda").downscale(noise())
