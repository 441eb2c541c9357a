"""Which model shrinks a photograph into a PNG: where several may, the one that restores it better."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bdflow.fitting.estimate import excerpt, measured
from bdflow.pictures.reader import Picture
from bdflow.pictures.transparency import spread
from bdflow.runtime.computing import DEFAULT, Computing
from bdflow.runtime.rescaler import Rescaler
from bdflow.zoo import Model, defaults, find

_SHARE = 1 / 16  # of the photograph's pixels, on which models are tried
_LEAST, _MOST = 256 * 256, 1e6  # of them
_CELLS = 32  # pixels of the small picture in a block of an excerpt, each way


class Rescalers:
    """The models that may shrink a photograph. Safe to share between threads, and can be pickled.

    Args:
        models: Of one scale; where they restore a picture equally well, the first is taken.
        computing: How they are run.

    Raises:
        BDFlowError: As `bdflow.runtime.rescaler.Rescaler`.
    """

    def __init__(self, models: Sequence[Model], computing: Computing = DEFAULT) -> None:
        self._rescalers = tuple(Rescaler(model, computing) for model in models)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process loads the models anew."""
        return Rescalers, ([each.model for each in self._rescalers], self._rescalers[0].computing)

    @property
    def scale(self) -> int:
        """How many times smaller each way."""
        return self._rescalers[0].model.scale

    def of(self, photographs: Iterable[Picture]) -> Rescaler:
        """The model that restores them with the highest PSNR, the mean of that on luma and that on RGB.

        All are tried on parts of each, a sixteenth of its pixels; a small one is tried as a whole. Where
        there is one model, nothing is tried.
        """
        if len(self._rescalers) == 1:
            return self._rescalers[0]
        sums = [0.0] * len(self._rescalers)
        for photograph in photographs:
            pixels = photograph.width * photograph.height
            tried = min(max(_LEAST, _SHARE * pixels), _MOST)
            sample = excerpt(spread(photograph), tried, _CELLS * self.scale)
            for number, rescaler in enumerate(self._rescalers):
                sums[number] += measured(sample.rgb, [rescaler.rgb(rescaler.downscale(sample))]).mean
        return self._rescalers[sums.index(max(sums))]


def rescalers(
    model: str | Path | None = None,
    scale: int | None = None,
    domain: str | None = None,
    *,
    trust: bool = False,
    computing: Computing = DEFAULT,
) -> Rescalers:
    """The model that is named, or that of a scale and a domain, or all that a scale has by default.

    Args:
        model, scale, domain, trust: As for `bdflow.zoo.find`.
        computing: How they are run.

    Raises:
        BDFlowError: There is no such model, its files are damaged or not trusted, or it cannot run so.
    """
    if model is None and scale is not None and domain is None:
        return Rescalers(defaults(scale), computing)
    return Rescalers([find(model, scale, domain=domain, trust=trust)], computing)
