"""A picture in memory, and its orientation."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures.metadata import NONE, Metadata

Array: TypeAlias = npt.NDArray[np.uint8]
"""8-bit samples of any shape."""
RGB: TypeAlias = npt.NDArray[np.uint8]
"""Colours, (height, width, 3)."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An 8-bit picture in memory.

    Attributes:
        rgb: uint8 (height, width, 3). The three channels are equal where `gray` is True.
        alpha: uint8 (height, width), not premultiplied; None where the picture has no transparency.
        gray: whether the file was a gray one; it is then written as gray again.
        icc: the colour profile of the samples, or None (then they are sRGB by custom).
        notes: what reading changed, a short line each.
        orientation: EXIF's, 1 to 8: how the samples must be turned to stand upright. Reading a photograph
            turns them, and leaves 1.
        metadata: EXIF, XMP, IPTC and the resolution; none unless the caller asked for them.

    Raises:
        BDFlowError: an array has another shape or type.
    """

    rgb: Array
    alpha: Array | None = None
    gray: bool = False
    icc: bytes | None = None
    notes: tuple[str, ...] = ()
    orientation: int = 1
    metadata: Metadata = NONE

    def __post_init__(self) -> None:
        shape = self.rgb.shape
        if self.rgb.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or self.rgb.size == 0:
            raise BDFlowError(f"rgb must be uint8 of shape (height, width, 3), not {self.rgb.dtype} {shape}")
        if self.alpha is not None and (self.alpha.dtype != np.uint8 or self.alpha.shape != shape[:2]):
            raise BDFlowError(
                f"alpha must be uint8 of shape {shape[:2]}, not {self.alpha.dtype} {self.alpha.shape}"
            )

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.rgb.shape[0])

    def __repr__(self) -> str:
        parts = [f"{self.width}x{self.height}", "gray" if self.gray else "RGB"]
        parts += ["alpha"] * (self.alpha is not None) + ["profile"] * bool(self.icc)
        return f"Picture({', '.join([*parts, *self.notes])})"

    def to_pil(self) -> Image.Image:
        """A Pillow image of mode L, LA, RGB or RGBA, with the profile in `info["icc_profile"]`."""
        image = Image.fromarray(self.rgb)
        if self.gray:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        if self.icc:
            image.info["icc_profile"] = self.icc
        return image


def of_samples(samples: Array, icc: bytes | None, notes: tuple[str, ...]) -> Picture:
    """A picture of samples (height, width[, channels]): gray, gray and alpha, RGB or RGBA."""
    samples = samples.reshape(*samples.shape[:2], -1)
    channels = samples.shape[2]
    gray = channels < 3
    rgb = np.repeat(samples[..., :1], 3, axis=2) if gray else np.ascontiguousarray(samples[..., :3])
    alpha = np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None
    return Picture(rgb, alpha, gray, icc, notes)


Axes: TypeAlias = tuple[int, int, bool]
"""Steps down and across, 1 or -1, and whether the axes change places after that."""

# EXIF's orientations: from upright rows to those in the file.
_TURNS: dict[int, Axes] = {
    2: (1, -1, False), 3: (-1, -1, False), 4: (-1, 1, False),
    5: (1, 1, True), 6: (1, -1, True), 7: (-1, -1, True), 8: (-1, 1, True),
}  # fmt: skip
_AS_IT_IS: Axes = (1, 1, False)


def axes_of(orientation: int) -> Axes:
    """How the rows and columns of a file lie, by EXIF's orientation."""
    return _TURNS.get(orientation, _AS_IT_IS)


def turned(samples: Array, orientation: int) -> Array:
    """Samples (height, width[, channels]) of a file, upright, by EXIF's orientation."""
    down, across, swapped = axes_of(orientation)
    upright = samples.swapaxes(0, 1) if swapped else samples
    return np.ascontiguousarray(upright[::down, ::across])


def fitting_profile(icc: bytes | None, gray: bool) -> bytes | None:
    """A profile, unless it is for other samples than these, gray or RGB: no PNG may carry that."""
    return icc if icc and icc[16:20] == (b"GRAY" if gray else b"RGB ") else None
