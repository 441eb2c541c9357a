"""What is measured of a picture that was stored and read back: every figure of every verb comes from here."""

import io
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.methods.protocol import Method
from bdflow.pictures.codecs import JPEG, WEBP_LOSSLESS, smallest_png
from bdflow.pictures.limits import MAX_PIXELS
from bdflow.pictures.picture import RGB
from bdflow.pictures.resize import bicubic_down
from bdflow.quality.metrics import MAX_PSNR, SSIM_WINDOW, luma, psnr, psnr_y, ssim, ssim_y
from bdflow.smallfile.container import NoChunkError, read
from bdflow.smallfile.thumbnail import Thumbnail
from bdflow.system.extras import needs

_SSIMULACRA2_LEAST = 8  # pixels of a side: below it has nothing to compare
_JPEG_BASELINE = replace(JPEG, effort=1)
METRICS = "PSNR and SSIM on 8-bit files; Y is BT.601; PSNR is capped at 100 dB"


@dataclass(frozen=True)
class Learned:
    """A measure that was fitted to what people see; less is better, but of SSIMULACRA2 more.

    Attributes:
        of: Takes the true picture and the restored one.
        least: Pixels that a side needs.
        of_luma: The same of their luma, where that is measured, too.
    """

    of: Callable[[RGB, RGB], float]
    least: int
    of_luma: Callable[[RGB, RGB], float] | None = None


@dataclass(frozen=True)
class Scorer:
    """How close a restored picture is to the true one.

    Attributes:
        crop: Border pixels that PSNR leaves out on every side.
        learned: LPIPS and others by name, from `learned`; all take RGB.
        both: SSIM-RGB and LPIPS-Y as well.
    """

    crop: int = 0
    learned: Mapping[str, Learned] = field(default_factory=dict)
    both: bool = False

    def without(self, names: Collection[str]) -> "Scorer":
        """All but some of the learned measures."""
        return replace(self, learned={name: of for name, of in self.learned.items() if name not in names})

    def check(self, true: RGB) -> None:
        """Refuse what is too small: BDFlowError."""
        least = max(SSIM_WINDOW, 2 * self.crop + 1)
        height, width = true.shape[:2]
        if min(height, width) < least:
            raise BDFlowError(f"{width}x{height} is too small to measure: a side needs {least} pixels")

    def quality(self, true: RGB, restored: RGB) -> dict[str, float]:
        """The figures of two pictures (H, W, 3): `psnr_y`, `psnr_rgb`, `ssim_y`; where asked for,
        `ssim_rgb`, what is learned (`lpips` is LPIPS-RGB), and `lpips_y`."""
        values = {
            "psnr_y": min(psnr_y(true, restored, crop=self.crop), MAX_PSNR),
            "psnr_rgb": min(psnr(true, restored, crop=self.crop), MAX_PSNR),
            "ssim_y": ssim_y(true, restored),
        }
        if self.both:
            values["ssim_rgb"] = ssim(true, restored)
        for name, learned in self.learned.items():
            if min(true.shape[:2]) < learned.least:
                continue
            if math.isnan(value := learned.of(true, restored)):
                continue  # a flat picture has no NIQE
            values[name] = value
            if self.both and learned.of_luma:
                values[f"{name}_y"] = learned.of_luma(true, restored)
        return values

    @property
    def measures(self) -> set[str]:
        """What `quality` gives, of pictures large enough."""
        names = {"psnr_y", "psnr_rgb", "ssim_y", *self.learned}
        if self.both:
            names |= {"ssim_rgb", *(f"{name}_y" for name, learned in self.learned.items() if learned.of_luma)}
        return names


class Stored(NamedTuple):
    """A photograph that was stored and read back.

    Attributes:
        data: The file.
        pixels: Restored from it alone, uint8 (H, W, 3).
        values: `bytes`, `bits_per_pixel`, the figures of a scorer, `seconds_down` and `seconds_up`.
    """

    data: bytes
    pixels: RGB
    values: dict[str, float]


def store(method: Method, true: RGB, scorer: Scorer) -> Stored:
    """Encode by a method, decode from the bytes alone, and measure.

    Raises:
        BDFlowError: The method cannot have this picture.
    """
    return store_by(lambda: method.encode(true), method.decode, true, scorer)


def store_by(
    encode: Callable[[], bytes], decode: Callable[[bytes], RGB], true: RGB, scorer: Scorer
) -> Stored:
    """`store` for what takes more of the photograph than its colours.

    Args:
        encode: Makes the file.
        decode: Restores colours (H, W, 3) from it.
        true: The photograph's colours.
        scorer: What is measured.
    """
    start = time.perf_counter()
    data = encode()
    middle = time.perf_counter()
    pixels = decode(data)
    end = time.perf_counter()
    quality = {**size_of(len(data), true), **scorer.quality(true, pixels)}
    return Stored(data, pixels, {**quality, "seconds_down": middle - start, "seconds_up": end - middle})


