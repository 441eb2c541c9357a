"""What may happen to a small picture on its way: the conditions of a table, and what they cost."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from bdflow.codecs import JPEG, WEBP, Codec
from bdflow.methods.protocol import Pixels
from bdflow.reproduce.results import Document

AS_STORED, CHUNK_LOST = "as stored", "chunk lost"
CONDITIONS = (
    AS_STORED, CHUNK_LOST, "JPEG 30", "JPEG 50", "JPEG 70", "JPEG 80", "JPEG 90", "JPEG 95", "WebP 80",
    "a pixel smaller and back", "gamma 1.05", "last bit random",
)  # fmt: skip
RESAVED: Mapping[str, Codec] = {"JPEG": replace(JPEG, effort=0), "WebP": replace(WEBP, effort=4)}


def harm(rgb: Pixels, condition: str) -> Pixels:
    """A small picture after what happened to it on its way; of its old size.

    Args:
        rgb: uint8 (h, w, 3).
        condition: One of `CONDITIONS`. JPEG and WebP are as Pillow writes them unasked.
    """
    image = Image.fromarray(rgb)
    kind, _, number = condition.partition(" ")
    if codec := RESAVED.get(kind):
        return codec.decode(codec.encode(image, int(number)))
    if kind == "a":
        smaller = image.resize((max(1, image.width - 1), max(1, image.height - 1)), Image.Resampling.BICUBIC)
        return np.array(smaller.resize(image.size, Image.Resampling.BICUBIC))
    if kind == "gamma":
        return np.asarray((255 * (rgb / 255) ** (1 / float(number))).round(), np.uint8)
    if kind == "last":
        noise = np.random.default_rng(0).integers(0, 2, rgb.shape, np.uint8)
        return np.asarray(rgb & 254 | noise, np.uint8)
    return rgb


def gains(document: Document) -> dict[tuple[str, str, str], float]:
    """PSNR-Y over that of an enlarged bicubic thumbnail that went through the same, in dB, by set, model and
    condition."""
    rows = [row for row in document["rows"] if row["count"] and "condition" in row["facts"]]
    plain = {_place(row): row["mean"]["psnr_y"] for row in rows if row["facts"]["kind"] == "resampled"}
    return {
        (row["set"], row["facts"]["model"], row["facts"]["condition"]): row["mean"]["psnr_y"] - plain[place]
        for row in rows
        if row["facts"]["kind"] == "bdflow" and (place := _place(row)) in plain
    }


def losses_of_draws(document: Document) -> dict[float, list[float]]:
    """By how much PSNR-Y is lower with a drawn Z than with Z = 0, in dB: by sigma, of each set, model and
    seed."""
    rows = [row for row in document["rows"] if row["count"] and "model" in row["facts"]]
    stored = {
        (row["set"], row["facts"]["model"]): row["mean"]["psnr_y"]
        for row in rows
        if row["facts"].get("condition") == AS_STORED
    }
    losses: dict[float, list[float]] = {}
    for row in rows:
        if "sigma" in row["facts"] and (place := (row["set"], row["facts"]["model"])) in stored:
            losses.setdefault(row["facts"]["sigma"], []).append(stored[place] - row["mean"]["psnr_y"])
    return losses


def _place(row: Document) -> tuple[str, int, str]:
    return row["set"], row["facts"]["scale"], row["facts"]["condition"]
