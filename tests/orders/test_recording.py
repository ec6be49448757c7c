"""Record order updates from Aurpay: each payment counts once."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from aurpay_async import OrderStatus
from aurpay_async.callbacks import ConfirmedNotification
from aurpay_async.errors import (
    AlreadyPaidError,
    AurpayError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    OrderMismatchError,
    OrderStoreError,
    UnknownOrderError,
)
from aurpay_async.orders import AttemptState, OrderStore
from aurpay_async.orders._repository import Key

from .platform import URLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async import AurpayClient, LightningOrder, Request, Response
    from aurpay_async.callbacks import CallbackEvent
    from aurpay_async.orders import Attempt, Change
    from aurpay_async.testing import FakeClock

    from .platform import Platform

S = AttemptState
HALF_AN_HOUR_S = 1800
DAY_S = 86_400


async def opened(store: OrderStore, reference: str = "cart-42") -> LightningOrder:
    return await store.get_or_create(reference, "20.00", "USD", **URLS)


async def attempt_of(store: OrderStore, order_id: str) -> Attempt:
    attempts = await store.attempts("cart-42")
    return next(one for one in attempts if one.order_id == order_id)


async def confirmed(
    client: AurpayClient, order: LightningOrder, event: CallbackEvent | None
) -> ConfirmedNotification:
    async def acknowledge(*_: object) -> None:
        """Do nothing: there is no inbox."""

    return ConfirmedNotification(
        outcome="paid",
        event=event,
        order=await client.get_order(order.order_id),
        known=order,
        acknowledge=acknowledge,
    )


class CommitLog(logging.Handler):
    """Payments in the log, each with its attempt's committed state at that time."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields = vars(record)
        if "aurpay_source" not in fields:
            return
        query = "SELECT state FROM aurpay_attempts WHERE attempt_id = ?"
        with closing(sqlite3.connect(self._path)) as database:
            found = database.execute(query, [fields["aurpay_attempt_id"]])
            [state] = found.fetchone()
        message = record.getMessage().partition(";")[0]
        source = fields["aurpay_source"]
        line = f"{fields['aurpay_reference']}: {message}, {source}, {state}"
        self.lines.append(line)


@pytest.fixture
def log(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> Iterator[CommitLog]:
    caplog.set_level("INFO", "aurpay_async.orders")
    handler = CommitLog(sqlite_url.removeprefix("sqlite+aiosqlite:///"))
    logger = logging.getLogger("aurpay_async.orders")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


async def two_orders(
    store: OrderStore, platform: Platform, clock: FakeClock
) -> tuple[str, str]:
    """Create an overdue order and the payable one that replaces it."""
    first = await opened(store)
    platform.set(first.order_id, "OVERDUE")
    clock.advance(HALF_AN_HOUR_S)
    second = await opened(store)
    return first.order_id, second.order_id


async def test_payment_is_late_if_the_times_or_the_status_of_aurpay_say_so(
    local: OrderStore, platform: Platform, clock: FakeClock
) -> None:
    rows = (
        ("at the last second", HALF_AN_HOUR_S, False, False),
        ("a second later, without a recorded timeout", HALF_AN_HOUR_S + 1, False, True),
        ("in time by the times, after a recorded timeout", 60, True, True),
        ("without times", None, False, False),
        ("without times, after a recorded timeout", None, True, True),
    )
    for case, seconds, was_overdue, late in rows:
        order = await local.get_or_create(case, "20.00", "USD")
        clock.advance(DAY_S / 2)  # the payment is recorded much later
        if was_overdue:
            platform.set(order.order_id, "OVERDUE")
            assert not (await local.record(reference=case)).late_payment, case
        platform.set(order.order_id, "SUCCESS")
        paid = await local._client.get_order(order.order_id)
        updated = None
        if seconds is not None:
            assert paid.create_time is not None
            updated = paid.create_time + timedelta(seconds=seconds)
        paid = attrs.evolve(paid, update_time=updated)
        change = await local.record(paid)
        assert (change.newly_paid, change.late_payment) == (True, late), case
        assert not (await local.record(paid)).late_payment, case


async def test_reference_given_as_an_order_id_is_named_as_such(
    local: OrderStore, platform: Platform
) -> None:
    await opened(local)
    with pytest.raises(InvalidRequestError, match="'cart-42' is a reference") as e:
        await local.record(order_id="cart-42")
    assert e.value.field == "order_id"
    assert e.value.hint == "write record(reference='cart-42')"
    with pytest.raises(NotFoundError):
        await local.record(order_id="cart-43")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "none of them"),
        ({"update": "1", "order_id": "1"}, "update and order_id"),
        (
            {"update": "1", "reference": "cart-42", "order_id": "1"},
            "update and reference and order_id",
        ),
    ],
)
async def test_record_takes_exactly_one_of_update_reference_and_order_id(
    local: OrderStore, platform: Platform, given: dict[str, Any], named: str
) -> None:
    order = await opened(local)
    platform.set(order.order_id, "SUCCESS")
    with pytest.raises(InvalidRequestError, match=f"got {named};") as caught:
        await local.record(**given)
    assert "record(reference=...)" in str(caught.value)
    assert not platform.calls["get_order"]


