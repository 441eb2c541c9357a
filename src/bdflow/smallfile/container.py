"""Small files of any container: the container by the first bytes or the ending, and the content.

`CONTAINERS` lists a module for each format, which puts bdflow's payload into a file and finds it there.
`bdflow.smallfile.payload` packs the payload, `bdflow.smallfile.protocol` says what a container must do.
"""

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures import reader
from bdflow.pictures.limits import MAX_PIXELS
from bdflow.pictures.reader import Picture, Source
from bdflow.smallfile import avif, jpeg, payload, png, webp
from bdflow.smallfile.downscaled import Downscaled
from bdflow.smallfile.payload import SmallFile
from bdflow.smallfile.protocol import Container, Parts
from bdflow.smallfile.quantizer import quality
from bdflow.smallfile.thumbnail import Thumbnail
from bdflow.system.files import named, opened

__all__ = [
    "CONTAINERS",
    "Downscaled",
    "NoChunkError",
    "Thumbnail",
    "byte_report",
    "check_ending",
    "ending_of",
    "holds_chunk",
    "of_ending",
    "photograph_size",
    "read",
]

CONTAINERS: tuple[Container, ...] = (png, avif, webp, jpeg)
"""The modules of the containers."""

_HEAD = 12  # bytes by which a file is recognised


class NoChunkError(BDFlowError):
    """A picture without bdflow's data: it was saved anew, converted, or never made by bdflow.

    Attributes:
        picture: its pixels, from which a caller who knows the model can still restore.
        name: of the file, as in messages.
        format: the container's name, such as "PNG"; None of other files.
        quality: of a lossy format, by its quantiser, 0 to 100; None where that is not known.
    """

    def __init__(
        self,
        message: str,
        picture: Picture,
        name: str = "the picture",
        format: str | None = None,
        quality: float | None = None,
    ) -> None:
        super().__init__(message)
        self.picture, self.name, self.format, self.quality = picture, name, format, quality

    def __reduce__(self) -> tuple[Any, ...]:
        return NoChunkError, (str(self), self.picture, self.name, self.format, self.quality)


def of_ending(path: str | os.PathLike[str]) -> Container:
    """The container that a path's ending names.

    Raises:
        BDFlowError: it names none.
    """
    ending = Path(path).suffix.lower()
    for container in CONTAINERS:
        if ending in container.ENDINGS:
            return container
    endings = ", ".join(ending for known in CONTAINERS for ending in known.ENDINGS)
    raise BDFlowError(f"{os.fspath(path)}: a small file ends in one of {endings}")


def ending_of(name: str) -> str:
    """What names of a container's files end in: ".jpg" of "JPEG"."""
    return next(container.ENDINGS[0] for container in CONTAINERS if name == container.NAME)


def check_ending(path: str | os.PathLike[str], name: str) -> None:
    """Refuse a path whose ending is another container's.

    Raises:
        BDFlowError: its ending is none of the container's.
    """
    container = next(known for known in CONTAINERS if name == known.NAME)
    if Path(path).suffix.lower() not in container.ENDINGS:
        endings = " or ".join(container.ENDINGS)
        raise BDFlowError(f"{os.fspath(path)}: the small file is a {name}: end its name in {endings}")


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> SmallFile:
    """Read a small file.

    Its pixels are never turned. The picture's `orientation` is that of its EXIF, which a program may have
    written; the restored picture is turned by it.

    Args:
        source: a path, the bytes of a file, or a binary stream. (What else
            `bdflow.pictures.reader.read` takes has no chunk.)
        max_pixels: files whose LR image or photograph is larger are refused before anything is decoded.

    Raises:
        NoChunkError: a picture, but without bdflow's chunk; the error carries the picture.
        BDFlowError: the file is missing, empty, damaged, too large, no picture, or made by a newer bdflow.
    """
    if isinstance(source, np.ndarray | Image.Image):
        raise NoChunkError("Pixels alone hold no bdflow chunk.", reader.read(source, max_pixels=max_pixels))
    with opened(source) as (stream, name):
        restoring, container = None, _recognised(stream)
        if container:
            with named(name):
                parts = container.parts(stream)
                restoring = _unpacked(parts, container.NAME)
            if restoring:
                size = parts.size or reader.size(stream, name, max_pixels)
                with named(name):
                    restoring.check(size, max_pixels)
        picture = reader.decode(stream, name, max_pixels, metadata="keep", as_stored=True)
        if restoring is None or container is None:
            cause = "it was re-saved or converted, or never made by bdflow."
            message = f"{name}: no bdflow chunk in this file: {cause}"
            if container is None:
                raise NoChunkError(message, picture, name)
            stream.seek(0)
            coded = b"" if container is png else stream.read()
            raise NoChunkError(message, picture, name, container.NAME, quality(coded))
        with named(name):
            stream.seek(0)
            data = b"" if container is png else stream.read()
            return restoring.with_picture(picture, data, container.NAME)


def holds_chunk(stream: BinaryIO) -> bool:
    """Whether a seekable stream, at its start before and after, is a file with bdflow's chunk."""
    try:
        container = _recognised(stream)
        return container is not None and container.holds_payload(stream)
    except BDFlowError:  # a damaged file; whoever reads its pixels will say so
        return False
    finally:
        stream.seek(0)


def photograph_size(stream: BinaryIO, name: str = "the picture") -> tuple[int, int] | None:
    """Width and height of what a small file restores to; None of other pictures. Nothing is decoded.

    Raises:
        BDFlowError: the file is damaged, or made by a newer bdflow.
    """
    container = _recognised(stream)
    if container is None:
        return None
    with named(name):
        parts = container.parts(stream)
        restoring = _unpacked(parts, container.NAME)
    return restoring.photograph(parts.size or reader.size(stream, name)) if restoring else None


def byte_report(data: bytes) -> dict[str, int]:
    """Where every byte of a small file goes.

    Returns:
        `pixels` (compressed LR samples), `boundary`, `header` (the rest of bdflow's chunk), `profile`
        (compressed ICC), `metadata` (EXIF, XMP, IPTC, texts) and `structure` (the container's frames and all
        else); together `len(data)`.

    Raises:
        BDFlowError: no file of a container, or a damaged one.
    """
    stream = io.BytesIO(data)
    container = _recognised(stream)
    if container is None:
        raise BDFlowError(f"not a {_names()}: only a {_names()} can hold bdflow's data")
    parts = container.parts(stream)
    restoring = _unpacked(parts, container.NAME)
    shares = restoring.shares() if restoring else {}
    carried = len(parts.payload or b"")
    return {
        "pixels": parts.pixels,
        "boundary": shares.get("boundary", 0),
        "header": carried - sum(shares.values()),
        "profile": parts.profile + shares.get("profile", 0),
        "metadata": parts.metadata,
        "structure": len(data) - parts.pixels - parts.profile - parts.metadata - carried,
    }


def _recognised(stream: BinaryIO) -> Container | None:
    """What a stream's first bytes say it is; it stands at its start again."""
    head = stream.read(_HEAD)
    stream.seek(0)
    return next((container for container in CONTAINERS if container.begins(head)), None)


def _unpacked(parts: Parts, format: str) -> payload.Payload | None:
    """What the payload says; the container may not have one."""
    if parts.payload is None:
        return None
    if parts.payloads > 1:
        raise BDFlowError(f"holds {parts.payloads} bdflow chunks where one belongs: get the file again")
    return payload.unpack(parts.payload, format)


def _names() -> str:
    return " or ".join(container.NAME for container in CONTAINERS)