def read_back(small: Thumbnail, *, max_pixels: int = MAX_PIXELS) -> Thumbnail:
    """What the bytes of a file in an ordinary codec say.

    A codec's own file, at full size, has no payload and is what it shows.
    """
    try:
        stored = read(small.data, max_pixels=max_pixels)
    except NoChunkError as plain:
        return replace(small, image=plain.picture)
    assert isinstance(stored, Thumbnail)
    return stored


def size_of(count: int, true: RGB) -> dict[str, float]:
    """`bytes` and `bits_per_pixel` of a photograph stored in so many bytes."""
    return {"bytes": count, "bits_per_pixel": 8 * count / (true.shape[0] * true.shape[1])}


def small_figures(true: RGB, small: RGB, scale: int) -> dict[str, float]:
    """A small picture beside the bicubic one: its PSNR, and of both (the latter under `bicubic_lr_`) the
    share of samples at 0 or 255 and the bytes as PNG, as lossless WebP and as JPEG of quality 75."""
    plain = bicubic_down(true, scale)
    values = {"lr_psnr": min(psnr(small, plain), MAX_PSNR)}
    for prefix, pixels in (("lr_", small), ("bicubic_lr_", plain)):
        image = Image.fromarray(pixels)
        values |= {
            f"{prefix}clipped": float(((pixels == 0) | (pixels == 255)).mean()),
            f"{prefix}png": len(smallest_png(image)),
            f"{prefix}webp": len(WEBP_LOSSLESS.encode(image)),
            f"{prefix}jpeg": len(_JPEG_BASELINE.encode(image, 75)),
        }
    return values


def learned(*names: str, data: Path | None = None) -> tuple[dict[str, Learned], dict[str, str]]:
    """Those of lpips, dists, niqe and ssimulacra2 that can be computed, and why others cannot: their weights
    must be at hand (in `data`, too)."""
    makers = {"lpips": _lpips, "dists": _dists, "niqe": _niqe, "ssimulacra2": _ssimulacra2}
    judges, missing = {}, {}
    for name in names:
        try:
            judges[name] = makers[name](data)
        except BDFlowError as error:
            missing[name] = str(error)
    return judges, missing


def _lpips(data: Path | None) -> Learned:
    needs("torch", "torch", what="it")
    from bdflow.quality import lpips

    network = lpips.LPIPS(lpips.find_weights(data))
    return Learned(_distance(network), lpips.LEAST, of_luma=_distance(network, _gray))


def _dists(data: Path | None) -> Learned:
    needs("torch", "torch", what="it")
    from bdflow.quality import dists

    return Learned(_distance(dists.DISTS(dists.find_weights(data))), dists.LEAST)


def _niqe(data: Path | None) -> Learned:
    needs("bench", "scipy", what="it")
    from bdflow.quality import niqe

    natural = niqe.load(data)
    return Learned(lambda true, restored: natural(restored), niqe.LEAST)


def _ssimulacra2(data: Path | None) -> Learned:
    needs("bench", "ssimulacra2", what="it")
    from ssimulacra2 import compute_ssimulacra2

    def score(*pictures: RGB) -> float:
        """The package opens files: these are in memory."""
        files = [io.BytesIO() for _ in pictures]
        for rgb, file in zip(pictures, files, strict=True):
            Image.fromarray(rgb).save(file, "BMP")
        return float(compute_ssimulacra2(*files))

    return Learned(score, _SSIMULACRA2_LEAST)


def _distance(network: Any, prepare: Callable[[RGB], RGB] = lambda rgb: rgb) -> Callable[..., float]:
    """A distance by features; those of the last true picture are kept, for many restored ones follow it."""
    import torch

    last: RGB | None = None
    known: Any = None

    def features(rgb: RGB) -> Any:
        pixels = prepare(rgb).transpose(2, 0, 1)[None].copy()
        return network.features(torch.from_numpy(pixels).float() / 255)

    def distance(true: RGB, restored: RGB) -> float:
        nonlocal last, known
        with torch.no_grad():
            if last is not true:
                last, known = true, features(true)
            return float(network.distance(known, features(restored)))

    return distance


def _gray(rgb: RGB) -> RGB:
    """The luma of the Y figures, rounded, in three channels: what LPIPS takes."""
    plane = luma(rgb).round().astype(np.uint8)
    return np.dstack([plane] * 3)
