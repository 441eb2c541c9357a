"""Restore small files, each with the model that made it."""

import threading
from functools import partial
from pathlib import Path

from bdflow.container import NoChunkError, read
from bdflow.images import Source
from bdflow.limits import MAX_PIXELS
from bdflow.rescaler import Rescaler
from bdflow.smallfile.downscaled import Downscaled
from bdflow.zoo import find, find_maker


class Restorer:
    """Finds the model of each small file; a model is loaded once. Safe to share between threads.

    Args:
        model: Restores every file, those that lost their chunk too; None takes the built-in models that the
            files name.
        tile: As for :class:`bdflow.rescaler.Rescaler`.
        threads: Processor threads for one picture; None takes all cores.
        device, backend: As for :class:`bdflow.rescaler.Rescaler`.
        trust: Take ``model`` even if it did not come with bdflow.

    Raises:
        BDFlowError: There is no such model, its files are damaged or not trusted, or the device or the
            backend is not to be had.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        tile: int | None = None,
        threads: int | None = None,
        device: str = "auto",
        backend: str = "onnxruntime",
        trust: bool = False,
    ) -> None:
        self._made_with = partial(Rescaler, tile=tile, threads=threads, device=device, backend=backend)
        self._only = None if model is None else self._made_with(find(model, trust=trust))
        self._lock = threading.Lock()
        self._makers: dict[str, Rescaler] = {}

    def accept(
        self, small: Downscaled | Source, *, max_pixels: int = MAX_PIXELS
    ) -> tuple[Rescaler, Downscaled, list[str]]:
        """What restores a small file: ``rescaler.restore(small)``.

        Args:
            small: As for :func:`bdflow.upscale`.
            max_pixels: As for :meth:`bdflow.rescaler.Rescaler.accept`.

        Returns:
            The model, the small picture, and remarks that the user should see.

        Raises:
            BDFlowError: The file cannot be read or is too large, names no built-in model, or was made by
                another than ``model``.
        """
        if self._only:
            return self._only, *self._only.accept(small, max_pixels=max_pixels)
        try:
            small = small if isinstance(small, Downscaled) else read(small, max_pixels=max_pixels)
        except NoChunkError as stripped:
            how = "If bdflow made it, name the model (--model) to restore it from its pixels alone"
            raise NoChunkError(f"{stripped} {how}", stripped.picture) from None
        with self._lock:
            if small.model not in self._makers:
                maker = find_maker(small.model, small.weights)
                self._makers[small.model] = self._made_with(maker)
            rescaler = self._makers[small.model]
        return rescaler, *rescaler.accept(small, max_pixels=max_pixels)
