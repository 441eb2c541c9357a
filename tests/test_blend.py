"""scripts/blend.py: weights between a model and the run that began with it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bdflow.train.run import run
from bdflow.train.state import LAST
from bdflow.zoo import WEIGHTS, find

SCRIPT = Path(__file__).parent.parent / "scripts" / "blend.py"


def blend(*arguments):
    done = subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


def weights(folder, kind="ema"):
    return torch.load(folder / LAST, weights_only=True)[kind]


@pytest.fixture(scope="module")
def tuned(pictures, tmp_path_factory):
    """A run of one step from photos-x2."""
    out = tmp_path_factory.mktemp("tuned")
    small = ["data.crop=16", "data.sides=[16, 32]", "data.batch_size=1", "data.validation=0", "optim.ema=0.5"]
    run(None, [pictures], out, start="photos-x2", steps=1, settings=small, device="cpu")
    return out


def test_weights_part_way(tuned, tmp_path):
    before, after = load_file(find("photos-x2").folder / WEIGHTS), weights(tuned)
    for share in (0, 0.25):
        assert blend(tuned, share, "-o", tmp_path / str(share)) == (0, "")
        for key, value in weights(tmp_path / str(share)).items():
            start = before[key].to(value.dtype)
            torch.testing.assert_close(value, start + share * (after[key] - start))
    assert any(not torch.equal(after[key], before[key].to(after[key].dtype)) for key in after)


def test_what_cannot_be_blended_is_said(tuned, tmp_path):
    assert blend(tuned, 0.5, "-o", tuned)[0] == 1  # a run is never written over
    assert blend(tuned, 1.5, "-o", tmp_path / "new") == (1, "blend: a share is from 0 to 1, not 1.5")
    state = torch.load(tuned / LAST, weights_only=True)
    for origin, said in (
        (None, "it began from nothing; give one that was trained with --from"),
        (
            state["origin"] | {"weights_sha256": "ab"},
            "it began with other weights than those that photos-x2 has now",
        ),
    ):
        torch.save(state | {"origin": origin}, tmp_path / LAST)
        assert blend(tmp_path, 0.5, "-o", tmp_path / "new") == (1, f"blend: {tmp_path}: {said}")
    torch.save(state | {"model": {}}, tmp_path / LAST)
    said = "its network has more levels than that of photos-x2"
    assert blend(tmp_path, 0.5, "-o", tmp_path / "new") == (1, f"blend: {tmp_path}: {said}")
