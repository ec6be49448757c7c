"""Reconciliation finds payments without a callback, on any number of machines."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import SQLAlchemyError

from aurpay_async import RequestOutcome
from aurpay_async._db.tables import attempts, references
from aurpay_async.callbacks import Reference
from aurpay_async.errors import (
    AurpayError,
    ConnectError,
    InvalidRequestError,
    NotFoundError,
    OrderMismatchError,
    OrderStoreError,
    StoreUnavailableError,
)
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.testing import FakeClock

from ..support.orders import build_response
from .conftest import client_of
from .platform import URLS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.orders import Attempt, Change

    from .platform import Platform

S = AttemptState
TWO_MINUTES_S = 120
DAY_S = 86_400
HOUR_S = 3600


async def opened(store: OrderStore, reference: str = "cart-42") -> LightningOrder:
    return await store.get_or_create(reference, "20.00", "USD", **URLS)


async def lose(
    store: OrderStore, platform: Platform, fault: str, reference: str = "cart-42"
) -> None:
    platform.faults = [fault]
    with pytest.raises(AurpayError):
        await opened(store, reference)


async def states(
    store: OrderStore, clock: FakeClock, seconds: float, reference: str = "cart-42"
) -> list[str]:
    """Return the states recorded in that time, with reconciliation whenever due."""
    became: list[str] = []
    end = clock.now() + timedelta(seconds=seconds)
    while (due := await next_poll(store, reference)) is not None and due < end:
        clock.advance(max(0.0, (due - clock.now()).total_seconds()))
        changes = (await store.reconcile()).changes
        became += [change.attempt.state for change in changes]
    clock.advance((end - clock.now()).total_seconds())
    return became


async def next_poll(store: OrderStore, reference: str) -> datetime | None:
    times = [one.next_poll_at for one in await store.attempts(reference)]
    return min((time for time in times if time is not None), default=None)


async def start_call(
    store: OrderStore, platform: Platform, reference: str = "cart-42"
) -> asyncio.Task[LightningOrder]:
    """Start a create call that the platform answers once `go` is set."""
    platform.faults = ["wait"]
    before = platform.calls["create_order"]
    task = asyncio.create_task(opened(store, reference))
    while platform.calls["create_order"] == before:
        assert not task.done(), task.result()
        await asyncio.sleep(0.001)
    return task


async def damage(store: OrderStore, reference: str, **values: str) -> None:
    """Change the attempts of a reference as a person or other code does."""
    which = attempts.c.reference == reference
    async with store.engine.begin() as connection:
        await connection.execute(update(attempts).where(which).values(values))


def assert_names_damage(
    error: BaseException, attempt: Attempt, columns: list[str]
) -> None:
    assert isinstance(error, OrderStoreError)
    assert error.reference == attempt.reference
    problem = str(error)
    assert repr(attempt.reference) in problem
    assert repr(attempt.attempt_id) in problem
    assert all(column in problem for column in columns)
    assert "secret" not in problem
    assert (error.__cause__, error.__context__) == (None, None)


class TestPolling:
    """Polling of orders with a known id."""

    async def test_payment_with_a_lost_callback_is_recorded_once_after_two_minutes(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        order = await opened(store)
        platform.set(order.order_id, "SUCCESS")
        shipments: list[str] = []

        async def on_change(change: Change, connection: AsyncConnection) -> None:
            count = (
                "SELECT count(*) FROM aurpay_references WHERE paid_attempt_id IS NULL"
            )
            assert await connection.scalar(text(count)) == 0
            shipments.extend([change.reference] * change.newly_paid)

        clock.advance(TWO_MINUTES_S - 1)
        assert (await store.reconcile(on_change=on_change)).polled == 0
        clock.advance(1)
        done = await store.reconcile(on_change=on_change)
        [change] = done.changes
        assert change.newly_paid
        assert (done.polled, done.failures, done.more) == (1, (), False)
        clock.advance(DAY_S)
        assert (await store.reconcile(on_change=on_change)).polled == 0
        assert shipments == ["cart-42"]

    async def test_concurrent_reconcile_runs_poll_each_order_once(
        self,
        store: OrderStore,
        platform: Platform,
        clock: FakeClock,
        client: AurpayClient,
        url: str,
    ) -> None:
        for number in range(10):
            order = await opened(store, f"cart-{number}")
            platform.set(order.order_id, "SUCCESS")
        clock.advance(TWO_MINUTES_S)
        async with OrderStore(client, url) as another:
            runs = [one.reconcile() for one in (store, another, store, another)]
            done = await asyncio.gather(*runs)
        assert sum(len(one.changes) for one in done) == 10
        assert platform.calls["get_order"] == sum(one.polled for one in done) == 10

    async def test_reconcile_run_is_bounded_and_polls_the_most_urgent_first(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        for number in range(5):
            await opened(local, f"cart-{number}")
            clock.advance(1)
        clock.advance(TWO_MINUTES_S)
        runs = [await local.reconcile(limit=2) for _ in range(4)]
        assert [(run.polled, run.more) for run in runs] == [
            (2, True),
            (2, True),
            (1, False),
            (0, False),
        ]

    async def test_unpaid_order_is_polled_until_an_hour_after_its_invoice_expires(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        assert await states(local, clock, 24 * HOUR_S) == ["overdue"]
        assert await states(local, clock, 2 * HOUR_S) == ["expired"]
        assert 25 <= platform.calls["get_order"] <= 35
        clock.advance(7 * DAY_S)
        assert (await local.reconcile()).polled == 0

    @pytest.mark.parametrize("ahead_s", [26 * HOUR_S, 40 * DAY_S])
    async def test_clock_that_is_ahead_gives_up_no_order(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        sqlite_url: str,
        ahead_s: int,
    ) -> None:
        """Aurpay has the order as PENDING, and its status counts."""
        order = await opened(local)
        clock.advance(TWO_MINUTES_S)
        ahead = FakeClock(clock.now() + timedelta(seconds=ahead_s))
        async with OrderStore(local._client, sqlite_url, clock=ahead) as wrong:
            assert (await wrong.reconcile()).changes == ()
            ahead.advance(ahead_s)
            assert (await wrong.reconcile()).changes == ()
        platform.set(order.order_id, "SUCCESS")
        [change] = (await local.reconcile()).changes
        assert change.newly_paid

    async def test_order_that_a_clock_ahead_gave_up_is_polled_again(
        self, local: OrderStore, platform: Platform, clock: FakeClock, sqlite_url: str
    ) -> None:
        """Overdue orders expire by a clock; a poll shows that the clock was ahead."""
        order = await opened(local)
        await lose(local, platform, "lost", "cart-41")
        platform.set(order.order_id, "OVERDUE")
        ahead = FakeClock(clock.now() + timedelta(hours=26))
        async with OrderStore(local._client, sqlite_url, clock=ahead) as wrong:
            became = await states(wrong, ahead, HOUR_S, "cart-41")
            assert sorted(became) == ["expired", "not_found"]
        done = await local.reconcile(limit=1)
        assert (done.polled, done.more) == (1, True)
        back = [*done.changes, *(await local.reconcile()).changes]
        assert sorted(one.attempt.state for one in back) == ["overdue", "unknown"]
        assert (await local.reconcile()).polled == 0
        platform.set(order.order_id, "SUCCESS")
        clock.advance(TWO_MINUTES_S)
        assert any(one.newly_paid for one in (await local.reconcile()).changes)

    async def test_order_that_a_clock_ahead_has_created_is_polled(
        self, local: OrderStore, platform: Platform, clock: FakeClock, sqlite_url: str
    ) -> None:
        """It is polled every few minutes until its creation time is reached."""
        ahead = FakeClock(clock.now() + timedelta(hours=6))
        async with OrderStore(local._client, sqlite_url, clock=ahead) as wrong:
            order = await opened(wrong)
        assert (await local.reconcile()).polled == 1
        platform.set(order.order_id, "SUCCESS")
        clock.advance(TWO_MINUTES_S)
        [change] = (await local.reconcile()).changes
        assert change.newly_paid

    @pytest.mark.slow
    async def test_order_that_stays_pending_is_polled_again_and_again(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """The invoice has expired, and the pauses keep growing."""
        order = await opened(local)
        assert await states(local, clock, 60 * DAY_S) == []
        assert 30 <= platform.calls["get_order"] <= 60
        platform.set(order.order_id, "OVERDUE")
        assert await states(local, clock, 30 * DAY_S) == ["expired"]

    @pytest.mark.slow
    async def test_payment_shortly_before_the_last_poll_is_recorded(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        await states(local, clock, 24 * HOUR_S)
        platform.set(order.order_id, "SUCCESS")
        assert await states(local, clock, 2 * HOUR_S) == ["paid"]

    @pytest.mark.slow
    async def test_duplicate_payment_is_polled_until_it_is_refunded(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first = await opened(local)
        platform.set(first.order_id, "OVERDUE")
        clock.advance(1800)
        second = await opened(local)
        platform.set(first.order_id, "SUCCESS")
        platform.set(second.order_id, "SUCCESS")
        assert sorted(await states(local, clock, 2 * HOUR_S)) == [
            "duplicate",
            "paid",
        ]
        clock.advance(60 * DAY_S)
        await local.reconcile()
        [duplicate_payment] = await local.duplicate_payments()
        platform.set(duplicate_payment.order_id or "", "REFUNDED")
        clock.advance(30 * DAY_S)
        [change] = (await local.reconcile()).changes
        assert change.attempt.state is S.REFUNDED
        assert not await local.duplicate_payments()

    @pytest.mark.slow
    async def test_order_with_an_unknown_status_never_expires(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """The status may turn out to mean a payment."""
        order = await opened(local)
        platform.set(order.order_id, "TERMINATED")
        assert await states(local, clock, 30 * HOUR_S) == []
        platform.set(order.order_id, "SUCCESS")
        assert await states(local, clock, 10 * HOUR_S) == ["paid"]


class TestSearching:
    """Search for orders with an unknown id."""

    async def test_search_for_a_lost_order_ends_after_an_hour(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        await lose(local, platform, "lost")
        assert await states(local, clock, HOUR_S) == []
        assert await states(local, clock, HOUR_S) == ["not_found"]
        assert 8 <= platform.calls["list_orders"] <= 20
        assert (await local.reconcile()).polled == 0

    async def test_lost_order_that_is_listed_late_becomes_a_candidate(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Without proof, its payment is not recorded as paid."""
        await lose(local, platform, "lost+created")
        [(order_id, hidden)] = platform.orders.items()
        del platform.orders[order_id]
        assert await states(local, clock, 600) == []
        platform.orders[order_id] = hidden
        assert await states(local, clock, 600) == ["candidates_found"]
        platform.set(order_id, "SUCCESS")
        assert await states(local, clock, 600) == []
        [unclear] = await local.needs_review()
        assert unclear.candidates == {order_id: "SUCCESS"}
        assert await states(local, clock, 30 * HOUR_S) == []
        assert await local.needs_review()
        # The list is read for an hour, and at the end; in between, only the order.
        assert platform.calls["list_orders"] < 20

    @pytest.mark.slow
    @pytest.mark.parametrize("found_after_s", [600, HOUR_S])
    async def test_unpaid_candidate_is_given_up_when_aurpay_has_it_as_overdue(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        found_after_s: int,
    ) -> None:
        await lose(local, platform, "lost+created")
        [(order_id, hidden)] = platform.orders.items()
        del platform.orders[order_id]
        await states(local, clock, found_after_s)
        platform.orders[order_id] = hidden
        assert await states(local, clock, 20 * HOUR_S) == ["candidates_found"]
        assert await states(local, clock, 10 * HOUR_S) == []
        platform.set(order_id, "OVERDUE")
        assert await states(local, clock, 10 * HOUR_S) == ["not_found"]
        assert (await local.reconcile()).polled == 0

    async def test_candidate_that_aurpay_no_longer_lists_is_removed(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        await lose(local, platform, "lost")
        other = await client_of(platform, clock).create_order("20.00", "USD")
        clock.advance(TWO_MINUTES_S)
        [change] = (await local.reconcile()).changes
        assert change.attempt.candidates == {other.order_id: "PENDING"}
        del platform.orders[other.order_id]
        assert await states(local, clock, 300) == ["unknown"]

    async def test_candidate_that_another_attempt_confirms_is_removed(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        await lose(local, platform, "lost")
        slow = await start_call(local, platform, "cart-41")
        other = await client_of(platform, clock).create_order("20.00", "USD")
        clock.advance(TWO_MINUTES_S)
        await local.reconcile()
        platform.faults = ["again"]
        platform.go.set()
        assert (await slow).order_id == other.order_id
        assert "unknown" in await states(local, clock, 300)

    @pytest.mark.slow
    @pytest.mark.parametrize("hidden_s", [600, 2 * HOUR_S, 20 * HOUR_S])
    async def test_search_goes_on_after_an_order_of_another_was_found(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        client: AurpayClient,
        hidden_s: int,
    ) -> None:
        """It runs for an hour, and once more before the attempt is given up."""
        other = await client.create_order("20.00", "USD")
        await lose(local, platform, "lost+created")
        own = [*platform.orders][-1]
        hidden = platform.orders.pop(own)
        clock.advance(TWO_MINUTES_S)
        [change] = (await local.reconcile()).changes
        assert change.attempt.candidates == {other.order_id: "PENDING"}
        await states(local, clock, hidden_s)
        platform.orders[own] = {**hidden, "status": "SUCCESS"}
        platform.set(other.order_id, "OVERDUE")
        assert await states(local, clock, 40 * HOUR_S) == []
        [unclear] = await local.needs_review()
        assert unclear.candidates == {other.order_id: "OVERDUE", own: "SUCCESS"}

    async def test_reconcile_finds_a_crashed_call_after_its_deadline_and_logs_it(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        task = await start_call(local, platform)
        clock.advance(49)
        assert (await local.reconcile()).polled == 0
        assert await states(local, clock, 60) == ["unknown"]
        assert "has stored no answer" in caplog.text
        assert "searched for; reference='cart-42' attempt_id=" in caplog.text
        platform.go.set()
        await task


class TestFailures:
    """Orders that cannot be queried now are queried later."""

    async def test_order_that_cannot_be_read_does_not_stop_the_reconcile_run(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Aurpay lacks the order, or returns it with another price."""
        orders = [await opened(local, f"cart-{number}") for number in range(3)]
        for order in orders:
            platform.set(order.order_id, "SUCCESS")
        del platform.orders[orders[0].order_id]
        platform.orders[orders[1].order_id] |= {"vs_price": "21"}
        clock.advance(TWO_MINUTES_S)
        done = await local.reconcile()
        assert [change.reference for change in done.changes] == ["cart-2"]
        failed = {one.attempt.reference: type(one.error) for one in done.failures}
        assert failed == {"cart-0": NotFoundError, "cart-1": OrderMismatchError}
        assert (await local.reconcile()).polled == 0

    @pytest.mark.parametrize(
        ("values", "columns"),
        [
            ({"state": "secret"}, "state"),
            ({"price": "secret"}, "price"),
            ({"price": "NaN"}, "price"),
            ({"candidates": "secret"}, "candidates"),
            ({"candidates": "[1]"}, "candidates"),
            ({"price": "", "state": "", "candidates": '{"1": 1}'}, "price, state"),
        ],
    )
    async def test_damaged_row_is_a_failure_and_the_other_orders_are_polled(
        self,
        store: OrderStore,
        platform: Platform,
        clock: FakeClock,
        caplog: pytest.LogCaptureFixture,
        values: dict[str, str],
        columns: str,
    ) -> None:
        for number in range(3):
            order = await opened(store, f"cart-{number}")
            platform.set(order.order_id, "SUCCESS")
        [stored] = await store.attempts("cart-0")
        await damage(store, "cart-0", **values)
        clock.advance(TWO_MINUTES_S)
        assert (await store.health()).due == 3
        done = await store.reconcile(limit=2)
        assert (done.polled, done.more) == (2, True)
        rest = await store.reconcile()
        assert len([*done.changes, *rest.changes]) == 2
        [failure] = [*done.failures, *rest.failures]
        assert failure.attempt.reference == "cart-0"
        assert failure.attempt.attempt_id == stored.attempt_id
        assert_names_damage(failure.error, stored, columns.split(", "))
        record = vars(caplog.records[-1])
        assert record["levelname"] == "WARNING"
        assert record["aurpay_reference"] == "cart-0"
        assert record["aurpay_attempt_id"] == stored.attempt_id
        assert "secret" not in caplog.text
        assert (await store.reconcile()).polled == 0
        clock.advance(2 * TWO_MINUTES_S)
        again = await store.reconcile()
        assert (again.polled, len(again.failures), again.more) == (1, 1, False)

    async def test_calls_about_a_damaged_row_say_what_is_damaged(
        self, local: OrderStore, platform: Platform
    ) -> None:
        order, _ = await opened(local), await opened(local, "cart-1")
        [stored] = await local.attempts("cart-42")
        token = Reference(
            reference="cart-42",
            price=stored.price,
            currency="USD",
            kind="paid",
            attempt_id=stored.attempt_id,
        )
        await damage(local, "cart-42", state="", attention="review")
        platform.set(order.order_id, "SUCCESS")
        for call in (
            opened(local),
            local.record(order_id=order.order_id),
            local.record(reference="cart-42"),
            local.attempts("cart-42"),
            local.lookup(token),
            local.list_attempts(),
            local.needs_review(),
        ):
            with pytest.raises(OrderStoreError) as caught:
                await call
            assert_names_damage(caught.value, stored, ["state"])

    async def test_reference_with_a_damaged_price_is_an_error_that_names_it(
        self, local: OrderStore
    ) -> None:
        await opened(local)
        async with local.engine.begin() as connection:
            await connection.execute(update(references).values(price="20,00"))
        with pytest.raises(OrderStoreError, match=r"'cart-42', cannot .* its price"):
            await opened(local)

    @pytest.mark.parametrize("column", ["price", "state"])
    async def test_attempt_with_a_damaged_row_may_own_an_order_that_matches(
        self, local: OrderStore, platform: Platform, column: str
    ) -> None:
        """So the order that a callback reports is ambiguous."""
        await lose(local, platform, "lost+created")
        [attempt] = await local.attempts("cart-42")
        rows = local._repository.rows
        assert not (await rows.near(attempt)).has_rival
        await lose(local, platform, "lost+created", "cart-1")
        await damage(local, "cart-1", price="7")
        assert not (await rows.near(attempt)).has_rival
        await damage(local, "cart-1", **{"price": "20", column: "x"})
        assert (await rows.near(attempt)).has_rival

    async def test_key_without_list_access_still_polls_known_orders(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """Searches run last."""
        await lose(local, platform, "lost")
        order = await opened(local, "cart-41")
        platform.set(order.order_id, "SUCCESS")
        clock.advance(TWO_MINUTES_S)
        platform.broken["list_orders"] = build_response(b"{}", 403)
        done = await local.reconcile()
        assert [change.reference for change in done.changes] == ["cart-41"]
        assert [one.attempt.reference for one in done.failures] == ["cart-42"]

    @pytest.mark.slow
    async def test_reconcile_expires_an_old_order_that_aurpay_lacks(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        order = await opened(local)
        del platform.orders[order.order_id]
        assert await states(local, clock, 30 * HOUR_S) == ["expired"]

    async def test_reconcile_run_ends_when_aurpay_is_unavailable(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        for number in range(3):
            await opened(local, f"cart-{number}")
        clock.advance(TWO_MINUTES_S)
        down = ConnectError("down", outcome=RequestOutcome.NOT_SENT)
        platform.broken["get_order"] = down
        done = await local.reconcile(limit=2)
        assert (done.polled, done.changes, done.more) == (1, (), False)
        assert [one.error for one in done.failures] == [down]
        platform.broken["get_order"] = build_response(b"", 503)
        assert (await local.reconcile()).polled == 1

    async def test_failed_poll_of_an_expired_order_is_repeated_after_its_lease(
        self, local: OrderStore, platform: Platform, clock: FakeClock, sqlite_url: str
    ) -> None:
        """A clock that was ahead has expired it, so it is polled again."""
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        ahead = FakeClock(clock.now() + timedelta(hours=26))
        async with OrderStore(local._client, sqlite_url, clock=ahead) as wrong:
            assert await states(wrong, ahead, HOUR_S) == ["expired"]
        platform.broken["get_order"] = build_response(b"{}")
        assert [len((await local.reconcile()).failures) for _ in range(2)] == [1, 0]
        clock.advance(TWO_MINUTES_S)
        assert len((await local.reconcile()).failures) == 1

    @pytest.mark.parametrize("age_s", [TWO_MINUTES_S, 20 * HOUR_S])
    async def test_exception_of_on_change_rolls_the_update_back(
        self,
        store: OrderStore,
        platform: Platform,
        clock: FakeClock,
        caplog: pytest.LogCaptureFixture,
        age_s: int,
    ) -> None:
        """A run minutes later repeats it, at any age of the order."""
        order = await opened(store)
        platform.set(order.order_id, "SUCCESS")
        received: list[Change] = []

        async def on_change(change: Change, _: AsyncConnection) -> None:
            received.append(change)
            if len(received) == 1:
                message = "no shipments left"
                raise LookupError(message)

        clock.advance(age_s)
        done = await store.reconcile(on_change=on_change)
        [failure] = done.failures
        assert (failure.attempt.reference, done.changes) == ("cart-42", ())
        assert isinstance(failure.error, LookupError)
        assert (await store.attempts("cart-42"))[0].state is S.PAYABLE
        [record] = [r for r in caplog.records if r.name == "aurpay_async.orders"]
        assert (record.levelname, record.exc_info) == (
            "ERROR",
            (LookupError, failure.error, failure.error.__traceback__),
        )
        assert "reference='cart-42'" in record.message
        assert order.order_id in record.message
        clock.advance(60)
        await store.reconcile(on_change=on_change)
        assert [change.newly_paid for change in received] == [True, True]
        assert (await store.attempts("cart-42"))[0].state is S.PAID

    async def test_change_is_not_reported_if_postgresql_has_aborted_its_transaction(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """COMMIT raises nothing then. SQLite undoes the failed statement alone."""
        order = await opened(store)
        platform.set(order.order_id, "SUCCESS")

        async def on_change(_: Change, connection: AsyncConnection) -> None:
            with suppress(SQLAlchemyError):
                await connection.execute(text("INSERT INTO missing VALUES (1)"))

        clock.advance(TWO_MINUTES_S)
        done = await store.reconcile(on_change=on_change)
        [attempt] = await store.attempts("cart-42")
        if store.engine.dialect.name == "sqlite":
            assert (len(done.changes), attempt.state) == (1, S.PAID)
            return
        [failure] = done.failures
        assert (done.changes, attempt.state) == ((), S.PAYABLE)
        assert "25P02; an earlier statement" in str(failure.error)

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("odd"),
            asyncio.CancelledError(),
            BaseExceptionGroup("odd", [asyncio.CancelledError(), ValueError()]),
            StoreUnavailableError("of another database"),
        ],
    )
    async def test_exception_of_on_change_stops_no_other_order(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        error: BaseException,
    ) -> None:
        """This includes CancelledError, unless this task itself is cancelled."""
        for number in range(3):
            order = await opened(local, f"cart-{number}")
            platform.set(order.order_id, "SUCCESS")
        shipments: list[str] = []

        async def on_change(change: Change, _: AsyncConnection) -> None:
            if change.reference == "cart-1":
                raise error
            shipments.append(change.reference)

        clock.advance(TWO_MINUTES_S)
        done = await local.reconcile(on_change=on_change)
        assert sorted(shipments) == ["cart-0", "cart-2"]
        assert [failure.error for failure in done.failures] == [error]
        assert len((await local.reconcile(on_change=on_change)).failures) == 1

    async def test_database_that_fails_ends_the_run_with_its_error(
        self,
        local: OrderStore,
        platform: Platform,
        clock: FakeClock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The failure does not concern one order; the order's lease ends by timeout."""
        order = await opened(local)
        platform.set(order.order_id, "SUCCESS")
        clock.advance(TWO_MINUTES_S)

        def fail(*_: object) -> None:
            raise StoreUnavailableError("the database cannot be used")

        with monkeypatch.context() as patched:
            patched.setattr(local._database, "begin", fail)
            with pytest.raises(StoreUnavailableError):
                await local.reconcile()
        clock.advance(TWO_MINUTES_S)
        [change] = (await local.reconcile()).changes
        assert change.newly_paid

    async def test_failing_on_change_keeps_no_other_order_waiting(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """The failed order is due again after the orders that are due already."""
        for number in range(3):
            order = await opened(local, f"cart-{number}")
            platform.set(order.order_id, "SUCCESS")
            clock.advance(1)
        shipments: list[str] = []

        async def on_change(change: Change, _: AsyncConnection) -> None:
            if change.reference != "cart-2":
                raise LookupError
            shipments.append(change.reference)

        clock.advance(TWO_MINUTES_S)
        done = await local.reconcile(limit=2, on_change=on_change)
        assert (len(done.failures), done.more, shipments) == (2, False, [])
        done = await local.reconcile(limit=2, on_change=on_change)
        assert (len(done.failures), done.more, shipments) == (1, True, ["cart-2"])

    async def test_cancelled_run_gives_its_order_back_within_minutes(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        order = await opened(local)
        platform.set(order.order_id, "SUCCESS")
        clock.advance(20 * HOUR_S)
        started = asyncio.Event()

        async def hang(*_: object) -> None:
            started.set()
            await asyncio.Event().wait()

        run = asyncio.create_task(local.reconcile(on_change=hang))
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (await local.reconcile()).polled == 0
        clock.advance(TWO_MINUTES_S)
        [change] = (await local.reconcile()).changes
        assert change.newly_paid

    @pytest.mark.parametrize(
        ("arguments", "field"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": True}, "limit"),
            ({"on_change": print}, "on_change"),
        ],
    )
    async def test_reconcile_rejects_invalid_arguments_before_a_request(
        self, local: OrderStore, arguments: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            await local.reconcile(**arguments)
        assert caught.value.field == field
