"""The halo of a model: how far tiles must see, measured where the reach would make them mostly overlap.

The influence of a pixel on the result falls roughly exponentially with its distance, so that pixels at the
edge of a network's reach hardly matter. A distance is enough if two tiles that see so far give what one tile
gives, within a level of 255, on a photograph and on noise, along rows and along columns, in both
directions. The halo is twice that distance, so that other pictures are safe, too. (portraits-x8 reaches 288
pixels; 64 are enough, so its halo is 128.) For a random Z the tiles see the whole reach.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bdflow import zoo
from bdflow.evaluation.demo import PHOTOGRAPH
from bdflow.networks.facts import DOWN
from bdflow.pictures.reader import Array, read
from bdflow.runtime.computing import Computing
from bdflow.runtime.rescaler import Rescaler
from bdflow.system.files import write_bytes
from bdflow.zoo import HALO, SUMS, find

_TRIED = (32, 64, 96, 128, 192, 256, 384, 512)  # pixels
_KEPT = 256  # pixels of a square tile beside the halo, and of the pictures across


def measure_halo(folder: Path, *, threads: int | None = None) -> int | None:
    """Find a model's halo and write it into its folder, where every later run takes it from there.

    Args:
        folder: A model folder. An earlier measurement in it is replaced.
        threads: Processor threads; None takes all cores.

    Returns:
        The halo in pixels of the photograph; None where nothing below the reach is enough, the reach is
        short, or the model does not shrink: then nothing is written.

    Raises:
        BDFlowError: The folder holds no model, or cannot be written.
    """
    model = dataclasses.replace(find(folder, trust=True), measured_halo=None)
    if DOWN not in model.graphs:
        return None
    whole = Rescaler(model, Computing(1 << 20, threads, "cpu"))
    for seen in (-(-tried // model.scale) * model.scale for tried in _TRIED):
        if 2 * seen >= model.reach:
            break
        shorter = dataclasses.replace(model, measured_halo=seen)
        tile = 2 * seen + _KEPT
        tiles = Rescaler(shorter, Computing(tile, threads, "cpu"))
        longest = tile * tile // _KEPT  # that one tile would hold
        if all(_agree(whole, tiles, picture) for picture in _pictures(longest + _KEPT)):
            _record(folder, 2 * seen)
            return 2 * seen
    return None


def _pictures(side: int) -> Iterator[Array]:
    """Two long and two tall ones, just long enough for two tiles; the hardest come first."""
    noise = np.random.default_rng(0).integers(0, 256, (_KEPT, side, 3), np.uint8)
    photograph = read(PHOTOGRAPH).rgb[:_KEPT]
    photograph = np.concatenate([photograph, photograph[:, ::-1]] * -(-side // photograph.shape[1]), axis=1)
    for picture in (noise, photograph[:, :side]):
        yield picture
        yield np.ascontiguousarray(picture.swapaxes(0, 1))


def _agree(whole: Rescaler, tiles: Rescaler, picture: Array) -> bool:
    small, again = whole.downscale(picture), tiles.downscale(picture)
    restored, tiled = (np.asarray(rescaler.upscale(small)) for rescaler in (whole, tiles))
    return max(_gap(small.image.rgb, again.image.rgb), _gap(restored, tiled)) <= 1


def _gap(a: Array, b: Array) -> int:
    return int(np.abs(a.astype(np.int16) - b).max())


def _record(folder: Path, halo: int) -> None:
    text = json.dumps({"halo": halo}) + "\n"
    lines = [line for line in (folder / SUMS).read_text().splitlines() if not line.endswith(f"  {HALO}")]
    lines.append(f"{hashlib.sha256(text.encode()).hexdigest()}  {HALO}")
    write_bytes(folder / HALO, text.encode(), overwrite=True)
    write_bytes(folder / SUMS, ("\n".join(lines) + "\n").encode(), overwrite=True)
    if folder.resolve().parent == zoo.BUILT_IN.resolve():
        zoo.list_built_in()
