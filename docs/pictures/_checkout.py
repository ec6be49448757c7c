"""Take a screenshot of the sandbox's checkout page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ._browser import open_page, save

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser

    from ._browser import Scheme

_NOON: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def capture_checkout(browser: Browser, scheme: Scheme, path: Path) -> None:
    """Save the page of an order that is some minutes old."""
    clock = FakeClock(_NOON)
    async with Sandbox(clock=clock) as sandbox, sandbox.client() as aurpay:
        order = await aurpay.create_order("20.00", "USD")
        clock.advance(154)
        async with open_page(browser, scheme, 880, 800) as page:
            await page.goto(order.pay_url)
            await page.get_by_text("Waiting for payment").wait_for()
            await page.get_by_role("img").evaluate("image => image.decode()")
            save(await page.screenshot(), path)
