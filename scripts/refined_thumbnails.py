"""Thumbnails refined by gradients, through the codec and the network: results/refined-thumbnails.json.

Usage: BDFLOW_DATA=DIR python scripts/refined_thumbnails.py [--steps 8]     (a quarter of an hour of a core)

What `--refine` is for PNGs, for files in ordinary codecs. Each step goes down the slope of the error that
the network leaves, in decibels, and of the bytes. A codec has no slope: it is taken to hand on what moves,
and the bits of a file are shared out to the coefficients of the 8x8 DCT by log2(1 + |coefficient| / step).
(To let each coefficient pass in the share in which it really survived did less in a first trial.) What a
step is worth is then measured by the codec and the network themselves.

The pictures are held-out views (`small_file_studies.py`). The file that the search finds for a number of
bytes is refined, and what it gains is turned into bytes by what the search gains with a tenth more of them.
"""

import argparse
import json
import math
import os
import time
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn, idctn
from small_file_studies import RESULTS, pictures
from torch import nn

from bdflow import fitting
from bdflow.fitting.candidates import Candidates, Fitted
from bdflow.fitting.rates import encode
from bdflow.networks.facts import UP
from bdflow.pictures.codecs import Codec
from bdflow.pictures.picture import Picture
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import Enhancer, cell, describe, enlarged, shrunk
from bdflow.runtime.tiles import cut, times
from bdflow.smallfile.thumbnail import Thumbnail
from bdflow.system.environment import environment
from bdflow.system.files import write_bytes
from bdflow.zoo import find_restoration
from bdflow.zoo.loading import load_graph

Plane = NDArray[np.float64]
RATES = {"portraits": (0.03, 0.08), "photos": (0.15, 0.4)}  # bits a pixel
KEPT = 512  # pixels of a tile, each way, beside what it must see around them
BLOCK = 8
FIRST = 0.7  # levels that a first step moves a thumbnail by, root mean square
FASTER, SLOWER = 1.3, 0.5  # by which a step that was kept, or was not, changes the next
APART = 2  # steps of quality between the files that tell what a byte is worth
# RGB to YCbCr (BT.601), in which codecs work, and to luma as PSNR-Y takes it.
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
LUMA = np.array([65.481, 128.553, 24.966]) / 255


