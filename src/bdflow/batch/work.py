"""What a batch does with each picture: shrinks it, by a model or in an ordinary codec, or restores it."""

from collections.abc import Callable
from typing import NamedTuple

from bdflow import fitting
from bdflow.evaluation.measure import read_back
from bdflow.fitting import Goal
from bdflow.fitting.rescalers import Rescalers
from bdflow.pictures import reader
from bdflow.pictures.limits import MAX_PIXELS
from bdflow.pictures.metadata import Choice
from bdflow.pictures.reader import Picture
from bdflow.pictures.strips import Strips
from bdflow.pictures.transparency import spread
from bdflow.quality.metrics import MAX_PSNR, psnr_y
from bdflow.runtime.enhancer import Enhancer
from bdflow.runtime.restorer import Restorer
from bdflow.smallfile.container import byte_report, ending_of, holds_chunk
from bdflow.system.files import FileSource, opened


class Made(NamedTuple):
    """The result of one picture.

    Attributes:
        data: Its file, or a picture to be written as PNG while it is made.
        width: Of the large picture.
        height: Of the large picture.
        psnr_y: Of the restored picture, where it was asked for.
        notes: What the user should know.
        suffix: What its file's name ends in, where the work chose that; such as `.webp`.
        size: Bytes of its file, when that is written.
        metadata: Bytes of them that are metadata, of a small file.
    """

    data: bytes | Strips
    width: int
    height: int
    psnr_y: float | None
    notes: tuple[str, ...]
    suffix: str | None = None
    size: int = 0
    metadata: int = 0


Work = Callable[[FileSource], Made | None]  # None: there is nothing to do with this file


def shrinking(
    rescalers: Rescalers,
    *,
    verify: bool,
    refine: int = 0,
    max_pixels: int = MAX_PIXELS,
    metadata: Choice = "strip",
) -> Work:
    """The work of `downscale`. Small files of bdflow's, found in a tree of photographs, are left out.

    Args:
        rescalers: The models.
        verify: Restore each small file, too, and measure PSNR-Y.
        refine: Steps by which each small picture is refined.
        max_pixels: Larger pictures fail before they are decoded.
        metadata: Whether the small files have those of the pictures.
    """

    def shrink(path: FileSource) -> Made | None:
        picture = _photograph(path, max_pixels, metadata)
        if picture is None:
            return None
        picture = spread(picture)  # what is verified is what can be seen
        rescaler = rescalers.of([picture])
        small = rescaler.downscale(picture, refine=refine)
        data = small.to_bytes()
        quality = None
        if verify:
            accepted, _ = rescaler.accept(data, max_pixels=max_pixels)
            quality = min(psnr_y(picture.rgb, rescaler.rgb(accepted)), MAX_PSNR)
        return _made(data, picture, quality, small.notes)

    return shrink


def coding(
    enhancer: Enhancer,
    goal: Goal,
    *,
    verify: bool = False,
    max_pixels: int = MAX_PIXELS,
    metadata: Choice = "strip",
) -> Work:
    """The work of `downscale` in an ordinary codec; small files are left out here, too.

    Args:
        enhancer: What restores.
        goal: Which files are asked for.
        verify, max_pixels, metadata: As for `shrinking`.
    """

    def shrink(path: FileSource) -> Made | None:
        picture = _photograph(path, max_pixels, metadata)
        if picture is None:
            return None
        picture = spread(fitting.in_srgb(picture))
        small = fitting.fit(picture, enhancer, goal).small
        measured = None
        if verify:
            stored = read_back(small, max_pixels=max_pixels)
            measured = min(psnr_y(picture.rgb, enhancer.rgb(stored)), MAX_PSNR)
        assert small.format is not None  # it was coded just now
        suffix = ending_of(small.format) if goal.format == fitting.BEST else None
        return _made(small.data, picture, measured, small.notes, suffix)

    return shrink


def _photograph(path: FileSource, max_pixels: int, metadata: Choice) -> Picture | None:
    """A picture that is no small file of bdflow's."""
    with opened(path) as (stream, name):
        return None if holds_chunk(stream) else reader.decode(stream, name, max_pixels, metadata=metadata)


def _made(
    data: bytes, picture: Picture, psnr_y: float | None, notes: tuple[str, ...], suffix: str | None = None
) -> Made:
    """The small file of a picture."""
    metadata = byte_report(data)["metadata"]
    return Made(data, picture.width, picture.height, psnr_y, notes, suffix, metadata=metadata)


def restoring(
    restorer: Restorer,
    *,
    sigma: float,
    seed: int | None,
    max_pixels: int = MAX_PIXELS,
    metadata: Choice = "keep",
) -> Work:
    """The work of `upscale`; results are PNG. Files of larger pictures than `max_pixels` fail."""

    def restore(path: FileSource) -> Made:
        rescaler, small, remarks = restorer.accept(path, max_pixels=max_pixels)
        name = "the data" if isinstance(path, bytes) else str(path)
        notes = tuple(remark.removeprefix(f"{name}: ") for remark in remarks)
        strips = rescaler.restore_strips(small, sigma=sigma, seed=seed).keeping(metadata)
        return Made(strips, *small.size, None, notes)

    return restore
