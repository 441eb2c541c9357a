"""The documentation says what the results files say."""

import importlib.util
import json
import re
from pathlib import Path

from bdflow import report, zoo

ROOT = Path(__file__).parent.parent


def _generator(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_what_the_code_makes(monkeypatch):
    generate, text = _generator(monkeypatch), (ROOT / "README.md").read_text()
    assert generate.fill(text, "quality", generate.figures()) == text
    assert generate.fill(text, "photos", generate.photos()) == text
    assert generate.fill(text, "refined", generate.refined.table()) == text
    assert generate.fill(text, "sizes", generate.sizes()) == text
    for name in ("boundary", "networks"):
        assert generate.fill(text, name, getattr(generate.studies, name)(ROOT / "results")) == text
    assert (ROOT / "docs" / "models.md").read_text() == generate.models.page()
    assert (ROOT / "docs" / "performance.md").read_text() == generate.performance.page(ROOT / "results")
    assert (ROOT / "docs" / "studies.md").read_text() == generate.studies.page(ROOT / "results")
    text = (ROOT / "docs" / "sizes.md").read_text()
    assert generate.fill(text, "halos", generate.halos()) == text
    text = (ROOT / "docs" / "reliability.md").read_text()
    assert generate.fill(text, "fuzzing", generate.fuzzing()) == text
    assert generate.fill(text, "slow tests", generate.slow_tests()) == text


def test_the_page_of_results_is_what_the_code_makes_of_them():
    from bdflow.reproduce.page import markdown

    made = markdown(ROOT / "results", ROOT / "docs", plots=False)
    assert made == (ROOT / "docs" / "results.md").read_text()


def test_results_of_built_in_models_are_of_the_weights_that_ship():
    ship = {model.name: model.weights_sha256[:16] for model in zoo.built_in()}
    for path in (ROOT / "results").glob("*.json"):
        for row in json.loads(path.read_text()).get("rows", ()):
            facts = row.get("facts", {})
            for one in (facts, facts.get("at_bytes_of", {})):
                name = one.get("model", one.get("source", "").removeprefix("Z of "))  # the latter of figure 2
                known = ship.get(name, one.get("weights"))
                assert one.get("weights") == known, f"{path.name}: {row['method']} is of older weights"


def test_links_within_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_each_card_describes_the_weights_beside_it_and_shows_what_they_do():
    for model in zoo.built_in():
        card = (model.folder / "card.md").read_text()
        assert card == report.card(model, report.results(model))
        (sheet,) = re.findall(r"!\[.*\]\((.*)\)", card)
        assert (model.folder / sheet).is_file()
