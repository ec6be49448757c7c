"""From a request to the handler: once, confirmed, and in the right order."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import attrs
import pytest

from aurpay_async import Order, OrderStatus
from aurpay_async._clock import SystemClock
from aurpay_async.callbacks import (
    CallbackProcessor,
    Claim,
    ConfirmedNotification,
    MemoryInbox,
    Reply,
    UnconfirmedNotification,
)
from aurpay_async.errors import (
    AurpayError,
    CallbackError,
    ClaimExpiredError,
    ConfigurationError,
    ConnectionLostError,
)
from aurpay_async.testing import FakeClock

from .samples import NONCE, NOW, TOKEN, signed, url, verifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aurpay_async.callbacks import (
        CallbackEvent,
        Handled,
        Kind,
        Notification,
        Reference,
    )

ZERO = timedelta(0)
ORDER_ID = "20260101000000000001"


@attrs.frozen(kw_only=True)
class Kept:
    """What a shop keeps of an order; any record with these fields does."""

    order_id: str = ORDER_ID
    reference: str | None = "cart-42"
    attempt_id: str | None = NONCE
    price: Decimal = Decimal("20.00")
    currency: str = "USD"
    amount: Decimal = Decimal("0.0002")
    status: OrderStatus = OrderStatus.PENDING


def an_order(**fields: Any) -> Order:
    """As the platform shows it."""
    basics: dict[str, Any] = {
        "order_id": ORDER_ID,
        "status": OrderStatus.SUCCESS,
        "price": Decimal("20.0"),
        "currency": "USD",
        "amount": Decimal("0.00020000"),
    }
    return Order(**{**basics, **fields})


class Shop:
    """A shop: what it holds, what the platform says, and what it was told."""

    def __init__(self, **options: Any) -> None:
        self.kept: Kept | None = Kept()
        self.order: Order | AurpayError = an_order()
        self.told: list[Notification] = []
        self.refused: list[BaseException] = []
        self.fails: BaseException | None = None
        self.handler: Callable[[Notification], Awaitable[None]] = self.handle
        self.finder: Callable[[Reference], Awaitable[Kept | None]] = self.lookup
        self.clock = FakeClock(NOW)
        self.inbox = MemoryInbox(clock=self.clock)
        basics: dict[str, Any] = {
            "verifier": verifier(clock=self.clock),
            "handler": self._handle,
            "reader": self,
            "lookup": self._find,
            "inbox": self.inbox,
            "on_rejected": self.note,
            "clock": self.clock,
        }
        self.processor = CallbackProcessor(**{**basics, **options})

    async def _handle(self, notification: Notification) -> None:
        await self.handler(notification)

    async def _find(self, reference: Reference) -> Kept | None:
        return await self.finder(reference)

    def note(self, error: BaseException, event: CallbackEvent | None) -> None:
        assert event is None or event.reference == "cart-42"
        self.refused.append(error)

    async def lookup(self, reference: Reference) -> Kept | None:
        assert reference.reference == "cart-42"
        return self.kept

    async def get_order(self, order_id: str) -> Order:
        assert order_id == ORDER_ID
        if isinstance(self.order, AurpayError):
            raise self.order
        return self.order

    async def handle(self, notification: Notification) -> None:
        if self.fails is not None:
            raise self.fails
        self.told.append(notification)

    async def called(self, kind: Kind = "paid", **changes: Any) -> Reply:
        """The platform calls."""
        target = url(kind=kind)
        date = f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        request: dict[str, Any] = {
            "method": "GET",
            "url": target,
            "headers": signed(target, date),
        }
        return await self.processor.process(**{**request, **changes})

    def outcomes(self) -> list[str]:
        return [n.outcome if n.confirmed else f"? {n.claimed}" for n in self.told]


async def test_a_payment() -> None:
    """The handler is told, with what the platform said when it was asked."""
    shop = Shop()
    assert await shop.called() == Reply(200, "ok\n", "paid")
    (notification,) = shop.told
    assert isinstance(notification, ConfirmedNotification)
    assert (notification.confirmed, notification.outcome) == (True, "paid")
    assert notification.reference == "cart-42"
    assert (notification.order, notification.known) == (shop.order, shop.kept)
    assert notification.event is not None
    assert notification.event.kind == "paid"
    assert shop.refused == []


async def test_a_repeat_is_answered_and_not_handled() -> None:
    """Also under a new date, which is a new signature."""
    shop = Shop()
    await shop.called()
    assert await shop.called() == Reply(200, "ok\n", "repeated")
    shop.clock.advance(3600)
    assert (await shop.called()).outcome == "repeated"
    assert shop.outcomes() == ["paid"]


async def test_a_handler_that_raises_is_called_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next delivery counts; what went wrong is logged, and answered without it."""
    shop = Shop()
    shop.fails = RuntimeError("the warehouse is closed")
    assert await shop.called() == Reply(500, "failed\n", "failed")
    assert shop.refused == [shop.fails]
    assert "the warehouse is closed" in caplog.text
    assert "'cart-42'" in caplog.text
    shop.fails = None
    assert (await shop.called()).outcome == "paid"
    assert shop.outcomes() == ["paid"]


