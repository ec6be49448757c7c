"""The book and the dispatcher of callbacks: each order is recognised by its nonce."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import NewOrder
from aurpay_async.callbacks import (
    CallbackVerifier,
    Dispatcher,
    Reference,
    UnconfirmedNotice,
)
from aurpay_async.callbacks.sql import SqlReplayStore
from aurpay_async.errors import (
    AlreadyPaidError,
    AurpayError,
    CallbackReferenceError,
    InvalidRequestError,
    UnclearPaymentError,
)
from aurpay_async.orders import AttemptState
from aurpay_async.testing import sign_callback

from ..orders import answer
from .platform import REFERENCE_KEY, URLS

if TYPE_CHECKING:
    from aurpay_async import AurpayClient, LightningOrder
    from aurpay_async.callbacks import (
        Notice,
        Reply,
    )
    from aurpay_async.orders import Change, OrderBook
    from aurpay_async.testing import FakeClock

    from .platform import Platform

S = AttemptState
SECRET = "sandbox-callback-secret"


async def opened(book: OrderBook, reference: str = "cart-42") -> LightningOrder:
    return await book.open(reference, "20.00", "USD", **URLS)


async def lost(book: OrderBook, platform: Platform, fault: str) -> str:
    """The nonce of an attempt that fails so."""
    platform.faults = [fault]
    with pytest.raises(AurpayError):
        await opened(book)
    return (await book.attempts("cart-42"))[0].nonce


class Shop:
    """Records what it is told, in the transaction of the callback's own record."""

    def __init__(self, book: OrderBook, client: AurpayClient, clock: FakeClock) -> None:
        self.changes: list[Change] = []
        self.refused: list[BaseException] = []
        self._book = book
        self._clock = clock
        self._dispatcher = Dispatcher(
            CallbackVerifier(
                secrets=[SECRET], reference_key=REFERENCE_KEY, clock=clock
            ),
            self.handle,
            reader=client,
            lookup=book.lookup,
            store=SqlReplayStore(book.engine, clock=clock),
            on_refused=lambda error, _: self.refused.append(error),
            clock=clock,
        )

    async def handle(self, notice: Notice) -> None:
        async with self._book.engine.begin() as connection:
            change = await self._book.record(notice, connection)
            await notice.settle(connection)
        self.changes.append(change)

    def confirm_nothing(self) -> None:
        """Process callbacks without asking the platform."""
        self._dispatcher = Dispatcher.unconfirmed_only(
            CallbackVerifier(
                secrets=[SECRET], reference_key=REFERENCE_KEY, clock=self._clock
            ),
            self.handle,
            store=SqlReplayStore(self._book.engine, clock=self._clock),
            clock=self._clock,
        )

    async def hear(self, url: str) -> Reply:
        headers = sign_callback(url, secret=SECRET, now=self._clock.now())
        return await self._dispatcher.dispatch(method="GET", url=url, headers=headers)


@pytest.fixture
async def shop(book: OrderBook, client: AurpayClient, clock: FakeClock) -> Shop:
    """On each database in turn."""
    await book.attempts("cart-42")
    return Shop(book, client, clock)


@pytest.fixture
async def corner(local: OrderBook, client: AurpayClient, clock: FakeClock) -> Shop:
    """On SQLite alone."""
    await local.attempts("cart-42")
    return Shop(local, client, clock)


async def test_a_callback_settles_the_reference(
    book: OrderBook, platform: Platform, shop: Shop
) -> None:
    """Once, however often it comes."""
    order = await opened(book)
    platform.set(order.order_id, "SUCCESS")
    url = platform.urls[order.order_id]["callback_url"]
    assert (await shop.hear(url)).outcome == "paid"
    assert (await shop.hear(url)).outcome == "repeated"
    assert [change.settled for change in shop.changes] == [True]
    assert (await opened(book)).status == "SUCCESS"


