"""Pictures in a codec: the one place that says how each format is written, and reads it back.

A `Codec` is a format and all settings that decide its bytes but the quality. The small file, restored
pictures, the rivals of `compare` and `reproduce`, and training pairs are written by the codecs below. No
setting is left to the machine: the same picture gives the same bytes, whatever the number of cores.
"""

import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features
from PIL.PngImagePlugin import PngInfo

from bdflow.errors import BDFlowError
from bdflow.pictures.metadata import NONE, Metadata
from bdflow.pictures.reader import NO_AVIF, Picture
from bdflow.system.extras import needs
from bdflow.system.files import reason

__all__ = [
    "AVIF",
    "AVIF_FOR_EYE",
    "JPEG",
    "JPEG_XL",
    "WEBP",
    "WEBP_LOSSLESS",
    "WRITABLE",
    "Codec",
    "check_writable",
    "encode",
    "save",
    "smallest_png",
]

Samples: TypeAlias = NDArray[np.uint8]
Chroma: TypeAlias = Literal["4:2:0", "4:4:4"]


@dataclass(frozen=True)
class Format:
    """A picture format, and what it can hold.

    Attributes:
        name: What people call it.
        pillow: What Pillow calls it; None where another library writes it.
        alpha: Whether it holds transparency.
        qualities: The lowest and the highest quality; None of a lossless format.
        longest_side: In pixels; None where there is no bound that matters.
    """

    name: str
    pillow: str | None
    alpha: bool = True
    qualities: tuple[int, int] | None = None
    longest_side: int | None = None


