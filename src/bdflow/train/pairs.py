"""Training pairs: views of pictures, each coded beforehand at several (format, factor, quality).

Encoders are too slow for a training step. So worker processes code each view once, and a folder keeps it: a
zip file of `true.png`, of the coded thumbnails as their encoders wrote them, and of what the files do not
tell (`view.json`). Its views are made in one order, up to a bound on its bytes, and each under a temporary
name first: the next run continues where an interrupted one ended, and training takes the views that exist.
"""

import hashlib
import io
import json
import multiprocessing
import os
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures import codecs, reader
from bdflow.pictures.codecs import Codec
from bdflow.pictures.reader import Array, Picture
from bdflow.runtime.enhancer import shrunk
from bdflow.smallfile.quantizer import quality as quality_of
from bdflow.smallfile.thumbnail import Domain, Thumbnail
from bdflow.system.files import write_bytes
from bdflow.train.config_restoration import PairsConfig
from bdflow.train.data import list_pictures

CACHE = "pairs"  # in a run folder, where no other place is named
_DESCRIPTION = "cache.json"
_HELD = 7  # of each `hold_out` pictures, the one that is kept for validation; any would do
_SMALL = 300  # pixels of a thumbnail that the slower encoder takes
_AHEAD = 2  # views that each worker may be ahead
_POLL = 0.1  # seconds


class Source(NamedTuple):
    """A training picture."""

    domain: Domain
    path: Path


class Planned(NamedTuple):
    """A view to be made: of which picture, and which of that picture's."""

    picture: int
    round: int


def list_sources(data: Sequence[Path], domains: Mapping[str, str], exclude: Sequence[str]) -> list[Source]:
    """The pictures of all domains, sorted by name within each.

    Args:
        data: Folders that have the domains' folders below them, or are such folders.
        domains: Each domain's folder.
        exclude: Patterns of names that are left out.

    Raises:
        BDFlowError: A folder is missing or belongs to no domain, or has no pictures.
    """
    folders: dict[str, list[Path]] = {domain: [] for domain in domains}
    for root in data:
        if not root.is_dir():
            raise BDFlowError(f"{root}: not a folder; --data takes a folder of pictures")
        known = False
        for domain, name in domains.items():
            parts = Path(name).parts
            if (root / name).is_dir():
                folders[domain].append(root / name)
            elif root.resolve().parts[-len(parts) :] == parts:
                folders[domain].append(root)
            else:
                continue
            known = True
        if not known:
            wanted = " nor ".join(domains.values())
            raise BDFlowError(f"{root}: has no folder {wanted}, and is none: name it, or set pairs.domains")
    return [
        Source(domain, path)  # type: ignore[arg-type]  # the configuration has checked it
        for domain, places in folders.items()
        if places
        for path in list_pictures(places, exclude)
    ]


