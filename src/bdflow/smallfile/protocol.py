"""What a container of the small file is asked for: one module each, named in `bdflow.smallfile.container`."""

from typing import BinaryIO, NamedTuple, Protocol

MOST_PARTS = 4096  # boxes, chunks or segments; with more, what takes time to read is no picture


class Parts(NamedTuple):
    """What a file holds, as far as it is known before pixels are decoded.

    Attributes:
        size: width and height of its picture; None where its header does not say.
        payload: bdflow's payload; the first if there are several, None if there is none.
        payloads: how many there are.
        pixels: bytes of the coded picture.
        profile: bytes of its colour profile, as stored.
        metadata: bytes of EXIF, XMP, IPTC and texts.
    """

    size: tuple[int, int] | None
    payload: bytes | None
    payloads: int
    pixels: int
    profile: int
    metadata: int = 0


class Container(Protocol):
    """A module that finds the payload in files of one format.

    How a payload is put there differs: PNG is written whole (`png.write`), the lossy codecs' files are given
    it (`insert`).

    Streams are seekable, and stand at the file's start. A file may be larger than memory: of what is not the
    payload, a block at a time is read, and nothing is decoded.
    """

    @property
    def NAME(self) -> str:
        """As in messages."""

    @property
    def ENDINGS(self) -> tuple[str, ...]:
        """Of file names, in lower case, with the dot."""

    def begins(self, head: bytes) -> bool:
        """Whether a file of this format begins so; `head` is its first 12 bytes, or all of a shorter one."""

    def holds_payload(self, stream: BinaryIO) -> bool:
        """Whether there is a payload, whole or not; reading ends where one is found.

        Raises:
            BDFlowError: the file is damaged before that.
        """

    def parts(self, stream: BinaryIO) -> Parts:
        """All of the file, checked as far as the format allows.

        Raises:
            BDFlowError: the file is damaged, or claims a payload larger than any.
        """