async def test_a_handler_that_raises_an_error_of_ours() -> None:
    """It is the handler's failure all the same."""
    shop = Shop()
    shop.fails = ConnectionLostError("x")
    assert (await shop.called()).status == 500


async def test_a_request_that_is_cut_off_is_brought_to_its_end() -> None:
    """Servers cancel what they serve when the client goes away."""
    shop = Shop()
    free = asyncio.Event()

    async def slow(notification: Notification) -> None:
        await free.wait()
        shop.told.append(notification)

    shop.handler = slow
    call = asyncio.create_task(shop.called())
    await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    free.set()
    (work,) = shop.processor._tasks
    assert (await work).outcome == "paid"
    assert (await shop.called()).outcome == "repeated"


async def test_a_program_that_ends_meanwhile_loses_nothing() -> None:
    """Its loop cancels everything: the next delivery counts."""
    shop = Shop()

    async def stuck(_: Notification) -> None:
        await asyncio.Event().wait()

    shop.handler = stuck
    call = asyncio.create_task(shop.called())
    await asyncio.sleep(0.01)
    (work,) = shop.processor._tasks
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    shop.handler = shop.handle
    assert (await shop.called()).outcome == "paid"


async def test_a_handler_that_takes_longer_than_its_lease_is_cancelled() -> None:
    """Before another one may start."""
    shop = Shop(lease=timedelta(milliseconds=10))

    async def stuck(_: Notification) -> None:
        await asyncio.Event().wait()

    shop.handler = stuck
    assert (await shop.called()).status == 500
    assert isinstance(shop.refused[0], TimeoutError)
    shop.handler = shop.handle
    assert (await shop.called()).outcome == "paid"


async def test_a_lookup_that_raises() -> None:
    """The shop's failure, whatever it raises; never a refusal."""
    shop = Shop()

    async def broken(_: Reference) -> Kept | None:
        problem = "of another shop"
        raise CallbackError(problem, rule="method")

    shop.finder = broken
    assert (await shop.called()).status == 500


async def test_two_at_once() -> None:
    """One is handled; the other is told to come again, and is then a repeat."""
    shop = Shop()
    free = asyncio.Event()

    async def slow(notification: Notification) -> None:
        await free.wait()
        shop.told.append(notification)

    shop.handler = slow
    first = asyncio.create_task(shop.called())
    await asyncio.sleep(0)
    for kind in ("paid", "timeout"):
        reply = await shop.called(kind)
        assert (reply.status, reply.outcome) == (503, "busy")
        assert reply.headers == {"Retry-After": "5"}
    free.set()
    assert (await first).outcome == "paid"
    assert (await shop.called()).outcome == "repeated"
    assert (await shop.called("timeout")).outcome == "superseded"
    assert shop.outcomes() == ["paid"]


async def test_a_handler_that_outlives_its_lease() -> None:
    """Another took its place: its work must not count."""
    shop = Shop()

    async def slow(notification: Notification) -> None:
        shop.clock.advance(61)
        if not shop.told:
            shop.told.append(notification)
            assert (await shop.called()).outcome == "paid"

    shop.handler = slow
    reply = await shop.called()
    assert (reply.status, reply.outcome) == (503, "lease")
    (error,) = shop.refused
    assert isinstance(error, ClaimExpiredError)


