"""A headless browser for tests of the explorer."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

_COMMANDS = ("chromium", "chromium-browser", "google-chrome")
_SOFTWARE_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
_TIMEOUT = 180_000  # milliseconds


Visit = Callable[[str], tuple["Page", list[str]]]
"""Opens an address in a tab; returns the page, and the errors of its console so far."""


@contextmanager
def open_browser(width: int = 1100, height: int = 700) -> Iterator[Visit]:
    """Start Chromium; skips the test where it is not installed.

    Yields:
        Function that opens an address.
    """
    command = next((found for name in _COMMANDS if (found := shutil.which(name))), None)
    if command is None:
        pytest.skip("no browser is installed: there is no command chromium, chromium-browser or google-chrome")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=command, args=["--no-sandbox", *_SOFTWARE_WEBGL])

        def visit(address: str) -> tuple["Page", list[str]]:
            errors: list[str] = []
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(_TIMEOUT)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.goto(address, wait_until="commit")
            return page, errors

        yield visit
        browser.close()
