"""Take screenshots with Debian's Chromium, without downloading a browser."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal

from PIL import Image
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Page

Scheme = Literal["light", "dark"]

CHROMIUM: Final = "/usr/bin/chromium"

#: Headless, and without background requests to the network.
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Screenshots need no more colours, and are a third of the size with this palette.
_COLOURS: Final = 64


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """Open one browser for all screenshots."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS]
        )
        yield browser
        await browser.close()


@asynccontextmanager
async def open_page(
    browser: Browser, scheme: Scheme, width: int, height: int
) -> AsyncIterator[Page]:
    """Open a page with a light or dark colour scheme."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        device_scale_factor=2,
        reduced_motion="reduce",
    )
    yield await context.new_page()
    await context.close()


def save(screenshot: bytes, path: Path) -> None:
    """Save a screenshot with a small palette."""
    with Image.open(io.BytesIO(screenshot)) as image:
        flat = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        flat.save(path, "PNG", optimize=True)
