"""The largest pictures that bdflow takes, and its scales; quick to import, for `bdflow --help`."""

MAX_PIXELS = 400_000_000
"""Pixels of the largest picture that is read, unless the caller gives another limit."""

MAX_PROFILE = 1 << 20
"""Bytes of the largest colour profile; Pillow refuses to read a larger one back from a PNG."""

MAX_SIDE = 1_000_000
"""Pixels of the longest side; a longer picture would be mostly padding in the network."""

SCALES = (2, 4, 8, 16, 32, 64)
"""How many times smaller the PNG may be, each way: the scales that its payload has codes for."""

MAX_METADATA = 65_000
"""Bytes of EXIF, of XMP and of IPTC; a segment of a JPEG holds no more."""


def too_large(width: int, height: int, max_pixels: int = MAX_PIXELS) -> str | None:
    """Why a picture has more pixels, or a longer side, than bdflow takes; None if it has not."""
    if width * height > max_pixels:
        return f"{width}x{height} is more than {max_pixels:,} pixels"
    return (
        f"{width}x{height} has a side of more than {MAX_SIDE:,} pixels"
        if max(width, height) > MAX_SIDE
        else None
    )
