"""``create_order`` while many orders are waited for, against while none is."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

from aurpay_async import AurpayError, CallEvent

from ._list_server import order_id
from ._measure import make_figure, make_row
from ._processes import run_server
from .orders import build_response, make_client

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder

    from ._measure import Figure, Row

#: Seconds of each phase, and of each of its rounds.
PHASE_S, ROUND_S = 20.0, 0.5

#: Pause between two sales, in seconds: the event loop must not be busy with them alone.
PAUSE_S = 0.005


class Sales:
    """Orders that are created one after the other, and how long each took."""

    def __init__(self, aurpay: AurpayClient) -> None:
        self._aurpay = aurpay
        self.failures = 0

    async def run(self, seconds: float) -> list[float]:
        """Return the median seconds of each round."""
        return [await self._run_round() for _ in range(round(seconds / ROUND_S))]

    async def _run_round(self) -> float:
        times: list[float] = []
        end = time.perf_counter() + ROUND_S
        while (began := time.perf_counter()) < end or not times:
            try:
                await self._aurpay.create_order("20.00", "USD")
            except AurpayError:
                self.failures += 1
            times.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE_S)
        return statistics.median(times)


def copies_of(order: LightningOrder, count: int) -> list[LightningOrder]:
    """Return the orders of the server, as if this program had created them."""
    now = datetime.now(UTC)
    return [
        attrs.evolve(order, order_id=order_id(number), create_time=now)
        for number in range(count)
    ]


async def compare(count: int, seconds: float = PHASE_S) -> list[Row | Figure]:
    """Measure sales without waiting orders, with them, and without them again."""
    requests: Counter[str] = Counter()

    def count_request(event: object) -> None:
        if isinstance(event, CallEvent):
            requests[event.operation] += 1

    server = ("-m", "benchmarks._list_server", str(count))
    with run_server(*server, response=build_response()) as url:
        async with make_client(url, on_event=count_request) as aurpay:
            sales = Sales(aurpay)
            orders = copies_of(await aurpay.create_order("20.00", "USD"), count)
            await sales.run(1)
            before = await sales.run(seconds / 2)
            waiting = [
                asyncio.create_task(aurpay.wait_for_payment(one)) for one in orders
            ]
            await sales.run(min(seconds, count / 1000))  # the first poll of each order
            requests.clear()
            during = await sales.run(seconds)
            polls = requests["list_orders"] + requests["get_order"]
            ended = sum(task.done() for task in waiting)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            after = await sales.run(seconds / 2)
    where = f"{count:,} orders are waited for"
    lost = [float(sales.failures + ended)] * 2
    rates = [polls / seconds] * 2
    return [
        make_row(
            f"create_order while {where}", "none", during, before + after, hold=1.5
        ),
        make_figure(f"failures while {where}", "calls", lost, hold=0),
        make_figure(f"polls while {where}", "a second", rates, hold=12),
    ]