async def test_paid_beats_timeout() -> None:
    """Whichever comes first."""
    shop = Shop()
    await shop.called("paid")
    assert await shop.called("timeout") == Reply(200, "ok\n", "superseded")

    shop = Shop()
    shop.order = an_order(status=OrderStatus.OVERDUE)
    assert (await shop.called("timeout")).outcome == "timed_out"
    shop.order = an_order()
    assert (await shop.called("paid")).outcome == "late_paid"
    assert (await shop.called("paid")).outcome == "repeated"
    assert shop.outcomes() == ["timed_out", "late_paid"]


async def test_a_timeout_of_an_order_that_is_paid() -> None:
    """The platform is asked, and says better; the payment is handled once."""
    shop = Shop()
    assert (await shop.called("timeout")).outcome == "paid"
    assert (await shop.called("paid")).outcome == "repeated"
    assert shop.outcomes() == ["paid"]


async def test_a_shop_that_had_given_up() -> None:
    """Its own order is overdue: a late payment, even if no timeout was delivered."""
    shop = Shop()
    shop.kept = Kept(status=OrderStatus.OVERDUE)
    assert (await shop.called()).outcome == "late_paid"


async def test_an_order_that_was_paid_back() -> None:
    """It is no payment any more."""
    shop = Shop()
    shop.order = an_order(status=OrderStatus.REFUNDED)
    assert (await shop.called()).outcome == "refunded"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("paid", OrderStatus.PENDING),
        ("paid", OrderStatus.OVERDUE),
        ("timeout", OrderStatus.PENDING),
    ],
)
async def test_a_platform_that_does_not_say_so_yet(
    kind: Kind, status: OrderStatus
) -> None:
    """Nothing is handled; the next delivery counts."""
    shop = Shop()
    shop.order = an_order(status=status)
    reply = await shop.called(kind)
    assert (reply.status, reply.outcome) == (503, "not_yet")
    assert status.value in str(shop.refused[0])
    shop.order = an_order()
    assert (await shop.called(kind)).outcome == "paid"


async def test_a_platform_that_cannot_be_asked() -> None:
    """Nothing is handled; the next delivery counts."""
    shop = Shop()
    shop.order = ConnectionLostError("gone")
    assert (await shop.called()).status == 503
    shop.order = an_order()
    assert (await shop.called()).outcome == "paid"


@pytest.mark.parametrize(
    "status", [OrderStatus.PARTIAL, OrderStatus.TERMINATED, OrderStatus("NEW")]
)
async def test_a_status_without_a_known_meaning(status: OrderStatus) -> None:
    """It is no payment: told once, by type; and it may still become one."""
    shop = Shop()
    shop.order = an_order(status=status)
    for _ in range(2):
        reply = await shop.called()
        assert (reply.status, reply.outcome) == (503, "unconfirmed")
    (notification,) = shop.told
    assert isinstance(notification, UnconfirmedNotification)
    assert status.value in notification.reason
    shop.order = an_order(status=OrderStatus.RESOLVED)
    assert (await shop.called()).outcome == "paid"
    assert shop.outcomes() == ["? paid", "paid"]


async def test_unconfirmed_only_confirms_nothing_and_calls_the_handler_once() -> None:
    """The handler is told so by the type of the notification, at once."""
    shop = Shop()
    shop.processor = CallbackProcessor.unconfirmed_only(
        verifier(clock=shop.clock), shop.handle, inbox=shop.inbox, clock=shop.clock
    )
    assert await shop.called() == Reply(200, "ok\n", "unconfirmed")
    (notification,) = shop.told
    assert isinstance(notification, UnconfirmedNotification)
    assert notification.confirmed is False
    assert "confirms no callback" in notification.reason
    assert (notification.claimed, notification.reference) == ("paid", "cart-42")
    assert await shop.called() == Reply(200, "ok\n", "repeated")
    assert (await shop.called("timeout")).outcome == "repeated"
    assert (await shop.processor.poll(Kept())).outcome == "not_yet"
    assert (len(shop.told), shop.clock.sleeps) == (1, [])


