"""Pictures that come in strips, and a PNG that is written while they come: the whole is never in memory."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bdflow.pictures.codecs import check_writable, save
from bdflow.pictures.metadata import NONE, Choice, Metadata
from bdflow.pictures.reader import Array, turned
from bdflow.system.files import writing

_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_PNG_COLOUR = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
_BAND = 1 << 20  # samples that are filtered at a time
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Strips:
    """A picture from top to bottom. Its strips are made when they are asked for, and once.

    Attributes:
        size: width and height.
        mode: Pillow's: L, LA, RGB or RGBA.
        icc: the colour profile, or None.
        strips: uint8 (rows, width, channels), any number of rows each, all rows together.
        metadata: what goes along with the picture.
    """

    size: tuple[int, int]
    mode: str
    icc: bytes | None
    strips: Iterator[Array]
    metadata: Metadata = NONE

    @classmethod
    def of(cls, samples: Array) -> "Strips":
        """A picture (height, width, channels) in one strip."""
        height, width, channels = samples.shape
        mode = next(mode for mode, count in _CHANNELS.items() if count == channels)
        return cls((width, height), mode, None, iter([samples]))

    def turned(self, orientation: int) -> "Strips":
        """Upright, by EXIF's orientation: 1 leaves it as it is, any other needs the whole in memory."""
        if orientation == 1:
            return self
        size = (self.size[1], self.size[0]) if orientation > 4 else self.size

        def whole() -> Iterator[Array]:
            yield turned(np.concatenate(list(self.strips)), orientation)

        return Strips(size, self.mode, self.icc, whole(), self.metadata)

    def keeping(self, choice: Choice) -> "Strips":
        """The same, without the metadata where they are not to be kept."""
        return self if choice == "keep" else replace(self, metadata=NONE)

    def rgb(self) -> Array:
        """Its colours, uint8 (height, width, 3), without transparency."""
        rgb, top = np.empty((self.size[1], self.size[0], 3), np.uint8), 0
        for strip in self.strips:
            rgb[top : top + len(strip)] = strip[..., : 1 if self.mode in ("L", "LA") else 3]
            top += len(strip)
        return rgb

    def to_pil(self) -> Image.Image:
        """All of it, what goes along with it in `info` (see `bdflow.pictures.metadata.Metadata.info`)."""
        image, top = Image.new(self.mode, self.size), 0
        for strip in self.strips:
            image.paste(Image.fromarray(strip[..., 0] if self.mode == "L" else strip), (0, top))
            top += len(strip)
        if self.icc:
            image.info["icc_profile"] = self.icc
        image.info.update(self.metadata.info())
        return image

    def write_png(self, file: BinaryIO) -> None:
        """Write an 8-bit PNG, strip by strip."""
        width, height = self.size
        file.write(b"\x89PNG\r\n\x1a\n")
        _write_chunk(
            file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOUR[self.mode], 0, 0, 0)
        )
        for kind, body in self.metadata.png_chunks():
            _write_chunk(file, kind, body)
        if self.icc:
            _write_chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(self.icc))
        # Behind PNG's filters a photograph repeats nothing but runs: ten times as fast as Pillow's level 6,
        # for one per cent more bytes.
        deflater = zlib.compressobj(memLevel=9, strategy=zlib.Z_RLE)
        for rows in ahead(self._filtered()):
            if data := deflater.compress(rows):
                _write_chunk(file, b"IDAT", data)
        _write_chunk(file, b"IDAT", deflater.flush())
        _write_chunk(file, b"IEND", b"")

    def _filtered(self) -> Iterator[bytes]:
        """The picture's rows as PNG deflates them."""
        samples, channels = self.size[0] * _CHANNELS[self.mode], _CHANNELS[self.mode]
        count, above = max(1, _BAND // samples), np.zeros((1, samples), np.uint8)
        for strip in ahead(self.strips):
            for start in range(0, len(strip), count):
                band = strip[start : start + count].reshape(-1, samples)
                rows = np.concatenate((above, band))
                yield _filter(rows, channels).tobytes()
                above = rows[-1:]


def write(
    picture: Strips, path: str | os.PathLike[str], *, overwrite: bool = False, quality: int | None = None
) -> None:
    """Write a picture in the format that the path's ending names, whole or not at all.

    PNG is written while the strips come; any other format is encoded by Pillow, which holds the whole.

    Raises:
        BDFlowError: as `bdflow.pictures.codecs.check_writable` and `bdflow.system.files.writing`; or while a
            strip was made.
    """
    check_writable(path, *picture.size, alpha=picture.mode.endswith("A"), quality=quality)
    ending = Path(path).suffix[1:].lower()
    with writing(path, overwrite=overwrite) as file:
        if ending == "png":
            picture.write_png(file)
        else:
            buffer = io.BytesIO()  # Pillow's encoders would not tell a full disk from a bad picture
            save(picture.to_pil(), buffer, ending, quality, picture.metadata)
            file.write(buffer.getbuffer())


def ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The items, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        end = object()
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def _write_chunk(file: BinaryIO, kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind)
    file.write(body)
    file.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))


def _filter(rows: Array, channels: int) -> Array:
    """Rows behind the one above them to rows of PNG: each with the filter whose residues are the smallest.

    Args:
        rows: uint8 (1 + R, samples); the first is the row above, zeros at the top of the picture.
        channels: Samples to the pixel.

    Returns:
        uint8 (R, 1 + samples): behind the filter's number the residues.
    """
    current, up = rows[1:], rows[:-1]
    left, corner = (np.pad(line[:, :-channels], ((0, 0), (channels, 0))) for line in (current, up))
    mean = (left & up) + ((left ^ up) >> 1)  # (left + up) // 2, in 8 bits
    guesses = (None, left, up, mean, _paeth(left, up, corner))
    best = np.empty((len(current), 1 + current.shape[1]), np.uint8)
    least = np.full(len(current), np.iinfo(np.int64).max)
    for number, guess in enumerate(guesses):
        residues = current if guess is None else current - guess
        cost = np.minimum(residues, -residues).sum(axis=1, dtype=np.int64)
        better = cost < least
        best[better, 0], best[better, 1:] = number, residues[better]
        least = np.minimum(least, cost)
    return best


def _paeth(left: Array, up: Array, corner: Array) -> Array:
    """Whichever of the three is nearest to left + up - corner; the first of those equally near."""
    a, b, c = (samples.astype(np.int16) for samples in (left, up, corner))
    b -= c  # the way from the left to the estimate
    a -= c  # and from above
    from_left, from_up, from_corner = np.abs(b), np.abs(a), np.abs(a + b)
    nearest: NDArray[np.uint8] = np.where(from_up <= from_corner, up, corner)
    return np.where((from_left <= from_up) & (from_left <= from_corner), left, nearest)
