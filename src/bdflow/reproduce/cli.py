"""The verb `bdflow reproduce`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.types import NonNegativeInt, PositiveInt

from bdflow.arguments import DEFAULT, Computing, Switch
from bdflow.extras import needs
from bdflow.streams import say

Folders = Annotated[list[Path] | None, Parameter(negative=())]


def reproduce(
    tables: list[str],
    /,
    *,
    data: Folders = None,
    out: Annotated[Path | None, Parameter(("--out", "-o"))] = None,
    page: Path | None = None,
    limit: PositiveInt | None = None,
    quick: Switch = False,
    model: Annotated[list[Path] | None, Parameter(("--model", "-m"), negative=())] = None,
    trust: Switch = False,
    external: Annotated[list[str] | None, Parameter(negative=())] = None,
    train: Folders = None,
    crop: NonNegativeInt = 0,
    computing: Computing = DEFAULT,
) -> None:
    """Measure the paper's tables and figures anew, and print them. Needs bdflow[bench].

    What the results hold already is not measured again: a run that was stopped goes on.

    Args:
        tables: table1 to table6, curves, marks, invertibility, figure1, figure2, figure4 to figure6, or all.
        data: A folder of test pictures, or one with the known sets (portraits/test, photos/kodak24, ...);
            repeat it for more. Default: $BDFLOW_DATA.
        out: The folder for results, NAME.json each. Default: results; of quick runs quick-results.
        page: A folder for results.md and its plots, made of all results in --out.
        limit: Pictures of each set. Default: all (figure2: 30).
        quick: One small picture a set and few settings, to try it: 5 minutes at most.
        model: A further model folder, beside the built-in ones.
        trust: Take model folders that did not come with bdflow.
        external: NAME=DIR, a folder of pictures that another program restored, with bytes.csv
            (picture,bytes). End NAME in -x8 to say its scale.
        train: A folder of aligned portraits that PCA is fitted on. Default: portraits/train in --data.
        crop: Border pixels that PSNR leaves out.
    """
    needs("bench")
    from bdflow.reproduce.main import Request, run

    default = os.environ.get("BDFLOW_DATA")
    request = Request(
        tables=tuple(tables),
        data=tuple(data or ([Path(default)] if default else [])),
        out=out or Path("quick-results" if quick else "results"),
        page=page,
        limit=limit,
        quick=quick,
        models=tuple(model or ()),
        trust=trust,
        externals=tuple(external or ()),
        train=tuple(train or ()),
        crop=crop,
        computing=computing,
    )
    run(request, say)
