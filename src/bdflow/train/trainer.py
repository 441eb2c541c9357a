"""The training loop."""

import csv
import json
import math
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tensorboardX import SummaryWriter
from torch import Tensor

from bdflow.environment import processor_name
from bdflow.errors import BDFlowError
from bdflow.metrics import MAX_PSNR, psnr, psnr_y
from bdflow.networks.build import count_parameters
from bdflow.networks.network import Network, restore
from bdflow.offline import hidden
from bdflow.quality.lpips import LPIPS
from bdflow.resize import bicubic_down, bicubic_up
from bdflow.train.config import TrainConfig, read_saved, to_dict
from bdflow.train.data import Crops, Pictures, list_pictures, loader, shrink
from bdflow.train.green import network_of
from bdflow.train.losses import Objective
from bdflow.train.optim import learning_rate, make_optimizers

# It looks for torchmetrics, which is slow and loads matplotlib, which writes below the home folder.
with hidden("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.seed import seed_everything

LAST, LOG, LOG_EVERY = "last.pt", "log.csv", 50
Precision = Literal["auto", "bf16-mixed", "32-true"]


def faster_precision(on_cpu: bool) -> Literal["bf16-mixed", "32-true"]:
    """bfloat16 where the machine computes in it; a processor that must emulate it takes ten times as long."""
    if on_cpu:
        has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch cannot tell
        native = any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))  # the last is ARM's
    else:
        native = not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "32-true"


def to_pixels(x: Tensor) -> NDArray[np.uint8]:
    """A picture ``(1, 3, H, W)`` in [0, 1] as it is stored: clipped, rounded, uint8 ``(H, W, 3)``."""
    levels = (x[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).cpu().numpy())


@torch.no_grad()
def validate(model: Network, pictures: list[Tensor]) -> tuple[dict[str, float], Tensor]:
    """Mean PSNR-Y of restored pictures and of bicubic, and PSNR of Y to the bicubic LR; and a contact sheet.

    All of rounded 8-bit pictures, by the measure and the bicubic that `bdflow evaluate` has. The sheet
    ``(3, H, W)`` shows up to four pictures, a row each: Y enlarged, restored, true.
    """
    rows: list[Tensor] = []
    scale = model.config.scale
    sums = {"psnr_y": 0.0, "bicubic_psnr_y": 0.0, "lr_psnr": 0.0}
    for x in pictures:
        y, boundary, _ = model(x)
        restored = restore(model, y, boundary).clamp(0, 1)
        small, _ = model.storage.rounded(y, None)
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


