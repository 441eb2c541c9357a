"""A model ready to run: pictures in, small files out, and back."""

import threading
import warnings
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from bdflow.container import Downscaled, NoChunkError
from bdflow.container import read as read_small
from bdflow.errors import BDFlowError
from bdflow.files import reason
from bdflow.images import MAX_PIXELS, Picture, Source
from bdflow.images import read as read_picture
from bdflow.resize import bicubic_down, bicubic_up
from bdflow.zoo import Model

Plane = NDArray[np.uint8]

# A side of the photograph beyond this many pixels is worked through in tiles: 3 GB of memory at most.
TILE = 3072

MAX_SIGMA = 100.0  # training draws Z with a spread of 1


class Rescaler:
    """Shrinks and restores pictures with one model, on ONNX Runtime. Safe to share between threads.

    Args:
        model: A verified model folder, from :func:`bdflow.zoo.find`.
        threads: Processor threads for one picture; None takes all cores.
        providers: ONNX Runtime's execution providers, best first; None takes the CPU.
    """

    def __init__(
        self, model: Model, *, threads: int | None = None, providers: Sequence[str] | None = None
    ) -> None:
        self.model = model
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads or 0
        self._options.enable_mem_pattern = False  # it would set memory for a second tile beside the first's
        self._options.log_severity_level = 3
        self._providers = list(providers or ["CPUExecutionProvider"])
        self._lock = threading.Lock()
        self._sessions: dict[str, Any] = {}

    def downscale(self, image: Picture | Source) -> Downscaled:
        """Shrink a picture.

        Args:
            image: A path, the bytes of a file, an open file, a PIL image, an array ``(H, W[, 1|3|4])``, or a
                picture that :func:`bdflow.images.read` read.

        Returns:
            The small picture of ``ceil(side / scale)`` pixels, with what restores the large one. Colour and
            gray stay what they are; alpha is shrunk bicubically.

        Raises:
            BDFlowError: The picture cannot be read.
        """
        picture = image if isinstance(image, Picture) else read_picture(image)
        scale = self.model.scale
        grid = -(-picture.height // scale), -(-picture.width // scale)
        small, *boundary = self._run("down", grid, image=_to_grid(picture.rgb, scale))
        rgb = _to_pixels(small)
        if picture.gray:
            rgb = _gray(rgb)
        alpha = None if picture.alpha is None else _resize_alpha(picture.alpha, scale)
        return Downscaled(
            image=Picture(rgb, alpha, picture.gray, picture.icc, picture.notes),
            boundary=boundary[0][0, 0] if boundary else None,
            bits=self.model.bits,
            model=self.model.name,
            weights=self._fingerprint,
            scale=scale,
            size=(picture.width, picture.height),
        )

    def upscale(
        self, small: Downscaled | Picture | Source, *, sigma: float = 0.0, seed: int | None = None
    ) -> Image.Image:
        """Restore a picture of exactly the original's size.

        Args:
            small: What :meth:`downscale` returned, or a file of it. Pixels alone (a picture, or a file whose
                bdflow chunk was stripped, which is warned of) are restored with an empty boundary map.
            sigma: Spread of the latent Z. 0, the default, restores from Z = 0, the likeliest picture. A model
                without a Z restores that one for any spread.
            seed: Makes a draw of Z repeatable.

        Raises:
            BDFlowError: As :meth:`accept`; or sigma is negative or absurd.
        """
        accepted, remarks = self.accept(small)
        for remark in remarks:
            warnings.warn(remark, stacklevel=2)
        return self.restore(accepted, sigma=sigma, seed=seed)

    def accept(self, small: Downscaled | Picture | Source) -> tuple[Downscaled, list[str]]:
        """Whatever :meth:`upscale` takes, ready for :meth:`restore`, and what its user should know of it.

        Raises:
            BDFlowError: The file cannot be read, was made by another model, or would become too large.
        """
        remarks = []
        if isinstance(small, Picture):
            small = self._from_pixels(small)
        elif not isinstance(small, Downscaled):
            try:
                small = read_small(small)
            except NoChunkError as stripped:
                small = self._from_pixels(stripped.picture)
                size = "{}x{}".format(*small.size)
                remarks.append(f"{stripped} Restoring from the pixels alone, at {size}")
        if small.weights != self._fingerprint:
            raise BDFlowError(
                f"made by model {small.model!r} (weights {small.weights.hex()}), not by this"
                f" {self.model.name!r} ({self._fingerprint.hex()}): restore it with the folder of that model,"
                " or with the release of bdflow that it came with"
            )
        if (small.scale, small.bits) != (self.model.scale, self.model.bits):
            raise BDFlowError("its bdflow chunk contradicts the model that it names: get the file again")
        if small.pixels_changed:
            remarks.append("the small picture's pixels were changed since it was made: expect artefacts")
        return small, remarks

    def restore(self, small: Downscaled, *, sigma: float = 0.0, seed: int | None = None) -> Image.Image:
        """:meth:`upscale` for what :meth:`accept` returned."""
        check_sigma(sigma)
        width, height = small.size
        grid = small.image.height, small.image.width
        inputs: dict[str, NDArray[Any]] = {"small": _to_tensor(small.image.rgb)}
        if self.model.bits:
            empty = np.zeros(grid, np.uint8)
            inputs["boundary"] = (empty if small.boundary is None else small.boundary)[None, None]
        if sigma:
            shape = (1, self.model.latent_channels, *grid)
            draw = np.random.default_rng(seed).standard_normal(shape, np.float32)
            inputs["latent"] = np.float32(sigma) * draw
        (restored,) = self._run("sample" if sigma else "up", grid, **inputs)
        rgb = _to_pixels(restored)[:height, :width]
        alpha = small.image.alpha
        if alpha is not None:
            alpha = bicubic_up(np.dstack([alpha] * 3), small.scale, (height, width))[..., 0]
        return Picture(rgb, alpha, small.image.gray, small.image.icc, ()).to_pil()

    @cached_property
    def _fingerprint(self) -> bytes:
        return bytes.fromhex(self.model.weights_sha256)[:8]

    def _from_pixels(self, picture: Picture) -> Downscaled:
        scale = self.model.scale
        size = (picture.width * scale, picture.height * scale)
        if size[0] * size[1] > MAX_PIXELS:
            raise BDFlowError(
                f"a picture of {picture.width}x{picture.height} without a bdflow chunk would become"
                f" {size[0]}x{size[1]}, more than {MAX_PIXELS:,} pixels: reduce or cut it first"
            )
        return Downscaled(picture, None, self.model.bits, self.model.name, self._fingerprint, scale, size)

    def _run(self, graph: str, grid: tuple[int, int], **inputs: NDArray[Any]) -> list[NDArray[np.uint8]]:
        """Run one of the model's graphs, in tiles that see all that their pixels depend on: no seams.

        Args:
            graph: ``down``, ``up`` or ``sample``.
            grid: Height and width of the small picture.
            inputs: ``(1, C, H, W)``, on the grid of the large picture for ``down``, else of the small one.

        Returns:
            ``(1, C, H, W)``, on the grid of the small picture for ``down``, else of the large one.
        """
        session, scale = self.session(graph), self.model.scale
        before, after = (scale, 1) if graph == "down" else (1, scale)
        limit, halo = TILE // scale, -(-self.model.reach // scale)
        results: list[NDArray[np.uint8]] = []
        for rows, columns in product(*(_spans(cells, limit, halo) for cells in grid)):
            seen = _cells(rows.seen, columns.seen, before)
            try:
                tiles = session.run(None, {k: np.ascontiguousarray(v[seen]) for k, v in inputs.items()})
            except Exception as error:  # of ONNX Runtime's own classes; most often memory ran out
                raise BDFlowError(f"ONNX Runtime failed: {reason(error)}") from error
            if not results:
                shape = grid[0] * after, grid[1] * after
                results = [np.empty((1, tile.shape[1], *shape), np.uint8) for tile in tiles]
            for whole, tile in zip(results, tiles, strict=True):
                inner = _cells(rows.inner, columns.inner, after)
                whole[_cells(rows.kept, columns.kept, after)] = tile[inner]
        return results

    def session(self, graph: str) -> Any:
        """ONNX Runtime's session of one graph; loaded when first used."""
        with self._lock:
            if graph not in self._sessions:
                path = self.model.folder / f"{graph}.onnx"
                try:
                    session = onnxruntime.InferenceSession(path, self._options, self._providers)
                except Exception as error:  # its own classes, which share no base
                    raise BDFlowError(f"{path}: ONNX Runtime cannot load it: {reason(error)}") from error
                self._sessions[graph] = session
            return self._sessions[graph]


def check_sigma(sigma: float) -> None:
    """Refuse a spread of Z that could not be drawn."""
    if not 0 <= sigma <= MAX_SIGMA:
        raise BDFlowError(f"sigma must be 0 to {MAX_SIGMA:g}, not {sigma}")


class _Span(NamedTuple):
    """One side of a tile, in cells of the small picture: what it sees, and what is kept of it."""

    seen: slice
    kept: slice

    @property
    def inner(self) -> slice:
        """The kept cells, counted from the first that is seen."""
        return slice(self.kept.start - self.seen.start, self.kept.stop - self.seen.start)


def _spans(cells: int, limit: int, halo: int) -> list[_Span]:
    """Cut a side into even parts of at most ``limit`` cells, each seeing ``halo`` cells beyond its ends."""
    count = -(-cells // limit)
    edges = [cells * index // count for index in range(count + 1)]
    return [_Span(slice(max(0, a - halo), min(cells, b + halo)), slice(a, b)) for a, b in pairwise(edges)]


def _cells(rows: slice, columns: slice, factor: int) -> tuple[Any, ...]:
    """Where these cells lie in an array ``(1, C, H, W)`` with ``factor`` pixels to a cell, each way."""
    return (..., *(slice(span.start * factor, span.stop * factor) for span in (rows, columns)))


def _to_tensor(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])


def _to_pixels(tensor: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(tensor[0].transpose(1, 2, 0))


def _to_grid(rgb: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """The padding rule: right and bottom edges repeat up to a multiple of the scale."""
    height, width = rgb.shape[:2]
    return _to_tensor(np.pad(rgb, ((0, -height % scale), (0, -width % scale), (0, 0)), mode="edge"))


def _gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A colour picture's luma in all three channels."""
    return np.asarray(Image.fromarray(rgb).convert("L").convert("RGB"))


def _resize_alpha(alpha: Plane, scale: int) -> Plane:
    return bicubic_down(np.dstack([alpha] * 3), scale)[..., 0]
