"""The store and the callback processor: an order is known by its attempt_id."""

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
    CallbackReferenceError,
    InvalidRequestError,
    OrderNotReadyError,
    PaymentNeedsReviewError,
    UntrustedOrderError,
)
from aurpay_async.orders import AttemptState
from aurpay_async.orders._creation import Sending
from aurpay_async.orders._recording import _adopt
from aurpay_async.orders._repository import Rows
from aurpay_async.testing import sign_callback
from tests.order_store.platform import REFERENCE_KEY, URLS
from tests.orders import answer

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.callbacks import (
        Notification,
        Reply,
    )
    from aurpay_async.orders import Change, OrderStore
    from aurpay_async.testing import FakeClock
    from tests.order_store.platform import Platform

S = AttemptState
SECRET = "sandbox-callback-secret"


async def opened(store: OrderStore, reference: str = "cart-42") -> LightningOrder:
    return await store.get_or_create(reference, "20.00", "USD", **URLS)


async def lost(
    store: OrderStore, platform: Platform, fault: str, reference: str = "cart-42"
) -> str:
    """The attempt_id of an attempt that fails so."""
    platform.faults = [fault]
    with pytest.raises(AurpayError):
        await opened(store, reference)
    return (await store.attempts(reference))[0].attempt_id


class Shop:
    """Records what it is told, in the transaction of the callback's own record."""

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

    async def hear(self, url: str, order_id: str | None = None) -> Reply:
        headers = sign_callback(url, secret=SECRET, now=self._clock.now())
        if order_id is None:
            request: dict[str, Any] = {"method": "GET", "body": b""}
        else:
            body = json.dumps({"order_id": order_id}).encode()
            request = {"method": "POST", "body": body}
        return await self._processor.process(url=url, headers=headers, **request)


@pytest.fixture
async def shop(store: OrderStore, client: AurpayClient, clock: FakeClock) -> Shop:
    """On each database in turn."""
    await store.attempts("cart-42")
    return Shop(store, client, clock)


@pytest.fixture
async def corner(local: OrderStore, client: AurpayClient, clock: FakeClock) -> Shop:
    """On SQLite alone."""
    await local.attempts("cart-42")
    return Shop(local, client, clock)


async def test_a_callback_settles_the_reference(
    store: OrderStore, platform: Platform, shop: Shop
) -> None:
    """Once, however often it comes."""
    order = await opened(store)
    platform.set(order.order_id, "SUCCESS")
    url = platform.urls[order.order_id]["callback_url"]
    assert (await shop.hear(url)).outcome == "paid"
    assert (await shop.hear(url)).outcome == "repeated"
    assert [change.newly_paid for change in shop.changes] == [True]
    assert (await opened(store)).status == "SUCCESS"


