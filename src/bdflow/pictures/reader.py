"""Pictures in: what Pillow reads becomes 8-bit RGB, with its alpha and its colour profile.

Colours change only as far as 8-bit RGB needs it. `Picture.notes` says what reading changed.
"""

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError, features

from bdflow.errors import BDFlowError
from bdflow.pictures import png_input
from bdflow.pictures.limits import MAX_PIXELS, MAX_PROFILE, MAX_SIDE, too_large
from bdflow.pictures.metadata import Choice
from bdflow.pictures.metadata import read as metadata_of
from bdflow.pictures.picture import Array, Axes, Picture, axes_of, fitting_profile, of_samples, turned
from bdflow.pictures.sample_meaning import other_than_srgb
from bdflow.system.files import FileSource, named, opened

__all__ = [
    "MAX_PIXELS",
    "MAX_PROFILE",
    "MAX_SIDE",
    "NO_AVIF",
    "READABLE",
    "Array",
    "Picture",
    "Source",
    "decode",
    "fitting_profile",
    "read",
    "size",
    "too_large",
    "turned",
]

Source: TypeAlias = FileSource | Image.Image | npt.NDArray[Any]
"""A path, the bytes of a file, an open file, a PIL image, or an array (H, W), or (H, W, 1 to 4)."""

# A bomb is a small file of a huge picture, and takes its memory before it can be told from one that is cut
# short. No photograph has so few bytes: a PNG of one colour has 344 pixels per byte, a bilevel one 8,256.
_PIXELS_A_BYTE = 10_000
_PIXELS_FREE = 1 << 24  # smaller ones are no bombs

# Pillow's names, tried in this order. No others: it would run Ghostscript on EPS, and take junk for TGA.
_READERS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000")
_ENDINGS = (
    *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "mpo", "webp", "tif", "tiff", "bmp", "gif"),
    *("pbm", "pgm", "ppm", "pnm", "avif", "avifs", "jp2", "j2k", "j2c", "jpc", "jpf", "jpx"),
)
READABLE = frozenset("." + ending for ending in _ENDINGS)
"""How the names of pictures end, in lower case."""

NO_AVIF = "this Pillow was built without AVIF: pip install --upgrade pillow"
"""The error line where Pillow lacks AVIF."""

_OPTIONAL = ("webp", "zstd", "lzma", "jbig")  # compressions of TIFF that libtiff may have been built without
_GRAY = ("1", "L", "LA", "La")  # Pillow's modes
_BAND = 1 << 20  # pixels that are converted at a time


