"""Held-out pictures: never trained on, scored with the weights that would ship."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import STEPS, assert_same, rows, state, trainer_of

from bdflow.train import losses, trainer
from bdflow.train.trainer import psnr


def test_held_out_pictures_are_not_trained_on(pictures, tmp_path):
    run = trainer_of(pictures, tmp_path, validation=3)
    assert [path.name for path in run.crops.pictures.paths] == [f"{i}.png" for i in (1, 2, 4, 5, 7, 8, 9)]
    for tensor, i in zip(run.held_out, (0, 3, 6), strict=True):
        pixels = np.asarray(Image.open(pictures / f"{i}.png"))
        top, left = (pixels.shape[0] - 32) // 2, (pixels.shape[1] - 32) // 2
        expected = torch.from_numpy(pixels[top : top + 32, left : left + 32].copy()).permute(2, 0, 1)[None]
        assert torch.equal((tensor * 255).round().byte(), expected)


def test_held_out_pictures_of_different_sizes_share_a_sheet(pictures, tmp_path):
    run = trainer_of(pictures, tmp_path, steps=1, scale=4, validation=5, validation_size=512)
    assert [tuple(x.shape[-2:]) for x in run.held_out] == [(40, 44), (44, 44), (40, 44), (40, 44), (44, 44)]
    run = trainer_of(pictures, tmp_path, steps=1, scale=4, validation=3, validation_size=512)
    assert [tuple(x.shape[-2:]) for x in run.held_out] == [(40, 44), (40, 40), (40, 44)]
    run.fit()
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 44, 3 * 40)


def test_nothing_held_out(pictures, tmp_path):
    trainer_of(pictures, tmp_path, validation=0).fit()
    assert not (tmp_path / "sheet.png").exists()
    assert not any(name == "psnr_y" for _, name, _ in rows(tmp_path))


def test_validation_scores_the_moving_average_and_leaves_training_alone(pictures, tmp_path):
    for every in (1, 100):
        trainer_of(pictures, tmp_path / str(every), validate_every=every).fit()
    assert_same(*(state(tmp_path / str(every))["model"] for every in (1, 100)))
    run = trainer_of(pictures, tmp_path / "1")
    scores = {}
    for name, weights in (("ema", run.ema), ("raw", run.raw.state_dict())):
        model = trainer.network_of(run.config)
        model.load_state_dict(weights)
        scores[name] = trainer.validate(model, run.held_out)[0]["psnr_y"]
    last = next(value for step, name, value in rows(tmp_path / "1") if (step, name) == (STEPS, "psnr_y"))
    assert last == pytest.approx(scores["ema"], rel=1e-5)
    assert abs(scores["ema"] - scores["raw"]) > 1e-3 * scores["ema"]


def test_the_untrained_network_scores_what_its_thumbnail_is_worth(pictures, tmp_path):
    """Y is then the mean of 2x2, and restoring repeats it."""
    run = trainer_of(pictures, tmp_path, boundary_bits=0)
    scores, sheet = trainer.validate(run.raw, run.held_out)
    for key in scores:
        assert 10 < scores[key] < 60
    means = [torch.nn.functional.avg_pool2d(x, 2) for x in run.held_out]
    small = [(y * 255).round() / 255 for y in means]
    bicubic = [losses.bicubic_down(x, 2) for x in run.held_out]
    expected = sum(psnr(a, b) for a, b in zip(small, bicubic, strict=True)) / 2
    assert scores["lr_psnr"] == pytest.approx(expected, abs=0.05)
    repeated = [y.repeat_interleave(2, 2).repeat_interleave(2, 3) for y in small]
    luma = trainer.luma
    expected = sum(psnr(luma(a), luma(x)) for a, x in zip(repeated, run.held_out, strict=True)) / 2
    assert scores["psnr_y"] == pytest.approx(expected, abs=0.05)
    torch.testing.assert_close(sheet[:, :32, :32], repeated[0][0], rtol=0, atol=1 / 254)
    assert torch.equal(sheet[:, :32, 64:], run.held_out[0][0])
