"""Our files in ordinary codecs, and the codecs' own in as many bytes, behind the protocol of all methods."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bdflow.fitting import Goal, fit
from bdflow.methods.protocol import is_gray
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import Picture
from bdflow.runtime.restorer import Restorer
from bdflow.smallfile.thumbnail import Thumbnail

if TYPE_CHECKING:  # it loads ONNX Runtime
    from bdflow.runtime.enhancer import Enhancer
    from bdflow.smallfile.thumbnail import Domain
    from bdflow.zoo import Model, Purpose


@dataclass(frozen=True)
class FittedTo:
    """The file that restores best in a number of bytes, as `bdflow downscale --bytes` writes it.

    Attributes:
        enhancer: What the file is chosen for.
        count: Bytes that it may have; None where bits are named.
        bits_per_pixel: The same, in bits for each pixel of the photograph.
        format: "AVIF", "WebP" or "JPEG".
        domain: As for `bdflow.fitting.Goal`; "plain" is the codec alone, free to shrink the picture.
        restored_by: What restores it, such as a network for the eye; None: `enhancer`.
        purpose: What the file is for: "look" as with `bdflow downscale --for look`.
    """

    enhancer: Enhancer
    count: int | None = None
    bits_per_pixel: float | None = None
    format: str = "AVIF"
    domain: Domain | None = None
    restored_by: Enhancer | None = None
    purpose: Purpose = "fidelity"

    @property
    def name(self) -> str:
        rate = f"{self.bits_per_pixel:g} bpp" if self.count is None else f"{self.count:,} bytes"
        who = f"{self.format} alone" if self.domain == "plain" else f"bdflow {self.model.name}"
        return f"{who}, {rate}"

    @property
    def model(self) -> Model:
        return (self.restored_by or self.enhancer).model

    def settings(self) -> dict[str, Any]:
        """All that decides its files, besides the model."""
        return {
            "bytes": self.count,
            "bits_per_pixel": self.bits_per_pixel,
            "format": self.format,
            "domain": self.domain,
            "purpose": self.purpose,
        }

    def small(self, data: bytes) -> Thumbnail:
        """The small file."""
        _, small, _ = self._reader.accept(data)
        assert isinstance(small, Thumbnail)  # no PNG
        return small

    def fit(self, rgb: RGB) -> Thumbnail:
        """What it writes of a picture."""
        picture = Picture(rgb, gray=is_gray(rgb))
        goal = Goal(
            self.count, self.bits_per_pixel, format=self.format, domain=self.domain, purpose=self.purpose
        )
        return fit(picture, self.enhancer, goal).small

    def encode(self, rgb: RGB) -> bytes:
        return self.fit(rgb).to_bytes()

    def decode(self, data: bytes) -> RGB:
        return (self.restored_by or self.enhancer).rgb(self.small(data))

    @cached_property
    def _reader(self) -> Restorer:
        return Restorer(self.enhancer.model.folder, trust=True)
