"""Made-up rows of results files: facts of each kind, with what no test asks about filled in."""

import msgspec

from bdflow.reproduce.facts import AnyFacts
from bdflow.reproduce.schemas import Results, Row, Settings, here

_WEIGHTS = {"weights": "0123456789abcdef", "onnxruntime": "1"}
_CODED = {"codec": "AVIF", "effort": 7, "pillow": "1"}
_TRAINED = {"network": "BDFlow", "model": "portraits-x8", "scale": 8, "format": 1, **_WEIGHTS}
_FITTED = {**_CODED, "network": "Restoration", "model": "n", **_WEIGHTS}
_DEFAULTS = {
    "bdflow": _TRAINED,
    "rival": _TRAINED,
    "resampled": {"filter": "bicubic", "scale": 8, "pillow": "1"},
    "codec": _CODED,
    "fitted": _FITTED,
    "enlarged": _FITTED,
    "superresolution": {"network": "ESRGAN", "scale": 8},
    "pca": {"side": 128, "fitted_on": 9, "fitted_on_files": "0", "components": 24},
    "placeholder": {"name": "ThumbHash"},
    "external": {"name": "GRAIN-x8", "scale": 8, "files": "0"},
}


def facts(kind, **own):
    """The facts of a method."""
    return msgspec.convert({"kind": kind, **_DEFAULTS[kind], **own}, AnyFacts)


def row(name, kind, pictures, *, method=None, failed=None, **own):
    """A row of a set: figures by picture."""
    return Row.of(name, method or f"a {kind}", facts(kind, **own), pictures, failed)


def results(table, rows, **settings):
    """A results file of rows, whose pictures have their names as digests."""
    names = {}
    for each in rows:
        names.setdefault(each.set, {}).update({name: name for name in (*each.pictures, *each.failed)})
    return Results(
        reproduces=table,
        settings=Settings(**{"crop": 0, **settings}),
        environment=here(),
        earlier=[],
        sets=names,
        rows=list(rows),
    )
