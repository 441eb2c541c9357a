"""What a server takes on; quick to import, for `bdflow --help`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How much a server takes on, of one request and of all.

    Attributes:
        max_bytes: Of a body. It is read no further than that; 413.
        max_pixels: Of a small picture and of a photograph, told by the header, before it is decoded; 422.
        seconds: Three times: for a body to arrive (408), for its turn to come (503), and for the work (503),
            whose process is then killed. As many, and one more for every 100,000 bytes, for the answer to be
            taken; then the connection is closed.
        jobs: Pictures that are worked on at once, each by a process of its own.
        queue: Further ones that may wait; the next is refused at once, 429.
        grace: Seconds in which work may be finished after a request to end; what is left is refused, 503.
        connections: Open at once; the next is refused, 503.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    seconds: float = 60
    jobs: int = 1
    queue: int = 16
    grace: float = 30
    connections: int = 1000
