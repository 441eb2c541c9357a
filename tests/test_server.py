"""`bdflow serve`: shrinking and restoring over HTTP, and all that is refused."""

import contextlib
import http.client
import io
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
import schemathesis
from PIL import Image
from serving import application, ask, serving, wait_until
from thumbnails import coded, photo, thumbnail

import bdflow
from bdflow import zoo
from bdflow.pictures import codecs
from bdflow.server.limits import Limits
from bdflow.server.work import Answer
from bdflow.smallfile import container

PHOTO = codecs.encode(photo(), "png")
MOST = 50_000  # bytes of a body
PIXELS = 100_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "small"
    folder.mkdir()
    (folder / "a.webp").write_bytes(thumbnail(photo()).data)
    (folder.parent / "outside.webp").write_bytes(b"secret")
    return folder


@pytest.fixture(scope="module")
def served(folder):
    options = ("--jobs", 1, "--queue", 1, "--max-bytes", MOST, "--max-pixels", PIXELS)
    with serving(folder, *options, program=folder.parent / "serve.py") as served:
        yield served


def metric(served, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", served.client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0


def problem(answer: httpx.Response, status: int) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status
    return answer.json()["detail"]


def test_a_photograph_there_and_back(served):
    small = served.client.post("/shrink", content=PHOTO, params={"bytes": 400, "format": "webp"})
    assert (small.status_code, small.headers["content-type"]) == (200, "image/webp")
    assert len(small.content) <= 400
    assert small.headers["cache-control"] == "no-store"
    assert container.read(small.content).size == (52, 40)
    restored = served.client.post("/restore", content=small.content)
    assert (restored.status_code, restored.headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(restored.content)) as image:
        np.testing.assert_array_equal(image, bdflow.upscale(small.content, threads=1))
    with Image.open(io.BytesIO(PHOTO)) as image:
        expected = bdflow.fit(image, max_bytes=400, format="WebP", threads=1)
    assert small.content == expected.data


@pytest.mark.parametrize(
    ("query", "format", "most"),
    [
        ({}, "AVIF", None), ({"quality": 30, "format": "jpg"}, "JPEG", None), ({"bpp": 3.5}, "AVIF", 910),
        ({"bytes": 700, "format": "best", "effort": "low", "for": "look"}, None, 700),
        ({"bytes": 700, "domain": "plain"}, "AVIF", 700),
    ],
)  # fmt: skip
def test_what_can_be_asked_of_a_small_file(served, query, format, most):
    answer = served.client.post("/shrink", content=PHOTO, params=query)
    assert answer.status_code == 200, answer.text
    assert most is None or len(answer.content) <= most
    kind = Image.open(io.BytesIO(answer.content)).format
    assert format in (None, kind)
    assert answer.headers["content-type"] == f"image/{kind.lower()}"


@pytest.mark.parametrize("query", [{"for": "look"}, {"format": "jpg", "quality": 80}, {"format": "webp"}])
def test_what_can_be_asked_of_a_photograph(served, query):
    small = thumbnail(photo()).data
    answer = served.client.post("/restore", content=small, params=query)
    expected = bdflow.upscale(small, purpose=query.get("for", "fidelity"), threads=1)
    format = query.get("format", "png")
    data = io.BytesIO()
    codecs.save(expected, data, format, query.get("quality"))
    assert answer.headers["content-type"] == {"jpg": "image/jpeg"}.get(format, f"image/{format}")
    with Image.open(io.BytesIO(answer.content)) as got, Image.open(data) as wanted:
        np.testing.assert_array_equal(got, wanted)


def test_a_thumbnail_that_lost_its_payload_is_restored_by_its_scale_and_that_is_said(served):
    lost = coded(photo(), "WebP", 2)
    restored = served.client.post("/restore", content=lost, params={"scale": 2, "domain": "portraits"})
    assert Image.open(io.BytesIO(restored.content)).size == (52, 40)
    assert "taken for a thumbnail, 1/2 each way" in restored.headers["bdflow-notes"]


def test_notes_are_plain_ascii(served):
    picture = Image.fromarray(photo().rgb).convert("CMYK")
    data = io.BytesIO()
    picture.save(data, "JPEG")
    answer = served.client.post("/shrink", content=data.getvalue(), params={"quality": 20})
    assert answer.headers["bdflow-notes"] == "CMYK converted to RGB"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("shrink?bytes=0", "Expected `int` >= 1 - at `$.bytes`"), ("shrink?bytes=3k", "Expected `int`"),
        ("shrink?bpp=nan", "Expected `float` > 0"), ("shrink?quality=101", "<= 100"),
        ("shrink?format=gif", "Invalid enum value 'gif'"), ("shrink?width=3", "unknown field `width`"),
        ("shrink?bytes=3&bytes=4", "a parameter twice"), ("shrink?format=best", "name a number"),
        ("shrink?bytes=3&bpp=1", "bytes and bpp each say how small"),
        ("shrink?format=jpg&quality=0", "the quality of JPEG is 1 to 100"),
        ("restore?for=money", "Invalid enum value 'money'"), ("restore?scale=5", "a scale is one of 1, 1.5"),
        ("restore?domain=photos", "name its scale"), ("restore?quality=3", "png is lossless"),
    ],
)  # fmt: skip
def test_wrong_queries_are_refused_with_the_reason(folder, path, why):
    assert why in problem(ask(folder, "POST", f"/{path}", content=PHOTO), 400)


