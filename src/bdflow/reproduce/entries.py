"""Who takes part: bdflow models, plain resampling, codecs, PCA, and folders that other programs filled."""

import csv
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bdflow import container, zoo
from bdflow.codecs import AVIF, AVIF_FOR_EYE, JPEG_XL, Codec, smallest_png
from bdflow.enhancer import Enhancer
from bdflow.errors import BDFlowError
from bdflow.evaluate import pictures_in
from bdflow.images import Picture
from bdflow.images import read as read_picture
from bdflow.measure import Scorer, size_of, small_figures, store
from bdflow.methods import (
    AtQuality,
    BlurHash,
    FittedTo,
    Lossless,
    Method,
    Resampled,
    Rescaled,
    ThumbHash,
    Within,
    pca,
)
from bdflow.methods.codecs import FACTORS
from bdflow.methods.protocol import Pixels, is_gray, split_size, with_size
from bdflow.methods.superresolution import SuperResolution
from bdflow.reproduce.harm import CHUNK_LOST, harm
from bdflow.reproduce.results import Values
from bdflow.reproduce.sets import Sample
from bdflow.rescaler import Rescaler
from bdflow.smallfile.downscaled import Downscaled
from bdflow.smallfile.payload import VERSION
from bdflow.smallfile.thumbnail import FACTORS as THUMBNAILS

BYTES = "bytes.csv"
PCA_SIDE = 128


@dataclass(frozen=True, eq=False)
class Entry:
    """A method, and all that decides its figures.

    Attributes:
        label: What tables say.
        facts: Kind, settings, weights and versions: a measurement is known by them.
        method: What stores pictures; or a folder of pictures that somebody's program restored.
        ours: The model whose plain file it is: its small picture is measured too.
        ready: Loads or fits what the first picture needs, so that no picture's seconds tell of it.
    """

    label: str
    facts: Mapping[str, Any]
    method: "Method | External"
    ours: "Ours | None" = None
    ready: Callable[[], object] = lambda: None

    def measure(self, sample: Sample, true: Pixels, scorer: Scorer) -> Values:
        """The figures of one picture; BDFlowError if the method cannot have it."""
        if isinstance(self.method, External):
            count, pixels = self.method.stored(sample, true)
            return size_of(count, true) | scorer.quality(true, pixels)
        self.ready()
        data, _, values = store(self.method, true, scorer)
        if self.ours:
            small = container.read(data).image.rgb
            values |= small_figures(true, small, self.ours.rescaler.model.scale)
            values["bytes_boundary"] = container.byte_report(data)["boundary"]
        return values


class Ours:
    """A model, BDFlow's or a rival's of our training; it remembers the last small picture, of which much is
    asked."""

    def __init__(self, rescaler: Rescaler) -> None:
        self.rescaler = rescaler
        model = rescaler.model
        self.facts: dict[str, Any] = {
            "kind": "bdflow" if model.title == "BDFlow" else "rival",
            "network": model.title,
            "model": model.name,
            "weights": model.weights_sha256[:16],
            "scale": model.scale,
            "format": VERSION,
            "onnxruntime": version("onnxruntime"),
        }
        if model.folder.parent != zoo.BUILT_IN:  # nobody else has its card
            self.facts["command"] = model.metadata["training"]["command"]
        self._rgb: Pixels | None = None

    def small(self, rgb: Pixels) -> Downscaled:
        """What `bdflow downscale` makes of a picture."""
        if self._rgb is not rgb:
            self._rgb, self._file = rgb, b""
            self._small = self.rescaler.downscale(rgb[..., 0] if is_gray(rgb) else rgb)
        return self._small

    def file(self, rgb: Pixels) -> bytes:
        """What `bdflow downscale` writes."""
        small = self.small(rgb)
        self._file = self._file or small.to_bytes()
        return self._file

    def entry(self) -> Entry:
        """The model as it is used: Z = 0."""
        method = Rescaled(self.rescaler)
        ours = self.facts["kind"] == "bdflow"
        label = method.name if ours else f"{self.facts['network']} ({self.facts['model']})"
        return Entry(label, self.facts, method, self, ready=self.load)

    @cache  # noqa: B019  there are few, and they live as long as the run
    def load(self) -> None:
        """Load the networks."""
        side = 2 * self.rescaler.model.scale
        self.rescaler.upscale(self.rescaler.downscale(np.zeros((side, side, 3), np.uint8)))

    def sampled(self, sigma: float, seed: int) -> Entry:
        """With Z drawn."""
        facts = self.facts | {"sigma": sigma, "seed": seed}
        return Entry(f"{self.rescaler.model.name}, sigma {sigma}", facts, _Sampled(self, sigma, seed))

    def harmed(self, condition: str) -> Entry:
        """With the small picture changed on its way; see `CONDITIONS`."""
        facts = self.facts | {"condition": condition}
        return Entry(f"{self.rescaler.model.name}, {condition}", facts, _Harmed(self, condition))

    def matched(self, codec: Codec) -> Entry:
        """A codec in at most as many bytes as this model's file of the same picture."""
        facts = codec_facts(codec) | {"factors": list(FACTORS), "at_bytes_of": self.facts}
        return Entry(f"{codec.name} at the bytes of {self.rescaler.model.name}", facts, _Matched(self, codec))


