"""What `bdflow train` does: a configuration, perhaps a model to begin from, and a trainer for both."""

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file
from torch import Tensor

from bdflow.errors import BDFlowError
from bdflow.networks.config import NetworkConfig
from bdflow.train.config import (
    CardConfig,
    Config,
    RestorationTrainConfig,
    load_config,
    override,
    parse_setting,
    read_saved,
)
from bdflow.train.loop import Loop, Precision
from bdflow.train.restoration import RestorationTrainer
from bdflow.train.trainer import Trainer
from bdflow.zoo import RESTORATION, WEIGHTS, Model, find


def run(
    config: Path | None,
    data: list[Path],
    out: Path,
    *,
    start: str | None = None,
    trust: bool = False,
    cache: Path | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    settings: Sequence[str] = (),
    max_time: float | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> None:
    """What `bdflow train` does: put the configuration together, then train.

    Args:
        config: A TOML file; None takes the one that the weights of `start` were trained with.
        start: A model (name or folder) to begin from: of the same network, or of its coarse levels alone.
        trust: Take it even if it did not come with bdflow.
        cache: Where a network that restores coded thumbnails keeps these; None: in the run folder.
        steps: Instead of the configuration's; likewise `learning_rate`.
        settings: Others instead of the configuration's, as `data.crop=96`.
        max_time: Seconds.

    Raises:
        BDFlowError: Neither a configuration nor a model, or they do not fit each other.
    """
    if threads:
        torch.set_num_threads(threads)
    given = {"optim.steps": steps, "optim.learning_rate": learning_rate}
    asked = [f"{name}={value}" for name, value in given.items() if value is not None] + list(settings)
    options = [f"--set={one}" for one in asked]
    weights, origin, trained = None, None, None
    if start is not None:
        model = find(start, trust=trust)
        weights = {key: value.float() for key, value in load_file(model.folder / WEIGHTS).items()}
        origin, trained = _origin(model), _trained(model, options)
    elif config is None:
        raise BDFlowError("give a configuration such as configs/portraits-x8.toml, or --from MODEL")
    changes: dict[str, Any] = {} if steps is None else {"optim.minutes": None}  # which would rule
    chosen = load_config(config) if config else trained
    if chosen is None:
        raise BDFlowError(f"{start} does not tell its configuration: give that, too")
    if weights is not None:
        weights = fitted(weights, model.metadata["model"], chosen)
        if weights is None:
            raise BDFlowError(
                f"{config} describes another network than the one of {start}: leave it out, or fit it"
            )
    chosen = override(chosen, changes | dict(map(parse_setting, asked)))
    trainer_of(
        chosen, data, out, start=weights, origin=origin, precision=precision, device=device, cache=cache
    ).fit(math.inf if max_time is None else max_time)


def trainer_of(
    config: Config,
    data: list[Path],
    out: Path,
    *,
    start: dict[str, Tensor] | None = None,
    origin: dict[str, Any] | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    cache: Path | None = None,
    say: Callable[[str], None] = print,
) -> Loop:
    """The trainer for a configuration; see `Trainer` and `RestorationTrainer`.

    Raises:
        BDFlowError: A cache is named for a network that has none.
    """
    if isinstance(config, RestorationTrainConfig):
        return RestorationTrainer(
            config,
            data,
            out,
            start=start,
            origin=origin,
            precision=precision,
            accelerator=device,
            cache=cache,
            say=say,
        )
    if cache is not None:
        raise BDFlowError(f"network {config.model.network} learns from the pictures: leave out --cache")
    return Trainer(
        config, data, out, start=start, origin=origin, precision=precision, accelerator=device, say=say
    )


def _origin(model: Model) -> dict[str, Any]:
    """What a run remembers of the weights that it begins with."""
    before = model.metadata["training"]
    return {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "steps": before["steps"],
        "seconds": before["seconds"],
    }


def _trained(model: Model, options: Sequence[str]) -> Config | None:
    """The configuration that a model was trained with, under a new card; None where it does not tell.

    Args:
        options: Of this run; the card's command names them.
    """
    saved = model.metadata["training"].get("config")
    if saved is None:
        return None
    trained = read_saved(saved)
    # The card of those weights tells of other pictures than the ones at hand.
    card = CardConfig(
        data=f"not described; before that: {trained.card.data}",
        command=shlex.join(
            ["bdflow", "train", "--from", model.name, *options, "--data", "DIR", "--out", "RUN"]
        ),
    )
    return msgspec.structs.replace(trained, card=card)


def fitted(
    weights: dict[str, Tensor], settings: Mapping[str, Any], config: Config
) -> dict[str, Tensor] | None:
    """A model's weights, named as in the network of a configuration; None where they do not fit it.

    Args:
        settings: The network that they are of, from their metadata.
    """
    if isinstance(config, RestorationTrainConfig):
        return weights if settings == asdict(config.model) else None
    if settings.get("network") == RESTORATION:
        return None
    model = NetworkConfig.of(settings)
    if config.model == model:
        return weights
    if not extends(config.model, model):
        return None
    return graft(weights, config.model.levels - model.levels)


def extends(config: NetworkConfig, coarse: NetworkConfig) -> bool:
    """Whether a network is that of `coarse` behind finer levels, the last of which hands on 3 channels."""
    more = config.levels - coarse.levels
    if config.network != "bdflow" or more <= 0 or len(config.kept) < more or config.kept[more - 1] != 3:
        return False
    same = all(config.of_level(more + index) == coarse.of_level(index) for index in range(coarse.levels))
    return same and coarse == replace(
        config, scale=coarse.scale, blocks=coarse.blocks, features=coarse.features, kept=config.kept[more:]
    )


def graft(weights: Mapping[str, Tensor], more: int) -> dict[str, Tensor]:
    """Name the weights of a network as those of the coarse levels of one that `extends` it.

    An untrained level is a bare wavelet, so the larger network begins as the smaller one on pictures that are
    shrunk by averaging.
    """
    split = ((key.split(".", 2), value) for key, value in weights.items())
    return {f"levels.{int(level) + more}.{rest}": value for (_, level, rest), value in split}
