"""examples/shop in a browser, with and without JavaScript."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from itertools import product
from typing import TYPE_CHECKING, Literal

import pytest
import pytest_asyncio
import zxingcpp
from playwright.async_api import expect

from aurpay_async.sandbox import Sandbox

from ..examples.test_shop import PASSWORD, serving
from .conftest import open_window
from .test_checkout import decode_pixels, find_illegible, measure_layout_shift

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Page

    from ..examples.test_shop import Browser as Visitor
    from .conftest import Window

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCHEMES: list[Literal["light", "dark"]] = ["light", "dark"]


@pytest_asyncio.fixture(loop_scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """Open a sandbox with the clock of this machine."""
    async with Sandbox() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def shop(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[Visitor]:
    """Serve the shop on loopback."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}"
    async with serving(sandbox, url) as opened:
        yield opened


async def buy(page: Page, shop: Visitor) -> None:
    """Buy the product, and open its checkout."""
    await page.goto(shop.shop.public_base_url)
    await page.get_by_role("button", name="Buy with Lightning").click()
    await page.get_by_text("Waiting for payment").wait_for()


async def test_payment_shows_on_the_shop_page_without_reload(
    shop: Visitor, sandbox: Sandbox, window: Window
) -> None:
    await buy(window.page, shop)
    (order,) = sandbox.orders.values()
    timer = window.page.get_by_role("timer")
    await expect(timer).to_have_text(re.compile(r"^(30:00|29:5\d) left$"))
    wallet = window.page.get_by_role("link", name="Open in wallet")
    await expect(wallet).to_have_attribute("href", f"lightning:{order.invoice}")
    await sandbox.pay(order.order_id)
    heading = window.page.get_by_role("heading", name="Paid")
    await heading.wait_for()
    assert window.console_errors == []
    assert window.origins == {shop.shop.public_base_url}


async def test_qr_code_of_the_shop_page_can_be_scanned(
    shop: Visitor, sandbox: Sandbox, window: Window
) -> None:
    page = window.page
    await buy(page, shop)
    code = page.get_by_role("img", name="QR code of the Lightning invoice")
    await code.evaluate("image => image.decode()")
    pictures = []
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        pictures.append(await code.screenshot())
    await window.reset()
    (order,) = sandbox.orders.values()
    for png in pictures:
        barcode = zxingcpp.read_barcode(await decode_pixels(page, png))
        assert barcode is not None
        assert barcode.bytes == f"lightning:{order.invoice.upper()}".encode()


async def test_invoice_on_the_shop_page_can_be_copied(
    shop: Visitor, sandbox: Sandbox, window: Window
) -> None:
    page = window.page
    await buy(page, shop)
    (order,) = sandbox.orders.values()
    await page.get_by_role("button", name="Copy").click()
    await page.get_by_role("button", name="Copied").wait_for()
    assert await page.evaluate("navigator.clipboard.readText()") == order.invoice
    await page.evaluate("void (navigator.clipboard.writeText = Promise.reject)")
    await page.get_by_role("button", name="Copied").click()
    await page.get_by_role("button", name="Selected").wait_for()
    assert await page.evaluate("getSelection().toString()") == order.invoice


async def test_expired_order_of_the_shop_can_be_tried_again(
    shop: Visitor, sandbox: Sandbox, window: Window
) -> None:
    page = window.page
    await buy(page, shop)
    (order,) = sandbox.orders.values()
    await sandbox.expire(order.order_id)
    await page.get_by_role("heading", name="This invoice has expired").wait_for()
    await page.get_by_role("button", name="Try again").click()
    await page.get_by_text("Waiting for payment").wait_for()
    sandbox.assert_orders(2)
    await sandbox.pay(order.order_id)
    await page.get_by_role("heading", name="Paid").wait_for()
    assert window.console_errors == []


