"""Remote paths: a store that speaks S3, and a web server, both on loopback, and fsspec's memory."""

import http.server
import io
import logging
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import bdflow
from bdflow.errors import BDFlowError
from bdflow.system import files
from bdflow.system.files import is_folder, lies_in, located, scan, writing
from bdflow.system.remote import RemotePath

fsspec = pytest.importorskip("fsspec")


def photo(seed: int = 0) -> bytes:
    noise, buffer = np.random.default_rng(seed).integers(0, 256, (9, 14, 3), np.uint8), io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def s3_server():
    """An S3 server, and the requests that reached it."""
    server = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        running.start()
        address, port = running.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{address}:{port}")
        patch.setenv("FSSPEC_S3_ENDPOINT_URL", f"http://{address}:{port}")
        yield running
        running.stop()


@pytest.fixture
def bucket(s3_server) -> str:
    """The URL of an empty bucket."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    name = f"b{uuid.uuid4().hex}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


@pytest.fixture(params=["s3", "memory"])
def store(request) -> str:
    """The URL of an empty folder that can be written to."""
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/deep"
    return f"memory://{uuid.uuid4().hex}"


def put(url: str, data: bytes) -> None:
    fs, path = fsspec.core.url_to_fs(url)
    fs.pipe_file(path, data)


def get(url: str) -> bytes:
    fs, path = fsspec.core.url_to_fs(url)
    return fs.cat_file(path)


def tree(url: str) -> list[str]:
    fs, path = fsspec.core.url_to_fs(url)
    fs.invalidate_cache()
    return sorted(each.removeprefix(path.rstrip("/") + "/") for each in fs.find(path))


@pytest.fixture
def web(tmp_path):
    """A folder that is served, and its address; `/secret/` is forbidden, `/broken/` fails."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path / "web"))

        def do_GET(self):
            for part, status in (("/secret/", 403), ("/broken/", 500)):
                if part in self.path:
                    self.send_error(status)
                    return
            super().do_GET()

        def log_message(self, *_):
            pass

    (tmp_path / "web").mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path / "web", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_parts_of_urls():
    path = located("s3://bucket/a/photo.x8.png")
    assert isinstance(path, RemotePath)
    assert (path.name, path.suffix) == ("photo.x8.png", ".png")
    assert [str(path.parent), str(path.with_suffix(".avif"))] == [
        "s3://bucket/a",
        "s3://bucket/a/photo.x8.avif",
    ]
    assert str(located("s3://bucket/a/") / "why?#.png") == "s3://bucket/a/why?#.png"
    assert located("https://host/a%20b.jpg?size=2/3#x").name == "a b.jpg"
    assert located("zip://in/a.png::s3://bucket/x.zip").name == "a.png"
    assert lies_in(located("s3://bucket/a"), located("s3://bucket/a/"))
    assert not lies_in(located("s3://bucket/ab"), located("s3://bucket/a"))
    for name in ("photo.png", "/a/s3://b/c.png", "./s3://b/c.png", "s3://", "C:/a.png", "://a", "c://a"):
        assert isinstance(located(name), Path), name


