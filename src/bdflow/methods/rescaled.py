"""Methods whose bytes nobody chooses: a bdflow model, plain resampling as PNG, the picture itself as PNG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from bdflow.methods.protocol import is_gray, split_size, with_size
from bdflow.pictures.codecs import smallest_png
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import read as read_picture
from bdflow.pictures.resize import enlarge, shrink

if TYPE_CHECKING:  # they load ONNX Runtime
    from bdflow.runtime.rescaler import Rescaler
    from bdflow.smallfile.downscaled import Downscaled
    from bdflow.zoo import Model

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "Lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Rescaled:
    """A bdflow model: the bytes are those that `bdflow downscale` writes of an opaque, untagged picture."""

    rescaler: Rescaler

    @property
    def name(self) -> str:
        return f"bdflow {self.rescaler.model.name}"

    @property
    def model(self) -> Model:
        return self.rescaler.model

    def settings(self) -> dict[str, Any]:
        """All that decides its files, besides the model."""
        return {"scale": self.model.scale}

    def small(self, data: bytes) -> Downscaled:
        """The small file."""
        return self.rescaler.accept(data)[0]

    def encode(self, rgb: RGB) -> bytes:
        return self.rescaler.downscale(rgb[..., 0] if is_gray(rgb) else rgb).to_bytes()

    def decode(self, data: bytes) -> RGB:
        return self.rescaler.rgb(data)


@dataclass(frozen=True)
class Resampled:
    """Shrunk and enlarged by one of Pillow's filters; between them a PNG, written as bdflow writes its own.

    The filters antialias when shrinking. The true size is stored; the scale is taken to be known.
    """

    filter: Literal["bilinear", "bicubic", "Lanczos"]
    scale: int

    @property
    def name(self) -> str:
        return f"{self.filter} x{self.scale}, PNG"

    def encode(self, rgb: RGB) -> bytes:
        small = Image.fromarray(shrink(rgb, self.scale, _FILTERS[self.filter]))
        return with_size(rgb, smallest_png(small.convert("L") if is_gray(rgb) else small))

    def decode(self, data: bytes) -> RGB:
        size, png = split_size(data)
        return np.ascontiguousarray(enlarge(read_picture(png).rgb, self.scale, size, _FILTERS[self.filter]))


@dataclass(frozen=True)
class Lossless:
    """The photograph itself: what its PNG takes, and what a measure says of it that knows no true picture."""

    name: str = "the photograph, PNG"

    def encode(self, rgb: RGB) -> bytes:
        image = Image.fromarray(rgb)
        return smallest_png(image.convert("L") if is_gray(rgb) else image)

    def decode(self, data: bytes) -> RGB:
        return read_picture(data).rgb
