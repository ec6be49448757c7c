"""One Chromium for all tests of pages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playwright.async_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Page,
        ViewportSize,
    )

#: Debian's: nothing is downloaded for tests.
CHROMIUM = Path("/usr/bin/chromium")

#: Without a screen, and without a word to anybody on the network.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Where somebody wants to keep pictures of the pages; tests see no such settings.
KEPT = os.environ.get("AURPAY_SCREENSHOTS")


class Window:
    """A page, what it complained about, and whom it asked for anything."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        # Violations of the policy are among the errors of the console.
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    @property
    def origins(self) -> set[str]:
        """Of all that was asked for."""
        return {"/".join(url.split("/")[:3]) for url in self.asked}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, started once."""
    if not CHROMIUM.exists():  # noqa: ASYNC240 - once
        pytest.skip(f"there is no {CHROMIUM}")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, headless=True
        )
        yield started
        await started.close()


#: A phone.
SIZE: ViewportSize = {"width": 360, "height": 740}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared(browser: Browser) -> AsyncIterator[Window]:
    context = await browser.new_context(viewport=SIZE)
    context.set_default_timeout(5_000)
    yield Window(await context.new_page())
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def window(_shared: Window) -> Window:
    """The window that most tests share, wiped: a new one takes a process of its own."""
    await _shared.page.goto("about:blank")
    await _shared.page.set_viewport_size(SIZE)
    await _shared.page.emulate_media(color_scheme="light", reduced_motion="null")
    _shared.complaints.clear()
    _shared.asked.clear()
    return _shared


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser) -> AsyncIterator[Callable[..., Awaitable[Window]]]:
    """Opens windows for tests that leave something behind in them."""
    contexts: list[BrowserContext] = []

    async def open_window(**options: Any) -> Window:
        context = await browser.new_context(viewport=SIZE, **options)
        context.set_default_timeout(5_000)
        contexts.append(context)
        return Window(await context.new_page())

    yield open_window
    for context in contexts:
        await context.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures of the pages go."""
    folder = Path(KEPT or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
