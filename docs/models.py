"""The page of models, docs/models.md, and its picture sheets: all from what was recorded and measured."""

import csv
from collections.abc import Sequence
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import refined
from PIL import Image

from bdflow import zoo
from bdflow.evaluation.grid import markdown
from bdflow.evaluation.report import contact_sheet, results
from bdflow.networks.build import paper_sizes
from bdflow.pictures.codecs import encode
from bdflow.pictures.reader import Picture
from bdflow.pictures.reader import read as read_picture
from bdflow.pictures.resize import bicubic_down, bicubic_up, resize
from bdflow.quality.metrics import psnr_y
from bdflow.reproduce.published import published
from bdflow.runtime.rescaler import Rescaler
from bdflow.smallfile import container
from bdflow.zoo import Model

ROOT = Path(__file__).parent.parent
SHOWN = {"portraits": "portraits/test/alma-adams.jpg", "photos": "photos/kodak24/kodim23.webp"}
WHOLE_FROM = 16  # smaller scales are shown pixel for pixel, or nothing could be seen
SIDE = 352
# dB of PSNR-Y over the PSNR of full-range luma L, exactly, as Y = 16 + 219/255 L and both have the peak 255.
FULL_RANGE = 20 * log10(255 / 219)

INTRODUCTION = """\
# Models

Made by `make docs` from the models' `evaluation.json`, the weights' metadata and the training logs in
`results/`. Every figure is of files that were stored and read back, with Z = 0. The gain is over bicubic
shrinking and enlarging. `bdflow models` prints the list, and each model's card says what it was trained on.
[studies.md](studies.md) has the experiments that came before. Where a training log holds the PSNR of
full-range luma (`psnr_y_full_range`), this page has PSNR-Y, which is 20 log10(255/219) = 1.32 dB more.
"""
PHOTOS = """\
## Photographs beside IRN and HCFlow

PSNR-Y, with a border of as many pixels as the scale left out, beside what others published:

{table}

The rows do not compare like for like. IRN was trained on DIV2K for 500,000 steps of 16 crops, ours for some
7,000 steps of 4 crops on other pictures. Ours keep 27 bits of each small pixel where theirs keep 24. The
three more bits count in our bytes, and much of what photos-x2 gains comes from them. "Refined" rows had a
search of 20 steps for each small picture ([studies.md](studies.md#what-does---refine-bring)), which IRN and
HCFlow did not have; not all sets were measured so.
"""
PAPER = """\
## The paper's networks

Their sizes, counted by the code. The paper prints the same figures, except 14.1814 G for IRN at x32.

{table}
"""
CONTINUE = """\
## Train these weights further

`--from` begins with a model's weights. On a better machine, take the pictures that its card names, and a few
thousand steps or `--max-time 8h`. A run folder holds its state, so the same command resumes:

```console
$ bdflow train --from portraits-x16 --data PICTURES --out runs/better --steps 100000 --learning-rate 3e-4
$ bdflow export runs/better -o better && bdflow evaluate ./better TESTPICTURES --trust
```

On photographs of your own, of a kind that the weights never saw:

```console
$ bdflow train --from portraits-x16 --data MYDIR --out runs/mine --steps 2000 --learning-rate 2e-4
```

From random weights: `bdflow train configs/NAME.toml --data PICTURES --out runs/NAME`. The command line can
set every value of the configuration (`--set loss.lpips=0.1`). A model can also begin from one of half its
scale, if that one's network is its own coarse part. portraits-x64 began so from portraits-x32: `bdflow train
configs/portraits-x64.toml --from portraits-x32 --data PICTURES --out runs/portraits-x64`.
"""


def page() -> str:
    """docs/models.md."""
    models = list(zoo.built_in())
    lines = [INTRODUCTION, *_overview(models), ""]
    for model in models:
        lines += _section(model)
    return "\n".join([*lines, PHOTOS.format(table=photos()), PAPER.format(table=sizes()), CONTINUE])


def _overview(models: list[Model]) -> list[str]:
    rows = []
    for model in models:
        training = model.metadata["training"]
        rows.append(
            (
                f"[{model.name}](#{model.name})",
                f"{training['parameters']:,}",
                f"{training['multiply_adds'] / 1e9:.2f} G",
                f"{model.size / 2**20:.1f}",
                f"{training['steps']:,}",
                f"{training['seconds'] / 60:.0f}",
                training["machine"],
            )
        )
    headings = ("model", "parameters", "multiply-adds at 128x128", "MiB", "steps", "minutes", "on")
    return [markdown(headings, rows)]


def _section(model: Model) -> list[str]:
    measured: dict[str, Any] = results(model) or {"folders": {}}
    links = [f"[card](../src/bdflow/models/{model.name}/card.md)"]
    for label, path in (
        ("configuration", f"configs/{model.name}.toml"),
        ("training log", f"results/{model.name}-training.csv"),
    ):
        if (ROOT / path).exists():
            links.append(f"[{label}](../{path})")
    lines = [
        f"## {model.name}",
        "",
        f"![The photograph, the small file, what it restores and bicubic]({model.name}.jpg)",
        "",
        " · ".join(links),
        "",
        markdown(HEADINGS, [_measured(folder, row) for folder, row in measured["folders"].items()]),
    ]
    log = ROOT / "results" / f"{model.name}-training.csv"
    if log.exists():
        lines += ["", f"Held-out PSNR-Y while it trained: {_curve(log)}."]
    return [*lines, ""]


