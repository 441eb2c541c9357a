"""`bdflow serve` as a process: where it listens, what it says, and how it ends."""

import contextlib
import io
import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from serving import serving, wait_until
from thumbnails import photo, thumbnail

from bdflow.pictures import codecs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of another kind")

PHOTO = codecs.encode(photo(), "png")
HARD = "/shrink?bytes=20000&effort=high&format=best"


def large() -> bytes:
    """What takes a minute or longer to be shrunk so."""
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1800, 1800, 3), np.uint8)).save(data, "JPEG")
    return data.getvalue()


@pytest.fixture
def start(tmp_path):
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "a.webp").write_bytes(thumbnail(photo()).data)
    return lambda *options: serving(tmp_path / "small", "--jobs", 1, *options, program=tmp_path / "serve.py")


class Asking(threading.Thread):
    """A request that takes its time, begun."""

    def __init__(self, served, path: str, content: bytes) -> None:
        super().__init__()
        self.served, self.path, self.content = served, path, content
        self.answer: httpx.Response | None = None
        self.start()
        wait_until(lambda: "bdflow_working 1.0" in served.client.get("/metrics").text)

    def run(self) -> None:
        url = self.served.client.base_url.join(self.path)
        with contextlib.suppress(httpx.HTTPError):  # cut off
            self.answer = httpx.post(url, content=self.content, timeout=90)


def test_it_says_where_it_listens_and_ends_when_asked_to(start):
    with start() as served:
        assert served.said[-1].startswith("serving 1 pictures of ")
        assert "http://127.0.0.1:" in served.said[-1]
        assert served.client.get("/").status_code == 200
        (worker,) = served.workers
        assert served.end() == 128 + signal.SIGTERM
        wait_until(lambda: not Path(f"/proc/{worker}").exists())


def test_work_is_finished_before_it_ends(start):
    with start() as served:
        asking = Asking(
            served, "/shrink?bytes=900&effort=high&format=best", codecs.encode(photo(60, 80), "png")
        )
        assert served.end(signal.SIGINT) == 128 + signal.SIGINT
        asking.join()
        assert asking.answer.status_code == 200
        assert asking.answer.headers["content-type"].startswith("image/")


def test_work_that_takes_longer_is_refused_when_the_time_is_over(start):
    with start("--grace", "0.5") as served:
        asking, (worker,) = Asking(served, HARD, large()), served.workers
        began = time.monotonic()
        assert served.end() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 10
        asking.join()
        assert asking.answer.status_code == 503
        assert "the server is ending" in asking.answer.json()["detail"]
        assert not Path(f"/proc/{worker}").exists()


def test_a_second_signal_ends_it_at_once(start):
    with start() as served:
        asking, (worker,) = Asking(served, HARD, large()), served.workers
        served.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        began = time.monotonic()
        assert served.end(signal.SIGINT) == 128 + signal.SIGINT
        assert time.monotonic() - began < 10
        asking.join()
        wait_until(lambda: not Path(f"/proc/{worker}").exists())


def test_a_slow_body_and_long_work_are_given_up(start):
    with start("--seconds", "1") as served:
        url = served.client.base_url
        slow = socket.create_connection((url.host, url.port), timeout=30)
        slow.sendall(b"POST /shrink HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        with slow, slow.makefile("rb") as stream:
            answer = stream.read()  # until it is closed
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"the body did not arrive in 1 seconds" in answer
        (worker,) = served.workers
        late = served.client.post(HARD, content=large())
        assert (late.status_code, late.headers["content-type"]) == (503, "application/problem+json")
        assert "took more than 1 seconds" in late.json()["detail"]
        assert not Path(f"/proc/{worker}").exists()
        assert served.client.get("/healthz").status_code == 200


def test_killed_it_leaves_no_worker_behind(start):
    with start() as served:
        asking, (worker,) = Asking(served, HARD, large()), served.workers
        time.sleep(1)  # it is at work now
        served.process.kill()
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), 5)
        asking.join()


def test_whoever_reaches_the_machine_is_warned_of_and_connections_are_bounded(start):
    with start("--host", "0.0.0.0", "--connections", "3") as served:
        assert served.said[0].startswith("bdflow: warning: 0.0.0.0 is not this machine's alone")
        assert "no TLS" in served.said[0]
        url = served.client.base_url
        others = [socket.create_connection((url.host, url.port)) for _ in range(3)]
        wait_until(lambda: httpx.get(url.join("/healthz")).status_code == 503)
        for other in others:
            other.close()
        wait_until(lambda: httpx.get(url.join("/healthz")).status_code == 200)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("none",), "none: there is no such folder"),
        ((".", "--web", "."), "holds no element.js"),
        ((".", "--host", "192.0.2.1"), "192.0.2.1, port 8000: cannot listen there"),
        ((".", "--host", "no host"), "no host, port 8000: cannot listen there"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_line(shell, options, why):
    status, out, err = shell("serve", *options)
    assert (status, out) == (1, b"")
    assert why in err
    assert err.count("\n") == 1


def test_a_port_that_is_taken(shell):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, _, err = shell("serve", ".", "--port", taken.getsockname()[1])
    assert (status, err.count("\n")) == (1, 1)
    assert "cannot listen there" in err


def test_what_it_needs_is_named(shell, monkeypatch):
    monkeypatch.setattr("bdflow.system.extras.find_spec", lambda name: name != "uvicorn" or None)
    status, _, err = shell("serve", ".")
    assert (status, err) == (1, 'bdflow: this needs uvicorn: pip install "bdflow[serve]"\n')


def test_without_a_built_package_it_says_so(shell, monkeypatch, tmp_path):
    monkeypatch.setattr("bdflow.server.run._CHECKOUT", tmp_path / "none")
    monkeypatch.setattr("bdflow.server.run._Server.run", lambda *_: None)
    _, _, err = shell("serve", ".", "--port", 0)
    assert "no built web package: the page shows the small files as they are" in err
