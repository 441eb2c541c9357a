"""LPIPS against torchmetrics, which needs torchvision for AlexNet's layout alone: the test supplies that."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torchmetrics.functional.image.lpips as oracle
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from bdflow.errors import BDFlowError
from bdflow.quality.lpips import FILE, LPIPS, find_weights

DATA = os.environ.get("BDFLOW_DATA")
PHOTO = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[None].float() / 255
ALEX = Path(oracle.__file__).parent / "lpips_models" / "alex.pth"  # LPIPS's own file, in torchmetrics' wheel
HEADS = torch.load(ALEX, "cpu")
CONVS = {0: (3, 64, 11, 4, 2), 3: (64, 192, 5, 1, 2), 6: (192, 384, 3, 1, 1), 8: (384, 256, 3, 1, 1),
         10: (256, 256, 3, 1, 1)}  # fmt: skip


def alexnet() -> nn.Sequential:
    """`torchvision.models.alexnet().features`."""
    layers = [
        nn.Conv2d(*CONVS[i]) if i in CONVS else nn.MaxPool2d(3, 2) if i in (2, 5, 12) else nn.ReLU()
        for i in range(13)
    ]
    return nn.Sequential(*layers)


def random_weights() -> dict[str, Tensor]:
    """Random convolutions that keep activations alive, and LPIPS's own heads."""
    generator = torch.Generator().manual_seed(0)
    weights = dict(HEADS)
    for key, value in alexnet().state_dict().items():
        spread = value[0].numel() ** -0.5 * 2**0.5 if value.ndim == 4 else 0.05
        weights[f"features.{key}"] = spread * torch.randn(value.shape, generator=generator)
    return weights


def real_weights() -> dict[str, Tensor]:
    if not DATA:
        pytest.skip("the metric's weights are needed: set BDFLOW_DATA to the folder that holds metrics/")
    return find_weights(DATA)


both = pytest.mark.parametrize("weights", [random_weights, real_weights], ids=["random", "real"])


def crops(side: int) -> tuple[Tensor, Tensor]:
    """Four crops of a photograph; the same blurred, noisy, in other colours and of another place."""
    a = torch.cat([PHOTO[..., 60 * i : 60 * i + side, 170 : 170 + side] for i in range(4)])
    b = a.clone()
    b[0] = interpolate(avg_pool2d(a[:1], 4), (side, side), mode="bicubic").clamp(0, 1)[0]
    b[1] += 0.2 * torch.rand(b[1].shape, generator=torch.Generator().manual_seed(0)) * (0.5 - a[1]).sign()
    b[2] = a[2].flip(0)
    b[3] = a[0]
    return a, b


@both
@pytest.mark.parametrize("side", [64, 97])
def test_distances_are_those_of_torchmetrics(weights, side, monkeypatch):
    weights = weights()
    features = alexnet()
    features.load_state_dict({k[9:]: v for k, v in weights.items() if k.startswith("features.")})
    monkeypatch.setattr(oracle, "_get_tv_model_features", lambda net, pretrained=False: features)
    a, b = crops(side)
    expected = oracle.learned_perceptual_image_patch_similarity(
        a, b, net_type="alex", reduction="none", normalize=True
    )
    distance = LPIPS(weights)(a, b)
    assert distance.shape == (4,)
    assert expected.min() > 0.01
    torch.testing.assert_close(distance, expected, rtol=1e-4, atol=1e-6)


def test_the_real_heads_are_the_published_ones():
    weights = real_weights()
    for key, value in HEADS.items():
        assert torch.equal(weights[key], value)


def test_real_distances_do_not_move():
    """Blurred, noisy, other colours, another place: taken once from these weights; torchmetrics agreed."""
    distance = LPIPS(real_weights())(*crops(64))
    torch.testing.assert_close(distance, torch.tensor([0.4502, 0.2373, 0.2665, 0.5386]), rtol=0, atol=1e-3)


@both
def test_equal_pictures_are_at_distance_zero_and_order_does_not_matter(weights):
    metric, (a, b) = LPIPS(weights()), crops(64)
    assert metric(a, a).abs().max() == 0
    torch.testing.assert_close(metric(a, b), metric(b, a))


def test_the_smallest_picture():
    metric = LPIPS(random_weights())
    assert metric(*(x[..., :31, :31] for x in crops(64))).shape == (4,)
    with pytest.raises(RuntimeError):
        metric(*(x[..., :30, :31] for x in crops(64)))


def test_gradients_reach_the_pictures_and_not_the_weights():
    metric, (a, b) = LPIPS(random_weights()), crops(64)
    a.requires_grad_()
    metric(a, b).sum().backward()
    assert a.grad.isfinite().all()
    assert a.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in metric.parameters())
    assert not metric.training


def test_distances_are_float32_in_mixed_precision():
    metric, (a, b) = LPIPS(random_weights()), crops(64)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = metric(a, b)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, metric(a, b), rtol=0.01, atol=0)


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Path:
    """No weights anywhere; the torch cache is `tmp_path / "torch/hub/checkpoints"`."""
    monkeypatch.delenv("BDFLOW_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    return tmp_path


def test_no_weights_is_one_line_that_says_where_they_belong(nowhere):
    with pytest.raises(
        BDFlowError, match=rf"^{FILE} not found: .* into \$BDFLOW_DATA/metrics or .*checkpoints$"
    ):
        LPIPS()


@pytest.mark.parametrize("place", ["argument", "environment", "cache", "cache in two parts"])
def test_places_where_weights_are_found(nowhere, monkeypatch, place):
    expected = random_weights()
    cache, data = nowhere / "torch/hub/checkpoints", nowhere / "data"
    (data / "metrics").mkdir(parents=True)
    if place == "cache in two parts":
        features = {key: value for key, value in expected.items() if key not in HEADS}
        torch.save(features, cache / "alexnet-owt-7be5be79.pth")
        shutil.copy(ALEX, cache)
    else:
        folder = cache if place == "cache" else data / "metrics"
        np.savez(folder / FILE, **{key: value.numpy() for key, value in expected.items()})
    if place == "environment":
        monkeypatch.setenv("BDFLOW_DATA", str(data))
    found = find_weights(data if place == "argument" else None)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    LPIPS(found)
