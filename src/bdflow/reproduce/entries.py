"""Who takes part: bdflow models, plain resampling, codecs, and folders that other programs filled."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

import msgspec
import numpy as np

from bdflow import zoo
from bdflow.evaluation.measure import Scorer, size_of, small_figures, store
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
)
from bdflow.methods.codecs import FACTORS
from bdflow.methods.protocol import is_gray, split_size, with_size
from bdflow.methods.superresolution import SuperResolution
from bdflow.pictures.codecs import AVIF, AVIF_FOR_EYE, JPEG_XL, Codec, smallest_png
from bdflow.pictures.picture import RGB
from bdflow.pictures.reader import Picture
from bdflow.pictures.reader import read as read_picture
from bdflow.reproduce.external import External
from bdflow.reproduce.facts import (
    AnyFacts,
    Coded,
    Fitted,
    Flow,
    Photograph,
    Placeholder,
    Resampling,
    Rival,
    SuperResolved,
)
from bdflow.reproduce.harm import Condition
from bdflow.reproduce.schemas import Values
from bdflow.reproduce.sets import Sample
from bdflow.runtime.enhancer import Enhancer
from bdflow.runtime.rescaler import Rescaler
from bdflow.smallfile import container
from bdflow.smallfile.downscaled import Downscaled
from bdflow.smallfile.payload import VERSION
from bdflow.smallfile.thumbnail import FACTORS as THUMBNAILS
from bdflow.zoo import Purpose


@dataclass(frozen=True, eq=False)
class Entry:
    """A method, and all that decides its figures.

    Attributes:
        label: What tables say.
        facts: Kind, settings, weights and versions: a measurement is known by them.
        method: What stores pictures; or a folder of pictures that somebody's program restored.
        ours: The model whose plain file it is: its small picture is measured too.
        ready: Loads or fits what the first picture needs, so that no picture's seconds tell of it.
        without: Learned measures of the table that it is not measured by, for they take seconds a picture.
    """

    label: str
    facts: AnyFacts
    method: Method | External
    ours: "Ours | None" = None
    ready: Callable[[], object] = lambda: None
    without: frozenset[str] = frozenset()

    def measure(self, sample: Sample, true: RGB, scorer: Scorer) -> tuple[Values, RGB]:
        """The figures of one picture, and the picture restored; BDFlowError if the method cannot have it."""
        scorer = scorer.without(self.without)
        if isinstance(self.method, External):
            count, pixels = self.method.stored(sample, true)
            return size_of(count, true) | scorer.quality(true, pixels), pixels
        self.ready()
        data, pixels, values = store(self.method, true, scorer)
        if self.ours:
            small = container.read(data).image.rgb
            values |= small_figures(true, small, self.ours.rescaler.model.scale)
            values["bytes_boundary"] = container.byte_report(data)["boundary"]
        return values, pixels


class Ours:
    """A model, BDFlow's or a rival's of our training; it remembers the last small picture, of which much is
    asked."""

    def __init__(self, rescaler: Rescaler) -> None:
        self.rescaler = rescaler
        model = rescaler.model
        own = model.folder.parent != zoo.BUILT_IN  # nobody else has its card
        self.facts: Flow | Rival = (Flow if model.title == "BDFlow" else Rival)(
            network=model.title,
            model=model.name,
            weights=model.weights_sha256[:16],
            scale=model.scale,
            format=VERSION,
            onnxruntime=version("onnxruntime"),
            command=model.metadata["training"]["command"] if own else None,
            computed_by=rescaler.computing.differs,
        )
        self._rgb: RGB | None = None

    def small(self, rgb: RGB) -> Downscaled:
        """What `bdflow downscale` makes of a picture."""
        if self._rgb is not rgb:
            self._rgb, self._file = rgb, b""
            self._small = self.rescaler.downscale(rgb[..., 0] if is_gray(rgb) else rgb)
        return self._small

    def file(self, rgb: RGB) -> bytes:
        """What `bdflow downscale` writes."""
        small = self.small(rgb)
        self._file = self._file or small.to_bytes()
        return self._file

    def entry(self) -> Entry:
        """The model as it is used: Z = 0."""
        method = Rescaled(self.rescaler)
        ours = isinstance(self.facts, Flow)
        label = method.name if ours else f"{self.facts.network} ({self.facts.model})"
        return Entry(label, self.facts, method, self, ready=self.load)

    @cache  # noqa: B019  there are few, and they live as long as the run
    def load(self) -> None:
        """Load the networks."""
        side = 2 * self.rescaler.model.scale
        self.rescaler.upscale(self.rescaler.downscale(np.zeros((side, side, 3), np.uint8)))

    def sampled(self, sigma: float, seed: int) -> Entry:
        """With Z drawn."""
        facts = msgspec.structs.replace(self.facts, sigma=sigma, seed=seed)
        return Entry(f"{self.rescaler.model.name}, sigma {sigma}", facts, _Sampled(self, sigma, seed))

    def harmed(self, condition: Condition) -> Entry:
        """With the small picture changed on its way."""
        facts = msgspec.structs.replace(self.facts, condition=condition.label)
        return Entry(f"{self.rescaler.model.name}, {condition.label}", facts, _Harmed(self, condition))

    def matched(self, codec: Codec) -> Entry:
        """A codec in at most as many bytes as this model's file of the same picture."""
        facts = coded(codec, factors=FACTORS, at_bytes_of=self.facts)
        return Entry(f"{codec.name} at the bytes of {self.rescaler.model.name}", facts, _Matched(self, codec))


