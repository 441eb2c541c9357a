"""What the JavaScript package costs in bytes and processor seconds, and how many pictures pay it back.

    python scripts/web_speed.py MODEL [--trust] [--side 512] [--rounds 8] [--json results/web.json]

Needs node with `npm ci` in web/, clang, lld, and Chromium with playwright. All is measured in one run, on
one thread. ONNX Runtime, the package's kernels in node, and onnxruntime-web there restore decoded pixels.
Chromium does all of it, from the file to pixels, and every process of the browser counts, whatever else it
does. Each figure is the least of its rounds: the others hold what a busy machine made it wait for.

Pictures that pay the download back: by what results/marks.json says a network saves, for equal quality.
"""

import argparse
import functools
import gzip
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

from bdflow import zoo
from bdflow.evaluation.demo import PHOTOGRAPH
from bdflow.pictures import codecs
from bdflow.pictures.reader import Picture
from bdflow.reproduce import marks
from bdflow.reproduce.results import Folder
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import Enhancer, shrunk
from bdflow.smallfile import webp
from bdflow.smallfile.container import read
from bdflow.smallfile.payload import Version2
from bdflow.system.environment import environment
from bdflow.system.files import write_bytes
from bdflow.zoo.web import export_web

ROOT = Path(__file__).parents[1]
WEB = ROOT / "web"
RUNTIME = WEB / "node_modules" / "onnxruntime-web" / "dist"
FACTOR = 2
SMALL_FILE = 2500  # bytes of a picture that pays back
IN_PAGE = """async () => {
  const { restore } = await import("/src/index.js");
  const start = performance.now();
  await restore("/small.webp", { as: "pixels", weights: "/weights", for: "fidelity", backend: "wasm" });
  return performance.now() - start;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", help="a built-in restoration network, or a model folder")
    parser.add_argument("--trust", action="store_true", help="take a folder that did not come with bdflow")
    parser.add_argument("--side", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = zoo.find(arguments.model, trust=arguments.trust)
    subprocess.run(["node", "build.js"], cwd=WEB, check=True)
    rows = [measure(model, side, arguments.rounds) for side in arguments.side]
    random = model.metadata["training"]["data"].startswith("none")  # one that stands in for another
    result = {
        "model": model.name,
        "random weights": random,
        "config": model.metadata["model"],
        "settings": {"sides": arguments.side, "rounds": arguments.rounds, "factor": FACTOR},
        "bytes": sizes(model),
        "speed": rows,
    }
    result |= {"payback": paybacks(model), "environment": environment()}
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    if arguments.json:
        write_bytes(arguments.json, text.encode(), overwrite=True)


def sizes(model: zoo.Model) -> dict[str, int]:
    """Bytes that a page fetches once, gzipped but for the weights, which hardly shrink."""
    code = [path for path in (WEB / "dist").glob("*.js") if not path.name.startswith("ort")]
    kernels = (WEB / "src" / "kernels.js").read_bytes()
    runtime = [RUNTIME / "ort.wasm.bundle.min.mjs", RUNTIME / "ort-wasm-simd-threaded.wasm"]
    with tempfile.TemporaryDirectory() as folder:
        weights = json.loads(export_web(model, Path(folder)).read_text())["bytes"]
    zipped = [sum(len(gzip.compress(path.read_bytes(), 9)) for path in paths) for paths in (code, runtime)]
    return {
        "code": zipped[0],
        "kernels alone": len(gzip.compress(kernels, 9)),
        "weights": weights,
        "onnxruntime-web": zipped[1],
    }


def paybacks(model: zoo.Model) -> list[dict[str, object]]:
    """After how many files the download is paid back, for each network that was measured in marks.json.

    A file of `SMALL_FILE` bytes stands for a plain codec's of more; the difference is what it saves.
    """
    table = Folder.at(ROOT / "results").tables.get("marks")
    found: list[dict[str, object]] = []
    counted = {model.name: sizes(model)}
    for of_set, rows in table.by_set() if table else ():
        for name in dict.fromkeys([model.name, *marks.models(rows)]):
            shares = {
                key: 1 + saved.mean / 100
                for key in marks.COMPARED
                if (saved := marks.saving(rows, name, key))
            }
            if by_eye := marks.share(rows, name):
                shares["lpips"] = by_eye.mean
            if not shares:
                continue
            own = counted.get(name) or counted.setdefault(name, sizes(zoo.find(name)))
            download = own["code"] + own["weights"]
            for key, share in shares.items():
                saved_bytes = SMALL_FILE / share - SMALL_FILE
                pictures = round(download / saved_bytes) if saved_bytes > 0 else None
                row = {"set": of_set, "model": name, "measure": key, "share": round(share, 3)}
                found.append(row | {"file": SMALL_FILE, "download": download, "pictures": pictures})
    return found


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
        script = ["node", "speed.js", small, folder / "pixels", numbers, model.folder, str(rounds)]
        done = subprocess.run(script, cwd=WEB, capture_output=True, check=True)
        node, in_wasm = (min(each) for each in json.loads(done.stdout).values())
        browser, waited = in_chromium(folder, rounds)
        native += [seconds_of(os.getpid(), lambda: enhancer.restore(thumbnail)) for _ in range(rounds)]
    return {
        "side": side,
        "onnxruntime": round(min(native), 4),
        "onnxruntime-web in node": round(in_wasm, 4),
        "ours in node": round(node, 4),
        "ours in chromium": round(browser, 4),
        "chromium waited": round(waited, 4),
        "onnxruntime-web / ours": round(in_wasm / node, 2),
        "ours / onnxruntime": round(node / min(native), 2),
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