HEADINGS = (
    "pictures", "PSNR-Y", "gain", "border cropped", "SSIM-Y", "LPIPS-RGB (bicubic)", "LR to bicubic LR",
    "bytes",
)  # fmt: skip


def _measured(folder: str, row: dict[str, Any]) -> Sequence[str]:
    mean = row["mean"]
    return (
        f"{row['count']} of {folder}",
        f"{mean['psnr_y']:.2f} ± {row['spread']['psnr_y']:.2f} dB",
        f"{mean['psnr_y'] - mean['bicubic_psnr_y']:+.2f} dB",
        f"{mean['psnr_y_cropped']:.2f} dB" if "psnr_y_cropped" in mean else "-",
        f"{mean['ssim_y']:.4f}",
        f"{mean['lpips']:.3f} ({mean['bicubic_lpips']:.3f})" if "lpips" in mean else "-",
        f"{mean['lr_psnr']:.2f} dB",
        f"{mean['bytes']:,.0f}",
    )


def _curve(log: Path, points: int = 8) -> str:
    """A few of the held-out PSNR-Y of a training log, the last among them."""
    offsets = {"psnr_y": 0.0, "psnr_y_full_range": FULL_RANGE}
    with log.open(newline="") as file:
        rows = list(csv.reader(file))
    if any(name == "bicubic_y" for _, name, _ in rows):
        raise ValueError(
            f"{log}: of a trainer that scored full-range luma: rename psnr_y and bicubic_y to ..._full_range"
        )
    scores = [(int(step), float(value) + offsets[name]) for step, name, value in rows if name in offsets]
    chosen = sorted({round(i * (len(scores) - 1) / max(1, points - 1)) for i in range(points)})
    return ", ".join(f"{scores[i][1]:.2f} dB at step {scores[i][0]:,}" for i in chosen)


def draw_sheets(data: Path) -> None:
    """A sheet for each model, of pictures that may be shown, into docs/."""
    for model in zoo.built_in():
        photo = data / SHOWN[model.name.partition("-")[0]]
        sheet = Picture(_sheet(Rescaler(model), photo))
        (ROOT / "docs" / f"{model.name}.jpg").write_bytes(encode(sheet, "jpg", 90))


def _sheet(rescaler: Rescaler, photo: Path) -> np.ndarray:
    """True, LR enlarged, restored and bicubic, in one row."""
    scale, true = rescaler.model.scale, read_picture(photo)
    data = rescaler.downscale(photo).to_bytes()
    size = (true.height, true.width)
    restored = np.asarray(rescaler.upscale(data))
    plain = bicubic_up(bicubic_down(true.rgb, scale), scale, size)
    enlarged = resize(container.read(data).image.rgb, size, Image.Resampling.NEAREST)
    panels = {
        f"true, {true.width}x{true.height} pixels": true.rgb,
        f"the small PNG, {len(data):,} bytes, enlarged": enlarged,
        f"restored, {psnr_y(true.rgb, restored):.2f} dB": restored,
        f"bicubic, {psnr_y(true.rgb, plain):.2f} dB": plain,
    }
    return contact_sheet({label: _shown(p, scale) for label, p in panels.items()}, columns=4)


def _shown(rgb: np.ndarray, scale: int) -> np.ndarray:
    """The middle, pixel for pixel; of the larger scales the whole, shrunk."""
    height, width = rgb.shape[:2]
    if scale >= WHOLE_FROM:
        return resize(rgb, (round(SIDE * height / width), SIDE))
    top, left = height // 4 // scale * scale, (width - SIDE) // 2 // scale * scale
    return np.ascontiguousarray(rgb[top : top + SIDE, left : left + SIDE])


def photos() -> str:
    """The models for photographs beside what others published, by the field's usual measure."""
    sets = ("photos/set5", "photos/set14", "photos/bsd100")
    rows = []
    quoted = published().photos
    for scale in sorted({other.scale for other in quoted}):
        model = zoo.find(f"photos-x{scale}")
        plain, more = results(model)["folders"], refined.measured(model)
        parameters = model.metadata["training"]["parameters"]
        bits = 24 + model.metadata["model"]["boundary_bits"]
        for name, folders in ((model.name, plain), (f"{model.name}, refined", more)):
            whole = [f for f in sets if f in folders and folders[f]["count"] == plain[f]["count"]]
            psnr = [folders[f]["mean"]["psnr_y_cropped"] if f in whole else None for f in sets]
            if whole:
                rows.append(_photos_row(name, scale, parameters, bits, psnr))
        rows += [
            _photos_row(f"{other.method}, quoted", scale, other.parameters, 24, other.psnr)
            for other in quoted
            if other.scale == scale
        ]
    headings = ("", "scale", "parameters", "bits per pixel of the small picture", "Set5", "Set14", "BSD100")
    return markdown(headings, rows)


def _photos_row(
    name: str, scale: int, parameters: float, bits: int, psnr: Sequence[float | None]
) -> Sequence[str]:
    cells = ("-" if value is None else f"{value:.2f} dB" for value in psnr)
    return name, f"x{scale}", f"{parameters / 1e6:.2f} M", str(bits), *cells


def sizes() -> str:
    """Parameters and multiply-adds of the paper's networks."""
    rows = [
        (name, f"x{scale}", f"{parameters:,}", f"{madds / 1e9:.4f} G")
        for name, scale, parameters, madds in paper_sizes()
    ]
    return markdown(("network", "scale", "parameters", "multiply-adds at 128x128"), rows)
