"""DISTS on VGG16 (Ding, Ma, Wang and Simoncelli, TPAMI 2020), without torchvision."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad

from bdflow.quality.weights import find

FILE = "dists_vgg16.npz"
LEAST = 16  # pixels of a side: the last stage shrinks so far
_STAGES = (
    (0, 2),
    (5, 7),
    (10, 12, 14),
    (17, 19, 21),
    (24, 26, 28),
)  # torchvision's numbers of the convolutions
_SIDE = 256  # pixels of the shorter side, which its authors shrink larger pictures to
_EPSILON = 1e-6


def find_weights(data: str | Path | None = None) -> dict[str, Tensor]:
    """VGG16's features under torchvision's names, and the metric's `alpha` and `beta`.

    Raises:
        BDFlowError: There is no `dists_vgg16.npz` where `bdflow.quality.weights.find` looks.
    """
    with np.load(find(FILE, data), allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


class DISTS(nn.Module):
    """Structure and texture distance: 0 for equal pictures, up to 1; forgiving where texture is replaced by
    texture of its kind.

    Args:
        weights: Those of `find_weights`, where left out.
        resize: Shrink pictures whose shorter side exceeds 256 pixels, as the authors do.
    """

    mean: Tensor
    deviation: Tensor
    alpha: Tensor
    beta: Tensor
    window: Tensor

    def __init__(self, weights: Mapping[str, Tensor] | None = None, *, resize: bool = True) -> None:
        super().__init__()
        weights = find_weights() if weights is None else weights
        self.resize = resize
        self.stages = vgg16_stages(weights)
        total = weights["alpha"].sum() + weights["beta"].sum()
        for name in ("alpha", "beta"):
            self.register_buffer(name, weights[name].flatten() / total)
        hann = torch.hann_window(5, periodic=False)[1:-1]
        self.register_buffer("window", (hann[:, None] * hann / hann.sum() ** 2)[None, None])
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def features(self, x: Tensor) -> list[Tensor]:
        """The picture itself, shrunk, and the last activation of VGG16's five stages; pooling takes squares'
        means."""
        x = self._shrunk(x)
        out, h = [x], (x - self.mean) / self.deviation
        for index, stage in enumerate(self.stages):
            if index:
                window = self.window.expand(h.shape[1], 1, 3, 3)
                h = (conv2d(pad(h * h, (1, 1, 1, 1)), window, stride=2, groups=h.shape[1]) + 1e-12).sqrt()
            h = stage(h)
            out.append(h)
        return out

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Distances `(N,)` of two pictures' `features`."""
        likeness = a[0].new_zeros(a[0].shape[0])
        sizes = [f.shape[1] for f in a]
        weights = (torch.split(w, sizes) for w in (self.alpha, self.beta))
        for x, y, alpha, beta in zip(a, b, *weights, strict=True):
            mx, my = x.mean((2, 3)), y.mean((2, 3))
            vx, vy = (((f - m[..., None, None]) ** 2).mean((2, 3)) for f, m in ((x, mx), (y, my)))
            both = (x * y).mean((2, 3)) - mx * my
            texture = (2 * mx * my + _EPSILON) / (mx**2 + my**2 + _EPSILON)
            structure = (2 * both + _EPSILON) / (vx + vy + _EPSILON)
            likeness = likeness + (alpha * texture + beta * structure).sum(1)
        return 1 - likeness

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances `(N,)` of `a` and `b`, each `(N, 3, H, W)` in [0, 1], sides from 16 on."""
        return self.distance(self.features(a), self.features(b))

    def _shrunk(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        if not self.resize or min(height, width) <= _SIDE:
            return x
        size = [side * _SIDE // min(height, width) for side in (height, width)]
        return interpolate(x, size, mode="bilinear", antialias=True)


def vgg16_stages(weights: Mapping[str, Tensor]) -> nn.ModuleList:
    """VGG16's convolutions between two poolings, each with its activation."""
    return nn.ModuleList(
        nn.Sequential(*(layer for number in stage for layer in (_conv(weights, number), nn.ReLU())))
        for stage in _STAGES
    )


def _conv(weights: Mapping[str, Tensor], number: int) -> nn.Conv2d:
    own = {key: weights[f"features.{number}.{key}"] for key in ("weight", "bias")}
    conv = nn.Conv2d(own["weight"].shape[1], own["weight"].shape[0], 3, padding=1)
    conv.load_state_dict(own)
    return conv
