"""Thumbnails refined by gradients, through the codec and the network: results/refined-thumbnails.json.

Usage: BDFLOW_DATA=DIR python scripts/refined_thumbnails.py [--steps 12]     (an hour of a core)

What `--refine` is for PNGs, for files in ordinary codecs: from Lanczos' thumbnail on, each step goes down
the slope of what counts, which is the error that restoration-fidelity leaves (in decibels, as in its
training) and the bytes. A codec has no slope: it is taken to hand on what moves, and the bits of a file are
shared out to the coefficients of the 8x8 DCT by log2(1 + |coefficient| / step). (To let each coefficient
pass in the share in which it really survived did less in a first trial.) What a step is worth is then
measured by the codec itself, and kept only if decibels and bytes together got better; the price of a byte is
that of the codec's own curve.

The pictures are held-out views (`small_file_studies.py`). BD-rate against Lanczos' thumbnail at the same
factor, by real files.
"""

import argparse
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn, idctn
from small_file_studies import QUALITIES, RESULTS, TUNED, pictures

from bdflow.fitting.candidates import Candidates
from bdflow.fitting.estimate import measured
from bdflow.pictures.reader import Picture
from bdflow.reproduce.curves import Point, bd_rate
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import Enhancer, describe, enlarged, shrunk
from bdflow.smallfile.thumbnail import Domain, Thumbnail
from bdflow.system.environment import environment
from bdflow.system.files import write_bytes
from bdflow.train.config_restoration import RestorationLossConfig
from bdflow.train.restoration import RestorationLoss
from bdflow.zoo import find_restoration
from bdflow.zoo.loading import load_graph

Plane = NDArray[np.float64]
BLOCK = 8
_SIDES = BLOCK * max(QUALITIES)  # a picture's are multiples of it
CODEC = TUNED["psnr"]
FIRST = 0.7  # levels that a first step moves a thumbnail by, root mean square
# RGB to YCbCr (BT.601), in which codecs work.
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def blocks(planes: Plane) -> Plane:
    """The DCT of 8x8 blocks: (h, w, 3) to (h / 8, w / 8, 3, 8, 8); h and w are multiples of 8."""
    height, width, _ = planes.shape
    cut = planes.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, 3).transpose(0, 2, 4, 1, 3)
    return dctn(cut, axes=(-2, -1), norm="ortho")


def joined(coefficients: Plane) -> Plane:
    """The inverse of `blocks`."""
    rows, columns = coefficients.shape[:2]
    planes = idctn(coefficients, axes=(-2, -1), norm="ortho").transpose(0, 3, 1, 4, 2)
    return planes.reshape(rows * BLOCK, columns * BLOCK, 3)


def enlarging(small: int, large: int) -> Plane:
    """Lanczos' enlargement of a line as a matrix (large, small)."""
    lines = Image.fromarray(np.eye(small, dtype=np.float32))
    return np.asarray(lines.resize((large, small), Image.Resampling.LANCZOS), np.float64).T


@dataclass
class File:
    """A thumbnail that was coded and restored.

    Attributes:
        small: The file.
        decibels: 10 log10 of the error that is left, as in training.
        slope: Of the decibels, by the decoded thumbnail's samples (h, w, 3), in YCbCr; None where not asked.
    """

    small: Thumbnail
    decibels: float
    slope: Plane | None