@dataclass(frozen=True)
class _Sampled:
    ours: Ours
    sigma: float
    seed: int
    name: str = "sampled"

    def encode(self, rgb: RGB) -> bytes:
        return self.ours.file(rgb)

    def decode(self, data: bytes) -> RGB:
        return self.ours.rescaler.rgb(data, sigma=self.sigma, seed=self.seed)


@dataclass(frozen=True)
class _Matched:
    ours: Ours
    codec: Codec

    @property
    def name(self) -> str:
        return self.codec.name

    def encode(self, rgb: RGB) -> bytes:
        return Within(self.codec, len(self.ours.file(rgb))).encode(rgb)

    def decode(self, data: bytes) -> RGB:
        return Within(self.codec, len(data)).decode(data)


@dataclass(frozen=True)
class _Harmed:
    ours: Ours
    condition: Condition
    name: str = "harmed"

    def encode(self, rgb: RGB) -> bytes:
        small = self.ours.small(rgb)
        image = replace(small.image, rgb=self.condition.harm(small.image.rgb))
        boundary = None if self.condition.payload_lost else small.boundary
        return replace(small, image=image, boundary=boundary).to_bytes()

    def decode(self, data: bytes) -> RGB:
        return self.ours.rescaler.rgb(data)


@dataclass(frozen=True)
class _HarmedBicubic:
    plain: Resampled
    condition: Condition
    name: str = "bicubic, harmed"

    def encode(self, rgb: RGB) -> bytes:
        _, png = split_size(self.plain.encode(rgb))
        small = self.condition.harm(read_picture(png).rgb)
        return with_size(rgb, smallest_png(Picture(small).to_pil()))

    def decode(self, data: bytes) -> RGB:
        return self.plain.decode(data)


@dataclass(frozen=True)
class Rate:
    """What a file may take: bits for each pixel of the photograph, or bytes."""

    bits_per_pixel: float | None = None
    count: int | None = None


