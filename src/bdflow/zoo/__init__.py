"""Model folders: find, verify, describe.

A model is a folder of `weights.safetensors` (the only copy of the numbers, and the whole configuration
in its metadata), the graphs `down.onnx`, `up.onnx` and `sample.onnx` (`up` with a drawn Z), or those
of them that the network has, whose initialisers point into that file, `card.md`, perhaps `halo.json`,
and `SHA256SUMS` over all that is executed or loaded.

The sums in a folder show that a copy is whole, not who made it. `models/SHA256SUMS` in the package lists the
models that come with it. Any other folder is loaded only if the caller trusts it.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

from bdflow.errors import BDFlowError
from bdflow.networks.facts import Facts
from bdflow.networks.facts import read as read_facts
from bdflow.system.files import named, reason
from bdflow.zoo import graphs

BUILT_IN = Path(__file__).parents[1] / "models"
"""The folder of the models that come with the package."""

WEIGHTS, SUMS = "weights.safetensors", "SHA256SUMS"
RESTORATION = "restoration"
"""The kind of network that restores thumbnails; the names of its built-in models begin with it."""

Purpose = Literal["fidelity", "look"]
"""What a restored picture is for: close to the photograph in its samples, or for the eye."""

PURPOSES: tuple[Purpose, ...] = ("fidelity", "look")
"""Both."""

HALO = "halo.json"
"""The file of the measured halo. It is no part of the weights: small files name their digest."""

_MAX_HEADER = 1 << 24  # bytes; bdflow's own have some 100,000
_MAX_SUMS = 1 << 16
_FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
# Weights that a release had stay, for files name them: better ones get another name. What else a name ends in
# (-paper, -look) marks models that nobody gets unasked.
_DEFAULT = re.compile(r"(?P<domain>[a-z]+)-x\d+(-v(?P<version>[2-9]|[1-9]\d+))?")


@dataclass(frozen=True)
class Model:
    """A model folder whose files have been checked.

    Attributes:
        folder: Where it lies.
        metadata: What training and export recorded: `name`, `model` (the network's configuration),
            `facts` (what the network declares of itself) and `training`.
        weights_sha256: Hex digest of the weights file; its first 8 bytes go into every small file.
        measured_halo: A halo that `bdflow.train.halo` measured; None if it measured none.
    """

    folder: Path
    metadata: dict[str, Any]
    weights_sha256: str
    measured_halo: int | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process finds and checks it anew."""
        return _find_again, (self.reference, self.weights_sha256)

    @property
    def reference(self) -> str:
        """What `find` finds it by: its name if it comes with the package, else its folder."""
        built_in = self.folder.parent == BUILT_IN
        return self.folder.name if built_in else str(self.folder.absolute())

    @property
    def name(self) -> str:
        """Its name, such as "portraits-x8"."""
        return str(self.metadata["name"])

    @property
    def scale(self) -> int:
        """How many times smaller each way."""
        return int(self.metadata["model"]["scale"])

    @property
    def bits(self) -> int:
        """Bits of a sample of the boundary map; 0 where the model has none."""
        return int(self.metadata["model"]["boundary_bits"])

    @cached_property
    def facts(self) -> Facts:
        """What the network declares of itself."""
        return read_facts(self.metadata)

    @property
    def title(self) -> str:
        """What tables and cards call the network, such as BDFlow."""
        return self.facts.title

    @property
    def latent_channels(self) -> int:
        """Channels of Z, on the grid of the small picture."""
        return self.facts.latent_channels

    @property
    def reach(self) -> int:
        """The farthest, in pixels of the photograph, that a pixel depends on others, both ways."""
        return self.facts.reach

    @property
    def graphs(self) -> tuple[str, ...]:
        """Which of `down`, `sample` and `up` there are."""
        return self.facts.graphs

    @property
    def halo(self) -> int:
        """How far, in the photograph's pixels, a tile must see beyond what is kept of it.

        By default it is the reach: a tile then gives the same result as the whole picture, except for the
        order in which numbers are added. A measured halo is smaller, because pixels far away hardly matter;
        see `bdflow.train.halo`.
        """
        return self.reach if self.measured_halo is None else min(self.reach, self.measured_halo)

    @cached_property
    def size(self) -> int:
        """Bytes of all files in the folder."""
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())


def names() -> list[str]:
    """Names of the models that come with the package, ordered by scale."""
    return [name for _, name in _scales()]


