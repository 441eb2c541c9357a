"""PNG files in a page, by bdflow/ort, in Chromium."""

from dataclasses import replace

import numpy as np
import pytest
from thumbnails import photo
from web_page import ROOT, VECTORS, image, wait

from bdflow import zoo
from bdflow.pictures.reader import Picture
from bdflow.runtime.computing import Computing
from bdflow.runtime.rescaler import Rescaler
from bdflow.zoo.web import export_web

UPSCALED = """async ({ names, ort }) => {
  const { configure, restore } = await import("/bdflow/index.js");
  if (ort) await import("/bdflow/ort.js");
  configure({ weights: "/models", runtime: "/ort" });
  const found = [];
  for (const name of names)
    try {
      found.push(Array.from((await restore(`/${name}`, { as: "pixels" })).data));
    } catch (error) {
      found.push(error.message);
    }
  return found;
}"""


def test_pngs_are_restored_by_onnx_runtime_as_python_does_it(opened, site):
    runtime = ROOT / "web" / "node_modules" / "onnxruntime-web" / "dist"
    if not runtime.is_dir():
        pytest.skip("bdflow/ort was not tested: run npm ci in web/")
    folder = site[0]
    if not (folder / "ort").exists():
        (folder / "ort").symlink_to(runtime)
    model = zoo.find("photos-x2")
    export_web(model, folder / "models")
    rescaler, waves = Rescaler(model, Computing(threads=1)), photo(91, 120)
    veil = np.arange(91 * 120).reshape(91, 120) // 50 % 256
    pictures = {
        "colours.png": waves,
        "veiled.png": replace(waves, alpha=veil.astype(np.uint8)),
        "gray.png": Picture(waves.rgb[..., :1].repeat(3, axis=2), gray=True),
    }
    expected = {}
    for name, picture in pictures.items():
        small = rescaler.downscale(picture)
        small.save(folder / name, overwrite=True)
        expected[name] = np.asarray(rescaler.upscale(small).convert("RGBA"), int).ravel()
    small = rescaler.downscale(waves)
    replace(small, weights=bytes(8)).save(folder / "of-others.png", overwrite=True)
    replace(small, model="unknown").save(folder / "unknown.png", overwrite=True)
    view = opened("", expected="404")
    asked = {"names": [*expected, "of-others.png", "unknown.png"], "ort": True}
    *found, of_others, unknown = view.evaluate(UPSCALED, asked)
    for pixels, (name, wanted) in zip(found, expected.items(), strict=True):
        assert isinstance(pixels, list), f"{name}: {pixels}"
        assert np.abs(np.array(pixels) - wanted).max() <= 1, name
    assert of_others.startswith("made by other weights of photos-x2 than ")
    assert unknown.endswith("/models/unknown.json cannot be fetched (404)")


def test_a_png_without_onnx_runtime_says_what_to_import(opened, site):
    (site[0] / "golden.png").write_bytes((VECTORS.parent / "golden" / "v1-rgb.png").read_bytes())
    (said,) = opened("").evaluate(UPSCALED, {"names": ["golden.png"], "ort": False})
    assert said == (
        'a PNG of the model portraits-x8, which ONNX Runtime computes: import "bdflow/ort" into the page'
    )


def test_an_ordinary_png_is_left_alone(opened, site):
    photo(90, 120).to_pil().save(site[0] / "ordinary.png")
    view = opened(image("ordinary.png") + image(more='id="small"'))
    assert wait(view, "bdrestored")[0][1] == "small"
    assert view.locator("img").first.get_attribute("src") == "ordinary.png"
    assert view.evaluate("() => heard.filter(([name]) => name === 'bderror')") == []
