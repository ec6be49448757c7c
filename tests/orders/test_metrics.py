"""OpenTelemetry measures reconciliation and the orders that need attention."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from sqlalchemy import update

from aurpay_async._core.metrics import OrderCounts
from aurpay_async._db.tables import attempts
from aurpay_async.errors import ConnectError, StoreUnavailableError
from aurpay_async.orders import OrderStore, _repository
from aurpay_async.orders._creation import OrderOpener
from aurpay_async.orders._repository import Rows

from ..support.metrics import measured
from .test_reconcile import TWO_MINUTES_S, lose, opened

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import AurpayClient
    from aurpay_async.orders import Change
    from aurpay_async.testing import FakeClock

    from ..support.metrics import Measured
    from .platform import Platform

__all__ = ["measured"]

LAG = "aurpay.reconcile.lag"
AGE = "aurpay.reconcile.age"


def value(measured: Measured, name: str) -> float | None:
    """Return the value of a gauge without attributes; ``None`` if it has none."""
    points = measured.points(name)
    assert all(not attributes for attributes, _ in points)
    return points[0][1] if points else None


def by_attribute(measured: Measured, name: str) -> dict[str, float]:
    """Return the values that are not 0, by their only attribute."""
    return {
        label: amount
        for attributes, amount in measured.points(name)
        for label in attributes.values()
        if amount
    }


async def test_orders_are_counted_by_state_after_a_run(
    store: OrderStore, platform: Platform, clock: FakeClock, measured: Measured
) -> None:
    paid = await opened(store, "cart-1")
    await opened(store, "cart-2")
    await lose(store, platform, "lost", "cart-3")
    assert measured.points("aurpay.store.orders") == []
    platform.set(paid.order_id, "SUCCESS")
    clock.advance(TWO_MINUTES_S)
    await store.reconcile()
    states = by_attribute(measured, "aurpay.store.orders")
    assert states == {"payable": 1, "unknown": 1}
    assert value(measured, "aurpay.store.needs_review") == 0
    assert value(measured, "aurpay.store.duplicates") == 0
    assert by_attribute(measured, "aurpay.reconcile.runs") == {"ok": 1}


async def test_orders_that_need_a_person_are_counted(
    store: OrderStore, platform: Platform, clock: FakeClock, measured: Measured
) -> None:
    strange = await opened(store, "cart-1")
    platform.set(strange.order_id, "PARTIAL")
    first = await opened(store, "cart-2")
    platform.set(first.order_id, "OVERDUE")
    clock.advance(TWO_MINUTES_S)
    await store.reconcile()
    second = await opened(store, "cart-2")
    for order in (first, second):
        platform.set(order.order_id, "SUCCESS")
        await store.record(order_id=order.order_id)
    clock.advance(TWO_MINUTES_S)
    await store.reconcile()
    assert value(measured, "aurpay.store.needs_review") == 1
    assert value(measured, "aurpay.store.duplicates") == 1
    assert by_attribute(measured, "aurpay.store.orders")["duplicate"] == 1


async def test_lag_is_the_delay_of_the_most_overdue_poll_and_age_grows_until_a_run(
    store: OrderStore, clock: FakeClock, measured: Measured
) -> None:
    await opened(store, "cart-1")
    clock.advance(60)
    await opened(store, "cart-2")
    await store.reconcile()
    assert (value(measured, LAG), value(measured, AGE)) == (0, 0)
    clock.advance(TWO_MINUTES_S + 30)
    assert (value(measured, LAG), value(measured, AGE)) == (0, TWO_MINUTES_S + 30)
    await store.reconcile(limit=1)
    assert (value(measured, LAG), value(measured, AGE)) == (30, 0)
    clock.advance(10)
    await store.reconcile(limit=1)
    assert (value(measured, LAG), value(measured, AGE)) == (0, 0)


async def test_lag_counts_from_the_first_due_poll_while_on_change_fails_in_processes(
    client: AurpayClient,
    store: OrderStore,
    platform: Platform,
    clock: FakeClock,
    measured: Measured,
) -> None:

    async def refuse(_: Change, __: AsyncConnection) -> None:
        raise ValueError("the shop's table is locked")

    order = await opened(store)
    platform.set(order.order_id, "SUCCESS")
    clock.advance(TWO_MINUTES_S)
    async with OrderStore(client, store.engine) as another:
        for minute in range(12):
            done = await (store, another)[minute % 2].reconcile(on_change=refuse)
            assert len(done.failures) == 1
            assert (value(measured, LAG) or 0) // 60 == minute
            assert (await another.health()).lag >= timedelta(minutes=minute)
            clock.advance(60)
    failures = by_attribute(measured, "aurpay.reconcile.failures")
    assert failures == {"on_change": 12}
    await store.reconcile()
    assert value(measured, LAG) == 0
    assert measured.points("aurpay.reconcile.payments") == [({}, 1)]


async def test_lag_of_a_reported_payment_counts_from_its_report(
    local: OrderStore, clock: FakeClock
) -> None:
    order = await opened(local)
    clock.advance(30)
    async with local.engine.begin() as connection:
        due_now = update(attempts).values(next_poll_at=clock.now(), state="expired")
        await connection.execute(due_now)
    clock.advance(30)
    assert order.attempt_id is not None
    assert (await local.health()).lag == timedelta(seconds=30)


async def test_failed_steps_of_get_or_create_are_counted_by_their_error(
    local: OrderStore, platform: Platform, measured: Measured
) -> None:
    platform.broken = {"list_orders": ConnectError("refused")}
    await lose(local, platform, "lost")
    for _ in range(2):  # each of them searches for the lost order first
        with pytest.raises(ConnectError):
            await opened(local)
    with (
        mock.patch.object(OrderOpener, "_step", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        await opened(local)
    failures = by_attribute(measured, "aurpay.get_or_create.failures")
    assert failures == {"connection_lost": 1, "connect": 2, "foreign": 1}


async def test_runs_are_counted_by_their_result(
    local: OrderStore,
    platform: Platform,
    clock: FakeClock,
    measured: Measured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await opened(local)
    clock.advance(TWO_MINUTES_S)
    platform.broken = {"get_order": ConnectError("refused")}
    await local.reconcile()
    down = mock.AsyncMock(side_effect=StoreUnavailableError("down"))
    monkeypatch.setattr(Rows, "due", down)
    with pytest.raises(StoreUnavailableError):
        await local.reconcile()
    failures = by_attribute(measured, "aurpay.reconcile.failures")
    assert failures == {"poll": 1}
    runs = by_attribute(measured, "aurpay.reconcile.runs")
    assert runs == {"partly_failed": 1, "failed": 1}


async def test_a_database_that_fails_while_orders_are_counted_fails_no_run(
    local: OrderStore,
    clock: FakeClock,
    measured: Measured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await local.reconcile()
    clock.advance(60)
    down = mock.AsyncMock(side_effect=StoreUnavailableError("down"))
    monkeypatch.setattr(Rows, "count_open", down)
    assert (await local.reconcile()).polled == 0
    down.assert_awaited_once()
    assert value(measured, AGE) == 60


async def test_runs_that_follow_each_other_at_once_count_the_orders_once(
    local: OrderStore, clock: FakeClock, measured: Measured
) -> None:
    counted = mock.AsyncMock(return_value=OrderCounts({}, 0, 0, 0))
    with mock.patch.object(Rows, "count_open", counted):
        for _ in range(5):
            await local.reconcile()
        assert counted.await_count == 1
        clock.advance(10)
        await local.reconcile()
    assert counted.await_count == 2


async def test_orders_are_not_counted_without_a_meter_provider(
    local: OrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rows, "count_open", None)
    await local.reconcile()


async def test_the_gauges_of_several_stores_are_combined_until_they_are_closed(
    client: AurpayClient, local: OrderStore, clock: FakeClock, measured: Measured
) -> None:
    await opened(local)
    await local.reconcile()
    clock.advance(30)
    async with OrderStore(client, local.engine) as another:
        await another.reconcile()
        assert by_attribute(measured, "aurpay.store.orders") == {"payable": 2}
        clock.advance(10)
        assert value(measured, AGE) == 40
    assert by_attribute(measured, "aurpay.store.orders") == {"payable": 1}
    await local.aclose()
    assert measured.points("aurpay.store.orders") == measured.points(AGE) == []


async def test_counts_end_a_quarter_of_an_hour_after_the_run_and_the_age_grows_on(
    local: OrderStore, clock: FakeClock, measured: Measured
) -> None:
    await opened(local)
    await local.reconcile()
    clock.advance(900)
    assert by_attribute(measured, "aurpay.store.orders") == {"payable": 1}
    assert value(measured, LAG) == 0
    clock.advance(1)
    assert measured.points("aurpay.store.orders") == measured.points(LAG) == []
    assert value(measured, AGE) == 901


async def test_a_count_ends_at_its_limit(
    store: OrderStore, monkeypatch: pytest.MonkeyPatch, measured: Measured
) -> None:
    monkeypatch.setattr(_repository, "_MAX_COUNT", 2)
    for number in range(3):
        await opened(store, f"cart-{number}")
    await store.reconcile()
    assert by_attribute(measured, "aurpay.store.orders") == {"payable": 2}


@pytest.mark.slow
async def test_the_number_of_series_does_not_grow_with_the_number_of_orders(
    local: OrderStore, platform: Platform, clock: FakeClock, measured: Measured
) -> None:

    async def sell(first: int, last: int) -> None:
        for number in range(first, last):
            order = await opened(local, f"cart-{number}")
            platform.set(order.order_id, "SUCCESS")
        clock.advance(TWO_MINUTES_S)
        while (await local.reconcile()).more:
            pass

    await sell(0, 2)
    series = measured.series()
    assert len(series) > 10
    await sell(2, 12)
    assert measured.series() == series


async def test_no_attribute_contains_a_reference_an_id_or_a_secret(
    local: OrderStore, platform: Platform, clock: FakeClock, measured: Measured
) -> None:
    order = await opened(local, "cart-canary")
    await lose(local, platform, "lost+created", "cart-canary-2")
    clock.advance(TWO_MINUTES_S)
    await local.reconcile()
    known = {text for _, attributes in measured.series() for _, text in attributes}
    secrets = [
        order.order_id,
        order.attempt_id,
        order.payment_request.payment_hash,
        "canary",
        "shop.",
    ]
    assert order.attempt_id is not None
    assert not [value for value in known for secret in secrets if secret in value]