class Refiner:
    """Refines what was fitted into a number of bytes.

    Args:
        enhancer: What restores it.
    """

    def __init__(self, enhancer: Enhancer) -> None:
        self._enhancer = enhancer
        self._device = torch.device("cpu")
        restore = load_graph(enhancer.model.folder, UP).requires_grad_(False)
        network = restore.model
        assert isinstance(network, nn.Module)
        self._network = network.to(self._device)
        self._luma = torch.tensor(LUMA, dtype=torch.float32, device=self._device).view(1, 3, 1, 1)

    def refine(self, picture: Picture, fitted: Fitted, codec: Codec, budget: int, steps: int) -> Fitted:
        """The best file that so many steps pass, in as many bytes; never a worse one.

        Gray pictures, and files that no network restores, stay as they are.

        Args:
            picture: The photograph, in sRGB.
            fitted: Its file.
            codec: What codes it.
            budget: Bytes that the file may have, everything counted.
            steps: Each takes as long as four restorations, or five.
        """
        if fitted.small.domain == "plain" or picture.gray:
            return fitted
        files = _Files(picture, fitted, codec, budget, self._enhancer)
        samples, current, size = files.plain.rgb.astype(np.float64), fitted, FIRST
        price, quality = files.price(fitted.quality), fitted.quality
        for _ in range(steps):
            moved = samples + size * self._downhill(files, samples, current, price)
            tried = files.restored(files.coded(moved, quality), quality)
            if _worth(tried, price) > _worth(current, price):
                samples, current, size = moved, tried, size * FASTER
            else:
                size *= SLOWER
        # What was gained is gained in decibels and in bytes; these are spent, or saved, by the quality.
        refined = files.largest(samples, quality)
        return max((each for each in (fitted, refined) if each), key=lambda each: each.psnr)

    def _downhill(self, files: "_Files", samples: Plane, fitted: Fitted, price: float) -> Plane:
        """The direction in which to move a thumbnail, of root mean square 1."""
        data, arrived = fitted.small.data, fitted.small.image.rgb.astype(np.float64)
        sent, got = (_blocks((rgb - 128) @ TO_YCC.T) for rgb in (samples, arrived))
        step = math.sqrt(12) * np.sqrt(((got - sent) ** 2).mean(axis=(0, 1, 3, 4), keepdims=True)) + 1e-9
        bits = 8 * len(data) / np.log2(1 + np.abs(sent) / step).sum()
        rate = bits * np.sign(sent) / ((step + np.abs(sent)) * math.log(2))
        slope = _blocks(self._slope(files.picture, fitted) @ np.linalg.inv(TO_YCC))
        downhill = -_joined(slope + price / 8 * rate, *samples.shape[:2]) @ np.linalg.inv(TO_YCC).T
        return downhill / max(np.sqrt((downhill**2).mean()), 1e-12)  # type: ignore[no-any-return]

    def _slope(self, picture: Picture, fitted: Fitted) -> Plane:
        """By how many decibels the error grows with each decoded sample of a thumbnail, (h, w, 3)."""
        small = fitted.small
        side, colours = cell(small.factor), Image.fromarray(small.image.rgb)
        (width, height), known = small.size, torch.from_numpy(describe(small)).to(self._device)
        halo = -(-self._enhancer.model.halo // side)
        rows, columns = cut(-(-height // side), -(-width // side), KEPT // side + 2 * halo, halo)
        tall, wide = (int(each * small.factor) for each in (colours.height, colours.width))
        slope = np.zeros((tall, wide, 3))
        # Of 5 log10 of either mean square, those of the whole picture; the tiles' own would not add up.
        weights = [5 / math.log(10) / 10 ** (-psnr / 10) for psnr in (fitted.psnr_y, fitted.psnr_rgb)]
        for high, broad in product(rows, columns):
            seen = times(high.seen, side), times(broad.seen, side)
            tensor = self._tensor(enlarged(colours, small.factor, *seen)).requires_grad_()
            true = self._tensor(picture.rgb[times(high.kept, side), times(broad.kept, side)])
            part = self._network(tensor, known)[..., times(high.inner, side), times(broad.inner, side)]
            error = part[..., : true.shape[-2], : true.shape[-1]] - true
            luma = (error * self._luma).sum(dim=1).square().sum() / (width * height)
            rgb = error.square().sum() / (3 * width * height)
            (weights[0] * luma + weights[1] * rgb).backward()
            assert tensor.grad is not None
            into = slope[seen]  # what lies beyond the thumbnail's end moves with nothing
            into += tensor.grad[0].permute(1, 2, 0).cpu().double().numpy()[: into.shape[0], : into.shape[1]]
        down, across = _enlarging(colours.height, tall), _enlarging(colours.width, wide)
        of_samples: Plane = np.einsum("Hh,HWc,Ww->hwc", down, slope / 255, across, optimize=True)
        return of_samples

    def _tensor(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Of an array `(H, W, 3)`, the tensor `(1, 3, H, W)` in 0..1."""
        return torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).to(self._device).float() / 255


class _Files:
    """Files of a photograph's moved thumbnails, of the kind of one."""

    def __init__(
        self, picture: Picture, fitted: Fitted, codec: Codec, budget: int, enhancer: Enhancer
    ) -> None:
        self.picture, self.codec, self.budget = picture, codec, budget
        self.kind: Thumbnail = fitted.small
        self.candidates = Candidates(picture, enhancer, codec)
        self.plain = shrunk(picture, self.kind.factor)

    def coded(self, samples: Plane, quality: int) -> bytes:
        levels = np.clip(np.round(samples), 0, 255).astype(np.uint8)
        return encode(self.codec, replace(self.plain, rgb=levels).to_pil(), quality)

    def restored(self, coded: bytes, quality: int) -> Fitted:
        return self.candidates.with_payload(self.kind.factor, coded, quality, self.kind.domain)

    def largest(self, samples: Plane, quality: int) -> Fitted | None:
        """The file of the highest quality that fits, of those next to the one that did."""
        qualities = self.codec.steps
        found, place = None, qualities.index(quality)
        for number in range(max(0, place - APART), min(len(qualities), place + APART + 1)):
            coded = self.coded(samples, qualities[number])
            thumbnail = self.candidates.thumbnail(self.kind.factor, coded, self.kind.domain)
            if len(thumbnail.data) > self.budget:
                break
            found = coded, qualities[number]
        return self.restored(*found) if found else None

    def price(self, quality: int) -> float:
        """Decibels that a byte is worth on the codec's own curve."""
        qualities, samples = self.codec.steps, self.plain.rgb.astype(np.float64)
        place = qualities.index(quality)
        ends = max(0, place - APART), min(len(qualities) - 1, place + APART)
        low, high = (self.restored(self.coded(samples, qualities[end]), qualities[end]) for end in ends)
        return max(0.0, (high.psnr - low.psnr) / max(1, len(high.small.data) - len(low.small.data)))


def _worth(fitted: Fitted, price: float) -> float:
    return fitted.psnr - price * len(fitted.small.data)


def _enlarging(small: int, large: int) -> Plane:
    """Lanczos' enlargement of a line as a matrix (large, small)."""
    lines = Image.fromarray(np.eye(small, dtype=np.float32))
    return np.asarray(lines.resize((large, small), Image.Resampling.LANCZOS), np.float64).T


def _blocks(planes: Plane) -> Plane:
    """The DCT of 8x8 blocks: (h, w, 3) to (rows, columns, 3, 8, 8); edges go on with their last samples."""
    missing = [(0, -side % BLOCK) for side in planes.shape[:2]]
    planes = np.pad(planes, (*missing, (0, 0)), mode="edge")
    height, width, _ = planes.shape
    cut_up = planes.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).transpose(0, 2, 4, 1, 3)
    return dctn(cut_up, axes=(-2, -1), norm="ortho")


def _joined(coefficients: Plane, height: int, width: int) -> Plane:
    """The inverse of `_blocks`, for planes of that size."""
    rows, columns = coefficients.shape[:2]
    planes = idctn(coefficients, axes=(-2, -1), norm="ortho").transpose(0, 3, 1, 4, 2)
    return planes.reshape(rows * BLOCK, columns * BLOCK, 3)[:height, :width]


def study(data: Path, steps: int) -> list[dict[str, Any]]:
    """What is gained, view by view and rate by rate; printed as it goes."""
    enhancer, rows = Enhancer(find_restoration(), Computing(threads=1)), []
    refiner, codec = Refiner(enhancer), fitting.CODECS["AVIF"]
    for domain, name, picture in pictures(data):
        for rate in RATES[domain]:
            goal = fitting.Goal(bits_per_pixel=rate)
            start = time.process_time()
            found = fitting.fit(picture, enhancer, goal)
            between = time.process_time()
            refined = refiner.refine(picture, found, codec, goal.bytes_of(picture) or 0, steps)
            end = time.process_time()
            more = fitting.fit(picture, enhancer, fitting.Goal(bits_per_pixel=1.1 * rate))
            row = {"domain": domain, "picture": name, "rate": rate, "factor": found.small.factor}
            row |= {"seconds of the search": between - start, "seconds of refining": end - between}
            for label, file in (("found", found), ("refined", refined), ("a tenth more", more)):
                row[label] = {"bytes": len(file.small.data), "y": file.psnr_y, "rgb": file.psnr_rgb}
            print(row, flush=True)
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Thumbnails refined by gradients.")
    parser.add_argument("--steps", type=int, default=8, help="that are tried of each file")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    document = {
        "command": "python scripts/refined_thumbnails.py",
        "weights": {"fidelity": find_restoration().weights_sha256[:16]},
        "settings": {"steps": steps, "first": FIRST},
        "environment": environment(),
        "rows": study(Path(os.environ["BDFLOW_DATA"]), steps),
    }
    text = json.dumps(document, indent=1) + "\n"
    write_bytes(str(RESULTS / "refined-thumbnails.json"), text.encode(), overwrite=True)


if __name__ == "__main__":
    main()
