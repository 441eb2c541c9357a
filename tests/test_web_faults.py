"""<bd-img> where things go wrong or go on for long, and what pages of it need of a browser."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from thumbnails import photo, thumbnail
from web_page import ROOT, SMALL, VECTORS, image, natural, opening, wait

WEB = ROOT / "web"
SIXTY = "".join(
    image(more=f'id="i{number}"', size='loading="lazy" width="500" height="375"') for number in range(60)
)


def failed(view) -> list:
    return view.evaluate("() => heard.filter(([name]) => name === 'bderror')")


def test_a_resized_window_restores_what_comes_into_view(opened):
    view = opened(SIXTY)
    wait(view, "bdrestored")
    view.set_viewport_size({"width": 600, "height": 6000})
    wait(view, "bdrestored", 12)  # two were in view before, or nearly so
    view.set_viewport_size({"width": 300, "height": 400})
    view.wait_for_timeout(300)
    assert view.evaluate("() => document.querySelector('img').src").startswith("blob:")
    assert failed(view) == []


def test_on_a_slow_network_thumbnails_stand_and_weights_are_fetched_once(opened):
    view = opened("")
    held = []
    view.context.route("**/*.safetensors", lambda route: held.append(route))
    view.evaluate("html => (document.body.innerHTML = html)", SIXTY)
    for _ in range(600):
        if held:
            break
        view.wait_for_timeout(50)
    view.wait_for_timeout(300)
    assert natural(view) == [40, 30]
    assert view.evaluate("() => heard") == []
    assert len(held) == 1
    held[0].continue_()
    wait(view, "bdrestored", 2)
    assert len(held) == 1
    assert failed(view) == []


def test_a_file_cut_short_is_shown_as_far_as_the_browser_can(opened, site):
    (site[0] / "cut.webp").write_bytes(SMALL.data[:-6])
    view = opened(image("cut.webp") + image(more='id="whole"'))
    assert "the WebP is damaged or cut short" in wait(view, "bderror")[0][2]
    assert natural(view) == [40, 30]
    wait(view, "bdrestored")  # the other one is restored all the same


def test_offline_thumbnails_stand_and_are_restored_when_there_is_a_connection_again(opened):
    view = opened(
        image(more='id="near"') + '<div id="far"></div>' + image(more='id="below"'), expected="ERR_"
    )
    view.evaluate("() => (far.style.height = '3000px')")
    wait(view, "bdrestored")
    view.context.set_offline(True)
    view.evaluate("() => scrollTo(0, 3000)")
    assert "small.webp cannot be fetched (no connection" in wait(view, "bderror")[0][2]
    assert view.locator("#below img").evaluate("image => image.naturalWidth") == 40
    view.context.set_offline(False)
    assert wait(view, "bdrestored", 2)[1][1] == "below"


def resident(kind: str) -> int:
    """Bytes in memory of Chromium's processes of a kind that this process started."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended
    ours = [os.getpid()]
    for each in ours:
        ours += [child for child, parent in parents.items() if parent == each]
    total = 0
    for process in ours:
        if f"--type={kind}" in commands.get(process, ""):
            status = Path(f"/proc/{process}/status").read_text()
            total += 1024 * int(re.search(r"VmRSS:\s+(\d+)", status)[1])
    return total


