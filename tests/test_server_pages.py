"""`bdflow serve`: the folder's files and page, who may read what, and what is said beside it."""

import io
import os
from pathlib import Path

import httpx
import pytest
from serving import ask, serving
from small_files import small
from thumbnails import coded, photo, thumbnail

from bdflow import zoo
from bdflow.pictures import codecs
from bdflow.server.edge import HEADERS
from bdflow.server.folder import PICTURES
from bdflow.smallfile import container

ROOT = Path(__file__).parents[1]
VECTORS = Path(__file__).parent / "vectors"
ORIGIN = "https://example.org"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Small files, and what must not be had."""
    folder = tmp_path_factory.mktemp("served") / "small"
    (folder / "deep" / "er").mkdir(parents=True)
    outside = folder.parent / "outside.webp"
    outside.write_bytes(b"secret")
    picture = photo()
    for name, kind in (("a.bd.webp", "WebP"), ("b & <c>.jpg", "JPEG"), ("deep/er/d.avif", "AVIF")):
        (folder / name).write_bytes(thumbnail(picture, kind).data)
    (folder / "own.avif").write_bytes(coded(picture, "AVIF"))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 of no use")
    (folder / "notes.txt").write_text("not for the page")
    for hidden in (".hidden.webp", "deep/.git/e.webp"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(thumbnail(picture).data)
    (folder / "out.webp").symlink_to(outside)
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    (folder / "ring.webp").symlink_to("ring.webp")
    os.mkfifo(folder / "pipe.webp")
    return folder


def test_the_page_shows_every_small_file_at_the_photographs_size(folder):
    text = ask(folder, "GET", "/").text
    assert text.count("<bd-img>") == 3
    size = 'width="52" height="40" loading="lazy"'
    assert f'<bd-img><img src="files/a.bd.webp" {size} alt="a.bd.webp"></bd-img>' in text
    assert f'<img src="files/b%20%26%20%3Cc%3E.jpg" {size} alt="b &amp; &lt;c&gt;.jpg">' in text
    assert f'<img src="files/deep/er/d.avif" {size} alt="deep/er/d.avif">' in text
    assert "<script" not in text
    assert "4 pictures" in text
    assert '<figure>\n<img src="files/own.avif" width="52" height="40"' in text
    for address in ("page.css", "icon.svg", "files/b%20%26%20%3Cc%3E.jpg"):
        assert ask(folder, "GET", f"/{address}").status_code == 200


def test_a_changed_file_is_shown_as_it_is_now(tmp_path):
    path = tmp_path / "a.webp"
    for height in (40, 44):
        path.write_bytes(thumbnail(photo(height)).data)
        os.utime(path, (height, height))
        assert f'height="{height}"' in ask(tmp_path, "GET", "/").text


def test_many_small_files_take_several_pages(tmp_path):
    data = thumbnail(photo()).data
    for number in range(61):
        (tmp_path / f"{number:02}.webp").write_bytes(data)
    first, second = (ask(tmp_path, "GET", "/", params={"page": page}).text for page in "12")
    assert (first.count("<bd-img>"), second.count("<bd-img>")) == (60, 1)
    assert 'Page 1 <a href="?page=2">2</a>' in first
    assert 'alt="60.webp"' in second
    for page in ("0", "3", "-1", "x", "٣", "9" * 20):
        assert ask(tmp_path, "GET", "/", params={"page": page}).status_code == 404


def test_an_empty_folder_has_a_page(tmp_path):
    assert "0 pictures" in ask(tmp_path, "GET", "/").text


@pytest.mark.parametrize(("ending", "kind"), PICTURES.items())
def test_pictures_have_their_types(tmp_path, ending, kind):
    (tmp_path / f"A{ending.upper()}").write_bytes(b"123")
    answer = ask(tmp_path, "GET", f"/files/A{ending.upper()}")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, kind, b"123")


@pytest.mark.parametrize(
    "path",
    [
        "../outside.webp", "%2e%2e/outside.webp", "..%2foutside.webp", "%2e%2e%2foutside.webp",
        "..%5coutside.webp", "deep/../../outside.webp", "deep/..%2f..%2foutside.webp",
        "%252e%252e/outside.webp", "up/outside.webp", "out.webp", "//outside.webp", "{outside}",
        "up/small/a.bd.webp/../../../outside.webp", "%2f{outside}", ".hidden.webp", "deep/.git/e.webp",
        "deep/%2egit/e.webp", "notes.txt", "", "deep", "deep/", "ring.webp",
        "pipe.webp", "a%00.webp", "%00", "none.webp", "a.bd.webp/x.webp", "n" * 300 + ".webp",
        "%ff.webp", "/".join(["x"] * 2000) + ".webp",
    ],
)  # fmt: skip
def test_nothing_else_is_had(folder, path):
    path = path.replace("{outside}", str(folder.parent / "outside.webp"))
    answer = ask(folder, "GET", httpx.URL(f"http://test/files/{path}") if path else "/files/")
    raw = answer.request.url.raw_path.decode()
    assert answer.status_code == 404, raw
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"secret" not in answer.content
    assert str(folder) not in answer.text


def test_what_the_system_refuses_is_not_there(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr("bdflow.server.folder.StaticFiles.lookup_path", refuse)
    assert ask(folder, "GET", "/files/a.bd.webp").status_code == 404


def test_what_a_client_has_is_not_sent_again(folder):
    whole = ask(folder, "GET", "/files/a.bd.webp")
    assert whole.headers["cache-control"] == "no-cache"
    for sent in (
        {"if-none-match": whole.headers["etag"]},
        {"if-modified-since": whole.headers["last-modified"]},
    ):
        answer = ask(folder, "GET", "/files/a.bd.webp", headers=sent)
        assert (answer.status_code, answer.content) == (304, b"")
    assert ask(folder, "GET", "/files/a.bd.webp", headers={"if-none-match": '"other"'}).status_code == 200


def test_parts_and_heads(folder):
    whole = ask(folder, "GET", "/files/a.bd.webp").content
    part = ask(folder, "GET", "/files/a.bd.webp", headers={"range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(whole)}"
    head = ask(folder, "HEAD", "/files/a.bd.webp")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(whole)))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200), ("GET", "/page.css", 200), ("GET", "/files/a.bd.webp", 200),
        ("GET", "/models", 200), ("GET", "/healthz", 200), ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200), ("GET", "/none", 404), ("DELETE", "/", 405),
        ("GET", "/shrink", 405), ("POST", "/files/a.bd.webp", 405),
        ("POST", "/shrink?bytes=x", 400), ("POST", "/shrink", 422),
    ],
)  # fmt: skip
def test_every_answer_has_the_headers_of_safety(folder, method, path, status):
    answer = ask(folder, method, path)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in answer.headers
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["status"], set(problem)) == (status, {"type", "title", "status", "detail"})
    if status == 405:
        assert answer.headers["allow"]


def test_a_fault_of_the_servers_is_told_without_its_reason(folder, monkeypatch):
    def fail(*_):
        raise RuntimeError(f"{folder} is at fault")

    monkeypatch.setattr("bdflow.server.app.page", fail)
    answer = ask(folder, "GET", "/")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "fault of the server" in answer.json()["detail"]
    assert str(folder) not in answer.text


def test_other_pages_may_read_small_files_where_it_is_allowed(folder):
    def allowed(path: str, origin: str, *origins: str) -> tuple[str | None, str]:
        headers = ask(folder, "GET", path, headers={"origin": origin}, origins=origins).headers
        return headers.get("access-control-allow-origin"), headers["cross-origin-resource-policy"]

    assert allowed("/files/a.bd.webp", ORIGIN) == (None, "same-origin")
    assert allowed("/files/a.bd.webp", ORIGIN, ORIGIN) == (ORIGIN, "cross-origin")
    assert allowed("/files/a.bd.webp", "https://other.org", ORIGIN)[0] is None
    assert allowed("/files/a.bd.webp", ORIGIN, "*") == ("*", "cross-origin")
    assert allowed("/models", ORIGIN, "*") == (None, "same-origin")


def test_the_built_package_is_served_with_the_networks_of_the_page(folder, tmp_path):
    (tmp_path / "element.js").write_text("export {}")
    (tmp_path / "ort").mkdir()
    (tmp_path / "ort" / "some.wasm").write_bytes(b"\0asm")
    (tmp_path / "page.html").write_text("no module")
    assert (
        '<script type="module" src="bdflow/element.js"></script>'
        in ask(folder, "GET", "/", web=tmp_path).text
    )
    for path, kind in (("element.js", "text/javascript"), ("ort/some.wasm", "application/wasm")):
        answer = ask(folder, "GET", f"/bdflow/{path}", web=tmp_path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    manifest = ask(folder, "GET", "/bdflow/weights/restoration-light.json", web=tmp_path).json()
    weights = ask(folder, "GET", f"/bdflow/weights/{manifest['file']}", web=tmp_path)
    assert len(weights.content) == manifest["bytes"]
    assert "immutable" in weights.headers["cache-control"]
    for path in ("page.html", "weights/none.json", "weights/restoration-light-0.safetensors", "weights/x"):
        assert ask(folder, "GET", f"/bdflow/{path}", web=tmp_path).status_code == 404
    assert ask(folder, "GET", "/bdflow/element.js").status_code == 404


def test_pngs_are_restored_where_their_runtime_is(tmp_path):
    (tmp_path / "element.js").touch()
    folder = tmp_path / "small"
    folder.mkdir()
    small().save(folder / "a.png")
    assert "ort.js" not in ask(folder, "GET", "/", web=tmp_path).text
    (tmp_path / "ort.js").touch()
    assert '<script type="module" src="bdflow/ort.js"></script>' in ask(folder, "GET", "/", web=tmp_path).text


def test_models_are_listed(folder):
    models = ask(folder, "GET", "/models").json()
    assert [model["name"] for model in models if model["scale"]] == zoo.names()
    look = next(model for model in models if model["name"] == "restoration-look")
    found = zoo.find("restoration-look")
    assert look == {
        "name": "restoration-look", "scale": None, "bytes": found.size, "weights": found.weights_sha256
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.*[!n]")), ids=lambda path: path.name)
def test_the_photographs_size_is_known_before_pixels_are(path):
    with path.open("rb") as stream:
        assert container.photograph_size(stream) == container.read(path).size


def test_a_png_tells_its_photographs_size():
    png = small()
    assert container.photograph_size(io.BytesIO(png.to_bytes())) == png.size
    assert container.photograph_size(io.BytesIO(codecs.encode(photo(), "png"))) is None


def test_in_chromium_the_page_restores_them_by_the_policy(browser, site, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "a.webp").write_bytes(thumbnail(photo(90, 120), "WebP", 3).data)
    with serving(folder, "--web", ROOT / "web" / "src", program=tmp_path / "serve.py") as served:
        context = browser.new_context()
        view, said = context.new_page(), []
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.goto(str(served.client.base_url))
        image = view.locator("bd-img img")
        for _ in range(300):
            if image.evaluate("image => image.currentSrc").startswith("blob:"):
                break
            view.wait_for_timeout(50)
        assert image.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [120, 90]
        assert view.evaluate("() => crossOriginIsolated")
        assert said == []
        context.close()
