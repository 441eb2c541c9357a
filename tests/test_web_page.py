"""<bd-img> and restore() in Chromium, under a strict Content-Security-Policy."""

import base64
import json
import zlib

import numpy as np
import pytest
from PIL import Image
from thumbnails import photo, thumbnail
from web_page import SMALL, VECTORS, image, natural, wait

from bdflow.quality.metrics import psnr
from bdflow.smallfile.container import read
from bdflow.smallfile.thumbnail import Thumbnail


def test_the_photograph_takes_the_thumbnails_place_without_a_jump(opened):
    view = opened(image(more='id="a"') + "<p>below</p>")
    before = view.locator("p").bounding_box()
    wait(view, "bdrestored")
    assert natural(view) == [120, 90]
    assert view.locator("p").bounding_box() == before
    assert view.locator("img").get_attribute("alt") == "waves"
    names = [each[0] for each in view.evaluate("() => heard")]
    assert "bdprogress" in names
    assert names[-1] == "bdrestored"


def test_without_javascript_the_thumbnail_stands(opened):
    view = opened(image(), java_script_enabled=False)
    assert view.locator("img").bounding_box()["width"] == 120
    assert view.locator("img").get_attribute("src") == "small.webp"


def test_only_what_is_near_is_restored_and_then_what_is_scrolled_to(opened):
    far = '<div id="far"></div>'
    view = opened(image(more='id="near"') + far + image(more='id="below"'))
    view.evaluate("() => (document.querySelector('#far').style.height = '3000px')")
    assert wait(view, "bdrestored")[0][1] == "near"
    view.wait_for_timeout(300)
    assert len(wait(view, "bdrestored")) == 1
    view.locator("#below").scroll_into_view_if_needed()
    assert wait(view, "bdrestored", 2)[1][1] == "below"


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("cropped.webp", "", "it was cropped or resized"),
        ("stripped.webp", 'scale="5"', "a scale is one of 1, 1.5"),
        ("small.webp", 'for="look"', "restoration-look.json cannot be fetched (404)"),
    ],
)
def test_on_a_fault_the_thumbnail_stands(opened, site, name, more, message):
    other = thumbnail(photo(80, 100), "WebP", 2).data
    claim = bytes([2, 0x13, 0xCC])  # a factor of 3, 12 pixels beyond each edge: more than a thumbnail's pixel
    (site[0] / "cropped.webp").write_bytes(other[:-4] + claim + bytes([zlib.crc32(claim) & 255]))
    (site[0] / "stripped.webp").write_bytes(stripped(other))
    view = opened(image(name, more), expected="404")
    before = natural(view)
    assert message in wait(view, "bderror")[0][2]
    assert natural(view) == before


def stripped(data: bytes) -> bytes:
    """A WebP without its last chunk, which is bdflow's."""
    body = data[8:-12]
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def test_a_stripped_file_is_restored_by_its_scale(opened, site):
    (site[0] / "stripped.webp").write_bytes(stripped(SMALL.data))
    view = opened(image("stripped.webp", 'scale="3"'))
    wait(view, "bdrestored")
    assert natural(view) == [120, 90]


def test_another_picture_by_a_script_takes_the_place_of_the_first(opened, site):
    (site[0] / "other.webp").write_bytes(thumbnail(photo(60, 80), "WebP", 2).data)
    view = opened(image())
    view.evaluate("() => (document.querySelector('img').src = 'other.webp')")
    for _ in range(200):
        if natural(view) == [80, 60]:
            break
        view.wait_for_timeout(50)
    view.wait_for_timeout(500)  # nothing of the first one comes later
    assert natural(view) == [80, 60]
    assert view.evaluate("() => heard.filter(([name]) => name === 'bderror')") == []


EARLIER = """async () => {
  const cache = await caches.open("bdflow-weights");
  await cache.put("/weights/restoration-fidelity-00000000.safetensors", new Response("an earlier release's"));
  await cache.put("/weights/restoration-fidelity-b-00000000.safetensors", new Response("another model's"));
}"""


def test_weights_of_a_wrong_hash_are_refused_and_right_ones_kept(opened, site):
    manifest = json.loads((VECTORS / "int8" / "restoration-fidelity.json").read_text())
    numbers = site[0] / "weights" / manifest["file"]
    data = numbers.read_bytes()
    try:
        numbers.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        view = opened(image(), expected="404")
        assert "is not the file that" in wait(view, "bderror")[0][2]
        numbers.write_bytes(data)
        view.evaluate(EARLIER)
        view.reload()
        wait(view, "bdrestored")
        numbers.write_bytes(b"")  # it is in the cache now
        view.reload()
        wait(view, "bdrestored")
        assert view.evaluate("async () => (await (await caches.open('bdflow-weights')).keys()).length") == 3
        view.context.route("**/weights/*", lambda route: route.abort())  # no network, manifest kept
        view.reload()
        wait(view, "bdrestored")
    finally:
        numbers.write_bytes(data)


