"""Model folders: find, verify, describe.

A model is a folder of ``weights.safetensors`` (the only copy of the numbers, and the whole configuration
in its metadata), the graphs ``down.onnx`` and ``up.onnx`` whose initialisers point into that file,
``card.md``, and ``SHA256SUMS`` over all that is executed or loaded.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bdflow.errors import BDFlowError

BUILT_IN = Path(__file__).parent / "models"
WEIGHTS, SUMS = "weights.safetensors", "SHA256SUMS"
GRAPHS = ("down.onnx", "sample.onnx", "up.onnx")
_MAX_HEADER = 100_000_000  # the safetensors format's own bound


@dataclass(frozen=True)
class Model:
    """A model folder whose files have been checked.

    Attributes:
        folder: Where it lies.
        metadata: What training and export recorded: ``name``, ``model`` (the network's configuration),
            ``training`` and more.
        weights_sha256: Hex digest of the weights file; its first 8 bytes go into every small file.
    """

    folder: Path
    metadata: dict[str, Any]
    weights_sha256: str

    @property
    def name(self) -> str:
        return str(self.metadata["name"])

    @property
    def scale(self) -> int:
        """How many times smaller each way."""
        return int(self.metadata["model"]["scale"])

    @property
    def bits(self) -> int:
        """Bits of a sample of the boundary map; 0 where the model has none."""
        return int(self.metadata["model"]["boundary_bits"])

    @property
    def network(self) -> str:
        """``bdflow``, or its rivals ``hcflow`` and ``tar``. Older weights do not tell: they are BDFlow's."""
        return str(self.metadata["model"].get("network", "bdflow"))

    @property
    def latent_channels(self) -> int:
        """Channels of Z, on the grid of the small picture."""
        if self.network == "tar":
            return 0
        has_boundary = self.bits and self.metadata["model"].get("extra", "boundary") == "boundary"
        return 3 * self.scale**2 - 3 - bool(has_boundary)

    @property
    def reach(self) -> int:
        """How far, in the photograph's pixels, a pixel can be from what it depends on, either way."""
        blocks, levels = self.metadata["model"]["blocks"], self.scale.bit_length() - 1
        counts: list[int] = blocks if isinstance(blocks, list) else [blocks] * levels
        cells = sum(self._cells(count) << level + 1 for level, count in enumerate(counts))
        # TAR has besides a convolution a level on the grid twice as fine, and one on the small picture's.
        return cells + (2 * self.scale - 1 if self.network == "tar" else 0)

    def _cells(self, blocks: int) -> int:
        """How far one level of so many blocks reaches, on its own grid: its 3x3 convolutions in a row."""
        if self.network == "hcflow":  # flow steps of 5, a condition of 15 an RRDB, conditional steps of 2
            return 5 * blocks + 3 + 15 * max(1, 3 * blocks // 8) + 2 * max(1, 3 * blocks // 4)
        if self.network == "tar":
            return 2 * blocks + 1
        # An InvBlock's inner networks follow on each other; CDF 5/3 adds one pixel, Haar none.
        block = 2 * (5 if self.metadata["model"]["block"] == "dense" else 3)
        return blocks * block + int(self.metadata["model"]["wavelet"] == "cdf53")

    @cached_property
    def size(self) -> int:
        """Bytes of all files in the folder."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())


def names() -> list[str]:
    """Names of the models that come with the package, ordered by scale."""
    return [name for _, name in _scales()]


def find(model: str | Path | None = None, scale: int | None = None) -> Model:
    """Load and verify a model by name, by folder, or the first built-in one of a scale.

    Raises:
        BDFlowError: There is no such model, its files are damaged, or its scale is not ``scale``.
    """
    if model is None:
        if scale is None:
            raise BDFlowError("name a model (--model NAME) or a scale (-x N); `bdflow models` lists both")
        scales = dict(reversed(_scales()))  # the first of each scale
        if scale not in scales:
            there = f"there is {' and '.join(f'x{s}' for s in sorted(scales))}" if scales else "there is none"
            raise BDFlowError(f"no built-in model shrinks {scale} times; {there}")
        return _verify(BUILT_IN / scales[scale])
    folder = BUILT_IN / model if BUILT_IN / model in _folders() else Path(model)
    if not (folder / WEIGHTS).is_file():
        raise BDFlowError(
            f"no model {str(model)!r}: built in are {', '.join(names()) or 'none'};"
            f" else give a folder that holds {WEIGHTS}"
        )
    found = _verify(folder)
    if scale is not None and found.scale != scale:
        raise BDFlowError(f"model {found.name} shrinks {found.scale} times, not {scale}: drop -x or --model")
    return found


def find_maker(name: str, weights: bytes) -> Model:
    """The built-in model that a small file names. A file is never trusted to name a folder.

    Raises:
        BDFlowError: It is not built in, or its files are damaged.
    """
    if BUILT_IN / name not in _folders():
        raise BDFlowError(
            f"made by model {name!r} (weights {weights.hex()}), which does not come with this bdflow:"
            " get that model's folder and name it (--model FOLDER)"
        )
    return _verify(BUILT_IN / name)


def _folders() -> list[Path]:
    return sorted(weights.parent for weights in BUILT_IN.glob(f"*/{WEIGHTS}"))


def _scales() -> list[tuple[int, str]]:
    """Scale and name of the built-in models, in that order."""
    return sorted((int(read_metadata(f / WEIGHTS)["model"]["scale"]), f.name) for f in _folders())


def built_in() -> Iterator[Model]:
    """The models that come with the package, verified, ordered by scale."""
    return (_verify(BUILT_IN / name) for name in names())


def _verify(folder: Path) -> Model:
    """Check every file named in ``SHA256SUMS`` (the format of sha256sum)."""
    try:
        lines = (folder / SUMS).read_text().split("\n")
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines if line)}
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums}
    except (OSError, ValueError) as error:
        raise BDFlowError(
            f"{folder}: incomplete model folder ({error}); export or install it again"
        ) from None
    for name, digest in digests.items():
        if digest != sums[name]:
            raise BDFlowError(f"{folder / name} is damaged or was changed; export or install the model again")
    for name in (WEIGHTS, *GRAPHS):
        if name not in sums:
            raise BDFlowError(f"{folder / SUMS} does not name {name}; export the model again")
    return Model(folder, read_metadata(folder / WEIGHTS), digests[WEIGHTS])


def read_metadata(weights: Path) -> dict[str, Any]:
    """What a bdflow weights file says of itself, from the header of the safetensors format.

    Raises:
        BDFlowError: Not a safetensors file, or not one that bdflow wrote.
    """
    try:
        metadata: dict[str, Any] = json.loads(read_header(weights)["__metadata__"]["bdflow"])
        _ = metadata["name"], int(metadata["model"]["scale"]), int(metadata["model"]["boundary_bits"])
        return metadata
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BDFlowError(f"{weights}: not weights of a bdflow model ({error})") from None


def read_header(weights: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file: 8 bytes of length (little endian), then the text."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _MAX_HEADER:
            raise ValueError("no safetensors header")
        header: dict[str, Any] = json.loads(file.read(length))
    return header
