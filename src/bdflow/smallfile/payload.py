"""The payload: the bytes that a container carries beside its picture, and that restore the photograph.

The first byte is the version. Version 1, which goes into PNG, has

    1 byte    version, 1
    1 byte    log2(scale) in bits 0..2, bits of the boundary map in bits 3..4; bit 5: the photograph is gray,
              though the LR image be in colour; bit 6: it was shrunk bicubically; bit 7 is 0
    1 + n     the model's name in UTF-8, behind its length
    8 bytes   the start of the SHA-256 of the model's weights
    varint x2 true width, true height (7 bits a byte, low bits first, top bit set on all but the last)
    4 bytes   CRC-32 of the LR samples: RGB, row by row, then alpha if there is any
    varint    only where bit 5 is set: length of
    any       the photograph's colour profile, deflated; nothing if there is none
    any       the boundary map as `bdflow.smallfile.boundary` codes it; nothing if there is none
    4 bytes   CRC-32 of all the above

with whole numbers big-endian. Version 2, which goes into AVIF, WebP and JPEG, has

    1 byte    version, 2
    1 byte    number of the factor in `FACTORS` in bits 0..3, of the domain in `DOMAINS` in bits 4..7
    1 byte    pixels that the thumbnail stands for beyond the photograph's right edge in bits 0..3, and beyond
              its lower edge in bits 4..7
    1 byte    the low 8 bits of the CRC-32 of the other three

It names no weights: any network that knows the domain and the codec restores the thumbnail. Another version
is one more class with the methods of `Payload`, and one more case of `unpack`; each container has its own.
"""

import io
import zlib
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from bdflow.errors import BDFlowError
from bdflow.pictures.limits import MAX_PIXELS, MAX_PROFILE
from bdflow.pictures.reader import Picture, too_large
from bdflow.smallfile import boundary as boundary_code
from bdflow.smallfile.downscaled import Downscaled, check_fits
from bdflow.smallfile.quantizer import quality
from bdflow.smallfile.thumbnail import DOMAINS, FACTORS, FORMATS, Domain, Thumbnail, check_grid, grid

VERSION, THUMBNAIL_VERSION = 1, 2  # the latest in PNG, which results of models tell; and in lossy codecs

# Bytes: a header with a profile, and at worst 3 raw bits for every 2x2 pixels of the largest photograph.
MAX_PAYLOAD = MAX_PROFILE + (1 << 12) + 3 * MAX_PIXELS // 4 // 8
SmallFile: TypeAlias = Downscaled | Thumbnail
DAMAGED = "its bdflow chunk is damaged: get the file again"


