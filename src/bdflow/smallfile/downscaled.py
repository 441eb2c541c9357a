"""The content of a small PNG: a picture, and what restores the photograph."""

import os
from dataclasses import dataclass

import numpy as np

from bdflow.errors import BDFlowError
from bdflow.pictures.limits import MAX_SIDE, SCALES
from bdflow.pictures.reader import Array, Picture
from bdflow.smallfile.boundary import MAX_BITS
from bdflow.system.files import write_bytes


@dataclass(frozen=True, eq=False)
class Downscaled:
    """A shrunk photograph, and what restores it.

    Attributes:
        image: the LR image, `ceil(width / scale)` x `ceil(height / scale)`.
        boundary: uint8 (h, w) at the LR image's size, levels 0..2**bits - 1; None if there is none, or it was
            lost.
        bits: bits of the model's boundary map, 1..3, or 0 if the model has none.
        model: the model's name.
        weights: the first 8 bytes of the SHA-256 of its weights file.
        scale: 2, 4, 8, 16, 32 or 64, each way.
        size: width and height of the photograph.
        gray: whether the photograph is gray, and restored so, where its LR image hides detail in colours.
            `image.icc` is then the photograph's; no PNG in colour may carry it, so it travels in the chunk.
        bicubic: whether no network shrank it, and none restores it: where it is a pixel wide or high. (Files
            of such pictures that do not say so were made by one, and are restored by it.)
        pixels_changed: whether the LR pixels are others than those the file was made with.
        notes: what reading the photograph changed, a short line each; no file keeps them. Those of
            `image` are of the LR image, where it was read from a file.

    Raises:
        BDFlowError: the parts do not fit together.
    """

    image: Picture
    boundary: Array | None
    bits: int
    model: str
    weights: bytes
    scale: int
    size: tuple[int, int]
    gray: bool = False
    bicubic: bool = False
    pixels_changed: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        small = (self.image.width, self.image.height)
        if max(self.size) > MAX_SIDE:  # or nothing would read the file
            raise BDFlowError(
                "a photograph of {}x{} has a side of more than {:,} pixels".format(*self.size, MAX_SIDE)
            )
        check_fits(small, self.size, self.scale)
        if not 0 <= self.bits <= MAX_BITS:
            raise BDFlowError(f"bits must be 0..{MAX_BITS}, not {self.bits}")
        if self.boundary is not None and (
            self.bits == 0 or self.boundary.dtype != np.uint8 or self.boundary.shape != small[::-1]
        ):
            raise BDFlowError(
                f"the boundary map must be uint8 of shape {small[::-1]}, and None where bits is 0,"
                f" not {self.boundary.dtype} {self.boundary.shape} with {self.bits} bits"
            )
        if len(self.weights) != 8:
            raise BDFlowError(
                f"weights must be the first 8 bytes of a SHA-256, not {len(self.weights)} bytes"
            )
        # The name comes from a file that anybody may have made, and is printed and looked up as a folder.
        if not self.model.isprintable() or self.model.startswith(".") or set(self.model) & set("/\\:"):
            raise BDFlowError(f"{self.model!r} is no name for a model: use letters, digits and hyphens")
        if not 1 <= len(self.model.encode()) <= 255:
            raise BDFlowError("a model's name has 1..255 bytes of UTF-8")

    def __repr__(self) -> str:
        (width, height), lost = self.size, self.bits and self.boundary is None
        boundary = f"{self.bits}-bit boundary map{' lost' * bool(lost)}" if self.bits else "no boundary map"
        changed = ", pixels changed" * self.pixels_changed
        kind, maker = " gray" * self.gray, f"{self.model} (x{self.scale})"
        parts = [f"{width}x{height}{kind} by {maker}", f"{boundary}{changed}", repr(self.image), *self.notes]
        return f"Downscaled({', '.join(parts)})"

    def to_bytes(self) -> bytes:
        """The PNG file, as small as Pillow makes it without touching a pixel.

        Raises:
            BDFlowError: the boundary map holds levels beyond its bits.
        """
        from bdflow.smallfile import png  # writes what this module describes

        return png.write(self)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the PNG file, whole or not at all; see `bdflow.system.files.write_bytes`.

        Raises:
            BDFlowError: the path does not end in .png, exists already, or cannot be written.
        """
        from bdflow.smallfile import container  # reads what this module describes

        container.check_ending(path, "PNG")
        write_bytes(path, self.to_bytes(), overwrite=overwrite)


def check_fits(small: tuple[int, int], size: tuple[int, int], scale: int) -> None:
    """Refuse an LR image that cannot be the one of a photograph of this size.

    Args:
        small: width and height of the LR image.
        size: width and height of the photograph.
        scale: as in `Downscaled`.

    Raises:
        BDFlowError: the scale is none of `SCALES`, or `small` is not the size divided by it, rounded up.
    """
    if scale not in SCALES:
        raise BDFlowError(f"scale must be one of {', '.join(map(str, SCALES))}, not {scale}")
    if min(size) < 1 or tuple(-(-side // scale) for side in size) != small:
        raise BDFlowError(
            f"an LR image of {small[0]}x{small[1]} cannot restore"
            f" {size[0]}x{size[1]} at scale {scale}: it was cropped or resized"
        )
