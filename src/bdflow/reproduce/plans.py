"""What each table is measured on, and by what: its sets, its methods, its measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bdflow.methods import CODECS, ESRGAN, RealESRGAN
from bdflow.pictures.codecs import AVIF, AVIF_FOR_EYE, JPEG, JPEG_XL, WEBP, Codec
from bdflow.reproduce import arrived
from bdflow.reproduce.entries import (
    Entry,
    Ours,
    Rate,
    codec_at,
    codec_within,
    fitted,
    harmed_bicubic,
    lossless,
    placeholders,
    resampled,
    restored_elsewhere,
    superresolved,
)
from bdflow.reproduce.external import External
from bdflow.reproduce.facts import Flow
from bdflow.reproduce.harm import CONDITIONS
from bdflow.reproduce.portraits import Portraits
from bdflow.reproduce.run import Plan
from bdflow.reproduce.sets import OTHERS, PORTRAITS, Sample
from bdflow.runtime.enhancer import Enhancer
from bdflow.zoo import RESTORATION, Purpose

PAPER_SCALES = (8, 16, 32, 64)
PAPER_OTHERS = tuple(name for name in OTHERS if name != "photos/kodak24")  # the sets of Table 6
PAPER_OTHER_SCALES = (32, 64)  # those of Table 6
PAPER_JPEG = (1, 5, 10, 40)  # Table 5's qualities
SIGMAS, SEEDS = (0.25, 0.5, 0.75, 1.0), (0, 1, 2)

# Quality by the factor that a picture is shrunk by first. Together 0.005 to 5 bits per pixel.
GRID: Mapping[Codec, Mapping[float, Sequence[int]]] = {
    JPEG: {
        1: (1, 5, 10, 20, 35, 50, 70, 85, 95), 1.5: (40,), 2: (5, 15, 30, 50, 75, 90), 3: (50,),
        4: (10, 30, 55, 80, 92), 8: (15, 40, 70, 90), 16: (30, 80),
    },
    WEBP: {
        1: (0, 10, 30, 50, 70, 85, 95), 1.5: (40,), 2: (0, 15, 40, 65, 85), 3: (40,), 4: (5, 30, 60, 85),
        8: (10, 50, 85), 16: (20, 80),
    },
    AVIF: {
        1: (20, 40, 65, 85), 1.5: (30,), 2: (15, 32, 55), 3: (25, 50), 4: (25, 50, 78), 6: (45,), 8: (40, 75),
        12: (50,), 16: (60,),
    },
    AVIF_FOR_EYE: {1: (10, 45), 2: (25,), 4: (40,)},
    JPEG_XL: {
        1: (0, 64, 128, 192, 256, 320, 384, 448), 1.5: (128,), 2: (0, 64, 128, 192), 3: (128,),
        4: (64, 128, 192), 8: (128, 224), 16: (192,),
    },
}  # fmt: skip
# Besides, where the marks for the eye are measured: each codec's best settings by LPIPS, closer together.
_FINER: Mapping[Codec, Mapping[float, Sequence[int]]] = {
    AVIF: {1: (10, 30, 50), 1.5: (15, 45, 60), 2: (24, 43, 67), 3: (15, 37), 4: (37,), 6: (30,)},
    AVIF_FOR_EYE: {1: (5, 20, 30), 1.5: (15, 30), 2: (15, 35, 45)},
}
_EYE = ("portraits/test", "photos/kodak24")
_SLOW = frozenset({"dists", "ssimulacra2"})  # for files in as many bytes as ours alone
# Where the restoration networks are measured, in bits per pixel; of portraits in 600 bytes, too.
RATES: Mapping[str, Sequence[float]] = {
    "portraits/test": (0.01, 0.02, 0.04, 0.07, 0.1),
    "celebahq1024/test": (0.01, 0.02, 0.04, 0.07, 0.1),
    "celebahq512/test": (0.025, 0.04, 0.07, 0.1),
    "photos/kodak24": (0.05, 0.1, 0.2, 0.35, 0.5),
    "photos/bsd100": (0.05, 0.1, 0.2, 0.35, 0.5),
}
_LEAST = 600
_AS_GOOD = 0.04  # bits per pixel up to which WebP, and from which JPEG, may do as well as AVIF
SENT_RATE, _QUICK_SENT_RATE = 0.05, 0.5  # bits per pixel of the files that something happens to on their way
_QUICK_GRID: Mapping[Codec, Mapping[float, Sequence[int]]] = {
    JPEG: {1: (5, 30, 80), 4: (40,)}, WEBP: {1: (0, 40, 80), 4: (40,)}, AVIF: {1: (10, 35, 60)},
    JPEG_XL: {1: (64, 192, 300)},
}  # fmt: skip
_COMPONENTS = (24, 48, 96, 192, 384, 768)


def paper_label(method: str, scale: int) -> str:
    """What Table 2 calls a network that is built as the paper says."""
    return f"BDFlow x{scale}, as in the paper" if method == "BDFlow" else f"{method} x{scale}"


@dataclass(frozen=True)
class Party:
    """Who takes part.

    Attributes:
        models: The built-in models and those that were named.
        enhancers: The restoration networks.
        portraits: PCA, where there is something to fit it on.
        externals: What other programs restored.
        quick: Fewer points and conditions.
    """

    models: Sequence[Ours]
    enhancers: Sequence[Enhancer]
    portraits: Portraits | None
    externals: Sequence[External]
    quick: bool

    @property
    def ours(self) -> list[Ours]:
        """The models that are BDFlow's: not those of IRN, HCFlow or TAR."""
        return [model for model in self.models if isinstance(model.facts, Flow)]

    @property
    def scales(self) -> list[int]:
        """The models' and the paper's."""
        return sorted({ours.facts.scale for ours in self.models} | set(PAPER_SCALES))

    def others(self, name: str, samples: Sequence[Sample], components: Sequence[int]) -> list[Entry]:
        """PCA on portraits, and what other programs restored of this set."""
        fitting = self.portraits if name in PORTRAITS else None
        chosen = [k for k in components if fitting and k <= fitting.most]
        if fitting and components and not chosen:
            chosen = [fitting.most]
        pca = [fitting.entry(k) for k in chosen if fitting]
        return pca + [restored_elsewhere(each) for each in self.externals if each.has(samples)]


