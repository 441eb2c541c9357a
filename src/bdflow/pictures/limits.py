"""The largest pictures that bdflow takes, and its scales; quick to import, for `bdflow --help`."""

MAX_PIXELS = 400_000_000  # unless another limit is given
MAX_PROFILE = 1 << 20  # bytes; Pillow refuses to read a larger one back from a PNG
MAX_SIDE = 1_000_000  # of the large picture; a thinner one would be mostly padding in the network
SCALES = (2, 4, 8, 16, 32, 64)  # of the PNG, each way: what its payload can tell
MAX_METADATA = 65_000  # bytes, each of EXIF, XMP and IPTC; what a segment of a JPEG can hold


def too_large(width: int, height: int, max_pixels: int = MAX_PIXELS) -> str | None:
    """Why a picture has more pixels, or a longer side, than bdflow takes; None if it has not."""
    if width * height > max_pixels:
        return f"{width}x{height} is more than {max_pixels:,} pixels"
    return (
        f"{width}x{height} has a side of more than {MAX_SIDE:,} pixels"
        if max(width, height) > MAX_SIDE
        else None
    )
