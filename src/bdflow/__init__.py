"""bdflow: shrink a photograph 2 to 64 times each way into one small PNG, and get the photograph back.

import bdflow

model = bdflow.load("portraits-x8")
small = model.downscale("photo.jpg")
small.save("photo.x8.png")
restored = bdflow.upscale("photo.x8.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdflow.errors import BDFlowError
from bdflow.limits import MAX_PIXELS

if TYPE_CHECKING:  # numpy and ONNX Runtime load when first used, so that `bdflow --help` is quick
    from pathlib import Path

    from PIL import Image

    from bdflow.images import Source
    from bdflow.rescaler import Rescaler
    from bdflow.smallfile.downscaled import Downscaled

__version__ = "0.1.0"
__all__ = ["BDFlowError", "__version__", "downscale", "list_models", "load", "upscale"]


def load(
    model: str | Path | None = None,
    *,
    scale: int | None = None,
    tile: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    backend: str = "onnxruntime",
    trust: bool = False,
) -> Rescaler:
    """A model by name or folder, or the default one of a scale.

    A folder that did not come with bdflow is loaded only with ``trust=True``; see :func:`bdflow.zoo.find`.
    ``tile``, ``threads``, ``device`` and ``backend`` are those of :class:`bdflow.rescaler.Rescaler`.

    Raises:
        BDFlowError: There is no such model, its files are damaged or not trusted, or it cannot run so.
    """
    from bdflow.rescaler import Rescaler
    from bdflow.zoo import find

    found = find(model, scale, trust=trust)
    return Rescaler(found, tile=tile, threads=threads, device=device, backend=backend)


def downscale(
    image: Source,
    *,
    refine: int = 0,
    max_pixels: int = MAX_PIXELS,
    model: str | Path | None = None,
    scale: int | None = None,
    tile: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    backend: str = "onnxruntime",
    trust: bool = False,
) -> Downscaled:
    """Shrink one picture; see :meth:`bdflow.rescaler.Rescaler.downscale`. For several, :func:`load` once."""
    rescaler = load(
        model, scale=scale, tile=tile, threads=threads, device=device, backend=backend, trust=trust
    )
    return rescaler.downscale(image, refine=refine, max_pixels=max_pixels)


def upscale(
    small: Downscaled | Source,
    *,
    model: str | Path | None = None,
    sigma: float = 0.0,
    seed: int | None = None,
    max_pixels: int = MAX_PIXELS,
    tile: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    backend: str = "onnxruntime",
    trust: bool = False,
) -> Image.Image:
    """Restore one picture with the built-in model that its file names, or with ``model``.

    See :meth:`bdflow.rescaler.Rescaler.upscale`.

    Raises:
        BDFlowError: The file cannot be read or is too large, names no built-in model, or was made by another
            than ``model``.
    """
    import warnings

    from bdflow.restorer import Restorer

    restorer = Restorer(model, tile=tile, threads=threads, device=device, backend=backend, trust=trust)
    rescaler, accepted, remarks = restorer.accept(small, max_pixels=max_pixels)
    for remark in remarks:
        warnings.warn(remark, stacklevel=2)
    return rescaler.restore(accepted, sigma=sigma, seed=seed)


def list_models() -> list[str]:
    """Names of the models that come with the package, ordered by scale."""
    from bdflow.zoo import names

    return names()
