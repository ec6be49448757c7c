"""The programs in examples/: each is run against the sandbox."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import uvicorn

from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock
from examples.shop import shop as shop_module
from examples.shop.shop import Shop, create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

KEY = "sandbox-reference-key"


@asynccontextmanager
async def the_shop(sandbox: Sandbox, folder: Path) -> AsyncIterator[Shop]:
    """Served by uvicorn on a free port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    verifier = CallbackVerifier(secrets=[sandbox.callback_secret], reference_key=KEY)
    async with sandbox.client(reference_key=KEY) as aurpay:
        shop = Shop(
            aurpay,
            verifier,
            database=f"sqlite+aiosqlite:///{folder / 'shop.db'}",
            public_base_url=f"http://127.0.0.1:{listening.getsockname()[1]}",
        )
        config = uvicorn.Config(create_app(shop), log_level="critical")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield shop
        server.should_exit = True
        await serving


async def page(url: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, address and text of what a browser sees in the end."""
    async with (
        aiohttp.ClientSession() as browser,
        browser.request(method, url) as response,
    ):
        return response.status, str(response.url), await response.text()


async def test_the_shop_delivers_once(tmp_path: Path) -> None:
    """From the product's page to the parcel; also across a restart of the shop."""
    async with Sandbox() as sandbox:
        async with the_shop(sandbox, tmp_path) as shop:
            status, _, text = await page(shop.public_base_url)
            assert (status, "A jar of honey" in text) == (200, True)
            sandbox.deliveries.push("twice; times=3")
            _, cart, text = await page(f"{shop.public_base_url}/buy", "POST")
            (order,) = sandbox.orders.values()
            assert f"lightning:{order.invoice}" in text
            assert "<svg" in text
            assert (await page(f"{cart}/state"))[2] == '{"state":"open"}'
            sent = await sandbox.pay(order.order_id)
            assert [callback.status for callback in sent] == [200] * 3
            assert (await page(f"{cart}/state"))[2] == '{"state":"delivered"}'
            assert "delivered" in (await page(cart))[2]
            assert await shop.parcels() == [cart.rpartition("/")[2]]
        async with the_shop(sandbox, tmp_path) as again:
            reply = await again.dispatcher.dispatch(
                method="GET", url=sent[0].url, headers=sent[0].headers
            )
            assert (reply.outcome, len(await again.parcels())) == ("repeated", 1)


async def test_the_shop_s_other_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too late, a lost callback, Aurpay is down, and a page that is not there."""
    async with Sandbox() as sandbox, the_shop(sandbox, tmp_path) as shop:
        _, cart, _ = await page(f"{shop.public_base_url}/buy", "POST")
        order_id = next(iter(sandbox.orders))
        await sandbox.expire(order_id)
        assert (await page(f"{cart}/state"))[2] == '{"state":"expired"}'
        await shop.check()
        sandbox.deliveries.push("lost")
        await sandbox.pay(order_id)
        monkeypatch.setattr(shop_module, "CHECK_EVERY", 0)
        checking = asyncio.create_task(shop.check_for_ever())
        while not await shop.parcels():
            await asyncio.sleep(0)
        checking.cancel()
        assert (await page(f"{cart}/state"))[2] == '{"state":"delivered"}'
        sandbox.faults.push("500")
        status, _, text = await page(f"{shop.public_base_url}/buy", "POST")
        assert (status, re.sub(r"\W", " ", text).split()[:2]) == (
            503,
            ["detail", "Payments"],
        )
        for missing in ("/carts/no", "/carts/no/state"):
            assert (await page(shop.public_base_url + missing))[0] == 404
        shop.dispatcher._clock = FakeClock()  # it would wait for the order
        sandbox.deliveries.push("before-answer")
        _, cart, _ = await page(f"{shop.public_base_url}/buy", "POST")
        assert sandbox.callbacks[-1].status == 500
        assert (await page(f"{cart}/state"))[2] == '{"state":"open"}'
