"""Boundary-aware mask (BAM, Algorithm 1) and boundary-aware weight (BAW, Eq. 4)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, conv2d, pad

from bdflow.evaluation.report import contact_sheet
from bdflow.train.config import MaskConfig


@dataclass(frozen=True)
class MaskSteps:
    """What each line of Algorithm 1 yields: `(N, 1, H, W)`, magnitudes on the 0..255 scale of Sobel."""

    blurred: Tensor
    magnitude: Tensor
    thinned: Tensor
    sparse: Tensor


def luma(rgb: Tensor) -> Tensor:
    """Full-range BT.601 luma: `(N, 3, H, W)` in [0, 1] to `(N, 1, H, W)`."""
    return (rgb * rgb.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian of standard deviation `sigma` pixels on `(N, 1, H, W)`; borders repeat."""
    if sigma == 0:
        return image
    radius = int(4 * sigma + 0.5)
    t = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (t / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = pad(image, (radius,) * 4, mode="replicate")
    return conv2d(conv2d(padded, kernel[None, None, None, :]), kernel[None, None, :, None])


def sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Gx and Gy of the 3x3 Sobel operator, not normalised (as in Canny); borders repeat."""
    kernel = image.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    gradients = conv2d(pad(image, (1,) * 4, mode="replicate"), torch.stack((kernel, kernel.T))[:, None])
    return gradients[:, :1], gradients[:, 1:]


def suppress_non_maxima(magnitude: Tensor, gx: Tensor, gy: Tensor) -> Tensor:
    """Keep a magnitude where it is the largest along its gradient.

    The two neighbours along the gradient are interpolated linearly between grid points, as in Canny's
    paper and scikit-image; ties keep the first. Outside the picture the magnitude is 0.
    """
    m = pad(magnitude, (1,) * 4)
    height, width = magnitude.shape[-2:]

    def at(dy: int, dx: int) -> Tensor:
        return m[..., 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    ax, ay = gx.abs(), gy.abs()
    ratio = torch.minimum(ax, ay) / torch.maximum(ax, ay).clamp_min(1e-12)
    steep, same = ay > ax, (gx * gy) >= 0

    def along(sign: int) -> Tensor:
        straight = torch.where(steep, at(sign, 0), at(0, sign))
        # The diagonal neighbour on the same side: down-right where gx and gy agree in sign.
        diagonal = torch.where(same, at(sign, sign), torch.where(steep, at(sign, -sign), at(-sign, sign)))
        return straight + ratio * (diagonal - straight)

    keep = (magnitude >= along(1)) & (magnitude > along(-1))
    return torch.where(keep, magnitude, 0.0)


def boundary_steps(rgb: Tensor, config: MaskConfig) -> MaskSteps:
    """Lines 1 to 5 of Algorithm 1 on `(N, 3, H, W)` in [0, 1]; `sparse` is B_s."""
    with torch.autocast(rgb.device.type, enabled=False):  # half precision would move one edge in twenty
        blurred = gaussian_blur(255 * luma(rgb), config.sigma)
        gx, gy = sobel(blurred)
    if config.magnitude == "1-norm":
        magnitude = gx.abs() + gy.abs()
    elif config.magnitude == "2-norm":
        magnitude = torch.hypot(gx, gy)
    else:
        magnitude = torch.maximum(gx.abs(), gy.abs())
    thinned = suppress_non_maxima(magnitude, gx, gy) if config.suppress else magnitude
    sparse = torch.where(thinned > config.threshold, thinned, 0.0)
    return MaskSteps(blurred, magnitude, thinned, sparse)


def normalise(sparse: Tensor) -> Tensor:
    """Min-max normalise each picture of `(N, 1, H, W)`, as Eq. 4 does with B_s; an empty map stays 0."""
    low, high = sparse.amin((1, 2, 3), keepdim=True), sparse.amax((1, 2, 3), keepdim=True)
    return (sparse - low) / (high - low).clamp_min(1e-12)


def boundary_mask(sparse: Tensor, scale: int, bits: int) -> Tensor:
    """Line 6: B_s at full size to the mask B_q on the grid of the small picture.

    With 1 bit a cell is set where any pixel of it is an edge (Canny's binary case); with 2 and 3 bits it
    is the mean of B_s in the cell, min-max normalised over the picture and rounded.

    Args:
        sparse: `(N, 1, H, W)`, H and W multiples of `scale`.
        scale: 1 gives the mask at full size.
        bits: 1 to 3.

    Returns:
        `(N, 1, H / scale, W / scale)` in [0, 1], in steps of `1 / (2^bits - 1)`.
    """
    size = (sparse.shape[-2] // scale, sparse.shape[-1] // scale)
    if bits == 1:
        return adaptive_max_pool2d((sparse > 0).to(sparse.dtype), size)
    steps = 2**bits - 1
    mask: Tensor = (normalise(adaptive_avg_pool2d(sparse, size)) * steps).round() / steps
    return mask


def boundary_weight(sparse: Tensor, base: float, progress: float, start: float) -> Tensor | float:
    """Eq. 4: the pixel weight of the backward loss at `progress` (0 to 1) of the training."""
    return base if progress < start else base + normalise(sparse)


def draw_steps(rgb: NDArray[np.uint8], config: MaskConfig, scale: int, bits: int) -> NDArray[np.uint8]:
    """A labelled picture of every step of Algorithm 1 on a uint8 picture `(H, W, 3)`."""
    height, width = rgb.shape[:2]
    x = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None].float() / 255
    x = pad(x, (0, -width % scale, 0, -height % scale), mode="replicate")
    steps = boundary_steps(x, config)
    levels = boundary_mask(steps.sparse, scale, bits).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    top = float(steps.magnitude.max()) or 1.0
    panels = {
        "input": x,
        f"blurred, sigma {config.sigma:g}": steps.blurred / 255,
        f"gradient, {config.magnitude}": steps.magnitude / top,
        "maxima along the gradient" if config.suppress else "not thinned": steps.thinned / top,
        f"above T = {config.threshold:g}": steps.sparse / top,
        f"mask: {bits} bit, 1/{scale} of the size": levels,
    }
    pixels = {
        label: (255 * image[0, :, :height, :width].expand(3, -1, -1)).round().byte().permute(1, 2, 0).numpy()
        for label, image in panels.items()
    }
    return contact_sheet(pixels, columns=3)
