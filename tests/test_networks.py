"""Torch without training: what runs the networks needs torch and safetensors, and no arrow points back."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bdflow
from bdflow import BDFlowError
from bdflow.system import extras

ROOT = Path(bdflow.__file__).parent
TRAINING = ("lightning_fabric", "tensorboardX", "onnxscript", "onnx", "msgspec")

# Some packages are not installed: nobody finds them.
LACKING = """
import sys
from importlib.machinery import PathFinder

class Lacking(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in LACKED else PathFinder.find_spec(name, path, target)

LACKED = sys.argv[1].split(",")
sys.meta_path[sys.meta_path.index(PathFinder)] = Lacking
"""
COMMAND = """
from bdflow.cli.main import main

status = main(sys.argv[2:])
assert not set(LACKED) & set(sys.modules)
sys.exit(status)
"""


def lacking(packages, code, *arguments):
    command = [sys.executable, "-c", LACKING + code, ",".join(packages), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def photo(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (19, 21, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("option", [("--backend", "torch"), ("--refine", 2)])
def test_torch_runs_a_model_where_nothing_of_training_is_installed(tiny, photo, option):
    model = ("-m", tiny("tiny-x2"), "--trust", "--threads", 1)
    done = lacking(TRAINING, COMMAND, "downscale", photo, "-o", "small.png", *model, *option)
    assert done.returncode == 0, done.stderr
    options = option if option[0] == "--backend" else ()
    done = lacking(TRAINING, COMMAND, "upscale", "small.png", "-o", "restored.png", *model, *options)
    assert done.returncode == 0, done.stderr
    # The same as where all is installed.
    rescaler = bdflow.load(
        tiny("tiny-x2"), threads=1, trust=True, backend="torch" if options else "onnxruntime"
    )
    here = np.asarray(rescaler.upscale("small.png"))
    assert (np.asarray(Image.open("restored.png")) == here).all()


@pytest.mark.parametrize(
    ("packages", "named"),
    [
        (["torch"], "torch"),
        (["safetensors"], "safetensors"),
        (extras.EXTRAS["torch"], "torch and safetensors"),
    ],
)
def test_without_torch_one_line_says_how_to_install_it(tiny, photo, packages, named):
    model = ("downscale", photo, "-o", "small.png", "-m", tiny("tiny-x2"), "--trust")
    for option, what in ((("--backend", "torch"), "backend torch"), (("--refine", 2), "refining")):
        done = lacking(packages, COMMAND, *model, *option)
        line = f'bdflow: {what} needs {named}: pip install "bdflow[torch]"\n'
        assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert not Path("small.png").exists()


def test_networks_are_imported_without_training(tmp_path):
    code = """
import importlib
for name in sys.argv[2:]:
    importlib.import_module(name)
assert "torch" in sys.modules
assert not [name for name in sys.modules if name.startswith("bdflow.train")]
"""
    names = [f"bdflow.networks.{path.stem}" for path in (ROOT / "networks").glob("[!_]*.py")]
    done = lacking(TRAINING, code, "bdflow.runtime.refine", "bdflow.runtime.backends", *names)
    assert done.returncode == 0, done.stderr


def test_what_the_runtime_reads_of_networks_does_not_load_torch():
    done = lacking(
        ("torch", "safetensors"), "import bdflow.networks.config, bdflow.networks.facts, bdflow.zoo"
    )
    assert done.returncode == 0, done.stderr


def test_the_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]

    def packages(extra: str) -> set[str]:
        named = [line.split(">")[0].replace("-", "_") for line in declared[extra]]
        nested = {name for line in named if line == "bdflow[torch]" for name in packages("torch")}
        return {name.split("[")[0] for name in named if not name.startswith("bdflow[")} | nested

    for extra, imports in extras.EXTRAS.items():
        assert set(imports) == packages(extra)


def test_what_is_missing_is_named(monkeypatch):
    lacked = {"torch"}
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name in lacked else name)
    extras.needs("openvino")
    assert extras.missing("train") == ["torch"]
    with pytest.raises(BDFlowError, match=r'^this needs torch: pip install "bdflow\[train\]"$'):
        extras.needs("train")
    lacked |= {"msgspec", "lightning_fabric"}
    with pytest.raises(BDFlowError, match=r"^x needs torch, lightning-fabric and msgspec: pip install "):
        extras.needs("train", what="x")
    extras.needs("train", "onnx")
    lacked |= {"ncnn"}
    with pytest.raises(BDFlowError, match=r"^y needs ncnn: pip install ncnn, and pip install --no-deps"):
        extras.needs("realesrgan", what="y")
