"""``create_order`` against plain aiohttp, with the same bytes from the same server."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import tracemalloc
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import aiohttp

from aurpay_async import ApiKey, ApiToken, AurpayClient, bolt11
from aurpay_async._api.checks import SeenOrders

from ._measure import make_figure, make_row, measure_in_turns_async
from ._processes import run_server
from .invoices import bare_recoveries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from ._measure import Figure, Row

KEY = "e126f68f7eafcc8b74f54d269fe206be715000f94dac067d1c04a8ca3b2db734"
SECRET = "ab" * 32
CALLBACK = "https://shop.example/aurpay/paid?order=4711"


def build_response(
    order_id: str = "20240428125136525824", payment_hash: str = "cd" * 32
) -> bytes:
    """Return a documented response, with an invoice like the sandbox's."""
    invoice = bolt11.sign(
        KEY,
        payment_hash=payment_hash,
        payment_secret=SECRET,
        timestamp=int(time.time()),
        amount_msat=19_044_000,
        description="409c7deb00b4443294855597e7be532a",
        expiry=86_400,
        min_final_cltv_expiry=80,
        features=(9, 14, 17),
    )
    data = {
        "order_id": order_id,
        "status": "PENDING",
        "amount": "0.00019044",
        "create_time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
        "payment_request": invoice,
        "payment_addr": SECRET,
        "pay_url": f"https://dashboard.aurpay.net/#/cashier/{order_id}",
        "currency": "BTC-LN",
    }
    envelope = {"code": 0, "message": "ok", "data": data, "result": True}
    return json.dumps(envelope).encode()


def run_order_server() -> AbstractContextManager[str]:
    """Yield the URL of a server process that sends this response."""
    return run_server("-m", "benchmarks._server", response=build_response())


def make_client(
    url: str, auth: ApiKey | ApiToken | None = None, **options: Any
) -> AurpayClient:
    """Return a client that accepts the same order repeatedly.

    It remembers no orders, so that the same order is accepted each time.
    """
    aurpay = AurpayClient(auth, base_url=url, network="regtest", **options)
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


#: Credentials, and how a row names them. Against the same request without them.
CREDENTIALS: Final = {
    "": None,
    ", ApiKey": ApiKey("an-api-key-of-32-characters-0000"),
    ", ApiToken": ApiToken("a-token-of-32-characters-0000000", "a secret of it"),
}

#: The limits of bare calls by their credentials, with 64 requests in flight and one.
BARE_HOLDS: Final[dict[str, dict[int, float]]] = {
    "": {64: 1.00, 1: 1.10},
    ", ApiToken": {64: 1.30, 1: 1.30},
}
#: The limit of what verifying adds, in bare recoveries.
VERIFYING_HOLD: Final = 2.3


async def compare(rounds: int, count: int) -> list[Row]:
    """Measure against plain aiohttp, with 64 and 1 requests in flight.

    Args:
        rounds: Rounds of each contestant.
        count: Calls in a round.
    """
    with run_order_server() as url:
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            body = {"price": 20.00, "currency": "USD", "callback_url": CALLBACK}

            async def plain() -> object:
                async with session.post(f"{url}/api/bln/order", json=body) as response:
                    return json.loads(await response.text())

            calls: dict[str, Callable[[], Awaitable[Any]]] = {"plain": plain}
            for name, auth in CREDENTIALS.items():
                aurpay = await stack.enter_async_context(make_client(url, auth))
                calls[f"verified{name}"] = partial(
                    aurpay.create_order, "20.00", "USD", callback_url=CALLBACK
                )
            rows = await _compare_calls(calls, rounds, count, 64)
            return rows + await _compare_calls(calls, rounds, count, 1)


async def _compare_calls(
    calls: dict[str, Callable[[], Awaitable[Any]]],
    rounds: int,
    count: int,
    in_flight: int,
) -> list[Row]:
    contestants = {name: repeat(call, in_flight) for name, call in calls.items()}
    invoice = (await calls["verified"]()).payment_request
    for name in CREDENTIALS:
        contestants[f"bare{name}"] = _without_decoding(
            contestants[f"verified{name}"], invoice
        )
    recoveries = bare_recoveries()
    for name, recover in recoveries.items():
        contestants[name] = _repeat_sync(recover)
    times = await measure_in_turns_async(contestants, rounds=rounds, calls=count)
    where = f"aiohttp, {in_flight} in flight"
    rows = []
    for name in CREDENTIALS:
        bare, verified = times[f"bare{name}"], times[f"verified{name}"]
        hold = BARE_HOLDS.get(name, {}).get(in_flight)
        what = f"create_order{name}"
        rows += [
            make_row(f"{what}, bare", where, bare, times["plain"], hold=hold),
            make_row(f"{what}, verified", where, verified, times["plain"], hold=None),
        ]
        if name == "":
            added = [more - less for more, less in zip(verified, bare, strict=True)]
            rows += [
                make_row(
                    f"verified minus bare, {in_flight} in flight",
                    recovery,
                    added,
                    times[recovery],
                    hold=VERIFYING_HOLD,
                )
                for recovery in recoveries
            ]
    return rows


def _without_decoding(run: Any, invoice: bolt11.Invoice) -> Any:
    """Return a contestant that takes the invoice as decoded and verified."""

    def unread(_: str) -> bolt11.Invoice:
        return invoice

    async def run_bare(calls: int) -> None:
        with mock.patch.object(bolt11, "decode", unread):
            await run(calls)

    return run_bare


def _repeat_sync(call: Callable[[], object]) -> Any:
    async def run(calls: int) -> None:
        for _ in range(calls):
            call()

    return run


async def measure_growth(orders: int) -> list[Figure]:
    """Measure the memory that a number of orders leave allocated."""
    with run_order_server() as url:
        async with make_client(url) as aurpay:
            run = repeat(lambda: aurpay.create_order("20.00", "USD"), 50)
            await run(1000)
            await _drop_garbage()
            tracemalloc.start()
            await run(1000)
            await _drop_garbage()
            before, _ = tracemalloc.get_traced_memory()
            await run(orders)
            await _drop_garbage()
            after, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    what = f"memory held after {orders:,} more orders"
    # Caches of constant size are filled within some kilobytes.
    return [make_figure(what, "bytes", [float(after - before)] * 2, hold=5_000)]


async def _drop_garbage() -> None:
    """Collect cyclic garbage, and the cancelled timers of the event loop.

    The loop drops them once there are more than a hundred: up to 20 KB by chance.
    """
    for _ in range(200):
        asyncio.get_running_loop().call_later(60, print).cancel()
    await asyncio.sleep(0)
    gc.collect()
