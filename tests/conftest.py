"""One thread: the same bits everywhere, and tiny tensors are slower on several. And what tests share."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

import json
import shutil
import signal
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def pytest_terminal_summary(terminalreporter) -> None:
    """BDFLOW_RECORD=FILE keeps what slow tests did, for docs/reliability.md; FILE holds one entry a test."""
    from bdflow.system.environment import environment

    if path := os.environ.get("BDFLOW_RECORD"):
        record = json.loads(Path(path).read_text()) if Path(path).is_file() else {}
        for outcome in ("passed", "failed"):
            for report in terminalreporter.stats.get(outcome, []):
                seconds = round(report.duration, 1)
                measured = {"outcome": outcome, "seconds": seconds, **dict(report.user_properties)}
                record[report.nodeid] = {**measured, "environment": environment()}
        Path(path).write_text(json.dumps(record, indent=1) + "\n")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of a model of tiny_models.CONFIGS; each takes ten seconds, once."""
    from tiny_models import make

    folder = tmp_path_factory.mktemp("models")
    return cache(lambda name: make(name, folder / name))


@pytest.fixture
def built_in(tiny, tmp_path, monkeypatch) -> Path:
    """A folder that stands for the package's own models: tiny-x2 and tiny-x4."""
    from bdflow.zoo import list_built_in

    folder = tmp_path / "built-in"
    folder.mkdir()
    for name in ("tiny-x2", "tiny-x4"):
        (folder / name).symlink_to(tiny(name), target_is_directory=True)
    monkeypatch.setattr("bdflow.zoo.BUILT_IN", folder)
    list_built_in()
    return folder


@pytest.fixture(scope="session")
def tiny_restoration(tmp_path_factory) -> Path:
    """The folder of a restoration network of a few thousand random numbers."""
    from tiny_models import make_restoration

    return make_restoration(tmp_path_factory.mktemp("models") / "restoration-fidelity")


@pytest.fixture
def restoring(built_in, tiny_restoration) -> Path:
    """`built_in`, with the network that restores thumbnails."""
    from bdflow.zoo import list_built_in

    (built_in / "restoration-fidelity").symlink_to(tiny_restoration, target_is_directory=True)
    list_built_in()
    return built_in


@pytest.fixture(scope="session")
def enhancer(tiny_restoration):
    """What restores with that network, on one thread."""
    from bdflow.runtime.computing import Computing
    from bdflow.runtime.enhancer import Enhancer
    from bdflow.zoo import BUILT_IN, _verify

    assert tiny_restoration.parent != BUILT_IN
    return Enhancer(_verify(tiny_restoration, trust=True), Computing(threads=1))


@pytest.fixture(scope="module")
def launch():
    """Starts the Chromium on the path, or the one that BDFLOW_BROWSER names, with some arguments."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = os.environ.get("BDFLOW_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip("no Chromium found: name one in BDFLOW_BROWSER")
    with playwright.sync_playwright() as runner:
        yield lambda *more: runner.chromium.launch(executable_path=found, args=["--no-sandbox", *more])


@pytest.fixture(scope="module")
def browser(launch):
    browser = launch("--enable-unsafe-webgpu")  # in software where there is no graphics processor
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of the JavaScript package that is served, and its address."""
    from web_page import serving

    with serving(tmp_path_factory.mktemp("site")) as served:
        yield served


@pytest.fixture
def opened(browser, site):
    """Opens a page of some HTML on the site."""
    from web_page import opening

    with opening(browser, site) as load:
        yield load


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Ten pictures of stripes and noise, not all of one size."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(10):
        height, width = 40 + 2 * (i % 3), 44 - 4 * (i % 2)
        rows, columns = np.mgrid[0:height, 0:width]
        waves = np.stack([np.sin(rows / (1 + i + c) + columns / (3 + c)) for c in range(3)], axis=2)
        pixels = 128 + 90 * waves + rng.normal(0, 8, waves.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def shell(capsysbinary, monkeypatch, tmp_path):
    """The command line, in an empty folder of its own."""
    from shell import Shell

    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # here they are lines for the user, not errors
        yield Shell(capsysbinary, monkeypatch)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def photo(shell) -> Path:
    """A picture of 21x19 pixels in the shell's folder."""
    noise = np.random.default_rng(0).integers(0, 256, (19, 21, 3), np.uint8)
    Image.fromarray(noise).save("photo.png")
    return Path("photo.png")


@pytest.fixture
def small(built_in, photo) -> Path:
    """What tiny-x2 makes of `photo`."""
    import bdflow

    bdflow.downscale(photo, scale=2, threads=1).save("photo.x2.png")
    return Path("photo.x2.png")
