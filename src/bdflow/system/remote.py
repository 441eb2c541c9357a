"""Remote paths: what fsspec opens by a URL, with the part of pathlib's interface that bdflow uses.

fsspec is imported when the first one is opened.
"""

import contextlib
import errno
import mimetypes
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote

from bdflow.errors import BDFlowError
from bdflow.system.extras import needs

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:///*[^/].*", re.DOTALL)  # a drive of Windows has one letter
_WEB = ("http", "https")  # read, but neither written nor listed
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "http": "aiohttp", "https": "aiohttp"}
# Stores where an upload appears at once under its key, and what they call its media type. Everywhere else a
# temporary file is renamed; here that would copy it.
_OBJECT_STORES = {"s3": "ContentType", "s3a": "ContentType", "gs": "content_type", "gcs": "content_type"}
_TIMES = ("LastModified", "mtime", "updated", "last_modified", "created")  # as file systems call them


def is_url(name: str) -> bool:
    """Whether a path is a remote one; a local file of such a name is `./s3://name`."""
    return _URL.fullmatch(name) is not None


class Status(NamedTuple):
    """Of a remote file, under the names of `os.stat_result`; zero is what its server does not tell."""

    st_size: int
    st_mtime_ns: int


class Entry(NamedTuple):
    """A file or folder of a remote folder, as `os.DirEntry`; there are no links."""

    name: str
    info: dict[str, Any]

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""
        return bool(self.info["type"] == "directory")

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a file."""
        return not self.is_dir()

    def is_symlink(self) -> bool:
        """Never."""
        return False

    def stat(self) -> Status:
        """What the listing told."""
        return _status(self.info)


class RemotePath:
    """A file or folder by its URL.

    Whatever the libraries below raise, here it is an `OSError`, or a `BDFlowError` where
    something is to be installed.
    """

    def __init__(self, url: str) -> None:
        self.protocol = url.partition("://")[0].lower()
        end = "?" if self.protocol in _WEB else "::"  # a query, or the archive that a file lies in
        head, *tail = re.split(f"({re.escape(end)})", url, maxsplit=1)
        self._head, self._tail = head.rstrip("/"), "".join(tail)

    def __str__(self) -> str:
        return self._head + self._tail

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __reduce__(self) -> tuple[type["RemotePath"], tuple[str]]:
        return RemotePath, (str(self),)

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self._head}/{name}{self._tail}")

    @property
    def name(self) -> str:
        """The last part of the path."""
        name = self._head.rpartition("/")[2]
        return unquote(name) if self.protocol in _WEB else name

    @property
    def suffix(self) -> str:
        """What the name ends in, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "RemotePath":
        """The folder."""
        return RemotePath(self._head.rpartition("/")[0] + self._tail)

    def with_suffix(self, suffix: str) -> "RemotePath":
        """The same with another ending."""
        return self.parent / PurePosixPath(self.name).with_suffix(suffix).name

    def resolve(self) -> "RemotePath":
        """Itself: there are no links."""
        return self

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path in it."""
        needs("remote", "fsspec", what=str(self))
        import fsspec

        try:
            fs, path = fsspec.core.url_to_fs(str(self))
        except ImportError as error:
            needs("remote", _PACKAGES.get(self.protocol, "fsspec"), what=str(self))
            raise BDFlowError(f"{self}: {str(error).splitlines()[0]}") from error
        except ValueError as error:
            raise OSError(f"nothing opens {self.protocol}://") from error
        return fs, path

    def read_bytes(self) -> bytes:
        """The whole file."""
        with _as_os_errors():
            fs, path = self._opened
            data: bytes = fs.cat_file(path)
            return data

    def exists(self) -> bool:
        """Whether there is a file or folder; asked of the server, not of an earlier listing."""
        fs, path = self._opened
        fresh = {"refresh": True} if self.protocol in _OBJECT_STORES else {}
        try:
            with _as_os_errors():
                fs.info(path, **fresh)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether it is a folder that can be listed; one on the web cannot."""
        if self.protocol in _WEB:
            return False
        fs, path = self._opened
        with _as_os_errors():
            return bool(fs.isdir(path))

    def is_file(self) -> bool:
        """Whether it is there, and no folder."""
        return not self.is_dir() and self.exists()

    def stat(self) -> Status:
        """Size and time, by the last listing if there was one."""
        fs, path = self._opened
        with _as_os_errors():
            return _status(fs.info(path))

    def scan(self) -> list[Entry]:
        """What is in a folder, asked of the server."""
        fs, path = self._opened
        with _as_os_errors():
            fs.invalidate_cache(path)
            listing = fs.ls(path, detail=True)
        entries = ((info["name"].rstrip("/"), info) for info in listing)
        # An empty object may stand for the folder itself.
        return [Entry(each.rpartition("/")[2], info) for each, info in entries if each != path.rstrip("/")]

    def mkdir(self, *, parents: bool, exist_ok: bool) -> None:
        """Make a folder where there are any; a bucket is never made."""
        if self.protocol not in _OBJECT_STORES:
            fs, path = self._opened
            with _as_os_errors():
                fs.makedirs(path, exist_ok=exist_ok)

    def check_writable(self) -> None:
        """Refuse what can only be read.

        Raises:
            BDFlowError: It is on the web.
        """
        if self.protocol in _WEB:
            raise BDFlowError(f"{self}: {self.protocol}:// can only be read: name another place (-o)")

    def put(self, file: Path, *, overwrite: bool) -> None:
        """Copy a local file here; nothing of it is to be seen before all is there.

        Raises:
            FileExistsError: There is one, and it shall stay. Stores that know conditional writes (S3, Google
                Cloud Storage) see to that themselves; elsewhere it is asked just before.
        """
        fs, path = self._opened
        if not overwrite and self.exists():
            raise FileExistsError(errno.EEXIST, "")
        with _as_os_errors():
            if self.protocol in _OBJECT_STORES:
                kind = {_OBJECT_STORES[self.protocol]: mimetypes.guess_type(self.name)[0] or "image/avif"}
                fs.put_file(str(file), path, mode="overwrite" if overwrite else "create", **kind)
                return
            temporary = f"{path.rpartition('/')[0]}/.bdflow-{secrets.token_hex(8)}.tmp"
            try:
                fs.put_file(str(file), temporary)
                fs.mv(temporary, path)
            except BaseException:
                with contextlib.suppress(Exception):
                    fs.rm_file(temporary)
                raise


def _status(info: dict[str, Any]) -> Status:
    when = next((info[key] for key in _TIMES if info.get(key) is not None), 0)
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if isinstance(when, datetime):
        when = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return Status(info.get("size") or 0, int(when * 1e9))


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Each library has errors of its own; here all are OSErrors that say one line."""
    try:
        yield
    except (BDFlowError, FileExistsError):
        raise
    except FileNotFoundError as error:
        answer = getattr(error.__cause__, "response", {})  # of a store that speaks S3
        if answer.get("Error", {}).get("Code") == "NoSuchBucket":
            raise OSError("no such bucket") from error
        raise FileNotFoundError(errno.ENOENT, "") from error
    except PermissionError as error:
        raise PermissionError(errno.EACCES, "") from error
    except Exception as error:
        if getattr(error, "status", None) in (401, 403):  # of a web server
            raise PermissionError(errno.EACCES, "") from error
        lines = str(error).splitlines() or [type(error).__name__]
        raise OSError(lines[0]) from error