Chosen = Mapping[str, Sequence[Sample]]


def _table1(sets: Chosen, party: Party) -> Plan:
    # Models for less than the paper's least scale would take half the time; curves and table6 show them.
    ours = [model.entry() for model in party.models if model.facts.scale >= PAPER_SCALES[0]]
    plain = [
        entry
        for scale in party.scales
        if scale >= PAPER_SCALES[0]
        for entry in (resampled("bicubic", scale), resampled("bilinear", scale))
    ]
    # Real-ESRGAN takes minutes a picture: it stands in the curves.
    plain += [] if party.quick else superresolved([ESRGAN], PAPER_SCALES)
    plain.append(lossless())
    return {
        name: (samples, [*ours, *plain, *party.others(name, samples, _COMPONENTS[-1:])])
        for name, samples in sets.items()
    }


def _table5(sets: Chosen, party: Party) -> Plan:
    codecs = CODECS[:2] if party.quick else CODECS
    entries = [codec_at(JPEG, quality, 1) for quality in PAPER_JPEG]
    for model in party.ours:
        entries += [model.entry(), *(model.matched(codec) for codec in codecs)]
    return {name: (samples, entries) for name, samples in sets.items()}


def _table6(sets: Chosen, party: Party) -> Plan:
    """Of pictures that are all of the paper's size, only what stores them at one of its two scales."""
    plan = {}
    for name, samples in sets.items():
        scales = PAPER_OTHER_SCALES if any(sample.squared for sample in samples) else party.scales
        entries = [model.entry() for model in party.models if model.facts.scale in scales]
        entries += [resampled("bicubic", scale) for scale in scales]
        plan[name] = (samples, [*entries, *party.others(name, samples, ())])
    return plan


def _curves(sets: Chosen, party: Party) -> Plan:
    grid = _QUICK_GRID if party.quick else GRID
    entries = [model.entry() for model in party.models] + _grid(grid)
    for scale in sorted({2, 4, *party.scales}):
        entries += [resampled("bicubic", scale), resampled("Lanczos", scale)]
    entries += [] if party.quick else superresolved([ESRGAN, RealESRGAN], PAPER_SCALES)
    entries += placeholders()
    return {
        name: (samples, [*entries, *party.others(name, samples, _COMPONENTS)])
        for name, samples in sets.items()
    }