def defaults(scale: int, domain: str | None = None) -> list[Model]:
    """The built-in models that shrink so many times by default: one of each domain, `photos` first.

    `photos-x8` is one, and `photos-x8-v2` takes its place; `photos-x8-paper` is one for those who name it.

    Args:
        scale: How many times smaller each way.
        domain: Only that of this domain.

    Raises:
        BDFlowError: There is none, or its files are damaged.
    """
    latest: dict[str, tuple[int, str]] = {}
    scales = _scales()
    for its_scale, name in scales:
        if its_scale == scale and (parts := _DEFAULT.fullmatch(name)):
            version = int(parts["version"] or 1), name
            latest[parts["domain"]] = max(version, latest.get(parts["domain"], version))
    if not latest:
        known = " and ".join(f"x{scale}" for scale in sorted(dict(scales))) or "none"
        raise BDFlowError(f"no built-in model shrinks {scale} times; there is {known}")
    if domain is not None and domain not in latest:
        raise BDFlowError(f"no built-in model shrinks {domain} {scale} times; there is {', '.join(latest)}")
    chosen = [domain] if domain else sorted(latest, key=lambda each: (each != "photos", each))
    return [_verify(BUILT_IN / latest[each][1]) for each in chosen]


def find(
    model: str | Path | None = None,
    scale: int | None = None,
    *,
    domain: str | None = None,
    trust: bool = False,
) -> Model:
    """Load and verify a model by name, by folder, or the first of the `defaults` of a scale.

    Args:
        model: Name or folder.
        scale: How many times smaller each way.
        domain: Without a name: of what it is; `photos` or `portraits`.
        trust: Load a folder that did not come with bdflow. It runs no code, but it decides how restored
            pictures look, and how much memory and time they take.

    Raises:
        BDFlowError: There is no such model, its files are damaged or not trusted, or its scale is another.
    """
    if model is None:
        if scale is None:
            raise BDFlowError("name a model (--model NAME) or a scale (-x N); `bdflow models` lists both")
        return defaults(scale, domain)[0]
    if domain is not None:
        raise BDFlowError("a domain is for a scale: leave out the model, or the domain")
    folder = BUILT_IN / model if BUILT_IN / model in _folders() else Path(model)
    if not (folder / WEIGHTS).is_file():
        raise BDFlowError(
            f"no model {str(model)!r}: built in are {', '.join(names()) or 'none'};"
            f" else give a folder that holds {WEIGHTS}"
        )
    verified = _verify(folder, trust=trust)
    if scale is not None and verified.metadata["model"].get("scale") is None:
        raise BDFlowError(f"model {verified.name} has no scale: leave -x out")
    if scale is not None and verified.scale != scale:
        raise BDFlowError(
            f"model {verified.name} shrinks {verified.scale} times, not {scale}: drop -x or --model"
        )
    return verified


def _find_again(reference: str, weights_sha256: str) -> Model:
    """A model that another process had."""
    model = find(reference, trust=True)
    if model.weights_sha256 != weights_sha256:
        raise BDFlowError(f"model {model.name} has other weights here: install the same bdflow everywhere")
    return model


def find_maker(name: str, weights: bytes) -> Model:
    """The built-in model that a small file names. A file is never trusted to name a folder.

    Raises:
        BDFlowError: It is not built in, or its files are damaged.
    """
    if BUILT_IN / name not in _folders():
        raise BDFlowError(
            f"made by model {name!r} (weights {weights.hex()}), which does not come with this bdflow:"
            " get that model's folder and name it (--model FOLDER --trust)"
        )
    return _verify(BUILT_IN / name)


def find_restoration(purpose: Purpose = "fidelity") -> Model:
    """The built-in network that restores thumbnails in ordinary codecs.

    Args:
        purpose: `fidelity`, for the highest PSNR; or `look`, for what people see.

    Raises:
        BDFlowError: There is no network for it, or its files are damaged.
    """
    folder = BUILT_IN / f"{RESTORATION}-{purpose}"
    if folder not in _folders():
        raise BDFlowError(f"this bdflow comes without a network that restores thumbnails for {purpose}")
    return _verify(folder)


def _folders() -> list[Path]:
    return sorted(weights.parent for weights in BUILT_IN.glob(f"*/{WEIGHTS}"))


def _scales() -> list[tuple[int, str]]:
    """Scale and name of the built-in models that shrink, in that order."""
    models = ((read_metadata(folder / WEIGHTS)["model"], folder.name) for folder in _folders())
    return sorted((model["scale"], name) for model, name in models if "scale" in model)


def built_in() -> Iterator[Model]:
    """The models that come with the package, verified, ordered by scale."""
    return (_verify(BUILT_IN / name) for name in names())


def built_in_restorations() -> Iterator[Model]:
    """The networks that come with the package and restore thumbnails in ordinary codecs, verified."""
    return (_verify(folder) for folder in _folders() if folder.name.startswith(f"{RESTORATION}-"))


