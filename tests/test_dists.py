"""DISTS against torchmetrics, which needs torchvision for VGG16's layout alone: the test supplies that."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import skimage.data
import torch
import torchmetrics.functional.image.dists as oracle
from PIL import Image
from torch import Tensor, nn

from bdflow.errors import BDFlowError
from bdflow.quality.dists import DISTS, FILE, LEAST, find_weights

PHOTO = skimage.data.astronaut()
HEADS = torch.load(Path(oracle.__file__).parent / "dists_models" / "weights.pt", "cpu")  # DISTS's own


def vgg16() -> nn.Sequential:
    """`torchvision.models.vgg16().features`."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        for features in stage:
            layers += [nn.Conv2d(channels, features, 3, padding=1), nn.ReLU()]
            channels = features
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def random_weights() -> dict[str, Tensor]:
    """Random convolutions that keep activations alive, and the metric's own alpha and beta."""
    generator = torch.Generator().manual_seed(0)
    weights = {name: HEADS[name].flatten() for name in ("alpha", "beta")}
    for key, value in vgg16().state_dict().items():
        spread = value[0].numel() ** -0.5 * 2**0.5 if value.ndim == 4 else 0.05
        weights[f"features.{key}"] = spread * torch.randn(value.shape, generator=generator)
    return weights


def real_weights() -> dict[str, Tensor]:
    try:
        return find_weights()
    except BDFlowError as error:
        pytest.skip(str(error))


def pair() -> tuple[Tensor, Tensor]:
    """A part of a photograph, and the same blurred; of another place, and brighter."""
    a = torch.from_numpy(np.stack([PHOTO[:90, 170:290], PHOTO[100:190, 200:320]])).permute(0, 3, 1, 2) / 255
    b = nn.functional.avg_pool2d(a, 5, 1, 2)
    b[1] = (a[1].flip(0) + 0.1).clamp(0, 1)
    return a, b


@pytest.mark.parametrize("weights", [random_weights, real_weights], ids=["random", "real"])
def test_distances_are_those_of_torchmetrics(weights, monkeypatch):
    weights = weights()
    features = vgg16()
    features.load_state_dict({k[9:]: v for k, v in weights.items() if k.startswith("features.")})
    monkeypatch.setattr(oracle, "_TORCHVISION_AVAILABLE", True)
    monkeypatch.setattr(oracle, "vgg16", lambda weights: SimpleNamespace(features=features), raising=False)
    monkeypatch.setattr(oracle, "VGG16_Weights", SimpleNamespace(DEFAULT=None), raising=False)
    a, b = pair()
    with torch.no_grad():
        expected = oracle.DISTSNetwork()(a, b)
    assert expected.min() > 0.01
    torch.testing.assert_close(DISTS(weights)(a, b), expected, rtol=1e-4, atol=1e-6)
    assert DISTS(weights)(a, a).abs().max() < 1e-6


def test_the_real_alpha_and_beta_are_the_published_ones():
    weights = real_weights()
    for key, value in HEADS.items():
        assert torch.equal(weights[key], value.flatten())


def test_large_pictures_are_shrunk_as_the_authors_do():
    metric = DISTS(random_weights())
    photo = PHOTO[:400, :300]
    shrunk = metric._shrunk(torch.from_numpy(photo).permute(2, 0, 1)[None] / 255)
    plain = np.asarray(Image.fromarray(photo).resize((256, 341), Image.Resampling.BILINEAR))
    assert shrunk.shape == (1, 3, 341, 256)
    assert np.abs(255 * shrunk[0].permute(1, 2, 0).numpy() - plain).max() < 1


def test_the_smallest_picture():
    a, b = (x[..., :LEAST, :LEAST] for x in pair())
    assert DISTS(random_weights())(a, b).shape == (2,)


def test_no_weights_is_one_line_that_says_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.delenv("BDFLOW_DATA", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(BDFlowError, match=rf"^{FILE} not found: `make metrics` .* \S*checkpoints$"):
        DISTS()
