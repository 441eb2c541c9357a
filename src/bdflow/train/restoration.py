"""Training of a network that restores thumbnails in ordinary codecs: crops, loss, validation."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import Optimizer

from bdflow.errors import BDFlowError
from bdflow.evaluation.measure import Learned, learned
from bdflow.networks.restoration import GRID, Restoration
from bdflow.pictures.reader import Array
from bdflow.quality.lpips_vgg16 import LPIPSOnVGG16
from bdflow.quality.metrics import MAX_PSNR, psnr_y
from bdflow.runtime.enhancer import describe, enlarged
from bdflow.smallfile.thumbnail import FORMATS, Domain, Thumbnail, multiples
from bdflow.system.environment import available_cores
from bdflow.train.config import Config, RestorationTrainConfig
from bdflow.train.config_restoration import CropConfig, RestorationLossConfig
from bdflow.train.log import Scores
from bdflow.train.loop import Loop, Precision, one_line
from bdflow.train.optim import make_optimizers
from bdflow.train.pairs import CACHE, Views

Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]
_FIRST_VIEWS = 64  # with so many training begins while others are made
_VALIDATED = 3  # thumbnails of each picture that is held out
_SHOWN = 4  # pictures of the contact sheet
_AHEAD = 4  # batches that are made while the network computes


class Pair(NamedTuple):
    """What a network sees, and what it is to give.

    Attributes:
        plain: The thumbnail's enlargement, uint8 (H, W, 3).
        true: The photograph, likewise.
        known: What is known of the file, (1, facts).
    """

    plain: Array
    true: Array
    known: np.ndarray[Any, np.dtype[np.float32]]


def plain_enlargement(small: Thumbnail, grid: int = 1) -> Array:
    """The whole enlargement of a thumbnail, uint8 (H, W, 3), as `bdflow.runtime.enhancer` shows it.

    Args:
        grid: A divisor of `GRID`. The sides go on to multiples of it, as the edge is.
    """
    cell = math.lcm(GRID, multiples(small.factor)[0])  # Lanczos rounds otherwise between whole pixels
    columns, rows = (slice(0, -(-side // cell) * cell) for side in small.size)
    whole = enlarged(Image.fromarray(small.image.rgb), small.factor, rows, columns)
    width, height = (-(-side // grid) * grid for side in small.size)
    return np.array(whole[:height, :width])


class Crops:
    """Pairs of crops, drawn from the views that are there.

    A sample depends on the seed, its number and the views: once these are complete, a resumed run sees what
    it would have seen.
    """

    def __init__(self, views: Views, config: CropConfig, seed: int) -> None:
        self.views, self.config, self.seed = views, config, seed

    def __getitem__(self, number: int) -> Pair:
        config, rng = self.config, np.random.default_rng((self.seed, number))
        candidates = {d: views for d, views in self.views.of_domains().items() if config.shares.get(d)}
        shares = np.array([config.shares[domain] for domain in candidates])
        domain: Domain = list(candidates)[int(rng.choice(len(shares), p=shares / shares.sum()))]
        view = candidates[domain][int(rng.integers(len(candidates[domain])))]
        true, small = self.views.read(view, int(rng.integers(self.views.config.codings)))
        plain, crop = plain_enlargement(small), config.crop
        # On the grid of the network's cells, as a codec's blocks lie on it.
        top, left = (int(rng.integers((side - crop) // 4 + 1)) * 4 for side in true.shape[:2])
        inside = slice(top, top + crop), slice(left, left + crop)
        mirrored = config.flip and rng.random() < 0.5
        turns = int(rng.integers(4)) if domain in config.turned and rng.random() < 0.5 else 0
        plain, true = (
            np.rot90(each[inside][:, ::-1] if mirrored else each[inside], turns) for each in (plain, true)
        )
        hidden = rng.random()
        if hidden < config.unknown:
            small = replace(small, quality=None)
        known = describe(small)
        if hidden < config.unknown / 2:  # a program has saved it anew in a lossless format
            known[:, : len(FORMATS)] = 0
        return Pair(plain, true, known)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """Of a step: uint8 enlargements and photographs (N, 3, crop, crop), and what is known (N, facts)."""
        count = self.config.batch_size
        pairs = [self[(step * count + index) * world + rank] for index in range(count)]
        plain, true = (
            torch.from_numpy(np.stack([pair[side].transpose(2, 0, 1) for pair in pairs])) for side in (0, 1)
        )
        return plain, true, torch.from_numpy(np.concatenate([pair.known for pair in pairs]))

    def batches(self, first: int, last: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """`batch` of the steps `first` to `last`, made ahead in threads."""
        workers = min(4, available_cores())
        with ThreadPoolExecutor(workers) as pool:
            pending = deque(pool.submit(self.batch, first + i, rank, world) for i in range(_AHEAD))
            try:
                for step in range(first, last):
                    yield pending.popleft().result()
                    pending.append(pool.submit(self.batch, step + _AHEAD, rank, world))
            finally:
                pool.shutdown(cancel_futures=True)


class RestorationLoss(nn.Module):
    """Decibels of mean squared errors, 10 log10(MSE) of luma and of RGB, and LPIPS on VGG16: pictures' means.

    So it counts for how many decibels of PSNR a picture is improved, however coarsely it was coded.

    Args:
        network: The network; its parameters are this module's.
        config: The weights of these errors.

    Raises:
        BDFlowError: LPIPS has a weight, and its own weights are not at hand.
    """

    luma: Tensor

    def __init__(self, network: Restoration, config: RestorationLossConfig) -> None:
        super().__init__()
        self.network, self.config = network, config
        self.lpips = LPIPSOnVGG16() if config.lpips else None
        # That of `bdflow.quality.metrics.luma`.
        luma = torch.tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1) / 255
        self.register_buffer("luma", luma, persistent=False)

    def forward(
        self, batch: Batch, progress: float = 1.0, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The loss under `total`; besides, how many decibels it is below that of the plain enlargements.

        Args:
            batch: uint8 enlargements and photographs (N, 3, H, W), and what is known (N, facts).
            progress, generator: Not used.
        """
        plain, true = (each.to(memory_format=torch.channels_last).float() / 255 for each in batch[:2])
        restored = self.network(plain, batch[2])
        total = self._decibels(restored, true).mean()
        with torch.no_grad():
            terms = {"gain": self._decibels(plain, true).mean() - total}
        if self.lpips:
            with torch.no_grad():
                wanted = self.lpips.features(true)
            terms["lpips"] = self.lpips.distance(self.lpips.features(restored), wanted).mean()
            total = total + self.config.lpips * terms["lpips"]
        return {**terms, "total": total}

    def _decibels(self, restored: Tensor, true: Tensor) -> Tensor:
        error = restored.float() - true
        rgb = error.square().mean(dim=(1, 2, 3))
        luma = (error * self.luma).sum(dim=1).square().mean(dim=(1, 2))
        weights = self.config
        weighted: Tensor = weights.luma * torch.log10(luma + 1e-7) + weights.rgb * torch.log10(rgb + 1e-7)
        return 10 * weighted