def test_local_paths_import_no_fsspec(shell, photo):
    code = "import sys; from bdflow.cli.main import main; main(sys.argv[1:]); print('fsspec' in sys.modules)"
    command = [sys.executable, "-c", code, "info", "photo.png"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "False\n"


def test_one_picture_there_and_back(shell, store, built_in):
    put(f"{store}/photo.png", photo())
    assert shell("downscale", f"{store}/photo.png", "-x", "2") == (
        0,
        b"",
        f"{store}/photo.x2.png: 14x9 to 7x5, {len(get(f'{store}/photo.x2.png'))} bytes, by tiny-x2\n",
    )
    small = bdflow.downscale(photo(), scale=2, threads=1)
    assert get(f"{store}/photo.x2.png") == small.to_bytes()
    status, out, _ = shell("info", f"{store}/photo.x2.png")
    assert (status, b"14x9" in out) == (0, True)
    assert shell("upscale", f"{store}/photo.x2.png")[0] == 0
    expected = np.asarray(bdflow.upscale(small, threads=1))
    restored = Image.open(io.BytesIO(get(f"{store}/photo.restored.png")))
    np.testing.assert_array_equal(np.asarray(restored), expected)
    assert tree(store) == ["photo.png", "photo.restored.png", "photo.x2.png"]
    # in Python
    small.save(f"{store}/other.png")
    np.testing.assert_array_equal(np.asarray(bdflow.upscale(f"{store}/other.png", threads=1)), expected)
    assert bdflow.downscale(f"{store}/photo.png", scale=2, threads=1).to_bytes() == small.to_bytes()


def test_what_is_there_stays(shell, store, built_in):
    put(f"{store}/photo.png", photo())
    put(f"{store}/photo.x2.png", b"mine")
    how = "exists already: choose another name or allow overwriting (--force)"
    assert shell("downscale", f"{store}/photo.png", "-x2")[::2] == (
        1,
        f"bdflow: {store}/photo.x2.png: {how}\n",
    )
    with pytest.raises(BDFlowError, match="exists already"):
        bdflow.downscale(photo(), scale=2, threads=1).save(f"{store}/photo.x2.png")
    assert get(f"{store}/photo.x2.png") == b"mine"
    would = "would replace the picture that it is made of: choose another name"
    assert shell("downscale", f"{store}/photo.png", "-x2", "-o", f"{store}/photo.png", "-f")[2] == (
        f"bdflow: {store}/photo.png: {would}\n"
    )
    assert shell("downscale", f"{store}/photo.png", "-x2", "--force")[0] == 0
    assert get(f"{store}/photo.x2.png") == bdflow.downscale(photo(), scale=2, threads=1).to_bytes()
    assert tree(store) == ["photo.png", "photo.x2.png"]


def test_what_another_writes_meanwhile_stays(bucket):
    def write() -> None:
        with writing(f"{bucket}/a.png") as file:
            file.write(b"ours")
            put(f"{bucket}/a.png", b"theirs")

    with pytest.raises(BDFlowError, match="exists already"):
        write()
    assert get(f"{bucket}/a.png") == b"theirs"


def test_the_store_itself_refuses_to_replace(bucket, monkeypatch, tmp_path):
    """By a conditional write: nobody can come between the question and the upload."""
    put(f"{bucket}/a.png", b"theirs")
    monkeypatch.setattr(RemotePath, "exists", lambda path: False)
    (tmp_path / "file").write_bytes(b"ours")
    with pytest.raises(FileExistsError):
        RemotePath(f"{bucket}/a.png").put(tmp_path / "file", overwrite=False)
    assert get(f"{bucket}/a.png") == b"theirs"


def test_a_failure_leaves_nothing(store, monkeypatch, tmp_path):
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path))

    def fail() -> None:
        with writing(f"{store}/a.png") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with writing(f"{store}/b.png") as file:
        file.write(b"whole")
        file.flush()
        assert not any(name.endswith("b.png") for name in tree(store))
    assert tree(store) == ["b.png"]
    assert not list(tmp_path.iterdir())


def test_an_upload_in_parts_that_fails_is_aborted(bucket, monkeypatch, tmp_path):
    import s3fs

    fs, call = s3fs.S3FileSystem(), s3fs.S3FileSystem._call_s3
    sent = []

    async def failing(self, method, *arguments, **options):
        if method == "upload_part":
            sent.append(options["PartNumber"])
            if len(sent) > 1:
                raise OSError("the connection broke")
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", failing)
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda size, chunksize=None: 5 << 20)
    with pytest.raises(BDFlowError, match="cannot be written: the connection broke"):
        files.write_bytes(f"{bucket}/a.png", bytes(11 << 20))
    assert len(sent) > 1
    assert fs.list_multipart_uploads(bucket[5:]) == []
    assert tree(bucket) == []
    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call)
    files.write_bytes(f"{bucket}/a.png", bytes(11 << 20))
    assert get(f"{bucket}/a.png") == bytes(11 << 20)


