"""LPIPS v0.1 on VGG16, which networks for the eye are trained with; they are measured by that on AlexNet."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from bdflow.quality import dists, lpips
from bdflow.quality.weights import find

FILE = "lpips_vgg16_lins.npz"  # the features are those of DISTS
_CHANNELS = (64, 128, 256, 512, 512)


def find_weights(data: str | Path | None = None) -> dict[str, Tensor]:
    """VGG16's features under torchvision's names, and LPIPS's heads.

    Raises:
        BDFlowError: `dists_vgg16.npz` or `lpips_vgg16_lins.npz` is not where
            `bdflow.quality.weights.find` looks.
    """
    with np.load(find(FILE, data), allow_pickle=False) as heads:
        return dists.find_weights(data) | {key: torch.from_numpy(heads[key]) for key in heads.files}


class LPIPSOnVGG16(lpips.LPIPS):
    """As `bdflow.quality.lpips.LPIPS`, on the last activation of each of VGG16's five stages."""

    def __init__(self, weights: Mapping[str, Tensor] | None = None) -> None:
        nn.Module.__init__(self)
        weights = find_weights() if weights is None else weights
        self.stages = dists.vgg16_stages(weights)
        self.heads = nn.ModuleList(nn.Conv2d(channels, 1, 1, bias=False) for channels in _CHANNELS)
        for index, head in enumerate(self.heads):
            head.load_state_dict({"weight": weights[lpips.head_name(index)]})
        self.register_buffer("shift", torch.tensor(lpips.SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(lpips.SCALE).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def features(self, x: Tensor) -> list[Tensor]:
        """The five activations, each normalised over its channels."""
        x = (2 * x - 1 - self.shift) / self.scale
        out = []
        for index, stage in enumerate(self.stages):
            x = stage(max_pool2d(x, 2) if index else x)
            out.append(lpips.normalised(x))
        return out