@pytest.mark.parametrize(
    "kept",
    [
        None,
        Kept(attempt_id="f" * 24),
        Kept(attempt_id="f" * 24, price=Decimal(25)),
        Kept(attempt_id=None),
    ],
    ids=["none", "another", "of another price", "without an attempt_id"],
)
async def test_order_that_lookup_does_not_know_is_unconfirmed_and_answered_with_200(
    kept: Kept | None,
) -> None:
    """After some seconds, once; and it is confirmed when it is called again later."""
    shop = Shop()
    shop.kept = kept
    assert await shop.called() == Reply(200, "ok\n", "unconfirmed")
    assert await shop.called() == Reply(200, "ok\n", "repeated")
    # It was waited for: the answer to the create may be slower than the callback.
    assert sum(shop.clock.sleeps) == 2 * 3.75
    shop.kept = Kept()
    assert (await shop.called()).outcome == "paid"
    assert shop.outcomes() == ["? paid", "paid"]


async def test_an_order_that_comes_while_its_callback_waits() -> None:
    """Nobody is told of a doubt that has passed."""
    shop = Shop()
    shop.kept = None

    class Slow(SystemClock):
        async def sleep(self, seconds: float) -> None:
            shop.kept = Kept()

    shop.processor._clock = Slow()
    assert (await shop.called()).outcome == "paid"
    assert shop.outcomes() == ["paid"]


async def test_unconfirmed_timeout_does_not_make_a_payment_late() -> None:
    """Only a timeout that the platform confirmed does."""
    shop = Shop()
    shop.kept = None
    assert (await shop.called("timeout")).outcome == "unconfirmed"
    assert (await shop.called("timeout")).outcome == "repeated"
    assert (await shop.called("paid")).outcome == "unconfirmed"
    shop.kept = Kept()
    assert (await shop.called("paid")).outcome == "paid"
    assert shop.outcomes() == ["? timeout", "? paid", "paid"]


async def test_a_doubt_does_not_make_a_late_payment_less_late() -> None:
    """What was told before the doubt is remembered through it."""
    shop = Shop()
    shop.order = an_order(status=OrderStatus.OVERDUE)
    await shop.called("timeout")
    shop.order = an_order(status=OrderStatus.PARTIAL)
    await shop.called("paid")
    shop.order = an_order()
    await shop.called("paid")
    assert shop.outcomes() == ["timed_out", "? paid", "late_paid"]


@pytest.mark.parametrize(
    "kept", [Kept(price=Decimal(19)), Kept(currency="EUR")], ids=["price", "currency"]
)
async def test_an_order_of_the_shop_that_does_not_fit(kept: Kept) -> None:
    """A callback for 19 dollars delivers nothing for 20."""
    shop = Shop()
    shop.kept = kept
    shop.order = an_order(price=None, currency=None)  # it says neither
    assert await shop.called() == Reply(401, "refused\n", "order")
    assert shop.told == []
    assert len(shop.inbox) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"price": Decimal("19.99")},
        {"currency": "EUR"},
        {"amount": Decimal("0.0001")},
        {"order_id": "20260101000000000002"},
    ],
)
async def test_an_order_of_the_platform_that_does_not_fit(
    fields: dict[str, Any],
) -> None:
    """What was paid for must be what was asked for."""
    shop = Shop()
    shop.order = an_order(**fields)
    assert (await shop.called()).outcome == "order"
    assert (len(shop.told), len(shop.inbox)) == (0, 0)
    assert next(iter(fields)).removeprefix("order_") in str(shop.refused[0])


async def test_fields_that_the_platform_does_not_show() -> None:
    """Only four fields of the answer are documented."""
    shop = Shop()
    shop.order = an_order(price=None, currency=None, amount=None)
    assert (await shop.called()).outcome == "paid"
    shop = Shop()
    shop.order = an_order(currency="usd")
    assert (await shop.called()).outcome == "paid"


async def test_a_body_that_names_another_order() -> None:
    """It is not signed, and contradicts what the shop holds."""
    shop = Shop()
    body = json.dumps({"order_id": "20260101000000000002"}).encode()
    reply = await shop.called(method="POST", body=body)
    assert (reply.status, reply.outcome) == (401, "order")
    assert len(shop.inbox) == 0
    body = json.dumps({"order_id": ORDER_ID}).encode()
    assert (await shop.called(method="POST", body=body)).outcome == "paid"