class Search:
    """A picture's thumbnails at a factor.

    Args:
        picture: Its sides are multiples of 8 times the factor.
    """

    def __init__(self, picture: Picture, factor: int, domain: Domain, enhancer: Enhancer) -> None:
        self.picture, self.factor, self.domain = picture, factor, domain
        self.files = Candidates(picture, enhancer, CODEC)
        network = load_graph(enhancer.model.folder, "up").model
        self.loss = RestorationLoss(network.requires_grad_(False), RestorationLossConfig())
        self.true = torch.from_numpy(picture.rgb.transpose(2, 0, 1)[None].copy())
        height, width = picture.rgb.shape[:2]
        self.down = enlarging(height // factor, height), enlarging(width // factor, width)

    def coded(self, thumbnail: Plane, quality: int, *, slope: bool) -> File:
        """A thumbnail (h, w, 3), RGB in 0..255, as a file."""
        levels = np.uint8(np.clip(np.round(thumbnail), 0, 255))
        small = self.files.thumbnail(self.factor, CODEC.encode(Image.fromarray(levels), quality), self.domain)
        size = slice(0, self.picture.height), slice(0, self.picture.width)
        plain = enlarged(Image.fromarray(small.image.rgb), self.factor, *size)
        seen = torch.from_numpy(plain.transpose(2, 0, 1)[None].copy()).float() / 255
        seen.requires_grad_(slope)
        with torch.set_grad_enabled(slope):
            restored = self.loss.network(seen, torch.from_numpy(describe(small)))
            decibels = self.loss._decibels(restored, self.true.float() / 255).mean()
        if not slope:
            return File(small, float(decibels), None)
        decibels.backward()
        large = seen.grad[0].numpy().transpose(1, 2, 0).astype(np.float64) / 255
        of_rgb = np.einsum("Hh,HWc,Ww->hwc", self.down[0], large, self.down[1], optimize=True)
        return File(small, float(decibels.detach()), of_rgb @ np.linalg.inv(TO_YCC))

    def refined(self, quality: int, steps: int, price: float) -> Iterator[File]:
        """Lanczos' file, and each that is better than the last.

        Args:
            price: Decibels that a bit is worth.
        """
        thumbnail = shrunk(self.picture, self.factor).rgb.astype(np.float64)
        file, size = self.coded(thumbnail, quality, slope=True), FIRST
        yield file
        for _ in range(steps):
            moved = thumbnail + size * self._downhill(thumbnail, file, price)
            tried = self.coded(moved, quality, slope=True)
            more = tried.decibels - file.decibels + price * 8 * (len(tried.small.data) - len(file.small.data))
            if more >= 0:
                size /= 2
                continue
            thumbnail, file, size = moved, tried, size * 1.3
            yield file

    def _downhill(self, thumbnail: Plane, file: File, price: float) -> Plane:
        """The direction in which to move a thumbnail, of root mean square 1."""
        sent = blocks((thumbnail - 128) @ TO_YCC.T)
        arrived = blocks((file.small.image.rgb.astype(np.float64) - 128) @ TO_YCC.T)
        step = math.sqrt(12) * np.sqrt(((arrived - sent) ** 2).mean(axis=(0, 1, 3, 4), keepdims=True)) + 1e-9
        bits = 8 * len(file.small.data) / np.log2(1 + np.abs(sent) / step).sum()
        rate = bits * np.sign(sent) / ((step + np.abs(sent)) * math.log(2))
        slope = blocks(file.slope) + price * rate
        rgb = -joined(slope) @ np.linalg.inv(TO_YCC).T
        return rgb / np.sqrt((rgb**2).mean())


def study(data: Path, steps: int) -> Iterator[dict[str, Any]]:
    """BD-rates by picture and factor."""
    enhancer = Enhancer(find_restoration(), Computing(threads=1))
    for domain, name, whole in pictures(data):
        height, width = (side // _SIDES * _SIDES for side in whole.rgb.shape[:2])
        picture = Picture(np.ascontiguousarray(whole.rgb[:height, :width]))
        for factor, qualities in QUALITIES.items():
            search = Search(picture, factor, domain, enhancer)
            plain = [search.coded(shrunk(picture, factor).rgb, quality, slope=False) for quality in qualities]
            curves: dict[str, tuple[list[Point], list[Point]]] = {}
            moved = []
            for number, quality in enumerate(qualities):
                a, b = plain[max(0, number - 1)], plain[min(len(plain) - 1, number + 1)]
                price = (a.decibels - b.decibels) / (8 * (len(b.small.data) - len(a.small.data)))
                first, *better = search.refined(quality, steps, max(price, 0))
                moved.append(len(better))
                for which, file in (("Lanczos", first), ("refined", better[-1] if better else first)):
                    psnr = measured(picture.rgb, [enhancer.rgb(file.small)])
                    for points, value in zip(curves.setdefault(which, ([], [])), psnr, strict=True):
                        points.append(Point(len(file.small.data), value, which))
            y, rgb = (bd_rate(*sides) for sides in zip(curves["Lanczos"], curves["refined"], strict=True))
            where = {"picture": name, "domain": domain, "factor": factor}
            yield {**where, "steps kept": moved, "y": y, "rgb": rgb}


def main() -> None:
    parser = argparse.ArgumentParser(description="Thumbnails refined by gradients.")
    parser.add_argument("--steps", type=int, default=12, help="that are tried at each quality")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    document = {
        "command": "python scripts/refined_thumbnails.py",
        "weights": {"fidelity": find_restoration().weights_sha256[:16]},
        "settings": {"steps": steps, "first": FIRST, "effort": CODEC.effort, "qualities": QUALITIES},
        "rows": rows,
        "environment": environment(),
    }
    for row in study(Path(os.environ["BDFLOW_DATA"]), steps):
        print(row, flush=True)
        rows.append(row)
        text = json.dumps(document, indent=1) + "\n"
        write_bytes(str(RESULTS / "refined-thumbnails.json"), text.encode(), overwrite=True)


if __name__ == "__main__":
    main()