class Views:
    """A folder of coded views: the first ones are held out, the others are for training.

    Args:
        data: Folders of pictures; see `list_sources`.
        folder: The cache; made if missing.
        config: What is coded.
        smallest: Pictures with a shorter side are skipped. A cache of larger ones will do.

    Raises:
        BDFlowError: The cache is of other pictures or settings, or larger than it may be.
    """

    def __init__(self, data: Sequence[Path], folder: Path, config: PairsConfig, smallest: int) -> None:
        self.folder, self.config, self._smallest = folder, config, smallest
        self.sources = list_sources(data, config.domains, config.exclude)
        pictures = range(len(self.sources))
        held = [i for i in pictures if config.hold_out and i % config.hold_out == _HELD % config.hold_out]
        others = [int(i) for i in np.random.default_rng(config.seed).permutation(pictures) if i not in held]
        if not others:
            raise BDFlowError(f"{len(pictures)} pictures are too few to train on")
        self.held_out = len(held)
        self.plan = [Planned(i, 0) for i in held]
        self.plan += [Planned(i, number) for number in range(config.views) for i in others]
        self._lock = threading.Lock()
        self._made = self._bytes = 0
        self._of_domain: dict[Domain, list[int]] = {}
        self._complete = False
        self._fault: str | None = None
        self._describe()
        self._look()
        if self._bytes > config.cache_gb * 1e9:
            raise BDFlowError(
                f"{folder}: has {self._bytes / 1e9:.2f} GB, more than pairs.cache_gb = {config.cache_gb:g}:"
                " raise that, or delete the folder"
            )

    def path(self, index: int) -> Path:
        """Where a view is kept. An empty file stands for a picture that cannot be used."""
        return self.folder / f"{index:06d}.zip"

    @property
    def made(self) -> int:
        """How many of `plan` are there, from the first on."""
        self._look()
        return self._made

    def of_domains(self) -> dict[Domain, Sequence[int]]:
        """The views of each domain that are there and for training."""
        self._look()
        return {domain: tuple(views) for domain, views in self._of_domain.items()}

    def domain(self, index: int) -> Domain:
        return self.sources[self.plan[index].picture].domain

    def usable(self, index: int) -> bool:
        """Whether there is such a view."""
        return index < self.made and self.path(index).stat().st_size > 0

    def read(self, index: int, coding: int) -> tuple[Array, Thumbnail]:
        """A view, uint8 (H, W, 3), and one of the `codings` thumbnails of it."""
        with zipfile.ZipFile(self.path(index)) as file:
            described = json.loads(file.read("view.json"))["codings"][coding]
            true = reader.read(file.read("true.png")).rgb
            data = file.read(described["file"])
        thumbnail = Thumbnail(
            image=reader.read(data),
            format=described["format"],
            data=data,
            factor=described["factor"],
            domain=self.domain(index),
            size=(true.shape[1], true.shape[0]),
            quality=quality_of(data),
        )
        return true, thumbnail

    def wait(self, count: int) -> None:
        """Wait until so many views are there, or all that there will be.

        Raises:
            BDFlowError: They cannot be made.
        """
        while self.made < min(count, len(self.plan)) and not self._complete:
            if self._fault:
                raise BDFlowError(self._fault)
            time.sleep(_POLL)

    @contextmanager
    def making(self, workers: int, say: Callable[[str], None]) -> Iterator[None]:
        """Make what is missing, in processes of low priority, for as long as the context lasts.

        Args:
            workers: How many; 0 leaves it to another process.
            say: Told of pictures that are skipped, and of the end.
        """
        if self.made == len(self.plan) or self._complete or not workers:
            yield
            return
        stop = threading.Event()
        thread = threading.Thread(target=self._make, args=(workers, stop, say), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _make(self, workers: int, stop: threading.Event, say: Callable[[str], None]) -> None:
        """The thread that hands out the work, and alone writes: in order, and within the bound."""
        # A forked child would inherit the locks of this process's threads.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_serve)
        try:
            self._fill(pool, workers * _AHEAD, stop, say)
        except (BDFlowError, OSError, BrokenProcessPool) as error:
            self._fault = f"{self.folder}: views cannot be made ({error})"
            say(self._fault)
        finally:
            pool.shutdown(cancel_futures=True)

    def _fill(
        self, pool: ProcessPoolExecutor, ahead: int, stop: threading.Event, say: Callable[[str], None]
    ) -> None:
        pending: deque[Future[bytes | str]] = deque()
        for index in range(self.made, len(self.plan)):
            while len(pending) < ahead and index + len(pending) < len(self.plan):
                pending.append(self._submit(pool, index + len(pending)))
            first = pending.popleft()
            while not first.done():
                if stop.wait(_POLL):
                    return
            view = first.result()
            if isinstance(view, str):
                say(view)
                view = b""
            if self._bytes + len(view) > self.config.cache_gb * 1e9:
                self._complete = True
                bound = f"pairs.cache_gb = {self.config.cache_gb:g}"
                say(f"{bound} holds {self.made:,} of {len(self.plan):,} views")
                return
            write_bytes(self.path(index), view, overwrite=True)
            self._look()
            if stop.is_set():
                return
        say(f"all {len(self.plan):,} views are made: {self._bytes / 1e9:.2f} GB")

    def _submit(self, pool: ProcessPoolExecutor, index: int) -> Future[bytes | str]:
        planned = self.plan[index]
        source = self.sources[planned.picture]
        held = index < self.held_out
        return pool.submit(make_view, source, planned, self.config, smallest=self._smallest, held=held)

    def _look(self) -> None:
        """Take note of views that were made since, here or by another process."""
        with self._lock:
            while self._made < len(self.plan):
                try:
                    size = self.path(self._made).stat().st_size
                except FileNotFoundError:
                    return
                if size and self._made >= self.held_out:
                    self._of_domain.setdefault(self.domain(self._made), []).append(self._made)
                self._bytes += size
                self._made += 1

    def _describe(self) -> None:
        """Keep what the cache is of, or refuse one that is of something else."""
        names = [(source.domain, source.path.name, source.path.stat().st_size) for source in self.sources]
        settings = msgspec.to_builtins(self.config)
        del settings["cache_gb"]
        description = {
            "pairs": settings,
            "smallest": self._smallest,
            "pictures": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
        }
        path = self.folder / _DESCRIPTION
        if path.is_file():
            described = json.loads(path.read_text())
            smallest = described.pop("smallest")
            wanted = json.loads(json.dumps(description))
            del wanted["smallest"]
            if described != wanted or smallest < self._smallest:
                raise BDFlowError(
                    f"{self.folder}: holds views of other pictures or settings: name another --cache folder"
                )
            self._smallest = smallest  # whose crops were larger, made no view that is too small for these
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, (json.dumps(description, indent=1) + "\n").encode(), overwrite=True)


