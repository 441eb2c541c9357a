"""Our files in ordinary codecs after what may happen to them on their way: what of the gain is left."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import NamedTuple

import msgspec

from bdflow.methods import FittedTo
from bdflow.pictures.codecs import JPEG, WEBP, Codec, smallest_png
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import Picture
from bdflow.reproduce.entries import Entry, Rate, fitted
from bdflow.reproduce.facts import Enlarged, Fitted
from bdflow.reproduce.harm import as_pillow_writes, smaller_and_back
from bdflow.reproduce.schemas import Results
from bdflow.runtime.enhancer import Enhancer
from bdflow.runtime.restorer import Restorer
from bdflow.smallfile import avif
from bdflow.smallfile.thumbnail import LEARNED, Thumbnail


@dataclass(frozen=True)
class Journey:
    """What happens to a file.

    Attributes:
        label: What tables and results say.
        happens: Gives the bytes that arrive.
        forgets: These no longer say scale and domain.
    """

    label: str
    happens: Callable[[Thumbnail], bytes]
    forgets: bool = True


def _stripped(small: Thumbnail) -> bytes:
    payload = avif.parts(BytesIO(small.data)).payload or b""
    return small.data.replace(b"bd" + payload, bytes(2 + len(payload)))


def _written_by(codec: Codec, quality: int, small: Thumbnail) -> bytes:
    return as_pillow_writes(codec).encode(small.image.to_pil(), quality)


def _resized(small: Thumbnail) -> bytes:
    return smallest_png(Picture(smaller_and_back(small.image.rgb), gray=small.image.gray).to_pil())


AS_IT_IS = Journey("as it is", lambda small: small.data, forgets=False)
JOURNEYS = (
    AS_IT_IS,
    Journey("stripped", _stripped),
    *(
        Journey(f"{codec.name} {quality}", partial(_written_by, codec, quality))
        for codec, quality in ((JPEG, 95), (JPEG, 75), (JPEG, 50), (WEBP, 80))
    ),
    Journey("a pixel smaller and back", _resized),
)


class Files:
    """A network's files at a rate; it remembers the last picture's, of which much is asked.

    Args:
        enhancer: What restores them.
        bits_per_pixel: What each has.
    """

    def __init__(self, enhancer: Enhancer, bits_per_pixel: float) -> None:
        self.enhancer, self._rate = enhancer, bits_per_pixel
        self._method = FittedTo(enhancer, bits_per_pixel=bits_per_pixel)
        self._rgb: RGB | None = None

    def small(self, rgb: RGB) -> Thumbnail:
        """What `bdflow downscale --bpp` writes of a picture."""
        if self._rgb is not rgb:
            self._rgb, self.last = rgb, self._method.fit(rgb)
        return self.last

    def arrived(self, journey: Journey, *, network: bool) -> Entry:
        """The file after what happened to it, restored; or enlarged alone.

        Whoever restores it names the scale and the domain where the file no longer does, and knows the size.
        """
        facts = fitted(self.enhancer, Rate(bits_per_pixel=self._rate)).facts
        assert isinstance(facts, Fitted)
        facts = msgspec.structs.replace(facts, condition=journey.label)
        label = f"{self._method.name}, {journey.label}"
        if network:
            return Entry(label, facts, _Arrived(self, journey, network))
        alone = Enlarged(**msgspec.structs.asdict(facts))
        return Entry(f"{label}, enlarged", alone, _Arrived(self, journey, network))


@dataclass(frozen=True)
class _Arrived:
    files: Files
    journey: Journey
    network: bool
    name: str = "arrived"

    def encode(self, rgb: RGB) -> bytes:
        return self.journey.happens(self.files.small(rgb))

    def decode(self, data: bytes) -> RGB:
        sent, named = self.files.last, self.journey.forgets
        restorer = Restorer(
            self.files.enhancer.model.folder,
            computing=self.files.enhancer.computing,
            scale=sent.factor if named else None,
            domain=sent.domain if named and sent.domain in LEARNED else None,
            trust=True,
        )
        _, small, _ = restorer.accept(data)
        assert isinstance(small, Thumbnail)
        restored = self.files.enhancer.rgb(small if self.network else replace(small, domain="plain"))
        return restored[: sent.size[1], : sent.size[0]]


class Left(NamedTuple):
    """Mean PSNR-Y of files that something happened to, in dB: restored, and enlarged alone."""

    restored: float
    enlarged: float
    pictures: int


def left(results: Results) -> dict[tuple[str, str, float, str], Left]:
    """What is left by set, network, bits per pixel and condition."""
    cases = [
        ((row.set, row.facts.model, row.facts.bits_per_pixel or 0.0, row.facts.condition or ""), row)
        for row in results.rows
        if row.count and isinstance(row.facts, Fitted | Enlarged)
    ]
    enlarged = {case: row.mean["psnr_y"] for case, row in cases if isinstance(row.facts, Enlarged)}
    return {
        case: Left(row.mean["psnr_y"], enlarged[case], row.count)
        for case, row in cases
        if isinstance(row.facts, Fitted) and case in enlarged
    }