def fitted(
    enhancer: Enhancer, rate: Rate, restored_by: Enhancer | None = None, purpose: Purpose = "fidelity"
) -> Entry:
    """A network behind AVIF, in so many bytes or bits per pixel.

    Args:
        enhancer: What the file is chosen for.
        rate: One of both.
        restored_by: What restores it; None: that.
        purpose: What the file is for.
    """
    method = FittedTo(enhancer, **vars(rate), restored_by=restored_by, purpose=purpose)
    facts = Fitted(
        **(AVIF if purpose == "fidelity" else AVIF_FOR_EYE).settings(),
        pillow=version("pillow"),
        network=method.model.title,
        model=method.model.name,
        weights=method.model.weights_sha256[:16],
        onnxruntime=version("onnxruntime"),
        computed_by=(restored_by or enhancer).computing.differs,
        chosen_for=enhancer.model.weights_sha256[:16] if restored_by else None,
        **vars(rate),
    )
    return Entry(method.name, facts, method)


def codec_within(codec: Codec, enhancer: Enhancer, rate: Rate) -> Entry:
    """A codec alone in so many bytes or bits per pixel, found as our files are.

    Args:
        codec: It; AVIF tuned for the eye has the factor that PSNR chooses.
        enhancer: Needed to ask for it, but no network restores what comes out.
    """
    purpose: Purpose = "look" if codec == AVIF_FOR_EYE else "fidelity"
    method = FittedTo(enhancer, **vars(rate), format=codec.name, domain="plain", purpose=purpose)
    name = f"{method.name}, for the eye" if purpose == "look" else method.name
    return Entry(name, coded(codec, factors=THUMBNAILS, **vars(rate)), method)


def resampled(filter: Literal["bilinear", "bicubic", "Lanczos"], scale: int) -> Entry:
    """Shrunk, stored as PNG, enlarged."""
    method = Resampled(filter, scale)
    return Entry(method.name, _of_filter(filter, scale), method)


def _of_filter(filter: str, scale: int, condition: str | None = None) -> Resampling:
    return Resampling(filter=filter, scale=scale, pillow=version("pillow"), condition=condition)


def lossless() -> Entry:
    """The photograph itself."""
    method = Lossless()
    return Entry(method.name, Photograph(pillow=version("pillow")), method)


def superresolved(networks: Iterable[type[SuperResolution]], scales: Sequence[int]) -> list[Entry]:
    """Networks on the bicubic small picture, each where its weights are at hand."""
    methods = [
        network(scale)
        for network in networks
        if network.available()
        for scale in scales
        if scale >= min(network.NETWORKS)
    ]
    return [
        Entry(
            method.name,
            msgspec.convert(
                {
                    "kind": "superresolution",
                    "network": method.TITLE,
                    "scale": method.scale,
                    **method.versions(),
                },
                SuperResolved,
            ),
            method,
        )
        for method in methods
    ]


def harmed_bicubic(scale: int, condition: Condition) -> Entry:
    """Bicubic whose small picture was changed on its way."""
    label = f"bicubic x{scale}, {condition.label}"
    facts = _of_filter("bicubic", scale, condition.label)
    return Entry(label, facts, _HarmedBicubic(Resampled("bicubic", scale), condition))


def coded(codec: Codec, **more: Any) -> Coded:
    """The codec, the release that writes it, and what decides its file besides."""
    package = "imagecodecs" if codec is JPEG_XL else "pillow"
    more[package] = version(package)
    return Coded(**codec.settings(), **more)


def codec_at(codec: Codec, quality: int, factor: float) -> Entry:
    """A codec at one quality, the picture shrunk by a factor first."""
    name = f"{codec.name} tuned for the eye" if codec == AVIF_FOR_EYE else codec.name
    size = f", 1/{factor} each way" if factor > 1 else ""
    facts = coded(codec, quality=quality, factor=factor)
    return Entry(f"{name} {quality}{size}", facts, AtQuality(codec, quality, factor))


def placeholders() -> list[Entry]:
    """ThumbHash and BlurHash."""
    methods: list[Method] = [ThumbHash(), BlurHash()]
    return [Entry(method.name, Placeholder(name=method.name), method) for method in methods]


def restored_elsewhere(external: External) -> Entry:
    """What another program restored."""
    return Entry(external.name, external.facts, external)
