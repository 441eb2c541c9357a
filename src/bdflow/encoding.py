"""Pictures to files: the formats that bdflow writes, and what each can hold."""

import io
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bdflow.errors import BDFlowError
from bdflow.files import reason
from bdflow.images import Picture

__all__ = ["WRITABLE", "check_writable", "encode", "save", "smallest_png"]


@dataclass(frozen=True)
class _Format:
    pillow: str
    alpha: bool = True
    lossy: bool = False
    longest_side: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


_JPEG = _Format("JPEG", alpha=False, lossy=True, longest_side=65500, options={"subsampling": "4:4:4"})
_TIFF = _Format("TIFF", options={"compression": "tiff_adobe_deflate"})
_FORMATS = {
    "png": _Format("PNG"),
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "webp": _Format("WEBP", lossy=True, longest_side=16383),
    "avif": _Format("AVIF", lossy=True, longest_side=32768),
    "tif": _TIFF,
    "tiff": _TIFF,
    "bmp": _Format("BMP", alpha=False),
}
WRITABLE = frozenset(_FORMATS)
_DEFAULT_QUALITY = 95

# Which is smallest depends on the picture. Beyond a million pixels level 9 costs seconds for a percent.
_SMALL_PNG: tuple[dict[str, Any], ...] = (
    {"optimize": True},
    {"compress_level": 9},
    {"compress_type": zlib.Z_RLE},
)
_LARGE_PNG: tuple[dict[str, Any], ...] = ({"compress_level": 6}, {"compress_type": zlib.Z_RLE})
_LARGE = 1 << 20


def encode(picture: Picture, format: str, quality: int | None = None) -> bytes:
    """The bytes of a file.

    Args:
        picture: what to write. Its profile goes along, except into BMP, which has no place for one.
        format: png, jpg, jpeg, webp, avif, tif, tiff or bmp.
        quality: 1..100 for jpg, webp and avif, 95 if None; the others are lossless and take none.

    Raises:
        BDFlowError: an unknown format, a quality where none belongs, or a picture the format cannot hold.
    """
    buffer = io.BytesIO()
    save(picture.to_pil(), buffer, format, quality)
    return buffer.getvalue()


def save(image: Image.Image, file: BinaryIO, format: str, quality: int | None = None) -> None:
    """`encode` for a Pillow image of mode L, LA, RGB or RGBA, into a stream.

    Raises:
        BDFlowError: as `encode`, or the stream cannot be written.
    """
    kind = _format(format, image.width, image.height, image.mode.endswith("A"), quality)
    options = dict(kind.options)
    if kind.lossy:
        options["quality"] = _DEFAULT_QUALITY if quality is None else quality
    try:
        image.save(file, kind.pillow, icc_profile=image.info.get("icc_profile"), **options)
    except Exception as error:  # each of Pillow's encoders has its own ways to say "too large"
        size = f"{image.width}x{image.height}"
        raise BDFlowError(f"cannot write {size} as {format}: {reason(error)}; png takes any size") from error


def check_writable(
    path: str | os.PathLike[str], width: int, height: int, alpha: bool, quality: int | None = None
) -> None:
    """Refuse, before a picture is made, what `save` would refuse for the format of its path's ending.

    Raises:
        BDFlowError: the path's ending names no format, or one that cannot hold such a picture, or a quality
            that it does not have.
    """
    ending = Path(path).suffix[1:]
    if not ending:
        raise BDFlowError(f"{os.fspath(path)}: add an ending, one of {', '.join(_FORMATS)}")
    _format(ending, width, height, alpha, quality)


def _format(name: str, width: int, height: int, alpha: bool, quality: int | None) -> _Format:
    kind = _FORMATS.get(name.lower())
    if kind is None:
        raise BDFlowError(f"cannot write {name!r}: choose one of {', '.join(_FORMATS)}")
    if alpha and not kind.alpha:
        raise BDFlowError(f"{name} cannot hold transparency: write png, webp, avif or tif")
    if kind.longest_side and max(width, height) > kind.longest_side:
        most = f"a side has at most {kind.longest_side:,} pixels"
        raise BDFlowError(f"cannot write {width}x{height} as {name}: {most}; png takes any size")
    if quality is not None and not kind.lossy:
        raise BDFlowError(f"{name} is lossless and takes no quality: leave it out or write jpg")
    if quality is not None and not 1 <= quality <= 100:
        raise BDFlowError(f"quality must be 1..100, not {quality}")
    return kind


def smallest_png(image: Image.Image, info: PngInfo | None = None) -> bytes:
    """The smallest PNG that Pillow writes of a picture, with the chunks of ``info``."""
    files = []
    for options in _SMALL_PNG if image.width * image.height <= _LARGE else _LARGE_PNG:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", pnginfo=info, **options)
        files.append(buffer.getvalue())
    return min(files, key=len)
