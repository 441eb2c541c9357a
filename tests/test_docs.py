"""The documentation says what the results files say."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from bdflow import zoo
from bdflow.evaluation import report
from bdflow.quality.metrics import psnr_y

ROOT = Path(__file__).parent.parent


def _generator(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_what_the_code_makes(monkeypatch):
    from bdflow.reproduce.results import Folder

    generate, text = _generator(monkeypatch), (ROOT / "README.md").read_text()
    assert generate.fill(text, "quality", generate.figures()) == text
    assert (ROOT / "docs" / "models.md").read_text() == generate.models.page()
    assert (ROOT / "docs" / "performance.md").read_text() == generate.performance.page(ROOT / "results")
    assert (ROOT / "docs" / "studies.md").read_text() == generate.studies.page(Folder.at(ROOT / "results"))
    text = (ROOT / "docs" / "limits.md").read_text()
    assert generate.fill(text, "decoders", generate.decoders()) == text
    text, measured = (ROOT / "docs" / "web.md").read_text(), ROOT / "results" / "web.json"
    assert generate.fill(text, "costs", generate.browser.costs(measured)) == text
    assert generate.fill(text, "paid back", generate.browser.paid_back(measured)) == text
    text = (ROOT / "docs" / "server.md").read_text()
    assert generate.fill(text, "limits", generate.server.limits()) == text
    slow = ROOT / "results" / "slow-tests.json"
    assert generate.fill(text, "measured", generate.server.measured(slow)) == text
    text = (ROOT / "docs" / "cluster.md").read_text()
    assert generate.fill(text, "cluster", generate.cluster()) == text
    text = (ROOT / "docs" / "sizes.md").read_text()
    assert generate.fill(text, "halos", generate.halos()) == text
    text = (ROOT / "docs" / "reliability.md").read_text()
    assert generate.fill(text, "fuzzing", generate.fuzzing()) == text
    assert generate.fill(text, "corpora", generate.corpora()) == text
    assert generate.fill(text, "slow tests", generate.slow_tests()) == text


def test_the_page_of_results_is_what_the_code_makes_of_them():
    from bdflow.reproduce.page import markdown
    from bdflow.reproduce.results import Folder

    page = markdown(Folder.at(ROOT / "results"), ROOT / "docs", plots=False)
    assert page == (ROOT / "docs" / "results.md").read_text()


def test_results_of_built_in_models_are_of_the_weights_that_ship():
    models = (*zoo.built_in(), *zoo.built_in_restorations())
    ship = {model.name: model.weights_sha256[:16] for model in models}
    for path in (ROOT / "results").glob("*.json"):
        for row in json.loads(path.read_text()).get("rows", ()):
            facts = row.get("facts", {})
            for one in (facts, facts.get("at_bytes_of", {})):
                name = one.get("model", one.get("source", "").removeprefix("Z of "))  # the latter of figure 2
                known = ship.get(name, one.get("weights"))
                assert one.get("weights") == known, f"{path.name}: {row['method']} is of older weights"


def test_full_range_luma_of_the_training_logs_is_turned_into_psnr_y_exactly(monkeypatch, tmp_path):
    """Studio-range luma is 16 + 219/255 of full-range luma, so that the two PSNR differ by a constant."""
    models = _generator(monkeypatch).models
    true, other = np.random.default_rng(0).integers(0, 256, (2, 32, 40, 3), dtype=np.uint8)
    full = [rgb @ np.array([0.299, 0.587, 0.114]) for rgb in (true, other)]
    logged = 10 * np.log10(255**2 / np.square(full[0] - full[1]).mean())
    assert psnr_y(true, other) == pytest.approx(logged + models.FULL_RANGE, abs=1e-9)
    log = tmp_path / "log.csv"
    log.write_text(
        f"5,psnr_y_full_range,{logged}\n5,bicubic_y_full_range,9\n7,psnr_y,30\n7,bicubic_psnr_y,8\n"
    )
    assert models._curve(log) == f"{psnr_y(true, other):.2f} dB at step 5, 30.00 dB at step 7"
    log.write_text("5,psnr_y,30\n5,bicubic_y,9\n5,lr_psnr,40\n")  # as runs were logged before
    with pytest.raises(ValueError, match="full-range luma: rename psnr_y and bicubic_y"):
        models._curve(log)


def test_no_ratio_of_speed_is_printed_as_nothing(monkeypatch):
    performance = _generator(monkeypatch).performance
    told = [performance._times(ratio) for ratio in (0.0042, 0.044, 0.0949, 0.0951, 0.96, 97.53)]
    assert told == ["0.004", "0.04", "0.09", "0.1", "1.0", "97.5"]
    assert " 0.0 times" not in (ROOT / "docs" / "performance.md").read_text()


def test_lpips_says_of_what_wherever_it_is_a_heading():
    """LPIPS-RGB is of colour, LPIPS-Y of luma."""
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *zoo.BUILT_IN.glob("*/card.md")]
    for page in pages:
        for line in page.read_text().splitlines():
            headings = re.findall(r"LPIPS[\w-]*", line) if line.startswith("|") else []
            assert set(headings) <= {"LPIPS-RGB", "LPIPS-Y"}, f"{page.name}: {line}"


def test_the_models_are_counted_as_they_are():
    words = dict(enumerate(("five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 5))
    count = words[len(list(zoo.built_in()))]
    readme = (ROOT / "README.md").read_text()
    assert f"{count.capitalize()} models are built in:" in readme
    of_three_bits = words[sum(model.bits == 3 for model in zoo.built_in())]
    assert readme.lower().count(f"{of_three_bits} of the {count} models ") == 1
    assert f"{of_three_bits} of the {count} models " in (ROOT / "docs" / "studies.md").read_text().replace(
        "\n", " "
    )
    page = (ROOT / "docs" / "results.md").read_text()
    assert f"{of_three_bits} of the {count} models ship so" in page


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