def _verify(folder: Path, *, trust: bool = False) -> Model:
    """Check every file named in `SHA256SUMS`, and that the package or the caller vouches for them."""
    sums = _sums(folder)
    for name in sums:
        if not _FILE_NAME.fullmatch(name) or (folder / name).resolve().parent != folder.resolve():
            raise BDFlowError(f"{folder / SUMS} names {name!r}, which is no file of that folder")
    digests = {name: _digest(folder / name) for name in sums}
    for name, digest in digests.items():
        if digest != sums[name]:
            raise BDFlowError(f"{folder / name} is damaged or was changed; export or install the model again")
    if WEIGHTS not in sums:
        raise _not_named(folder, WEIGHTS)
    if digests not in _known().values():
        if not trust:
            raise BDFlowError(
                f"{folder}: not one of the models that came with bdflow; if you trust who made it,"
                " add --trust (in Python: trust=True)"
            )
        for name in digests:
            if name.endswith(".onnx"):
                with named(str(folder / name)):
                    graphs.check(_read(folder / name, graphs.MAX_GRAPH), WEIGHTS)
    model = Model(folder, read_metadata(folder / WEIGHTS), digests[WEIGHTS], _read_halo(folder, sums))
    try:
        needed = [f"{graph}.onnx" for graph in model.graphs]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BDFlowError(f"{folder / WEIGHTS}: not weights of a bdflow model ({error!r:.80})") from None
    for name in needed:
        if name not in sums:
            raise _not_named(folder, name)
    return model


def _not_named(folder: Path, name: str) -> BDFlowError:
    return BDFlowError(f"{folder / SUMS} does not name {name}; export the model again")


def _read_halo(folder: Path, sums: Container[str]) -> int | None:
    if HALO not in sums:
        return None
    try:
        return max(0, int(json.loads(_read(folder / HALO, _MAX_SUMS))["halo"]))
    except (ValueError, KeyError, TypeError) as error:
        raise BDFlowError(f"{folder / HALO}: does not tell a halo ({error})") from None


def _sums(folder: Path) -> dict[str, str]:
    """Names and digests of a file in the format of sha256sum."""
    try:
        lines = _read(folder / SUMS, _MAX_SUMS).decode().split("\n")
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines if line)}
    except ValueError as error:
        raise _incomplete(folder, error) from None


def _digest(path: Path) -> str:
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, limit: int) -> bytes:
    with _opened(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BDFlowError(f"{path} has more than {limit:,} bytes: no part of a bdflow model")
    return data


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        if path.exists() and not path.is_file():
            raise OSError(f"{path} is no ordinary file")  # a pipe would be waited for
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise _incomplete(path.parent, error) from None


def _incomplete(folder: Path, error: Exception) -> BDFlowError:
    return BDFlowError(f"{folder}: incomplete model folder ({error}); export or install it again")


def _known() -> dict[str, dict[str, str]]:
    """Digests of the files of each model that came with the package."""
    known: dict[str, dict[str, str]] = {}
    if (BUILT_IN / SUMS).is_file():
        for path, digest in _sums(BUILT_IN).items():
            model, _, name = path.partition("/")
            known.setdefault(model, {})[name] = digest
    return known


def list_built_in() -> None:
    """Write the list of the package's own models anew, from their folders: for its makers."""
    lines = [
        f"{digest}  {folder.name}/{name}\n"
        for folder in _folders()
        for name, digest in sorted(_sums(folder).items())
    ]
    (BUILT_IN / SUMS).write_text("".join(lines))


def read_metadata(weights: Path) -> dict[str, Any]:
    """The metadata of a bdflow weights file, from its safetensors header.

    Raises:
        BDFlowError: Not a safetensors file, or not one that bdflow wrote.
    """
    try:
        metadata: dict[str, Any] = json.loads(read_header(weights)["__metadata__"]["bdflow"])
        name, model = metadata["name"], metadata["model"]
        if not isinstance(name, str) or not name.isprintable():
            raise ValueError("it has no name")
        if model.get("network") == RESTORATION:  # it does not shrink: no scale, no boundary map
            return metadata
        scale, bits = model["scale"], model["boundary_bits"]
        if not isinstance(scale, int) or scale not in (2, 4, 8, 16, 32, 64):
            raise ValueError(f"scale {scale!r:.40}")
        if not isinstance(bits, int) or not 0 <= bits <= 3:
            raise ValueError(f"boundary_bits {bits!r:.40}")
        return metadata
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BDFlowError(f"{weights}: not weights of a bdflow model ({reason(error)})") from None


def read_header(weights: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file: 8 bytes of length (little endian), then the text."""
    with weights.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _MAX_HEADER:
            raise ValueError("no safetensors header")
        header: dict[str, Any] = json.loads(file.read(length))
    return header
