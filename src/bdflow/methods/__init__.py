"""Every way to store a photograph small, behind one protocol: a picture to bytes, these bytes to a picture.

>>> from bdflow.methods import JPEG, round_trip
>>> data, pixels = round_trip(JPEG.within(16_000), rgb)

Another method joins as one more object with a name, an ``encode`` and a ``decode``; see `Method`.
"""

from bdflow.methods.codecs import AVIF, CODECS, JPEG, JPEG_XL, WEBP, Codec
from bdflow.methods.placeholders import BlurHash, ThumbHash
from bdflow.methods.protocol import Method, round_trip
from bdflow.methods.rescaled import Lossless, Resampled, Rescaled
from bdflow.methods.superresolution import ESRGAN, RealESRGAN

__all__ = [
    "AVIF",
    "CODECS",
    "ESRGAN",
    "JPEG",
    "JPEG_XL",
    "WEBP",
    "BlurHash",
    "Codec",
    "Lossless",
    "Method",
    "RealESRGAN",
    "Resampled",
    "Rescaled",
    "ThumbHash",
    "rivals",
    "round_trip",
]


def rivals(scale: int, budget: int) -> list[Method]:
    """What a small file of ``budget`` bytes, ``scale`` times smaller each way, is set beside.

    First bicubic, the field's yardstick; then the codecs in just as many bytes, other resampling to just as
    few pixels, and placeholders for scale.
    """
    return [
        Resampled("bicubic", scale),
        *(codec.within(budget) for codec in CODECS),
        Resampled("bilinear", scale),
        Resampled("Lanczos", scale),
        ThumbHash(),
        BlurHash(),
    ]