@dataclass(frozen=True)
class _Sampled:
    ours: Ours
    sigma: float
    seed: int
    name: str = "sampled"

    def encode(self, rgb: Pixels) -> bytes:
        return self.ours.file(rgb)

    def decode(self, data: bytes) -> Pixels:
        return read_picture(self.ours.rescaler.upscale(data, sigma=self.sigma, seed=self.seed)).rgb


@dataclass(frozen=True)
class _Matched:
    ours: Ours
    codec: Codec

    @property
    def name(self) -> str:
        return self.codec.name

    def encode(self, rgb: Pixels) -> bytes:
        return Within(self.codec, len(self.ours.file(rgb))).encode(rgb)

    def decode(self, data: bytes) -> Pixels:
        return Within(self.codec, len(data)).decode(data)


@dataclass(frozen=True)
class _Harmed:
    ours: Ours
    condition: str
    name: str = "harmed"

    def encode(self, rgb: Pixels) -> bytes:
        small = self.ours.small(rgb)
        image = replace(small.image, rgb=harm(small.image.rgb, self.condition))
        lost = self.condition == CHUNK_LOST
        return replace(small, image=image, boundary=None if lost else small.boundary).to_bytes()

    def decode(self, data: bytes) -> Pixels:
        return read_picture(self.ours.rescaler.upscale(data)).rgb


@dataclass(frozen=True)
class _HarmedBicubic:
    plain: Resampled
    condition: str
    name: str = "bicubic, harmed"

    def encode(self, rgb: Pixels) -> bytes:
        _, png = split_size(self.plain.encode(rgb))
        small = harm(read_picture(png).rgb, self.condition)
        return with_size(rgb, smallest_png(Picture(small).to_pil()))

    def decode(self, data: bytes) -> Pixels:
        return self.plain.decode(data)


def fitted(enhancer: Enhancer, rate: Mapping[str, Any], restored_by: Enhancer | None = None) -> Entry:
    """A network behind AVIF, in so many bytes (``count``) or ``bits_per_pixel``.

    Args:
        enhancer: What the file is chosen for.
        rate: One of both.
        restored_by: What restores it; None: that.
    """
    method = FittedTo(enhancer, **rate, restored_by=restored_by)
    facts = {
        "network": method.model.title,
        "model": method.model.name,
        "weights": method.model.weights_sha256[:16],
        "onnxruntime": version("onnxruntime"),
    }
    if restored_by:
        facts["chosen_for"] = enhancer.model.weights_sha256[:16]
    return Entry(method.name, {**codec_facts(AVIF), "kind": "fitted", **facts, **rate}, method)


def codec_within(codec: Codec, enhancer: Enhancer, rate: Mapping[str, Any]) -> Entry:
    """A codec alone in so many bytes or bits a pixel, found as our files are.

    Args:
        enhancer: Needed to ask for it, but no network restores what comes out.
    """
    method = FittedTo(enhancer, **rate, format=codec.name, domain="plain")
    return Entry(method.name, {**codec_facts(codec), "factors": list(THUMBNAILS), **rate}, method)


def resampled(filter: Literal["bilinear", "bicubic", "Lanczos"], scale: int) -> Entry:
    """Shrunk, stored as PNG, enlarged."""
    method = Resampled(filter, scale)
    facts = {"kind": "resampled", "filter": filter, "scale": scale, "pillow": version("pillow")}
    return Entry(method.name, facts, method)


def lossless() -> Entry:
    """The photograph itself."""
    method = Lossless()
    return Entry(method.name, {"kind": "lossless", "pillow": version("pillow")}, method)


def superresolved(networks: Iterable[type[SuperResolution]], scales: Sequence[int]) -> list[Entry]:
    """Networks on the bicubic small picture, each where its weights are at hand."""
    methods = [
        network(scale)
        for network in networks
        if network.available()
        for scale in scales
        if scale >= min(network.NETWORKS)
    ]
    facts = {"kind": "superresolution"}
    return [
        Entry(m.name, {**facts, "network": m.TITLE, "scale": m.scale, **m.versions()}, m) for m in methods
    ]


def harmed_bicubic(scale: int, condition: str) -> Entry:
    """Bicubic whose small picture was changed on its way."""
    facts = {**resampled("bicubic", scale).facts, "condition": condition}
    return Entry(
        f"bicubic x{scale}, {condition}", facts, _HarmedBicubic(Resampled("bicubic", scale), condition)
    )


def codec_facts(codec: Codec) -> dict[str, Any]:
    """The codec and the release that writes it."""
    package = "imagecodecs" if codec is JPEG_XL else "pillow"
    return {"kind": "codec", **codec.settings(), package: version(package)}