def make_view(
    source: Source, planned: Planned, config: PairsConfig, *, smallest: int, held: bool = False
) -> bytes | str:
    """One view of a picture, and its thumbnails in their codecs.

    Args:
        source: The picture.
        planned: Determines, with the seed, all that is drawn.
        config: From what it is drawn.
        smallest: A picture with a shorter side is skipped.
        held: It is for validation: a centred view, of every other picture at its own size, of the
            others shrunk to the view's sides.

    Returns:
        A zip file; or why the picture is skipped.
    """
    rng = np.random.default_rng((config.seed, planned.round, planned.picture))
    try:
        rgb = reader.read(source.path).rgb
    except BDFlowError as error:
        return f"skipped {error}"
    shorter = min(rgb.shape[:2])
    if shorter < smallest:
        return f"skipped {source.path}: {rgb.shape[1]}x{rgb.shape[0]}, smaller than {smallest} pixels"
    view = _view(rgb, source.domain, planned, config, rng, held=held)
    buffer, described = io.BytesIO(), []
    with zipfile.ZipFile(buffer, "w") as file:

        def add(name: str, data: bytes) -> None:
            file.writestr(zipfile.ZipInfo(name), data)  # which bears no date: equal views are equal bytes

        true = io.BytesIO()
        Image.fromarray(view).save(true, "PNG", compress_level=1)
        add("true.png", true.getvalue())
        weights = np.array([each.weight for each in config.factors])
        shares = np.array(list(config.formats.values()))
        for number in range(config.codings):
            factor = config.factors[int(rng.choice(len(weights), p=weights / weights.sum()))]
            name = str(rng.choice(list(config.formats), p=shares / shares.sum()))
            small = shrunk(Picture(view), factor.factor)
            codec = _codec(name, min(small.width, small.height), for_eye=rng.random() < config.for_eye)
            quality = int(rng.integers(factor.qualities[0], factor.qualities[1] + 1))
            coded = f"{number}.{name.lower()}"
            add(coded, codec.encode(small.rgb, quality))
            settings = {"quality": quality, **codec.settings()}
            described.append({"file": coded, "format": name, "factor": factor.factor, "settings": settings})
        about: dict[str, Any] = {"picture": source.path.name, "codings": described}
        add("view.json", json.dumps(about, indent=1).encode())
    return buffer.getvalue()


def _view(
    rgb: Array, domain: str, planned: Planned, config: PairsConfig, rng: np.random.Generator, *, held: bool
) -> Array:
    height, width = rgb.shape[:2]
    shorter, side = min(height, width), float(config.view)
    kind, share = rng.random(2)
    whole = config.whole.get(domain, 0)
    if held:
        side = shorter if planned.picture // config.hold_out % 2 else side  # so that both kinds are watched
    elif kind < whole:
        side *= 1 + (2 * share - 1) / 8
    elif kind < whole + config.native.get(domain, 0):
        side = shorter
    else:
        side *= max(1, shorter / side) ** share
    side = min(round(side), shorter, config.longest)
    image = Image.fromarray(rgb)
    if side < shorter:
        size = round(width * side / shorter), round(height * side / shorter)
        image = image.resize(size, Image.Resampling.LANCZOS)
    # Multiples of the network's cells.
    columns, rows = (min(length, config.view) // 4 * 4 for length in image.size)
    spare = image.width - columns, image.height - rows
    left, top = (length // 2 if held else int(rng.integers(length + 1)) for length in spare)
    return np.asarray(image.crop((left, top, left + columns, top + rows)))


def _codec(name: str, shorter: int, *, for_eye: bool) -> Codec:
    """The product's codecs at less effort: a quality of theirs costs more bytes, and looks alike."""
    if name == "JPEG":
        return replace(codecs.JPEG, effort=1)
    if name == "WebP":
        return replace(codecs.WEBP, effort=5)
    return replace(codecs.AVIF_FOR_EYE if for_eye else codecs.AVIF, effort=6 if shorter < _SMALL else 4)


def _serve() -> None:
    """In a worker: give way to training, let the parent alone decide when to end, and end with it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(AttributeError, OSError):  # Windows has no such thing
        os.nice(10)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
