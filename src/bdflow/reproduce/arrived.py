"""Our files in ordinary codecs after what may happen to them on their way: what of the gain is left."""

from dataclasses import dataclass, replace
from io import BytesIO
from typing import NamedTuple

from bdflow.codecs import smallest_png
from bdflow.enhancer import Enhancer
from bdflow.images import Picture
from bdflow.methods import FittedTo
from bdflow.methods.protocol import Pixels
from bdflow.reproduce.entries import Entry, fitted
from bdflow.reproduce.harm import RESAVED, harm
from bdflow.reproduce.results import Document
from bdflow.restorer import Restorer
from bdflow.smallfile import avif
from bdflow.smallfile.thumbnail import LEARNED, Thumbnail

AS_IT_IS, STRIPPED = "as it is", "stripped"
CONDITIONS = (AS_IT_IS, STRIPPED, "JPEG 95", "JPEG 75", "JPEG 50", "WebP 80", "a pixel smaller and back")


class Files:
    """A network's files at a rate; it remembers the last picture's, of which much is asked.

    Args:
        enhancer: What restores them.
        bits_per_pixel: What each has.
    """

    def __init__(self, enhancer: Enhancer, bits_per_pixel: float) -> None:
        self.enhancer, self._rate = enhancer, bits_per_pixel
        self._method = FittedTo(enhancer, bits_per_pixel=bits_per_pixel)
        self._rgb: Pixels | None = None

    def small(self, rgb: Pixels) -> Thumbnail:
        """What `bdflow downscale --bpp` writes of a picture."""
        if self._rgb is not rgb:
            self._rgb, self.last = rgb, self._method.fit(rgb)
        return self.last

    def arrived(self, condition: str, *, network: bool) -> Entry:
        """The file after what happened to it, restored; or enlarged alone.

        Whoever restores it names the scale and the domain where the file no longer does, and knows the size.
        """
        kind, what = ("fitted", "") if network else ("enlarged", ", enlarged")
        facts = {
            **fitted(self.enhancer, {"bits_per_pixel": self._rate}).facts,
            "kind": kind,
            "condition": condition,
        }
        label = f"{self._method.name}, {condition}{what}"
        return Entry(label, facts, _Arrived(self, condition, network))


@dataclass(frozen=True)
class _Arrived:
    files: Files
    condition: str
    network: bool
    name: str = "arrived"

    def encode(self, rgb: Pixels) -> bytes:
        return happened(self.files.small(rgb), self.condition)

    def decode(self, data: bytes) -> Pixels:
        sent = self.files.last
        named = self.condition != AS_IT_IS
        restorer = Restorer(
            self.files.enhancer.model.folder,
            scale=sent.factor if named else None,
            domain=sent.domain if named and sent.domain in LEARNED else None,
            trust=True,
        )
        _, small, _ = restorer.accept(data)
        assert isinstance(small, Thumbnail)
        restored = self.files.enhancer.rgb(small if self.network else replace(small, domain="plain"))
        return restored[: sent.size[1], : sent.size[0]]


def happened(small: Thumbnail, condition: str) -> bytes:
    """A file after what happened to it on its way.

    Args:
        small: An AVIF.
        condition: One of `CONDITIONS`. JPEG and WebP are as Pillow writes them unasked; resized, it is a PNG.
    """
    if condition == AS_IT_IS:
        return small.data
    if condition == STRIPPED:
        payload = avif.parts(BytesIO(small.data)).payload or b""
        return small.data.replace(b"bd" + payload, bytes(2 + len(payload)))
    kind, _, number = condition.partition(" ")
    if codec := RESAVED.get(kind):
        return codec.encode(small.image.to_pil(), int(number))
    return smallest_png(Picture(harm(small.image.rgb, condition), gray=small.image.gray).to_pil())


class Left(NamedTuple):
    """Mean PSNR-Y of files that something happened to, in dB: restored, and enlarged alone."""

    restored: float
    enlarged: float
    pictures: int


def left(document: Document) -> dict[tuple[str, str, float, str], Left]:
    """What is left by set, network, bits a pixel and condition."""
    rows = [
        row for row in document["rows"] if row["count"] and row["facts"]["kind"] in ("fitted", "enlarged")
    ]
    enlarged = {_place(row): row["mean"]["psnr_y"] for row in rows if row["facts"]["kind"] == "enlarged"}
    return {
        place: Left(row["mean"]["psnr_y"], enlarged[place], row["count"])
        for row in rows
        if row["facts"]["kind"] == "fitted" and (place := _place(row)) in enlarged
    }


def _place(row: Document) -> tuple[str, str, float, str]:
    facts = row["facts"]
    return row["set"], facts["model"], facts["bits_per_pixel"], facts["condition"]
