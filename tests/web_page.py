"""A site of the JavaScript package under a strict Content-Security-Policy, and pages of it in Chromium.

The fixtures `site` and `opened` in conftest.py are made of it.
"""

import contextlib
import functools
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from thumbnails import photo, thumbnail

ROOT = Path(__file__).parents[1]
VECTORS = Path(__file__).parent / "vectors"
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self';"
    " img-src 'self' blob:; style-src 'self'"
)
SMALL = thumbnail(photo(90, 120), "WebP", 3)
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="icon.webp">
<script type="module" src="page.js"></script><body>"""
SCRIPT = """import "./bdflow/element.js"; import { configure } from "./bdflow/index.js";
configure({ weights: "weights", for: "fidelity" });
window.heard = [];
for (const name of ["bdprogress", "bdrestored", "bderror"])
  addEventListener(name, ({ target, detail }) => heard.push([name, target.id, String(detail.error)]));"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Every answer carries the policy."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".avif": "image/avif"}

    def end_headers(self):
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(folder: Path):
    """A folder that is served, and its address."""
    if not all(map(shutil.which, ("node", "clang", "wasm-ld"))):
        pytest.skip("<bd-img> was not tested: its kernels need node, clang and lld")
    subprocess.run(["node", "build.js", "kernels"], cwd=ROOT / "web", check=True)
    (folder / "bdflow").symlink_to(ROOT / "web" / "src")
    (folder / "vectors").symlink_to(VECTORS)
    shutil.copytree(VECTORS / "int8", folder / "weights")
    for name in ("small.webp", "icon.webp"):
        (folder / name).write_bytes(SMALL.data)
    (folder / "page.js").write_text(SCRIPT)
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def opening(browser, site):
    """Opens a page of some HTML; what it complains of, but for what is expected, fails the test."""
    folder, address = site
    with contextlib.ExitStack() as contexts:

        def load(html: str, *, expected: str | None = None, **settings):
            (folder / "index.html").write_text(PAGE + html)
            context = browser.new_context(viewport={"width": 600, "height": 500}, **settings)
            contexts.callback(context.close)
            view, said = context.new_page(), []
            view.on("pageerror", lambda error: said.append(str(error)))
            view.on("console", lambda message: said.append(message.text))
            contexts.callback(_complain, said, expected)
            view.goto(f"{address}/index.html")
            return view

        yield load


def _complain(said: list[str], expected: str | None) -> None:
    assert [text for text in said if not expected or expected not in text] == []


def image(name: str = "small.webp", more: str = "", size: str = 'width="120" height="90"') -> str:
    return f'<bd-img {more}><img src="{name}" {size} alt="waves"></bd-img>'


def natural(view) -> list[int]:
    return view.locator("img").first.evaluate("image => [image.naturalWidth, image.naturalHeight]")


def wait(view, name: str, count: int = 1) -> list:
    """Until so many events were heard; the page's policy forbids playwright's own way."""
    for _ in range(600):
        heard = [each for each in view.evaluate("() => window.heard ?? []") if each[0] == name]
        if len(heard) >= count:
            return heard
        view.wait_for_timeout(50)
    raise AssertionError(f"heard only {view.evaluate('() => window.heard')}")
