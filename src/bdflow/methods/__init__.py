"""Every way to store a photograph small, behind one protocol: a picture to bytes, these bytes to a picture.

>>> from bdflow.pictures.codecs import JPEG
>>> from bdflow.methods import Within, round_trip
>>> data, pixels = round_trip(Within(JPEG, 16_000), rgb)

Another method joins as one more object with a name, an `encode` and a `decode`; see `Method`.
"""

from bdflow.methods.codecs import CODECS, AtQuality, Within
from bdflow.methods.fitted import FittedTo
from bdflow.methods.placeholders import BlurHash, ThumbHash
from bdflow.methods.protocol import Method, round_trip
from bdflow.methods.rescaled import Lossless, Resampled, Rescaled
from bdflow.methods.superresolution import ESRGAN, RealESRGAN

__all__ = [
    "CODECS",
    "ESRGAN",
    "AtQuality",
    "BlurHash",
    "FittedTo",
    "Lossless",
    "Method",
    "RealESRGAN",
    "Resampled",
    "Rescaled",
    "ThumbHash",
    "Within",
    "rivals",
    "round_trip",
]


def rivals(budget: int, scale: int | None) -> list[Method]:
    """What a small file of `budget` bytes is set beside.

    A PNG, `scale` times smaller each way: first bicubic, the field's yardstick; then the codecs in just as
    many bytes, other resampling to just as few pixels, and placeholders. A file in an ordinary codec
    (`scale` None): the codecs and placeholders.
    """
    codecs: list[Method] = [Within(codec, budget) for codec in CODECS]
    placeholders: list[Method] = [ThumbHash(), BlurHash()]
    if scale is None:
        return [*codecs, *placeholders]
    others = Resampled("bilinear", scale), Resampled("Lanczos", scale)
    return [Resampled("bicubic", scale), *codecs, *others, *placeholders]
