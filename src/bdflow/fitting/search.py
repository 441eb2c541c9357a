"""The search for the file of one photograph in one codec within a number of bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from bdflow.errors import BDFlowError
from bdflow.fitting.candidates import Candidates, Fitted, best
from bdflow.fitting.estimate import Quality, gain
from bdflow.fitting.rates import Rates
from bdflow.pictures.codecs import AVIF_FOR_EYE, Codec
from bdflow.pictures.reader import Picture
from bdflow.runtime.enhancer import Enhancer
from bdflow.smallfile.thumbnail import Domain

_QUICK = 4  # AVIF's effort while factors are compared
_LIKELY = 0.5  # the factor that is likely the best, at one bit a pixel
_FULL_SIZE = 0.15  # dB that AVIF's full effort gains more at full size than elsewhere
_CLOSE = 0.25  # dB: what two files are expected to restore to is no surer than that
_STEP = 0.5  # dB, at most and roughly, from one step of quality to the next
_UNEVEN = 5  # steps of quality
_PER_CODEC = 1.5  # dB that a network adds to one codec's files and not to another's, roughly at most


@dataclass(frozen=True)
class Effort:
    """How much is tried.

    Attributes:
        avif: By how much AVIF's encoder makes more of an effort than usual for the file that is kept; each of
            them is tried.
        slack: Decibels by which a factor, enlarged plainly, may seem worse than the best, and its network's
            gain is estimated yet.
        every_domain: Whether that is done for each domain, or for what suited the first factor.
        margin: Decibels by which a file may then seem worse than the best, and is made and restored yet.
        finalists: How many are made and restored, at most.
        pixels: How many these may have together, but for the first: a large picture is restored once.
        whole: Whether a large picture is looked at as a whole, or by an excerpt.
    """

    avif: tuple[int, ...]
    slack: float
    every_domain: bool
    margin: float
    finalists: int
    pixels: float = math.inf
    whole: bool = False


class TooFewBytesError(BDFlowError):
    """No file fits.

    Attributes:
        least: The fewest bytes that would do; infinite where the format cannot hold the picture.
    """

    def __init__(self, message: str, least: float) -> None:
        super().__init__(message)
        self.least = least

    def __reduce__(self) -> tuple[type["TooFewBytesError"], tuple[str, float]]:
        return TooFewBytesError, (str(self), self.least)


class Prospect(NamedTuple):
    """A kind of file, and what it would restore to, roughly, if it took all of the bytes."""

    factor: float
    domain: Domain
    quality: Quality

    @property
    def mean(self) -> float:
        """Of `quality`."""
        return self.quality.mean


class Search:
    """The search.

    Args:
        picture: The photograph, in sRGB.
        enhancer: What restores it.
        codec: What codes the file that is kept.
        networks: The domains that a network may take the photograph for.
        budget: Bytes that the file may have.
        effort: How much is tried.
        scout: The search for an excerpt of the photograph, in its share of the bytes: what suits that
            suits the whole.
    """

    def __init__(
        self,
        picture: Picture,
        enhancer: Enhancer,
        codec: Codec,
        networks: Sequence[Domain],
        budget: int,
        effort: Effort,
        scout: "Search | None" = None,
    ) -> None:
        self.picture, self.enhancer, self.codec = picture, enhancer, codec
        self.networks, self.budget, self.effort = networks, budget, effort
        self.files = Candidates(picture, enhancer, codec)
        quick = replace(codec, effort=min(_QUICK, codec.effort or 0)) if codec.name == "AVIF" else codec
        self.scout = scout
        if scout:
            share = scout.picture.width * scout.picture.height / (picture.width * picture.height)
            scout.files.factors = self.files.factors
            self.rates: Rates = Rates(picture, codec, codec, (scout.rates, share))
        else:
            self.rates = Rates(picture, quick, codec)
        self.plain: dict[float, Prospect] = {}  # by factor: those that were looked at, where any file fits

    def prospects(self, start: float | None = None, beat: float = -math.inf) -> list[Prospect]:
        """Kinds of file that may restore best, the best first; none where nothing fits or can win.

        Factors are looked at from a likely one outwards, enlarged plainly; then, of those that come close to
        the best, what a network adds is estimated.

        Args:
            start: Where to begin; None takes what the bits per pixel suggest.
            beat: The mean PSNR of another codec's file, enlarged plainly from that factor.
        """
        factors = self.files.factors
        if not factors or self._room < 1:
            return []
        if self.scout:
            prospects = self.scout.prospects(start, beat)
            self.plain = self.scout.plain
            return prospects
        near = start or _LIKELY / math.sqrt(
            8 * self._room_without_payload / (self.picture.width * self.picture.height)
        )
        start = min(factors, key=lambda factor: abs(math.log(factor / near)))
        if self._look(start) < beat - _PER_CODEC:
            return []
        middle = factors.index(start)
        for side in (factors[middle + 1 :], factors[:middle][::-1]):
            for factor in side:
                if self._look(factor) < self._highest - self.effort.slack:
                    break
        found: list[Prospect] = []
        for plain in sorted(self.plain.values(), key=lambda each: -each.mean):
            if plain.mean >= self._highest - self.effort.slack:
                found += self._restored(plain, found)
        return sorted(found, key=lambda each: -each.mean)

    def settle(self, prospects: Sequence[Prospect]) -> Fitted:
        """The best file of these kinds, made and restored as a whole.

        Raises:
            TooFewBytesError: No file fits.
        """
        if not prospects:
            return self._without_payload()
        threshold = prospects[0].mean - self.effort.margin
        likely = [prospect for prospect in prospects if prospect.mean >= threshold]
        if not self.effort.every_domain:  # the best of each factor
            likely = list({prospect.factor: prospect for prospect in reversed(likely)}.values())[::-1]
        affordable = int(min(self.effort.pixels / (self.picture.width * self.picture.height), 1e9))
        finalists = likely[: min(self.effort.finalists, max(1, affordable))]
        with_payload = [prospect for prospect in finalists if prospect[:2] != (1, "plain")]  # that needs none
        restored = [self._made(*prospect) for prospect in with_payload]
        codec_alone = None
        if self._own_may_win(finalists):
            codec_alone = self._own(best(restored) if restored else None)
        if codec_alone is None and not restored:  # where a payload saves bytes
            restored = [self._made(*finalists[0])]
        return best(restored, codec_alone)

    def settle_for_look(self, prospects: Sequence[Prospect]) -> Fitted:
        """For the eye: a file of the kind that PSNR chooses, with AVIF tuned otherwise (docs/studies.md).

        Raises:
            TooFewBytesError: No file fits.
        """
        if not prospects or self.codec.name != "AVIF":
            return self.settle(prospects)
        codec, (factor, domain, _) = replace(self.codec, tuning=AVIF_FOR_EYE.tuning), prospects[0]
        rates = Rates(self.picture, codec, codec, (self.rates, 1.0))
        alone = (factor, domain) == (1, "plain")
        step = rates.largest(factor, self._room_without_payload if alone else self._room)
        if step < 0:
            return self.settle(prospects)
        coded, quality = rates.file(codec, factor, step), rates.steps[step]
        if alone:
            return self.files.own(coded, quality)
        return self.files.with_payload(factor, coded, quality, domain)

    @cached_property
    def _room(self) -> int:
        """Bytes that are left beside a payload and the metadata."""
        factor = self.files.factors[-1]
        coded = self.rates.file(self.rates.quick, factor, 0)
        return self.budget - (len(self.files.thumbnail(factor, coded, "plain").data) - len(coded))

    @cached_property
    def _room_without_payload(self) -> int:
        """Bytes that are left beside the metadata alone."""
        coded = self.rates.file(self.rates.quick, self.files.factors[-1], 0)
        return self.budget - (len(self.files.packed(coded)) - len(coded))

    @property
    def _highest(self) -> float:
        return max((each.mean for each in self.plain.values()), default=-math.inf)

    def _look(self, factor: float) -> float:
        """The mean PSNR, enlarged plainly, of a file that takes all of the bytes; minus infinity of none."""
        rates, steps = self.rates, self.rates.around(factor, self._room)
        if steps is None:
            return -math.inf
        quality, other_quality = (
            self.files.enlarged(factor, rates.file(rates.quick, factor, step)) for step in steps
        )
        size, other_size = (rates.size(factor, step) for step in steps)
        room = self._room
        between = size <= room < other_size or other_size <= room < size
        if between and abs(steps[0] - steps[1]) == 1:
            room = min(size, other_size)  # there is no file in between
        if size != other_size and rates.steps[steps[0]] != self.codec.qualities[1]:
            share = math.log(room / size) / math.log(other_size / size)
            quality = Quality(*(a + share * (b - a) for a, b in zip(quality, other_quality, strict=True)))
        if factor == 1 and rates.quick != self.codec:
            quality = Quality(quality.y + _FULL_SIZE, quality.rgb + _FULL_SIZE)
        self.plain[factor] = Prospect(factor, "plain", quality)
        return quality.mean

    def _restored(self, plain: Prospect, better: Sequence[Prospect]) -> list[Prospect]:
        """A factor without a network, and with it, given what was found of better ones."""
        networks, factor = self.networks, plain.factor
        if not self.effort.every_domain:  # what suits one factor suits the others
            suiting = max(
                (prospect for prospect in better if prospect.domain != "plain"),
                key=lambda prospect: prospect.mean,
                default=None,
            )
            networks = [suiting.domain] if suiting else networks
        step, _ = self.rates.around(factor, self._room) or (0, 0)
        coded = self.rates.file(self.rates.quick, factor, step)
        prospects = [plain]
        for domain in networks:
            decibels = gain(self.picture.rgb, self.files.thumbnail(factor, coded, domain), self.enhancer)
            if factor > 1 or min(decibels) > 0:  # else the codec's own file is the better in one measure
                quality = Quality(plain.quality.y + decibels.y, plain.quality.rgb + decibels.rgb)
                prospects.append(Prospect(factor, domain, quality))
        return prospects

    def _own_may_win(self, finalists: Sequence[Prospect]) -> bool:
        """Whether the codec's own file at full size has to be made to know."""
        if any(factor == 1 for factor, *_ in finalists):
            return True
        if 1 not in self.plain:
            return False
        plain, likely = self.plain[1].quality, finalists[0].quality
        return plain.y > likely.y - _CLOSE or plain.rgb > likely.rgb - _CLOSE

    def _made(self, factor: float, domain: Domain, _: object) -> Fitted:
        """The largest file of a kind that fits, restored."""
        codec, step = self.codec, self.rates.largest(factor, self._room)
        if step < 0:  # less effort, and fewer bytes here
            codec, step = self.rates.quick, self.rates.largest_quick(factor, self._room)
        coded = self.rates.file(codec, factor, step)
        return self.files.with_payload(factor, coded, self.rates.steps[step], domain)

    def _own(self, rival: Fitted | None = None) -> Fitted | None:
        """The codec's own file at full size: the largest that fits, or one so much worse than a rival that
        a larger one is not worth its time; None where none fits."""
        room = self._room_without_payload if 1 in self.files.factors else 0
        if room < 1:
            return None

        def restored(step: int) -> Fitted:
            return self.files.own(self.rates.file(self.codec, 1, step), self.rates.steps[step])

        def hopeless(step: int, fits: bool) -> bool:
            if rival is None:
                return False
            file, more = restored(step), _STEP if fits else 0
            return file.psnr_y + more < rival.psnr_y and file.psnr_rgb + more < rival.psnr_rgb

        step = self.rates.largest(1, room, hopeless)
        if step < 0:
            return None
        if self.codec.name == "AVIF":
            return restored(step)
        # WebP and JPEG now and then take fewer bytes for a higher quality, or restore better at a lower one.
        near = range(max(0, step - _UNEVEN), min(len(self.rates.steps), step + _UNEVEN + 1))
        return best([restored(nearby) for nearby in near if self.rates.size(1, nearby) <= room])

    def _without_payload(self) -> Fitted:
        """The codec's own file, where none with a payload fits."""
        if codec_alone := self._own():
            return codec_alone
        width, height = self.files.size
        problem = f"{self.codec.name} cannot hold this {width}x{height} picture"
        if not self.files.factors:
            raise TooFewBytesError(f"{problem} at any factor", math.inf)
        overhead = self.budget - self._room
        least = min(self.rates.size(factor, 0) + overhead for factor in self.files.factors)
        if 1 in self.files.factors:
            overhead_alone = self.budget - self._room_without_payload
            least = min(least, len(self.rates.file(self.codec, 1, 0)) + overhead_alone)
        if self.picture.metadata:
            problem += " and its metadata"
        raise TooFewBytesError(f"{problem} in {self.budget:,} bytes: allow it {least:,}", least)
