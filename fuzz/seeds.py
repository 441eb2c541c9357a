"""Write the corpus, a few small inputs of every kind for each target: python fuzz/seeds.py

What the fuzzer finds beside them stays in build/fuzz; an input that broke something becomes a test.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from PIL import Image, PngImagePlugin

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from small_files import payload_of, small  # noqa: E402
from thumbnails import CONTAINERS, coded, photo, thumbnail  # noqa: E402

from bdflow import zoo  # noqa: E402
from bdflow.smallfile import boundary  # noqa: E402
from bdflow.smallfile.isobmff import box  # noqa: E402
from bdflow.smallfile.payload import Version2  # noqa: E402

PROFILE = bytes(range(200))
RANDOM = np.random.default_rng(0)
RGB = Image.fromarray(RANDOM.integers(0, 256, (4, 5, 3), np.uint8))
RGBA = Image.fromarray(RANDOM.integers(0, 256, (4, 5, 4), np.uint8))


def write(target: str, inputs: dict[str, bytes]) -> None:
    folder = ROOT / "fuzz" / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in inputs.items():
        (folder / name).write_bytes(data)


def code(height: int, width: int, bits: int, levels: np.ndarray) -> bytes:
    return bytes([height - 1, width - 1, bits - 1]) + boundary.encode(levels.astype(np.uint8), bits)


def file(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_with_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "of a picture", zip=True)
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=True)
    return file(RGB, "PNG", pnginfo=text, icc_profile=PROFILE, exif=turned(), dpi=(72, 72))


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def graph(location: str, **node: object) -> bytes:
    """A model of one operator and one tensor in another file."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2], data_location=1)
    tensor.external_data.add(key="location", value=location)
    nodes = [onnx.helper.make_node("Add", ["x", "w"], ["y"], **node)]
    whole = onnx.helper.make_graph(nodes, "g", [], [], [tensor])
    return onnx.helper.make_model(whole).SerializeToString()


def header() -> bytes:
    model = {"scale": 2, "boundary_bits": 1, "blocks": [1], "block": "dense", "wavelet": "haar"}
    metadata = {"bdflow": json.dumps({"name": "a", "model": model})}
    text = json.dumps({"__metadata__": metadata, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
    return len(text).to_bytes(8, "little") + text.encode()


def main() -> None:
    y, x = np.mgrid[:12, :12]
    write(
        "boundary",
        {
            "empty": code(3, 4, 1, np.zeros((3, 4))),
            "raw": code(5, 7, 2, RANDOM.integers(0, 4, (5, 7))),
            "deflated": bytes([11, 11, 2]) + b"\x02" + b"\xfb\xff\x1f\x13\0",
            "lines": code(12, 12, 1, (x + 2 * y) % 9 < 1),
            "levels": code(12, 12, 3, ((x + y) % 8 == 0) * (1 + x % 7)),
        },
    )
    files = {
        "rgb": small(4, 5).to_bytes(),
        "gray-alpha": small(4, 5, gray=True, alpha=True, bits=0).to_bytes(),
        "rgba-3-bit": small(5, 4, alpha=True, bits=3).to_bytes(),
        "profile-2-bit": small(4, 5, bits=2, icc=PROFILE).to_bytes(),
    }
    kinds = {"": {}, "gray-": {"gray": True}, "alpha-": {"alpha": True}}
    for kind, options in kinds.items():
        picture = photo(7, 9, **options)
        for format in CONTAINERS if kind != "alpha-" else ("AVIF", "WebP"):
            files[f"{kind}x2.{format.lower()}"] = thumbnail(picture, format, 2).data
        plain = coded(picture, "AVIF")
        write("slim", {f"{kind}plain": plain, f"{kind}slim": CONTAINERS["AVIF"].insert(plain, b"payload")})
    behind = box(b"free", b"bd", Version2.of((9, 7), 2, "photos").pack())
    files["behind.avif"] = coded(photo(7, 9), "AVIF", 2) + behind
    write("container", files)
    fitting = {f"{bits}-bit": small(2, 3, bits=bits) for bits in range(4)}
    payloads = {name: payload_of(made.to_bytes())[:-4] for name, made in fitting.items()}
    for size, factor, domain in (((3, 2), 1, "plain"), ((6, 3), 2, "photos"), ((40, 17), 16, "portraits")):
        payloads[f"x{factor}"] = Version2.of(size, factor, domain).pack()[:-1]
    write("payload", payloads)
    attributes = {"value": onnx.helper.make_tensor("v", 1, [1], [0.5]), "axes": [0, 1], "alpha": 0.1}
    write(
        "models",
        {
            "graph": b"g" + graph(zoo.WEIGHTS, **attributes),
            "elsewhere": b"g" + graph("../w"),
            "foreign": b"g" + graph(zoo.WEIGHTS, domain="com.microsoft"),
            "header": b"h" + header(),
        },
    )
    palette, gray = RGB.quantize(4), RGB.convert("L")
    wide = Image.fromarray(RANDOM.integers(0, 65536, (3, 4), np.uint16))
    pages = {"save_all": True, "append_images": [RGB.rotate(180)]}
    jpeg = {"quality": 30, "exif": turned()}
    write(
        "images",
        {
            "rgb.png": file(RGB, "PNG"),
            "text.png": png_with_text(),
            "palette.png": file(palette, "PNG", transparency=bytes(range(0, 200, 50))),
            "16-bit.png": file(wide, "PNG"),
            "animated.png": file(RGB, "PNG", **pages),
            "gray.jpg": file(gray, "JPEG", **jpeg),
            "progressive.jpg": file(RGB, "JPEG", progressive=True, icc_profile=PROFILE, **jpeg),
            "cmyk.jpg": file(RGB.convert("CMYK"), "JPEG", **jpeg),
            "deflated.tif": file(RGBA, "TIFF", compression="tiff_adobe_deflate", icc_profile=PROFILE),
            "lzw.tif": file(palette, "TIFF", compression="tiff_lzw"),
            "pages.tif": file(RGB, "TIFF", **pages),
            "16-bit.tif": file(wide, "TIFF"),
            "animated.gif": file(RGB, "GIF", **pages),
            "lossy.webp": file(RGB, "WEBP", quality=20),
            "lossless.webp": file(RGBA, "WEBP", lossless=True, exif=turned()),
            "animated.webp": file(RGB, "WEBP", **pages),
            "rgb.bmp": file(RGB, "BMP"),
            "bilevel.bmp": file(RGB.convert("1"), "BMP"),
            "palette.bmp": file(palette, "BMP"),
            "text.pgm": b"P2\n2 2\n15\n1 15\n0 7\n",
            "binary.ppm": file(RGB, "PPM"),
            "rgb.avif": file(RGB, "AVIF", quality=30),
            "rgb.jp2": file(RGB, "JPEG2000"),
        },
    )


if __name__ == "__main__":
    main()