class Trainer:
    """One run: its model, optimiser, data and folder.

    Args:
        config: Everything that determines the result.
        data: Folders of training pictures.
        out: The run folder; ``last.pt`` in it is resumed if it is there.
        start: Weights to begin from (a state dict); what it lacks begins fresh.
        origin: Whose weights those are, and what their training took; the run's state remembers it.
        precision: Of the convolutions; couplings, losses and weights are always float32. "auto" takes the
            faster.
        say: Takes each line of progress.
    """

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
        self.config, self.out, self.origin = config, out, origin
        # On a CPU "auto" would mean one process for each core; torchrun says how many it has started.
        on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if on_cpu else "auto"
        self.precision = faster_precision(on_cpu) if precision == "auto" else precision
        self.fabric = Fabric(accelerator=accelerator, devices=devices, precision=self.precision)
        self.fabric.launch()
        self.say = say if self.fabric.is_global_zero else lambda line: None
        if self.fabric.is_global_zero:
            out.mkdir(parents=True, exist_ok=True)

        paths = list_pictures(data, config.data.exclude)
        pictures = Pictures(paths, config.data.crop, config.data.cache_gb, self.say)
        self.held_out = self._hold_out(pictures)
        self.crops = Crops(pictures, config.data, config.optim.seed)

        seed_everything(config.optim.seed, verbose=False)
        self.raw = network_of(config)
        if start is not None:
            self.raw.load_state_dict({**self.raw.state_dict(), **start})
        objective = Objective(self.raw, config.loss, config.mask, LPIPS() if config.loss.lpips else None)
        objective = objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective, *self.optimizers = self.fabric.setup(
            objective, *make_optimizers(self.raw, config.optim)
        )
        self.step, self.seconds = 0, 0.0
        self.ema = {key: value.clone() for key, value in self.raw.state_dict().items()}
        if (out / LAST).exists():
            self._load()
        if self.fabric.is_global_zero:  # not before: a run of another network is refused
            (out / "config.json").write_text(json.dumps(to_dict(config), indent=1))
        self.say(
            f"{config.name}: {count_parameters(self.raw):,} parameters, {len(pictures)} pictures"
            f" ({pictures.cached} in memory, {pictures.skipped} skipped), {len(self.held_out)} held out,"
            f" {self.fabric.world_size} x {self.fabric.device} in {self.precision}, {self.step} steps done"
        )

    def _hold_out(self, pictures: Pictures) -> list[Tensor]:
        """Take every k-th picture out for validation: a centred square of ``validation_size`` pixels."""
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

    def fit(self, max_time: float = math.inf) -> None:
        """Train up to the configured steps, or for ``max_time`` seconds; state is saved either way.

        Raises:
            BDFlowError: The gradient is not finite; the last good state is kept in the run folder.
        """
        config, fabric = self.config, self.fabric
        board = SummaryWriter(str(self.out / "tensorboard")) if fabric.is_global_zero else None
        last = config.optim.steps if config.optim.minutes is None else sys.maxsize // 2**20
        batches = loader(self.crops, self.step, last, fabric.global_rank, fabric.world_size)
        began, first, spent = time.monotonic(), self.step, self.seconds
        sums: Counter[str] = Counter()
        with _interrupts() as interrupted:
            for batch in batches:
                sums.update(self._train_step(batch))
                self.step += 1
                elapsed = time.monotonic() - began
                self.seconds = spent + elapsed
                pace = elapsed / (self.step - first)
                done = self.progress >= 1
                stop = done or elapsed + pace > max_time or bool(interrupted)
                if fabric.world_size > 1:  # the clocks differ, but all must stop at one step
                    done, stop = fabric.broadcast((done, stop))
                if self.step % LOG_EVERY == 0 or stop:
                    count = sums.pop("count")
                    left = min(self._left(pace), max_time - elapsed)
                    self._report({key: value / count for key, value in sums.items()}, pace, left, board)
                    sums.clear()
                if self.held_out and (self.step % config.validate_every == 0 or done):
                    self._validate(board)
                if self.step % config.save_every == 0 or stop:
                    self.save()
                if stop:
                    break
        if board:
            board.close()
        if interrupted:
            raise KeyboardInterrupt

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1."""
        optim = self.config.optim
        return self.step / optim.steps if optim.minutes is None else self.seconds / (60 * optim.minutes)

    def _left(self, pace: float) -> float:
        """Seconds to the end, at ``pace`` seconds a step."""
        optim = self.config.optim
        return (
            (optim.steps - self.step) * pace if optim.minutes is None else 60 * optim.minutes - self.seconds
        )

    def _train_step(self, batch: Tensor) -> dict[str, float]:
        """One step; the loss's terms, and a count of 1."""
        fabric, optim = self.fabric, self.config.optim
        progress = self.progress
        if optim.minutes is not None and fabric.world_size > 1:  # the clocks differ, the rates must not
            progress = fabric.broadcast(progress)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(self.step, optim, optim.minutes and progress)
            optimizer.zero_grad()
        # Z depends on the seed and the step alone, so that a resumed run draws what it would have drawn.
        draws = torch.Generator(fabric.device)
        draws.manual_seed((optim.seed * optim.steps + self.step) * fabric.world_size + fabric.global_rank)
        terms = self.objective(batch.to(fabric.device), progress, draws)
        fabric.backward(terms["total"])
        norm = torch.nn.utils.clip_grad_norm_(self.raw.parameters(), optim.gradient_clip)
        if not math.isfinite(float(norm)):
            kept = self.out / LAST
            raise BDFlowError(
                f"step {self.step}: the gradient is not finite; the last good state is "
                + (f"{kept}: go on from it with a lower learning rate" if kept.exists() else "the start")
            )
        for optimizer in self.optimizers:
            optimizer.step()
        if optim.ema:
            # Early averages forget faster, or the random start would weigh on them.
            decay = min(optim.ema, (1 + self.step) / (10 + self.step))
            for key, value in self.raw.state_dict().items():
                self.ema[key].lerp_(value, 1 - decay)
        return {key: float(value.detach()) for key, value in terms.items()} | {"count": 1}

    def _report(self, terms: dict[str, float], pace: float, left: float, board: SummaryWriter | None) -> None:
        optim = self.config.optim
        text = "  ".join(f"{key} {value:.4f}" for key, value in terms.items())
        minutes = f"{left / 60:.0f} min left" if math.isfinite(left) else ""
        steps = f"step {self.step}" + ("" if optim.minutes else f"/{optim.steps}")
        self.say(f"{steps}  {text}  {pace:.2f} s a step, {minutes}")
        rate = self.optimizers[0].param_groups[0]["lr"]
        self._log({"learning_rate": rate, "seconds": self.seconds} | terms, board)

    def _validate(self, board: SummaryWriter | None) -> None:
        """Score the weights that would ship on the held-out pictures, and draw the contact sheet."""
        trained = {key: value.clone() for key, value in self.raw.state_dict().items()}
        self.raw.load_state_dict(self.weights())
        with self.fabric.autocast():
            scores, sheet = validate(self.raw, [x.to(self.fabric.device) for x in self.held_out])
        self.raw.load_state_dict(trained)
        if not self.fabric.is_global_zero:
            return
        self.say(
            f"step {self.step}: held-out PSNR-Y {scores['psnr_y']:.2f} dB"
            f" (bicubic {scores['bicubic_psnr_y']:.2f}), LR {scores['lr_psnr']:.2f} dB"
        )
        self._log(scores, board)
        pixels = (sheet.clamp(0, 1) * 255).round().byte()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(self.out / "sheet.png")
        if board:
            board.add_image("LR, restored, true", pixels.numpy(), self.step)

    def _log(self, values: dict[str, float], board: SummaryWriter | None) -> None:
        """Append ``step, name, value`` rows to the CSV log, and scalars to TensorBoard."""
        if board is None:
            return
        with (self.out / LOG).open("a", newline="") as file:
            csv.writer(file).writerows((self.step, key, f"{value:.6g}") for key, value in values.items())
        for key, value in values.items():
            board.add_scalar(key, value, self.step)

    def weights(self) -> dict[str, Tensor]:
        """The state dict that would ship: the moving average where there is one."""
        return self.ema if self.config.optim.ema else self.raw.state_dict()

    def save(self) -> None:
        """Write everything that a resumed run needs, under a temporary name first."""
        if not self.fabric.is_global_zero:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "origin": self.origin,
            "model": self.raw.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "ema": self.ema,
            "machine": self._machine(),
            "precision": self.precision,
            "config": to_dict(self.config),
        }
        temporary = self.out / (LAST + ".tmp")
        torch.save(state, temporary)
        temporary.replace(self.out / LAST)

    def _machine(self) -> str:
        if self.fabric.device.type == "cuda":
            return f"{self.fabric.world_size} x {torch.cuda.get_device_name()}"
        threads = torch.get_num_threads()
        return f"{threads} core{'s' * (threads > 1)} of {processor_name()}"

    def _load(self) -> None:
        state = torch.load(self.out / LAST, map_location="cpu", weights_only=True)
        saved = read_saved(state["config"])
        if (saved.model, saved.plane) != (self.config.model, self.config.plane):
            raise BDFlowError(f"{self.out / LAST} holds another network: choose a new --out folder")
        self.raw.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for key, value in state["ema"].items():
            self.ema[key].copy_(value)
        self.step, self.seconds, self.origin = state["step"], state["seconds"], state["origin"]
        log = self.out / LOG
        if self.fabric.is_global_zero and log.exists():  # what came after the last save will come again
            rows = [row for row in log.read_text().splitlines() if int(row.split(",")[0]) <= self.step]
            if any(",bicubic_y," in row for row in rows):  # logged when this scored full-range luma
                rows = [re.sub(r",(psnr_y|bicubic_y),", r",\1_full_range,", row) for row in rows]
            log.write_text("".join(f"{row}\n" for row in rows))


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that fills when the process is asked to end, so that a step is finished and saved first.

    A second request ends it at once.
    """
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        seen.append(number)
        signal.signal(number, signal.SIG_DFL)

    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