class Payload(Protocol):
    """What a payload says, of whatever version."""

    def check(self, small: tuple[int, int], max_pixels: int) -> None:
        """Refuse what can be refused before pixels are decoded.

        Args:
            small: width and height of the LR image.
            max_pixels: of the photograph.

        Raises:
            BDFlowError: the photograph is too large, or the LR image is not that of it.
        """

    def photograph(self, small: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the photograph whose LR image has the width and height `small`."""

    def with_picture(self, picture: Picture, data: bytes, format: str) -> SmallFile:
        """The small file: this, and the LR image that stood beside it.

        Args:
            picture: the LR image.
            data: the file, where its format is a lossy one.
            format: the container's name.

        Raises:
            BDFlowError: they do not fit, or a part of the payload is damaged.
        """

    def shares(self) -> dict[str, int]:
        """Bytes of the payload that are not header, by the names of `container.byte_report`."""


def unpack(data: bytes, format: str = "PNG") -> Payload:
    """Read a payload.

    Args:
        data: its bytes.
        format: the name of the container that they stood in.

    Raises:
        BDFlowError: it is damaged, or of a version that only a newer bdflow knows in such a container.
    """
    latest = THUMBNAIL_VERSION if format in FORMATS else VERSION
    if data[:1] > bytes([latest]):
        raise BDFlowError(f"made by a newer bdflow (format {data[0]}): upgrade bdflow")
    return Version2.unpack(data) if format in FORMATS else Version1.unpack(data)


class Version1(NamedTuple):
    """The fields of version 1, as they stand in the file; those of `Downscaled`, but for the last three.

    Attributes:
        pixels_crc: CRC-32 of the LR samples.
        profile: the colour profile of a gray photograph, deflated; nothing if there is none.
        boundary: the boundary map, coded; nothing if there is none.
    """

    model: str
    weights: bytes
    scale: int
    bits: int
    size: tuple[int, int]
    gray: bool
    bicubic: bool
    pixels_crc: int
    profile: bytes
    boundary: bytes

    @classmethod
    def of(cls, small: Downscaled) -> "Version1":
        """What restores a small picture.

        Raises:
            BDFlowError: the boundary map holds levels beyond its bits.
        """
        return cls(
            model=small.model,
            weights=small.weights,
            scale=small.scale,
            bits=small.bits,
            size=small.size,
            gray=small.gray,
            bicubic=small.bicubic,
            # Where they changed, a wrong one: whoever reads the file shall know, too.
            pixels_crc=_crc(small.image) ^ small.pixels_changed,
            profile=zlib.compress(small.image.icc, 9) if small.gray and small.image.icc else b"",
            boundary=b"" if small.boundary is None else boundary_code.encode(small.boundary, small.bits),
        )

    def pack(self) -> bytes:
        """The payload's bytes."""
        name = self.model.encode()
        packed = self.bicubic << 6 | self.gray << 5 | self.bits << 3 | self.scale.bit_length() - 1
        body = b"".join(
            (
                bytes([1, packed, len(name)]),
                name,
                self.weights,
                *map(varint, self.size),
                self.pixels_crc.to_bytes(4),
                varint(len(self.profile)) + self.profile if self.gray else b"",
                self.boundary,
            )
        )
        return body + zlib.crc32(body).to_bytes(4)

    @classmethod
    def unpack(cls, data: bytes) -> "Version1":
        """What `pack` wrote; neither the profile nor the boundary map is decoded yet.

        Raises:
            BDFlowError: it is damaged.
        """
        body, crc = data[:-4], data[-4:]
        if body[:1] != b"\1" or zlib.crc32(body).to_bytes(4) != crc:
            raise BDFlowError(DAMAGED)
        stream = io.BytesIO(body[1:])
        packed, name_length = _take(stream, 2)
        if packed >> 7:
            raise BDFlowError("made by a newer bdflow: upgrade bdflow")
        try:
            name = _take(stream, name_length).decode()
        except UnicodeDecodeError as error:
            raise BDFlowError(DAMAGED) from error
        return cls(
            model=name,
            weights=_take(stream, 8),
            scale=1 << (packed & 7),
            bits=packed >> 3 & 3,
            size=(read_varint(stream), read_varint(stream)),
            gray=(gray := bool(packed >> 5 & 1)),
            bicubic=bool(packed >> 6),
            pixels_crc=int.from_bytes(_take(stream, 4)),
            profile=_take(stream, read_varint(stream)) if gray else b"",
            boundary=stream.read(),
        )

    def check(self, small: tuple[int, int], max_pixels: int) -> None:
        """See `Payload`."""
        if why := too_large(*self.size, max_pixels):
            raise BDFlowError(f"the photograph's {why}")
        check_fits(small, self.size, self.scale)

    def photograph(self, _: tuple[int, int]) -> tuple[int, int]:
        """See `Payload`."""
        return self.size

    def with_picture(self, picture: Picture, data: bytes, format: str) -> Downscaled:
        """See `Payload`. Now the profile and the boundary map are decoded, too."""
        changed = _crc(picture) != self.pixels_crc
        if changed and (same := self._but_for_opaque_alpha(picture)):
            picture, changed = same, False
        if self.gray:
            picture = replace(picture, icc=_inflated(self.profile))
        small = Downscaled(
            image=picture,
            boundary=None,
            bits=self.bits,
            model=self.model,
            weights=self.weights,
            scale=self.scale,
            size=self.size,
            gray=self.gray,
            bicubic=self.bicubic,
            pixels_changed=changed,
        )
        if not self.boundary:
            return small
        # Only now is the LR image known to have the right size, and so the map.
        levels = boundary_code.decode(self.boundary, picture.height, picture.width, self.bits)
        return replace(small, boundary=levels)

    def _but_for_opaque_alpha(self, picture: Picture) -> Picture | None:
        """The picture that was stored, where one that looks like it was found: optimisers drop an alpha that
        is opaque everywhere, and other programs add one."""
        opaque = np.full(picture.rgb.shape[:2], 255, np.uint8)
        if picture.alpha is None:
            stored = replace(picture, alpha=opaque)
        elif np.array_equal(picture.alpha, opaque):
            stored = replace(picture, alpha=None)
        else:
            return None
        return stored if _crc(stored) == self.pixels_crc else None

    def shares(self) -> dict[str, int]:
        """See `Payload`."""
        return {"boundary": len(self.boundary), "profile": len(self.profile)}


class Version2(NamedTuple):
    """The fields of version 2.

    Attributes:
        factor, domain: those of `Thumbnail`.
        beyond: pixels that the thumbnail stands for beyond the photograph's right and its lower edge.
    """

    factor: float
    domain: Domain
    beyond: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], factor: float, domain: Domain) -> "Version2":
        """What restores the thumbnail of a photograph of this width and height."""
        across, down = _enlarged(grid(size, factor), factor)
        return cls(factor, domain, (across - size[0], down - size[1]))

    def pack(self) -> bytes:
        """The payload's bytes."""
        kind = DOMAINS.index(self.domain) << 4 | FACTORS.index(self.factor)
        body = bytes([2, kind, self.beyond[1] << 4 | self.beyond[0]])
        return body + bytes([zlib.crc32(body) & 255])

    @classmethod
    def unpack(cls, data: bytes) -> "Version2":
        """What `pack` wrote.

        Raises:
            BDFlowError: it is damaged, or names a factor or a domain that only a newer bdflow knows.
        """
        if len(data) != 4 or data[0] != 2 or zlib.crc32(data[:3]) & 255 != data[3]:
            raise BDFlowError(DAMAGED)
        factor, domain = data[1] & 15, data[1] >> 4
        if factor >= len(FACTORS) or domain >= len(DOMAINS):
            raise BDFlowError("made by a newer bdflow: upgrade bdflow")
        return cls(FACTORS[factor], DOMAINS[domain], (data[2] & 15, data[2] >> 4))

    def check(self, small: tuple[int, int], max_pixels: int) -> None:
        """See `Payload`."""
        size = self.photograph(small)
        if why := too_large(*size, max_pixels):
            raise BDFlowError(f"the photograph's {why}")
        check_grid(small, size, self.factor)

    def with_picture(self, picture: Picture, data: bytes, format: str) -> Thumbnail:
        """See `Payload`."""
        small = picture.width, picture.height
        return Thumbnail(
            image=picture,
            format=format,
            data=data,
            factor=self.factor,
            domain=self.domain,
            size=self.photograph(small),
            quality=quality(data),
        )

    def shares(self) -> dict[str, int]:
        """See `Payload`."""
        return {}

    def photograph(self, small: tuple[int, int]) -> tuple[int, int]:
        """See `Payload`."""
        across, down = _enlarged(small, self.factor)
        return across - self.beyond[0], down - self.beyond[1]


def _enlarged(small: tuple[int, int], factor: float) -> tuple[int, int]:
    """What a thumbnail of so many pixels stands for."""
    return int(small[0] * factor), int(small[1] * factor)


def _crc(picture: Picture) -> int:
    crc = zlib.crc32(picture.rgb.tobytes())
    return crc if picture.alpha is None else zlib.crc32(picture.alpha.tobytes(), crc)


def _inflated(profile: bytes) -> bytes | None:
    try:
        return zlib.decompressobj().decompress(profile, MAX_PROFILE) or None
    except zlib.error as error:
        raise BDFlowError(DAMAGED) from error


def _take(stream: io.BytesIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise BDFlowError(DAMAGED)
    return data


def varint(value: int) -> bytes:
    """A whole number, 0 or more: 7 bits a byte, low bits first, the top bit set on all but the last byte."""
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def read_varint(stream: io.BytesIO) -> int:
    """What `varint` wrote, from where the stream stands.

    Raises:
        BDFlowError: the stream ends in it, or it has more than 5 bytes.
    """
    value = 0
    for shift in range(0, 35, 7):
        (byte,) = _take(stream, 1)
        value |= (byte & 127) << shift
        if byte < 128:
            return value
    raise BDFlowError(DAMAGED)
