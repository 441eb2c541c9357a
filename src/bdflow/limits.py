"""The largest pictures that bdflow takes, and its scales; quick to import, for `bdflow --help`."""

MAX_PIXELS = 400_000_000  # unless another limit is given
MAX_PROFILE = 1 << 20  # bytes; Pillow refuses to read a larger one back from a PNG
MAX_SIDE = 1_000_000  # of the large picture; a thinner one would be mostly padding in the network
SCALES = (2, 4, 8, 16, 32, 64)  # of the PNG, each way: what its payload can tell
MAX_METADATA = 65_000  # bytes, each of EXIF, XMP and IPTC; what a segment of a JPEG can hold
