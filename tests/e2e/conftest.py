"""A real browser, headless, that reports every request and every word on the console."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip


@dataclass
class Opened:
    """A page, with the requests that left it (its own file aside) and what it complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        if os.environ.get("WORKBENCH_CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """``open_page(path, dark=True)`` opens a file with the network cut off."""
    contexts = []

    def open_page(path: Path, *, dark: bool = False, width: int = 1000) -> Opened:
        context = browser.new_context(
            offline=True, color_scheme="dark" if dark else "light", viewport={"width": width, "height": 1200}
        )
        contexts.append(context)
        opened = Opened(context.new_page())
        own = path.resolve().as_uri()
        opened.page.on(
            "request",
            lambda request: (
                None if request.url == own or request.url.startswith("data:") else opened.requests.append(request.url)
            ),
        )
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.goto(own)
        opened.page.wait_for_load_state("networkidle")
        return opened

    yield open_page
    for context in contexts:
        context.close()