AGAIN = """async (count) => {
  const { restore } = await import("/bdflow/index.js");
  for (let i = 0; i < count; i++) await restore("/larger.webp");
}"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_does_not_grow_over_two_hundred_restorations(launch, site):
    """But for garbage, which engines collect when they like: here it is collected."""
    (site[0] / "larger.webp").write_bytes(thumbnail(photo(300, 400), "WebP", 3).data)
    browser = launch("--js-flags=--expose-gc")
    with opening(browser, site) as opened:
        view = opened("", expected="No available adapters")

        def used() -> int:
            for _ in range(2):
                for each in (view, *view.workers):
                    each.evaluate("() => gc()")
                view.wait_for_timeout(200)
            return resident("renderer")

        view.evaluate(AGAIN, 20)
        before = used()
        assert before > 10e6
        view.evaluate(AGAIN, 200)
        assert used() - before < 40e6  # 200 photographs are 96 MB
    browser.close()


def test_without_webgpu_the_processor_computes(launch, site):
    browser = launch()
    with opening(browser, site) as opened:
        view = opened(image(), expected="No available adapters")
        wait(view, "bdrestored")
        assert view.evaluate("async () => !(await navigator.gpu?.requestAdapter())")
        said = view.evaluate("""async () => {
          const { restore } = await import("/bdflow/index.js");
          return restore("/small.webp", { backend: "webgpu" }).catch((error) => error.message);
        }""")
        assert said == "this browser gives no WebGPU: leave the backend out"
    browser.close()


# The page of `make web`


@pytest.fixture
def demo(browser, site):
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import gallery
    finally:
        sys.path.pop(0)
    folder, address = site
    out = folder / "demo"
    if not out.exists():
        shutil.copytree(WEB / "src", out / "bdflow")
        shutil.copytree(VECTORS / "int8", out / "bdflow" / "weights")
        for name in ("page.js", "page.css", "page.svg"):
            shutil.copy(WEB / "demo" / name, out)
        figures = []
        for number in range(8):
            files = {kind: Path(f"{number}.{kind}.avif") for kind in ("bd", "plain")}
            (out / files["bd"]).write_bytes(thumbnail(photo(96, 96), "AVIF", 3).data)
            (out / files["plain"]).write_bytes(thumbnail(photo(96, 96), "AVIF", 2, domain="plain").data)
            figures.append(gallery.figure(f"some-{number}", out, files, lazy=number > 5))
        (out / "index.html").write_text(gallery.page(figures, "fidelity"))
    view, said = browser.new_page(viewport={"width": 900, "height": 1700}), []
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("console", lambda message: said.append(message.text))
    view.goto(f"{address}/demo/index.html")
    yield view
    view.close()
    assert said == []


def until(view, condition: str, count: int = 600):
    """Until a condition holds; the page's policy forbids playwright's own way."""
    for _ in range(count):
        if found := view.evaluate(condition):
            return found
        view.wait_for_timeout(50)
    raise AssertionError(f"{condition} never held: {view.inner_text('body')}")


def test_the_gallery_counts_its_bytes_and_compares_by_keyboard(demo):
    each = len(thumbnail(photo(96, 96), "AVIF", 3).data)
    said = until(demo, "() => /^8 pictures restored/.test(total.innerText) && total.innerText")
    count = int(said[0])
    numbers = json.loads((VECTORS / "int8" / "restoration-fidelity.json").read_text())
    assert f"{count * each:,} bytes in all; and once {numbers['bytes']:,} bytes of network" in said
    demo.locator("[type=range]").first.focus()
    for _ in range(40):
        demo.keyboard.press("ArrowRight")
    until(demo, "() => document.querySelector('.rival').complete")
    rival = demo.locator(".rival").first
    assert rival.evaluate("image => [image.hidden, image.style.cssText]") == [False, "--left: 40%;"]
    assert rival.evaluate("image => getComputedStyle(image).clipPath") == "inset(0px 60% 0px 0px)"
    spoken = demo.locator("[type=range]").first.get_attribute("aria-valuetext")
    assert spoken == "restored from 40 % of the width on"
    demo.keyboard.press("Shift+Tab")  # to the radio buttons
    demo.keyboard.press("ArrowDown")
    assert demo.evaluate("() => document.activeElement.value") == "plain"
    until(demo, "() => document.querySelector('.rival').src.startsWith('blob:')")
    assert rival.evaluate("async image => (await image.decode(), image.naturalWidth)") == 96


def test_ones_own_photograph_is_shrunk_beside_plain_codecs(demo, tmp_path):
    photo(90, 120).to_pil().save(tmp_path / "own.png")
    demo.locator("#file").set_input_files(tmp_path / "own.png")
    until(demo, "() => document.querySelector('#state').innerText === 'Done.'", 2000)
    captions = demo.locator("#own figcaption").all_inner_texts()
    assert [each.split(":")[0] for each in captions] == [
        "Your photograph",
        "bdflow, restored",
        "WebP alone",
        "JPEG alone",
    ]
    for caption in captions[1:]:
        assert int(re.search(r": ([\d,]+) bytes", caption)[1].replace(",", "")) <= 4000
        assert caption.endswith("to 120x90")


def test_the_page_has_no_faults_that_axe_finds(demo):
    axe = WEB / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("names and keyboard were not checked: run npm ci in web/")
    until(demo, "() => /^8 pictures restored/.test(total.innerText)")
    demo.evaluate("() => (own.hidden = false)")
    demo.evaluate(axe.read_text() + "; 0")
    violations = demo.evaluate("async () => (await axe.run()).violations")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations] == []


# What npm pack packs


def test_the_package_is_whole_and_runs_as_it_is(opened, site):
    if not (WEB / "node_modules" / "esbuild").is_dir():
        pytest.skip("the built package was not tested: run npm ci in web/")
    subprocess.run(["node", "build.js"], cwd=WEB, check=True, capture_output=True)
    packed = subprocess.run(
        ["npm", "pack", "--json", "--pack-destination", site[0]], cwd=WEB, check=True, capture_output=True
    )
    (report,) = json.loads(packed.stdout)
    names = {entry["path"] for entry in report["files"]}
    package = json.loads((WEB / "package.json").read_text())
    for export in package["exports"].values():
        assert {path.removeprefix("./") for path in export.values()} <= names
    assert {name.split("/")[0] for name in names} == {
        "dist",
        "kernels",
        "package.json",
        "README.md",
        "LICENSE",
    }
    assert report["size"] < 100_000
    subprocess.run(["tar", "xf", report["filename"]], cwd=site[0], check=True)
    (site[0] / "packed.js").write_text(
        """import "./package/dist/element.js"; import { configure } from "./package/dist/index.js";
        configure({ weights: "weights", for: "fidelity" }); window.heard ??= [];
        addEventListener("bdrestored", () => heard.push(["packed"]));"""
    )
    (site[0] / "packed.html").write_text(
        f'<link rel="icon" href="icon.webp"><script type="module" src="packed.js"></script>{image()}'
    )
    view = opened("")
    view.goto(f"{site[1]}/packed.html")
    wait(view, "packed")
    assert natural(view) == [120, 90]
