"""Files are written whole or not at all, and never over another by mistake."""

import errno
import io
import os
import stat
from pathlib import Path

import pytest

from bdflow.errors import BDFlowError
from bdflow.system.files import TEMPORARY, make_folder, opened, remove_abandoned, write_bytes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def failing(code: int):
    def fail(*_args, **_kwargs):
        raise OSError(code, os.strerror(code))

    return fail


def test_write(tmp_path):
    write_bytes(tmp_path / "a.bin", b"one")
    assert (tmp_path / "a.bin").read_bytes() == b"one"
    assert names(tmp_path) == ["a.bin"]


def test_mode_obeys_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a.bin", b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_existing_file_is_kept_unless_told(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(BDFlowError, match=r"a\.bin: exists already: .* allow overwriting"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    write_bytes(target, b"new", overwrite=True)
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch, links):
    target = tmp_path / "a.bin"
    fsync = os.fsync

    def race(descriptor):
        fsync(descriptor)
        target.write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", race)
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.ENOTSUP))
    with pytest.raises(BDFlowError, match="exists already"):
        write_bytes(target, b"ours")
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.bin"]


def test_file_system_without_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    write_bytes(tmp_path / "a.bin", b"one")
    assert (tmp_path / "a.bin").read_bytes() == b"one"
    assert names(tmp_path) == ["a.bin"]


def test_claimed_name_is_freed_if_the_rename_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "replace", failing(errno.EIO))
    with pytest.raises(BDFlowError, match="cannot be written"):
        write_bytes(tmp_path / "a.bin", b"one")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_failure_leaves_nothing_behind(tmp_path, monkeypatch, code, message):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", failing(code))
    with pytest.raises(BDFlowError, match=rf"a\.bin: cannot be written: .*{message}") as caught:
        write_bytes(target, b"new", overwrite=True)
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "a.bin", b"new")
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows itself keeps files that are open")
@pytest.mark.parametrize("locks", [True, False], ids=["locks", "no locks"])
def test_an_abandoned_temporary_file_is_deleted_and_one_in_use_is_not(tmp_path, monkeypatch, locks):
    if not locks:
        monkeypatch.setattr("fcntl.flock", failing(errno.ENOTSUP))
    (old := tmp_path / f".bdflow-{'0' * 16}.tmp").write_bytes(b"half of")
    seen = []

    def clean_up(*_):
        seen.extend(path for path in tmp_path.iterdir() if TEMPORARY.fullmatch(path.name))
        for path in seen:
            remove_abandoned(path)

    monkeypatch.setattr(os, "fsync", clean_up)
    write_bytes(tmp_path / "a.bin", b"one")
    assert len(seen) == 2
    assert names(tmp_path) == (["a.bin"] if locks else [old.name, "a.bin"])
    assert (tmp_path / "a.bin").read_bytes() == b"one"
    remove_abandoned(tmp_path / "none")


def test_a_clean_up_before_the_lock_is_made_good(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    flock, times = fcntl.flock, []

    def late(file, how):
        if not times:
            Path(file.name).unlink()
        times.append(file)
        return flock(file, how)

    monkeypatch.setattr("fcntl.flock", late)
    write_bytes(tmp_path / "a.bin", b"one")
    assert len(times) == 2
    assert names(tmp_path) == ["a.bin"]


def test_make_folder(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(BDFlowError, match=r"file/a: no such folder can be made: a part of its path is not a"):
        make_folder(tmp_path / "file" / "a")


def test_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.bin").write_bytes(b"old")
    (tmp_path / "link.bin").symlink_to(tmp_path / "real" / "a.bin")
    write_bytes(tmp_path / "link.bin", b"new", overwrite=True)
    assert (tmp_path / "link.bin").is_symlink()
    assert (tmp_path / "real" / "a.bin").read_bytes() == b"new"


def test_what_is_no_ordinary_file_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(BDFlowError, match="not an ordinary file"):
            write_bytes(path, b"new", overwrite=True)
    assert names(tmp_path) == ["pipe"]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none/a.bin", "no such file or folder"),
        ("file/a.bin", "not a folder"),
        ("x" * 300, "name is too long"),
        ("nul\0.bin", "null"),
    ],
)
def test_impossible_paths(tmp_path, name, message):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BDFlowError, match=message) as caught:
        write_bytes(f"{tmp_path}/{name}", b"new")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file"]


class Pipe(io.RawIOBase):
    """A stream that cannot be rewound."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.data.readinto(buffer)


def test_every_source_gives_its_bytes(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"some bytes")
    stream = io.BytesIO(b"before some bytes")
    stream.seek(7)
    sources = [path, str(path), b"some bytes", bytearray(b"some bytes"), stream, Pipe(b"some bytes")]
    for source in sources:
        with opened(source) as (opened_stream, _):
            assert opened_stream.read() == b"some bytes"


def test_pipe_can_be_rewound():
    read_end, write_end = os.pipe()
    os.write(write_end, b"some bytes")
    os.close(write_end)
    with opened(f"/dev/fd/{read_end}") as (stream, name):
        assert stream.read() == b"some bytes"
        stream.seek(0)
        assert stream.read(4) == b"some"
        assert name == f"/dev/fd/{read_end}"
    os.close(read_end)


def test_caller_keeps_his_stream_open():
    stream = io.BytesIO(b"abc")
    with opened(stream):
        pass
    assert not stream.closed


def test_unreadable_sources(tmp_path, monkeypatch):
    (tmp_path / "empty").touch()
    closed = io.BytesIO(b"abc")
    closed.close()
    for source, message in [
        (tmp_path / "none", "none: no such file or folder"),
        (tmp_path, "it is a folder"),
        (tmp_path / "empty", "empty: the file is empty"),
        (b"", "the data: the file is empty"),
        (io.BytesIO(), "the stream: the file is empty"),
        (io.StringIO("text"), "binary mode"),
        (closed, "closed"),
        ("nul\0", "null"),
        (17, "not int"),
    ]:
        with pytest.raises(BDFlowError, match=message) as caught, opened(source):
            pass
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(Path, "open", failing(errno.EACCES))
    with pytest.raises(BDFlowError, match="no permission"), opened(tmp_path / "empty"):
        pass
