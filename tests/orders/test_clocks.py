"""Machines with different clocks create as many orders as machines with equal clocks.

On PostgreSQL, machines compare times of the database.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from aurpay_async import AurpayClient, RetryPolicy
from aurpay_async._core.clock import SystemClock
from aurpay_async.orders import AttemptState, OrderStore

from ..support.orders import build_response
from .conftest import make_tables
from .platform import REFERENCE_KEY, URLS, Platform

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from aurpay_async import Request, Response

S = AttemptState
SKEWS = [-600, -301, -61, -45, 45, 61, 301, 600]


class Skewed(SystemClock):
    """The clock of a machine that is off by a number of seconds."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead = timedelta(seconds=ahead_s)

    def now(self) -> datetime:
        return super().now() + self._ahead

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / 20)


class Dated(Platform):
    """A platform that sends a Date header, as all servers do."""

    async def send(self, request: Request) -> Response:
        response = await super().send(request)
        date = f"{self._clock.now():%a, %d %b %Y %H:%M:%S} GMT"
        return build_response(response.body, response.status, date=date)


@pytest.fixture
async def dated() -> AsyncIterator[Dated]:
    async with Dated(SystemClock()) as platform:  # type: ignore[arg-type]
        yield platform


def machine(platform: Platform, url: str, ahead_s: float) -> OrderStore:
    clock = Skewed(ahead_s)
    client = AurpayClient(
        network="regtest",
        reference_key=REFERENCE_KEY,
        transport=platform,
        clock=clock,
        retry=RetryPolicy(max_attempts=1),
    )
    return OrderStore(client, url)


@pytest.mark.parametrize("ahead_s", SKEWS)
async def test_machines_with_different_clocks_create_no_additional_orders(
    dated: Dated, postgresql_url: str, ahead_s: float
) -> None:
    await asyncio.to_thread(make_tables, postgresql_url)
    async with (
        machine(dated, postgresql_url, 0) as right,
        machine(dated, postgresql_url, ahead_s) as wrong,
    ):
        for first, second in ((right, wrong), (wrong, right)):
            cart = f"cart-{first is right}"
            dated.faults = ["wait"]
            dated.go.clear()
            before = dated.calls["create_order"]
            slow = asyncio.create_task(first.get_or_create(cart, 20, "USD", **URLS))
            while dated.calls["create_order"] == before:
                await asyncio.sleep(0.001)
            waiting = asyncio.create_task(second.get_or_create(cart, 20, "USD", **URLS))
            await asyncio.sleep(0.05)
            dated.go.set()
            assert await waiting == await slow
            assert await second.get_or_create(cart, 20, "USD", **URLS) == await slow
            [attempt] = await right.attempts(cart)
            assert abs(attempt.created_at - SystemClock().now()) < timedelta(seconds=30)
            assert attempt.deadline - attempt.created_at == timedelta(seconds=50)
    assert dated.calls["create_order"] == 2


@pytest.mark.parametrize("ahead_s", [-600, 600, 93_600])
async def test_polls_are_due_by_the_clock_of_the_database(
    dated: Dated, postgresql_url: str, ahead_s: float
) -> None:
    """A machine with a clock that is ahead polls neither too early nor too late."""
    await asyncio.to_thread(make_tables, postgresql_url)
    async with (
        machine(dated, postgresql_url, 0) as right,
        machine(dated, postgresql_url, ahead_s) as wrong,
    ):
        order = await right.get_or_create("cart-42", 20, "USD", **URLS)
        assert (await wrong.reconcile()).polled == 0
        [attempt] = await right.attempts("cart-42")
        await right._repository.rows.plan_poll(attempt)
        assert (await wrong.reconcile()).polled == 1
        [attempt] = await right.attempts("cart-42")
        assert attempt.last_polled_at is not None
        assert attempt.next_poll_at is not None
        assert abs(attempt.last_polled_at - SystemClock().now()) < timedelta(seconds=30)
        assert attempt.next_poll_at - attempt.last_polled_at == timedelta(minutes=2)
        dated.faults = ["lost"]
        with pytest.raises(Exception, match="broke"):
            await wrong.get_or_create("cart-43", 20, "USD", **URLS)
        [lost] = await right.attempts("cart-43")
        assert lost.sent_at is not None
        assert abs(lost.sent_at - SystemClock().now()) < timedelta(seconds=30)
    assert order.order_id in dated.orders
