"""What a batch has to do: its pictures, the names of their results, and which of these are there already."""

import os
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bdflow.errors import BDFlowError
from bdflow.pictures.reader import READABLE
from bdflow.system.files import (
    TEMPORARY,
    AnyPath,
    is_folder,
    is_same,
    lies_in,
    located,
    make_folder,
    reason,
    remove_abandoned,
    scan,
)
from bdflow.system.remote import Entry, RemotePath


class Item(NamedTuple):
    """One picture of a folder.

    Attributes:
        name: Its file's name; for a picture that was named itself, the path as given.
        result: The name of its result.
        replace: Whether an existing result gives way.
    """

    name: str
    result: str
    replace: bool


@dataclass
class Folder:
    """Pictures of one folder whose results go into one folder.

    Attributes:
        source: Where the pictures are; None for those that were named one by one.
        target: Where the results go; it need not exist.
        items: What is to be done.
        gone: The folder vanished while the batch ran.
    """

    source: AnyPath | None
    target: AnyPath
    items: list[Item] = field(default_factory=list)
    gone: bool = False

    def path(self, name: str) -> AnyPath:
        """Where the picture of an item is."""
        return located(name) if self.source is None else self.source / name


@dataclass
class Plan:
    """All that a batch has to do, and what it leaves alone.

    Attributes:
        out: The folder of the results.
        folders: In order; strings only, no picture is opened to plan.
        done: Pictures whose results are there.
        skipped: Files that are left, by path, and why: hidden, no picture by the ending, or no file.
        closed: Folders that were not entered, likewise: links, hidden ones, and without `recursive` all.
        stale: Results of earlier runs under names that these pictures had then, and have no longer.
        failures: What cannot be done, by path, one line each.
    """

    out: AnyPath
    folders: list[Folder] = field(default_factory=list)
    done: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(folder.items) for folder in self.folders)


@dataclass(frozen=True)
class Naming:
    """How results are called.

    Attributes:
        ending: Such as `.x8.png`.
        stem: What of a picture's name stands before the ending.
        suffixes: What the ending may end in otherwise, where the work chooses; such as `.webp`.
    """

    ending: str
    stem: Callable[[str], str]
    suffixes: tuple[str, ...] = ()

    def results(self, names: Iterable[str]) -> dict[str, str]:
        """Each name's result: `a.x8.png` for `a.jpg`, but `a.jpg.x8.png` where `a.png` is there too.

        Names that differ only in case count as one, as on many disks they are: of `a.jpg` and `a.JPG`
        each gets its CRC-32, too. The outcome depends on the names alone, so that a later run finds what an
        earlier one wrote.
        """
        results = {name: self.candidates(name)[0] for name in names}
        alike = Counter(map(_folded, results))

        def long(name: str) -> str:
            _, plain, marked = self.candidates(name)
            return marked if alike[_folded(name)] > 1 else plain

        while True:
            taken = Counter(map(_folded, results.values()))
            clashing = [
                n for n, result in results.items() if taken[_folded(result)] > 1 and result != long(n)
            ]
            if not clashing:
                return results
            for name in clashing:
                results[name] = long(name)

    def candidates(self, name: str) -> tuple[str, str, str]:
        """What the result of a picture may be called, depending on its neighbours."""
        mark = f".{zlib.crc32(os.fsencode(name)):08x}"
        return self.stem(name) + self.ending, name + self.ending, name + mark + self.ending


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def plan(
    inputs: Sequence[str], out: str, naming: Naming, *, recursive: bool, resume: bool, force: bool
) -> Plan:
    """List what is to be done, in the order of the names.

    A single folder's pictures go to the same places below `out`; of several inputs, each folder gets one of
    its name there. `out` may lie inside a folder of pictures: it is not entered. Links to folders are not
    followed, so there are no loops. Temporary files that a killed run left in the folders of results are
    deleted.

    Args:
        inputs: Folders of pictures, and pictures.
        out: The folder for the results; made if missing.
        naming: How results are called.
        recursive: Enter folders in folders.
        resume: A result that is there, not empty, not older than its picture, is done; others are made anew.
        force: All are made anew.

    Raises:
        BDFlowError: `out` cannot be made or holds one of the folders, two inputs would get one name, or
            there is no picture at all.
    """
    paths = list(dict.fromkeys(map(located, inputs)))
    roots = {path: None for path in paths if is_folder(path)}  # in order, and quick to ask
    plan = Plan(located(out))
    if isinstance(plan.out, Path) and plan.out.exists() and not plan.out.is_dir():
        raise BDFlowError(f"{out}: it is no folder: name one for the results (-o FOLDER)")
    for root in roots:
        if lies_in(root, plan.out):
            raise BDFlowError(f"{root} is or lies in the folder of the results: name another (-o FOLDER)")
    names = {path: path.resolve().name if path in roots else path.name for path in paths}
    _no_two(names)

    make_folder(out)
    choose = _Choice(plan, naming, resume, force)
    if len(roots) < len(paths):
        choose(Folder(None, plan.out), {str(path): name for path, name in names.items() if path not in roots})
    for root in roots:
        target = plan.out if len(paths) == 1 else plan.out / names[root]
        for folder, found in _walk(root, target, recursive, plan):
            choose(folder, {name: name for name in found})
    if not (len(plan) or plan.done or plan.failures):
        hint = f"; {len(plan.closed)} folders in it were not entered (--recursive)" if plan.closed else ""
        raise BDFlowError(f"{', '.join(inputs)}: no pictures in it{hint}")
    return plan


