"""LPIPS on VGG16 against torchmetrics, which needs torchvision for VGG16's layout alone."""

from pathlib import Path

import pytest
import torch
import torchmetrics.functional.image.lpips as oracle
from test_lpips import crops
from torch import Tensor, nn

from bdflow.errors import BDFlowError
from bdflow.quality.lpips_vgg16 import FILE, LPIPSOnVGG16

_CHANNELS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512)
_HEADS = Path(oracle.__file__).parent / "lpips_models" / "vgg.pth"


def vgg16() -> nn.Sequential:
    """`torchvision.models.vgg16().features`."""
    layers: list[nn.Module] = []
    before = 3
    for channels in _CHANNELS:
        if isinstance(channels, int):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        else:
            layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers, nn.MaxPool2d(2, 2))


def random_weights() -> dict[str, Tensor]:
    """Random convolutions that keep activations alive, and LPIPS's own heads."""
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Tensor] = dict(torch.load(_HEADS, "cpu"))
    for key, value in vgg16().state_dict().items():
        spread = value[0].numel() ** -0.5 * 2**0.5 if value.ndim == 4 else 0.05
        weights[f"features.{key}"] = spread * torch.randn(value.shape, generator=generator)
    return weights


def test_distances_are_those_of_torchmetrics(monkeypatch):
    weights, features = random_weights(), vgg16()
    features.load_state_dict({k[9:]: v for k, v in weights.items() if k.startswith("features.")})
    monkeypatch.setattr(oracle, "_get_tv_model_features", lambda net, pretrained=False: features)
    a, b = crops(64)
    expected = oracle.learned_perceptual_image_patch_similarity(
        a, b, net_type="vgg", reduction="none", normalize=True
    )
    assert expected.min() > 0.01
    torch.testing.assert_close(LPIPSOnVGG16(weights)(a, b), expected, rtol=1e-4, atol=1e-6)


def test_gradients_reach_the_pictures_and_not_the_weights():
    metric, (a, b) = LPIPSOnVGG16(random_weights()), crops(64)
    a.requires_grad_()
    metric(a, b).sum().backward()
    assert a.grad.isfinite().all()
    assert a.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in metric.parameters())


def test_no_weights_is_one_line_that_says_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.delenv("BDFLOW_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(BDFlowError, match=rf"^{FILE} not found: `make metrics`"):
        LPIPSOnVGG16()
