"""The project's one plain resampling: Pillow's, antialiased, on 8-bit pictures.

"Bicubic" is not one filter: MATLAB's, Pillow's and OpenCV's differ in antialiasing, in border handling and in
rounding, by up to a decibel of what is later measured. Every bicubic figure of bdflow comes from this file:
Pillow's `BICUBIC` (Keys 1981, a = -0.5, support widened by the scale when shrinking, rounded to 8 bits after
each axis).
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["bicubic_down", "bicubic_up", "bicubic_up_rows", "enlarge", "resize", "shrink"]

_BICUBIC = Image.Resampling.BICUBIC
_SUPPORT = 3  # pixels, and one to spare, on which an enlarged one depends


def resize(
    rgb: NDArray[np.uint8], size: tuple[int, int], filter: Image.Resampling = _BICUBIC
) -> NDArray[np.uint8]:
    """Resample a picture to any size.

    Args:
        rgb: uint8, (H, W, 3), or a plane (H, W).
        size: (height, width) of the result, each at least 1.
        filter: one of Pillow's filters; it antialiases when shrinking.

    Returns:
        uint8, (height, width, 3) or (height, width).

    Raises:
        ValueError: `rgb` is neither, or a side of either size is below 1.
    """
    if rgb.dtype != np.uint8 or rgb.shape[2:] not in ((), (3,)) or rgb.ndim < 2 or rgb.size == 0:
        raise ValueError(f"expected a uint8 picture (H, W, 3) or plane (H, W), got {rgb.dtype} {rgb.shape}")
    height, width = size
    return np.array(Image.fromarray(rgb).resize((width, height), filter))


def shrink(rgb: NDArray[np.uint8], scale: int, filter: Image.Resampling) -> NDArray[np.uint8]:
    """Shrink `scale` times each way, on the pixel grid of the network.

    A side that is no multiple of `scale` is first padded on the right or the bottom by repeating its edge, as
    the network does, so that one LR pixel stands for exactly `scale`×`scale` HR pixels.

    Args:
        rgb: uint8, (H, W, 3) or (H, W).
        scale: at least 1.
        filter: one of Pillow's filters; it antialiases.

    Returns:
        uint8, (ceil(H / scale), ceil(W / scale)[, 3]).

    Raises:
        ValueError: `scale` is below 1, or `rgb` is not a uint8 picture (H, W, 3).
    """
    if scale < 1:
        raise ValueError(f"scale must be 1 or more, got {scale}")
    height, width = rgb.shape[:2]
    if height % scale or width % scale:
        past = [(0, -height % scale), (0, -width % scale), (0, 0)]
        rgb = np.pad(rgb, past[: rgb.ndim], mode="edge")
    return resize(rgb, (rgb.shape[0] // scale, rgb.shape[1] // scale), filter)


def enlarge(
    rgb: NDArray[np.uint8], scale: int, size: tuple[int, int], filter: Image.Resampling
) -> NDArray[np.uint8]:
    """Enlarge what `shrink` gave: `scale` times each way, then cut off its padding.

    The sizes alone do not give the scale: 5 pixels become 2 both at ×3 and at ×4.

    Args:
        rgb: uint8, (h, w, 3).
        scale: at least 1.
        size: (height, width) of the result; (h, w) must be its ceil(side / scale).
        filter: one of Pillow's filters.

    Returns:
        uint8, (height, width, 3).

    Raises:
        ValueError: the sizes and `scale` do not belong together, or `rgb` is not a uint8 picture (H, W, 3).
    """
    height, width = size
    if scale < 1 or rgb.shape[:2] != (-(-height // scale), -(-width // scale)):
        raise ValueError(f"a picture {rgb.shape[:2]} does not enlarge to {size} at scale {scale}")
    return resize(rgb, (rgb.shape[0] * scale, rgb.shape[1] * scale), filter)[:height, :width]


def bicubic_down(rgb: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """`shrink` by the one bicubic."""
    return shrink(rgb, scale, _BICUBIC)


def bicubic_up(rgb: NDArray[np.uint8], scale: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """`enlarge` by the one bicubic."""
    return enlarge(rgb, scale, size, _BICUBIC)


def bicubic_up_rows(plane: NDArray[np.uint8], scale: int, rows: slice) -> NDArray[np.uint8]:
    """What `rows` of a plane become in `bicubic_up`, to a level; to the bit the same however a plane is cut.

    Pillow goes along rows or columns first as it pleases for a size, and rounds between: here rows are first.

    Args:
        plane: uint8, (h, w).
        scale: a power of two, for which positions are exact wherever a part begins.
        rows: of the plane.

    Returns:
        uint8, (rows * scale, w * scale).
    """
    top = max(0, rows.start - _SUPPORT)
    wide = Image.fromarray(plane[top : rows.stop + _SUPPORT])
    wide = wide.resize((wide.width * scale, wide.height), _BICUBIC)
    box = (0, rows.start - top, wide.width, rows.stop - top)
    return np.array(wide.resize((wide.width, (rows.stop - rows.start) * scale), _BICUBIC, box=box))
