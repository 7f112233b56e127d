"""A browser for tests of pages; without Chromium and Playwright these are skipped."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def opened_page(address: str, **settings: Any) -> Iterator[Any]:
    """A page, which must not complain of anything while it is open."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium; CHROMIUM names it")
    complaints: list[str] = []
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=flags)
        page = browser.new_context(**settings).new_page()
        page.set_default_timeout(20_000)

        def hear(message: Any) -> None:
            if message.type == "error" and "status of 400" not in message.text:  # of which the page tells by itself
                complaints.append(message.text)

        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            page.goto(address)
            yield page
        finally:
            browser.close()
    assert complaints == []
