"""What a worker process does with a body. Its networks stay loaded from one to the next."""

import ctypes
import io
import os
import signal
import sys
from functools import cache, lru_cache
from typing import NamedTuple

from bdflow import fitting, zoo
from bdflow.errors import BDFlowError
from bdflow.pictures import codecs, reader
from bdflow.runtime.computing import Computing
from bdflow.runtime.enhancer import Enhancer
from bdflow.runtime.restorer import Restorer
from bdflow.server.queries import TYPES, Restore, Shrink
from bdflow.smallfile.container import ending_of
from bdflow.zoo import Purpose, find_restoration

_DIE_WITH_PARENT = 1  # Linux's PR_SET_PDEATHSIG


class Answer(NamedTuple):
    """A picture to answer with.

    Attributes:
        type: Such as `image/avif`.
        data: The file.
        notes: What the client should know, a short line each.
    """

    type: str
    data: bytes
    notes: tuple[str, ...]


class Refused(NamedTuple):
    """Why a body cannot be worked on: a line for the client."""

    reason: str


@cache
def prepare(computing: Computing) -> None:
    """Get this process ready for work; quick when it is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches it, too: the server decides
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a pipe that nobody reads
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    _enhancer(computing)


def shrink(data: bytes, query: Shrink, computing: Computing, max_pixels: int) -> Answer | Refused:
    """The small file of a photograph."""
    try:
        picture = reader.read(data, max_pixels=max_pixels)
        small = fitting.fit(picture, _enhancer(computing), query.goal()).small
    except BDFlowError as error:
        return _refusal(error)
    assert small.format is not None  # it was coded just now
    return Answer(TYPES[ending_of(small.format)[1:]], small.data, small.notes)


def restore(data: bytes, query: Restore, computing: Computing, max_pixels: int) -> Answer | Refused:
    """The photograph of a small file."""
    try:
        restorer = _restorer(query.purpose, *query.given("scale", "domain").items(), computing=computing)
        rescaler, small, remarks = restorer.accept(data, max_pixels=max_pixels)
        options, ending = query.given("quality"), query.format
        alpha = small.image.alpha is not None
        codecs.check_writable(f"a.{ending}", *small.size, alpha=alpha, **options)
        picture, buffer = rescaler.restore_strips(small), io.BytesIO()
        if ending == "png":
            picture.write_png(buffer)
        else:
            codecs.save(picture.to_pil(), buffer, ending, metadata=picture.metadata, **options)
    except BDFlowError as error:
        return _refusal(error)
    return Answer(TYPES[ending], buffer.getvalue(), tuple(remarks))


def _refusal(error: BDFlowError) -> Refused:
    """What a client may read.

    Raises:
        RuntimeError: It is not the client's fault: a model's files are damaged.
    """
    if str(zoo.BUILT_IN) in str(error):
        raise RuntimeError(str(error))
    return Refused(str(error).removeprefix("the data: "))


@lru_cache(maxsize=1)
def _enhancer(computing: Computing) -> Enhancer:
    return Enhancer(find_restoration(), computing)


@lru_cache(maxsize=2)  # a network each, and those of PNGs: memory stays bounded
def _restorer(purpose: Purpose, *options: tuple[str, object], computing: Computing) -> Restorer:
    return Restorer(purpose=purpose, computing=computing, **dict(options))  # type: ignore[arg-type]
