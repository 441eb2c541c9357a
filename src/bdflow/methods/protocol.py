"""What every method does: a picture to bytes, and these bytes back to a picture."""

from typing import Protocol

from bdflow.errors import BDFlowError
from bdflow.pictures.picture import RGB

_SIZE_BYTES = 4  # height and width, 16 bits each
_MAX_SIDE = 0xFFFF


class Method(Protocol):
    """A way to store a picture small. What counts is the bytes needed to decode, and the decoded picture."""

    @property
    def name(self) -> str:
        """What tables and labels say."""

    def encode(self, rgb: RGB) -> bytes:
        """All that `decode` needs of `rgb`, uint8 (H, W, 3); BDFlowError if the method cannot have it."""

    def decode(self, data: bytes) -> RGB:
        """The picture, uint8 (H, W, 3), from what `encode` gave and nothing else."""


def round_trip(method: Method, rgb: RGB) -> tuple[bytes, RGB]:
    """What a method makes of a picture.

    Returns:
        The encoded bytes, and the picture decoded from just these, uint8 (H, W, 3).

    Raises:
        BDFlowError: The method cannot store this picture, or a package that it needs is missing.
        ValueError: `rgb` is not a uint8 picture (H, W, 3).
    """
    data = method.encode(rgb)
    return data, method.decode(data)


def with_size(rgb: RGB, data: bytes) -> bytes:
    """Put a picture's true height and width before data that do not tell them; they are counted too.

    Raises:
        BDFlowError: A side is above 65535 pixels.
    """
    height, width = rgb.shape[:2]
    if max(height, width) > _MAX_SIDE:
        raise BDFlowError(f"{width}x{height} pixels are too many: a side may have {_MAX_SIDE} at most")
    return int(height).to_bytes(2) + int(width).to_bytes(2) + data


def split_size(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Height and width, and the data, of what `with_size` joined."""
    return (int.from_bytes(data[:2]), int.from_bytes(data[2:_SIZE_BYTES])), data[_SIZE_BYTES:]


def is_gray(rgb: RGB) -> bool:
    """Whether all three channels are equal: a method may then store one."""
    return bool((rgb[..., :1] == rgb[..., 1:]).all())
