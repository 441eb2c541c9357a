"""Files: opened with one-line errors, written whole or not at all."""

import contextlib
import errno
import io
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from bdflow.errors import BDFlowError
from bdflow.system.remote import Entry, RemotePath, is_url

if sys.platform != "win32":
    import fcntl

FileSource: TypeAlias = str | os.PathLike[str] | RemotePath | bytes | BinaryIO
AnyPath: TypeAlias = Path | RemotePath


def located(name: str | os.PathLike[str]) -> AnyPath:
    """What a path names: a local file, or one that fsspec opens by its URL (`s3://...`, `https://...`)."""
    name = os.fspath(name)
    return RemotePath(name) if is_url(name) else Path(name)


def is_folder(path: AnyPath) -> bool:
    """Whether pictures can be listed there.

    Raises:
        BDFlowError: The server does not tell.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise BDFlowError(f"{path}: {reason(error)}") from error


def is_same(a: AnyPath, b: AnyPath) -> bool:
    """Whether two paths lead to one file or folder that is there."""
    if isinstance(a, RemotePath) or isinstance(b, RemotePath):
        return a == b
    try:
        return a.samefile(b)
    except OSError:
        return False


def lies_in(path: AnyPath, folder: AnyPath) -> bool:
    """Whether a path is a folder, or below it."""
    if isinstance(path, RemotePath) or isinstance(folder, RemotePath):
        return f"{path}/".startswith(f"{folder}/")
    return path.resolve().is_relative_to(folder.resolve())


@contextlib.contextmanager
def scan(folder: AnyPath) -> Iterator[Iterable[os.DirEntry[str] | Entry]]:
    """What is in a folder.

    Raises:
        OSError: It cannot be listed.
    """
    if isinstance(folder, RemotePath):
        yield folder.scan()
        return
    with os.scandir(folder) as entries:
        yield entries


@contextlib.contextmanager
def opened(source: FileSource) -> Iterator[tuple[BinaryIO, str]]:
    """Open a path, bytes or a binary stream: a seekable stream that is not empty, and a name for messages.

    A remote file is fetched whole, so that a failing connection is not taken for a damaged picture.

    Raises:
        BDFlowError: there is no such file, it cannot be read, or it is empty.
    """
    with contextlib.ExitStack() as stack:
        try:
            if isinstance(source, bytes | bytearray | memoryview):
                stream, name = cast(BinaryIO, io.BytesIO(source)), "the data"
            elif isinstance(source, str | os.PathLike | RemotePath):
                name = str(source)
                path = located(name)
                if isinstance(path, RemotePath):
                    stream = cast(BinaryIO, io.BytesIO(path.read_bytes()))
                else:
                    stream = stack.enter_context(path.open("rb"))
            elif hasattr(source, "read"):
                stream, name = source, str(getattr(source, "name", "the stream"))
            else:
                raise BDFlowError(f"expected a path, bytes or a binary stream, not {type(source).__name__}")
            if stream is source or not stream.seekable():
                data = stream.read()
                if not isinstance(data, bytes):
                    raise BDFlowError(f"{name}: open it in binary mode")
                stream = io.BytesIO(data)
            empty = not stream.read(1)
            stream.seek(0)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path, a closed stream
            raise BDFlowError(f"{name}: {reason(error)}") from error
        if empty:
            raise BDFlowError(f"{name}: the file is empty")
        yield stream, name


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Put the file's name before any error inside."""
    try:
        yield
    except BDFlowError as error:
        raise BDFlowError(f"{name}: {error}") from error


