"""What may happen to a small picture on its way: the conditions of a table, and what they cost."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from bdflow.pictures.codecs import JPEG, WEBP, Codec
from bdflow.pictures.picture import RGB
from bdflow.reproduce.facts import Flow, Resampling, Trained
from bdflow.reproduce.schemas import Results


def unchanged(rgb: RGB) -> RGB:
    """A picture as it is."""
    return rgb


@dataclass(frozen=True)
class Condition:
    """What happens to a small picture.

    Attributes:
        label: What tables and results say.
        harm: Takes the picture, uint8 (h, w, 3), and gives it of the same size.
        payload_lost: What restores it does not arrive.
    """

    label: str
    harm: Callable[[RGB], RGB] = unchanged
    payload_lost: bool = False


def as_pillow_writes(codec: Codec) -> Codec:
    """JPEG or WebP with the effort that Pillow makes unasked."""
    return replace(codec, effort={JPEG.name: 0, WEBP.name: 4}[codec.name])


def _saved_again(codec: Codec, quality: int, rgb: RGB) -> RGB:
    written = as_pillow_writes(codec)
    return written.decode(written.encode(Image.fromarray(rgb), quality))


def saved_again(codec: Codec, quality: int) -> Condition:
    """Written anew in a codec."""
    return Condition(f"{codec.name} {quality}", partial(_saved_again, codec, quality))


def smaller_and_back(rgb: RGB) -> RGB:
    """A pixel smaller each way, and back, both bicubic."""
    image = Image.fromarray(rgb)
    smaller = image.resize((max(1, image.width - 1), max(1, image.height - 1)), Image.Resampling.BICUBIC)
    return np.array(smaller.resize(image.size, Image.Resampling.BICUBIC))


def _gamma(gamma: float, rgb: RGB) -> RGB:
    return np.asarray((255 * (rgb / 255) ** (1 / gamma)).round(), np.uint8)


def _last_bit_random(rgb: RGB) -> RGB:
    noise = np.random.default_rng(0).integers(0, 2, rgb.shape, np.uint8)
    return np.asarray(rgb & 254 | noise, np.uint8)


AS_STORED = Condition("as stored")
CONDITIONS = (
    AS_STORED,
    Condition("chunk lost", payload_lost=True),
    *(saved_again(JPEG, quality) for quality in (30, 50, 70, 80, 90, 95)),
    saved_again(WEBP, 80),
    Condition("a pixel smaller and back", smaller_and_back),
    Condition("gamma 1.05", partial(_gamma, 1.05)),
    Condition("last bit random", _last_bit_random),
)


def gains(results: Results) -> dict[tuple[str, str, str], float]:
    """PSNR-Y over that of an enlarged bicubic thumbnail that went through the same, in dB, by set, model and
    condition."""
    rows = [row for row in results.rows if row.count]
    plain = {
        (row.set, row.facts.scale, row.facts.condition): row.mean["psnr_y"]
        for row in rows
        if isinstance(row.facts, Resampling) and row.facts.condition
    }
    return {
        (row.set, row.facts.model, row.facts.condition): row.mean["psnr_y"] - plain[same]
        for row in rows
        if isinstance(row.facts, Flow)
        and row.facts.condition
        and (same := (row.set, row.facts.scale, row.facts.condition)) in plain
    }


def losses_of_draws(results: Results) -> dict[float, list[float]]:
    """By how much PSNR-Y is lower with a drawn Z than with Z = 0, in dB: by sigma, of each set, model and
    seed."""
    networks = [
        (row.set, row.facts, row.mean["psnr_y"])
        for row in results.rows
        if row.count and isinstance(row.facts, Trained)
    ]
    stored: Mapping[tuple[str, str], float] = {
        (name, facts.model): psnr for name, facts, psnr in networks if facts.condition == AS_STORED.label
    }
    losses: dict[float, list[float]] = {}
    for name, facts, psnr in networks:
        if facts.sigma is not None and (name, facts.model) in stored:
            losses.setdefault(facts.sigma, []).append(stored[name, facts.model] - psnr)
    return losses
