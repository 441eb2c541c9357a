"""The rooms of the house: each imports only from those below it, in functions, too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import bdflow

ROOT = Path(bdflow.__file__).parent
# From below; rooms of a line know nothing of each other.
ROOMS = (
    ("errors", "version"),
    ("system",),
    ("pictures",),
    ("smallfile", "networks", "quality"),
    ("zoo",),
    ("runtime",),
    ("fitting",),
    ("__init__",),  # the public functions
    ("methods",),
    ("evaluation",),
    ("batch", "compare", "train", "server"),
    ("cluster",),
    ("reproduce",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
NO_CODE = {"assets", "models", "py.typed", "__pycache__"}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """The rooms that a file imports from, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "bdflow":
                first = rest.split(".")[0]
                yield first if first in FLOOR else "__init__"


def test_every_room_has_its_floor():
    assert {room(path) for path in ROOT.iterdir() if path.name not in NO_CODE} == set(FLOOR)


def test_imports_point_downwards():
    wrong = {
        f"{path.relative_to(ROOT)} imports {other}"
        for path in ROOT.rglob("*.py")
        for other in imports(path)
        if other != room(path) and FLOOR[other] >= FLOOR[room(path)]
    }
    assert not wrong


def test_a_room_has_three_files_or_more():
    for path in ROOT.iterdir():
        if path.is_dir() and path.name not in NO_CODE:
            assert len(list(path.glob("[!_]*.py"))) >= 2, path.name
