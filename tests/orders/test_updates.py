"""Callbacks update the order store: the attempt_id identifies the order."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from aurpay_async import NewOrder
from aurpay_async.callbacks import (
    CallbackProcessor,
    CallbackVerifier,
    Reference,
    UnconfirmedNotification,
)
from aurpay_async.callbacks.sql import SqlInbox
from aurpay_async.errors import (
    AlreadyPaidError,
    AurpayError,
    InvalidRequestError,
    OrderMismatchError,
    OrderNotReadyError,
    PaymentNeedsReviewError,
    UnknownOrderError,
    UntrustedOrderError,
)
from aurpay_async.orders import AttemptState
from aurpay_async.orders._creation import Sending
from aurpay_async.orders._recording import _find_or_adopt, record
from aurpay_async.orders._repository import Key, Rows
from aurpay_async.testing import sign_callback

from ..support.orders import build_response
from .platform import REFERENCE_KEY, URLS

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.callbacks import (
        Notification,
        Reply,
    )
    from aurpay_async.orders import Change, OrderStore
    from aurpay_async.testing import FakeClock

    from .platform import Platform

S = AttemptState
SECRET = "sandbox-callback-secret"


async def opened(store: OrderStore, reference: str = "cart-42") -> LightningOrder:
    return await store.get_or_create(reference, "20.00", "USD", **URLS)


async def lost(
    store: OrderStore, platform: Platform, fault: str, reference: str = "cart-42"
) -> str:
    """Return the attempt_id of an attempt that fails with this fault."""
    platform.faults = [fault]
    with pytest.raises(AurpayError):
        await opened(store, reference)
    return (await store.attempts(reference))[0].attempt_id


class Shop:
    """Record each update in the transaction of the callback's inbox row."""

    def __init__(
        self, store: OrderStore, client: AurpayClient, clock: FakeClock
    ) -> None:
        self.changes: list[Change] = []
        self.refused: list[BaseException] = []
        self._store = store
        self._clock = clock
        self._processor = CallbackProcessor(
            CallbackVerifier(
                secrets=[SECRET], reference_key=REFERENCE_KEY, clock=clock
            ),
            self.handle,
            reader=client,
            lookup=store.lookup,
            inbox=SqlInbox(store.engine, clock=clock),
            on_rejected=lambda error, _: self.refused.append(error),
            clock=clock,
        )

    async def handle(self, notification: Notification) -> None:
        async with self._store.engine.begin() as connection:
            change = await self._store.record(notification, connection=connection)
            await notification.ack(connection)
        self.changes.append(change)

    def confirm_nothing(self) -> None:
        """Process callbacks without asking the platform."""
        self._processor = CallbackProcessor.unconfirmed_only(
            CallbackVerifier(
                secrets=[SECRET], reference_key=REFERENCE_KEY, clock=self._clock
            ),
            self.handle,
            inbox=SqlInbox(self._store.engine, clock=self._clock),
            clock=self._clock,
        )

    async def receive(self, url: str, order_id: str | None = None) -> Reply:
        headers = sign_callback(url, secret=SECRET, now=self._clock.now())
        if order_id is None:
            request: dict[str, Any] = {"method": "GET", "body": b""}
        else:
            body = json.dumps({"order_id": order_id}).encode()
            request = {"method": "POST", "body": body}
        return await self._processor.process(url=url, headers=headers, **request)


@pytest.fixture
async def shop(store: OrderStore, client: AurpayClient, clock: FakeClock) -> Shop:
    """A shop on each database in turn."""
    await store.attempts("cart-42")
    return Shop(store, client, clock)


@pytest.fixture
async def local_shop(local: OrderStore, client: AurpayClient, clock: FakeClock) -> Shop:
    """A shop on SQLite."""
    await local.attempts("cart-42")
    return Shop(local, client, clock)


