"""The training loop, and what it needs of what is trained."""

import json
import math
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bdflow.errors import BDFlowError
from bdflow.networks.build import count_parameters
from bdflow.system import interrupts
from bdflow.system.offline import hidden
from bdflow.train.config import Config, read_saved, to_dict
from bdflow.train.log import Log, Scores, rewind
from bdflow.train.optim import has_bfloat16, learning_rate
from bdflow.train.state import LAST, State, machine, read_state

# It looks for torchmetrics, which is slow and loads matplotlib, which writes below the home folder.
with hidden("torchmetrics"):
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.seed import seed_everything

LOG_EVERY = 50
_AGREE_EVERY = 10  # steps after which processes agree on the time
Precision = Literal["auto", "bf16-mixed", "32-true"]


class Loop(ABC):
    """One run: its network, optimisers, data and folder. A subclass says what is trained, and from what.

    Args:
        config: Everything that determines the result.
        out: The run folder; `last.pt` in it is resumed if it is there.
        origin: Whose weights the run begins with, and what their training took; its state remembers it.
        precision: Of the convolutions; losses and weights are always float32. "auto" takes the faster.
        say: Takes each line of progress.

    Attributes:
        network: What is trained.
        state: Its weights, steps and seconds, from `begin` on.
        objective: Takes a batch, the share of the training that is done and a generator; gives the terms of
            the loss, of which `total` is minimised.
        held_out: What is validated on; empty: nothing.
    """

    network: nn.Module
    held_out: Sized

    def __init__(
        self,
        config: Config,
        out: Path,
        *,
        origin: dict[str, Any] | None,
        precision: Precision,
        accelerator: str,
        say: Callable[[str], None],
    ) -> None:
        self.config, self.out, self.origin = config, out, origin
        # On a CPU "auto" would mean one process for each core; torchrun says how many it has started.
        on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if on_cpu else "auto"
        if precision == "auto":
            precision = "bf16-mixed" if has_bfloat16(on_cpu) else "32-true"
        self.precision = precision
        self.fabric = Fabric(accelerator=accelerator, devices=devices, precision=self.precision)
        self.fabric.launch()
        self.say = say if self.fabric.is_global_zero else lambda line: None
        if self.fabric.is_global_zero:
            out.mkdir(parents=True, exist_ok=True)

    def begin(self, start: Mapping[str, Tensor] | None, about: str) -> None:
        """Build the network, and take up what the run folder holds.

        Args:
            start: Weights to begin from; what they lack begins fresh.
            about: The data, in a few words.
        """
        config = self.config
        seed_everything(config.optim.seed, verbose=False)
        self.network = self._network()
        if start is not None:
            self.network.load_state_dict({**self.network.state_dict(), **start})
        objective = self._objective()
        for parameter in objective.parameters():  # not buffers: one that lies so cannot be sent to a process
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
        self.objective, *self.optimizers = self.fabric.setup(objective, *self._optimizers())
        self.state = State(self.network, self.optimizers, self.origin)
        if (self.out / LAST).exists():
            self._resume()
        if self.fabric.is_global_zero:  # not before: a run of another network is refused
            (self.out / "config.json").write_text(json.dumps(to_dict(config), indent=1))
        self.say(
            f"{config.name}: {count_parameters(self.network):,} parameters, {about},"
            f" {self.fabric.world_size} x {self.fabric.device} in {self.precision},"
            f" {self.state.step} steps done"
        )

    @abstractmethod
    def _network(self) -> nn.Module:
        """The network, untrained."""

    @abstractmethod
    def _objective(self) -> nn.Module:
        """The loss of `network`; see `objective`."""

    @abstractmethod
    def _optimizers(self) -> list[Optimizer]:
        """Of the parameters of `network`."""

    @abstractmethod
    def _batches(self, first: int, last: int) -> Iterable[Any]:
        """Of the steps `first` to `last`; each depends on its step alone."""

    @abstractmethod
    def _scores(self) -> Scores:
        """Measure the network as it is on what is held out."""

    @abstractmethod
    def _same_network(self, saved: Config) -> bool:
        """Whether a run of this configuration can go on here."""

    def fit(self, max_time: float = math.inf) -> None:
        """Train up to the configured steps, or for `max_time` seconds; state is saved either way.

        Raises:
            BDFlowError: The gradient is not finite; the last good state is kept in the run folder.
        """
        config, fabric, state = self.config, self.fabric, self.state
        last = config.optim.steps if config.optim.minutes is None else sys.maxsize // 2**20
        batches = self._batches(state.step, last)
        spent, clock = state.seconds, Clock(fabric)
        terms: list[dict[str, Tensor]] = []  # since the last report
        folder = self.out if fabric.is_global_zero else None
        with Log(folder, self.say) as log, _interrupts() as interrupted, one_line(fabric):
            for batch in batches:
                terms.append(self._train_step(batch))
                state.step += 1
                clock.tick(interrupted)
                elapsed, pace = clock.seconds, clock.pace
                state.seconds = spent + elapsed
                done = self.progress >= 1
                stop = done or elapsed + pace > max_time or clock.interrupted
                if state.step % LOG_EVERY == 0 or stop:
                    means = {name: float(sum(each[name] for each in terms)) / len(terms) for name in terms[0]}
                    self._report(log, means, pace, min(self._left(pace), max_time - elapsed))
                    terms.clear()
                if self.held_out and (state.step % config.validate_every == 0 or done):
                    self._validate(log)
                if state.step % config.save_every == 0 or stop:
                    self.save()
                if stop:
                    break
        if clock.interrupted:
            raise KeyboardInterrupt

    @property
    def progress(self) -> float:
        """Share of the training that is done, 0 to 1."""
        optim = self.config.optim
        if optim.minutes is None:
            return self.state.step / optim.steps
        return self.state.seconds / (60 * optim.minutes)

    def _left(self, pace: float) -> float:
        """Seconds to the end, at `pace` seconds per step."""
        optim = self.config.optim
        if optim.minutes is None:
            return (optim.steps - self.state.step) * pace
        return 60 * optim.minutes - self.state.seconds

    def _train_step(self, batch: Any) -> dict[str, Tensor]:
        """One step; the loss's terms, which nobody waits for yet."""
        fabric, optim, step, progress = self.fabric, self.config.optim, self.state.step, self.progress
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, optim, optim.minutes and progress)
            optimizer.zero_grad()
        # Z depends on the seed and the step alone, so that a resumed run draws what it would have drawn.
        draws = torch.Generator(fabric.device)
        draws.manual_seed((optim.seed * optim.steps + step) * fabric.world_size + fabric.global_rank)
        terms = self.objective(fabric.to_device(batch), progress, draws)
        fabric.backward(terms["total"])
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), optim.gradient_clip)
        if not math.isfinite(float(norm)):
            kept = self.out / LAST
            raise BDFlowError(
                f"step {step}: the gradient is not finite; the last good state is "
                + (f"{kept}: continue from it with a lower learning rate" if kept.exists() else "the start")
            )
        for optimizer in self.optimizers:
            optimizer.step()
        if optim.ema:
            self.state.average(optim.ema)
        return {name: value.detach() for name, value in terms.items()}

    def _report(self, log: Log, terms: Mapping[str, float], pace: float, left: float) -> None:
        """Tell of the loss since the last report."""
        optim, state = self.config.optim, self.state
        run = {"learning_rate": self.optimizers[0].param_groups[0]["lr"], "seconds": state.seconds}
        log.terms(state.step, None if optim.minutes else optim.steps, terms, run, pace, left)

    def _validate(self, log: Log) -> None:
        """Score the weights that would ship, and draw the contact sheet."""
        with self.state.swapped(self.weights()), self.fabric.autocast():
            scores = self._scores()
        log.scores(self.state.step, scores)

    def weights(self) -> dict[str, Tensor]:
        """The state dict that would ship: the moving average where there is one."""
        return self.state.ema if self.config.optim.ema else self.network.state_dict()

    def save(self) -> None:
        """Write the state into the run folder."""
        if self.fabric.is_global_zero:
            self.state.save(
                self.out,
                machine=machine(self.fabric.device, self.fabric.world_size),
                precision=self.precision,
                config=to_dict(self.config),
                processes=self.fabric.world_size,
            )

    def _resume(self) -> None:
        """Take up the state in the run folder."""
        saved = read_state(self.out)
        if not self._same_network(read_saved(saved["config"])):
            raise BDFlowError(f"{self.out / LAST} holds another network: choose a new --out folder")
        processes, world = saved.get("processes", 1), self.fabric.world_size
        if processes != world:  # each has its share of the pictures and of a step's crops
            raise BDFlowError(
                f"{self.out / LAST}: of a run on {processes} processes, not {world}: start as many"
            )
        self.state.load(saved)
        if self.fabric.is_global_zero:
            rewind(self.out, self.state.step)


