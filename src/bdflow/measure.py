"""What is measured of a picture that was stored and read back: every figure of every verb comes from here."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bdflow.container import smallest_png
from bdflow.errors import BDFlowError
from bdflow.files import encoded
from bdflow.methods.protocol import Method, Pixels
from bdflow.metrics import MAX_PSNR, SSIM_WINDOW, luma, psnr, psnr_y, ssim, ssim_y
from bdflow.resize import bicubic_down

Distance = Callable[[Pixels, Pixels], float]

LPIPS_LEAST = 31  # pixels of a side: AlexNet's features of less are empty

METRICS = "PSNR and SSIM on 8-bit files; Y is BT.601; PSNR is capped at 100 dB"


@dataclass(frozen=True)
class Scorer:
    """How close a restored picture is to the true one.

    Attributes:
        crop: Border pixels that PSNR leaves out on every side.
        distance: LPIPS, from :func:`lpips`; None leaves it out.
        both: SSIM on RGB and LPIPS on Y as well.
    """

    crop: int = 0
    distance: Distance | None = None
    both: bool = False

    def check(self, true: Pixels) -> None:
        """Refuse what is too small: BDFlowError."""
        least = max(SSIM_WINDOW, 2 * self.crop + 1)
        height, width = true.shape[:2]
        if min(height, width) < least:
            raise BDFlowError(f"{width}x{height} is too small to measure: a side needs {least} pixels")

    def quality(self, true: Pixels, restored: Pixels) -> dict[str, float]:
        """The figures of two pictures (H, W, 3): ``psnr_y``, ``psnr_rgb``, ``ssim_y``; where asked for,
        ``ssim_rgb``, ``lpips`` and ``lpips_y``."""
        values = {
            "psnr_y": min(psnr_y(true, restored, crop=self.crop), MAX_PSNR),
            "psnr_rgb": min(psnr(true, restored, crop=self.crop), MAX_PSNR),
            "ssim_y": ssim_y(true, restored),
        }
        if self.both:
            values["ssim_rgb"] = ssim(true, restored)
        if self.distance and min(true.shape[:2]) >= LPIPS_LEAST:
            values["lpips"] = self.distance(true, restored)
            if self.both:
                values["lpips_y"] = self.distance(_gray(true), _gray(restored))
        return values

    @property
    def measures(self) -> set[str]:
        """What :meth:`quality` gives."""
        names = {"psnr_y", "psnr_rgb", "ssim_y"} | ({"ssim_rgb"} if self.both else set())
        return names | ({"lpips"} | ({"lpips_y"} if self.both else set()) if self.distance else set())


def store(method: Method, true: Pixels, scorer: Scorer) -> tuple[bytes, Pixels, dict[str, float]]:
    """Encode, decode from the bytes alone, and measure.

    Returns:
        The bytes, the decoded picture, and the figures: those of ``scorer``, ``bytes``, ``bits_per_pixel``,
        ``seconds_encode`` and ``seconds_decode``.

    Raises:
        BDFlowError: The method cannot have this picture.
    """
    start = time.perf_counter()
    data = method.encode(true)
    middle = time.perf_counter()
    pixels = method.decode(data)
    end = time.perf_counter()
    return data, pixels, {
        **size_of(len(data), true),
        **scorer.quality(true, pixels),
        "seconds_encode": middle - start,
        "seconds_decode": end - middle,
    }  # fmt: skip


def size_of(count: int, true: Pixels) -> dict[str, float]:
    """``bytes`` and ``bits_per_pixel`` of a photograph stored in so many bytes."""
    return {"bytes": count, "bits_per_pixel": 8 * count / (true.shape[0] * true.shape[1])}


def small_figures(true: Pixels, small: Pixels, scale: int) -> dict[str, float]:
    """A small picture beside the bicubic one: its PSNR, and of both (the latter under ``bicubic_lr_``) the
    share of samples at 0 or 255 and the bytes as PNG, as lossless WebP and as JPEG of quality 75."""
    plain = bicubic_down(true, scale)
    values = {"lr_psnr": min(psnr(small, plain), MAX_PSNR)}
    for prefix, pixels in (("lr_", small), ("bicubic_lr_", plain)):
        image = Image.fromarray(pixels)
        values |= {
            f"{prefix}clipped": float(((pixels == 0) | (pixels == 255)).mean()),
            f"{prefix}png": len(smallest_png(image)),
            f"{prefix}webp": len(encoded(image, "WEBP", lossless=True, method=6, quality=100)),
            f"{prefix}jpeg": len(encoded(image, "JPEG", quality=75, optimize=True)),
        }
    return values


def lpips(data: Path | None = None) -> tuple[Distance | None, str]:
    """LPIPS where torch and its weights are at hand (in ``data``, too), else why not."""
    try:
        import torch

        from bdflow.train.lpips import LPIPS, find_weights

        network = LPIPS(find_weights(data))
    except ImportError:
        return None, 'it needs the training half: pip install "bdflow[train]"'
    except BDFlowError as error:
        return None, str(error)

    def tensor(rgb: Pixels) -> Any:
        return torch.from_numpy(rgb.transpose(2, 0, 1)[None].copy()).float() / 255

    def distance(a: Pixels, b: Pixels) -> float:
        with torch.no_grad():
            return float(network(tensor(a), tensor(b)))

    return distance, ""


def _gray(rgb: Pixels) -> Pixels:
    """The luma of the Y figures, rounded, in three channels: what LPIPS takes."""
    plane = luma(rgb).round().astype(np.uint8)
    return np.dstack([plane] * 3)
