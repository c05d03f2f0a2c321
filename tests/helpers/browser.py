"""A headless browser for tests of the explorer."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

_COMMANDS = ("chromium", "chromium-browser", "google-chrome")
_SOFTWARE_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
_TIMEOUT = 180_000  # milliseconds


@contextmanager
def browser_page(width: int = 1100, height: int = 700) -> Iterator[tuple["Page", list[str]]]:
    """Open an empty page in Chromium; skips the test where it is not installed.

    Yields:
        The page, and the errors of its console so far.
    """
    command = next((found for name in _COMMANDS if (found := shutil.which(name))), None)
    if command is None:
        pytest.skip("no browser is installed: there is no command chromium, chromium-browser or google-chrome")
    playwright = pytest.importorskip("playwright.sync_api")
    errors: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=command, args=["--no-sandbox", *_SOFTWARE_WEBGL])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(_TIMEOUT)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        yield page, errors
        browser.close()