async def test_an_impossible_move() -> None:
    """Refused and reported: what was paid back is not paid again."""
    shop = Shop()
    shop.kept = Kept(status=OrderStatus.REFUNDED)
    assert await shop.called() == Reply(409, "refused\n", "move")
    assert "cannot go from 'REFUNDED' to 'SUCCESS'" in str(shop.refused[0])
    assert (len(shop.told), len(shop.inbox)) == (0, 0)


async def test_a_late_payment_that_awaits_confirmation() -> None:
    """The platform has it as pending again: nothing is impossible, nothing is paid."""
    shop = Shop()
    shop.kept = Kept(status=OrderStatus.OVERDUE)
    shop.order = an_order(status=OrderStatus.PENDING)
    assert (await shop.called()).outcome == "not_yet"
    shop.order = an_order()
    assert (await shop.called()).outcome == "late_paid"


async def test_what_is_not_the_platform(caplog: pytest.LogCaptureFixture) -> None:
    """Refused without a detail or an effect; the log says why."""
    caplog.set_level(logging.INFO)
    shop = Shop()
    assert await shop.called(headers={}) == Reply(401, "refused\n", "unsigned")
    assert "neither Callback-Token nor Date nor Signature" in caplog.text
    caplog.clear()
    cut = {"Date": "2026-01-01T00:00:00Z", "Callback-Token": TOKEN}
    assert (await shop.called(headers=cut)).outcome == "headers"
    assert "does a proxy drop it" in caplog.text
    forged = await shop.called(headers=signed(url(), secret="sandbox-other"))
    assert forged == Reply(401, "refused\n", "signature")
    assert "Signature was made with another secret" in caplog.text
    assert "url='https://shop.example/aurpay'" in caplog.text
    assert "aurpay_ref=" not in caplog.text
    caplog.clear()
    reply = await shop.called(method="DELETE")
    assert caplog.text == ""
    assert (reply.status, reply.headers) == (405, {"Allow": "GET, POST"})
    assert (await shop.called(kind="paid", url="/paid")).status == 401
    assert (len(shop.told), len(shop.inbox)) == (0, 0)


async def test_who_hears_of_a_refusal_sees_no_signature() -> None:
    """Error trackers look into the frames that called them."""
    headers = signed(url(), date="2025-01-01T00:00:00Z")
    seen: list[str] = []

    def look(_: BaseException, __: CallbackEvent | None) -> None:
        frame = inspect.currentframe()
        while frame is not None:
            if "/aurpay_async/" in frame.f_code.co_filename:
                seen.append(repr(frame.f_locals))
            frame = frame.f_back

    shop = Shop(on_rejected=look)
    assert (await shop.called(headers=headers)).outcome == "age"
    assert any("process" in text or "self" in text for text in seen)
    assert all(headers["Signature"] not in text for text in seen)


async def test_a_route_for_one_kind() -> None:
    """The other's URL does not pass."""
    shop = Shop()
    target = url(kind="timeout")
    reply = await shop.processor.process(
        method="GET", url=target, headers=signed(target), kind="paid"
    )
    assert reply.outcome == "kind"


async def test_a_listener_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It disturbs nothing."""

    def broken(_: BaseException, __: CallbackEvent | None) -> None:
        message = "no disk"
        raise OSError(message)

    shop = Shop(on_rejected=broken)
    assert (await shop.called(headers={})).status == 401
    assert "no disk" in caplog.text


class BrokenStore:
    """A database that goes away."""

    def __init__(self, at: str) -> None:
        self.at = at

    async def claim(
        self, key: str, kind: Kind, lease: timedelta = timedelta(0)
    ) -> Claim:
        del kind, lease
        self.fail("claim")
        return Claim(key=key, token="x", previous=None)

    async def release(self, claim: Claim) -> None:
        del claim
        self.fail("release")

    async def confirm(
        self, claim: Claim, handled: Handled, connection: object = None
    ) -> None:
        del claim, handled, connection
        self.fail("confirm")

    async def holds(self, claim: Claim) -> bool:
        del claim
        return self.at == "commit"

    def fail(self, where: str) -> None:
        if where == self.at:
            message = f"no database at {where}"
            raise OSError(message)


@pytest.mark.parametrize("at", ["claim", "confirm", "release"])
async def test_a_store_that_fails(at: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is not answered with 200."""
    shop = Shop(inbox=BrokenStore(at))
    shop.fails = RuntimeError("the handler's own") if at == "release" else None
    assert (await shop.called()).status == 500
    assert f"no database at {at}" in caplog.text


