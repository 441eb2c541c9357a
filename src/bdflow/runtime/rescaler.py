"""A model ready to run: pictures in, small files out, and back."""

import secrets
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures.limits import MAX_PIXELS
from bdflow.pictures.metadata import Choice
from bdflow.pictures.reader import Picture, Source, fitting_profile
from bdflow.pictures.reader import read as read_picture
from bdflow.pictures.resize import bicubic_down, bicubic_up_rows
from bdflow.pictures.strips import Strips
from bdflow.pictures.transparency import spread
from bdflow.runtime.backends import Sessions
from bdflow.runtime.computing import DEFAULT, Computing
from bdflow.runtime.tiles import cut, times
from bdflow.smallfile.container import NoChunkError
from bdflow.smallfile.container import read as read_small
from bdflow.smallfile.downscaled import Downscaled
from bdflow.system.extras import needs
from bdflow.zoo import RESTORATION, Model

if TYPE_CHECKING:  # it loads torch
    from bdflow.runtime.refine import Refiner

# It takes some 230 bytes for each, so that 100 megapixels pass in 1 GiB with the decoded photograph beside.
TILE = 1280
"""Pixels of the photograph, each way, that the network computes at once."""

LARGE_TILE = 4096
"""The same for networks with a long reach: two gibibytes, for less overlap."""

# Of a small picture, each way. One of a single pixel across is nothing but edge to a network, which then errs
# by up to half of all levels; from two on it is better than bicubic. Such pictures are shrunk and restored
# bicubically, and their files say so: those of earlier versions restore to the pixels that they always gave.
_NARROWEST = 2

MAX_SIGMA = 100.0
"""The largest spread of a drawn Z; training draws Z with a spread of 1."""


