"""Tables, model cards and side-by-side pictures, all from measured results."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Group
from rich.table import Table

from bdflow import zoo
from bdflow.errors import BDFlowError
from bdflow.evaluation.grid import Grid, cell, markdown
from bdflow.smallfile import container
from bdflow.smallfile.payload import SmallFile
from bdflow.smallfile.thumbnail import Thumbnail
from bdflow.system.files import write_bytes

RESULTS, CARD = "evaluation.json", "card.md"
_LABEL_HEIGHT, _GAP = 30, 8


def contact_sheet(panels: Mapping[str, NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Pictures `(H, W, 3)` of one size in a labelled grid.

    Args:
        panels: Label to picture, in reading order.
        columns: Pictures per row.

    Returns:
        uint8 `(H', W', 3)` on white.
    """
    height, width = next(iter(panels.values())).shape[:2]
    rows = -(-len(panels) // columns)
    step_x, step_y = width + _GAP, height + _LABEL_HEIGHT + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, rows * step_y + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (label, pixels) in enumerate(panels.items()):
        left, top = _GAP + index % columns * step_x, _GAP + index // columns * step_y
        font = _font(label, width)
        draw.text((left, top + _LABEL_HEIGHT / 2), label, fill="black", font=font, anchor="lm")
        sheet.paste(Image.fromarray(pixels), (left, top + _LABEL_HEIGHT))
    return np.asarray(sheet)


def _font(label: str, width: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The largest size, up to 18, at which the label fits its picture."""
    for size in range(18, 8, -1):
        font = ImageFont.load_default(size)
        if font.getlength(label) <= width:
            break
    return font


def evaluation_table(result: Mapping[str, Any]) -> Group:
    """What `bdflow evaluate` prints: for each folder a table and a few lines."""
    if "bits_per_pixel" in result["settings"]:
        return Group(_budgets(result).table())
    return Group(*(_folder(result["model"], name, row).as_rich() for name, row in result["folders"].items()))


def _folder(model: str, name: str, row: Mapping[str, Any]) -> Grid:
    """Of a flow: one folder."""
    mean = row["mean"]
    pictures = "1 picture" if row["count"] == 1 else f"{row['count']} pictures"
    grid = Grid(
        f"{name}: {pictures}, stored and read back", ("", "PSNR-Y", "PSNR-RGB", "SSIM-Y", "LPIPS-RGB")
    )
    for method, prefix in ((model, ""), ("bicubic", "bicubic_")):
        psnr = (f"{mean[prefix + measure]:.2f} dB" for measure in ("psnr_y", "psnr_rgb"))
        lpips = cell(mean, prefix + "lpips", ".4f") or "-"
        grid.rows.append((method, *psnr, f"{mean[prefix + 'ssim_y']:.4f}", lpips))
    header = mean["bytes"] - mean["bytes_pixels"] - mean["bytes_boundary"]
    grid.notes += [
        f"{mean['bytes']:,.0f} bytes: {mean['bytes_pixels']:,.0f} LR,"
        f" {mean['bytes_boundary']:,.0f} boundary, {header:,.0f} header and frame",
        f"{mean['bits_per_pixel']:.4f} bits per pixel; LR to the bicubic LR {mean['lr_psnr']:.2f} dB",
        f"{mean['seconds_down']:.2f} s down, {mean['seconds_up']:.2f} s up a picture",
    ]
    if "psnr_y_cropped" in mean:
        grid.notes.append(
            f"PSNR-Y without a border as wide as the scale {mean['psnr_y_cropped']:.2f} dB"
            f" (bicubic {mean['bicubic_psnr_y_cropped']:.2f} dB)"
        )
    if row["skipped"]:
        grid.notes.append(f"{len(row['skipped'])} skipped: {', '.join(row['skipped'])}")
    return grid


def _budgets(result: Mapping[str, Any]) -> Grid:
    """Of a restoration network: a row for each folder and budget."""
    grid = Grid(
        f"{result['model']} in {result['settings']['format']}, against the best plain codec",
        ("pictures", "bytes", "PSNR-Y", "gain", "PSNR-RGB", "gain", "LPIPS-RGB", "codec's"),
    )
    for folder, row in result["folders"].items():
        mean = row["mean"]
        skipped = f", {len(row['skipped'])} skipped" if row["skipped"] else ""
        quality = (
            figure
            for measure in ("psnr_y", "psnr_rgb")
            for figure in (f"{mean[measure]:.2f}", f"{mean[measure] - mean[f'codec_{measure}']:+.2f}")
        )
        lpips = (cell(mean, measure, ".4f") or "-" for measure in ("lpips", "codec_lpips"))
        pictures = f"{folder}: {row['count']}{skipped}"
        grid.rows.append((pictures, f"{mean['bytes']:,.0f}", *quality, *lpips))
    return grid


def models_tables() -> Group:
    """What `bdflow models` prints; at most 80 columns wide."""
    return Group(_flows().table(), "", _restorations().table())


def _restorations() -> Grid:
    grid = Grid(
        "networks for AVIF, WebP and JPEG (--bytes); gain over the best codec, in dB",
        ("network", "MiB", "measured on", "PSNR-Y", "gain"),
        words=(0, 2),
    )
    for model in zoo.built_in_restorations():
        grid.rows.append((model.name, f"{model.size / 2**20:.1f}", *_first_folder(model, "codec_psnr_y")))
    return grid


def _flows() -> Grid:
    grid = Grid(
        "models for small PNGs (-x); PSNR-Y, and its gain over bicubic, in dB",
        ("model", "scale", "MiB", "measured on", "PSNR-Y", "gain"),
        words=(0, 1, 3),
    )
    for model in zoo.built_in():
        size = f"{model.size / 2**20:.1f}"
        grid.rows.append((model.name, f"x{model.scale}", size, *_first_folder(model, "bicubic_psnr_y")))
    return grid


def _first_folder(model: zoo.Model, plain: str) -> tuple[str, str, str]:
    """The first folder that a model was measured on, its PSNR-Y there, and the gain over `plain`."""
    result = results(model)
    if result is None:
        return "not yet", "", ""
    folder, row = next(iter(result["folders"].items()))
    psnr = row["mean"]["psnr_y"]
    return folder, f"{psnr:.2f}", f"{psnr - row['mean'][plain]:+.2f}"


def paper_table() -> Table:
    """What `bdflow models --paper` prints; needs torch."""
    from bdflow.networks.build import paper_sizes

    rows: list[Sequence[str]] = [
        (name, f"x{scale}", f"{parameters:,}", f"{multiply_adds / 1e9:.4f} G")
        for name, scale, parameters, multiply_adds in paper_sizes()
    ]
    headings = ("network", "scale", "parameters", "multiply-adds")
    return Grid("Table 2, counted (one direction at 128x128)", headings, rows).table()


def results(model: zoo.Model) -> dict[str, Any] | None:
    """What `bdflow evaluate --card` measured of a model, if it did so with these weights.

    Raises:
        BDFlowError: The results cannot be read.
    """
    path = model.folder / RESULTS
    if not path.is_file():
        return None
    try:
        result: dict[str, Any] = json.loads(path.read_text())
        return result if result["weights_sha256"] == model.weights_sha256 else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BDFlowError(f"{path}: not results of `bdflow evaluate --card`: measure again") from error


def write_card(model: zoo.Model, result: Mapping[str, Any]) -> None:
    """Write `evaluation.json` and `card.md` into a model's folder."""
    text = json.dumps(result, indent=1) + "\n"
    write_bytes(model.folder / RESULTS, text.encode(), overwrite=True)
    write_bytes(model.folder / CARD, card(model, result).encode(), overwrite=True)


def card(model: zoo.Model, result: Mapping[str, Any]) -> str:
    """A model card in Markdown, all of it from the weights' metadata and the results."""
    if "bits_per_pixel" in result["settings"]:
        return _restoration_card(model, result)
    training, bits = model.metadata["training"], f"{model.bits} bit{'s' * (model.bits > 1)}"
    boundary = f"{bits} of boundary map" if model.bits else "no boundary map"
    cropped = all("psnr_y_cropped" in row["mean"] for row in result["folders"].values())
    lines = [
        f"# {model.name}",
        "",
        f"{model.title} for {model.scale} times smaller each way:"
        f" {training['parameters']:,} parameters,"
        f" {training['multiply_adds'] / 1e9:.4f} G multiply-adds at 128x128 in one direction,"
        f" {boundary}. Licence: Apache-2.0.",
        "",
        *_provenance(model),
        "",
        "## Measured",
        "",
        f"{_measured(model, result)} On stored and restored 8-bit files, Z = 0,"
        f" border crop {result['settings']['crop']}; every byte of the file counts.",
        "",
        markdown(
            (*_CARD_HEADINGS, *["border cropped"] * cropped),
            [_card_row(folder, row, cropped) for folder, row in result["folders"].items()],
        ),
    ]
    legend = f" Border cropped: PSNR-Y (bicubic's) less {model.scale} pixels on each side." if cropped else ""
    looks = _looks(model) if model.folder.parent == zoo.BUILT_IN else ()
    lines += ["", f"The ± is the standard deviation over pictures.{legend}", "", *looks, *_limits(training)]
    return "\n".join(lines)


def _limits(training: Mapping[str, Any]) -> Sequence[str]:
    """The end of a card."""
    return "## Limits", "", training["limits"], ""


_CARD_HEADINGS = (
    "folder", "pictures", "PSNR-Y", "bicubic", "gain", "PSNR-RGB", "SSIM-Y", "LPIPS-RGB (bicubic)",
    "LR to bicubic", "bytes", "of it boundary", "bits/px",
)  # fmt: skip


def _card_row(folder: str, row: Mapping[str, Any], cropped: bool) -> Sequence[str]:
    mean = row["mean"]
    border = [f"{mean['psnr_y_cropped']:.2f} ({mean['bicubic_psnr_y_cropped']:.2f})"] if cropped else []
    return (
        folder,
        _counted(row),
        f"{mean['psnr_y']:.2f} ± {row['spread']['psnr_y']:.2f}",
        f"{mean['bicubic_psnr_y']:.2f}",
        f"{mean['psnr_y'] - mean['bicubic_psnr_y']:+.2f}",
        f"{mean['psnr_rgb']:.2f}",
        f"{mean['ssim_y']:.4f}",
        f"{mean['lpips']:.4f} ({mean['bicubic_lpips']:.4f})" if "lpips" in mean else "-",
        f"{mean['lr_psnr']:.2f}",
        f"{mean['bytes']:,.0f}",
        f"{mean['bytes_boundary']:,.0f}",
        f"{mean['bits_per_pixel']:.4f}",
        *border,
    )


def _restoration_card(model: zoo.Model, result: Mapping[str, Any]) -> str:
    training, settings = model.metadata["training"], result["settings"]
    lines = [
        f"# {model.name}",
        "",
        f"{model.title} of thumbnails in ordinary codecs (AVIF, WebP, JPEG), at every factor:"
        f" {training['parameters']:,} parameters, {training['multiply_adds_per_pixel'] / 1000:.1f} thousand"
        " multiply-adds per pixel. Licence: Apache-2.0.",
        "",
        *_provenance(model),
        "",
        "## Measured",
        "",
        f"{_measured(model, result)} Each picture is stored as {settings['format']} at so many bits per pixel"
        " (chosen by PSNR-RGB), read back and restored; every byte of the file counts. The codec is"
        f" {settings['rivals']}. Border crop {settings['crop']}.",
        "",
        markdown(
            _RESTORATION_CARD_HEADINGS,
            [_restoration_card_row(folder, row) for folder, row in result["folders"].items()],
        ),
        "",
        "The ± is the standard deviation over pictures; factors are means.",
        "",
        *_limits(training),
    ]
    return "\n".join(lines)


_RESTORATION_CARD_HEADINGS = (
    "folder and budget", "pictures", "bytes (codec)", "PSNR-Y", "codec", "gain", "PSNR-RGB", "gain",
    "SSIM-Y (codec)", "LPIPS-RGB (codec)", "factor (codec)",
)  # fmt: skip


def _restoration_card_row(folder: str, row: Mapping[str, Any]) -> Sequence[str]:
    mean = row["mean"]
    return (
        folder,
        _counted(row),
        f"{mean['bytes']:,.0f} ({mean['codec_bytes']:,.0f})",
        f"{mean['psnr_y']:.2f} ± {row['spread']['psnr_y']:.2f}",
        f"{mean['codec_psnr_y']:.2f}",
        f"{mean['psnr_y'] - mean['codec_psnr_y']:+.2f}",
        f"{mean['psnr_rgb']:.2f}",
        f"{mean['psnr_rgb'] - mean['codec_psnr_rgb']:+.2f}",
        f"{mean['ssim_y']:.4f} ({mean['codec_ssim_y']:.4f})",
        f"{mean['lpips']:.4f} ({mean['codec_lpips']:.4f})" if "lpips" in mean else "-",
        f"{mean['factor']:.1f} ({mean['codec_factor']:.1f})",
    )


def _counted(row: Mapping[str, Any]) -> str:
    """How many pictures were measured, and how many were not."""
    return f"{row['count']}" + (f" ({len(row['skipped'])} skipped)" if row["skipped"] else "")


def _provenance(model: zoo.Model) -> list[str]:
    """What the weights learned from, how, and what they are."""
    training = model.metadata["training"]
    history = f" {training['history']}" if training.get("history") else ""
    if origin := training.get("origin"):
        began = f"{origin['model']} (`{origin['weights_sha256'][:16]}`)"
        history = (
            f" The first {origin['steps']:,} were those of {began}, from whose weights it began.{history}"
        )
    header = zoo.read_header(model.folder / zoo.WEIGHTS)
    stored = {entry["dtype"].replace("F", "float") for key, entry in header.items() if key != "__metadata__"}
    return [
        f"- **Data**: {training['data']}",
        f"- **Command**: `{training['command']}`",
        f"- **Training**: {training['steps']:,} steps in {training['seconds'] / 60:.0f} minutes on"
        f" {training['machine']}; loss weights and all other settings are in the weights' metadata"
        f" (`bdflow.zoo.read_metadata`).{history}",
        f"- **Weights**: `{model.weights_sha256}` (SHA-256), stored as {' and '.join(sorted(stored))},"
        " computed in float32.",
    ]


def _measured(model: zoo.Model, result: Mapping[str, Any]) -> str:
    """The command, the commit and the machine."""
    environment = result["environment"]
    return (
        f"`bdflow evaluate {model.name} FOLDER...` at commit {environment['commit']}, {environment['date']},"
        f" {environment['cores']} cores of {environment['processor']}, ONNX Runtime"
        f" {environment['packages']['onnxruntime']}."
    )


def _looks(model: zoo.Model) -> list[str]:
    """The sheet of a built-in model, which lies in the repository alone."""
    sheet = f"../../../../docs/{model.name}.jpg"
    return ["## How it looks", "", f"![True, the small PNG enlarged, restored, bicubic]({sheet})", ""]


def small_file(small: SmallFile, data: bytes) -> str:
    """What a small file says, and where every byte of it goes; some lines.

    Args:
        small: What was read.
        data: The file.
    """
    width, height = small.size
    sizes = f"{width}x{height} from {small.image.width}x{small.image.height}"
    if isinstance(small, Thumbnail):
        quality = "unknown" if small.quality is None else f"{small.quality:.0f} of 100, by its quantiser"
        lines = [
            f"codec     {small.format}, quality {quality}",
            f"restores  {sizes} (x{small.factor:g})",
            f"domain    {small.domain}",
        ]
    else:
        bits = f"{small.bits} bit{'s' * (small.bits > 1)}"
        lines = [
            f"model     {small.model} (weights {small.weights.hex()})",
            f"restores  {sizes} (x{small.scale})",
            f"boundary  {'none' if small.boundary is None else bits}",
            f"pixels    {'changed since it was made' if small.pixels_changed else 'as they were made'}",
        ]
    if small.image.metadata:
        lines.append(f"metadata  {small.image.metadata}")
    lines += [f"{size:9,} bytes  {part}" for part, size in container.byte_report(data).items()]
    lines.append(f"{len(data):9,} bytes  in all, {8 * len(data) / (width * height):.4f} bits per pixel")
    return "\n".join(lines)
