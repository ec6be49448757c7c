"""One Chromium for all browser tests, with shared windows."""

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

#: Debian's package, so that tests download nothing.
CHROMIUM = Path("/usr/bin/chromium")

#: Without a screen and without background traffic.
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

#: The folder for screenshots; read here because tests see no environment.
SCREENSHOTS = os.environ.get("AURPAY_SCREENSHOTS")

#: An empty page of the same site, so that the browser starts no new process.
NOWHERE = "http://127.0.0.1:9/"

#: The size of a phone.
SIZE: ViewportSize = {"width": 360, "height": 740}


class Window:
    """A page with its console errors and the URLs that it requested."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console_errors: list[str] = []
        self.requested: set[str] = set()
        # The console's errors include violations of the content security policy.
        page.on("console", self._add_console_message)
        page.on("pageerror", lambda error: self.console_errors.append(str(error)))
        page.on("request", lambda request: self.requested.add(request.url))

    def _add_console_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.console_errors.append(message.text)

    @property
    def origins(self) -> set[str]:
        """Return the origins of all requested URLs."""
        return {"/".join(url.split("/")[:3]) for url in self.requested}

    async def reset(self) -> Window:
        """Leave the page, and clear errors and requests."""
        await self.page.goto(NOWHERE)
        await self.page.set_viewport_size(SIZE)
        await self.page.emulate_media(color_scheme="light", reduced_motion="null")
        self.console_errors.clear()
        self.requested.clear()
        return self


@asynccontextmanager
async def open_window(browser: Browser, **options: Any) -> AsyncIterator[Window]:
    """Open a new window."""
    context = await browser.new_context(viewport=SIZE, **options)
    context.set_default_timeout(5_000)
    await context.route(NOWHERE, lambda route: route.fulfill(body=""))
    yield Window(await context.new_page())
    await context.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Start Chromium once."""
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
    async with open_window(browser, permissions=permissions) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_timed(browser: Browser) -> AsyncIterator[Window]:
    async with open_window(browser) as opened:
        await opened.page.clock.install()
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def window(_shared: Window) -> Window:
    """Return the window that most tests share."""
    return await _shared.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def timed(_shared_timed: Window) -> Window:
    """Return a shared window in which `page.clock` moves the time."""
    return await _shared_timed.reset()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Return the folder for screenshots."""
    folder = Path(SCREENSHOTS or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
