"""The package as users of Python meet it, and what it may and may not import."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_files import saved_again

import bdflow
from bdflow.pictures import reader
from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.quality.metrics import psnr, psnr_y
from bdflow.runtime import backends
from bdflow.smallfile import container

PHOTOGRAPH = Path(bdflow.__file__).parent / "assets" / "astronaut.png"
PICTURE = np.random.default_rng(0).integers(0, 256, (19, 21, 3), np.uint8)

# Refuses what the training half needs, as where only `pip install bdflow` was run.
WITHOUT_TRAINING = """
import sys

TRAINING = {"torch", "safetensors", "msgspec", "onnx", "onnxscript", "lightning_fabric", "tensorboardX"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in TRAINING:
            raise ImportError(f"the runtime must not import {name}")

sys.meta_path.insert(0, Refuse())
"""


def python(code: str, *arguments: str | Path) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_there():
    assert sorted(bdflow.__all__) == [
        "BDFlowError", "__version__", "downscale", "fit", "list_models", "load", "upscale",
    ]  # fmt: skip
    assert all(hasattr(bdflow, name) for name in bdflow.__all__)


def test_there_and_back_with_a_built_in_model(built_in, tmp_path):
    assert bdflow.list_models() == ["tiny-x2", "tiny-x4"]
    model = bdflow.load("tiny-x2", threads=1)
    small = model.downscale(PICTURE)
    small.save(tmp_path / "photo.x2.png")
    expected = np.asarray(model.upscale(small))
    for source in (small, tmp_path / "photo.x2.png", str(tmp_path / "photo.x2.png"), small.to_bytes()):
        np.testing.assert_array_equal(np.asarray(bdflow.upscale(source, threads=1)), expected)
    with (tmp_path / "photo.x2.png").open("rb") as file:
        np.testing.assert_array_equal(np.asarray(bdflow.upscale(file)), expected)


def test_one_call_shrinks_by_name_or_by_scale(built_in):
    by_name = bdflow.downscale(PICTURE, model="tiny-x4", threads=1)
    by_scale = bdflow.downscale(PICTURE, scale=4, threads=1)
    assert (by_name.model, by_name.scale) == (by_scale.model, by_scale.scale) == ("tiny-x4", 4)
    np.testing.assert_array_equal(by_name.image.rgb, by_scale.image.rgb)


def test_one_call_takes_a_limit_of_pixels(built_in, tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(PICTURE).save(photo)
    data = bdflow.downscale(photo, scale=2, threads=1, max_pixels=399).to_bytes()
    with pytest.raises(bdflow.BDFlowError, match=r"photo\.png: 21x19 is more than 398 pixels: reduce it"):
        bdflow.downscale(photo, scale=2, max_pixels=398)
    stripped = saved_again(data, "PNG")
    for model in (None, "tiny-x2"):
        assert bdflow.upscale(data, model=model, max_pixels=399).size == (21, 19)
        with pytest.raises(bdflow.BDFlowError, match=r"^the data: the photograph's 21x19 is more than 398"):
            bdflow.upscale(data, model=model, max_pixels=398)
        with pytest.raises(bdflow.BDFlowError, match="11x10 is more than 109 pixels: reduce it first"):
            bdflow.upscale(stripped, model=model, max_pixels=109)
    with pytest.raises(bdflow.BDFlowError, match="would become 22x20, more than 439 pixels"):
        bdflow.upscale(stripped, model="tiny-x2", max_pixels=439)


def test_one_call_restores_with_a_draw(built_in):
    small = bdflow.downscale(PICTURE, scale=2, threads=1)
    drawn = np.asarray(bdflow.upscale(small, sigma=0.3, seed=2, threads=1))
    expected = bdflow.load(scale=2, threads=1).upscale(small, sigma=0.3, seed=2)
    np.testing.assert_array_equal(drawn, np.asarray(expected))
    assert (drawn != np.asarray(bdflow.upscale(small, threads=1))).any()


def test_threads_reach_the_sessions(built_in, monkeypatch):
    seen, real = [], backends.onnxruntime.InferenceSession

    def session(path, options, providers):
        seen.append(options.intra_op_num_threads)
        return real(path, options, providers)

    monkeypatch.setattr(backends.onnxruntime, "InferenceSession", session)
    small = bdflow.downscale(PICTURE, scale=2, threads=2)
    bdflow.upscale(small, threads=3)
    bdflow.load("tiny-x2").downscale(PICTURE)
    assert seen == [2, 3, 0]  # 0 takes all cores


def test_a_file_of_a_model_that_is_not_built_in_says_what_is_needed(built_in, tiny, monkeypatch):
    data = bdflow.downscale(PICTURE, model=tiny("tiny-x8"), trust=True).to_bytes()
    monkeypatch.chdir(tiny("tiny-x8").parent)  # a folder of that name lies here, and is not taken
    with pytest.raises(bdflow.BDFlowError) as caught:
        bdflow.upscale(data)
    weights = bdflow.load(tiny("tiny-x8"), trust=True).model.weights_sha256[:16]
    assert str(caught.value) == (
        f"made by model 'tiny-x8' (weights {weights}), which does not come with this bdflow:"
        " get that model's folder and name it (--model FOLDER --trust)"
    )
    assert bdflow.upscale(data, model=tiny("tiny-x8"), trust=True).size == (21, 19)


def test_a_stripped_file_needs_the_model_named(built_in):
    data = saved_again(bdflow.downscale(PICTURE, scale=2).to_bytes(), "PNG")
    with pytest.raises(
        container.NoChunkError, match=r"If bdflow made it, name the model \(--model\)"
    ) as caught:
        bdflow.upscale(data)
    assert caught.value.picture.width == 11
    with pytest.warns(UserWarning, match="Restoring from the pixels alone"):
        restored = bdflow.upscale(data, model="tiny-x2")
    assert restored.size == (22, 20)


def test_the_runtime_works_without_torch(tiny, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "photo.png")
    code = (
        WITHOUT_TRAINING
        + """
from pathlib import Path

import bdflow
from bdflow import compare, methods
from bdflow.evaluation import demo, evaluate, report
from bdflow.quality import metrics
from bdflow.pictures import resize
from bdflow.compare import run

folder, photo = sys.argv[1:]
bdflow.list_models()
model = bdflow.load(folder, threads=1, trust=True)
small = model.downscale(photo)
small.save(photo + ".x2.png")
print(model.upscale(photo + ".x2.png", sigma=0.1).size, bdflow.upscale(small, model=folder, trust=True).size)
said = []
result = evaluate.evaluate(model, [Path(photo).parent], limit=1, say=said.append)
print(said[0])
assert "torch" not in sys.modules
"""
    )
    said = python(code, tiny("tiny-x2"), tmp_path / "photo.png").splitlines()
    assert said == [
        "(21, 19) (21, 19)",
        'without LPIPS: it needs torch: pip install "bdflow[torch]"',
    ]


@pytest.mark.parametrize(
    ("arguments", "status"), [("--help", 0), ("downscale --help", 0), ("--version", 0), ("downscale", 2)]
)
def test_help_loads_nothing_heavy(arguments, status):
    code = """
import sys
from bdflow.cli.main import main

try:
    status = main(sys.argv[1:])
except SystemExit as exit:
    status = exit.code
heavy = {"numpy", "PIL", "onnxruntime", "torch", "msgspec", "rich.progress"} & set(sys.modules)
print("\\n", status, sorted(heavy))
"""
    assert python(code, *arguments.split()).splitlines()[-1] == f" {status} []"


def test_importing_the_package_loads_nothing_at_all():
    code = "import sys, bdflow; print(sorted({'numpy', 'PIL', 'onnxruntime', 'cyclopts'} & set(sys.modules)))"
    assert python(code) == "[]\n"


@pytest.mark.parametrize("name", bdflow.list_models())
def test_quality_of_the_built_in_models_on_the_demonstration_photograph(name):
    """Measured on the stored file, as a user gets it; its colours are not those of portraits."""
    model = bdflow.load(name)
    true, scale = reader.read(PHOTOGRAPH).rgb, model.model.scale
    data = model.downscale(PHOTOGRAPH).to_bytes()
    restored = np.asarray(model.upscale(data))
    plain_small = bicubic_down(true, scale)
    plain = bicubic_up(plain_small, scale, true.shape[:2])
    assert psnr_y(true, restored) - psnr_y(true, plain) >= 1.5
    # Of the models whose B is free and holds their PSNR, less is asked.
    less = {"portraits-x8": (32, 27.5), "portraits-x64": (32, 26.5)}
    luma, colour = less.get(name, (34, 28.5))
    assert psnr_y(reader.read(data).rgb, plain_small) >= luma
    assert psnr(reader.read(data).rgb, plain_small) >= colour