async def test_shop_works_without_javascript(
    shop: Visitor, sandbox: Sandbox, browser: Browser
) -> None:
    async with open_window(browser, java_script_enabled=False) as window:
        page = window.page
        await buy(page, shop)
        await expect(page.get_by_role("button", name="Copy")).to_have_count(0)
        (order,) = sandbox.orders.values()
        await expect(page.get_by_label("Lightning invoice")).to_have_value(
            order.invoice
        )
        await expect(page.get_by_role("timer")).to_have_text(re.compile("until .* UTC"))
        await sandbox.pay(order.order_id)
        await page.get_by_role("link", name="Reload now").click()
        await page.get_by_role("heading", name="Paid").wait_for()
        await buy(page, shop)
        await page.get_by_role("button", name="Simulate the payment").click()
        await page.get_by_role("heading", name="Paid").wait_for()
        await buy(page, shop)
        await sandbox.pay(list(sandbox.orders)[-1])
        await page.get_by_role("heading", name="Paid").wait_for(timeout=20_000)
        assert window.console_errors == []


@asynccontextmanager
async def open_trusted_window(browser: Browser) -> AsyncIterator[Window]:
    """Open a window with the shop's password."""
    login = {"username": "me", "password": PASSWORD}
    async with open_window(browser, http_credentials=login) as window:
        yield window


async def test_shop_pages_fit_and_are_legible_in_each_size_and_scheme(
    shop: Visitor, sandbox: Sandbox, browser: Browser, screenshots: Path
) -> None:
    async with open_trusted_window(browser) as window:
        page = window.page

        async def expect_legible(name: str) -> None:
            assert await measure_layout_shift(page) < 0.01
            for width, scheme in product((360, 1280), SCHEMES):
                await page.set_viewport_size({"width": width, "height": 800})
                await page.emulate_media(color_scheme=scheme)
                path = screenshots / f"shop-{name}-{scheme}-{width}.png"
                await page.screenshot(path=path, full_page=True, animations="disabled")
                fits = await page.evaluate("document.documentElement.scrollWidth")
                assert fits == width
                assert await find_illegible(page, more_than=4) == []

        base = shop.shop.public_base_url
        await page.goto(base)
        await expect_legible("product")
        await buy(page, shop)
        code = page.get_by_role("img", name="QR code of the Lightning invoice")
        await code.evaluate("image => image.decode()")
        await expect_legible("checkout")
        first = next(iter(sandbox.orders))
        await sandbox.expire(first)
        await page.get_by_role("heading", name="This invoice has expired").wait_for()
        await expect_legible("expired")
        await page.get_by_role("button", name="Try again").click()
        await page.get_by_text("Waiting for payment").wait_for()
        await sandbox.pay(first)
        await page.get_by_role("heading", name="Paid").wait_for()
        await expect_legible("paid")
        await sandbox.pay(list(sandbox.orders)[-1])
        await buy(page, shop)
        sandbox.faults.push("cut-json+created")
        await shop.buy()
        await page.goto(f"{base}/orders")
        await page.get_by_text("refund", exact=False).first.wait_for()
        await expect_legible("orders")
        await page.goto(f"{base}/no")
        await expect_legible("missing")


async def test_shop_page_has_landmarks_and_headings(
    shop: Visitor, window: Window
) -> None:
    await buy(window.page, shop)
    await expect(window.page.locator("body")).to_match_aria_snapshot(
        """
        - banner:
          - link "Bee & Bolt"
          - text: "sandbox: no real money"
        - main:
          - heading "20.00 USD" [level=1]
          - paragraph: 0.00020000 BTC for a jar of honey
          - status: Waiting for payment
          - timer: /[0-9]+:[0-9]+ left/
          - img "QR code of the Lightning invoice"
          - link "Open in wallet"
          - text: Lightning invoice
          - textbox "Lightning invoice"
          - button "Copy"
          - paragraph:
            - link "Pay at Aurpay instead"
          - paragraph
          - button "Simulate the payment"
        """
    )
