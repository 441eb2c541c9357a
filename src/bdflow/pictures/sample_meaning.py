"""What the samples of a file without a profile mean, by its own word, where that is far from sRGB."""

from typing import BinaryIO

from bdflow.pictures import png_input

# Transfer characteristics of ITU-T H.273, as in PNG's cICP and AVIF's nclx; those near sRGB are missing.
_TRANSFERS = {8: "linear", 9: "logarithmic", 10: "logarithmic", 16: "PQ (HDR)", 18: "HLG (HDR)"}
_HEAD = 1 << 16  # bytes of an AVIF that hold its properties


def other_than_srgb(stream: BinaryIO) -> str | None:
    """Such as "linear" or "PQ (HDR)"; None where samples are near sRGB, or the file does not say."""
    stream.seek(0)
    head = stream.read(_HEAD)
    if head.startswith(png_input.SIGNATURE):
        return _of_png(stream)
    _, marker, colour = head.partition(b"colrnclx") if head[4:8] == b"ftyp" else (b"", b"", b"")
    return _TRANSFERS.get(int.from_bytes(colour[2:4])) if marker else None


def _of_png(stream: BinaryIO) -> str | None:
    if (cicp := png_input.content(stream, b"cICP")) and len(cicp) == 4:
        return _TRANSFERS.get(cicp[1])
    gamma = png_input.content(stream, b"gAMA")
    if gamma and len(gamma) == 4 and png_input.content(stream, b"sRGB") is None:
        exponent = int.from_bytes(gamma) / 100_000
        if exponent >= 0.9:
            return "linear"
        if exponent and not 1 / 2.7 <= exponent <= 1 / 1.7:  # sRGB is about 1 / 2.2
            return f"gamma {exponent:g}"
    return None
