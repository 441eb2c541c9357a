"""LPIPS v0.1 on AlexNet (Zhang et al., CVPR 2018), without torchvision."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from bdflow.errors import BDFlowError
from bdflow.quality.weights import cache, find

FILE = "lpips_alexnet_features_and_lins.npz"
LEAST = 31  # pixels of a side: AlexNet's features of less are empty
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1]
GRID = 16  # pixels between AlexNet's coarsest features
_CONVS = ((0, 3, 64, 11, 4, 2), (3, 64, 192, 5, 1, 2), (6, 192, 384, 3, 1, 1), (8, 384, 256, 3, 1, 1),
          (10, 256, 256, 3, 1, 1))  # fmt: skip


def find_weights(data: str | Path | None = None) -> dict[str, Tensor]:
    """The metric's weights under torchvision's and LPIPS's key names.

    `lpips_alexnet_features_and_lins.npz` where `bdflow.quality.weights.find` looks, else, in the
    torch cache, torchvision's `alexnet-owt-*.pth` with LPIPS's `alex.pth`.

    Raises:
        BDFlowError: They are in none of these places.
    """
    try:
        with np.load(find(FILE, data), allow_pickle=False) as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    except BDFlowError:
        parts = [*sorted(cache().glob("alexnet-owt-*.pth"))[:1], cache() / "alex.pth"]
        if len(parts) < 2 or not parts[1].is_file():
            raise
    loaded = [torch.load(part, "cpu", weights_only=True) for part in parts]  # alex.pth was saved on a GPU
    return {key: value for part in loaded for key, value in part.items()}


class LPIPS(nn.Module):
    """Learned perceptual distance: 0 for equal pictures, about 0.7 for unlike ones."""

    shift: Tensor
    scale: Tensor

    def __init__(self, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        weights = find_weights() if weights is None else weights
        self.convs = nn.ModuleList(nn.Conv2d(i, o, k, s, p) for _, i, o, k, s, p in _CONVS)
        self.heads = nn.ModuleList(nn.Conv2d(o, 1, 1, bias=False) for _, _, o, *_ in _CONVS)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        for index, (number, *_) in enumerate(_CONVS):
            conv = {k: weights[f"features.{number}.{k}"] for k in ("weight", "bias")}
            self.convs[index].load_state_dict(conv)
            self.heads[index].load_state_dict({"weight": weights[head_name(index)]})
        self.requires_grad_(False).eval()

    def features(self, x: Tensor) -> list[Tensor]:
        """The five activations of AlexNet, each normalised over its channels."""
        x = (2 * x - 1 - self.shift) / self.scale
        out = []
        for index, conv in enumerate(self.convs):
            x = relu(conv(max_pool2d(x, 3, 2) if index in (1, 2) else x))
            out.append(normalised(x))
        return out

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
        """Distances `(N,)` of two pictures' `features`."""
        distance = a[0].new_zeros(a[0].shape[0])
        for head, fa, fb in zip(self.heads, a, b, strict=True):
            distance = distance + head((fa - fb) ** 2).float().mean((1, 2, 3))
        return distance

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances `(N,)` of `a` and `b`, each `(N, 3, H, W)` in [0, 1], sides from 31 on."""
        return self.distance(self.features(a), self.features(b))


def normalised(features: Tensor) -> Tensor:
    """Features (N, C, H, W) in float32, those of each place with a length of 1."""
    features = features.float()
    return features / ((features * features).sum(1, keepdim=True).sqrt() + 1e-10)


def head_name(index: int) -> str:
    """What LPIPS's authors call the weights of a stage's channels."""
    return f"lin{index}.model.1.weight"
