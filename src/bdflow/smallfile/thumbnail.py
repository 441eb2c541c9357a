"""The content of a small AVIF, WebP or JPEG: a thumbnail, and the few bytes that restore it."""

import os
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

from bdflow.errors import BDFlowError
from bdflow.pictures.reader import Picture
from bdflow.system.files import write_bytes

FACTORS = (1, 1.5, 2, 3, 4, 6, 8, 12, 16)
"""How many times smaller than the photograph a thumbnail may be, each way."""

FORMATS = ("AVIF", "WebP", "JPEG")
"""The codecs."""

Domain = Literal["plain", "photos", "portraits"]
"""What a network takes a picture for; "plain" is enlarged by Lanczos, without a network."""

DOMAINS: tuple[Domain, ...] = ("plain", "photos", "portraits")
"""All of them, in the order of their codes in the payload."""

LEARNED = DOMAINS[1:]
"""Those that a network restores."""


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A photograph, shrunk by a factor and coded. Any network that knows the codec restores it.

    Attributes:
        image: the thumbnail as its codec gives it back, of `grid(size, factor)` pixels.
        format: the codec that coded it: "AVIF", "WebP" or "JPEG"; None if that is not known.
        data: the file, with all that bdflow adds; empty if only the pixels are known.
        factor: how many times smaller each way, one of `FACTORS`.
        domain: what the network takes the picture for, one of `DOMAINS`.
        size: width and height of the photograph.
        quality: by the file's own quantiser, 0 to 100; None where that is not known.
        notes: what reading and coding the photograph changed, a short line each; no file keeps them.

    Raises:
        BDFlowError: the parts do not fit together.
    """

    image: Picture
    format: str | None
    data: bytes
    factor: float
    domain: Domain
    size: tuple[int, int]
    quality: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise BDFlowError(f"a domain is one of {', '.join(DOMAINS)}, not {self.domain!r}")
        if self.format is not None and self.format not in FORMATS:
            raise BDFlowError(f"a thumbnail is {', '.join(FORMATS)}, not {self.format!r}")
        check_grid((self.image.width, self.image.height), self.size, self.factor)

    @cached_property
    def gray(self) -> bool:
        """Whether the photograph is restored as gray: no colours differ by more than a level in any pixel.

        WebP has no gray of its own, and gives it back with that difference.
        """
        rgb = self.image.rgb
        least, most = rgb.min(axis=2, initial=255), rgb.max(axis=2, initial=0)
        return self.image.gray or bool((most - least <= 1).all())

    def __repr__(self) -> str:
        (width, height), known = self.size, "" if self.quality is None else f" of quality {self.quality:.0f}"
        codec = f"{self.format or 'unknown codec'}{known}"
        parts = [f"{width}x{height}, {codec} 1/{self.factor:g} each way, {self.domain}"]
        return f"Thumbnail({', '.join([*parts, repr(self.image), *self.notes])})"

    def to_bytes(self) -> bytes:
        """The file."""
        return self.data

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the file, whole or not at all; see `bdflow.system.files.write_bytes`.

        Raises:
            BDFlowError: there is no file; or the path's ending is of another format, or the file exists
                already or cannot be written.
        """
        from bdflow.smallfile import container  # reads what this module describes

        if self.format is None or not self.data:
            raise BDFlowError(f"{os.fspath(path)}: only the pixels are known: there is no small file to save")
        container.check_ending(path, self.format)
        write_bytes(path, self.data, overwrite=overwrite)


def multiples(factor: float) -> tuple[int, int]:
    """The smallest whole numbers of pixels, of the photograph and of the thumbnail, that a factor relates."""
    step = Fraction(factor)
    return step.numerator, step.denominator


def grid(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Width and height of the thumbnail of a photograph of so many pixels.

    The photograph is continued by its last row and column up to a multiple of the factor (for 1.5: of 3), so
    that each pixel of the thumbnail stands for equally many of the photograph.
    """
    large, small = multiples(factor)
    return -(-size[0] // large) * small, -(-size[1] // large) * small


def check_grid(small: tuple[int, int], size: tuple[int, int], factor: float) -> None:
    """Refuse a thumbnail that cannot be the one of a photograph of this size.

    Raises:
        BDFlowError: the factor is none of `FACTORS`, or `small` is not `grid(size, factor)`.
    """
    if factor not in FACTORS:
        raise BDFlowError(f"a factor is one of {', '.join(f'{each:g}' for each in FACTORS)}, not {factor:g}")
    if min(size) < 1 or grid(size, factor) != small:
        raise BDFlowError(
            f"a thumbnail of {small[0]}x{small[1]} cannot be that of a photograph of"
            f" {size[0]}x{size[1]}, 1/{factor:g} each way: it was cropped or resized"
        )