class Clock:
    """The seconds of a run; the same on all its processes, whose own clocks differ.

    They agree at the first steps and at every tenth, and reckon in between: no step waits for the others'
    clocks.

    Attributes:
        seconds: Since the run began.
        pace: Seconds a step.
        interrupted: One of the processes was asked to end.
    """

    def __init__(self, fabric: Fabric) -> None:
        self._fabric, self._began = fabric, time.monotonic()
        self._steps = 0
        self.seconds, self.pace, self.interrupted = 0.0, 0.0, False

    def tick(self, interrupted: Sized) -> None:
        """A step is done.

        Args:
            interrupted: Not empty once this process was asked to end.
        """
        self._steps += 1
        if self._fabric.world_size == 1:
            self.seconds, self.interrupted = time.monotonic() - self._began, bool(interrupted)
        elif self._steps <= _AGREE_EVERY or self._steps % _AGREE_EVERY == 0:
            mine = time.monotonic() - self._began if self._fabric.is_global_zero else 0.0
            figures = torch.tensor([mine, float(bool(interrupted))], device=self._fabric.device)
            seconds, requests = self._fabric.all_reduce(figures, reduce_op="sum").tolist()  # type: ignore[union-attr]
            self.seconds, self.interrupted = seconds, requests > 0
        else:
            self.seconds += self.pace
            return
        self.pace = self.seconds / self._steps


@contextmanager
def one_line(fabric: Fabric) -> Iterator[None]:
    """Where another process of the run has ended, one line says so in place of torch's many."""
    try:
        yield
    except RuntimeError as error:
        if fabric.world_size == 1 or not any(word in str(error) for word in ("peer", "NCCL", "Socket")):
            raise
        raise BDFlowError(f"another process of the run has ended; {LAST} keeps the last state") from error


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """A list that fills when the process is asked to end, so that a step is finished and saved first.

    A second request ends it at once.
    """
    seen: list[int] = []

    def again(number: int, frame: object) -> None:
        interrupts.end(number)  # it must not stand here itself: its thread may hear of the first yet

    def note(number: int, frame: object) -> None:
        seen.append(number)
        signal.signal(number, again)

    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
