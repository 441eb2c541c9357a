"""Restore small files, each with the model that made it."""

import threading
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.networks.facts import DOWN
from bdflow.pictures.limits import MAX_PIXELS
from bdflow.pictures.reader import Source, too_large
from bdflow.pictures.strips import Strips
from bdflow.runtime.computing import DEFAULT, Computing
from bdflow.runtime.enhancer import Enhancer, continued
from bdflow.runtime.rescaler import Rescaler
from bdflow.smallfile.container import NoChunkError, read
from bdflow.smallfile.downscaled import Downscaled
from bdflow.smallfile.payload import SmallFile
from bdflow.smallfile.thumbnail import FACTORS, FORMATS, LEARNED, Domain, Thumbnail, multiples
from bdflow.zoo import PURPOSES, Purpose, find, find_maker, find_restoration


class Restores(Protocol):
    """What restores a small file: a flow that made it, or a network behind an ordinary codec."""

    def restore_strips(self, small: Any, *, sigma: float = 0.0, seed: int | None = None) -> Strips:
        """The photograph, one row of tiles at a time."""

    def restore(self, small: Any, *, sigma: float = 0.0, seed: int | None = None) -> Image.Image:
        """The photograph."""


class Restorer:
    """Finds the model of each small file; a model is loaded once. Safe to share between threads.

    Args:
        model: Restores every file, even one that lost its chunk; None takes the built-in models that the
            files name. A model for thumbnails in ordinary codecs restores only these.
        scale: How many times smaller a picture without a payload is; None leaves a file of an ordinary codec
            as it is.
        domain: What such a picture shows: `photos` (the default) or `portraits`. Only with a scale.
        purpose: What thumbnails in ordinary codecs are restored for: see
            `bdflow.zoo.find_restoration`.
        computing: How models are run.
        trust: Take `model` even if it did not come with bdflow.

    Raises:
        BDFlowError: There is no such model, its files are damaged or not trusted, the device or the backend
            cannot be used here, there is no such scale, purpose or domain, a model is named besides a scale
            or a purpose, or a domain without a scale.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        scale: float | None = None,
        domain: Domain | None = None,
        purpose: Purpose = "fidelity",
        computing: Computing = DEFAULT,
        trust: bool = False,
    ) -> None:
        self._options: dict[str, Any] = {
            "scale": scale,
            "purpose": purpose,
            "computing": computing,
            "trust": trust,
        }
        self._computing = computing
        only = None if model is None else find(model, trust=trust)
        self._reference = only and only.reference
        self._restoration = only if only and DOWN not in only.graphs else None
        self._only = Rescaler(only, self._computing) if only and DOWN in only.graphs else None
        if scale is not None and scale not in FACTORS:
            raise BDFlowError(
                f"a scale is one of {', '.join(f'{each:g}' for each in FACTORS)}, not {scale:g}"
            )
        if scale is not None and self._only:
            raise BDFlowError("a model restores at its own scale: name one of them (--scale or --model)")
        if purpose != "fidelity" and only:
            raise BDFlowError("a model restores for its own purpose: name one of them (--for or --model)")
        if purpose not in PURPOSES:
            raise BDFlowError(f"no purpose {purpose!r}: choose one of {', '.join(PURPOSES)}")
        if domain not in (None, *LEARNED):
            raise BDFlowError(f"a domain is one of {', '.join(LEARNED)}, not {domain!r}")
        if domain and scale is None:
            raise BDFlowError("a domain is for a thumbnail that lost its own: name its --scale, too")
        self._scale, self._domain, self._purpose = scale, domain or LEARNED[0], purpose
        self._lock = threading.Lock()
        self._makers: dict[str, Rescaler] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process finds and loads the models anew."""
        return partial(Restorer, **self._options), (self._reference,)

    def accept(
        self, small: SmallFile | Source, *, max_pixels: int = MAX_PIXELS
    ) -> tuple[Restores, SmallFile, list[str]]:
        """What restores a small file: `rescaler.restore(small)`.

        Args:
            small: As for `bdflow.upscale`.
            max_pixels: As for `bdflow.runtime.rescaler.Rescaler.accept`.

        Returns:
            The model, the small picture, and remarks that the user should see.

        Raises:
            BDFlowError: The file cannot be read or is too large, names no built-in model, or was made by
                another than `model`.
        """
        if self._only and not isinstance(small, Thumbnail):
            return self._only, *self._only.accept(small, max_pixels=max_pixels)
        try:
            stored = (
                small if isinstance(small, Downscaled | Thumbnail) else read(small, max_pixels=max_pixels)
            )
        except NoChunkError as stripped:
            if stripped.format in FORMATS or self._scale:
                return self._without_payload(stripped, max_pixels)
            how = "If bdflow made it, name the model (--model) to restore it from its pixels alone"
            raise NoChunkError(f"{stripped} {how}", stripped.picture, stripped.name) from None
        if isinstance(stored, Thumbnail):
            return self._enhancer, stored, []
        if self._restoration:
            raise BDFlowError(
                f"made by model {stored.model!r}, which {self._restoration.name} cannot replace: name"
                " that one, or leave out --model"
            )
        with self._lock:
            if stored.model not in self._makers:
                maker = find_maker(stored.model, stored.weights)
                self._makers[stored.model] = Rescaler(maker, self._computing)
            rescaler = self._makers[stored.model]
        return rescaler, *rescaler.accept(stored, max_pixels=max_pixels)

    def _without_payload(
        self, stripped: NoChunkError, max_pixels: int
    ) -> tuple[Restores, Thumbnail, list[str]]:
        """A picture that lost its payload, taken for a thumbnail of the scale that was named; or as it is.

        Its codec and quality are those of the file that it is now in. Of a lossless one they are not known:
        it was saved anew. Somebody may have resized it by a pixel: at 1.5 a thumbnail has an even number
        each way, and an odd one is continued by its last row or column.
        """
        picture, factor = stripped.picture, self._scale or 1
        size = int(picture.width * factor), int(picture.height * factor)
        if why := too_large(*size, max_pixels):
            small = f"{picture.width}x{picture.height}"
            raise BDFlowError(f"a picture of {small} without a bdflow chunk would become too large: {why}")
        lossless = stripped.format == "WebP" and stripped.quality is None
        thumbnail = Thumbnail(
            image=continued(picture, multiples(factor)[1]),
            format=stripped.format if stripped.format in FORMATS and not lossless else None,
            data=b"",
            factor=factor,
            domain=self._domain if self._scale else "plain",
            size=size,
            quality=stripped.quality,
        )
        how, sizes = "taken as it is,", f"at {size[0]}x{size[1]}"
        if self._scale:
            codec = thumbnail.format or "its codec unknown"
            codec += "" if stripped.quality is None else f" of quality {stripped.quality:.0f}"
            how = f"taken for a thumbnail, 1/{factor:g} each way, {codec}, of {thumbnail.domain}: restored"
        else:
            sizes += ". If it was shrunk, name its --scale (or the --model of a small PNG)"
        return self._enhancer, thumbnail, [f"{stripped.name}: no bdflow chunk in this file; {how} {sizes}"]

    @cached_property
    def _enhancer(self) -> Enhancer:
        return Enhancer(self._restoration or find_restoration(self._purpose), self._computing)