_PNG = Format("PNG", "PNG")
_TIFF = Format("TIFF", "TIFF")
_BMP = Format("BMP", "BMP", alpha=False)
_JPEG = Format("JPEG", "JPEG", alpha=False, qualities=(1, 100), longest_side=65500)
_WEBP = Format("WebP", "WEBP", qualities=(0, 100), longest_side=16383)
_WEBP_LOSSLESS = Format("WebP lossless", "WEBP", longest_side=16383)
_AVIF = Format("AVIF", "AVIF", qualities=(0, 100), longest_side=32768)  # it writes more, and reads no more
# Steps of the Butteraugli distance: each divides it by 2^(1/64), from 25, the coarsest that libjxl knows.
_JPEG_XL = Format("JPEG XL", None, qualities=(0, 576), longest_side=0xFFFF)


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A format with settings: from a picture and a quality to bytes, and back.

    Attributes:
        format: What is written.
        effort: The encoder's own scale, of which more is slower: WebP's method 0..6, JPEG XL's effort 1..9,
            10 minus AVIF's speed 0..10. For JPEG 0 writes the standard Huffman tables, 1 the picture's own,
            2 those or a progressive file, whichever is shorter; the pixels are the same. None where a format
            has none.
        chroma: Whether colour has half the resolution of brightness. None where the format decides.
        tuning: The error that AVIF's encoder spends its bytes on: `psnr`, `ssim` or `iq` (for the eye).
    """

    format: Format
    effort: int | None = None
    chroma: Chroma | None = None
    tuning: Literal["psnr", "ssim", "iq"] | None = None

    @property
    def name(self) -> str:
        return self.format.name

    @property
    def qualities(self) -> tuple[int, int]:
        """The lowest and the highest quality; of a lossless format 0 and 0."""
        return self.format.qualities or (0, 0)

    @property
    def steps(self) -> list[int]:
        """The qualities that give files of their own, growing: AVIF's 101 are 64 quantisers."""
        low, high = self.qualities
        every = range(low, high + 1)
        if self.format is not _AVIF:
            return list(every)
        # As libavif rounds; the last of those that are one. If it should round otherwise, steps get coarser.
        return list({(63 * (100 - quality) + 50) // 100: quality for quality in every}.values())

    def settings(self) -> dict[str, Any]:
        """What a results file says of it, besides the quality."""
        settings = {"effort": self.effort, "chroma": self.chroma, "tuning": self.tuning}
        return {"codec": self.name} | {name: value for name, value in settings.items() if value is not None}

    def encode(self, picture: Image.Image | Samples, quality: int = 0) -> bytes:
        """The file of a picture.

        Args:
            picture: An image of mode L, LA, RGB or RGBA, whose `info["icc_profile"]` goes along where the
                format has a place for it; or uint8 samples (H, W) or (H, W, 2 to 4).
            quality: Within `qualities`; a lossless format ignores it.

        Raises:
            BDFlowError: The package that writes the format is missing.
            Exception: Whatever the encoder raises of a picture that the format cannot hold.
        """
        buffer = io.BytesIO()
        self.write(picture if isinstance(picture, Image.Image) else Image.fromarray(picture), buffer, quality)
        return buffer.getvalue()

    def write(self, image: Image.Image, file: BinaryIO, quality: int = 0, metadata: Metadata = NONE) -> None:
        """`encode` into a stream, with metadata as far as the format has places for them."""
        if self.format is _JPEG_XL:
            file.write(_encode_jpeg_xl(np.asarray(image), quality, self.effort))
            return
        first, *others = [options | self._describing(metadata) for options in self._options(image, quality)]
        if metadata and self.format in (_PNG, _TIFF):
            buffer = io.BytesIO()
            image.save(buffer, self.format.pillow, **first)
            complete = metadata.in_png if self.format is _PNG else metadata.in_tiff
            file.write(complete(buffer.getvalue()))
            return
        if not others:
            image.save(file, self.format.pillow, **first)
            return
        files = []
        for options in (first, *others):
            buffer = io.BytesIO()
            image.save(buffer, self.format.pillow, **options)
            files.append(buffer.getvalue())
        file.write(min(files, key=len))

    def _describing(self, metadata: Metadata) -> dict[str, Any]:
        """Pillow's options for what goes along with a picture."""
        if self.format is _JPEG:
            return {"extra": metadata.jpeg_segments()}
        if self.format in (_WEBP, _AVIF):  # Pillow would write AVIF's orientation, and all else, anew
            block = metadata.block(orientation=self.format is _WEBP)
            return {"exif": block or b"", "xmp": metadata.xmp or b""}
        return {"dpi": metadata.dpi} if metadata.dpi and self.format is _BMP else {}

    def decode(self, data: bytes) -> Samples:
        """The samples of a file of the format, uint8 (H, W) or (H, W, 2 to 4).

        Raises:
            BDFlowError: The package that reads the format is missing.
            ValueError: It is no such file.
        """
        if self.format is _JPEG_XL:
            return _decode_jpeg_xl(data)
        try:
            with Image.open(io.BytesIO(data), formats=[str(self.format.pillow)]) as image:
                return np.array(image)
        except UnidentifiedImageError as error:
            raise ValueError(f"no {self.name}") from error

    def _options(self, image: Image.Image, quality: int) -> list[dict[str, Any]]:
        """Pillow's options; where there are two sets, both give the same pixels."""
        common: dict[str, Any] = {"icc_profile": image.info.get("icc_profile")}
        if self.format is _JPEG:
            common |= {"quality": quality, "subsampling": self.chroma, "optimize": bool(self.effort)}
            # Progressive is the shorter for most photographs; its scan headers cost a thumbnail 240 bytes.
            return [common, *[common | {"progressive": True}] * (self.effort == 2)]
        if self.format is _WEBP:
            return [common | {"quality": quality, "method": self.effort}]
        if self.format is _WEBP_LOSSLESS:
            return [common | {"lossless": True, "quality": 100, "method": self.effort}]
        if self.format is _TIFF:
            return [common | {"compression": "tiff_adobe_deflate"}]
        if self.format is _AVIF:
            if not features.check("avif"):
                raise BDFlowError(NO_AVIF)
            gray = image.mode in ("L", "LA")
            common |= {"quality": quality, "speed": 10 - (self.effort or 0)}
            common |= {"subsampling": "4:0:0" if gray else self.chroma}
            if quality < 100:  # that is lossless: there is no error to tune
                common |= {"advanced": {"tune": self.tuning}}
            # Tiles and threads change the bytes, which must not depend on the machine.
            return [common | {"codec": "aom", "autotiling": False, "max_threads": 2}]
        return [common]


# The small file and its rivals: the most that a format gives for its bytes, in seconds for a megapixel.
JPEG = Codec(format=_JPEG, effort=2, chroma="4:2:0")
WEBP = Codec(format=_WEBP, effort=6)
AVIF = Codec(format=_AVIF, effort=7, chroma="4:2:0", tuning="psnr")
AVIF_FOR_EYE = Codec(format=_AVIF, effort=7, chroma="4:2:0", tuning="iq")
JPEG_XL = Codec(format=_JPEG_XL, effort=7)
WEBP_LOSSLESS = Codec(format=_WEBP_LOSSLESS, effort=6)

# Restored pictures, by the endings of their names: quick, and tuned for the eye.
_FOR_RESTORED = {
    "png": Codec(format=_PNG),
    "jpg": Codec(format=_JPEG, effort=0, chroma="4:4:4"),
    "jpeg": Codec(format=_JPEG, effort=0, chroma="4:4:4"),
    "webp": Codec(format=_WEBP, effort=4),
    "avif": Codec(format=_AVIF, effort=4, chroma="4:2:0", tuning="iq"),
    "tif": Codec(format=_TIFF),
    "tiff": Codec(format=_TIFF),
    "bmp": Codec(format=_BMP),
}
WRITABLE = frozenset(_FOR_RESTORED)
_DEFAULT_QUALITY = 95


def encode(picture: Picture, ending: str, quality: int | None = None) -> bytes:
    """The file of a restored picture.

    Args:
        picture: What to write. Its profile and metadata go along; BMP keeps nothing but the resolution.
        ending: png, jpg, jpeg, webp, avif, tif, tiff or bmp.
        quality: 1..100 for jpg, webp and avif, 95 if None; the others are lossless and take none.

    Raises:
        BDFlowError: An unknown ending, a quality where none belongs, or a picture the format cannot hold.
    """
    buffer = io.BytesIO()
    save(picture.to_pil(), buffer, ending, quality, picture.metadata)
    return buffer.getvalue()


def save(
    image: Image.Image,
    file: BinaryIO,
    ending: str,
    quality: int | None = None,
    metadata: Metadata = NONE,
) -> None:
    """`encode` for a Pillow image of mode L, LA, RGB or RGBA, into a stream.

    Raises:
        BDFlowError: As `encode`, or the stream cannot be written.
    """
    codec = _restored(ending, image.width, image.height, image.mode.endswith("A"), quality)
    try:
        codec.write(image, file, _DEFAULT_QUALITY if quality is None else quality, metadata)
    except BDFlowError:
        raise
    except Exception as error:  # each of Pillow's encoders has its own ways to say "too large"
        size = f"{image.width}x{image.height}"
        raise BDFlowError(f"cannot write {size} as {ending}: {reason(error)}; png takes any size") from error


def check_writable(
    path: str | os.PathLike[str], width: int, height: int, alpha: bool, quality: int | None = None
) -> None:
    """Refuse, before a picture is made, what `save` would refuse for the format of its path's ending.

    Raises:
        BDFlowError: The path's ending names no format, or one that cannot hold such a picture, or a quality
            that it does not have.
    """
    ending = Path(path).suffix[1:]
    if not ending:
        raise BDFlowError(f"{os.fspath(path)}: add an ending, one of {', '.join(_FOR_RESTORED)}")
    _restored(ending, width, height, alpha, quality)


def _restored(ending: str, width: int, height: int, alpha: bool, quality: int | None) -> Codec:
    codec = _FOR_RESTORED.get(ending.lower())
    if codec is None:
        raise BDFlowError(f"cannot write {ending!r}: choose one of {', '.join(_FOR_RESTORED)}")
    kind = codec.format
    if alpha and not kind.alpha:
        raise BDFlowError(f"{ending} cannot hold transparency: write png, webp, avif or tif")
    if kind.longest_side and max(width, height) > kind.longest_side:
        most = f"a side has at most {kind.longest_side:,} pixels"
        raise BDFlowError(f"cannot write {width}x{height} as {ending}: {most}; png takes any size")
    if quality is not None and not kind.qualities:
        raise BDFlowError(f"{ending} is lossless and takes no quality: leave it out or write jpg")
    if quality is not None and not 1 <= quality <= 100:
        raise BDFlowError(f"quality must be 1..100, not {quality}")
    return codec


# Which is smallest depends on the picture. Beyond a million pixels level 9 costs seconds for a percent.
_SMALL_PNG: tuple[dict[str, Any], ...] = (
    {"optimize": True},
    {"compress_level": 9},
    {"compress_type": zlib.Z_RLE},
)
_LARGE_PNG: tuple[dict[str, Any], ...] = ({"compress_level": 6}, {"compress_type": zlib.Z_RLE})
_LARGE = 1 << 20


def smallest_png(image: Image.Image, info: PngInfo | None = None) -> bytes:
    """The smallest PNG that Pillow writes of a picture, with the chunks of `info`."""
    files = []
    for options in _SMALL_PNG if image.width * image.height <= _LARGE else _LARGE_PNG:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", pnginfo=info, **options)
        files.append(buffer.getvalue())
    return min(files, key=len)


def _encode_jpeg_xl(samples: Samples, quality: int, effort: int | None) -> bytes:
    """JPEG XL as libjxl writes it, without a container. Bytes do not grow with every step of quality."""
    coded = _imagecodecs().jpegxl_encode(
        samples,
        distance=25 * 2 ** (-quality / 64),
        lossless=False,
        effort=effort,
        usecontainer=False,
        numthreads=1,
    )
    return bytes(coded)


def _decode_jpeg_xl(data: bytes) -> Samples:
    try:
        return np.asarray(_imagecodecs().jpegxl_decode(data, numthreads=1))
    except RuntimeError as error:  # imagecodecs' own; for other formats it raises ValueError itself
        raise ValueError("no JPEG XL") from error


def _imagecodecs() -> Any:
    needs("bench", "imagecodecs", what="JPEG XL")
    import imagecodecs

    return imagecodecs