def codec_at(codec: Codec, quality: int, factor: float) -> Entry:
    """A codec at one quality, the picture shrunk by a factor first."""
    facts = codec_facts(codec) | {"quality": quality, "factor": factor}
    name = f"{codec.name} tuned for the eye" if codec == AVIF_FOR_EYE else codec.name
    size = f", 1/{factor} each way" if factor > 1 else ""
    return Entry(f"{name} {quality}{size}", facts, AtQuality(codec, quality, factor))


def placeholders() -> list[Entry]:
    """ThumbHash and BlurHash."""
    methods: list[Method] = [ThumbHash(), BlurHash()]
    return [Entry(m.name, {"kind": "placeholder", "name": m.name}, m) for m in methods]


class Portraits:
    """PCA on a folder of aligned portraits; fitted when it is first needed.

    Args:
        folders: Training pictures.
        most: The largest number of components.
        pictures: So many of them are used; None takes all.
    """

    def __init__(self, folders: Sequence[Path], most: int, pictures: int | None = None) -> None:
        self._paths = [path for folder in folders for path in pictures_in(folder)][:pictures]
        self.most = min(most, len(self._paths) - 1)
        listing = "".join(f"{path.name} {path.stat().st_size}\n" for path in self._paths)
        self._facts = {
            "kind": "pca",
            "side": PCA_SIDE,
            "fitted_on": len(self._paths),
            "fitted_on_files": hashlib.sha256(listing.encode()).hexdigest()[:12],
        }

    @cached_property
    def fitted(self) -> pca.PCA:
        """The PCA of the most components."""
        return pca.fit((read_picture(path).rgb for path in self._paths), self.most, PCA_SIDE)

    def first(self, components: int) -> pca.PCA:
        """The PCA of fewer components: a byte each."""
        whole = self.fitted
        k = slice(components)
        return pca.PCA(whole.mean, whole.basis[k], whole.low[k], whole.high[k])

    def entry(self, components: int) -> Entry:
        """PCA of so many components, not yet fitted."""
        facts = self._facts | {"components": components}
        method = _PCA(self, components)
        return Entry(f"PCA, {components} components", facts, method, ready=lambda: self.fitted)


@dataclass(frozen=True)
class _PCA:
    portraits: Portraits
    components: int
    name: str = "PCA"

    def encode(self, rgb: Pixels) -> bytes:
        return self.portraits.first(self.components).encode(rgb)

    def decode(self, data: bytes) -> Pixels:
        return self.portraits.first(self.components).decode(data)


class External:
    """What another program restored: a folder of pictures, and the bytes that each took.

    In ``folder``, or in one of the set's name inside it, lie pictures named as the true ones (the ending may
    differ) and `BYTES`, a table with the columns ``picture`` and ``bytes``. They are scored as our own. Of
    pictures that were all resized, only those in a folder of the set's name (``cats/test@1024x1024``) count.

    Raises:
        BDFlowError: There is no such folder, or its table cannot be read.
    """

    def __init__(self, name: str, folder: Path) -> None:
        if not folder.is_dir():
            raise BDFlowError(f"{folder}: not a folder; --external takes NAME=DIR")
        self.name, self._folder = name, folder
        tables = sorted(folder.rglob(BYTES))
        if not tables:
            raise BDFlowError(f"{folder}: no {BYTES} in it; write one with the columns picture,bytes")
        digest = hashlib.sha256()
        self._counts: dict[Path, int] = {}
        for table in tables:
            self._counts |= _counts(table)
        for path in sorted(self._counts):
            digest.update(f"{path.relative_to(folder)} {self._counts[path]}".encode() + path.read_bytes())
        scale = name.rpartition("-x")[2]
        self._facts = {
            "kind": "external",
            "name": name,
            "scale": int(scale) if scale.isdigit() else None,
            "files": digest.hexdigest()[:16],
        }

    def entry(self) -> Entry:
        return Entry(self.name, self._facts, self)

    def has(self, samples: Sequence[Sample]) -> bool:
        """Whether it restored any of them."""
        return any(self._find(sample) for sample in samples)

    def stored(self, sample: Sample, true: Pixels) -> tuple[int, Pixels]:
        """Bytes and restored picture; BDFlowError if it has none of that size."""
        path = self._find(sample)
        if path is None:
            raise BDFlowError(f"not in {self._folder.name}")
        pixels = read_picture(path).rgb
        if pixels.shape != true.shape:
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise BDFlowError(f"{path.name} is {size}, the true picture {true.shape[1]}x{true.shape[0]}")
        return self._counts[path], pixels

    def _find(self, sample: Sample) -> Path | None:
        inner = self._folder / sample.set
        if sample.squared and not inner.is_dir():
            return None  # what lies in the folder itself is of the picture in its own size
        folder = inner if inner.is_dir() else self._folder
        return next((p for p in self._counts if p.parent == folder and p.stem == sample.path.stem), None)


def _counts(table: Path) -> dict[Path, int]:
    try:
        with table.open(newline="") as file:
            counts = {table.parent / row["picture"]: int(row["bytes"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BDFlowError(f"{table}: not a table with the columns picture,bytes ({error})") from None
    missing = next((path for path in counts if not path.is_file()), None)
    if missing:
        raise BDFlowError(f"{table} names {missing.name}, which is not there")
    return counts