def test_sixty_pictures_are_restored_as_one_scrolls(opened):
    view = opened(
        "".join(
            image(more=f'id="i{number}"', size='loading="lazy" width="500" height="375"')
            for number in range(60)
        )
    )
    started = len(wait(view, "bdrestored"))
    assert started < 60
    for number in range(0, 60, 2):
        view.locator(f"#i{number}").scroll_into_view_if_needed()
        wait(view, "bdrestored", min(60, number + 1))
    view.locator("#i59").scroll_into_view_if_needed()
    wait(view, "bdrestored", 60)
    assert view.evaluate("() => [...document.images].every((image) => image.src.startsWith('blob:'))")
    assert view.evaluate("() => heard.filter(([name]) => name === 'bderror')") == []


RESTORED = """async ({ name, precision, backend }) => {
  const { restore } = await import("/bdflow/index.js");
  const weights = `/vectors/${precision}`;
  const { data } = await restore(`/vectors/${name}`, { as: "pixels", weights, backend });
  return Array.from(data);
}"""


@pytest.mark.parametrize("backend", ["wasm", "webgpu", "auto"])
def test_pixels_are_pythons(opened, backend):
    """Chromium decodes these files to Pillow's samples; but the transparency of an AVIF."""
    view = opened("")
    if backend == "webgpu" and not view.evaluate("async () => !!(await navigator.gpu?.requestAdapter())"):
        pytest.skip("WebGPU was not tested: this Chromium has no adapter, not even in software")
    for entry in json.loads((VECTORS / "restorations.json").read_text())["restorations"]:
        asked = {"name": entry["file"], "precision": entry["precision"], "backend": backend}
        found = np.array(view.evaluate(RESTORED, asked))
        expected = np.frombuffer(base64.b64decode(entry["restored"]), np.uint8)
        off = np.abs(found - expected).reshape(-1, 4).max(axis=0)
        assert off[:3].max() <= 1, entry["file"]
        assert off[3] <= (16 if entry["file"] == "alpha-x1.5.avif" else 0)


SHRUNK = """async (type) => {
  const { restore, shrink } = await import("/bdflow/index.js");
  const photograph = await (await fetch("photograph.png")).blob();
  const file = await shrink(photograph, { bytes: 700, domain: "portraits", type });
  const few = await shrink(photograph, { bytes: 20 }).catch((error) => error.message);
  const { width, height } = await restore(file, { as: "pixels" });
  return [file.type, Array.from(new Uint8Array(await file.arrayBuffer())), width, height, few];
}"""


@pytest.mark.parametrize("name", ["WebP", "JPEG"])
def test_a_photograph_is_shrunk_into_a_file_that_python_reads(opened, site, name):
    photo(101, 151).to_pil().save(site[0] / "photograph.png")
    kind, data, width, height, few = opened("").evaluate(SHRUNK, f"image/{name.lower()}")
    small = read(bytes(data))
    assert (kind, width, height) == (f"image/{name.lower()}", 151, 101)
    assert isinstance(small, Thumbnail)
    assert (small.format, small.size, small.domain) == (name, (151, 101), "portraits")
    assert 500 < len(data) <= 700
    assert few == "20 bytes are too few for this photograph: allow more"
    plain = np.asarray(small.image.to_pil().resize(small.size, Image.Resampling.LANCZOS))
    assert psnr(plain, photo(101, 151).rgb) > 12  # it is that photograph


FORMS = """async () => {
  const { restore } = await import("/bdflow/index.js");
  const blob = await restore("small.webp", { type: "image/jpeg", quality: 0.9 });
  const bitmap = await restore(await (await fetch("small.webp")).blob(), { as: "bitmap" });
  const controller = new AbortController();
  const cancelled = restore("small.webp", { signal: controller.signal }).catch((error) => error.name);
  controller.abort();
  const missing = restore("nowhere.webp").catch((error) => `${error.name}: ${error.message}`);
  const again = await restore("small.webp", { as: "pixels" });
  return [blob.type, bitmap.width, bitmap.height, await cancelled, await missing, again.width];
}"""


def test_forms_cancelling_and_a_missing_file(opened):
    view = opened("", expected="404")
    kind, width, height, cancelled, missing, again = view.evaluate(FORMS)
    assert (kind, width, height, cancelled, again) == ("image/jpeg", 120, 90, "AbortError", 120)
    assert missing.startswith("BDFlowError: ")
    assert missing.endswith("nowhere.webp cannot be fetched (404)")