class Rescaler:
    """Shrinks and restores pictures with one model, on ONNX Runtime. Safe to share between threads.

    It can be pickled: the other process loads the model anew. A forked process loads its own, too.

    Args:
        model: A verified model folder, from `bdflow.zoo.find`.
        computing: How it is run.

    Raises:
        BDFlowError: The tile is too small for the model, or the device or the backend cannot be used here.

    Attributes:
        model, computing: As given.
        tile: Pixels of the photograph, each way, that are computed at once.
        session: What computes the graph of a name: `down`, `up` or `sample`.
    """

    def __init__(self, model: Model, computing: Computing = DEFAULT) -> None:
        if model.metadata["model"].get("network") == RESTORATION:  # it has no scale
            raise BDFlowError(
                f"model {model.name} restores AVIF, WebP and JPEG, and shrinks nothing: name another model"
            )
        self.model, tile = model, computing.tile
        self.tile = max(TILE, 3 * model.halo, min(4 * model.halo, LARGE_TILE)) if tile is None else tile
        least = self._least(model.halo)
        if self.tile < least:
            raise BDFlowError(
                f"a tile of {tile} pixels is too small for model {model.name}: take {least} or more"
            )
        self.computing = computing
        self.session = Sessions(model, computing)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process loads the model anew."""
        return Rescaler, (self.model, self.computing)

    def downscale(
        self,
        image: Picture | Source,
        *,
        refine: int = 0,
        max_pixels: int = MAX_PIXELS,
        turn: bool = True,
        metadata: Choice = "strip",
    ) -> Downscaled:
        """Shrink a picture.

        Args:
            image: A path, the bytes of a file, an open file, a PIL image, an array `(H, W[, 1|3|4])`, or a
                picture that `bdflow.pictures.reader.read` read.
            refine: Steps of a search for the small picture that restores with the highest PSNR; each takes as
                long as two or three restorations. Needs torch. See `bdflow.runtime.refine.Refiner`.
            max_pixels: A larger picture is refused before it is decoded. A picture in memory is not refused.
            turn, metadata: As for `bdflow.pictures.reader.read`.

        Returns:
            The small picture of `ceil(side / scale)` pixels, with all that restores the photograph. It is in
            colour even if the photograph is gray: two thirds of the detail hide there. Alpha is shrunk
            bicubically. Transparent pixels get the colours of visible ones nearby, so that their own do not
            show at edges.

        Raises:
            BDFlowError: The picture cannot be read or is too large; or it is to be refined, and the steps are
                negative, torch is not installed or cannot use the device.
        """
        if refine < 0:
            raise BDFlowError(f"steps of refinement must be 0 or more, not {refine}")
        refiner = self._refiner if refine else None
        if not isinstance(image, Picture):
            image = read_picture(image, max_pixels=max_pixels, turn=turn, metadata=metadata)
        picture = spread(image)
        scale = self.model.scale
        grid = -(-picture.height // scale), -(-picture.width // scale)
        boundary = np.zeros(grid, np.uint8) if self.model.bits else None
        alpha = None if picture.alpha is None else bicubic_down(picture.alpha, scale)
        bicubic = min(grid) < _NARROWEST
        if bicubic:
            rgb, refiner = bicubic_down(picture.rgb, scale), None
        else:
            rgb = np.empty((*grid, 3), np.uint8)
            for rows, (small, *levels) in self._run(
                "down", grid, lambda seen: {"image": _on_grid(picture.rgb, seen, scale)}
            ):
                rgb[rows] = small
                if boundary is not None:
                    boundary[rows] = levels[0][..., 0]
        downscaled = Downscaled(
            image=Picture(rgb, alpha, icc=picture.icc, metadata=picture.metadata),
            boundary=boundary,
            bits=self.model.bits,
            model=self.model.name,
            weights=self._fingerprint,
            scale=scale,
            size=(picture.width, picture.height),
            gray=picture.gray,
            bicubic=bicubic,
            notes=picture.notes,
        )
        return refiner.refine(picture, downscaled, refine) if refiner else downscaled

    def upscale(
        self,
        small: Downscaled | Picture | Source,
        *,
        sigma: float = 0.0,
        seed: int | None = None,
        max_pixels: int = MAX_PIXELS,
        metadata: Choice = "keep",
    ) -> Image.Image:
        """Restore a picture of exactly the original's size.

        Args:
            small: What `downscale` returned, or its file. Pixels alone are restored with an empty boundary
                map: a picture, or, with a warning, a file that lost its bdflow chunk.
            sigma: Standard deviation of the latent Z. 0, the default, restores the most likely picture. A
                model without a Z ignores it.
            seed: Makes a random Z repeatable; 0 or more.
            max_pixels: As for `accept`.
            metadata: "keep" copies the file's metadata into the picture's `info`: `exif`, `xmp` and `dpi`,
                the names that Pillow's `save` takes; "strip" leaves it out.

        Raises:
            BDFlowError: As `accept`; or sigma is negative or above `MAX_SIGMA`, or the seed negative.
        """
        return self._accepted(small, sigma, seed, max_pixels).keeping(metadata).to_pil()

    def rgb(
        self,
        small: Downscaled | Picture | Source,
        *,
        sigma: float = 0.0,
        seed: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> NDArray[np.uint8]:
        """`upscale` as colours, uint8 (H, W, 3), without transparency."""
        return self._accepted(small, sigma, seed, max_pixels).rgb()

    def _accepted(
        self, small: Downscaled | Picture | Source, sigma: float, seed: int | None, max_pixels: int
    ) -> Strips:
        """The restored picture; what `accept` remarks is warned of."""
        accepted, remarks = self.accept(small, max_pixels=max_pixels)
        for remark in remarks:
            warnings.warn(remark, stacklevel=3)
        return self.restore_strips(accepted, sigma=sigma, seed=seed)

    def accept(
        self, small: Downscaled | Picture | Source, *, max_pixels: int = MAX_PIXELS
    ) -> tuple[Downscaled, list[str]]:
        """Read a small file for `restore`, and collect remarks for the user.

        Args:
            small: As for `upscale`.
            max_pixels: A file whose small picture or photograph is larger is refused before it is decoded,
                and pixels alone before they are restored. What `downscale` returned is not refused.

        Raises:
            BDFlowError: The file cannot be read, was made by another model, or would become too large.
        """
        remarks = []
        if isinstance(small, Picture):
            small = self._from_pixels(small, max_pixels)
        elif not isinstance(small, Downscaled):
            try:
                stored = read_small(small, max_pixels=max_pixels)
            except NoChunkError as stripped:
                small = self._from_pixels(stripped.picture, max_pixels)
                size = "{}x{}".format(*small.size)
                remarks.append(f"{stripped} Restoring from the pixels alone, at {size}")
            else:
                if not isinstance(stored, Downscaled):
                    raise BDFlowError(
                        f"a thumbnail in {stored.format}, which model {self.model.name} does not restore:"
                        " leave the model out (in Python: bdflow.upscale)"
                    )
                small = stored
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
        """`upscale` for what `accept` returned."""
        return self.restore_strips(small, sigma=sigma, seed=seed).to_pil()

    def restore_strips(self, small: Downscaled, *, sigma: float = 0.0, seed: int | None = None) -> Strips:
        """`restore`, one row of tiles at a time, so that memory does not hold the whole picture."""
        check_draw(sigma, seed)
        mode = ("L" if _is_gray(small) else "RGB") + "A" * (small.image.alpha is not None)
        icc = fitting_profile(small.image.icc, _is_gray(small))
        strips = Strips(small.size, mode, icc, self._restored(small, sigma, seed), small.image.metadata)
        return strips.turned(small.image.orientation)

    def _restored(self, small: Downscaled, sigma: float, seed: int | None) -> Iterator[NDArray[np.uint8]]:
        """Strips of the restored picture, `(rows, W, C)`."""
        image, scale, (width, height) = small.image, small.scale, small.size
        key = secrets.randbits(128) if seed is None else seed
        channels = self.model.latent_channels

        def inputs(seen: slice) -> dict[str, NDArray[Any]]:
            tensors: dict[str, NDArray[Any]] = {"small": _to_tensor(image.rgb[seen])}
            if self.model.bits:
                empty = np.zeros((seen.stop - seen.start, image.width), np.uint8)
                tensors["boundary"] = (empty if small.boundary is None else small.boundary[seen])[None, None]
            if sigma:
                tensors["latent"] = np.float32(sigma) * _draw(key, seen, image.width, channels)
            return tensors

        grid = image.height, image.width
        if small.bicubic:
            enlarged = _bicubic(image.rgb, scale)
        else:
            enlarged = ((rows, rgb) for rows, (rgb,) in self._run("sample" if sigma else "up", grid, inputs))
        for rows, rgb in enlarged:
            strip = _luma(rgb) if _is_gray(small) else rgb
            if image.alpha is not None:
                strip = np.dstack([strip, bicubic_up_rows(image.alpha, scale, rows)])
            yield strip[: height - rows.start * scale, :width]

    @cached_property
    def _refiner(self) -> "Refiner":
        needs("torch", what="refining")
        from bdflow.runtime.refine import Refiner

        return Refiner(self.model, self.computing.device, self.computing.threads)

    @cached_property
    def _fingerprint(self) -> bytes:
        return bytes.fromhex(self.model.weights_sha256)[:8]

    def _from_pixels(self, picture: Picture, max_pixels: int) -> Downscaled:
        scale = self.model.scale
        size = (picture.width * scale, picture.height * scale)
        if size[0] * size[1] > max_pixels:
            raise BDFlowError(
                f"a picture of {picture.width}x{picture.height} without a bdflow chunk would become"
                f" {size[0]}x{size[1]}, more than {max_pixels:,} pixels: reduce or cut it first"
            )
        return Downscaled(
            image=picture,
            boundary=None,
            bits=self.model.bits,
            model=self.model.name,
            weights=self._fingerprint,
            scale=scale,
            size=size,
            bicubic=min(picture.width, picture.height) < _NARROWEST,
        )

    def _least(self, halo: int) -> int:
        """The smallest tile of which anything is kept."""
        return (2 * -(-halo // self.model.scale) + 1) * self.model.scale

    def _run(
        self, graph: str, grid: tuple[int, int], inputs: Callable[[slice], dict[str, NDArray[Any]]]
    ) -> Iterator[tuple[slice, list[NDArray[np.uint8]]]]:
        """Run one of the model's graphs, in tiles that see all that their pixels depend on: no seams.

        Args:
            graph: `down`, `up` or `sample`.
            grid: Height and width of the small picture.
            inputs: Takes rows of the small picture and gives tensors `(1, C, H, W)` of them, on the grid of
                the large picture for `down`, else of the small one.

        Yields:
            Rows of the small picture, and what becomes of them: pictures `(H, W, C)`, on the grid of the
            small picture for `down`, else of the large one.
        """
        session, scale = self.session(graph), self.model.scale
        before, after = (scale, 1) if graph == "down" else (1, scale)
        tile, halo = self.tile, self.model.halo
        if graph == "sample":  # Z is noise, and far counts: a measured halo does not hold
            halo = self.model.reach
            tile = tile if tile >= self._least(halo) else 3 * halo
        down, across = cut(*grid, tile // scale, -(-halo // scale))
        for rows in down:
            tensors = inputs(rows.seen)
            results: list[NDArray[np.uint8]] = []
            for columns in across:
                seen = times(columns.seen, before)
                cropped = {name: np.ascontiguousarray(full[..., seen]) for name, full in tensors.items()}
                outputs = session(cropped)
                if not results:
                    shape = (rows.kept.stop - rows.kept.start) * after, grid[1] * after
                    results = [np.empty((*shape, tensor.shape[1]), np.uint8) for tensor in outputs]
                inner = times(rows.inner, after), times(columns.inner, after)
                for result, tensor in zip(results, outputs, strict=True):
                    result[:, times(columns.kept, after)] = tensor[0].transpose(1, 2, 0)[inner]
            yield rows.kept, results


def check_draw(sigma: float, seed: int | None) -> None:
    """Refuse a Z that could not be drawn."""
    if not 0 <= sigma <= MAX_SIGMA:
        raise BDFlowError(f"sigma must be 0 to {MAX_SIGMA:g}, not {sigma}")
    if seed is not None and seed < 0:
        raise BDFlowError(f"a seed must be 0 or more, not {seed}")


def _draw(key: int, rows: slice, width: int, channels: int) -> NDArray[np.float32]:
    """Some rows of a Z, `(1, channels, H, W)`. Each has its own generator, so that no tile matters."""
    generators = (np.random.default_rng((key, row)) for row in range(rows.start, rows.stop))
    drawn = [generator.standard_normal((channels, width), np.float32) for generator in generators]
    return np.stack(drawn, axis=1)[None]


def _to_tensor(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return rgb.transpose(2, 0, 1)[None]


def _on_grid(rgb: NDArray[np.uint8], cells: slice, scale: int) -> NDArray[np.uint8]:
    """Some rows, by the padding rule: right and bottom edges repeat up to a multiple of the scale."""
    rows = rgb[times(cells, scale)]
    missing = (cells.stop - cells.start) * scale - len(rows), -rgb.shape[1] % scale
    return _to_tensor(np.pad(rows, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge"))


def _bicubic(rgb: NDArray[np.uint8], scale: int) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Rows of a small picture that the network is not for, and what becomes of them."""
    for top in range(0, len(rgb), TILE):
        rows = slice(top, min(len(rgb), top + TILE))
        planes = (np.ascontiguousarray(rgb[..., channel]) for channel in range(3))
        yield rows, np.dstack([bicubic_up_rows(plane, scale, rows) for plane in planes])


def _luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A colour picture's luma, `(H, W, 1)`."""
    return np.asarray(Image.fromarray(rgb).convert("L"))[..., None]


def _is_gray(small: Downscaled) -> bool:
    """Whether a gray picture is restored: the photograph was one, or nothing but a gray picture is known."""
    return small.gray or small.image.gray
