"""The health of reconciliation: of the loop in this process, and of the queue."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from aurpay_async._db.tables import attempts
from aurpay_async.errors import ConnectionLostError, StoreUnavailableError
from aurpay_async.orders import Health, OrderStore
from aurpay_async.orders._runner import Runner

from .platform import URLS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import AurpayClient
    from aurpay_async.orders import Change, Reconciliation
    from aurpay_async.testing import FakeClock

    from .platform import Platform

IDLE = Health(
    is_running=False,
    last_run_at=None,
    failures=0,
    last_error=None,
    lag=timedelta(0),
    due=0,
    needs_review=0,
)


async def test_health_of_an_empty_store_without_a_loop_has_no_last_run(
    store: OrderStore,
) -> None:
    assert await store.health() == IDLE


async def test_lag_is_the_time_for_which_the_most_overdue_poll_has_been_due(
    store: OrderStore, clock: FakeClock
) -> None:
    await store.get_or_create("cart-1", "20", "USD", **URLS)
    clock.advance(60)
    await store.get_or_create("cart-2", "20", "USD", **URLS)
    [oldest] = await store.attempts("cart-1")
    assert (await store.health()).due == 0  # the next poll is in the future
    clock.advance(120)
    health = await store.health()
    assert oldest.next_poll_at is not None
    assert health.lag == clock.now() - oldest.next_poll_at > timedelta(0)
    assert health.due == 2
    await store.reconcile()
    assert await store.health() == IDLE


async def test_attempts_that_need_a_review_are_counted(store: OrderStore) -> None:
    await store.get_or_create("cart-1", "20", "USD", **URLS)
    await store.get_or_create("cart-2", "20", "USD", **URLS)
    async with store.engine.begin() as connection:
        for number, attention in enumerate(("review", "refund"), start=1):
            await connection.execute(
                update(attempts)
                .where(attempts.c.reference == f"cart-{number}")
                .values(attention=attention)
            )
    assert (await store.health()).needs_review == len(await store.needs_review()) == 1


async def test_due_attempts_are_counted_up_to_a_limit(
    store: OrderStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aurpay_async.orders._repository._MAX_COUNT", 1)
    for number in range(2):
        await store.get_or_create(f"cart-{number}", "20", "USD", **URLS)
    clock.advance(600)
    assert (await store.health()).due == 1


@pytest.mark.usefixtures("pauses_move_the_clock")
async def test_failures_of_the_loop_are_counted_until_a_run_succeeds(
    local: OrderStore, platform: Platform, clock: FakeClock
) -> None:
    order = await local.get_or_create("cart-1", "20", "USD", **URLS)
    platform.set(order.order_id, "SUCCESS")
    clock.advance(120)
    first_run = clock.now()
    during: list[Health] = []

    async def fulfil(_: Change, __: AsyncConnection) -> None:
        during.append(await local.health())
        if len(during) < 3:
            raise ERRORS[len(during) - 1]

    async with asyncio.timeout(10), local.running(on_change=fulfil):
        while (after := await local.health()).last_run_at is None:
            await asyncio.sleep(0)
    assert [(one.failures, one.last_error) for one in during] == [
        (0, None),
        (1, "LookupError"),
        (2, "connection_lost"),
    ]
    assert all(one.is_running and one.last_run_at is None for one in during)
    assert after.last_run_at is not None
    assert after.last_run_at > first_run
    assert (after.failures, after.last_error) == (0, None)
    assert not (await local.health()).is_running


ERRORS = [LookupError("a message with a secret"), ConnectionLostError("lost")]


@pytest.mark.usefixtures("pauses_move_the_clock")
async def test_run_that_raises_is_counted_with_the_code_of_its_error(
    clock: FakeClock,
) -> None:
    runner = Runner(clock)
    lost = StoreUnavailableError("no database")

    async def reconcile() -> Reconciliation:
        if runner.failures == 2:
            await runner.stop()
        raise lost

    await asyncio.wait_for(runner.run(reconcile, 60), 10)
    assert (runner.failures, runner.last_error) == (3, "store_unavailable")


async def test_health_raises_if_the_database_cannot_be_reached(
    client: AurpayClient,
) -> None:
    url = "postgresql+asyncpg://u@127.0.0.1:1/x"
    async with OrderStore(client, url) as store:
        with pytest.raises(StoreUnavailableError):
            await store.health()
