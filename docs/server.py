"""The tables of docs/server.md: the limits, of the code that keeps them, and what the slow tests measured."""

import json
import re
from dataclasses import fields
from pathlib import Path

from bdflow.evaluation.grid import markdown
from bdflow.server.limits import Limits

_TESTS = ("test_server_load.py::test_a_hundred_clients", "test_server.py::test_schemathesis")


def limits() -> str:
    """Each option, its default, and what it bounds."""
    told = dict(re.findall(r"^        (\w+): (.*(?:\n {12}.*)*)", Limits.__doc__ or "", re.MULTILINE))
    rows = []
    for field in fields(Limits):
        option = f"`--{field.name.replace('_', '-')}`"
        default = (
            "one a core, as far as memory goes at 2 GB each" if field.name == "jobs" else f"{field.default:,}"
        )
        rows.append((option, default, re.sub(r"\s+", " ", told[field.name])))
    return markdown(("option", "default", "bounds"), rows)


def measured(path: Path) -> str:
    """What the slow tests of the server found when they were last run."""
    rows = []
    for name, run in json.loads(path.read_text()).items():
        if name.removeprefix("tests/").startswith(_TESTS):
            own = {k: v for k, v in run.items() if k not in ("outcome", "seconds", "environment")}
            test = name.split("::")[1].removeprefix("test_").replace("_", " ")
            where = f"{run['environment']['cores']} cores of {run['environment']['processor']}"
            rows.append(
                (
                    test,
                    f"{run['outcome']}, seconds",
                    f"{run['seconds']:,}",
                    where,
                    run["environment"]["commit"],
                )
            )
            rows += [("", what, f"{value:,}", "", "") for what, value in own.items()]
    return markdown(("test", "measured", "", "on", "commit"), rows)