async def test_repeated_callbacks_make_a_reference_newly_paid_once(
    store: OrderStore, platform: Platform, shop: Shop
) -> None:
    order = await opened(store)
    platform.set(order.order_id, "SUCCESS")
    url = platform.urls[order.order_id]["callback_url"]
    assert (await shop.receive(url)).outcome == "paid"
    assert (await shop.receive(url)).outcome == "repeated"
    assert [change.newly_paid for change in shop.changes] == [True]
    assert (await opened(store)).status == "SUCCESS"


async def test_payment_after_a_timeout_callback_is_recorded_as_paid(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    order = await opened(local)
    urls = platform.urls[order.order_id]
    platform.set(order.order_id, "OVERDUE")
    assert (await local_shop.receive(urls["timeout_callback"])).outcome == "timed_out"
    platform.set(order.order_id, "SUCCESS")
    assert (await local_shop.receive(urls["callback_url"])).outcome == "late_paid"
    assert [change.attempt.state for change in local_shop.changes] == [
        S.OVERDUE,
        S.PAID,
    ]


async def test_paid_callback_identifies_a_lost_order_if_one_candidate_fits(
    store: OrderStore, platform: Platform, shop: Shop
) -> None:
    await lost(store, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "SUCCESS")
    reply = await shop.receive(platform.urls[order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (200, "paid")
    [change] = shop.changes
    assert (change.newly_paid, change.attempt.order_id) == (True, order_id)
    assert change.attempt.candidates == {}
    with pytest.raises(AlreadyPaidError):
        await opened(store)


@pytest.mark.parametrize("kind", ["callback_url", "timeout_callback"])
async def test_callback_of_an_untrusted_order_is_recorded_with_aurpays_status(
    local: OrderStore, platform: Platform, local_shop: Shop, kind: str
) -> None:
    await lost(local, platform, "untrusted")
    [order_id] = platform.orders
    paid = kind == "callback_url"
    platform.set(order_id, "SUCCESS" if paid else "OVERDUE")
    await local_shop.receive(platform.urls[order_id][kind])
    [change] = local_shop.changes
    assert (change.newly_paid, change.attempt.status) == (
        paid,
        "SUCCESS" if paid else "OVERDUE",
    )


@pytest.mark.parametrize("other", ["PENDING", "OVERDUE", "SUCCESS", "REFUNDED"])
async def test_callback_needs_review_while_two_orders_fit(
    local: OrderStore,
    platform: Platform,
    client: AurpayClient,
    local_shop: Shop,
    other: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The status of the other order makes no difference."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    platform.set((await client.create_order("20.00", "USD")).order_id, other)
    platform.set(order_id, "SUCCESS")
    reply = await local_shop.receive(platform.urls[order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (200, "unconfirmed")
    assert [change.attempt.state for change in local_shop.changes] == [
        S.PAYMENT_REPORTED
    ]
    assert not (await local.reconcile()).changes
    assert [one.state for one in await local.needs_review()] == [S.PAYMENT_REPORTED]
    [warning] = [one for one in caplog.records if "needs a person" in one.getMessage()]
    assert (warning.levelname, warning.aurpay_reference) == ("WARNING", "cart-42")  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refunded", "behind", "partial", "pending"])
async def test_callback_is_never_matched_to_the_order_of_another_lost_attempt(
    local: OrderStore, platform: Platform, local_shop: Shop, how: str
) -> None:
    """Two carts have the same price and both answers were lost: both need review."""
    status = {"refunded": "REFUNDED", "partial": "PARTIAL", "pending": "PENDING"}
    await lost(local, platform, "lost+created", "cart-1")
    await lost(local, platform, "lost+created", "cart-2")
    first, second = platform.orders
    platform.set(second, "SUCCESS")
    platform.set(first, status.get(how, "SUCCESS"))
    hidden = {first: platform.orders.pop(first)} if how == "behind" else {}
    await local_shop.receive(platform.urls[first]["callback_url"])
    platform.orders.update(hidden)
    await local_shop.receive(platform.urls[second]["callback_url"])
    for _ in range(6):
        local_shop._clock.advance(600)
        await local.reconcile()
    for cart in ("cart-1", "cart-2"):
        [attempt] = await local.attempts(cart)
        assert (attempt.state, attempt.order_id) == (S.PAYMENT_REPORTED, None)
    # Once one attempt is resolved, only one order remains for the other.
    [attempt] = await local.attempts("cart-1")
    await local.resolve(attempt.attempt_id, first)
    local_shop._clock.advance(7200)
    [change] = (await local.reconcile()).changes
    assert (change.reference, change.attempt.order_id) == ("cart-2", second)
    assert change.newly_paid


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hint", "is_newly_paid"), [("its own", True), ("unknown", False)]
)
async def test_body_of_a_callback_breaks_the_tie_if_the_order_it_names_fits(
    local: OrderStore,
    platform: Platform,
    local_shop: Shop,
    hint: str,
    is_newly_paid: bool,
) -> None:
    """The body is not signed, so it counts only if Aurpay's list confirms it."""
    await lost(local, platform, "lost+created", "cart-1")
    await lost(local, platform, "lost+created", "cart-2")
    for order_id in platform.orders:
        platform.set(order_id, "SUCCESS")
    first, second = platform.orders
    named = first if hint == "its own" else "1"
    await local_shop.receive(platform.urls[first]["callback_url"], named)
    [attempt] = await local.attempts("cart-1")
    assert (attempt.state, attempt.hinted_order_id) == (S.PAYMENT_REPORTED, named)
    done = await local.reconcile()
    assert [one.attempt.order_id for one in done.changes] == [named] * is_newly_paid
    # A callback of the other cart that names the same order needs review.
    await local_shop.receive(platform.urls[second]["callback_url"], named)
    await local.reconcile()
    assert "cart-2" in {one.reference for one in await local.needs_review()}


@pytest.mark.slow
async def test_two_callbacks_that_name_the_same_order_both_need_review(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    for cart in ("cart-1", "cart-2"):
        await lost(local, platform, "lost+created", cart)
    for order_id in platform.orders:
        platform.set(order_id, "SUCCESS")
    first, second = platform.orders
    for order_id in (first, second):
        await local_shop.receive(platform.urls[order_id]["callback_url"], first)
    assert not (await local.reconcile()).changes
    assert len(await local.needs_review()) == 2


async def test_timeout_callback_identifies_a_lost_order(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "OVERDUE")
    url = platform.urls[order_id]["timeout_callback"]
    assert (await local_shop.receive(url)).outcome == "timed_out"
    [change] = local_shop.changes
    assert (change.attempt.state, change.attempt.order_id) == (S.WITHHELD, order_id)


@pytest.mark.slow
async def test_timeout_callback_is_not_matched_to_an_order_that_is_not_overdue(
    local: OrderStore, platform: Platform, client: AurpayClient, local_shop: Shop
) -> None:
    """The order may belong to another lost attempt, and may be paid later."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    url = platform.urls[order_id]["timeout_callback"]
    del platform.orders[order_id]
    other = await client.create_order("20.00", "USD")
    for status, outcome in (("PENDING", "unconfirmed"), ("SUCCESS", "repeated")):
        platform.set(other.order_id, status)
        assert (await local_shop.receive(url)).outcome == outcome
    assert [change.attempt.order_id for change in local_shop.changes] == [None]


async def report_payment_after_expiry(
    local: OrderStore, platform: Platform, local_shop: Shop, status: str
) -> None:
    """Send a genuine callback a day after the last poll, without a read-back."""
    order = await opened(local)
    platform.set(order.order_id, "OVERDUE")
    local_shop._clock.advance(26 * 3600)
    await local.reconcile()
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.next_poll_at) == (S.EXPIRED, None)
    platform.set(order.order_id, status)
    local_shop.confirm_nothing()
    await local_shop.receive(platform.urls[order.order_id]["callback_url"])


async def test_reported_payment_of_an_expired_order_is_polled_until_aurpay_answers(
    local: OrderStore, platform: Platform, local_shop: Shop, clock: FakeClock
) -> None:
    await report_payment_after_expiry(local, platform, local_shop, "SUCCESS")
    platform.broken["get_order"] = build_response(b"", 503)
    for _ in range(2):
        assert len((await local.reconcile()).failures) == 1
        [attempt] = await local.attempts("cart-42")
        assert attempt.next_poll_at is not None
        clock.advance((attempt.next_poll_at - clock.now()).total_seconds())
    platform.broken.clear()
    [change] = (await local.reconcile()).changes
    assert change.newly_paid


async def test_reported_payment_that_aurpay_denies_is_polled_once(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    await report_payment_after_expiry(local, platform, local_shop, "OVERDUE")
    assert (await local.reconcile()).polled == 1
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.next_poll_at) == (S.EXPIRED, None)


@pytest.mark.slow
async def test_unconfirmed_payment_report_blocks_new_orders_until_it_is_resolved(
    local: OrderStore, platform: Platform, client: AurpayClient, local_shop: Shop
) -> None:
    attempt_id = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    other = await client.create_order("20.00", "USD")
    for one in (order_id, other.order_id):
        platform.set(one, "SUCCESS")
    reply = await local_shop.receive(platform.urls[order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (200, "unconfirmed")
    [change] = local_shop.changes
    assert (change.before, change.attempt.state) == (
        S.CANDIDATES_FOUND,
        S.PAYMENT_REPORTED,
    )
    with pytest.raises(PaymentNeedsReviewError):
        await opened(local)
    done = await local.reconcile(limit=1)
    assert (done.polled, done.changes) == (1, ())
    [unclear] = await local.needs_review()
    assert (unclear.attempt_id, set(unclear.candidates)) == (
        attempt_id,
        set(platform.orders),
    )
    assert (await local.resolve(attempt_id, order_id)).newly_paid


async def test_reconcile_polls_a_reported_payment_until_aurpay_confirms_it(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    attempt_id = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    hidden = platform.orders.pop(order_id)
    assert (
        await local_shop.receive(platform.urls[order_id]["callback_url"])
    ).status == 200
    assert not (await local.reconcile()).changes
    platform.orders[order_id] = {**hidden, "status": "SUCCESS"}
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.attempt_id) == (S.PAYMENT_REPORTED, attempt_id)
    local_shop._clock.advance(130)
    [change] = (await local.reconcile()).changes
    assert (change.newly_paid, change.attempt.order_id) == (True, order_id)


async def test_an_unconfirmed_timeout_changes_nothing(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    del platform.orders[order_id]
    reply = await local_shop.receive(platform.urls[order_id]["timeout_callback"])
    assert reply.outcome == "unconfirmed"
    assert [change.changed for change in local_shop.changes] == [False]
    assert not await local.needs_review()


async def test_unconfirmed_notification_has_its_order_polled_at_once(
    local: OrderStore, platform: Platform, client: AurpayClient, clock: FakeClock
) -> None:
    """The handler only stores the notification."""
    order = await opened(local)
    seen: list[Notification] = []

    async def handle(notification: Notification) -> None:
        seen.append(notification)

    shop = Shop(local, client, clock)
    shop.handle = handle  # type: ignore[method-assign]
    shop.confirm_nothing()
    await shop.receive(platform.urls[order.order_id]["callback_url"])
    [notification] = seen
    assert isinstance(notification, UnconfirmedNotification)
    event = attrs.evolve(notification.event, token=None)
    with pytest.raises(InvalidRequestError, match="no signed reference"):
        await local.record(attrs.evolve(notification, event=event))
    change = await local.record(notification)
    # The order id is known, so the order is polled now.
    assert (change.changed, change.attempt.state) == (False, S.PAYABLE)
    assert change.attempt.next_poll_at == clock.now()


async def test_callback_during_the_create_call_gets_order_not_ready(
    local: OrderStore, platform: Platform, client: AurpayClient, clock: FakeClock
) -> None:
    platform.faults = ["wait"]
    task = asyncio.create_task(opened(local))
    while not platform.calls["create_order"]:
        await asyncio.sleep(0.001)
    [attempt] = await local.attempts("cart-42")
    reference = Reference(
        reference="cart-42",
        price=attempt.price,
        currency="USD",
        kind="paid",
        attempt_id=attempt.attempt_id,
    )
    with pytest.raises(OrderNotReadyError, match="'cart-42' is being created"):
        await local.lookup(reference)
    assert platform.calls["list_orders"] == 0
    # After the call's deadline the sender counts as crashed: the list is searched.
    clock.advance(50)
    assert await local.lookup(reference) is None
    assert platform.calls["list_orders"] == 1
    platform.go.set()
    order = await task
    known: Any = await local.lookup(reference)
    assert known == order


async def test_unconfirmed_callback_during_the_create_call_is_a_payment_report(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    local_shop.confirm_nothing()
    platform.faults = ["wait"]
    task = asyncio.create_task(opened(local))
    while not platform.calls["create_order"]:
        await asyncio.sleep(0.001)
    [attempt] = await local.attempts("cart-42")
    again = NewOrder(
        "20", "USD", reference="cart-42", attempt_id=attempt.attempt_id, **URLS
    )
    order = await local._client._create(again)
    await local_shop.receive(platform.urls[order.order_id]["callback_url"])
    assert [change.attempt.state for change in local_shop.changes] == [
        S.PAYMENT_REPORTED
    ]
    done = await local.reconcile()
    assert (done.polled, done.changes) == (1, ())
    assert (await local.reconcile()).polled == 0
    platform.go.set()
    assert (await task).attempt_id == attempt.attempt_id
    assert [one.state for one in await local.attempts("cart-42")] == [S.PAYABLE]


async def test_order_paid_before_the_answer_is_accepted_only_with_its_callback(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    """No payer has seen the invoice, so the order may belong to another request."""
    platform.faults = ["paid"]
    with pytest.raises(UntrustedOrderError, match="no payer has seen it"):
        await opened(local)
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.failed_check) == (S.UNKNOWN, "read_back")
    [order_id] = platform.orders
    assert (
        await local_shop.receive(platform.urls[order_id]["callback_url"])
    ).status == 200
    assert [change.newly_paid for change in local_shop.changes] == [True]


async def test_late_answer_adds_the_invoice_to_an_order_paid_meanwhile(
    local: OrderStore, platform: Platform, local_shop: Shop, clock: FakeClock
) -> None:
    platform.faults = ["lost+created"]
    attempt_id = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "SUCCESS")
    await local_shop.receive(platform.urls[order_id]["callback_url"])
    [attempt] = await local.attempts("cart-42")
    platform.faults = ["again"]
    # The steps of a sender that was only slow.
    late = await local._client.create_order("20.00", "USD")
    sending = Sending(attempt, clock.monotonic(), clock.now())
    assert await local._order_opener._answers.store(sending, late) is None
    assert (await local.attempts("cart-42"))[0].attempt_id == attempt_id
    shown = await opened(local)
    assert (shown.order_id, shown.status) == (order_id, "SUCCESS")
    clock.advance(1)


class TestUnknownOrders:
    """Orders that the store lacks, for example after a restore from a backup."""

    async def test_payment_of_an_unknown_order_needs_review_and_warnings_say_so(
        self,
        store: OrderStore,
        platform: Platform,
        client: AurpayClient,
        shop: Shop,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """The callback is stored as a row, and answered with 200."""
        order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
        platform.set(order.order_id, "SUCCESS")
        url = platform.urls[order.order_id]["callback_url"]
        assert (await shop.receive(url)).status == 200
        [change] = shop.changes
        assert (change.changed, change.newly_paid) == (True, False)
        adopted, review = caplog.messages[-2:]
        assert "paid callback of an order that this order store did not" in adopted
        assert "`aurpay store review` lists it; reference='cart-9'" in review
        [attempt] = await store.needs_review()
        assert attempt == change.attempt
        assert (attempt.state, attempt.reference) == (S.PAYMENT_REPORTED, "cart-9")
        assert (attempt.price, attempt.currency) == (order.price, "USD")
        assert (attempt.attempt_id, attempt.created_here) == (order.attempt_id, False)
        assert (await shop.receive(url)).status == 200
        # Its creation time is unknown, so no search can identify it.
        shop._clock.advance(7200)
        assert (await store.reconcile()).polled == 0
        with pytest.raises(PaymentNeedsReviewError):
            await store.get_or_create("cart-9", "20", "USD")
        assert (await store.resolve(attempt.attempt_id, order.order_id)).newly_paid

    async def test_payment_of_another_price_than_the_reference_needs_review(
        self,
        local: OrderStore,
        platform: Platform,
        client: AurpayClient,
        local_shop: Shop,
    ) -> None:
        """The row has the price that the callback's URL is signed for."""
        await opened(local)
        order = await client.create_order("1", "EUR", reference="cart-42", **URLS)
        platform.set(order.order_id, "SUCCESS")
        await local_shop.receive(
            platform.urls[order.order_id]["callback_url"], order.order_id
        )
        [attempt] = await local.needs_review()
        assert (attempt.price, attempt.currency) == (Decimal(1), "EUR")
        assert attempt.hinted_order_id == order.order_id
        assert (await local.reconcile()).polled == 0

    async def test_timeout_of_an_unknown_order_is_recorded(
        self,
        local: OrderStore,
        platform: Platform,
        client: AurpayClient,
        local_shop: Shop,
    ) -> None:
        """The order is not polled; a payment that follows needs review."""
        order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
        urls = platform.urls[order.order_id]
        platform.set(order.order_id, "OVERDUE")
        assert (await local_shop.receive(urls["timeout_callback"])).status == 200
        assert [change.attempt.state for change in local_shop.changes] == [S.NOT_FOUND]
        assert not await local.needs_review()
        platform.set(order.order_id, "SUCCESS")
        assert (await local_shop.receive(urls["callback_url"])).status == 200
        assert [one.state for one in await local.needs_review()] == [S.PAYMENT_REPORTED]

    async def test_confirmed_payment_of_an_unknown_order_needs_review(
        self,
        local: OrderStore,
        platform: Platform,
        client: AurpayClient,
        local_shop: Shop,
    ) -> None:
        """The merchant's own lookup confirmed the payment."""
        order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
        platform.set(order.order_id, "SUCCESS")
        assert (await local_shop._processor.poll(order)).outcome == "paid"
        [attempt] = await local.needs_review()
        assert attempt.hinted_order_id == order.order_id
        assert [change.newly_paid for change in local_shop.changes] == [False]

    async def test_concurrent_callbacks_of_an_unknown_order_create_one_row(
        self, store: OrderStore, client: AurpayClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
        token = Reference(
            reference="cart-9",
            price=order.price,
            currency="USD",
            kind="paid",
            attempt_id=order.attempt_id or "",
        )

        rows = store._repository.rows

        async def report() -> bool:
            async with rows.writing() as connection:
                _, is_new = await _find_or_adopt(rows, connection, token)
                return is_new

        assert sorted(await asyncio.gather(report(), report())) == [False, True]
        # This process read before the other one had committed.
        lock, missed = Rows.lock, [UnknownOrderError("not yet")]

        async def miss(*arguments: Any) -> Any:
            if missed:
                raise missed.pop()
            return await lock(*arguments)

        monkeypatch.setattr(Rows, "lock", miss)
        assert await report() is False
        assert missed == []
        assert len(await store.attempts("cart-9")) == 1


async def test_callback_cannot_take_an_order_from_the_attempt_that_created_it(
    local: OrderStore, platform: Platform, local_shop: Shop
) -> None:
    attempt_id = await lost(local, platform, "lost")
    order = await opened(local)
    paid = await local._client.get_order(order.order_id)
    rows = local._repository.rows
    async with rows.writing() as connection:
        key = Key(attempt_id, order_id=paid.order_id)
        locked = await rows.lock(connection, key)
        with pytest.raises(OrderMismatchError, match="belongs to another attempt"):
            await record(locked, paid)
