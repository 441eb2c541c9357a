"""The Chromium that tests drive: on the path, or the one that BDFLOW_BROWSER names."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BROWSER = os.environ.get("BDFLOW_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)


@contextmanager
def chromium() -> Iterator:
    """A browser of playwright; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not BROWSER:
        pytest.skip("no Chromium found: name one in BDFLOW_BROWSER")
    with playwright.sync_playwright() as runner:
        # WebGPU is computed in software where there is no graphics processor.
        arguments = ["--no-sandbox", "--enable-unsafe-webgpu"]
        browser = runner.chromium.launch(executable_path=BROWSER, args=arguments)
        yield browser
        browser.close()
