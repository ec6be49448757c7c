"""The aiohttp shop: pay an order, with a callback, with a lost one, and twice."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, TestServer, unused_port

from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.pytest_plugin import REFERENCE_KEY
from examples.aiohttp_shop import Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aurpay_async.sandbox import Sandbox
    from aurpay_async.testing import FakeClock


@asynccontextmanager
async def serve(
    sandbox: Sandbox, folder: Path
) -> AsyncIterator[tuple[TestClient[Any, Any], Shop]]:
    """Serve the shop, and open a browser."""
    verifier = CallbackVerifier(
        secrets=[sandbox.callback_secret],
        tokens=[sandbox.callback_token],
        reference_key=REFERENCE_KEY,
        clock=sandbox.clock,
    )
    port = unused_port()
    shop = Shop(
        sandbox.client(reference_key=REFERENCE_KEY),
        verifier,
        f"sqlite+aiosqlite:///{folder}/shop.db",
        f"http://127.0.0.1:{port}",
    )
    async with TestClient(TestServer(shop.app(), port=port)) as browser:
        yield browser, shop


def read_shipments(folder: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        return database.execute("SELECT reference FROM shipments").fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("callback", ["late; seconds=1", "lost"])
async def test_aiohttp_shop_ships_a_paid_cart_once_and_no_other(
    callback: str, aurpay_sandbox: Sandbox, tmp_path: Path
) -> None:
    async with serve(aurpay_sandbox, tmp_path) as (browser, _):
        order = await (await browser.post("/carts/42/pay")).json()
        assert order["qr_svg"].startswith("<svg")
        paid = {"paid": False}
        assert await (await browser.get("/carts/42/done")).json() == paid
        other = await (await browser.post("/carts/43/pay")).json()
        await aurpay_sandbox.expire(other["order_id"])  # ships nothing
        aurpay_sandbox.assert_callbacks("timeout")
        aurpay_sandbox.callback_faults.push(callback)
        await aurpay_sandbox.pay(order["order_id"])
        if callback == "lost":
            stream = await (await browser.get("/carts/42/events")).text()
            assert "event: end" in stream
        for _ in range(2):
            assert await (await browser.get("/carts/42/done")).json() == {"paid": True}
        again = await (await browser.post("/carts/42/pay")).json()
        assert again["status"] == "SUCCESS"
    assert read_shipments(tmp_path) == [("cart-42",)]


@pytest.mark.slow
async def test_aiohttp_shop_reconciles_two_paid_orders_of_a_cart_and_ships_it_once(
    aurpay_sandbox: Sandbox, aurpay_clock: FakeClock, tmp_path: Path
) -> None:
    async with serve(aurpay_sandbox, tmp_path) as (browser, shop):
        first = await (await browser.post("/carts/42/pay")).json()
        aurpay_clock.advance(31 * 60)
        await aurpay_sandbox.expire(first["order_id"])
        second = await (await browser.post("/carts/42/pay")).json()
        for order in (first, second):
            aurpay_sandbox.callback_faults.push("lost")
            await aurpay_sandbox.pay(order["order_id"])
        assert read_shipments(tmp_path) == []
        end = time.monotonic() + 10  # real seconds
        while not await shop.store.duplicate_payments():
            assert time.monotonic() < end
            aurpay_clock.advance(60)  # to the next run of reconciliation
            await asyncio.sleep(0.01)  # lets it run
    assert read_shipments(tmp_path) == [("cart-42",)]