@pytest.mark.parametrize(
    ("path", "content", "why"),
    [
        ("shrink", b"no picture", "no picture that bdflow reads"), ("shrink", b"", "the body is empty"),
        ("shrink", PHOTO[:300], "damaged"), ("shrink?bytes=20", PHOTO, "bytes"),
        ("shrink", codecs.encode(photo(320, 320), "jpg", 1), "more than 100,000 pixels"),
        ("shrink?format=jpg", codecs.encode(photo(alpha=True), "png"), "JPEG cannot hold transparency"),
        ("restore", b"no picture", "no picture that bdflow reads"),
        ("restore", thumbnail(photo(400, 300), factor=8).data, "more than 100,000 pixels"),
        ("restore", PHOTO, "no bdflow chunk in this file"),
        ("restore?format=jpg", thumbnail(photo(alpha=True)).data, "cannot hold transparency"),
    ],
)  # fmt: skip
def test_bodies_that_are_nothing_for_it_are_refused_with_the_reason(served, path, content, why):
    told = problem(served.client.post(path, content=content), 422)
    assert why in told
    assert "\n" not in told
    assert "/" not in told.replace("1/", "")


def chunks(count: int, size: int = 10_000):
    for _ in range(count):
        yield bytes(size)


def test_a_large_body_is_cut_off(served):
    before = metric(served, "bdflow_body_bytes_total")
    why = "the body has more than 50,000 bytes"
    assert why in problem(served.client.post("/shrink", content=bytes(MOST + 1)), 413)
    assert why in problem(served.client.post("/shrink", content=chunks(6)), 413)
    assert "no picture" in problem(served.client.post("/shrink", content=chunks(5)), 422)
    assert metric(served, "bdflow_body_bytes_total") - before == MOST


def test_a_client_that_goes_on_sending_hears_the_refusal_and_is_cut_off(served):
    connection = started(served, "Transfer-Encoding: chunked")
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - began < 30:
            connection.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
            time.sleep(0.01)
    assert time.monotonic() - began < 20
    connection.close()
    whole = started(served, "Content-Length: 999999999")
    answer = whole.recv(10_000)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer
    whole.close()


def started(served, *headers: str, path: str = "/shrink") -> socket.socket:
    """A connection whose body is still to come."""
    url = served.client.base_url
    connection = socket.create_connection((url.host, url.port), timeout=30)
    lines = [f"POST {path} HTTP/1.1", "Host: test", *headers]
    connection.sendall("\r\n".join((*lines, "", "")).encode())
    return connection