def test_a_batch_in_a_bucket_and_again(shell, store, built_in):
    names = ("a.png", "b.webp", "deep/a.png", "notes.txt", ".hidden.png")
    for seed, name in enumerate(names):
        put(f"{store}/in/{name}", photo(seed))
    put(f"{store}/in/cut.png", photo()[:-100])
    command = ("downscale", f"{store}/in", "-o", f"{store}/small", "-x2", "-r", "--json", "log")
    status, _, err = shell(*command)
    assert (status, err.splitlines()[0][:34]) == (1, "3 made, 2 skipped, 1 failed in 0:0")
    assert err.splitlines()[-1] == (
        f"failed: {store}/in/cut.png: the picture is damaged or cut short: get it again"
    )
    results = ["a.x2.png", "b.x2.png", "deep/a.x2.png"]
    assert tree(f"{store}/small") == results
    for seed, name in enumerate(results):
        expected = bdflow.downscale(photo(seed), scale=2, threads=1).to_bytes()
        assert get(f"{store}/small/{name}") == expected
    fs, path = fsspec.core.url_to_fs(store)
    fs.rm_file(f"{path}/in/cut.png")
    fs.rm_file(f"{path}/small/b.x2.png")
    assert shell(*command, "--resume")[2].startswith("1 made, 2 done before, 2 skipped in ")
    time.sleep(1.1)  # S3 counts in seconds
    put(f"{store}/in/a.png", photo(9))
    assert shell(*command, "--resume")[2].startswith("1 made, 2 done before, 2 skipped in ")
    assert get(f"{store}/small/a.x2.png") == bdflow.downscale(photo(9), scale=2, threads=1).to_bytes()
    assert shell(*command[:-2])[0] == 1  # what is there stays
    assert shell("upscale", f"{store}/small", "-o", "back", "-r")[0] == 0
    assert sorted(path.name for path in Path("back").rglob("*.png")) == [
        "a.restored.png",
        "a.restored.png",
        "b.restored.png",
    ]
    assert shell("downscale", f"{store}/in", "-o", store, "-x2")[2] == (
        f"bdflow: {store}/in is or lies in the folder of the results: name another (-o FOLDER)\n"
    )
    assert shell(*command, "--times")[0] == 1


def test_a_folder_here_into_a_bucket(shell, bucket, built_in):
    Path("in").mkdir()
    Path("in/a.png").write_bytes(photo())
    os.utime("in/a.png", (1e9, 1e9))
    command = ("downscale", "in", "-o", f"{bucket}/small/", "-x2")
    assert shell(*command)[0] == 0
    assert tree(f"{bucket}/small") == ["a.x2.png"]
    assert shell(*command, "--resume")[2].startswith("0 made, 1 done before")
    fs, path = fsspec.core.url_to_fs(f"{bucket}/small/a.x2.png")
    assert fs.info(path, refresh=True)["ContentType"] == "image/png"  # or a browser would download it


def test_names_that_are_urls_in_parts(shell, store, built_in):
    names = ("a b.png", "what?.png", "half#.png", "x%20.png", "ä.png")
    for seed, name in enumerate(names):
        put(f"{store}/in/{name}", photo(seed))
    assert shell("downscale", f"{store}/in", "-o", f"{store}/out", "-x2")[0] == 0
    assert tree(f"{store}/out") == sorted(name.replace(".png", ".x2.png") for name in names)


def test_the_web_is_read(shell, web, built_in):
    folder, url = web
    (folder / "a photo.png").write_bytes(photo())
    assert shell("downscale", f"{url}/a%20photo.png?size=full", "-x2", "-o", "small.png")[0] == 0
    expected = bdflow.downscale(photo(), scale=2, threads=1).to_bytes()
    assert Path("small.png").read_bytes() == expected
    (folder / "b.png").write_bytes(photo(1))
    command = ("downscale", f"{url}/a%20photo.png", f"{url}/b.png", "-x2", "-o", "out")
    assert shell(*command)[0] == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["a photo.x2.png", "b.x2.png"]
    assert shell(*command, "--resume")[2].startswith("0 made, 2 done before")
    assert bdflow.downscale(f"{url}/b.png", scale=2, threads=1).size == (14, 9)


