"""Pictures in: what Pillow reads becomes 8-bit RGB, with its alpha and its colour profile.

Colours change no more than 8-bit RGB demands, and whatever reading did change stands in `Picture.notes`.
"""

import io
import threading
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError, features

from bdflow.errors import BDFlowError
from bdflow.files import FileSource, named, opened
from bdflow.limits import MAX_PIXELS, MAX_PROFILE, MAX_SIDE

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
    "read",
    "size",
    "too_large",
]

Array: TypeAlias = npt.NDArray[np.uint8]
Source: TypeAlias = FileSource | Image.Image | npt.NDArray[Any]

# A bomb is a small file of a huge picture, and takes its memory before it can be told from one that is cut
# short. No photograph has so few bytes: a PNG of one colour has 344 pixels a byte, of one bit a pixel 8,256.
_PIXELS_A_BYTE = 10_000
_PIXELS_FREE = 1 << 24  # smaller ones are no bombs

# Pillow's names, tried in this order. No others: it would run Ghostscript on EPS, and take junk for TGA.
_READERS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF", "JPEG2000")
READABLE = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm", ".avif", ".jp2")
)

NO_AVIF = "this Pillow was built without AVIF: pip install --upgrade pillow"

_BAND = 1 << 20  # pixels that are converted at a time


@dataclass(frozen=True, eq=False)
class Picture:
    """An 8-bit picture in memory.

    Attributes:
        rgb: uint8 (height, width, 3). The three channels are equal where `gray` is True.
        alpha: uint8 (height, width), not premultiplied; None where the picture has no transparency.
        gray: whether the file was a gray one; it is then written as gray again.
        icc: the colour profile of the samples, or None (then they are sRGB by custom).
        notes: what reading changed, a short line each.

    Raises:
        BDFlowError: an array has another shape or type.
    """

    rgb: Array
    alpha: Array | None = None
    gray: bool = False
    icc: bytes | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.rgb.shape
        if self.rgb.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or self.rgb.size == 0:
            raise BDFlowError(f"rgb must be uint8 of shape (height, width, 3), not {self.rgb.dtype} {shape}")
        if self.alpha is not None and (self.alpha.dtype != np.uint8 or self.alpha.shape != shape[:2]):
            raise BDFlowError(
                f"alpha must be uint8 of shape {shape[:2]}, not {self.alpha.dtype} {self.alpha.shape}"
            )

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    def __repr__(self) -> str:
        parts = [f"{self.width}x{self.height}", "gray" if self.gray else "RGB"]
        parts += ["alpha"] * (self.alpha is not None) + ["profile"] * bool(self.icc)
        return f"Picture({', '.join([*parts, *self.notes])})"

    def to_pil(self) -> Image.Image:
        """A Pillow image of mode L, LA, RGB or RGBA, with the profile in `info["icc_profile"]`."""
        image = Image.fromarray(self.rgb)
        if self.gray:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        if self.icc:
            image.info["icc_profile"] = self.icc
        return image


def read(source: Source, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture, upright and 8-bit.

    The EXIF rotation is applied; other metadata is dropped, except the ICC profile. Palettes become RGB or
    RGBA. 16-bit samples are reduced to 8: `round(v / 257)` in gray pictures and in arrays; in colour ones
    Pillow keeps the high byte. CMYK and LAB become RGB and lose their profile. Of an animation, the first
    frame is read.

    Args:
        source: a path, the bytes of a file, a binary stream (read from where it stands), a Pillow image, or a
            uint8 or uint16 array, (height, width) or (height, width, channels), the channels being gray,
            gray and alpha, RGB or RGBA.
        max_pixels: larger pictures are refused before they are decoded.

    Returns:
        The picture; it shares no memory with the source.

    Raises:
        BDFlowError: the source is missing, empty, damaged, too large, or no picture.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, max_pixels)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the image", max_pixels)
    with opened(source) as (stream, name):
        return decode(stream, name, max_pixels)