class RestorationTrainer(Loop):
    """One run of a network that restores thumbnails; see `bdflow.train.loop.Loop`.

    Args:
        data: Folders of training pictures.
        start: Weights to begin from (a state dict); what it lacks begins fresh.
        cache: Where coded views are kept; None: in the run folder.
        workers: Processes that make them meanwhile; None: half of the cores.
    """

    config: RestorationTrainConfig
    network: Restoration
    held_out: list[tuple[Array, Thumbnail]]

    def __init__(
        self,
        config: RestorationTrainConfig,
        data: list[Path],
        out: Path,
        *,
        start: Mapping[str, Tensor] | None = None,
        origin: dict[str, Any] | None = None,
        precision: Precision = "auto",
        accelerator: str = "auto",
        cache: Path | None = None,
        workers: int | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        super().__init__(config, out, origin=origin, precision=precision, accelerator=accelerator, say=say)
        self._workers = max(1, available_cores() // 2) if workers is None else workers
        if not self.fabric.is_global_zero:
            self._workers = 0
        self.views = Views(data, cache or out / CACHE, config.pairs, config.data.crop)
        self.crops = Crops(self.views, config.data, config.optim.seed)
        if self.fabric.is_global_zero:
            with self.views.making(self._workers, self.say):
                self.views.wait(self.views.held_out + _FIRST_VIEWS)
        with one_line(self.fabric):
            self.fabric.barrier()
        if not any(config.data.shares.get(domain) for domain in self.views.of_domains()):
            raise BDFlowError(f"{self.views.folder}: of {self.views.made} views none is for training")
        self.held_out = [
            self.views.read(index, coding)
            for index in range(self.views.held_out)
            if self.views.usable(index)
            for coding in range(min(_VALIDATED, config.pairs.codings))
        ]
        self.begin(
            start,
            f"{len(self.views.sources)} pictures ({self.views.held_out} held out),"
            f" {self.views.made} of {len(self.views.plan)} views coded",
        )

    def fit(self, max_time: float = math.inf) -> None:
        """As `Loop.fit`; meanwhile missing views are made."""
        with self.views.making(self._workers, self.say):
            super().fit(max_time)

    def _network(self) -> Restoration:
        return Restoration(self.config.model)

    def _objective(self) -> nn.Module:
        return RestorationLoss(self.network, self.config.loss)

    def _optimizers(self) -> list[Optimizer]:
        return make_optimizers(self.network, self.config.optim, is_kernel)

    def _batches(self, first: int, last: int) -> Iterable[Batch]:
        return self.crops.batches(first, last, self.fabric.global_rank, self.fabric.world_size)

    def _scores(self) -> Scores:
        measured = learned("lpips")[0] if self.config.loss.lpips else {}
        return validate(self.network, self.held_out, self.fabric.device, measured)

    def _same_network(self, saved: Config) -> bool:
        return isinstance(saved, RestorationTrainConfig) and saved.model == self.config.model


def is_kernel(name: str, parameter: Tensor) -> bool:
    """Whether Muon updates a parameter: kernels, but not those that draw the picture."""
    return parameter.ndim == 4 and not name.startswith("tail.")


@torch.no_grad()
def validate(
    network: Restoration,
    held_out: Iterable[tuple[Array, Thumbnail]],
    device: torch.device,
    learned: Mapping[str, Learned] = MappingProxyType({}),
) -> Scores:
    """Mean PSNR-Y of restored pictures and of plain enlargements, the gain by domain and factor, and what is
    learned, of both.

    Of rounded 8-bit pictures, by the measures that `bdflow evaluate` has. The sheet shows up to four of them,
    a row each: enlarged, restored, true.
    """
    restored_psnr, plain_psnr = [], []
    distances: dict[str, list[float]] = {}
    gains: dict[str, list[float]] = {}
    rows: dict[int, Tensor] = {}
    for true, small in held_out:
        height, width = true.shape[:2]
        plain = plain_enlargement(small, GRID)
        levels = torch.from_numpy(plain).permute(2, 0, 1)[None].to(device, memory_format=torch.channels_last)
        restored = network(levels.float() / 255, torch.from_numpy(describe(small)).to(device))
        pixels = (restored[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        pixels, plain = (np.ascontiguousarray(each[:height, :width]) for each in (pixels, plain))
        restored_psnr.append(min(psnr_y(true, pixels), MAX_PSNR))
        plain_psnr.append(min(psnr_y(true, plain), MAX_PSNR))
        for name, distance in learned.items():
            distances.setdefault(name, []).append(distance.of(true, pixels))
            distances.setdefault(f"plain_{name}", []).append(distance.of(true, plain))
        for group in (small.domain, f"{small.domain}_x{small.factor:g}"):
            gains.setdefault(group, []).append(restored_psnr[-1] - plain_psnr[-1])
        row = np.concatenate((plain, pixels, true), axis=1)
        rows.setdefault(id(true), torch.from_numpy(row).permute(2, 0, 1).float() / 255)
    values = {"psnr_y": fmean(restored_psnr), "plain_psnr_y": fmean(plain_psnr)}
    values |= {f"gain_{group}": fmean(gain) for group, gain in sorted(gains.items())}
    values |= {name: fmean(each) for name, each in distances.items()}
    shown = list(rows.values())[:: -(-len(rows) // _SHOWN)]  # of all domains
    widest = max(row.shape[-1] for row in shown)
    sheet = torch.cat([nn.functional.pad(row, (0, widest - row.shape[-1])) for row in shown], dim=-2)
    by_domain = ", ".join(f"{group} {fmean(gain):+.2f}" for group, gain in gains.items() if "_x" not in group)
    summary = f"PSNR-Y {values['psnr_y']:.2f} dB (enlarged {values['plain_psnr_y']:.2f}); {by_domain} dB"
    summary += "".join(f"; {name} {fmean(each):.4f}" for name, each in distances.items())
    return Scores(values, summary, sheet, "enlarged, restored, true")