def read(
    source: Source, *, max_pixels: int = MAX_PIXELS, turn: bool = True, metadata: Choice = "strip"
) -> Picture:
    """Read a photograph, upright and 8-bit.

    The EXIF rotation is applied, of a Pillow image, too, and the ICC profile is kept.
    Palettes become RGB or RGBA. 16-bit samples are reduced to 8: `round(v / 257)` in gray pictures and in
    arrays; in colour ones Pillow keeps the high byte. CMYK and LAB become RGB and lose their profile. Of an
    animation, the first frame is read.

    Args:
        source: a path, the bytes of a file, a binary stream (read from where it stands), a Pillow image, or a
            uint8 or uint16 array, (height, width) or (height, width, channels), the channels being gray,
            gray and alpha, RGB or RGBA.
        max_pixels: larger pictures are refused before they are decoded.
        turn: False if the samples stand upright already, as in a Pillow image that was turned but kept its
            EXIF.
        metadata: "keep" puts EXIF, XMP, IPTC and the resolution into `Picture.metadata`; "strip" drops them.

    Returns:
        The picture; it shares no memory with the source.

    Raises:
        BDFlowError: the source is missing, empty, damaged, too large, or no picture.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        with named("the image"):
            picture = _from_pil(source, max_pixels, turn=turn)
            return _with_metadata(picture, source, turn=turn) if metadata == "keep" else picture
    with opened(source) as (stream, name):
        return decode(stream, name, max_pixels, turn=turn, metadata=metadata)


def decode(
    stream: BinaryIO,
    name: str,
    max_pixels: int = MAX_PIXELS,
    *,
    turn: bool = True,
    metadata: Choice = "strip",
    as_stored: bool = False,
) -> Picture:
    """`read` for a seekable stream, from its start, under the name that errors shall give.

    With `as_stored`, as for a small picture, nothing is turned, every profile is kept, and `orientation` is
    that of the file.
    """
    length = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    is_png = stream.read(len(png_input.SIGNATURE)) == png_input.SIGNATURE

    def attempt(stream: BinaryIO) -> Picture:
        image = _open_header(stream, max_pixels)
        raw_mode = str(image.tile)
        picture = _from_pil(image, max_pixels, length, turn=turn, as_stored=as_stored)
        if "'RGB;16B'" in raw_mode and "transparency" in image.info:
            picture = _exact_transparency(picture, image, stream, turn and not as_stored)
        if metadata == "keep":
            picture = _with_metadata(picture, image, stream, turn=turn)
        return picture

    with named(name), _told_of(name):
        if is_png:
            png_input.check_pixels(stream)
        try:
            picture = attempt(stream)
        except _Unreadable:
            if not is_png:
                raise
            data, dropped = png_input.essentials(stream)
            picture = attempt(io.BytesIO(data))
            picture = replace(picture, notes=(*picture.notes, *dropped))
    if picture.icc is None and (meaning := other_than_srgb(stream)):
        picture = replace(picture, notes=(*picture.notes, f"{meaning} samples taken for sRGB"))
    return picture


class _Unreadable(BDFlowError):
    """Pillow cannot read a file."""


_being_read: ContextVar[str | None] = ContextVar("being_read", default=None)


@contextmanager
def _told_of(name: str) -> Iterator[None]:
    token = _being_read.set(name)
    try:
        yield
    finally:
        _being_read.reset(token)


def being_read() -> str | None:
    """The file that this thread is decoding, for Pillow's warnings, which do not name it."""
    return _being_read.get()


