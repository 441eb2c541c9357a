"""Search for the small picture from which a model restores best.

A network makes a small picture in one pass, which is near the best one and not there: its inverse restores
with Z = 0 what was made with another Z. A few steps down the gradient of the error come nearer. The file is
as any other, and restores as fast. Gradients need torch.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from bdflow.errors import BDFlowError
from bdflow.networks.network import restore
from bdflow.networks.stored import TOP
from bdflow.pictures.reader import Array, Picture
from bdflow.pictures.resize import bicubic_down
from bdflow.runtime.backends import choose, forked
from bdflow.runtime.tiles import cut, times
from bdflow.smallfile.downscaled import Downscaled
from bdflow.system.files import reason
from bdflow.zoo import Model
from bdflow.zoo.loading import load_model

KEPT = 512  # pixels of a tile, each way, beside what it must see around them; up to 4 GiB with the gradients
GUIDE = 0.1  # weight of the small picture's distance to the bicubic one: enough that it does not grow
ROUNDING = 1 / 12 / TOP**2  # mean square of what rounding to 8 bits adds
LEARNING_RATE = {"y": 1.0, "boundary": 0.5}  # levels that a step may move a sample by
BETAS = 0.5, 0.9  # of Adam; shorter memories than usual, for there are few steps


class Refiner:
    """Refines what one model made small.

    Args:
        model: A verified model folder.
        device: `cpu`, `cuda`, or `auto` for the better that torch has.
        threads: Of the processor, for all of torch; None leaves them as they are.

    Raises:
        BDFlowError: torch cannot use the device, or does not know the model's network.
    """

    def __init__(self, model: Model, device: str = "auto", threads: int | None = None) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device(choose(device, "torch"))
        network = load_model(model.folder).requires_grad_(False)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._scale, self._halo, self._storage = model.scale, model.halo, network.storage
        self._process = os.getpid()

    def refine(self, picture: Picture, small: Downscaled, steps: int) -> Downscaled:
        """The best small picture that so many steps of Adam pass; never a worse one.

        What they lower is the mean square of the restored picture's error, and with a weight of `GUIDE`
        that of the small picture's distance to the bicubic one, both in terms of what they were. Rounding
        lets the gradient pass straight through.

        Args:
            picture: The photograph.
            small: What the model made of it.
            steps: Each takes as long as two or three restorations.

        Raises:
            BDFlowError: torch failed, or had computed before this process was forked.
        """
        if os.getpid() != self._process:
            raise forked("torch")
        try:
            return self._search(picture, small, steps)
        except RuntimeError as error:  # most often memory ran out
            raise BDFlowError(f"torch failed: {reason(error)}") from error

    def _search(self, picture: Picture, small: Downscaled, steps: int) -> Downscaled:
        storage = self._storage
        plain = self._tensor(bicubic_down(picture.rgb, self._scale)) / TOP
        y, boundary = storage.samples(
            self._tensor(small.image.rgb),
            None if small.boundary is None else self._tensor(small.boundary[..., None]),
        )
        parts = {"y": y} if boundary is None else {"y": y, "boundary": boundary}
        tops = {"y": TOP, "boundary": storage.boundary_top}
        groups = [{"params": [part.requires_grad_()], "lr": 0.0} for part in parts.values()]
        optimizer = torch.optim.Adam(groups, betas=BETAS)

        first, weight = float("inf"), 0.0
        least, best = float("inf"), parts
        for step in range(steps + 1):
            last = step == steps
            optimizer.zero_grad()
            with torch.set_grad_enabled(not last):
                error = 0.0
                for summand in self._errors(picture.rgb, parts["y"], parts.get("boundary")):
                    error += summand.item()
                    if not last:  # at once, or what all tiles computed would lie in memory
                        summand.backward()  # type: ignore[no-untyped-call]
                distance = (storage.rounded(parts["y"], None)[0] - plain).square().mean()
                if step == 0:
                    first, weight = error, GUIDE * error / max(distance.item(), ROUNDING)
                guide = weight * distance
                if not last:
                    guide.backward()  # type: ignore[no-untyped-call]
            if error <= first and error + guide.item() < least:
                least = error + guide.item()
                best = {name: part.detach().clone() for name, part in parts.items()}
            if not last:
                for group, name in zip(optimizer.param_groups, parts, strict=True):
                    group["lr"] = LEARNING_RATE[name] / tops[name] * (1 - step / steps)
                optimizer.step()
        rgb, *planes = (
            np.ascontiguousarray(levels[0].permute(1, 2, 0).cpu().numpy())
            for levels in storage.levels(best["y"], best.get("boundary"))
        )
        return replace(
            small,
            image=replace(small.image, rgb=rgb),
            boundary=planes[0][..., 0] if planes else None,
        )

    def _errors(self, rgb: Array, y: Tensor, boundary: Tensor | None) -> Iterator[Tensor]:
        """The mean square of the restored picture's error, in summands: one of each tile."""
        scale, halo = self._scale, -(-self._halo // self._scale)
        height, width = y.shape[-2:]
        rows, columns = cut(height, width, KEPT // scale + 2 * halo, halo)
        for down, across in product(rows, columns):
            seen = ..., down.seen, across.seen
            part = restore(self._network, y[seen], None if boundary is None else boundary[seen])
            true = self._tensor(rgb[times(down.kept, scale), times(across.kept, scale)]) / TOP
            part = part[..., times(down.inner, scale), times(across.inner, scale)]
            # Beyond the photograph's edge, in the last cells, nobody looks.
            yield (part[..., : true.shape[-2], : true.shape[-1]] - true).square().sum() / rgb.size

    def _tensor(self, pixels: Array) -> Tensor:
        """Of an array `(H, W, C)`, the tensor `(1, C, H, W)`."""
        return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(self._device).float()