def write_bytes(path: str | os.PathLike[str], data: bytes, *, overwrite: bool = False) -> None:
    """Write a file whole or not at all: a temporary file beside it is flushed to disk, then takes its name.

    Raises:
        BDFlowError: as `writing`.
    """
    with writing(path, overwrite=overwrite) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file to write, that gets its name when all is written; after an error there is none.

    An existing file is replaced only if `overwrite` is true, even if it appears while this runs. Links are
    followed. A remote file is written here first, and sent when it is whole.

    Raises:
        BDFlowError: the file exists, or its folder is missing, read-only or full.
    """
    name = os.fspath(path)
    target = located(name)
    try:
        if isinstance(target, RemotePath):
            target.check_writable()
            folder = Path(tempfile.gettempdir())
        else:
            target = Path(os.path.realpath(name))
            if (
                target.exists() and not target.is_file()
            ):  # a folder; or /dev/null, which a rename would destroy
                raise BDFlowError(f"{name}: exists and is not an ordinary file: choose another name")
            if target.exists() and not overwrite:
                raise FileExistsError(errno.EEXIST, "")
            folder = target.parent
        with _temporary(folder) as temporary:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if isinstance(target, RemotePath):
                target.put(temporary, overwrite=overwrite)
            elif overwrite:
                temporary.replace(target)
            else:
                _rename_if_free(temporary, target)
    except FileExistsError as error:
        raise BDFlowError(
            f"{name}: exists already: choose another name or allow overwriting (--force)"
        ) from error
    except (OSError, ValueError) as error:
        raise BDFlowError(f"{name}: cannot be written: {reason(error)}") from error


def make_folder(path: str | os.PathLike[str] | RemotePath) -> None:
    """Make a folder, and those above it, where missing.

    Raises:
        BDFlowError: it cannot be made, or a file has the name.
    """
    try:
        located(str(path)).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise BDFlowError(f"{path}: no such folder can be made: {reason(error)}") from error


_unfinished: set[Path] = set()


def discard_unfinished() -> None:
    """Delete the temporary files of this process, which is about to be ended by a signal."""
    for path in list(_unfinished):
        with contextlib.suppress(OSError):  # on Windows it cannot be deleted while it is open
            path.unlink(missing_ok=True)


TEMPORARY = re.compile(r"\.bdflow-[0-9a-f]{16}\.tmp")


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """An empty file with a name of its own, gone in the end; `remove_abandoned` spares it until then."""
    while True:
        path = folder / f".bdflow-{secrets.token_hex(8)}.tmp"
        _unfinished.add(path)  # first, for a signal may come as soon as it is made
        try:
            with path.open("xb") as holder:
                _lock(holder)
                if sys.platform == "win32":
                    holder.close()  # nobody may rename a file that is open
                elif not os.fstat(holder.fileno()).st_nlink:
                    continue  # somebody cleaned up between our making it and our locking it
                yield path
                return
        finally:
            _unfinished.discard(path)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _lock(file: BinaryIO) -> bool:
    """Whether nobody else holds the file; the system lets go of it when its process ends, however it ends."""
    try:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:  # held by another, or a file system without locks
        return False


def remove_abandoned(path: str | os.PathLike[str]) -> None:
    """Delete a temporary file that a killed process left; not one that a process is writing."""
    with contextlib.suppress(OSError):  # gone meanwhile, not ours, or (on Windows) in use
        with Path(path).open("r+b") as file:
            if not _lock(file):
                return
            if sys.platform != "win32":
                Path(path).unlink()
                return
        Path(path).unlink()


def _rename_if_free(temporary: Path, target: Path) -> None:
    try:
        target.hardlink_to(temporary)  # fails if the name is taken, in one step
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # no hard links here: claim the name, then replace our own claim
        target.touch(exist_ok=False)
        try:
            temporary.replace(target)
        except BaseException:
            target.unlink()
            raise


_REASONS = {
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a part of its path is not a folder",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the disk is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENAMETOOLONG: "its name is too long",
}


def printable(text: str) -> str:
    """A text on one line, without what a terminal would obey or could not show.

    A file's name may hold anything but a slash. Every name that is printed, or written into a page or a
    table, passes here.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def reason(error: Exception) -> str:
    """One line on what went wrong."""
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno) or error.strerror or "the system refuses"
    return (str(error).splitlines() or [type(error).__name__])[0]