def _no_two(names: dict[AnyPath, str]) -> None:
    """Refuse two inputs of one name: whose would the result be that a later run finds?"""
    first: dict[str, AnyPath] = {}
    for path, name in names.items():
        if name in first:
            raise BDFlowError(f"{first[name]} and {path} have one name: take two runs, into two folders")
        first[name] = path


def _walk(root: AnyPath, out: AnyPath, recursive: bool, plan: Plan) -> Iterator[tuple[Folder, list[str]]]:
    """Each folder, and the names of its pictures."""
    waiting = [(root, out)]
    while waiting:
        source, target = waiting.pop()
        pictures, below = [], []
        try:
            with scan(source) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
                    elif entry.is_symlink() and entry.is_dir():
                        plan.closed[str(source / entry.name)] = "a link"
                    elif why := _not_taken(entry):
                        plan.skipped[str(source / entry.name)] = why
                    else:
                        pictures.append(entry.name)
        except OSError as error:
            plan.failures[str(source)] = reason(error)
            continue
        for name in sorted(below, reverse=True):
            if is_same(source / name, plan.out):
                continue
            if recursive and not name.startswith("."):
                waiting.append((source / name, target / name))
            else:
                plan.closed[str(source / name)] = "hidden" if recursive else "without --recursive"
        yield Folder(source, target), sorted(pictures)


def _not_taken(entry: os.DirEntry[str] | Entry) -> str | None:
    """Why a file is left, by its name; None for a picture. Never a pipe, which would be waited for. A link
    that leads nowhere is taken, to be named."""
    if entry.name.startswith("."):
        return "hidden"
    ending = Path(entry.name).suffix.lower()
    if ending not in READABLE:
        return f"no picture by the ending {ending}" if ending else "no ending"
    if entry.is_file() or isinstance(entry, Entry) or (entry.is_symlink() and not Path(entry).exists()):
        return None
    return "no ordinary file"


@dataclass
class _Choice:
    """Decides picture by picture what is to be done, and adds it to the plan."""

    plan: Plan
    naming: Naming
    resume: bool
    force: bool

    def __call__(self, folder: Folder, names: Mapping[str, str]) -> None:
        """Take a folder and, by their paths below it, the names of its pictures."""
        results, existing = self.naming.results(names.values()), _results_in(folder.target)
        named: set[AnyPath] = set() if folder.source else {located(path).resolve() for path in names}
        for path, name in names.items():
            source, target = folder.path(path), folder.target / results[name]
            targets: list[AnyPath] = [target, *(target.with_suffix(each) for each in self.naming.suffixes)]
            replaced = next((each for each in targets if named and each.resolve() in named), None)
            present = [each for each in targets if each.name in existing]
            if replaced:
                self.plan.failures[str(source)] = f"its result, {replaced}, would replace one of the pictures"
            elif not present or self.force:
                folder.items.append(Item(path, target.name, self.force))
            elif not self.resume:
                how = "skip what is done (--resume) or allow overwriting (--force)"
                self.plan.failures[str(source)] = f"{present[0]} exists already: {how}"
            elif any(_is_done(source, existing[each.name]) for each in present):
                self.plan.done += 1
            else:
                folder.items.append(Item(path, target.name, True))
        earlier = {each for name in names.values() for each in self.naming.candidates(name)}
        stale = earlier.intersection(existing).difference(results.values())
        self.plan.stale += sorted(str(folder.target / name) for name in stale)
        if folder.items:
            self.plan.folders.append(folder)


def _results_in(folder: AnyPath) -> dict[str, os.DirEntry[str] | Entry]:
    """What is there, less the temporary files of killed runs on a disk of this machine, which are deleted.

    Raises:
        BDFlowError: A bucket is missing, or cannot be listed.
    """
    there: dict[str, os.DirEntry[str] | Entry] = {}
    try:
        with scan(folder) as entries:
            for entry in entries:
                if (
                    isinstance(entry, os.DirEntry)
                    and TEMPORARY.fullmatch(entry.name)
                    and entry.is_file(follow_symlinks=False)
                ):
                    remove_abandoned(entry)
                else:
                    there[entry.name] = entry
    except OSError as error:  # most often it is not made yet; what cannot be listed is not overwritten either
        if isinstance(folder, RemotePath) and not isinstance(error, FileNotFoundError):
            raise BDFlowError(f"{folder}: {reason(error)}") from error
    return there


def _is_done(source: AnyPath, result: os.DirEntry[str] | Entry) -> bool:
    """Whether a result is there, whole and not older than its picture.

    Results take their names when they are whole. An empty file may be the claim to a name that a kill left
    where the disk has no hard links.
    """
    try:
        status = result.stat()
        return status.st_size > 0 and status.st_mtime_ns >= source.stat().st_mtime_ns
    except OSError:  # of the picture, most likely: reading it will tell
        return False