def _marks(sets: Chosen, party: Party) -> Plan:
    """Restoration networks in a few numbers of bytes, and the codecs in as many."""
    plan = {}
    for name, samples in sets.items():
        rates = (0.2, 0.5) if party.quick else RATES.get(name, (0.05, 0.1, 0.2, 0.5))
        asked = [Rate(bits_per_pixel=rate) for rate in rates]
        asked += [Rate(count=_LEAST)] if name in PORTRAITS else []
        entries: list[Entry] = []
        for rate in asked if party.enhancers else ():
            first, *others = party.enhancers
            entries.append(fitted(first, rate))
            for other in others if name in _EYE else ():  # the same file; for the look one that suits it
                purpose: Purpose = "look" if other.model.name == f"{RESTORATION}-look" else "fidelity"
                entries.append(fitted(first, rate, other, purpose))
            coarse = (rate.bits_per_pixel or 0) <= _AS_GOOD
            codecs = [AVIF, WEBP if coarse else JPEG, *([AVIF_FOR_EYE] if name in _EYE else [])]
            entries += [codec_within(codec, first, rate) for codec in codecs]
        if name in _EYE:
            entries += [replace(entry, without=_SLOW) for entry in _grid(GRID) + _grid(_FINER)]
        else:
            entries = [replace(entry, without=_SLOW) for entry in entries]
        plan[name] = (samples, entries)
    return plan


def _grid(grid: Mapping[Codec, Mapping[float, Sequence[int]]]) -> list[Entry]:
    return [
        codec_at(codec, quality, factor)
        for codec, factors in grid.items()
        for factor, qualities in factors.items()
        for quality in qualities
    ]


def _invertibility(sets: Chosen, party: Party) -> Plan:
    conditions = CONDITIONS[:4] if party.quick else CONDITIONS
    sigmas, seeds = (SIGMAS[-1:], SEEDS[:2]) if party.quick else (SIGMAS, SEEDS)
    entries: list[Entry] = []
    for model in party.ours:
        entries += [model.harmed(condition) for condition in conditions]
        entries += [model.sampled(sigma, seed) for sigma in sigmas for seed in seeds]
    for scale in sorted({model.facts.scale for model in party.ours}):
        entries += [harmed_bicubic(scale, condition) for condition in conditions]
    for enhancer in party.enhancers:
        files = arrived.Files(enhancer, _QUICK_SENT_RATE if party.quick else SENT_RATE)
        for journey in arrived.JOURNEYS[:3] if party.quick else arrived.JOURNEYS:
            entries += [files.arrived(journey, network=True), files.arrived(journey, network=False)]
    return {name: (samples, entries) for name, samples in sets.items()}


@dataclass(frozen=True)
class Measured:
    """A table that is measured picture by picture.

    Attributes:
        title: What it shows.
        sets: Where; folders of the user's own come on top.
        plan: Who.
        learned: The learned measures that it needs.
        both: Measured on RGB and on Y.
        squared: Sets that are measured a second time, each picture first resized to `PAPER_SIDE` each way;
            not by quick runs.
    """

    title: str
    sets: Sequence[str]
    plan: Callable[[Chosen, Party], Plan]
    learned: Sequence[str] = ("lpips",)
    both: bool = False
    squared: Sequence[str] = ()


MEASURED: Mapping[str, Measured] = {
    "table1": Measured(
        "quality by scale",
        ("celebahq1024/test", "portraits/test"),
        _table1,
        learned=("lpips", "dists", "niqe"),
        both=True,
    ),
    "table5": Measured("bytes against JPEG and its heirs", ("celebahq1024/test",), _table5),
    "table6": Measured("other domains", OTHERS, _table6, squared=PAPER_OTHERS),
    "curves": Measured("rate against quality", (*PORTRAITS, "photos/kodak24"), _curves),
    "marks": Measured(
        "files in ordinary codecs", tuple(RATES), _marks, learned=("lpips", "dists", "ssimulacra2")
    ),
    "invertibility": Measured(
        "what happens to the small picture",
        ("celebahq512/test", "photos/kodak24", "cats/test"),
        _invertibility,
        learned=(),  # it is about PSNR, and long enough: minutes a picture
    ),
}