def size(stream: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height that the header of a picture tells; as `decode`, but nothing is decoded."""
    with named(name):
        return _open_header(stream, max_pixels).size


_pillow_limit = threading.Lock()


def _open_header(stream: BinaryIO, max_pixels: int) -> ImageFile.ImageFile:
    # Pillow's own limit is a global, and below ours; it is lifted while the header is read, and only then.
    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", "image file could not be identified", UserWarning)
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            stream.seek(0)
            return Image.open(stream, formats=_READERS)
        except Image.DecompressionBombError as error:
            raise BDFlowError(f"it has more than {max_pixels:,} pixels: reduce it first") from error
        except UnidentifiedImageError as error:
            stream.seek(0)
            if stream.read(12)[4:] in (b"ftypavif", b"ftypavis") and not features.check("avif"):
                raise BDFlowError(NO_AVIF) from error
            raise _Unreadable(f"no picture that bdflow reads ({', '.join(_READERS)})") from error
        except Exception as error:  # a plugin that stumbles over a damaged header raises anything
            raise _Unreadable(_why(error)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _why(error: Exception, compression: object = None) -> str:
    """A line for what Pillow raised, of a picture of some compression."""
    message = str(error)
    if "closed" in message:
        return "the image is closed: open it again, or load() it first"
    if message.startswith("Unsupported"):
        return f"{message[0].lower()}{message[1:]}: convert it to PNG first"
    if "Not implemented" in message or "invalid palette" in message:
        return "of a kind that is not read here: convert it to PNG first"
    if "decoder error" in message and compression in _OPTIONAL:
        return f"its compression ({compression}) is not read here, or it is damaged: convert it to PNG first"
    return png_input.DAMAGED


def _from_pil(
    image: Image.Image, max_pixels: int, length: int | None = None, *, turn: bool, as_stored: bool = False
) -> Picture:
    """A picture of an opened one, whose file has so many bytes."""
    if not min(image.size):
        raise BDFlowError(f"{image.width}x{image.height} pixels are no picture")
    if why := too_large(image.width, image.height, max_pixels):
        raise BDFlowError(f"{why}: reduce it first")
    pixels = image.width * image.height
    if length is not None and pixels > max(_PIXELS_FREE, length * _PIXELS_A_BYTE):
        size = f"{image.width}x{image.height} pixels in {length:,} bytes"
        raise BDFlowError(f"{size} can be no photograph: get it again")
    try:
        return _convert(image, turn, as_stored)
    except BDFlowError:
        raise
    except MemoryError as error:
        raise BDFlowError(f"not enough memory for {image.width}x{image.height} pixels") from error
    except Exception as error:  # decoders meet hostile bytes and raise anything
        raise _Unreadable(_why(error, image.info.get("compression"))) from error


def _convert(image: Image.Image, turn: bool, as_stored: bool) -> Picture:
    notes = []
    if getattr(image, "is_animated", False):
        pages = image.format in ("TIFF", "MPO")
        number = image.tell() + 1  # whoever gave a Pillow image may have chosen
        if number > 1:
            notes.append(f"{'several pictures: number' if pages else 'animation: frame'} {number} only")
        else:
            notes.append("several pictures: first one only" if pages else "animation: first frame only")
    # Pillow names how samples lie in the file, such as "RGB;16B" or a PPM's ("RGB", 65535), but hands out 8
    # bits of them. Of JPEG 2000 and AVIF it does not tell.
    raw_mode = str(getattr(image, "tile", None) or "")
    if re.search(r"(?<!BGR);16", raw_mode) or ", 65535)" in raw_mode or image.mode.startswith("I"):
        notes.append("16-bit samples reduced to 8 bits")
    image.load()  # may change the mode and add to the info
    orientation = _orientation(image, notes)
    axes = axes_of(orientation if turn and not as_stored else 1)
    icc = _icc(image) if as_stored else _profile(image, "'LA;16" in raw_mode, notes)
    key = _transparent_sample(image, raw_mode)
    picture = _copied(image, "'LA;16" in raw_mode, key, axes, icc, tuple(notes))
    return replace(picture, orientation=orientation) if as_stored else picture


def _with_metadata(
    picture: Picture, image: Image.Image, stream: BinaryIO | None = None, *, turn: bool
) -> Picture:
    """A picture, and what goes along with it; of one that will be turned, as it will then be."""
    metadata, notes = metadata_of(image, stream, turned=turn and axes_of(_orientation(image, []))[2])
    return replace(picture, metadata=metadata, notes=(*picture.notes, *notes))


def _transparent_sample(image: Image.Image, raw_mode: str) -> Any:
    """What stands for transparent in an image, in the 8 bits to which Pillow brings other samples."""
    key = image.info.get("transparency")
    if isinstance(key, int) and "'L;2'" in raw_mode:
        return key * 85
    if isinstance(key, int) and "'L;4'" in raw_mode:
        return key * 17
    if isinstance(key, tuple) and ("'RGB;16B'" in raw_mode or max(key) > 255):
        return tuple(value >> 8 for value in key)
    return key


def _exact_transparency(picture: Picture, image: Image.Image, stream: BinaryIO, turn: bool) -> Picture:
    """A colour PNG of 16 bits, transparent where all 16 bits are those of its one transparent colour.

    Pillow gives the high bytes alone; read as if the order of bytes were the other one, the low ones.
    """
    key = image.info["transparency"]
    equal = np.ones((image.height, image.width), bool)
    for order, shift in (("B", 8), ("L", 0)):
        half = _open_header(stream, image.width * image.height)
        half.tile = [part._replace(args=f"RGB;16{order}") for part in half.tile]
        equal &= (np.asarray(half) == [value >> shift & 255 for value in key]).all(axis=2)
    alpha = np.where(equal, 0, 255).astype(np.uint8)
    return replace(picture, alpha=turned(alpha, _orientation(image, [])) if turn else alpha)


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # EXIF is a format of its own, often broken; the picture is none the worse for it
        notes.append("damaged EXIF data ignored")
        return 1
    return orientation if orientation in range(1, 9) else 1


def _copied(
    image: Image.Image, gray_in_file: bool, key: Any, axes: Axes, icc: bytes | None, notes: tuple[str, ...]
) -> Picture:
    """What Pillow decoded, upright: band by band, so that no third copy of a large picture is made."""
    down, across, swapped = axes
    size = (image.width, image.height) if swapped else (image.height, image.width)
    rgb, alpha, gray = np.empty((*size, 3), np.uint8), None, False
    count = max(1, _BAND // image.width)
    for top in range(0, image.height, count):
        rows = slice(top, min(image.height, top + count))
        samples = _samples(image, rows, gray_in_file, key)
        gray = samples.shape[2] < 3
        planes: list[tuple[Array, Array]] = [(rgb, samples[..., :1] if gray else samples[..., :3])]
        if samples.shape[2] in (2, 4):
            alpha = np.empty(size, np.uint8) if alpha is None else alpha
            planes.append((alpha, samples[..., -1]))
        for whole, part in planes:
            as_in_file = whole[::down, ::across]
            (as_in_file.swapaxes(0, 1) if swapped else as_in_file)[rows] = part
    return Picture(rgb, alpha, gray, icc, notes)


def _samples(image: Image.Image, rows: slice, gray_in_file: bool, key: Any) -> Array:
    """Some rows, uint8 (rows, width, 1 to 4 channels); `key` is the sample that stands for transparent."""
    band = image.crop((0, rows.start, image.width, rows.stop))
    if key is not None:
        band.info["transparency"] = key
    if image.mode == "F":
        raise BDFlowError("floating-point samples: convert the picture to 8 or 16 bits first")
    deep = image.mode.startswith("I")
    samples = _eight_bit_gray(band) if deep else np.asarray(_plain(band, gray_in_file))
    return samples.reshape(*samples.shape[:2], -1)


def _profile(image: Image.Image, gray_in_file: bool, notes: list[str]) -> bytes | None:
    if image.mode in ("CMYK", "LAB", "HSV"):
        notes.append(f"{image.mode} converted to RGB" + (", its profile dropped" if _icc(image) else ""))
        return None
    icc = _icc(image)
    if icc and len(icc) > MAX_PROFILE:
        notes.append(f"colour profile of {len(icc):,} bytes dropped: too large for a PNG")
        return None
    gray = gray_in_file or image.mode in _GRAY or image.mode.startswith("I")
    if icc and not fitting_profile(icc, gray):
        kind = icc[16:20].decode("ascii", "replace").strip()
        if kind.isalnum():
            notes.append(f"colour profile for {kind} dropped: the picture is {'gray' if gray else 'RGB'}")
        else:
            notes.append("damaged colour profile dropped")
        return None
    return icc


def _icc(image: Image.Image) -> bytes | None:
    return image.info.get("icc_profile") or None


def _eight_bit_gray(image: Image.Image) -> Array:
    """16-bit gray to (height, width) or, where one value stands for transparent, (height, width, 2)."""
    samples = np.asarray(image)
    if samples.min() < 0 or samples.max() > 65535:
        raise BDFlowError("32-bit samples beyond 0..65535: convert the picture to 8 or 16 bits first")
    reduced = _reduce(samples)
    key = image.info.get("transparency")
    return reduced if key is None else np.dstack([reduced, np.where(samples == key, 0, 255).astype(np.uint8)])


def _reduce(samples: npt.NDArray[Any]) -> Array:
    """round(v / 257), exactly: 0..65535 to 0..255."""
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _plain(image: Image.Image, gray_in_file: bool) -> Image.Image:
    """To mode L, LA, RGB or RGBA."""
    if image.mode == "LAB":  # the one mode that Pillow converts only through a profile
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return cast(Image.Image, ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB"))
    gray = gray_in_file or image.mode in _GRAY
    return image.convert(("L" if gray else "RGB") + ("A" if image.has_transparency_data else ""))


def _from_array(array: npt.NDArray[Any], max_pixels: int) -> Picture:
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] > 4):
        raise BDFlowError(
            f"an array must be (height, width) or (height, width, 1 to 4 channels), not {array.shape}"
        )
    if why := too_large(array.shape[1], array.shape[0], max_pixels):
        raise BDFlowError(f"the array: {why}: reduce it first")
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise BDFlowError(f"an array must be uint8 or uint16, not {array.dtype}: scale it to 0..255 first")
    if array.dtype.itemsize == 2:
        return of_samples(_reduce(array), None, ("16-bit samples reduced to 8 bits",))
    return of_samples(np.array(array), None, ())