def decode(stream: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """`read` for a seekable stream, from its start, under the name that errors shall give."""
    length = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return _from_pil(_open_header(stream, name, max_pixels), name, max_pixels, length)


def size(stream: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height that the header of a picture tells; as `decode`, but nothing is decoded."""
    return _open_header(stream, name, max_pixels).size


def too_large(width: int, height: int, max_pixels: int = MAX_PIXELS) -> str | None:
    """Why a picture has more pixels, or a longer side, than bdflow takes; None if it has not."""
    if width * height > max_pixels:
        return f"{width}x{height} is more than {max_pixels:,} pixels"
    return (
        f"{width}x{height} has a side of more than {MAX_SIDE:,} pixels"
        if max(width, height) > MAX_SIDE
        else None
    )


_pillow_limit = threading.Lock()


def _open_header(stream: BinaryIO, name: str, max_pixels: int) -> Image.Image:
    # Pillow's own limit is a global, and below ours; it is lifted while the header is read, and only then.
    with _pillow_limit, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", "image file could not be identified", UserWarning)
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            return Image.open(stream, formats=_READERS)
        except Image.DecompressionBombError as error:
            raise BDFlowError(f"{name}: has more than {max_pixels:,} pixels: reduce it first") from error
        except UnidentifiedImageError as error:
            stream.seek(0)
            if stream.read(12)[4:] in (b"ftypavif", b"ftypavis") and not features.check("avif"):
                raise BDFlowError(f"{name}: {NO_AVIF}") from error
            raise BDFlowError(f"{name}: no picture that bdflow reads ({', '.join(_READERS)})") from error
        except Exception as error:  # a plugin that stumbles over a damaged header raises anything
            raise BDFlowError(f"{name}: the picture is damaged or cut short: get it again") from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _from_pil(image: Image.Image, name: str, max_pixels: int, length: int | None = None) -> Picture:
    """A picture of an opened one, whose file has so many bytes."""
    with named(name):
        if why := too_large(image.width, image.height, max_pixels):
            raise BDFlowError(f"{why}: reduce it first")
        pixels = image.width * image.height
        if length is not None and pixels > max(_PIXELS_FREE, length * _PIXELS_A_BYTE):
            size = f"{image.width}x{image.height} pixels in {length:,} bytes"
            raise BDFlowError(f"{size} can be no photograph: get it again")
        try:
            return _convert(image)
        except BDFlowError:
            raise
        except MemoryError as error:
            raise BDFlowError(f"not enough memory for {image.width}x{image.height} pixels") from error
        except Exception as error:  # decoders meet hostile bytes and raise anything
            raise BDFlowError("the picture is damaged or cut short: get it again") from error


def _convert(image: Image.Image) -> Picture:
    notes = []
    if getattr(image, "is_animated", False):
        pages = image.format in ("TIFF", "MPO")
        notes.append("several pictures: first one only" if pages else "animation: first frame only")
    # Pillow names how samples lie in the file, such as "RGB;16B" or a PPM's ("RGB", 65535), but hands out 8
    # bits of them. Of JPEG 2000 and AVIF it does not tell.
    raw_mode = str(getattr(image, "tile", None) or "")
    if ";16" in raw_mode or ", 65535)" in raw_mode or image.mode.startswith("I"):
        notes.append("16-bit samples reduced to 8 bits")
    image.load()  # may change the mode and add to the info
    axes = _turned(image, notes)
    icc = _profile(image, notes)
    return _copied(image, "'LA;16" in raw_mode, axes, icc, tuple(notes))


_Axes: TypeAlias = tuple[int, int, bool]  # steps down and across, and whether they change places after that

# EXIF's orientations: from upright rows to those in the file.
_TURNS: dict[int, _Axes] = {
    2: (1, -1, False), 3: (-1, -1, False), 4: (-1, 1, False),
    5: (1, 1, True), 6: (1, -1, True), 7: (-1, -1, True), 8: (-1, 1, True),
}  # fmt: skip


def _turned(image: Image.Image, notes: list[str]) -> _Axes:
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1), (1, 1, False))
    except Exception:  # EXIF is a format of its own, often broken; the picture is none the worse for it
        notes.append("damaged EXIF data ignored")
        return 1, 1, False


def _copied(
    image: Image.Image, gray_in_file: bool, axes: _Axes, icc: bytes | None, notes: tuple[str, ...]
) -> Picture:
    """What Pillow decoded, upright: band by band, so that no third copy of a large picture is made."""
    down, across, swapped = axes
    size = (image.width, image.height) if swapped else (image.height, image.width)
    rgb, alpha, gray = np.empty((*size, 3), np.uint8), None, False
    count = max(1, _BAND // image.width)
    for top in range(0, image.height, count):
        rows = slice(top, min(image.height, top + count))
        samples = _samples(image, rows, gray_in_file)
        gray = samples.shape[2] < 3
        planes: list[tuple[Array, Array]] = [(rgb, samples[..., :1] if gray else samples[..., :3])]
        if samples.shape[2] in (2, 4):
            alpha = np.empty(size, np.uint8) if alpha is None else alpha
            planes.append((alpha, samples[..., -1]))
        for whole, part in planes:
            as_in_file = whole[::down, ::across]
            (as_in_file.swapaxes(0, 1) if swapped else as_in_file)[rows] = part
    return Picture(rgb, alpha, gray, icc, notes)


def _samples(image: Image.Image, rows: slice, gray_in_file: bool) -> Array:
    """Some rows, uint8 (rows, width, 1 to 4 channels)."""
    band = image.crop((0, rows.start, image.width, rows.stop))
    if image.mode == "F":
        raise BDFlowError("floating-point samples: convert the picture to 8 or 16 bits first")
    deep = image.mode.startswith("I")
    samples = _eight_bit_gray(band) if deep else np.asarray(_plain(band, gray_in_file))
    return samples.reshape(*samples.shape[:2], -1)


def _profile(image: Image.Image, notes: list[str]) -> bytes | None:
    if image.mode in ("CMYK", "LAB", "HSV"):
        notes.append(f"{image.mode} converted to RGB" + (", its profile dropped" if _icc(image) else ""))
        return None
    icc = _icc(image)
    if icc and len(icc) > MAX_PROFILE:
        notes.append(f"colour profile of {len(icc):,} bytes dropped: too large for a PNG")
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
    gray = gray_in_file or image.mode in ("1", "L", "LA", "La")
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
        return _from_samples(_reduce(array), None, ("16-bit samples reduced to 8 bits",))
    return _from_samples(np.array(array), None, ())


def _from_samples(samples: Array, icc: bytes | None, notes: tuple[str, ...]) -> Picture:
    samples = samples.reshape(*samples.shape[:2], -1)
    channels = samples.shape[2]
    gray = channels < 3
    rgb = np.repeat(samples[..., :1], 3, axis=2) if gray else np.ascontiguousarray(samples[..., :3])
    alpha = np.ascontiguousarray(samples[..., -1]) if channels in (2, 4) else None
    return Picture(rgb, alpha, gray, icc, notes)