async def test_a_timeout_and_then_a_payment(
    local: OrderBook, platform: Platform, corner: Shop
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
    book: OrderBook, platform: Platform, shop: Shop
) -> None:
    """Its nonce says which attempt is paid, and one order fits: that is it."""
    await lost(book, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "SUCCESS")
    reply = await shop.hear(platform.urls[order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (200, "paid")
    [change] = shop.changes
    assert (change.settled, change.attempt.order_id) == (True, order_id)
    assert change.attempt.suspects == {}
    with pytest.raises(AlreadyPaidError):
        await opened(book)


@pytest.mark.parametrize("kind", ["callback_url", "timeout_callback"])
async def test_a_callback_of_an_order_that_was_not_to_be_trusted(
    local: OrderBook, platform: Platform, corner: Shop, kind: str
) -> None:
    """Its id is known, its amount only to the platform."""
    await lost(local, platform, "untrusted")
    [order_id] = platform.orders
    paid = kind == "callback_url"
    platform.set(order_id, "SUCCESS" if paid else "OVERDUE")
    await corner.hear(platform.urls[order_id][kind])
    [change] = corner.changes
    assert (change.settled, change.attempt.status) == (
        paid,
        "SUCCESS" if paid else "OVERDUE",
    )


async def test_of_two_that_fit_the_one_that_is_paid(
    local: OrderBook, platform: Platform, client: AurpayClient, corner: Shop
) -> None:
    """A callback that says "paid" is not about the other one."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    await client.create_order("20.00", "USD")
    url = platform.urls[order_id]["callback_url"]
    assert (await corner.hear(url)).outcome == "unconfirmed"
    platform.set(order_id, "SUCCESS")
    assert (await corner.hear(url)).outcome == "paid"
    assert [change.settled for change in corner.changes] == [False, True]
    assert [change.attempt.state for change in corner.changes] == [S.CLAIMED, S.PAID]


async def test_a_timeout_of_a_lost_one_settles_nothing(
    local: OrderBook, platform: Platform, corner: Shop
) -> None:
    """But then its order is known."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "OVERDUE")
    url = platform.urls[order_id]["timeout_callback"]
    assert (await corner.hear(url)).outcome == "timed_out"
    [change] = corner.changes
    assert (change.attempt.state, change.attempt.order_id) == (S.UNSHOWN, order_id)


async def test_a_timeout_takes_no_order_that_is_not_overdue(
    local: OrderBook, platform: Platform, client: AurpayClient, corner: Shop
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
    local: OrderBook, platform: Platform, corner: Shop, status: str
) -> None:
    """A genuine callback, a day after the last look, which nobody reads back."""
    order = await opened(local)
    platform.set(order.order_id, "OVERDUE")
    corner._clock.advance(26 * 3600)
    await local.reconcile()
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.next_look_at) == (S.EXPIRED, None)
    platform.set(order.order_id, status)
    corner.confirm_nothing()
    await corner.hear(platform.urls[order.order_id]["callback_url"])


async def test_a_claim_of_what_has_expired_is_looked_at_until_it_is_known(
    local: OrderBook, platform: Platform, corner: Shop, clock: FakeClock
) -> None:
    """The platform may be down, for as long as it likes."""
    await claimed_when_expired(local, platform, corner, "SUCCESS")
    platform.broken["get_order"] = answer(b"", 503)
    for _ in range(2):
        assert len((await local.reconcile()).failures) == 1
        [attempt] = await local.attempts("cart-42")
        assert attempt.next_look_at is not None
        clock.advance((attempt.next_look_at - clock.now()).total_seconds())
    platform.broken.clear()
    [change] = (await local.reconcile()).changes
    assert change.settled


async def test_a_claim_of_what_was_not_paid_is_looked_at_once(
    local: OrderBook, platform: Platform, corner: Shop
) -> None:
    """What the platform says in the end is the truth."""
    await claimed_when_expired(local, platform, corner, "OVERDUE")
    assert (await local.reconcile()).asked == 1
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.next_look_at) == (S.EXPIRED, None)


