"""How fast the JavaScript package restores, beside ONNX Runtime on one thread: processor seconds, in one run.

    python scripts/web_speed.py MODEL [--side 512] [--rounds 8] [--json FILE]

Needs node, clang, lld, and Chromium with playwright. ONNX Runtime and node restore decoded pixels. Chromium
does all of it, from the file to pixels, and every process of the browser counts, whatever else it does. Each
figure is the least of its rounds: the others hold what a busy machine made it wait for.
"""

import argparse
import functools
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from bdflow import codecs, zoo
from bdflow.computing import Computing
from bdflow.container import read
from bdflow.demo import PHOTOGRAPH
from bdflow.enhancer import Enhancer, shrunk
from bdflow.environment import environment
from bdflow.files import write_bytes
from bdflow.images import Picture
from bdflow.smallfile import webp
from bdflow.smallfile.payload import Version2
from bdflow.web import export_web

WEB = Path(__file__).parents[1] / "web"
FACTOR = 2
IN_PAGE = """async () => {
  const { restore } = await import("/src/index.js");
  const start = performance.now();
  await restore("/small.webp", { as: "pixels", weights: "/weights" });
  return performance.now() - start;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="a built-in restoration network, or a model folder that you trust")
    parser.add_argument("--side", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = zoo.find(arguments.model, trust=True)
    subprocess.run(["node", "build.js", "kernels"], cwd=WEB, check=True)
    rows = [measure(model, side, arguments.rounds) for side in arguments.side]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if arguments.json:
        result = {"model": model.name, "config": model.metadata["model"], "rows": rows}
        text = json.dumps(result | {"environment": environment()}, indent=1)
        write_bytes(arguments.json, text.encode() + b"\n", overwrite=True)


def measure(model: zoo.Model, side: int, rounds: int) -> dict[str, float]:
    """Seconds of the processor that a square photograph takes, and their ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        small = folder / "small.webp"
        with Image.open(PHOTOGRAPH) as photograph:
            pixels = np.array(photograph.convert("RGB").resize((side, side)))
        coded = codecs.WEBP.encode(shrunk(Picture(pixels), FACTOR).to_pil(), 60)
        small.write_bytes(webp.insert(coded, Version2.of((side, side), FACTOR, "portraits").pack()))
        thumbnail = read(small)
        (folder / "pixels").write_bytes(thumbnail.image.to_pil().convert("RGBA").tobytes())
        manifest = export_web(model, folder / "weights")
        numbers = manifest.parent / json.loads(manifest.read_text())["file"]
        manifest.rename(manifest.with_name("restoration-fidelity.json"))
        enhancer = Enhancer(model, Computing(threads=1))
        enhancer.restore(thumbnail)
        native = [seconds_of(os.getpid(), lambda: enhancer.restore(thumbnail)) for _ in range(rounds)]
        script = ["node", WEB / "speed.js", small, folder / "pixels", numbers, str(rounds)]
        node = min(json.loads(subprocess.run(script, capture_output=True, check=True).stdout))
        browser, waited = in_chromium(folder, rounds)
        native += [seconds_of(os.getpid(), lambda: enhancer.restore(thumbnail)) for _ in range(rounds)]
    return {
        "side": side,
        "onnxruntime": round(min(native), 4),
        "node": round(node, 4),
        "chromium": round(browser, 4),
        "chromium waited": round(waited, 4),
        "node / onnxruntime": round(node / min(native), 2),
        "chromium / onnxruntime": round(browser / min(native), 2),
    }


def in_chromium(folder: Path, rounds: int) -> tuple[float, float]:
    """Seconds of the processor, and on the clock, of one restoration."""
    (folder / "src").symlink_to(WEB / "src")
    (folder / "index.html").write_text("<!doctype html>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        view = browser.new_page()
        view.goto(f"http://127.0.0.1:{server.server_port}/")
        view.evaluate(IN_PAGE)  # fetches the weights, and lets the compiler warm up
        view.evaluate(IN_PAGE)
        root = browser_process()
        waits = []
        used = [seconds_of(root, lambda: waits.append(view.evaluate(IN_PAGE))) for _ in range(rounds)]
        browser.close()
    server.shutdown()
    return min(used), min(waits) / 1000


def browser_process() -> int:
    """The Chromium that this process started by way of playwright's own."""
    for process in descendants(os.getpid()):
        command = Path(f"/proc/{process}/cmdline").read_bytes()
        if b"chromium" in command.split(b"\0")[0] and b"--type=" not in command:
            return process
    raise SystemExit("no Chromium found among this script's processes")


def seconds_of(process: int, work) -> float:
    """Processor seconds of a process and those that it started, while some work is done."""
    before = used(process)
    work()
    return used(process) - before


def used(process: int) -> float:
    if process == os.getpid():
        return time.process_time()
    ticks = 0
    for each in (process, *descendants(process)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def descendants(process: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended
    found = [process]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


if __name__ == "__main__":
    main()
