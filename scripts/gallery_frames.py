"""Two frames of the page of `make web`, one above the other: as it is fetched, and restored.

    python scripts/gallery_frames.py build/web docs/gallery.webp [--pictures 3]

Needs Chromium with playwright. The page must be there (`make web`).
"""

import argparse
import functools
import http.server
import io
import shutil
import threading
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

MOST = 60_000  # bytes
STYLE = """#pictures { grid-template-columns: repeat(%d, 1fr) !important }
figure label, figcaption { display: none !important }"""
RESTORED = "(count) => [...document.images].filter((image) => image.src.startsWith('blob:')).length >= count"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", type=int, default=3)
    arguments = parser.parse_args()
    handler = functools.partial(Quiet, directory=str(arguments.page))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    with sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        frames = [
            frame(browser, address, arguments.pictures, restored=restored) for restored in (False, True)
        ]
        browser.close()
    server.shutdown()
    width, height = frames[0].size
    both = Image.new("RGB", (width, 2 * height + 4), "white")
    for number, each in enumerate(frames):
        both.paste(each, (0, number * (height + 4)))
    for quality in range(90, 20, -5):
        buffer = io.BytesIO()
        both.save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() <= MOST:
            break
    arguments.out.write_bytes(buffer.getvalue())
    print(f"{arguments.out}: {buffer.tell():,} bytes, {both.width}x{both.height}")


def frame(browser: Browser, address: str, count: int, *, restored: bool) -> Image.Image:
    """The first row of the gallery."""
    size = {"width": 340 * count, "height": 600}
    view = browser.new_page(viewport=size, bypass_csp=True)
    if not restored:
        view.route("**/weights/*", lambda route: route.abort())
    view.goto(address)
    view.add_style_tag(content=STYLE % count)
    while restored and not view.evaluate(RESTORED, count):
        view.wait_for_timeout(200)
    boxes = [view.locator("#pictures .pair").nth(place).bounding_box() for place in range(count)]
    left, top = boxes[0]["x"], boxes[0]["y"]
    right = boxes[-1]["x"] + boxes[-1]["width"]
    clip = {"x": left, "y": top, "width": right - left, "height": boxes[0]["height"]}
    return Image.open(io.BytesIO(view.screenshot(clip=clip))).convert("RGB")


if __name__ == "__main__":
    main()
