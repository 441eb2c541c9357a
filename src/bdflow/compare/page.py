"""The page: one HTML file with everything in it, to be opened from a disk or sent by mail."""

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from string import Template
from typing import Any

from PIL import Image

from bdflow.compare.comparison import Comparison
from bdflow.pictures.codecs import WEBP_LOSSLESS
from bdflow.pictures.picture import RGB
from bdflow.pictures.resize import resize
from bdflow.system.files import printable
from bdflow.version import __version__

_LOSSLESS = replace(WEBP_LOSSLESS, effort=4)  # of eight pictures of a megapixel, in seconds
_SHOWN = 1024  # pixels of the longer side: a page of some megabytes, whatever the photograph


def draw_page(sections: Sequence[dict[str, Any]]) -> str:
    """Photographs with a slider between any two versions, their enlarged boxes and all figures.

    Pictures are lossless. Whole photographs are shown 1024 pixels long at most, which the page says; boxes
    and figures are of full size.

    Args:
        sections: What `section` made of each comparison.
    """
    template = Template(resources.files("bdflow.compare").joinpath("page.html").read_text(encoding="utf-8"))
    names = ", ".join(section["name"] for section in sections)
    data = {"made": f"bdflow {__version__}, {datetime.now(UTC):%Y-%m-%d}", "photos": list(sections)}
    # "<" cannot end the script that holds the data.
    return template.substitute(
        title=html.escape(f"{names}: bdflow compare"), data=json.dumps(data).replace("<", "\\u003c")
    )


def section(comparison: Comparison) -> dict[str, Any]:
    """What the page holds of one photograph."""
    height, width = comparison.true.shape[:2]
    ratio = min(1.0, _SHOWN / max(height, width))
    shown = max(1, round(height * ratio)), max(1, round(width * ratio))

    def pictures(pixels: RGB) -> dict[str, str]:
        whole = pixels if ratio == 1 else resize(pixels, shown, Image.Resampling.LANCZOS)
        return {
            "whole": _data_uri(whole, comparison.icc),
            "box": _data_uri(comparison.box.cut(pixels), comparison.icc),
        }

    return {
        "name": printable(comparison.path.name),
        "width": width,
        "height": height,
        "shown": list(reversed(shown)),
        "box": list(comparison.box),
        "rule": comparison.rule,
        "notes": [*comparison.notes, *(f"without {name}: {why}" for name, why in comparison.skipped.items())],
        "original": pictures(comparison.true),
        "small": {
            "format": comparison.format,
            "uri": _data_uri(comparison.small, comparison.icc),
            "width": comparison.small.shape[1],
            "height": comparison.small.shape[0],
        },
        "methods": [
            {"name": stored.method, **stored.figures(), **pictures(stored.pixels)}
            for stored in comparison.stored
        ],
    }


def _data_uri(pixels: RGB, icc: bytes | None) -> str:
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = icc
    return "data:image/webp;base64," + base64.b64encode(_LOSSLESS.encode(image)).decode()