def test_as_many_wait_as_may_and_the_next_is_told_when_to_come_again(served):
    waiting = [started(served, "Content-Length: 10") for _ in range(2)]
    wait_until(lambda: metric(served, "bdflow_held") == 2)
    answer = served.client.post("/restore", content=PHOTO)
    assert "2 pictures wait or are worked on" in problem(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1
    assert served.client.get("/healthz").json() == {"status": "ok", "version": bdflow.__version__}
    for connection in waiting:
        connection.close()
    wait_until(lambda: metric(served, "bdflow_held") == 0)
    assert metric(served, 'bdflow_answers_total{path="shrink",status="499"}') >= 2
    assert metric(served, 'bdflow_answers_total{path="restore",status="429"}') == 1
    assert served.client.post("/shrink", content=PHOTO).status_code == 200


def test_paths_as_no_client_writes_them(served):
    url = served.client.base_url
    for path in (
        "/files/../outside.webp",
        "/files/a.webp/../../outside.webp",
        "/../outside.webp",
        "//etc/passwd",
    ):
        connection = http.client.HTTPConnection(url.host, url.port)
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == 404
        assert b"secret" not in answer.read()
        connection.close()


def test_metrics_count_what_was_asked_for(served):
    name, every = 'bdflow_answers_total{path="files",status="200"}', 'bdflow_seconds_count{path="files"}'
    before, answers = metric(served, name), metric(served, every)
    assert served.client.get("/files/a.webp").status_code == 200
    served.client.get("/made/up/by/a/client")
    assert metric(served, name) == before + 1
    text = served.client.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=")
    assert "made" not in text.text
    assert metric(served, every) == answers + 1
    assert metric(served, "process_resident_memory_bytes") > 1e7


def test_work_of_a_client_that_left_is_ended(served):
    killed, (before,) = metric(served, "bdflow_killed"), served.workers
    large = np.random.default_rng(0).integers(0, 256, (300, 330, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(large).save(data, "JPEG", quality=60)
    assert len(data.getvalue()) < MOST
    length = f"Content-Length: {len(data.getvalue())}"
    connection = started(served, length, path="/shrink?bytes=2000&effort=high&format=best")
    connection.sendall(data.getvalue())
    wait_until(lambda: metric(served, "bdflow_working") == 1)
    connection.close()
    wait_until(lambda: metric(served, "bdflow_working") == 0)
    assert metric(served, "bdflow_killed") == killed + 1
    assert served.client.post("/shrink", content=PHOTO).status_code == 200
    assert before not in served.workers


def test_the_description_is_valid_and_tells_every_parameter(folder):
    app = application(zoo.BUILT_IN, folder)
    schemathesis.openapi.from_asgi("/openapi.json", app.asgi).validate()
    paths = ask(folder, "GET", "/openapi.json").json()["paths"]
    assert set(paths) == {"/shrink", "/restore", "/models", "/openapi.json", "/healthz", "/metrics"}
    names = [each["name"] for each in paths["/shrink"]["post"]["parameters"]]
    assert names == ["for", "bytes", "bpp", "quality", "format", "domain", "effort"]
    assert all(each["description"] for each in paths["/restore"]["post"]["parameters"])
    scale = next(each for each in paths["/restore"]["post"]["parameters"] if each["name"] == "scale")
    assert scale["schema"]["enum"] == [1, 1.5, 2, 3, 4, 6, 8, 12, 16]
    assert {"400", "408", "413", "422", "429", "500", "503"} < set(paths["/shrink"]["post"]["responses"])


def picture_once():
    """What a client sends that stays there."""
    messages = iter([{"type": "http.request", "body": b"picture"}])

    async def receive():
        return next(messages, None) or await anyio.sleep_forever()

    return receive


def test_a_place_is_held_until_the_answer_has_been_taken_bit_by_bit(folder, monkeypatch):
    app = application(zoo.BUILT_IN, folder)
    sent, held = [], []

    async def run(*_):
        return Answer("image/png", bytes(range(250)) * 2000, ())

    async def send(message):
        sent.append(message)
        held.append(app.pool.held)

    monkeypatch.setattr(app.pool, "run", run)
    scope = {"type": "http", "method": "POST", "path": "/restore", "query_string": b"", "headers": []}
    anyio.run(app.asgi, scope, picture_once(), send)
    bodies = [message.get("body", b"") for message in sent[1:]]
    assert b"".join(bodies) == bytes(range(250)) * 2000
    assert max(map(len, bodies)) <= 1 << 16
    assert set(held) == {1}
    assert app.pool.held == 0
    assert (b"content-length", b"500000") in sent[0]["headers"]


def test_an_answer_that_nobody_takes_is_given_up(folder, monkeypatch):
    app = application(zoo.BUILT_IN, folder)

    async def run(*_):
        return Answer("image/png", b"1", ())

    monkeypatch.setattr(app.pool, "run", run)
    monkeypatch.setattr(app.pool, "limits", Limits(seconds=0.1))
    scope = {"type": "http", "method": "POST", "path": "/restore", "query_string": b"", "headers": []}

    async def ask() -> None:
        with anyio.fail_after(10):
            await app.asgi(scope, picture_once(), lambda _: anyio.sleep_forever())

    anyio.run(ask)
    assert app.pool.held == 0


@pytest.mark.slow
def test_schemathesis_finds_nothing(served, tmp_path, record_property):
    """Not of what it takes for good: of any bytes it would have a picture made."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.client.base_url}openapi.json",
        "-n", "50", "--seed", "1", "--continue-on-failure", "--exclude-checks", "positive_data_acceptance",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout
    record_property("cases", int(re.search(r"(\d+) generated, \1 passed", done.stdout)[1]))
    assert json.loads(served.client.get("/healthz").text)["status"] == "ok"