class TestRecordingByReference:
    """`record(reference=...)` queries the platform for the orders of a reference."""

    async def test_payment_found_by_reference_is_new_exactly_once(
        self, store: OrderStore, platform: Platform
    ) -> None:
        order = await opened(store)
        assert not (await store.record(reference="cart-42")).changed
        platform.set(order.order_id, "SUCCESS")
        change = await store.record(reference="cart-42")
        assert (change.newly_paid, change.attempt.order_id) == (True, order.order_id)
        assert not (await store.record(reference="cart-42")).changed
        platform.set(order.order_id, "REFUNDED")
        change = await store.record(reference="cart-42")
        assert (change.before, change.attempt.state) == (S.PAID, S.REFUNDED)
        assert not (await store.record(reference="cart-42")).changed

    async def test_payment_of_an_earlier_order_is_found_by_reference(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first, second = await two_orders(local, platform, clock)
        platform.set(first, "SUCCESS")
        change = await local.record(reference="cart-42")
        assert (change.newly_paid, change.attempt.order_id) == (True, first)
        platform.set(second, "SUCCESS")
        change = await local.record(reference="cart-42")
        assert (change.duplicate_payment, change.attempt.order_id) == (True, second)
        assert not (await local.record(reference="cart-42")).changed

    async def test_paid_order_is_recorded_rather_than_a_newer_pending_one(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first, _ = await two_orders(local, platform, clock)
        platform.set(first, "SUCCESS")
        await local.record(order_id=first)
        platform.set(first, "REFUNDED")
        change = await local.record(reference="cart-42")
        assert (change.attempt.order_id, change.attempt.state) == (first, S.REFUNDED)

    async def test_without_a_payment_the_newest_order_is_recorded(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        _, second = await two_orders(local, platform, clock)
        platform.set(second, "OVERDUE")
        change = await local.record(reference="cart-42")
        assert (change.attempt.order_id, change.attempt.state) == (second, S.OVERDUE)

    async def test_order_that_aurpay_lacks_does_not_hide_the_payment_of_another(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        first, second = await two_orders(local, platform, clock)
        platform.set(first, "SUCCESS")
        gone = platform.orders.pop(second)
        assert (await local.record(reference="cart-42")).newly_paid
        del platform.orders[first]
        with pytest.raises(NotFoundError):
            await local.record(reference="cart-42")
        platform.orders[second] = gone
        change = await local.record(reference="cart-42")
        assert (change.changed, change.attempt.order_id) == (False, second)

    async def test_reference_without_a_known_order_is_an_unknown_order(
        self, local: OrderStore, platform: Platform
    ) -> None:
        platform.faults = ["lost"]
        with pytest.raises(AurpayError):
            await opened(local)
        for reference in ("cart-42", "cart-43"):
            with pytest.raises(UnknownOrderError, match=f"reference '{reference}'"):
                await local.record(reference=reference)
        with pytest.raises(InvalidRequestError, match="reference"):
            await local.record(reference="")


class TestPayments:
    """A reference becomes newly paid once."""

    async def test_only_the_first_record_of_a_payment_is_newly_paid(
        self, store: OrderStore, platform: Platform
    ) -> None:
        order = await opened(store)
        platform.set(order.order_id, "SUCCESS")
        change = await store.record(order_id=order.order_id)
        assert (change.newly_paid, change.duplicate_payment, change.changed) == (
            True,
            False,
            True,
        )
        assert (change.before, change.attempt.state) == (S.PAYABLE, S.PAID)
        assert change.reference == "cart-42"
        assert change.attempt.next_poll_at is None
        again = await store.record(order_id=order.order_id)
        assert (again.newly_paid, again.changed, again.before) == (False, False, S.PAID)
        assert (await opened(store)).status == "SUCCESS"

    async def test_creation_and_payment_are_logged_once_at_info_with_all_ids(
        self, store: OrderStore, platform: Platform, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "aurpay_async.orders")
        order = await opened(store)
        platform.set(order.order_id, "SUCCESS")
        for _ in range(2):
            await opened(store)
            await store.record(order_id=order.order_id)
        ids = (
            f"reference='cart-42' order_id={order.order_id!r} "
            f"attempt_id={order.attempt_id!r}"
        )
        recorded = f"payment recorded; {ids} source='query'"
        assert caplog.messages == [f"order created; {ids}", recorded]

    async def test_payment_is_logged_with_its_source_once_it_is_committed(
        self,
        local: OrderStore,
        platform: Platform,
        client: AurpayClient,
        clock: FakeClock,
        log: CommitLog,
    ) -> None:
        """Each cart is named after the source of its payment."""
        recorded: list[str] = []

        async def fulfil(change: Change, _: AsyncConnection) -> None:
            assert log.lines == recorded

        def expect(reference: str, source: str) -> None:
            recorded.append(f"{reference}: payment recorded, {source}, paid")
            assert log.lines == recorded

        carts = ("order_id", "order", "callback", "poll", "reconcile", "person")
        orders = {cart: await opened(local, cart) for cart in carts[:-1]}
        platform.faults = ["lost+created"]
        with pytest.raises(AurpayError):
            await opened(local, "person")
        for order_id in platform.orders:
            platform.set(order_id, "SUCCESS")
        await local.record(order_id=orders["order_id"].order_id, on_change=fulfil)
        expect("order_id", "query")
        await local.record(await client.get_order(orders["order"].order_id))
        expect("order", "query")
        event: Any = object()
        for cart, source in (("callback", event), ("poll", None)):
            notification = await confirmed(client, orders[cart], source)
            await local.record(notification, on_change=fulfil)
            expect(cart, "query" if source is None else "callback")
        clock.advance(120)
        await local.reconcile(on_change=fulfil)
        expect("reconcile", "reconciliation")
        [attempt] = await local.attempts("person")
        await local.resolve(attempt.attempt_id, [*platform.orders][-1])
        expect("person", "person")

    async def test_payment_that_the_caller_commits_is_logged_as_not_committed(
        self,
        local: OrderStore,
        platform: Platform,
        client: AurpayClient,
        log: CommitLog,
    ) -> None:
        order = await opened(local)
        platform.set(order.order_id, "SUCCESS")
        notification = await confirmed(client, order, None)
        async with local.engine.begin() as connection:
            await local.record(notification, connection=connection)
        pending = "in a transaction that your code has yet to commit"
        assert log.lines == [f"cart-42: payment recorded, {pending}, query, payable"]

    async def test_payment_that_is_rolled_back_is_not_logged(
        self, local: OrderStore, platform: Platform, clock: FakeClock, log: CommitLog
    ) -> None:
        async def fail(_: Change, __: AsyncConnection) -> None:
            raise OSError("no stock")

        order = await opened(local)
        platform.set(order.order_id, "SUCCESS")
        with pytest.raises(OSError, match="no stock"):
            await local.record(order_id=order.order_id, on_change=fail)
        clock.advance(120)
        assert len((await local.reconcile(on_change=fail)).failures) == 1
        assert log.lines == []

    async def test_duplicate_payment_and_its_refund_are_logged_with_the_order_id(
        self,
        store: OrderStore,
        platform: Platform,
        clock: FakeClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        first, second = await two_orders(store, platform, clock)
        caplog.set_level("INFO", "aurpay_async.orders")
        for order_id, status in (
            (first, "SUCCESS"),
            (second, "SUCCESS"),
            (second, "REFUNDED"),
        ):
            platform.set(order_id, status)
            await store.record(order_id=order_id)
        logged = [(one.partition(";")[0], one) for one in caplog.messages]
        assert [text for text, _ in logged] == [
            "payment recorded",
            "duplicate payment recorded, which has to be refunded",
            "refund recorded",
        ]
        assert [second in line for _, line in logged] == [False, True, True]
        levels = [one.levelname for one in caplog.records]
        assert levels == ["INFO", "WARNING", "INFO"]

    async def test_one_of_twenty_concurrent_records_is_newly_paid(
        self, store: OrderStore, platform: Platform, client: AurpayClient, url: str
    ) -> None:
        order = await opened(store)
        platform.set(order.order_id, "SUCCESS")
        paid = await client.get_order(order.order_id)
        async with OrderStore(client, url) as another:
            stores = [store, another] * 10
            changes = await asyncio.gather(*(one.record(paid) for one in stores))
        assert [change.newly_paid for change in changes].count(True) == 1

    async def test_second_payment_is_a_duplicate_until_it_is_refunded(
        self, store: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """The order in which the two were shown makes no difference."""
        first, second = await two_orders(store, platform, clock)
        for order_id in (first, second):
            platform.set(order_id, "SUCCESS")
        assert (await store.record(order_id=first)).newly_paid
        change = await store.record(order_id=second)
        assert (change.newly_paid, change.duplicate_payment) == (False, True)
        assert [one.order_id for one in await store.duplicate_payments()] == [second]
        assert not (await store.record(order_id=second)).duplicate_payment
        shown = await opened(store)
        assert (shown.order_id, shown.status) == (first, "SUCCESS")
        platform.set(second, "REFUNDED")
        change = await store.record(order_id=second)
        assert (change.attempt.state, change.attempt.next_poll_at) == (S.REFUNDED, None)
        assert await store.duplicate_payments() == []

    async def test_refunded_reference_stays_paid(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        """To sell the cart again, the merchant uses another reference."""
        first, second = await two_orders(local, platform, clock)
        platform.set(first, "SUCCESS")
        await local.record(order_id=first)
        platform.set(first, "REFUNDED")
        assert (await local.record(order_id=first)).attempt.state is S.REFUNDED
        assert (await opened(local)).status == "REFUNDED"
        platform.set(second, "SUCCESS")
        assert (await local.record(order_id=second)).duplicate_payment

    async def test_refund_without_a_recorded_payment_allows_a_new_order(
        self, local: OrderStore, platform: Platform
    ) -> None:
        first = await opened(local)
        platform.set(first.order_id, "REFUNDED")
        change = await local.record(order_id=first.order_id)
        assert (change.newly_paid, change.attempt.state) == (False, S.REFUNDED)
        assert (await opened(local)).order_id != first.order_id

    async def test_payment_of_an_order_without_an_invoice_is_recorded(
        self, local: OrderStore, platform: Platform
    ) -> None:
        """The answer was not trusted, but the invoice was paid."""
        platform.faults = ["untrusted"]
        with pytest.raises(AurpayError):
            await opened(local)
        [order_id] = platform.orders
        platform.set(order_id, "SUCCESS")
        assert (await local.record(order_id=order_id)).newly_paid
        with pytest.raises(AlreadyPaidError) as caught:
            await opened(local)
        assert caught.value.order_id == order_id


class TestOtherUpdates:
    """Updates that are no payment."""

    async def test_paid_beats_overdue_in_either_order(
        self, local: OrderStore, platform: Platform
    ) -> None:
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        overdue = await local.record(order_id=order.order_id)
        assert overdue.attempt.state is S.OVERDUE
        assert not (await local.record(order_id=order.order_id)).changed
        stale = await local._client.get_order(order.order_id)
        platform.set(order.order_id, "SUCCESS")
        assert (await local.record(order_id=order.order_id)).newly_paid
        for late in (stale, attrs.evolve(stale, status=OrderStatus.PENDING)):
            change = await local.record(late)
            assert (change.changed, change.attempt.status) == (False, "SUCCESS")

    async def test_payment_of_an_expired_order_is_recorded(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        clock.advance(25 * 3600)
        change = await local.record(order_id=order.order_id)
        assert (change.attempt.state, change.attempt.next_poll_at) == (S.EXPIRED, None)
        assert not (await local.record(order_id=order.order_id)).changed
        platform.set(order.order_id, "SUCCESS")
        assert (await local.record(order_id=order.order_id)).newly_paid

    async def test_unknown_status_is_stored_and_needs_review(
        self, local: OrderStore, platform: Platform
    ) -> None:
        for number, status in enumerate(("PARTIAL", "TERMINATED", "NEW")):
            order = await opened(local, f"cart-{number}")
            platform.set(order.order_id, status)
            assert not (await local.record(order_id=order.order_id)).changed
        unclear = await local.needs_review()
        assert {one.status for one in unclear} == {"PARTIAL", "TERMINATED", "NEW"}
        order = await opened(local)
        assert (await local.attempts("cart-42"))[0] not in await local.needs_review()

    async def test_unknown_status_of_an_expired_order_needs_review(
        self, local: OrderStore, platform: Platform, clock: FakeClock
    ) -> None:
        order = await opened(local)
        platform.set(order.order_id, "OVERDUE")
        clock.advance(26 * 3600)
        expired = await local.record(order_id=order.order_id)
        assert expired.attempt.state is S.EXPIRED
        assert await local.needs_review() == []
        platform.set(order.order_id, "PARTIAL")
        change = await local.record(order_id=order.order_id)
        assert (change.changed, change.attempt.status) == (False, "PARTIAL")
        assert await local.needs_review() == [change.attempt]

    async def test_value_that_is_no_update_is_rejected(self, local: OrderStore) -> None:
        order = await opened(local)
        for update in (7, order, order.order_id, "cart-42"):
            with pytest.raises(
                InvalidRequestError, match="must be a notification or an order as get_"
            ) as caught:
                await local.record(update)  # type: ignore[arg-type]
            assert caught.value.field == "update"
            assert "record(order_id=...) to query Aurpay" in str(caught.value)
        for given in ({"update": ".."}, {"order_id": ".."}):
            with pytest.raises(InvalidRequestError, match=r": must be a "):
                await local.record(**given)  # type: ignore[arg-type]
        with pytest.raises(NotFoundError):
            await local.record(order_id="20260101000000000099")

    async def test_record_rejects_an_order_that_the_store_does_not_have(
        self, local: OrderStore, platform: Platform, client: AurpayClient
    ) -> None:
        order = await client.create_order("20.00", "USD")
        with pytest.raises(UnknownOrderError, match=order.order_id):
            await local.record(order_id=order.order_id)
        with pytest.raises(UnknownOrderError, match="'ab'"):
            await local.resolve("ab", order.order_id)

    @pytest.mark.parametrize(
        ("fields", "problem"),
        [
            ({"vs_price": "21.0"}, "another price"),
            ({"vs_currency": "EUR"}, "another currency"),
            ({"amount": "0.0003"}, "another amount"),
        ],
    )
    async def test_update_that_does_not_match_the_order_is_rejected(
        self,
        local: OrderStore,
        platform: Platform,
        fields: dict[str, Any],
        problem: str,
    ) -> None:
        order = await opened(local)
        platform.orders[order.order_id] |= {**fields, "status": "SUCCESS"}
        with pytest.raises(OrderMismatchError, match=problem) as caught:
            await local.record(order_id=order.order_id)
        assert not caught.value.may_have_succeeded
        assert (await attempt_of(local, order.order_id)).state is S.PAYABLE


class TestTransactions:
    """Recording in the transaction of the application."""

    @pytest.mark.parametrize("kind", ["connection", "session"])
    async def test_update_commits_and_rolls_back_with_the_applications_transaction(
        self, store: OrderStore, platform: Platform, kind: str
    ) -> None:
        order = await opened(store)
        platform.set(order.order_id, "SUCCESS")
        paid = await store._client.get_order(order.order_id)
        engine = store.engine
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE shipments (reference TEXT)"))
        own = engine.connect() if kind == "connection" else AsyncSession(engine)
        async with own as connection:
            for end in (connection.rollback, connection.commit):
                change = await store.record(paid, connection=connection)
                assert change.newly_paid
                shipment = text("INSERT INTO shipments VALUES ('cart-42')")
                await connection.execute(shipment)
                await end()
            count = await connection.scalar(text("SELECT count(*) FROM shipments"))
        assert count == 1
        assert not (await store.record(paid)).newly_paid
        assert (await opened(store)).status == "SUCCESS"

    @pytest.mark.parametrize("named_by", ["reference", "order_id"])
    @pytest.mark.parametrize("own", [True, False])
    async def test_record_queries_aurpay_before_it_takes_a_database_lock(
        self,
        local: OrderStore,
        platform: Platform,
        sqlite_url: str,
        monkeypatch: pytest.MonkeyPatch,
        named_by: str,
        own: bool,
    ) -> None:
        order = await opened(local)
        platform.set(order.order_id, "SUCCESS")
        path, send = sqlite_url.removeprefix("sqlite+aiosqlite:///"), platform.send

        async def send_while_unlocked(request: Request) -> Response:
            with closing(sqlite3.connect(path, timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")  # raises if the database is locked
            return await send(request)

        monkeypatch.setattr(platform, "send", send_while_unlocked)
        given: dict[str, Any] = {named_by: getattr(order, named_by)}
        if own:
            assert (await local.record(**given)).newly_paid
        else:
            changes: list[Change] = []

            async def on_change(change: Change, _: AsyncConnection) -> None:
                changes.append(change)

            assert await local.record(**given, on_change=on_change) == changes[0]
            assert changes[0].newly_paid
        assert platform.calls["get_order"] == 1

    async def test_on_change_is_called_in_the_transaction_of_a_change_and_only_then(
        self, store: OrderStore, platform: Platform
    ) -> None:
        order = await opened(store)
        async with store.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE shipments (reference TEXT)"))
        fail = True

        async def fulfil(change: Change, connection: AsyncConnection) -> None:
            shipment = text("INSERT INTO shipments VALUES (:reference)")
            await connection.execute(shipment, {"reference": change.reference})
            if fail:
                raise ZeroDivisionError

        named: dict[str, Any] = {"reference": "cart-42", "on_change": fulfil}
        assert not (await store.record(**named)).changed
        platform.set(order.order_id, "SUCCESS")
        with pytest.raises(ZeroDivisionError):
            await store.record(**named)
        fail = False
        assert (await store.record(**named)).newly_paid
        paid = await store._client.get_order(order.order_id)
        assert not (await store.record(paid, on_change=fulfil)).changed
        async with store.engine.connect() as connection:
            rows = await connection.execute(text("SELECT reference FROM shipments"))
            assert rows.all() == [("cart-42",)]

    async def test_forty_customers_at_once_need_no_more_connections_than_the_pool_has(
        self, store: OrderStore, platform: Platform
    ) -> None:
        # 5 and 10 more. A transaction that waited for Aurpay would keep its connection.
        order = await opened(store)
        platform.set(order.order_id, "SUCCESS")
        fulfilled: list[str] = []

        async def fulfil(change: Change, _: AsyncConnection) -> None:
            fulfilled.append(change.reference)

        named: dict[str, Any] = {"reference": "cart-42", "on_change": fulfil}
        async with asyncio.timeout(20):
            await asyncio.gather(*(store.record(**named) for _ in range(40)))
        assert fulfilled == ["cart-42"]

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            ({"reference": "cart-42", "connection": "a"}, "would wait for Aurpay"),
            ({"order_id": "1", "connection": "a"}, "on_change=fulfil"),
            ({"reference": "cart-42", "on_change": print}, "must be an `async def`"),
            ({"connection": "a", "on_change": opened}, "together with on_change"),
        ],
    )
    async def test_record_rejects_arguments_that_need_two_transactions_or_none(
        self, local: OrderStore, given: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(InvalidRequestError, match=problem):
            await local.record(**given)

    async def test_record_rejects_a_connection_in_autocommit_mode(
        self, store: OrderStore, url: str
    ) -> None:
        order = await opened(store)
        paid = await store._client.get_order(order.order_id)
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            with pytest.raises(ConfigurationError, match="transaction"):
                await store.record(paid, connection=connection)
        with pytest.raises(ConfigurationError, match="not 'x'"):
            await store.record(paid, connection="x")  # type: ignore[arg-type]
        await engine.dispose()

    async def test_optimistic_lock_rejects_a_change_to_a_stale_row(
        self, local: OrderStore, platform: Platform
    ) -> None:
        order = await opened(local)
        rows = local._repository.rows
        async with rows.writing() as connection:
            locked = await rows.lock(connection, Key(order.attempt_id or ""))
        attempt = locked.attempt
        stale = attrs.evolve(attempt, state=S.UNKNOWN)
        async with rows.writing() as connection:
            locked = attrs.evolve(locked, connection=connection, attempt=stale)
            with pytest.raises(OrderStoreError, match="was changed by") as caught:
                await locked.move(S.CANDIDATES_FOUND)
        assert caught.value.retryable
        async with rows.writing() as connection:
            await rows.set_paid_attempt(connection, attempt)
        with pytest.raises(OrderStoreError, match="was changed by a transaction"):
            async with rows.writing() as connection:
                await rows.set_paid_attempt(connection, attempt)


class TestResolving:
    """`resolve` sets the order of a lost attempt by hand."""

    async def test_resolve_with_an_order_id_makes_a_later_payment_count(
        self, local: OrderStore, platform: Platform
    ) -> None:
        platform.faults = ["lost+created"]
        with pytest.raises(AurpayError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        [order_id] = platform.orders
        change = await local.resolve(attempt.attempt_id, order_id)
        assert (change.attempt.state, change.attempt.order_id) == (S.WITHHELD, order_id)
        with pytest.raises(OrderStoreError, match="has order"):
            await local.resolve(attempt.attempt_id, order_id)
        platform.set(order_id, "SUCCESS")
        assert (await local.record(order_id=order_id)).newly_paid

    async def test_resolve_without_an_order_ends_the_search(
        self, local: OrderStore, platform: Platform
    ) -> None:
        platform.faults = ["lost"]
        with pytest.raises(AurpayError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        change = await local.resolve(attempt.attempt_id, None)
        assert (change.before, change.attempt.state) == (S.UNKNOWN, S.NOT_FOUND)
        assert change.attempt.next_poll_at is None
        assert not (await local.resolve(attempt.attempt_id, None)).changed

    async def test_resolve_rejects_an_attempt_with_a_known_outcome(
        self, local: OrderStore, platform: Platform
    ) -> None:
        platform.faults = ["refused"]
        with pytest.raises(AurpayError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        with pytest.raises(
            OrderStoreError, match="is rejected: only one of unknown outcome"
        ):
            await local.resolve(attempt.attempt_id, None)

    async def test_resolve_rejects_the_order_of_another_attempt(
        self, local: OrderStore, platform: Platform
    ) -> None:
        other = await opened(local, "cart-41")
        platform.faults = ["lost"]
        with pytest.raises(AurpayError):
            await opened(local)
        [attempt] = await local.attempts("cart-42")
        with pytest.raises(OrderMismatchError, match="another attempt"):
            await local.resolve(attempt.attempt_id, other.order_id)
