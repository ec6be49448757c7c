"""``create_order`` against plain aiohttp, with the same bytes from the same server."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import tracemalloc
from typing import TYPE_CHECKING, Any
from unittest import mock

import aiohttp

from aurpay_async import AurpayClient, bolt11
from aurpay_async._api.checks import SeenOrders

from ._measure import make_row, measure_in_turns_async
from ._processes import run_server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from ._measure import Row

KEY = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"
SECRET = "ab" * 32
CALLBACK = "https://shop.example/aurpay/paid?order=4711"


def build_response() -> bytes:
    """Return a documented response, with an invoice like the sandbox's."""
    invoice = bolt11.sign(
        KEY,
        payment_hash="cd" * 32,
        payment_secret=SECRET,
        timestamp=int(time.time()),
        amount_msat=19_044_000,
        description="409c7deb00b4443294855597e7be532a",
        expiry=86_400,
        min_final_cltv_expiry=80,
        features=(9, 14, 17),
    )
    data = {
        "order_id": "20240428125136525824",
        "status": "PENDING",
        "amount": "0.00019044",
        "create_time": "2024-04-28T12:00:00",
        "payment_request": invoice,
        "payment_addr": SECRET,
        "pay_url": "https://dashboard.aurpay.net/#/cashier/20240428125136525824",
        "currency": "BTC-LN",
    }
    envelope = {"code": 0, "message": "ok", "data": data, "result": True}
    return json.dumps(envelope).encode()


def run_order_server() -> AbstractContextManager[str]:
    """Yield the URL of a server process that sends this response."""
    return run_server("-m", "benchmarks._server", response=build_response())


def make_client(url: str) -> AurpayClient:
    """Return a client that accepts the same order repeatedly.

    It remembers no orders, so that the same order is accepted each time.
    """
    aurpay = AurpayClient(base_url=url, network="regtest")
    aurpay._seen = SeenOrders(limit=0)
    aurpay._invoice_policy = aurpay._invoice_policy._replace(seen=aurpay._seen)
    return aurpay


def repeat(call: Callable[[], Awaitable[object]], in_flight: int) -> Any:
    """Return a coroutine function that makes a number of calls concurrently."""

    async def run(calls: int) -> None:
        async def worker() -> None:
            for _ in range(calls // in_flight):
                await call()

        await asyncio.gather(*(worker() for _ in range(in_flight)))

    return run


async def compare(rounds: int) -> list[Row]:
    """Measure both modes against plain aiohttp, with 1 and 64 requests in flight."""
    rows = []
    with run_order_server() as url:
        async with (
            aiohttp.ClientSession() as session,
            make_client(url) as aurpay,
        ):
            body = {"price": 20.00, "currency": "USD", "callback_url": CALLBACK}

            async def plain() -> object:
                async with session.post(f"{url}/api/bln/order", json=body) as response:
                    return json.loads(await response.text())

            async def whole() -> object:
                return await aurpay.create_order("20.00", "USD", callback_url=CALLBACK)

            invoice = (await aurpay.create_order("20.00", "USD")).payment_request

            def unread(_: str) -> bolt11.Invoice:
                return invoice

            for in_flight in (64, 1):
                contestants = {
                    "plain": repeat(plain, in_flight),
                    "whole": repeat(whole, in_flight),
                }
                times = await measure_in_turns_async(
                    contestants, rounds=rounds, calls=640
                )
                with mock.patch.object(bolt11, "decode", unread):
                    contestants["whole"] = repeat(whole, in_flight)
                    bare_times = await measure_in_turns_async(
                        contestants, rounds=rounds, calls=640
                    )
                where = f"aiohttp, {in_flight} in flight"
                rows += [
                    make_row(
                        "create_order, invoice not read",
                        where,
                        bare_times["whole"],
                        bare_times["plain"],
                        hold=1.10,
                    ),
                    make_row(
                        "create_order, decoded, verified, checked",
                        where,
                        times["whole"],
                        times["plain"],
                        hold=1.65,
                    ),
                ]
    return rows


async def measure_growth(orders: int) -> float:
    """Return the bytes of memory that a number of orders leave allocated."""
    with run_order_server() as url:
        async with make_client(url) as aurpay:
            run = repeat(lambda: aurpay.create_order("20.00", "USD"), 50)
            await run(1000)
            gc.collect()
            tracemalloc.start()
            await run(1000)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            await run(orders)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    return after - before
