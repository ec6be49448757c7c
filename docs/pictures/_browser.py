"""Photographs by Debian's Chromium: nothing is downloaded for them."""

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

#: Without a screen, and without a word to anybody on the network.
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

#: Flat surfaces and soft edges need no more, and are a third of the size with them.
_COLOURS: Final = 64


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    """One for all photographs."""
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
    """A window that prefers light or dark."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        device_scale_factor=2,
        reduced_motion="reduce",
    )
    yield await context.new_page()
    await context.close()


def keep(photograph: bytes, path: Path) -> None:
    """A small file of a photograph."""
    with Image.open(io.BytesIO(photograph)) as image:
        flat = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        flat.save(path, "PNG", optimize=True)