async def test_a_handler_records_in_its_own_transaction() -> None:
    """Then the processor does not record it a second time."""
    recorded: list[tuple[str, Handled, object]] = []

    class Store(BrokenStore):
        async def confirm(
            self, claim: Claim, handled: Handled, connection: object = None
        ) -> None:
            recorded.append((claim.key, handled, connection))

    async def handle(notification: Notification) -> None:
        await notification.ack("a connection")  # type: ignore[arg-type]

    for kept in (Kept(), None):
        shop = Shop(inbox=Store(""))
        shop.kept, shop.handler = kept, handle
        assert (await shop.called()).status == 200
    assert recorded == [
        (NONCE, "paid", "a connection"),
        (NONCE, "unconfirmed_paid", "a connection"),
    ]


async def test_a_transaction_that_was_not_committed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not answered with 200: nothing has happened."""

    async def forgets(notification: Notification) -> None:
        await notification.ack("a connection")  # type: ignore[arg-type]

    shop = Shop(inbox=BrokenStore("commit"))
    shop.handler = forgets
    assert (await shop.called()).status == 500
    assert "without committing" in caplog.text


async def test_settling_twice() -> None:
    """Is a mistake that is named."""

    async def twice(notification: Notification) -> None:
        await notification.ack("a connection")  # type: ignore[arg-type]
        await notification.ack("a connection")  # type: ignore[arg-type]

    shop = Shop(inbox=BrokenStore(""))
    shop.handler = twice
    assert (await shop.called()).status == 500
    assert "acknowledged already" in str(shop.refused[0])


async def test_a_store_that_is_slow_to_record() -> None:
    """A handler that is done keeps its claim, whatever the lease says."""

    class Slow(MemoryInbox):  # type: ignore[misc]
        async def confirm(
            self, claim: Claim, handled: Handled, connection: object = None
        ) -> None:
            await asyncio.sleep(0.05)
            await super().confirm(claim, handled, connection)  # type: ignore[arg-type]

    clock = FakeClock(NOW)
    shop = Shop(inbox=Slow(clock=clock), lease=timedelta(milliseconds=20))
    assert (await shop.called()).outcome == "paid"
    assert (await shop.called()).outcome == "repeated"


async def test_something_that_was_cancelled_elsewhere() -> None:
    """Is a failure like another; nobody has cancelled the call."""
    shop = Shop()
    for wait in (shop.processor.poll(Kept()), shop.called()):
        shop.fails = asyncio.CancelledError()
        assert (await wait).status == 500
    shop.fails = None
    assert (await shop.called()).outcome == "paid"


async def test_settling_after_the_lease() -> None:
    """Another one is on it; the handler's own transaction is rolled back."""

    class Store(BrokenStore):
        async def confirm(
            self, claim: Claim, handled: Handled, connection: object = None
        ) -> None:
            raise ClaimExpiredError(f"{handled} {connection}", rule="lease")

    async def handle(notification: Notification) -> None:
        await notification.ack(claimed)  # type: ignore[arg-type]

    claimed = "a connection"
    shop = Shop(inbox=Store(""))
    shop.handler = handle
    assert (await shop.called()).outcome == "lease"


async def test_settling_without_a_connection() -> None:
    """Is what the processor does by itself."""

    async def wrong(notification: Notification) -> None:
        await notification.ack(None)  # type: ignore[arg-type]

    shop = Shop()
    shop.handler = wrong
    assert (await shop.called()).status == 500
    assert "takes the connection" in str(shop.refused[0])


