"""The sheet: the whole photograph on the left; on the right one box of it as each method gives it back."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bdflow.compare.box import ENLARGED, Box
from bdflow.compare.comparison import Comparison
from bdflow.pictures.picture import RGB
from bdflow.pictures.resize import resize

_COLUMNS = 4
_MARGIN, _GAP = 28, 16
_HEAD, _CAPTION = 84, 54  # heights of the text above all, and above each picture
_PANE = 3 * ENLARGED + 2 * _GAP  # width of the left side
_WIDE = 1.25  # width to height: such photographs leave room for a second one
_SMALL = 260  # the small picture is shown at its own size up to this height
_INK, _GRAY, _MARK = "#111111", "#666666", "#ffd400"
_LANCZOS = Image.Resampling.LANCZOS


def draw_sheet(comparison: Comparison) -> RGB:
    """A comparison as one picture, uint8 (H, W, 3) on white.

    The boxes are enlarged by repeating pixels, and nothing in them was resampled for the sheet; the whole
    photograph is resampled to fit.
    """
    panels = _panels(comparison)
    cell = panels[0][2].shape
    width, height = max(cell[1], ENLARGED), cell[0]
    rows = -(-len(panels) // _COLUMNS)
    grid_height = rows * (_CAPTION + height) + (rows - 1) * _GAP
    left = _left_side(comparison, grid_height)
    grid_x = _MARGIN + left.width + 2 * _GAP
    sheet_width = grid_x + _COLUMNS * (width + _GAP) - _GAP + _MARGIN
    body = max(grid_height, left.height)
    sheet = Image.new("RGB", (sheet_width, _MARGIN + _HEAD + body + _MARGIN), "white")

    draw = ImageDraw.Draw(sheet)
    _write(draw, (_MARGIN, _MARGIN), _printable(comparison.title), 32, sheet_width - 2 * _MARGIN)
    subtitle = f"{comparison.rule} dB: PSNR-Y of the whole photograph."
    _write(draw, (_MARGIN, _MARGIN + 42), subtitle, 20, sheet_width - 2 * _MARGIN, _GRAY)
    top = _MARGIN + _HEAD
    sheet.paste(left, (_MARGIN, top))
    for index, (name, details, pixels) in enumerate(panels):
        x = grid_x + index % _COLUMNS * (width + _GAP)
        y = top + index // _COLUMNS * (_CAPTION + height + _GAP)
        _write(draw, (x, y), name, 20, width)
        _write(draw, (x, y + 26), details, 16, width, _GRAY)
        sheet.paste(Image.fromarray(pixels), (x, y + _CAPTION))
    return np.asarray(sheet)


def _panels(comparison: Comparison) -> list[tuple[str, str, RGB]]:
    """Name, details and enlarged box, in reading order."""
    true, box = comparison.true, comparison.box
    small = _repeated(comparison.small, comparison.factor, true.shape[:2])
    panels = [
        (
            stored.method,
            f"{stored.bytes:,} bytes, {stored.psnr_y:.2f} dB, SSIM {stored.ssim_y:.3f}",
            box.enlarge(stored.pixels),
        )
        for stored in comparison.stored
    ]
    original = (
        f"{box.width}x{box.height} pixels, {box.zoom} times larger" if box.zoom > 1 else "pixel for pixel"
    )
    panels.insert(0, ("original", original, box.enlarge(true)))
    panels.insert(
        2,
        (
            f"the small {comparison.format} itself",
            f"1/{comparison.factor:g} each way, as any program shows it",
            box.enlarge(small),
        ),
    )
    return panels


def _repeated(small: RGB, factor: float, size: tuple[int, ...]) -> RGB:
    """A small picture enlarged by repeating pixels, without what it holds beyond the photograph's end."""
    whole = round(small.shape[0] * factor), round(small.shape[1] * factor)
    return resize(small, whole, Image.Resampling.NEAREST)[: size[0], : size[1]]


def _left_side(comparison: Comparison, height: int) -> Image.Image:
    """The whole photograph with the box marked; if wide, restored too; the small picture at its own size."""
    ours, true, small = comparison.stored[0], comparison.true, comparison.small
    thumbnail = _fitted(small, _PANE // 2, _SMALL, largest=1)
    wholes = [("the photograph", "what lies in the frame is enlarged on the right", true)]
    if true.shape[1] > _WIDE * true.shape[0]:
        wholes.append((f"restored by {ours.method}", f"{ours.psnr_y:.2f} dB", ours.pixels))
    room = height - (len(wholes) + 1) * _CAPTION - len(wholes) * _GAP - thumbnail.shape[0]
    pictures = [
        (name, details, _framed(whole, comparison.box, max(room // len(wholes), _SMALL)))
        for name, details, whole in wholes
    ]
    own = "at its own size" if thumbnail.shape == small.shape else "reduced"
    facts = f"{small.shape[1]}x{small.shape[0]} pixels, {ours.bytes:,} bytes: all that bdflow stores"
    pictures.append((f"the small {comparison.format}, {own}", facts, Image.fromarray(thumbnail)))

    width = max(460, *(picture.width for _, _, picture in pictures))
    used = sum(_CAPTION + picture.height for _, _, picture in pictures) + (len(pictures) - 1) * _GAP
    pane = Image.new("RGB", (width, used), "white")
    draw, top = ImageDraw.Draw(pane), 0
    for name, details, picture in pictures:
        _write(draw, (0, top), name, 20, width)
        _write(draw, (0, top + 26), details, 16, width, _GRAY)
        pane.paste(picture, (0, top + _CAPTION))
        top += _CAPTION + picture.height + _GAP
    return pane


def _framed(rgb: RGB, box: Box, height: int) -> Image.Image:
    """A whole photograph that fits the pane, with a frame around the box."""
    image = Image.fromarray(_fitted(rgb, _PANE, height))
    ratio = image.width / rgb.shape[1]
    x0, y0 = round(box.x * ratio), round(box.y * ratio)
    x1, y1 = round((box.x + box.width) * ratio), round((box.y + box.height) * ratio)
    draw = ImageDraw.Draw(image)
    for grown, colour in ((4, _INK), (3, _MARK), (2, _MARK), (1, _MARK), (0, _INK)):
        draw.rectangle((x0 - grown, y0 - grown, x1 + grown - 1, y1 + grown - 1), outline=colour)
    return image


def _fitted(rgb: RGB, width: int, height: int, largest: float = math.inf) -> RGB:
    """Resampled to just fit, but enlarged no more than `largest` times."""
    ratio = min(largest, width / rgb.shape[1], height / rgb.shape[0])
    return resize(rgb, (max(1, round(rgb.shape[0] * ratio)), max(1, round(rgb.shape[1] * ratio))), _LANCZOS)


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, width: int, colour: str = _INK
) -> None:
    """Text from its left top corner, set smaller where it would be wider than `width`."""
    font = ImageFont.load_default(size)
    while size > 9 and font.getlength(text) > width:
        size -= 1
        font = ImageFont.load_default(size)
    draw.text(at, text, fill=colour, font=font)


def _printable(text: str) -> str:
    """What Pillow's own font has letters for."""
    return text.encode("ascii", "replace").decode()