def test_what_goes_wrong_on_the_web_is_one_line(shell, web, built_in):
    _, url = web

    def line(path: str, *more: str) -> str:
        status, _, err = shell("downscale", path, "-x2", *(more or ("-o", "out.png")))
        assert (status, len(err.splitlines())) == (1, 1)
        return err.removeprefix("bdflow: ").rstrip()

    assert line(f"{url}/none.png") == f"{url}/none.png: no such file or folder"
    assert line(f"{url}/secret/a.png") == f"{url}/secret/a.png: no permission"
    assert re.fullmatch(re.escape(f"{url}/broken/a.png: ") + ".*500.*", line(f"{url}/broken/a.png"))
    beside = f"{url}/a.x2.png: http:// can only be read: name another place (-o)"
    assert line(f"{url}/a.png", "--force") == beside
    with pytest.raises(BDFlowError, match="can only be read"):
        files.write_bytes(f"{url}/a.png", b"1")
    assert line("http://127.0.0.1:1/a.png").startswith("http://127.0.0.1:1/a.png: ")
    assert line("nothing://a/b.png") == "nothing://a/b.png: nothing opens nothing://"


def test_what_goes_wrong_in_a_bucket_is_one_line(shell, bucket, built_in, monkeypatch):
    def line(*arguments: str) -> str:
        status, _, err = shell("downscale", *arguments, "-x2")
        assert (status, len(err.splitlines())) == (1, 1), err
        return err.removeprefix("bdflow: ").rstrip()

    Path("in").mkdir()
    Path("in/a.png").write_bytes(photo())
    assert (
        line("s3://no-such-bucket-here/a.png", "-o", "b.png")
        == "s3://no-such-bucket-here/a.png: no such bucket"
    )
    assert line(f"{bucket}/a.png", "-o", "b.png") == f"{bucket}/a.png: no such file or folder"
    assert line("in", "-o", "s3://no-such-bucket-here/out/") == "s3://no-such-bucket-here/out: no such bucket"
    assert line("in/a.png", "-o", "s3://no-such-bucket-here/a.png") == (
        "s3://no-such-bucket-here/a.png: no such bucket"
    )
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url: (_Refusing(), url))
    assert line(f"{bucket}/a.png", "-o", "a.png") == f"{bucket}/a.png: no permission"


class _Refusing:
    def isdir(self, path: str) -> bool:
        return False

    def cat_file(self, path: str) -> bytes:
        raise PermissionError("Access Denied")


@pytest.mark.parametrize(
    ("package", "url"),
    [("fsspec", "memory://a/b.png"), ("s3fs", "s3://a/b.png"), ("aiohttp", "http://a/b.png")],
)
def test_a_missing_package_is_one_line(shell, built_in, monkeypatch, package, url):
    from bdflow.system import extras

    installed = extras._installed
    monkeypatch.setattr(extras, "_installed", lambda name: name != package and installed(name))

    def refuse(url: str):
        raise ImportError(f"Install {package}")

    if package != "fsspec":
        monkeypatch.setattr("fsspec.core.url_to_fs", refuse)
    assert shell("downscale", url, "-x2", "-o", "a.png")[::2] == (
        1,
        f'bdflow: {url} needs {package}: pip install "bdflow[remote]"\n',
    )


def test_a_folder_is_listed_without_itself(bucket):
    put(f"{bucket}/in/", b"")
    put(f"{bucket}/in/a.png", b"1234")
    with scan(located(f"{bucket}/in")) as entries:
        (entry,) = entries
    assert (entry.name, entry.is_dir(), entry.stat().st_size) == ("a.png", False, 4)
    assert abs(entry.stat().st_mtime_ns / 1e9 - time.time()) < 60
    assert is_folder(located(f"{bucket}/in"))
    assert not is_folder(located(f"{bucket}/none"))
