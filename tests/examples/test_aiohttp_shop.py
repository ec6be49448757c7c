"""The aiohttp shop: pay an order, with a callback, and with a lost one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestClient, TestServer, unused_port

from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.pytest_plugin import REFERENCE_KEY
from examples.aiohttp_shop import Shop

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async.sandbox import Sandbox


@pytest.mark.slow
@pytest.mark.parametrize("callback", ["late; seconds=1", "lost"])
async def test_aiohttp_shop_ships_a_paid_cart_once_and_no_other(
    callback: str, aurpay_sandbox: Sandbox, tmp_path: Path
) -> None:
    verifier = CallbackVerifier(
        secrets=[aurpay_sandbox.callback_secret],
        tokens=[aurpay_sandbox.callback_token],
        reference_key=REFERENCE_KEY,
        clock=aurpay_sandbox.clock,
    )
    port = unused_port()
    shop = Shop(
        aurpay_sandbox.client(reference_key=REFERENCE_KEY),
        verifier,
        f"sqlite+aiosqlite:///{tmp_path}/shop.db",
        f"http://127.0.0.1:{port}",
    )
    async with TestClient(TestServer(shop.app(), port=port)) as browser:
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
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        rows = database.execute("SELECT reference FROM shipments").fetchall()
    assert rows == [("cart-42",)]
