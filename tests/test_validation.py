"""Held-out pictures: never trained on, scored with the weights that would ship."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import STEPS, assert_same, rows, state, trainer_of

from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.quality.metrics import psnr, psnr_y
from bdflow.train import trainer
from bdflow.train.export import Down, Up


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
    for name, weights in (("ema", run.state.ema), ("raw", run.network.state_dict())):
        model = trainer.network_of(run.config)
        model.load_state_dict(weights)
        scores[name] = trainer.validate(model, run.held_out)[0]["psnr_y"]
    last = next(value for step, name, value in rows(tmp_path / "1") if (step, name) == (STEPS, "psnr_y"))
    assert last == pytest.approx(scores["ema"], rel=1e-5)
    assert abs(scores["ema"] - scores["raw"]) > 1e-3 * scores["ema"]


def test_the_weights_of_training_come_back_whatever_happens(pictures, tmp_path, monkeypatch):
    run = trainer_of(pictures, tmp_path, validate_every=2)
    trained = []

    def fails():
        trained.append({key: value.clone() for key, value in run.network.state_dict().items()})
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_scores", fails)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    (shipped,) = trained
    assert_same(shipped, run.state.ema)
    weights = dict(run.network.state_dict())
    assert any(not torch.equal(weights[key], shipped[key]) for key in weights)
    run.save()
    assert_same(dict(state(tmp_path)["model"]), weights)


def pixels(x):
    """uint8 (H, W, 3) of a picture (1, 3, H, W) in [0, 1]."""
    return (x[0] * 255).round().byte().permute(1, 2, 0).numpy()


def test_validation_has_the_measure_and_the_bicubic_of_everything_else(pictures, tmp_path):
    """Studio-range PSNR-Y of the 8-bit pictures that the exported graphs give, and Pillow's bicubic."""
    run = trainer_of(pictures, tmp_path)
    run.fit()
    scores, _ = trainer.validate(run.network, run.held_out)
    expected = {"psnr_y": [], "bicubic_psnr_y": [], "lr_psnr": []}
    for x in run.held_out:
        true = pixels(x)
        with torch.no_grad():
            small, boundary = Down(run.network)((x * 255).round().byte())
            restored = Up(run.network)(small, boundary)
        small, restored = (levels[0].permute(1, 2, 0).numpy() for levels in (small, restored))
        bicubic = bicubic_down(true, 2)
        expected["psnr_y"].append(psnr_y(true, restored))
        expected["bicubic_psnr_y"].append(psnr_y(true, bicubic_up(bicubic, 2, true.shape[:2])))
        expected["lr_psnr"].append(psnr(small, bicubic))
    assert scores == pytest.approx({name: np.mean(values) for name, values in expected.items()}, abs=1e-3)


def test_the_untrained_network_scores_what_its_thumbnail_is_worth(pictures, tmp_path):
    """Y is then the mean of 2x2, and restoring repeats it."""
    run = trainer_of(pictures, tmp_path, boundary_bits=0)
    scores, sheet = trainer.validate(run.network, run.held_out)
    for key in scores:
        assert 10 < scores[key] < 60
    true = [pixels(x) for x in run.held_out]
    small = [pixels(torch.nn.functional.avg_pool2d(x, 2)) for x in run.held_out]
    expected = np.mean([psnr(y, bicubic_down(x, 2)) for y, x in zip(small, true, strict=True)])
    assert scores["lr_psnr"] == pytest.approx(expected, abs=0.05)
    repeated = [y.repeat(2, 0).repeat(2, 1) for y in small]
    expected = np.mean([psnr_y(x, y) for x, y in zip(true, repeated, strict=True)])
    assert scores["psnr_y"] == pytest.approx(expected, abs=0.05)
    first = torch.from_numpy(repeated[0]).permute(2, 0, 1) / 255
    torch.testing.assert_close(sheet[:, :32, :32], first, rtol=0, atol=1 / 254)
    assert torch.equal(sheet[:, :32, 64:], run.held_out[0][0])
