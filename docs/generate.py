"""Write the tables and pictures of the documentation from measured results. Run by `make docs`.

Usage: python docs/generate.py PHOTO     (any portrait of a set that may be shown; README says which)
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import bdflow
from bdflow import container, zoo
from bdflow.images import encode
from bdflow.images import read as read_picture
from bdflow.metrics import psnr_y
from bdflow.report import contact_sheet, results
from bdflow.resize import bicubic_down, bicubic_up, resize
from bdflow.train.model import paper_sizes

ROOT = Path(__file__).parent.parent


def figures() -> str:
    """The quality table of the README, a row for each model and folder."""
    rows = [
        "| model | pictures | PSNR-Y | bicubic | SSIM-Y | LPIPS (bicubic) | LR to bicubic LR | bytes"
        " | bits a pixel |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for model in zoo.built_in():
        measured = results(model)
        for folder, row in (measured["folders"] if measured else {}).items():
            m = row["mean"]
            rows.append(
                f"| {model.name} | {row['count']} of {folder} | {m['psnr_y']:.2f} dB |"
                f" {m['bicubic_psnr_y']:.2f} dB |"
                f" {m['ssim_y']:.4f} | {m['lpips']:.4f} ({m['bicubic_lpips']:.4f}) | {m['lr_psnr']:.2f} dB |"
                f" {m['bytes']:,.0f} | {m['bits_per_pixel']:.3f} |"
            )
    return "\n".join(rows)


def sizes() -> str:
    """The parameter and multiply-add table of the README."""
    rows = ["| network | scale | parameters | multiply-adds at 128x128 |", "|---|---|---|---|"]
    rows += [
        f"| {name} | x{scale} | {parameters:,} | {madds / 1e9:.4f} G |"
        for name, scale, parameters, madds in paper_sizes()
    ]
    return "\n".join(rows)


def fill(text: str, name: str, content: str) -> str:
    """Put ``content`` between the marks of ``name``."""
    before, rest = text.split(f"<!-- begin {name}, made by docs/generate.py -->")
    after = rest.split(f"<!-- end {name} -->")[1]
    mark = f"<!-- begin {name}, made by docs/generate.py -->\n{content}\n<!-- end {name} -->"
    return before + mark + after


def side_by_side(photo: Path, size: int = 352) -> np.ndarray:
    """True, LR enlarged, restored and bicubic: the middle of one photograph, pixel for pixel."""
    model = bdflow.load("portraits-x8")
    scale = model.model.scale
    true = read_picture(photo)
    data = model.downscale(photo).to_bytes()
    whole = (true.height, true.width)
    restored = np.asarray(model.upscale(data))
    plain = bicubic_up(bicubic_down(true.rgb, scale), scale, whole)
    enlarged = resize(container.read(data).image.rgb, whole, Image.Resampling.NEAREST)
    top, left = whole[0] // 4 // scale * scale, (whole[1] - size) // 2 // scale * scale
    box = np.s_[top : top + size, left : left + size]
    panels = {
        f"true, {true.width}x{true.height} pixels": true.rgb,
        f"the small PNG, {len(data):,} bytes, enlarged": enlarged,
        f"restored, {psnr_y(true.rgb, restored):.2f} dB": restored,
        f"bicubic, {psnr_y(true.rgb, plain):.2f} dB": plain,
    }
    return contact_sheet({label: np.ascontiguousarray(p[box]) for label, p in panels.items()}, columns=4)


def main() -> None:
    readme = ROOT / "README.md"
    text = fill(readme.read_text(), "quality", figures())
    readme.write_text(fill(text, "sizes", sizes()))
    if len(sys.argv) > 1:
        sheet = read_picture(side_by_side(Path(sys.argv[1])))
        (ROOT / "docs" / "portraits-x8.png").write_bytes(encode(sheet, "png"))


if __name__ == "__main__":
    main()
