"""One photograph in one codec: its thumbnails by factor and quality, and which files fit into a budget."""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from functools import cache

from PIL import Image

from bdflow.errors import BDFlowError
from bdflow.pictures.codecs import Codec
from bdflow.pictures.reader import Picture
from bdflow.runtime.enhancer import shrunk
from bdflow.system.files import reason

_SLOPE = 4.0  # logarithm of the bytes between the lowest and the highest quality, roughly
_SHRINKING = 1.3  # bytes go with the factor to the power of this, at a quality
_LOW = 3  # steps
_NEAR = 0.12  # a logarithm of bytes: so near, what a file restores to is in proportion to it
_NOISE = 2.0  # over the square root of a file's bytes: how far off they were foretold, relatively


class Rates:
    """What each quality takes. No file is coded twice, and few are coded at all.

    Qualities are counted by `Codec.steps`, from 0. Bytes are taken to grow with them, and their logarithms
    nearly in proportion: of two sizes follows the next to try.

    Args:
        picture: The photograph.
        quick: What codes while factors are compared.
        kept: What codes the file that is kept: `quick` itself, or the same format at more effort.
        guide: What is known of an excerpt of the photograph, and its share of the pixels.
    """

    def __init__(
        self, picture: Picture, quick: Codec, kept: Codec, guide: tuple["Rates", float] | None = None
    ) -> None:
        self.quick, self.kept, self._guide = quick, kept, guide
        self.steps = kept.steps
        self._thumbnail = cache(lambda factor: shrunk(picture, factor).to_pil())
        self._files: dict[tuple[Codec, float, int], bytes] = {}
        self._sizes: dict[float, dict[int, int]] = defaultdict(dict)  # of quick files
        self._more = 0.0  # logarithm of a kept file's bytes over those of a quick one, as seen last

    def file(self, codec: Codec, factor: float, step: int) -> bytes:
        """The file of a thumbnail.

        Raises:
            BDFlowError: The encoder refuses it.
        """
        key = codec, factor, step
        if key not in self._files:
            self._files[key] = encode(codec, self._thumbnail(factor), self.steps[step])
        return self._files[key]

    def size(self, factor: float, step: int) -> int:
        """Bytes of a quick file."""
        self._sizes[factor][step] = len(self.file(self.quick, factor, step))
        return self._sizes[factor][step]

    def around(self, factor: float, budget: int) -> tuple[int, int] | None:
        """Two steps near so many bytes, the nearer first; None where the lowest takes more."""
        sizes, last = self._sizes[factor], len(self.steps) - 1
        while True:
            nearest = sorted(sizes, key=lambda step: abs(math.log(sizes[step] / budget)))[:2]
            fitting = [step for step in sizes if sizes[step] <= budget]
            if fitting and len(nearest) == 2 and abs(math.log(sizes[nearest[0]] / budget)) < _NEAR:
                break
            step = min(max(round(self._guess(factor, budget)), 0), last)
            if step in sizes:  # it has too many bytes, or too few for the next to have more than enough
                step += 1 if sizes[step] <= budget else -1
            if step in sizes or not 0 <= step <= last:
                break
            self.size(factor, step)
        # There bytes need not grow with each step: the lowest decides, wherever the search began.
        if not fitting or (min(fitting) <= _LOW and self.size(factor, 0) > budget):
            return None
        return nearest[0], nearest[-1]

    def largest_quick(self, factor: float, budget: float) -> int:
        """The largest step whose quick file has at most so many bytes; -1 where none has."""
        sizes = self._sizes[factor]
        low = max((step for step, size in sizes.items() if size <= budget), default=-1)
        high = min((step for step in sizes if step > low), default=len(self.steps))
        tries = 0
        while high - low > 1:
            # Where bytes grow most unevenly, such as up to a lossless quality, halving is the safer.
            step = math.floor(self._guess(factor, budget)) if tries < 5 else (low + high) // 2
            step = min(max(step, low + 1), high - 1)
            low, high = (step, high) if self.size(factor, step) <= budget else (low, step)
            tries += 1
        return low

    def largest(
        self, factor: float, budget: int, enough: Callable[[int, bool], bool] = lambda step, fits: False
    ) -> int:
        """The largest step whose kept file has at most so many bytes; -1 where none has.

        Quick files foretell it: those of one picture and factor are larger by nearly the same part.

        Args:
            factor: Of the thumbnail.
            budget: Bytes.
            enough: Whether the search may end, given a step that was coded, and whether its file fits.
        """
        low, high, surplus = -1, len(self.steps), self._more
        while high - low > 1:
            step = min(max(self.largest_quick(factor, budget / math.exp(surplus)), low + 1), high - 1)
            size = len(self.file(self.kept, factor, step))
            surplus = math.log(size / self.size(factor, step))
            low, high = (step, high) if size <= budget else (low, step)
            if enough(step, low == step):
                break
            if low == step < high - 1:
                next_size = self.size(factor, step + 1) * math.exp(surplus)
                if next_size > budget * (1 + _NOISE / math.sqrt(budget)):
                    break
        self._more = surplus
        return low

    def _guess(self, factor: float, budget: float) -> float:
        """The step, in fractions, whose quick file has so many bytes."""
        points, slope = sorted(self._sizes[factor].items()), _SLOPE / len(self.steps)
        if self._guide and len(points) < 2:
            excerpt, share = self._guide
            step = excerpt._guess(factor, budget * share)
            return step + sum(
                known_step - excerpt._guess(factor, size * share) for known_step, size in points
            )
        if not points:
            guessable = [candidate for candidate, sizes in self._sizes.items() if sizes]
            if not guessable:
                return len(self.steps) / 2
            nearest = min(guessable, key=lambda candidate: abs(math.log(candidate / factor)))
            return self._guess(nearest, budget * (factor / nearest) ** _SHRINKING)
        after = min(max(bisect_left([size for _, size in points], budget), 1), len(points) - 1)
        step, size = points[after if len(points) > 1 else 0]
        if len(points) > 1:
            before, smaller = points[after - 1]
            slope = max(math.log(size / smaller) / (step - before), slope / 8)
        return step + math.log(budget / size) / slope


def encode(codec: Codec, image: Image.Image, quality: int) -> bytes:
    """The file of an image.

    Raises:
        BDFlowError: The encoder refuses it.
    """
    try:
        return codec.encode(image, quality)
    except BDFlowError:
        raise
    except Exception as error:  # each of Pillow's encoders has its own
        size = f"{image.width}x{image.height}"
        raise BDFlowError(f"{codec.name} cannot hold a picture of {size}: {reason(error)}") from error
