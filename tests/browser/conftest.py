"""One Chromium for all tests of pages, and windows that they share."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, ConsoleMessage, Page, ViewportSize

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

#: An empty page of the same site: one of another takes the browser a new process.
NOWHERE = "http://127.0.0.1:9/"

#: A phone.
SIZE: ViewportSize = {"width": 360, "height": 740}


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

    async def wipe(self) -> Window:
        """Leave whatever is open, and forget it."""
        await self.page.goto(NOWHERE)
        await self.page.set_viewport_size(SIZE)
        await self.page.emulate_media(color_scheme="light", reduced_motion="null")
        self.complaints.clear()
        self.asked.clear()
        return self


@asynccontextmanager
async def opening(browser: Browser, **options: Any) -> AsyncIterator[Window]:
    """A window of its own."""
    context = await browser.new_context(viewport=SIZE, **options)
    context.set_default_timeout(5_000)
    await context.route(NOWHERE, lambda route: route.fulfill(body=""))
    yield Window(await context.new_page())
    await context.close()


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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared(browser: Browser) -> AsyncIterator[Window]:
    permissions = ["clipboard-read", "clipboard-write"]
    async with opening(browser, permissions=permissions) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_timed(browser: Browser) -> AsyncIterator[Window]:
    async with opening(browser) as opened:
        await opened.page.clock.install()
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def window(_shared: Window) -> Window:
    """The one that most tests share."""
    return await _shared.wipe()


@pytest_asyncio.fixture(loop_scope="session")
async def timed(_shared_timed: Window) -> Window:
    """Another one, where `page.clock` moves the time."""
    return await _shared_timed.wipe()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures of the pages go."""
    folder = Path(KEPT or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