async def test_a_timeout_and_then_a_payment(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """A late one settles as well."""
    order = await opened(local)
    urls = platform.urls[order.order_id]
    platform.set(order.order_id, "OVERDUE")
    assert (await corner.hear(urls["timeout_callback"])).outcome == "timed_out"
    platform.set(order.order_id, "SUCCESS")
    assert (await corner.hear(urls["callback_url"])).outcome == "late_paid"
    assert [change.attempt.state for change in corner.changes] == [S.OVERDUE, S.PAID]


async def test_a_callback_of_an_order_that_was_lost(
    store: OrderStore, platform: Platform, shop: Shop
) -> None:
    """Its attempt_id says which attempt is paid, and one order fits: that is it."""
    await lost(store, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "SUCCESS")
    reply = await shop.hear(platform.urls[order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (200, "paid")
    [change] = shop.changes
    assert (change.newly_paid, change.attempt.order_id) == (True, order_id)
    assert change.attempt.candidates == {}
    with pytest.raises(AlreadyPaidError):
        await opened(store)


@pytest.mark.parametrize("kind", ["callback_url", "timeout_callback"])
async def test_a_callback_of_an_order_that_was_not_to_be_trusted(
    local: OrderStore, platform: Platform, corner: Shop, kind: str
) -> None:
    """Its id is known, its amount only to the platform."""
    await lost(local, platform, "untrusted")
    [order_id] = platform.orders
    paid = kind == "callback_url"
    platform.set(order_id, "SUCCESS" if paid else "OVERDUE")
    await corner.hear(platform.urls[order_id][kind])
    [change] = corner.changes
    assert (change.newly_paid, change.attempt.status) == (
        paid,
        "SUCCESS" if paid else "OVERDUE",
    )


@pytest.mark.parametrize("other", ["PENDING", "OVERDUE", "SUCCESS", "REFUNDED"])
async def test_callback_settles_nothing_while_two_orders_fit(
    local: OrderStore,
    platform: Platform,
    client: AurpayClient,
    corner: Shop,
    other: str,
) -> None:
    """Whatever the status of the other one: a person has to look."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    platform.set((await client.create_order("20.00", "USD")).order_id, other)
    platform.set(order_id, "SUCCESS")
    reply = await corner.hear(platform.urls[order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (200, "unconfirmed")
    assert [change.attempt.state for change in corner.changes] == [S.PAYMENT_REPORTED]
    assert not (await local.reconcile()).changes
    assert [one.state for one in await local.needs_review()] == [S.PAYMENT_REPORTED]


@pytest.mark.parametrize("how", ["refunded", "behind", "partial", "pending"])
async def test_callback_never_settles_with_the_order_of_another_lost_attempt(
    local: OrderStore, platform: Platform, corner: Shop, how: str
) -> None:
    """Two carts of one price whose answers were lost: both payments need review."""
    status = {"refunded": "REFUNDED", "partial": "PARTIAL", "pending": "PENDING"}
    await lost(local, platform, "lost+created", "cart-1")
    await lost(local, platform, "lost+created", "cart-2")
    first, second = platform.orders
    platform.set(second, "SUCCESS")
    platform.set(first, status.get(how, "SUCCESS"))
    hidden = {first: platform.orders.pop(first)} if how == "behind" else {}
    await corner.hear(platform.urls[first]["callback_url"])
    platform.orders |= hidden
    await corner.hear(platform.urls[second]["callback_url"])
    for _ in range(6):
        corner._clock.advance(600)
        await local.reconcile()
    for cart in ("cart-1", "cart-2"):
        [attempt] = await local.attempts(cart)
        assert (attempt.state, attempt.order_id) == (S.PAYMENT_REPORTED, None)
    # Once a person has told whose order the one is, the other one is clear.
    [attempt] = await local.attempts("cart-1")
    await local.resolve(attempt.attempt_id, first)
    corner._clock.advance(7200)
    [change] = (await local.reconcile()).changes
    assert (change.reference, change.attempt.order_id) == ("cart-2", second)
    assert change.newly_paid


@pytest.mark.parametrize(("hint", "settled"), [("its own", True), ("unknown", False)])
async def test_body_of_a_callback_breaks_the_tie_if_the_order_it_names_fits(
    local: OrderStore, platform: Platform, corner: Shop, hint: str, settled: bool
) -> None:
    """The body is not signed; it counts only where Aurpay's list agrees."""
    await lost(local, platform, "lost+created", "cart-1")
    await lost(local, platform, "lost+created", "cart-2")
    for order_id in platform.orders:
        platform.set(order_id, "SUCCESS")
    first, second = platform.orders
    named = first if hint == "its own" else "1"
    await corner.hear(platform.urls[first]["callback_url"], named)
    [attempt] = await local.attempts("cart-1")
    assert (attempt.state, attempt.hinted_order_id) == (S.PAYMENT_REPORTED, named)
    done = await local.reconcile()
    assert [one.attempt.order_id for one in done.changes] == [named] * settled
    # A callback of the other cart that names the same order settles nothing.
    await corner.hear(platform.urls[second]["callback_url"], named)
    await local.reconcile()
    assert "cart-2" in {one.reference for one in await local.needs_review()}


async def test_two_callbacks_that_name_one_order_settle_nothing(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """One of the two bodies is wrong."""
    for cart in ("cart-1", "cart-2"):
        await lost(local, platform, "lost+created", cart)
    for order_id in platform.orders:
        platform.set(order_id, "SUCCESS")
    first, second = platform.orders
    for order_id in (first, second):
        await corner.hear(platform.urls[order_id]["callback_url"], first)
    assert not (await local.reconcile()).changes
    assert len(await local.needs_review()) == 2


async def test_a_timeout_of_a_lost_one_settles_nothing(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """But then its order is known."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "OVERDUE")
    url = platform.urls[order_id]["timeout_callback"]
    assert (await corner.hear(url)).outcome == "timed_out"
    [change] = corner.changes
    assert (change.attempt.state, change.attempt.order_id) == (S.WITHHELD, order_id)


async def test_a_timeout_takes_no_order_that_is_not_overdue(
    local: OrderStore, platform: Platform, client: AurpayClient, corner: Shop
) -> None:
    """One that fits may be that of another lost attempt, and may be paid later."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    url = platform.urls[order_id]["timeout_callback"]
    del platform.orders[order_id]
    other = await client.create_order("20.00", "USD")
    for status, outcome in (("PENDING", "unconfirmed"), ("SUCCESS", "repeated")):
        platform.set(other.order_id, status)
        assert (await corner.hear(url)).outcome == outcome
    assert [change.attempt.order_id for change in corner.changes] == [None]


async def claimed_when_expired(
    local: OrderStore, platform: Platform, corner: Shop, status: str
) -> None:
    """A genuine callback, a day after the last look, which nobody reads back."""
    order = await opened(local)
    platform.set(order.order_id, "OVERDUE")
    corner._clock.advance(26 * 3600)
    await local.reconcile()
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.next_poll_at) == (S.EXPIRED, None)
    platform.set(order.order_id, status)
    corner.confirm_nothing()
    await corner.hear(platform.urls[order.order_id]["callback_url"])


async def test_a_claim_of_what_has_expired_is_looked_at_until_it_is_known(
    local: OrderStore, platform: Platform, corner: Shop, clock: FakeClock
) -> None:
    """The platform may be down, for as long as it likes."""
    await claimed_when_expired(local, platform, corner, "SUCCESS")
    platform.broken["get_order"] = answer(b"", 503)
    for _ in range(2):
        assert len((await local.reconcile()).failures) == 1
        [attempt] = await local.attempts("cart-42")
        assert attempt.next_poll_at is not None
        clock.advance((attempt.next_poll_at - clock.now()).total_seconds())
    platform.broken.clear()
    [change] = (await local.reconcile()).changes
    assert change.newly_paid


async def test_a_claim_of_what_was_not_paid_is_looked_at_once(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """What the platform says in the end is the truth."""
    await claimed_when_expired(local, platform, corner, "OVERDUE")
    assert (await local.reconcile()).asked == 1
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.next_poll_at) == (S.EXPIRED, None)


async def test_a_claim_that_nobody_can_confirm(
    local: OrderStore, platform: Platform, client: AurpayClient, corner: Shop
) -> None:
    """No other order is made; a person, or the platform later, says which it was."""
    attempt_id = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    other = await client.create_order("20.00", "USD")
    for one in (order_id, other.order_id):
        platform.set(one, "SUCCESS")
    reply = await corner.hear(platform.urls[order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (200, "unconfirmed")
    [change] = corner.changes
    assert (change.before, change.attempt.state) == (
        S.CANDIDATES_FOUND,
        S.PAYMENT_REPORTED,
    )
    with pytest.raises(PaymentNeedsReviewError):
        await opened(local)
    done = await local.reconcile(limit=1)
    assert (done.asked, done.changes) == (1, ())
    [unclear] = await local.needs_review()
    assert (unclear.attempt_id, set(unclear.candidates)) == (
        attempt_id,
        set(platform.orders),
    )
    assert (await local.resolve(attempt_id, order_id)).newly_paid


async def test_a_claim_that_the_platform_confirms_later(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """`reconcile` looks at once, and then again and again."""
    attempt_id = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    hidden = platform.orders.pop(order_id)
    assert (await corner.hear(platform.urls[order_id]["callback_url"])).status == 200
    assert not (await local.reconcile()).changes
    platform.orders[order_id] = {**hidden, "status": "SUCCESS"}
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.attempt_id) == (S.PAYMENT_REPORTED, attempt_id)
    corner._clock.advance(130)
    [change] = (await local.reconcile()).changes
    assert (change.newly_paid, change.attempt.order_id) == (True, order_id)


async def test_an_unconfirmed_timeout_changes_nothing(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """Nothing hangs on it."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    del platform.orders[order_id]
    reply = await corner.hear(platform.urls[order_id]["timeout_callback"])
    assert reply.outcome == "unconfirmed"
    assert [change.changed for change in corner.changes] == [False]
    assert not await local.needs_review()


async def test_unconfirmed_notification_has_its_order_polled_at_once(
    local: OrderStore, platform: Platform, client: AurpayClient, clock: FakeClock
) -> None:
    """Only written down."""
    order = await opened(local)
    seen: list[Notification] = []

    async def handle(notification: Notification) -> None:
        seen.append(notification)

    shop = Shop(local, client, clock)
    shop.handle = handle  # type: ignore[method-assign]
    shop.confirm_nothing()
    await shop.hear(platform.urls[order.order_id]["callback_url"])
    [notification] = seen
    assert isinstance(notification, UnconfirmedNotification)
    event = attrs.evolve(notification.event, token=None)
    with pytest.raises(InvalidRequestError, match="no signed reference"):
        await local.record(attrs.evolve(notification, event=event))
    change = await local.record(notification)
    # Its order is known, so it is asked about now.
    assert (change.changed, change.attempt.state) == (False, S.PAYABLE)
    assert change.attempt.next_poll_at == clock.now()


async def test_a_callback_that_is_faster_than_the_answer(
    local: OrderStore, platform: Platform, client: AurpayClient, clock: FakeClock
) -> None:
    """While the call is under way, its order is about to be stored."""
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
    # Its sender has died, it seems: so the platform is asked what there is.
    clock.advance(50)
    assert await local.lookup(reference) is None
    assert platform.calls["list_orders"] == 1
    platform.go.set()
    order = await task
    known: Any = await local.lookup(reference)
    assert known == order


async def test_an_unconfirmed_callback_of_a_call_under_way(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """A claim, until its answer says more."""
    corner.confirm_nothing()
    platform.faults = ["wait"]
    task = asyncio.create_task(opened(local))
    while not platform.calls["create_order"]:
        await asyncio.sleep(0.001)
    [attempt] = await local.attempts("cart-42")
    asked = NewOrder("20", "USD", reference="cart-42", **URLS)
    order = await local._client._create(asked, attempt_id=attempt.attempt_id)
    await corner.hear(platform.urls[order.order_id]["callback_url"])
    assert [change.attempt.state for change in corner.changes] == [S.PAYMENT_REPORTED]
    done = await local.reconcile()
    assert (done.asked, done.changes) == (1, ())
    assert (await local.reconcile()).asked == 0
    platform.go.set()
    assert (await task).attempt_id == attempt.attempt_id
    assert [one.state for one in await local.attempts("cart-42")] == [S.PAYABLE]


async def test_paid_before_it_was_answered(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """No payer can have seen it: it is another one's, until its own callback comes."""
    platform.faults = ["paid"]
    with pytest.raises(UntrustedOrderError, match="no payer has seen it"):
        await opened(local)
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.failed_check) == (S.UNKNOWN, "read_back")
    [order_id] = platform.orders
    assert (await corner.hear(platform.urls[order_id]["callback_url"])).status == 200
    assert [change.newly_paid for change in corner.changes] == [True]


async def test_a_slow_sender_whose_order_was_paid_meanwhile(
    local: OrderStore, platform: Platform, corner: Shop, clock: FakeClock
) -> None:
    """It brings the invoice to what the callback has settled."""
    platform.faults = ["lost+created"]
    attempt_id = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "SUCCESS")
    await corner.hear(platform.urls[order_id]["callback_url"])
    [attempt] = await local.attempts("cart-42")
    platform.faults = ["again"]
    # What the sender would do, had it only been slow.
    late = await local._client.create_order("20.00", "USD")
    sending = Sending(attempt, clock.monotonic(), clock.now())
    assert await local._order_opener._answers.store(sending, late) is None
    assert (await local.attempts("cart-42"))[0].attempt_id == attempt_id
    shown = await opened(local)
    assert (shown.order_id, shown.status) == (order_id, "SUCCESS")
    clock.advance(1)


class TestOrdersOfOthers:
    """Orders with a reference that the store did not create: a backup was restored."""

    async def test_payment_of_an_unknown_order_needs_review(
        self, store: OrderStore, platform: Platform, client: AurpayClient, shop: Shop
    ) -> None:
        """It becomes a row, and its callback is answered 200."""
        order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
        platform.set(order.order_id, "SUCCESS")
        url = platform.urls[order.order_id]["callback_url"]
        assert (await shop.hear(url)).status == 200
        [change] = shop.changes
        assert (change.changed, change.newly_paid) == (True, False)
        [attempt] = await store.needs_review()
        assert attempt == change.attempt
        assert (attempt.state, attempt.reference) == (S.PAYMENT_REPORTED, "cart-9")
        assert (attempt.price, attempt.currency) == (order.price, "USD")
        assert (attempt.attempt_id, attempt.created_here) == (order.attempt_id, False)
        assert (await shop.hear(url)).status == 200
        # When it was created is not known, so no search could tell which one it is.
        shop._clock.advance(7200)
        assert (await store.reconcile()).asked == 0
        with pytest.raises(PaymentNeedsReviewError):
            await store.get_or_create("cart-9", "20", "USD")
        assert (await store.resolve(attempt.attempt_id, order.order_id)).newly_paid

    async def test_payment_of_another_price_than_the_reference_needs_review(
        self, local: OrderStore, platform: Platform, client: AurpayClient, corner: Shop
    ) -> None:
        """It is stored with the price that the callback's URL is signed for."""
        await opened(local)
        order = await client.create_order("1", "EUR", reference="cart-42", **URLS)
        platform.set(order.order_id, "SUCCESS")
        await corner.hear(platform.urls[order.order_id]["callback_url"], order.order_id)
        [attempt] = await local.needs_review()
        assert (attempt.price, attempt.currency) == (Decimal(1), "EUR")
        assert attempt.hinted_order_id == order.order_id
        assert (await local.reconcile()).asked == 0

    async def test_timeout_of_an_unknown_order_is_recorded(
        self, local: OrderStore, platform: Platform, client: AurpayClient, corner: Shop
    ) -> None:
        """Nothing is due for it; a payment that follows needs review."""
        order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
        urls = platform.urls[order.order_id]
        platform.set(order.order_id, "OVERDUE")
        assert (await corner.hear(urls["timeout_callback"])).status == 200
        assert [change.attempt.state for change in corner.changes] == [S.NOT_FOUND]
        assert not await local.needs_review()
        platform.set(order.order_id, "SUCCESS")
        assert (await corner.hear(urls["callback_url"])).status == 200
        assert [one.state for one in await local.needs_review()] == [S.PAYMENT_REPORTED]

    async def test_confirmed_payment_of_an_unknown_order_needs_review(
        self, local: OrderStore, platform: Platform, client: AurpayClient, corner: Shop
    ) -> None:
        """As when the shop looks its orders up elsewhere."""
        order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
        platform.set(order.order_id, "SUCCESS")
        assert (await corner._processor.poll(order)).outcome == "paid"
        [attempt] = await local.needs_review()
        assert attempt.hinted_order_id == order.order_id
        assert [change.newly_paid for change in corner.changes] == [False]

    async def test_two_callbacks_of_an_unknown_order_make_one_row(
        self, store: OrderStore, client: AurpayClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In two processes, at the same moment."""

        async def not_there(*_: object) -> None:
            return None

        order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
        token = Reference(
            reference="cart-9",
            price=order.price,
            currency="USD",
            kind="paid",
            attempt_id=order.attempt_id or "",
        )

        async def report() -> bool:
            async with store._repository.rows.writing() as connection:
                return await _adopt(store._repository, connection, token)

        assert sorted(await asyncio.gather(report(), report())) == [False, True]
        # One that looked before the other one had committed.
        monkeypatch.setattr(Rows, "by_attempt_id", not_there)
        assert await report() is False
        assert len(await store.attempts("cart-9")) == 1


async def test_an_order_that_another_attempt_has_proven(
    local: OrderStore, platform: Platform, corner: Shop
) -> None:
    """A callback cannot take it away."""
    attempt_id = await lost(local, platform, "lost")
    order = await opened(local)
    paid = await local._client.get_order(order.order_id)
    async with local._repository.rows.writing() as connection:
        from aurpay_async.orders._recording import record

        with pytest.raises(CallbackReferenceError, match="that of another attempt"):
            await record(local._repository, connection, attempt_id, paid)
