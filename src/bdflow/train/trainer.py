"""Training of the networks that shrink and restore: what the loop trains, and from what."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from bdflow.errors import BDFlowError
from bdflow.networks.network import Network, restore
from bdflow.pictures.resize import bicubic_down, bicubic_up
from bdflow.quality.lpips import LPIPS
from bdflow.quality.metrics import MAX_PSNR, psnr, psnr_y
from bdflow.train.config import Config, TrainConfig
from bdflow.train.data import Crops, Pictures, list_pictures, loader, shrink
from bdflow.train.green import network_of
from bdflow.train.log import Scores
from bdflow.train.loop import Loop, Precision
from bdflow.train.losses import Objective
from bdflow.train.optim import make_optimizers


def to_pixels(x: Tensor) -> NDArray[np.uint8]:
    """A picture `(1, 3, H, W)` in [0, 1] as it is stored: clipped, rounded, uint8 `(H, W, 3)`."""
    levels = (x[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())


@torch.no_grad()
def validate(network: Network, pictures: list[Tensor]) -> tuple[dict[str, float], Tensor]:
    """Mean PSNR-Y of restored pictures and of bicubic, and PSNR of Y to the bicubic LR; and a contact sheet.

    All of rounded 8-bit pictures, by the measure and the bicubic that `bdflow evaluate` has. The sheet
    `(3, H, W)` shows up to four pictures, a row each: Y enlarged, restored, true.
    """
    rows: list[Tensor] = []
    scale = network.config.scale
    sums = {"psnr_y": 0.0, "bicubic_psnr_y": 0.0, "lr_psnr": 0.0}
    for x in pictures:
        y, boundary, _ = network(x)
        restored = restore(network, y, boundary).clamp(0, 1)
        small, _ = network.storage.rounded(y, None)
        true = to_pixels(x)
        bicubic_small = bicubic_down(true, scale)
        bicubic = bicubic_up(bicubic_small, scale, true.shape[:2])
        sums["psnr_y"] += min(psnr_y(true, to_pixels(restored)), MAX_PSNR)
        sums["bicubic_psnr_y"] += min(psnr_y(true, bicubic), MAX_PSNR)
        sums["lr_psnr"] += min(psnr(to_pixels(small), bicubic_small), MAX_PSNR)
        if len(rows) < 4:
            enlarged = torch.nn.functional.interpolate(small, x.shape[-2:], mode="nearest")
            rows.append(torch.cat((enlarged[0], restored[0], x[0]), dim=-1).cpu())
    widest = max(row.shape[-1] for row in rows)
    sheet = torch.cat([torch.nn.functional.pad(row, (0, widest - row.shape[-1])) for row in rows], dim=-2)
    return {key: value / len(pictures) for key, value in sums.items()}, sheet


class Trainer(Loop):
    """One run of a network that shrinks and restores; see `bdflow.train.loop.Loop`.

    Args:
        data: Folders of training pictures.
        start: Weights to begin from (a state dict); what it lacks begins fresh.
    """

    config: TrainConfig
    network: Network
    held_out: list[Tensor]

    def __init__(
        self,
        config: TrainConfig,
        data: list[Path],
        out: Path,
        *,
        start: dict[str, Tensor] | None = None,
        origin: dict[str, Any] | None = None,
        precision: Precision = "auto",
        accelerator: str = "auto",
        say: Callable[[str], None] = print,
    ) -> None:
        super().__init__(config, out, origin=origin, precision=precision, accelerator=accelerator, say=say)
        rank, world = self.fabric.global_rank, self.fabric.world_size
        paths = list_pictures(data, config.data.exclude)
        if len(paths) < world:
            raise BDFlowError(f"{world} processes share {len(paths)} pictures: start no more than there are")
        pictures = Pictures(paths[rank::world], config.data.crop, config.data.cache_gb, say)
        self.held_out = self._hold_out(pictures) if rank == 0 else []
        self.crops = Crops(pictures, config.data, config.optim.seed, rank)
        self.begin(
            start,
            f"{len(pictures)} pictures{' of each process' * (world > 1)} ({pictures.cached} in memory,"
            f" {pictures.skipped} skipped), {len(self.held_out)} held out",
        )

    def _network(self) -> Network:
        return network_of(self.config)

    def _objective(self) -> nn.Module:
        loss = self.config.loss
        return Objective(self.network, loss, self.config.mask, LPIPS() if loss.lpips else None)

    def _optimizers(self) -> list[Optimizer]:
        return make_optimizers(self.network, self.config.optim)

    def _batches(self, first: int, last: int) -> Iterable[Tensor]:
        return loader(self.crops, first, last)

    def _scores(self) -> Scores:
        values, sheet = validate(self.network, [x.to(self.fabric.device) for x in self.held_out])
        summary = (
            f"PSNR-Y {values['psnr_y']:.2f} dB (bicubic {values['bicubic_psnr_y']:.2f}),"
            f" LR {values['lr_psnr']:.2f} dB"
        )
        return Scores(values, summary, sheet, "LR, restored, true")

    def _same_network(self, saved: Config) -> bool:
        config = self.config
        return isinstance(saved, TrainConfig) and (saved.model, saved.plane) == (config.model, config.plane)

    def _hold_out(self, pictures: Pictures) -> list[Tensor]:
        """Take every k-th picture out for validation: a centred square of `validation_size` pixels."""
        count = min(self.config.data.validation, len(pictures) // 2)
        chosen = [i * len(pictures) // count for i in range(count)]
        scale, squares = self.config.model.scale, []
        for image in (shrink(pictures[i], self.config.data.sides) for i in chosen):
            size = [min(s, self.config.data.validation_size) // scale * scale for s in image.shape[:2]]
            top, left = ((s - t) // 2 for s, t in zip(image.shape[:2], size, strict=True))
            square = np.ascontiguousarray(image[top : top + size[0], left : left + size[1]])
            squares.append(torch.from_numpy(square).permute(2, 0, 1)[None].float() / 255)
        pictures.drop(chosen)
        return squares