async def test_a_claim_that_nobody_can_confirm(
    local: OrderBook, platform: Platform, client: AurpayClient, corner: Shop
) -> None:
    """No other order is made; a person, or the platform later, says which it was."""
    nonce = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    other = await client.create_order("20.00", "USD")
    for one in (order_id, other.order_id):
        platform.set(one, "SUCCESS")
    reply = await corner.hear(platform.urls[order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (200, "unconfirmed")
    [change] = corner.changes
    assert (change.before, change.attempt.state) == (S.FOUND, S.CLAIMED)
    with pytest.raises(UnclearPaymentError):
        await opened(local)
    done = await local.reconcile(limit=1)
    assert (done.asked, done.changes) == (1, ())
    [unclear] = await local.unclear()
    assert (unclear.nonce, set(unclear.suspects)) == (nonce, set(platform.orders))
    assert (await local.identify(nonce, order_id)).settled


async def test_a_claim_that_the_platform_confirms_later(
    local: OrderBook, platform: Platform, corner: Shop
) -> None:
    """`reconcile` looks at once, and then again and again."""
    nonce = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    hidden = platform.orders.pop(order_id)
    assert (await corner.hear(platform.urls[order_id]["callback_url"])).status == 200
    assert not (await local.reconcile()).changes
    platform.orders[order_id] = {**hidden, "status": "SUCCESS"}
    [attempt] = await local.attempts("cart-42")
    assert (attempt.state, attempt.nonce) == (S.CLAIMED, nonce)
    corner._clock.advance(130)
    [change] = (await local.reconcile()).changes
    assert (change.settled, change.attempt.order_id) == (True, order_id)


async def test_an_unconfirmed_timeout_changes_nothing(
    local: OrderBook, platform: Platform, corner: Shop
) -> None:
    """Nothing hangs on it."""
    await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    del platform.orders[order_id]
    reply = await corner.hear(platform.urls[order_id]["timeout_callback"])
    assert reply.outcome == "unconfirmed"
    assert [change.changed for change in corner.changes] == [False]
    assert not await local.unclear()


async def test_what_nobody_confirms_cannot_be_settled(
    local: OrderBook, platform: Platform, client: AurpayClient, clock: FakeClock
) -> None:
    """Only written down."""
    order = await opened(local)
    seen: list[Notice] = []

    async def handle(notice: Notice) -> None:
        seen.append(notice)

    shop = Shop(local, client, clock)
    shop.handle = handle  # type: ignore[method-assign]
    shop.confirm_nothing()
    await shop.hear(platform.urls[order.order_id]["callback_url"])
    [notice] = seen
    assert isinstance(notice, UnconfirmedNotice)
    for refuse in (local.settle, local.expire):
        with pytest.raises(InvalidRequestError, match="confirms no callback"):
            await refuse(notice)
    change = await local.record(notice)
    # Its order is known, so it is asked about now.
    assert (change.changed, change.attempt.state) == (False, S.LIVE)
    assert change.attempt.next_look_at == clock.now()


async def test_a_callback_that_is_faster_than_the_answer(
    local: OrderBook, platform: Platform, client: AurpayClient, clock: FakeClock
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
        nonce=attempt.nonce,
    )
    assert await local.lookup(reference) is None
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
    local: OrderBook, platform: Platform, corner: Shop
) -> None:
    """A claim, until its answer says more."""
    platform.faults = ["wait"]
    task = asyncio.create_task(opened(local))
    while not platform.calls["create_order"]:
        await asyncio.sleep(0.001)
    [attempt] = await local.attempts("cart-42")
    asked = NewOrder("20", "USD", reference="cart-42", **URLS)
    order = await local._client._create(asked, nonce=attempt.nonce)
    await corner.hear(platform.urls[order.order_id]["callback_url"])
    assert [change.attempt.state for change in corner.changes] == [S.CLAIMED]
    done = await local.reconcile()
    assert (done.asked, done.changes) == (1, ())
    assert (await local.reconcile()).asked == 0
    platform.go.set()
    assert (await task).nonce == attempt.nonce
    assert [one.state for one in await local.attempts("cart-42")] == [S.LIVE]


async def test_paid_before_it_was_answered(
    local: OrderBook, platform: Platform, corner: Shop
) -> None:
    """The order is shown as what it is, and the callback settles it."""
    platform.faults = ["paid"]
    order = await opened(local)
    assert (await corner.hear(platform.urls[order.order_id]["callback_url"])).status
    assert [change.settled for change in corner.changes] == [True]


async def test_a_slow_sender_whose_order_was_paid_meanwhile(
    local: OrderBook, platform: Platform, corner: Shop, clock: FakeClock
) -> None:
    """It brings the invoice to what the callback has settled."""
    platform.faults = ["lost+created"]
    nonce = await lost(local, platform, "lost+created")
    [order_id] = platform.orders
    platform.set(order_id, "SUCCESS")
    await corner.hear(platform.urls[order_id]["callback_url"])
    [attempt] = await local.attempts("cart-42")
    platform.faults = ["again"]
    # What the sender would do, had it only been slow.
    late = await local._client.create_order("20.00", "USD")
    assert await local._opener._store(attempt, late) is None
    assert (await local.attempts("cart-42"))[0].nonce == nonce
    shown = await opened(local)
    assert (shown.order_id, shown.status) == (order_id, "SUCCESS")
    clock.advance(1)


async def test_a_nonce_that_the_book_does_not_have(
    local: OrderBook, platform: Platform, client: AurpayClient, corner: Shop
) -> None:
    """Somebody else's order with a reference: it is no order of the book."""
    order = await client.create_order("20.00", "USD", reference="cart-9", **URLS)
    platform.set(order.order_id, "SUCCESS")
    reply = await corner.hear(platform.urls[order.order_id]["callback_url"])
    assert (reply.status, reply.outcome) == (500, "failed")
    assert "no attempt" in str(corner.refused[-1])


async def test_an_order_that_another_attempt_has_proven(
    local: OrderBook, platform: Platform, corner: Shop
) -> None:
    """A callback cannot take it away."""
    nonce = await lost(local, platform, "lost")
    order = await opened(local)
    paid = await local._client.get_order(order.order_id)
    async with local._desk.rows.writing() as connection:
        from aurpay_async.orders._recording import record

        with pytest.raises(CallbackReferenceError, match="that of another attempt"):
            await record(local._desk, connection, nonce, paid)