@pytest.mark.parametrize("status", [*OrderStatus, OrderStatus("NEW")])
async def test_asking_without_a_callback(status: OrderStatus) -> None:
    """What no callback told is told once, and nothing that is not so."""
    shop = Shop()
    shop.order = an_order(status=status)
    assert shop.kept is not None
    first, again = [await shop.processor.poll(shop.kept) for _ in range(2)]
    outcomes = {
        OrderStatus.SUCCESS: "paid",
        OrderStatus.RESOLVED: "paid",
        OrderStatus.OVERDUE: "timed_out",
        OrderStatus.REFUNDED: "refunded",
    }
    if status in outcomes:
        assert (first.outcome, again.outcome) == (outcomes[status], "repeated")
        (notification,) = shop.told
        assert (notification.event, notification.reference) == (None, "cart-42")
    else:
        assert (first.outcome, again.outcome) == ("not_yet", "not_yet")
        assert shop.told == []
    assert shop.refused == []


async def test_asking_and_a_callback_tell_once() -> None:
    """Whichever comes first."""
    shop = Shop()
    assert shop.kept is not None
    shop.order = an_order(status=OrderStatus.OVERDUE)
    await shop.processor.poll(shop.kept)
    assert (await shop.called("timeout")).outcome == "repeated"
    shop.order = an_order()
    await shop.processor.poll(shop.kept)
    assert (await shop.called("paid")).outcome == "repeated"
    assert (await shop.called("timeout")).outcome == "superseded"
    assert shop.outcomes() == ["timed_out", "late_paid"]


async def test_asking_about_an_order_without_a_reference() -> None:
    """Nothing says what was told of it already."""
    shop = Shop()
    for kept in (
        Kept(reference=None),
        Kept(attempt_id=None),
        Kept(attempt_id=NONCE + " "),
    ):
        assert (await shop.processor.poll(kept)).status == 401
    assert "reference=..." in str(shop.refused[0])


async def test_asking_when_nobody_can_be_asked() -> None:
    """It says so, and tells nobody."""
    shop = Shop()
    shop.order = ConnectionLostError("gone")
    assert (await shop.processor.poll(Kept())).outcome == "not_yet"
    assert shop.told == []


@pytest.mark.parametrize("options", [{"lease": 60}, {"lease": timedelta(0)}])
def test_a_lease_that_cannot_be(options: dict[str, Any]) -> None:
    """It is refused when it is configured."""
    with pytest.raises(ConfigurationError, match="lease must be"):
        Shop(**options)


class Plain:
    """Not to be awaited, however it is given."""

    def handle(self, _: Notification) -> None:
        raise AssertionError

    __call__ = handle


@pytest.mark.parametrize(
    "handler", [Plain().handle, partial(Plain().handle), Plain(), print, None]
)
def test_a_handler_that_cannot_be_awaited(handler: Any) -> None:
    """It would have done its work before anybody noticed."""
    with pytest.raises(ConfigurationError, match="async def"):
        Shop(handler=handler)


def test_handlers_of_all_sorts() -> None:
    """Methods, partials, objects and mocks, if they can be awaited."""

    class Object:
        async def __call__(self, _: Notification) -> None:
            raise AssertionError

    for handler in (Shop().handle, partial(Shop().handle), Object(), mock.AsyncMock()):
        Shop(handler=handler)


def test_a_listener_that_would_never_run() -> None:
    """Nobody awaits it."""
    with pytest.raises(ConfigurationError, match="plain function"):
        Shop(on_rejected=mock.AsyncMock())


def test_without_references_nothing_is_counted() -> None:
    """So a processor cannot be made."""
    with pytest.raises(ConfigurationError, match="needs a reference_key"):
        Shop(verifier=verifier(reference_key=None))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"lookup": None}, "lookup must be an `async def`; without it no callback"),
        ({"lookup": dict}, "lookup must be an `async def`"),
        ({"reader": None}, "reader must be an AurpayClient; without it no callback"),
        ({"inbox": None}, "or a MemoryInbox\\(\\) if one process takes all"),
    ],
)
def test_giving_up_a_promise_by_none_is_refused(
    options: dict[str, Any], problem: str
) -> None:
    """The message names the constructor that gives it up."""
    with pytest.raises(ConfigurationError, match=problem):
        Shop(**options)


async def test_the_defaults() -> None:
    """No hook, the machine's clock."""
    shop = Shop(on_rejected=None)
    assert (await shop.called(headers={})).status == 401
    await shop.called()
    assert (await shop.called()).outcome == "repeated"
