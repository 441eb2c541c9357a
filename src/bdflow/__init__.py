"""Shrink a photograph into one small picture file, and get the photograph back.

```python
import bdflow

small = bdflow.fit("photo.jpg", max_bytes=3000)  # an ordinary AVIF
small.save("photo.bd.avif")
restored = bdflow.upscale("photo.bd.avif")  # a PIL image

model = bdflow.load("portraits-x8")  # a PNG by the paper's method
model.downscale("photo.jpg").save("photo.x8.png")
restored = bdflow.upscale("photo.x8.png")
```

What these functions take and return:

- `bdflow.runtime.rescaler.Rescaler`, a loaded model, and `bdflow.runtime.computing.Computing`, how it runs
- `bdflow.smallfile.downscaled.Downscaled`, a small PNG, and `bdflow.smallfile.thumbnail.Thumbnail`, a small
  AVIF, WebP or JPEG; `bdflow.smallfile.container` reads both
- `bdflow.pictures.reader` reads photographs, as `bdflow.pictures.picture.Picture` with its
  `bdflow.pictures.metadata.Metadata`; `bdflow.pictures.limits` has the limits

What they are made of:

- `bdflow.zoo` finds models; `bdflow.fitting` searches the file that restores best
- `bdflow.runtime.enhancer` restores thumbnails; `bdflow.pictures.strips` holds a restored picture in strips
- `bdflow.quality.metrics` has PSNR and SSIM, `bdflow.pictures.resize` the bicubic of all figures
- `bdflow.system.offline` keeps ONNX Runtime from opening connections
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdflow.errors import BDFlowError
from bdflow.pictures.limits import MAX_PIXELS
from bdflow.runtime.computing import Computing
from bdflow.version import __version__

if TYPE_CHECKING:  # numpy and ONNX Runtime load when first used, so that `bdflow --help` is quick
    from pathlib import Path

    from PIL import Image

    from bdflow.fitting import EffortName
    from bdflow.pictures.metadata import Choice
    from bdflow.pictures.reader import Picture, Source
    from bdflow.runtime.rescaler import Rescaler
    from bdflow.smallfile.downscaled import Downscaled
    from bdflow.smallfile.thumbnail import Domain, Thumbnail
    from bdflow.zoo import Purpose

__all__ = ["BDFlowError", "__version__", "downscale", "fit", "list_models", "load", "upscale"]


def load(
    model: str | Path | None = None,
    *,
    scale: int | None = None,
    domain: Domain | None = None,
    tile: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    backend: str = "onnxruntime",
    trust: bool = False,
) -> Rescaler:
    """A model by name or folder, or the default one of a scale and a domain.

    Where a scale has several and no domain is named, this is the one for photos; `downscale` tries them all.
    A folder that did not come with bdflow is loaded only with `trust=True`; see `bdflow.zoo.find`.
    `tile`, `threads`, `device` and `backend`: see `bdflow.runtime.computing.Computing`.

    Raises:
        BDFlowError: There is no such model, its files are damaged or not trusted, or it cannot run so.
    """
    from bdflow.runtime.rescaler import Rescaler
    from bdflow.zoo import find

    verified = find(model, scale, domain=domain, trust=trust)
    return Rescaler(verified, Computing(tile, threads, device, backend))


def downscale(
    image: Picture | Source,
    *,
    refine: int = 0,
    max_pixels: int = MAX_PIXELS,
    turn: bool = True,
    metadata: Choice = "strip",
    model: str | Path | None = None,
    scale: int | None = None,
    domain: Domain | None = None,
    tile: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    backend: str = "onnxruntime",
    trust: bool = False,
) -> Downscaled:
    """Shrink one picture into a PNG; see `bdflow.runtime.rescaler.Rescaler.downscale`.

    Without a model, the default model of the scale and the `domain` shrinks it; without a domain, the one
    that restores the picture best. For several pictures, `load` once. For an ordinary codec and a number of
    bytes, see `fit`.
    """
    from bdflow.fitting.rescalers import rescalers
    from bdflow.pictures import reader

    computing = Computing(tile, threads, device, backend)
    models = rescalers(model, scale, domain, trust=trust, computing=computing)
    picture = image
    if not isinstance(picture, reader.Picture):
        picture = reader.read(picture, max_pixels=max_pixels, turn=turn, metadata=metadata)
    return models.of([picture]).downscale(picture, refine=refine)


def fit(
    image: Source,
    *,
    max_bytes: int | None = None,
    bits_per_pixel: float | None = None,
    quality: int | None = None,
    format: str = "AVIF",
    domain: Domain | None = None,
    effort: EffortName = "medium",
    purpose: Purpose = "fidelity",
    max_pixels: int = MAX_PIXELS,
    turn: bool = True,
    metadata: Choice = "strip",
    tile: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    backend: str = "onnxruntime",
) -> Thumbnail:
    """Shrink one picture into an ordinary AVIF, WebP or JPEG that `upscale` restores.

    Args:
        image: A path, bytes, a PIL image or an array; see `bdflow.pictures.reader.read`.
        max_bytes: The file's bytes at most, everything counted.
        bits_per_pixel: The same in bits for each pixel of the photograph.
        quality: In place of both: the codec's quality, at full size. Without any of the three it is 75.
        format: "AVIF", "WebP" or "JPEG"; or "best", which of them restores best in so many bytes.
        domain: What the network takes the picture for; None tries all.
        effort: "low" for a hurry, or "high" to try all that may win; see `bdflow.fitting.Goal`.
        purpose: "look" writes a file that is better for the eye in place of the one with the highest PSNR.
        max_pixels: A larger picture is refused before it is decoded.
        turn: Apply the rotation of EXIF; say no for a PIL image that was turned, but kept its EXIF.
        metadata: "keep" puts EXIF, XMP, IPTC and the resolution into the file; they count in its bytes.
        tile, threads, device, backend: Those of `bdflow.runtime.computing.Computing`.

    Raises:
        BDFlowError: The picture cannot be read, the format cannot hold it in so few bytes, or the arguments
            contradict each other.
    """
    from bdflow import fitting
    from bdflow.pictures import reader
    from bdflow.runtime.enhancer import Enhancer
    from bdflow.zoo import find_restoration

    goal = fitting.Goal(max_bytes, bits_per_pixel, quality, format, domain, effort, purpose)
    picture = reader.read(image, max_pixels=max_pixels, turn=turn, metadata=metadata)
    enhancer = Enhancer(find_restoration(), Computing(tile, threads, device, backend))
    return fitting.fit(picture, enhancer, goal).small


def upscale(
    small: Downscaled | Thumbnail | Source,
    *,
    model: str | Path | None = None,
    scale: float | None = None,
    purpose: Purpose = "fidelity",
    domain: Domain | None = None,
    sigma: float = 0.0,
    seed: int | None = None,
    max_pixels: int = MAX_PIXELS,
    metadata: Choice = "keep",
    tile: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    backend: str = "onnxruntime",
    trust: bool = False,
) -> Image.Image:
    """Restore one picture with the built-in model that its file names, or with `model`.

    `scale` and `domain` are for an ordinary thumbnail that lost what bdflow added: how many times smaller
    it is, and whether it shows `photos` (which is assumed) or `portraits`.
    `purpose` is what ordinary thumbnails are restored for: "fidelity", the highest PSNR, or "look".

    See `bdflow.runtime.rescaler.Rescaler.upscale`.

    Raises:
        BDFlowError: The file cannot be read or is too large, names no built-in model, or was made by another
            than `model`.
    """
    import warnings

    from bdflow.runtime.restorer import Restorer

    restorer = Restorer(
        model,
        scale=scale,
        purpose=purpose,
        domain=domain,
        computing=Computing(tile, threads, device, backend),
        trust=trust,
    )
    rescaler, accepted, remarks = restorer.accept(small, max_pixels=max_pixels)
    for remark in remarks:
        warnings.warn(remark, stacklevel=2)
    return rescaler.restore_strips(accepted, sigma=sigma, seed=seed).keeping(metadata).to_pil()


def list_models() -> list[str]:
    """Names of the models that come with the package, ordered by scale."""
    from bdflow.zoo import names

    return names()
