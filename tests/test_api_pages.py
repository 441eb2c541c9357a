"""The pages of the Python package can be made, and faults in them are noticed."""

import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def api():
    spec = importlib.util.spec_from_file_location("api_pages", ROOT / "docs" / "api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def module_of(folder: Path, monkeypatch, text: str):
    """A module `shown` with this text."""
    (folder / "shown.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(importlib.sys.modules, "shown", raising=False)
    importlib.invalidate_caches()
    return importlib.import_module("shown")


def test_pages_of_all_public_modules_are_made_without_a_fault(api, tmp_path):
    modules = [importlib.import_module(name) for name in api.PUBLIC]
    assert api.write(tmp_path, modules) == []
    page = (tmp_path / "bdflow.html").read_text()
    assert '<a href="#upscale">upscale</a>' in page  # in the docstring of `fit`
    assert 'href="bdflow/runtime/rescaler.html#Rescaler.downscale"' in page
    for name in api.PUBLIC[1:]:
        assert f'href="{name.replace(".", "/")}.html' in page


def test_every_reference_in_a_docstring_leads_somewhere(api):
    assert api.unknown_references(ROOT / "src") == []


def test_every_public_module_that_a_page_of_the_documentation_names_has_one(api):
    import re

    texts = [(ROOT / "README.md").read_text(), *(p.read_text() for p in (ROOT / "docs").glob("*.md"))]
    for text in texts:
        for name in re.findall(r"`(bdflow(?:\.[a-z]\w*)+)[.`(]", text):
            owner = name.rpartition(".")[0]
            assert name in api.PUBLIC or owner in api.PUBLIC, name


def test_names_without_a_docstring_are_faults(api, tmp_path, monkeypatch):
    module = module_of(
        tmp_path,
        monkeypatch,
        '''
"""A module."""
from math import pi
NAKED = 1
SAID = 2
"""What it is."""

class Shown:
    """A class.

    Attributes:
        first, second: Two of them.
    """

    first: int
    second: int
    third: int

    def act(self) -> None:
        pass
''',
    )
    faults = api.write(tmp_path / "out", [module])
    assert faults == [f"shown.{name} has no docstring" for name in ("NAKED", "Shown.third", "Shown.act")]


def test_links_to_nothing_are_faults(api, tmp_path, monkeypatch):
    module = module_of(tmp_path, monkeypatch, '"""See [there](elsewhere.html) and [here](#nowhere)."""\n')
    faults = api.write(tmp_path / "out", [module])
    assert sorted(faults) == [
        f"shown.html links to {target}, which is nowhere" for target in ("#nowhere", "elsewhere.html")
    ]


def test_warnings_of_the_tool_are_errors(api, tmp_path, monkeypatch):
    text = '"""A module."""\ndef act(of: "Missing") -> None:\n    """Acts."""\n'
    module = module_of(tmp_path, monkeypatch, text)
    with pytest.raises(UserWarning, match="Missing"):
        api.write(tmp_path / "out", [module])


def test_references_to_nothing_are_faults(api, tmp_path):
    package = tmp_path / "bdflow"
    package.mkdir()
    (package / "__init__.py").write_text(
        '"""See `bdflow.act`, `bdflow.gone`, `Shown.kept`, `Shown.lost()` and `Other.name`."""\n'
        'class Shown:\n    """`bdflow.room.thing` is known."""\n    kept: int\n'
        "def act() -> None: ...\n"
    )
    (package / "room.py").write_text("thing = 1\n")
    assert api.unknown_references(tmp_path) == [
        f"bdflow refers to {name}, which is nowhere" for name in ("bdflow.gone", "Shown.lost")
    ]
