"""A restoration network of a few thousand numbers, pictures to train it on, and runs of a second."""

from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from bdflow.networks.restoration import RestorationConfig
from bdflow.train.config import CardConfig, RestorationOptimConfig, RestorationTrainConfig
from bdflow.train.config_restoration import CropConfig, FactorConfig, PairsConfig
from bdflow.train.restoration import RestorationTrainer

STEPS = 4
NETWORK = RestorationConfig(width=8, deep=8, before=1, middle=1, after=1, embedding=8)
PAIRS = PairsConfig(
    view=64,
    longest=80,
    views=2,
    codings=2,
    hold_out=4,
    factors=(
        FactorConfig(factor=1, weight=1, qualities=(20, 40)),
        FactorConfig(factor=1.5, weight=1, qualities=(30, 50)),
        FactorConfig(factor=3, weight=2, qualities=(40, 90)),
    ),
)


def make_pictures(folder: Path) -> Path:
    """Three portraits and five photographs: waves of several lengths, 72 to 96 pixels a side."""
    for number in range(8):
        domain = folder / ("portraits" if number < 3 else "photos")
        domain.mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[: 72 + 2 * number, : 96 - 3 * number].astype(float)
        waves = [np.sin(y / (2 + number) + c) + np.sin(x * y / (90 + 40 * c)) for c in range(3)]
        pixels = (128 + 55 * np.stack(waves, axis=2)).round().astype(np.uint8)
        Image.fromarray(pixels).save(domain / f"{number}.png")
    return folder


def config(steps: int = STEPS, *, pairs: PairsConfig = PAIRS, **optim) -> RestorationTrainConfig:
    return RestorationTrainConfig(
        name="tiny-restoration",
        card=CardConfig(data="none: waves", limits="restores waves"),
        model=NETWORK,
        pairs=pairs,
        data=CropConfig(crop=32, batch_size=4),
        optim=msgspec.structs.replace(
            RestorationOptimConfig(), steps=steps, warmup=0, ema=0.9, learning_rate=3e-3, **optim
        ),
    )


def trainer_of(
    pictures: Path, out: Path, said: list[str] | None = None, *, start=None, cache=None, **changes
) -> RestorationTrainer:
    say = (said if said is not None else []).append
    return RestorationTrainer(
        config(**changes), [pictures], out, precision="32-true", accelerator="cpu",
        start=start, cache=cache, workers=1, say=say,
    )  # fmt: skip
