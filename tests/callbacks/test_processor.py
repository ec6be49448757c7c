"""CallbackProcessor: from a request to the handler."""

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
from aurpay_async._core.clock import SystemClock
from aurpay_async.callbacks import (
    CallbackProcessor,
    CallbackVerifier,
    Claim,
    ConfirmedNotification,
    MemoryInbox,
    Reply,
    UnconfirmedNotification,
)
from aurpay_async.callbacks._processor import _clock_of
from aurpay_async.errors import (
    AurpayError,
    CallbackError,
    ClaimExpiredError,
    ConfigurationError,
    ConnectionLostError,
    StoreUnavailableError,
)
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock, sign_callback

from ..support.loop_time import advance_loop
from .samples import ATTEMPT_ID, NOW, TOKEN, signed, url, verifier

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aurpay_async import LightningOrder
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
class StoredOrder:
    """The order as the shop has stored it; any record with these fields is accepted."""

    order_id: str = ORDER_ID
    reference: str | None = "cart-42"
    attempt_id: str | None = ATTEMPT_ID
    price: Decimal = Decimal("20.00")
    currency: str = "USD"
    amount: Decimal = Decimal("0.0002")
    status: OrderStatus = OrderStatus.PENDING


def build_order(**fields: Any) -> Order:
    """Return an order as Aurpay has it."""
    basics: dict[str, Any] = {
        "order_id": ORDER_ID,
        "status": OrderStatus.SUCCESS,
        "price": Decimal("20.0"),
        "currency": "USD",
        "amount": Decimal("0.00020000"),
    }
    return Order(**{**basics, **fields})


class Shop:
    """A shop: its order, Aurpay's order, and the notifications it has received."""

    def __init__(self, **options: Any) -> None:
        self.stored: StoredOrder | None = StoredOrder()
        self.order: Order | AurpayError = build_order()
        self.notifications: list[Notification] = []
        self.rejections: list[BaseException] = []
        self.failure: BaseException | None = None
        self.handler: Callable[[Notification], Awaitable[None]] = self.handle
        self.finder: Callable[[Reference], Awaitable[StoredOrder | None]] = self.lookup
        self.clock = FakeClock(NOW)
        self.inbox = MemoryInbox(clock=self.clock)
        basics: dict[str, Any] = {
            "verifier": verifier(clock=self.clock),
            "handler": self._handle,
            "reader": self,
            "lookup": self._find,
            "inbox": self.inbox,
            "on_rejected": self.record_rejection,
            "clock": self.clock,
        }
        self.processor = CallbackProcessor(**{**basics, **options})

    async def _handle(self, notification: Notification) -> None:
        await self.handler(notification)

    async def _find(self, reference: Reference) -> StoredOrder | None:
        return await self.finder(reference)

    def record_rejection(
        self, error: BaseException, event: CallbackEvent | None
    ) -> None:
        assert event is None or event.reference == "cart-42"
        self.rejections.append(error)

    async def lookup(self, reference: Reference) -> StoredOrder | None:
        assert reference.reference == "cart-42"
        return self.stored

    async def get_order(self, order_id: str) -> Order:
        assert order_id == ORDER_ID
        if isinstance(self.order, AurpayError):
            raise self.order
        return self.order

    async def handle(self, notification: Notification) -> None:
        if self.failure is not None:
            raise self.failure
        self.notifications.append(notification)

    async def receive(self, kind: Kind = "paid", **changes: Any) -> Reply:
        """Deliver a callback as Aurpay does."""
        target = url(kind=kind)
        date = f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        request: dict[str, Any] = {
            "method": "GET",
            "url": target,
            "headers": signed(target, date),
        }
        return await self.processor.process(**{**request, **changes})

    def outcomes(self) -> list[str]:
        return [
            n.outcome if n.confirmed else f"? {n.claimed}" for n in self.notifications
        ]


async def test_confirmed_payment_calls_the_handler_with_the_orders_of_both_sides() -> (
    None
):
    shop = Shop()
    assert await shop.receive() == Reply(200, "ok\n", "paid")
    (notification,) = shop.notifications
    assert isinstance(notification, ConfirmedNotification)
    assert (notification.confirmed, notification.outcome) == (True, "paid")
    assert notification.reference == "cart-42"
    assert (notification.order, notification.known) == (shop.order, shop.stored)
    assert notification.event is not None
    assert notification.event.kind == "paid"
    assert shop.rejections == []


async def test_repeated_callback_is_answered_with_200_and_not_handled_again() -> None:
    shop = Shop()
    await shop.receive()
    assert await shop.receive() == Reply(200, "ok\n", "repeated")
    shop.clock.advance(3600)
    assert (await shop.receive()).outcome == "repeated"
    assert shop.outcomes() == ["paid"]


async def test_handler_that_raises_is_logged_and_called_by_the_next_delivery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop()
    shop.failure = RuntimeError("the warehouse is closed")
    assert await shop.receive() == Reply(500, "failed\n", "failed")
    assert shop.rejections == [shop.failure]
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.exc_info
    assert record.exc_info[1] is shop.failure
    assert record.getMessage() == (
        "callback not processed, answered with 500; reference='cart-42' "
        f"order_id='{ORDER_ID}' attempt_id='{ATTEMPT_ID}' outcome='failed'"
    )
    values = {k: v for k, v in vars(record).items() if k.startswith("aurpay_")}
    assert values == {
        "aurpay_reference": "cart-42",
        "aurpay_order_id": ORDER_ID,
        "aurpay_attempt_id": ATTEMPT_ID,
        "aurpay_outcome": "failed",
    }
    shop.failure = None
    assert (await shop.receive()).outcome == "paid"
    assert shop.outcomes() == ["paid"]


async def test_package_error_raised_by_the_handler_is_answered_with_500() -> None:
    shop = Shop()
    shop.failure = ConnectionLostError("x")
    assert (await shop.receive()).status == 500


async def test_processing_continues_after_its_request_is_cancelled() -> None:
    shop = Shop()
    begun, free = asyncio.Event(), asyncio.Event()

    async def slow(notification: Notification) -> None:
        begun.set()
        await free.wait()
        shop.notifications.append(notification)

    shop.handler = slow
    call = asyncio.create_task(shop.receive())
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    free.set()
    (work,) = shop.processor._tasks
    assert (await work).outcome == "paid"
    assert (await shop.receive()).outcome == "repeated"


async def test_claim_is_released_when_the_event_loop_cancels_the_processing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop()
    begun = asyncio.Event()

    async def hang(_: Notification) -> None:
        begun.set()
        await asyncio.Event().wait()

    shop.handler = hang
    call = asyncio.create_task(shop.receive())
    await begun.wait()
    (work,) = shop.processor._tasks
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (record,) = caplog.records
    assert record.getMessage() == (
        "callback not processed, because its task was cancelled: CancelledError: ; "
        f"reference='cart-42' order_id='{ORDER_ID}' attempt_id='{ATTEMPT_ID}' "
        "outcome='cancelled'"
    )
    assert [type(one) for one in shop.rejections] == [asyncio.CancelledError]
    shop.handler = shop.handle
    assert (await shop.receive()).outcome == "paid"


async def test_handler_is_cancelled_at_the_end_of_its_lease() -> None:
    shop = Shop(lease=timedelta(seconds=30))

    async def hang(_: Notification) -> None:
        advance_loop(30)
        await asyncio.Event().wait()

    shop.handler = hang
    assert (await shop.receive()).status == 500
    assert isinstance(shop.rejections[0], TimeoutError)
    shop.handler = shop.handle
    assert (await shop.receive()).outcome == "paid"


async def test_lookup_that_raises_is_answered_with_500() -> None:
    shop = Shop()

    async def broken(_: Reference) -> StoredOrder | None:
        problem = "of another shop"
        raise CallbackError(problem, rule="method")

    shop.finder = broken
    assert (await shop.receive()).status == 500


async def test_concurrent_callback_is_answered_with_503_and_is_a_repeat_later() -> None:
    shop = Shop()
    free = asyncio.Event()

    async def slow(notification: Notification) -> None:
        await free.wait()
        shop.notifications.append(notification)

    shop.handler = slow
    first = asyncio.create_task(shop.receive())
    await asyncio.sleep(0)
    for kind in ("paid", "timeout"):
        reply = await shop.receive(kind)
        assert (reply.status, reply.outcome) == (503, "busy")
        assert reply.headers == {"Retry-After": "5"}
    free.set()
    assert (await first).outcome == "paid"
    assert (await shop.receive()).outcome == "repeated"
    assert (await shop.receive("timeout")).outcome == "superseded"
    assert shop.outcomes() == ["paid"]


async def test_handler_that_was_overtaken_after_its_lease_is_answered_with_503() -> (
    None
):
    shop = Shop()

    async def slow(notification: Notification) -> None:
        shop.clock.advance(61)
        if not shop.notifications:
            shop.notifications.append(notification)
            assert (await shop.receive()).outcome == "paid"

    shop.handler = slow
    reply = await shop.receive()
    assert (reply.status, reply.outcome) == (503, "lease")
    (error,) = shop.rejections
    assert isinstance(error, ClaimExpiredError)


async def test_payment_takes_precedence_over_timeout_in_any_order() -> None:
    shop = Shop()
    await shop.receive("paid")
    assert await shop.receive("timeout") == Reply(200, "ok\n", "superseded")

    shop = Shop()
    shop.order = build_order(status=OrderStatus.OVERDUE)
    assert (await shop.receive("timeout")).outcome == "timed_out"
    shop.order = build_order()
    assert (await shop.receive("paid")).outcome == "late_paid"
    assert (await shop.receive("paid")).outcome == "repeated"
    assert shop.outcomes() == ["timed_out", "late_paid"]


async def test_timeout_callback_of_a_paid_order_is_handled_as_payment() -> None:
    shop = Shop()
    assert (await shop.receive("timeout")).outcome == "paid"
    assert (await shop.receive("paid")).outcome == "repeated"
    assert shop.outcomes() == ["paid"]


async def test_payment_of_an_order_stored_as_overdue_is_late_paid() -> None:
    shop = Shop()
    shop.stored = StoredOrder(status=OrderStatus.OVERDUE)
    assert (await shop.receive()).outcome == "late_paid"


async def test_refunded_order_has_outcome_refunded() -> None:
    shop = Shop()
    shop.order = build_order(status=OrderStatus.REFUNDED)
    assert (await shop.receive()).outcome == "refunded"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("paid", OrderStatus.PENDING),
        ("paid", OrderStatus.OVERDUE),
        ("timeout", OrderStatus.PENDING),
    ],
)
async def test_callback_that_aurpay_does_not_confirm_yet_is_answered_with_503(
    kind: Kind, status: OrderStatus
) -> None:
    shop = Shop()
    shop.order = build_order(status=status)
    reply = await shop.receive(kind)
    assert (reply.status, reply.outcome) == (503, "not_yet")
    assert status.value in str(shop.rejections[0])
    shop.order = build_order()
    assert (await shop.receive(kind)).outcome == "paid"


async def test_failed_read_back_is_answered_with_503() -> None:
    shop = Shop()
    shop.order = ConnectionLostError("gone")
    assert (await shop.receive()).status == 503
    shop.order = build_order()
    assert (await shop.receive()).outcome == "paid"


@pytest.mark.parametrize(
    "status", [OrderStatus.PARTIAL, OrderStatus.TERMINATED, OrderStatus("NEW")]
)
async def test_unknown_status_is_notified_once_as_unconfirmed_and_answered_with_503(
    status: OrderStatus,
) -> None:
    shop = Shop()
    shop.order = build_order(status=status)
    for _ in range(2):
        reply = await shop.receive()
        assert (reply.status, reply.outcome) == (503, "unconfirmed")
    (notification,) = shop.notifications
    assert isinstance(notification, UnconfirmedNotification)
    assert status.value in notification.reason
    shop.order = build_order(status=OrderStatus.RESOLVED)
    assert (await shop.receive()).outcome == "paid"
    assert shop.outcomes() == ["? paid", "paid"]


async def test_unconfirmed_only_confirms_nothing_and_calls_the_handler_once() -> None:
    shop = Shop()
    shop.processor = CallbackProcessor.unconfirmed_only(
        verifier(clock=shop.clock), shop.handle, inbox=shop.inbox, clock=shop.clock
    )
    assert await shop.receive() == Reply(200, "ok\n", "unconfirmed")
    (notification,) = shop.notifications
    assert isinstance(notification, UnconfirmedNotification)
    assert notification.confirmed is False
    assert "confirms no callback" in notification.reason
    assert (notification.claimed, notification.reference) == ("paid", "cart-42")
    assert await shop.receive() == Reply(200, "ok\n", "repeated")
    assert (await shop.receive("timeout")).outcome == "repeated"
    assert (await shop.processor.poll(StoredOrder())).outcome == "not_yet"
    assert (len(shop.notifications), shop.clock.sleeps) == (1, [])


@pytest.mark.parametrize(
    "stored",
    [
        None,
        StoredOrder(attempt_id="f" * 24),
        StoredOrder(attempt_id="f" * 24, price=Decimal(25)),
        StoredOrder(attempt_id=None),
    ],
    ids=["none", "another", "of another price", "without attempt_id"],
)
async def test_order_that_lookup_does_not_know_is_unconfirmed_and_answered_with_200(
    stored: StoredOrder | None,
) -> None:
    shop = Shop()
    shop.stored = stored
    assert await shop.receive() == Reply(200, "ok\n", "unconfirmed")
    assert await shop.receive() == Reply(200, "ok\n", "repeated")
    # The retries wait: a callback may arrive before the response to `create_order`.
    assert sum(shop.clock.sleeps) == 2 * 3.75
    shop.stored = StoredOrder()
    assert (await shop.receive()).outcome == "paid"
    assert shop.outcomes() == ["? paid", "paid"]


async def test_order_stored_during_the_retries_is_confirmed() -> None:
    class Slow(SystemClock):
        async def sleep(self, seconds: float) -> None:
            shop.stored = StoredOrder()

    shop = Shop(clock=Slow())
    shop.stored = None
    assert (await shop.receive()).outcome == "paid"
    assert shop.outcomes() == ["paid"]


async def test_unconfirmed_timeout_does_not_make_a_payment_late() -> None:
    shop = Shop()
    shop.stored = None
    assert (await shop.receive("timeout")).outcome == "unconfirmed"
    assert (await shop.receive("timeout")).outcome == "repeated"
    assert (await shop.receive("paid")).outcome == "unconfirmed"
    shop.stored = StoredOrder()
    assert (await shop.receive("paid")).outcome == "paid"
    assert shop.outcomes() == ["? timeout", "? paid", "paid"]


async def test_unconfirmed_notification_keeps_a_later_payment_late() -> None:
    shop = Shop()
    shop.order = build_order(status=OrderStatus.OVERDUE)
    await shop.receive("timeout")
    shop.order = build_order(status=OrderStatus.PARTIAL)
    await shop.receive("paid")
    shop.order = build_order()
    await shop.receive("paid")
    assert shop.outcomes() == ["timed_out", "? paid", "late_paid"]


@pytest.mark.parametrize(
    "stored",
    [StoredOrder(price=Decimal(19)), StoredOrder(currency="EUR")],
    ids=["price", "currency"],
)
async def test_merchant_order_with_another_price_is_rejected(
    stored: StoredOrder,
) -> None:
    shop = Shop()
    shop.stored = stored
    shop.order = build_order(price=None, currency=None)  # it has neither
    assert await shop.receive() == Reply(401, "refused\n", "order")
    assert shop.notifications == []
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
async def test_aurpay_order_with_another_id_price_or_amount_is_rejected(
    fields: dict[str, Any],
) -> None:
    shop = Shop()
    shop.order = build_order(**fields)
    assert (await shop.receive()).outcome == "order"
    assert (len(shop.notifications), len(shop.inbox)) == (0, 0)
    assert next(iter(fields)).removeprefix("order_") in str(shop.rejections[0])


async def test_missing_fields_of_the_read_back_are_no_mismatch() -> None:
    shop = Shop()
    shop.order = build_order(price=None, currency=None, amount=None)
    assert (await shop.receive()).outcome == "paid"
    shop = Shop()
    shop.order = build_order(currency="usd")
    assert (await shop.receive()).outcome == "paid"


async def test_body_that_names_another_order_is_rejected() -> None:
    shop = Shop()
    body = json.dumps({"order_id": "20260101000000000002"}).encode()
    reply = await shop.receive(method="POST", body=body)
    assert (reply.status, reply.outcome) == (401, "order")
    assert len(shop.inbox) == 0
    body = json.dumps({"order_id": ORDER_ID}).encode()
    assert (await shop.receive(method="POST", body=body)).outcome == "paid"


async def test_impossible_status_transition_is_answered_with_409() -> None:
    shop = Shop()
    shop.stored = StoredOrder(status=OrderStatus.REFUNDED)
    assert await shop.receive() == Reply(409, "refused\n", "move")
    assert "cannot go from 'REFUNDED' to 'SUCCESS'" in str(shop.rejections[0])
    assert (len(shop.notifications), len(shop.inbox)) == (0, 0)


async def test_late_payment_that_is_pending_again_is_not_paid_yet() -> None:
    shop = Shop()
    shop.stored = StoredOrder(status=OrderStatus.OVERDUE)
    shop.order = build_order(status=OrderStatus.PENDING)
    assert (await shop.receive()).outcome == "not_yet"
    shop.order = build_order()
    assert (await shop.receive()).outcome == "late_paid"


async def test_forged_request_is_rejected_without_a_reason_and_logged_with_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    shop = Shop()
    assert await shop.receive(headers={}) == Reply(401, "refused\n", "unsigned")
    assert "neither Callback-Token nor Date nor Signature" in caplog.text
    caplog.clear()
    cut = {"Date": "2026-01-01T00:00:00Z", "Callback-Token": TOKEN}
    assert (await shop.receive(headers=cut)).outcome == "headers"
    assert "does a proxy drop it" in caplog.text
    forged = await shop.receive(headers=signed(url(), secret="sandbox-other"))
    assert forged == Reply(401, "refused\n", "signature")
    assert "Signature was created with another secret" in caplog.text
    assert "url='https://shop.example/aurpay'" in caplog.text
    assert "aurpay_ref=" not in caplog.text
    caplog.clear()
    reply = await shop.receive(method="DELETE")
    assert caplog.text == ""
    assert (reply.status, reply.headers) == (405, {"Allow": "GET, POST"})
    assert (await shop.receive(kind="paid", url="/paid")).status == 401
    assert (len(shop.notifications), len(shop.inbox)) == (0, 0)


async def test_on_rejected_finds_no_signature_in_the_frames() -> None:
    headers = signed(url(), date="2025-01-01T00:00:00Z")
    seen: list[str] = []

    def record_frames(_: BaseException, __: CallbackEvent | None) -> None:
        frame = inspect.currentframe()
        while frame is not None:
            if "/aurpay_async/" in frame.f_code.co_filename:
                seen.append(repr(frame.f_locals))
            frame = frame.f_back

    shop = Shop(on_rejected=record_frames)
    assert (await shop.receive(headers=headers)).outcome == "age"
    assert any("process" in text or "self" in text for text in seen)
    assert all(headers["Signature"] not in text for text in seen)


async def test_route_of_one_kind_rejects_a_url_of_the_other() -> None:
    shop = Shop()
    target = url(kind="timeout")
    reply = await shop.processor.process(
        method="GET", url=target, headers=signed(target), kind="paid"
    )
    assert reply.outcome == "kind"


async def test_exception_in_on_rejected_is_logged_and_ignored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(_: BaseException, __: CallbackEvent | None) -> None:
        message = "no disk"
        raise OSError(message)

    shop = Shop(on_rejected=broken)
    assert (await shop.receive(headers={})).status == 401
    assert "no disk" in caplog.text


class BrokenInbox:
    """An inbox that raises at one step."""

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
async def test_inbox_that_raises_is_answered_with_500(
    at: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(inbox=BrokenInbox(at))
    shop.failure = RuntimeError("the handler's own") if at == "release" else None
    assert (await shop.receive()).status == 500
    assert f"no database at {at}" in caplog.text


@pytest.mark.parametrize(
    ("error", "level", "detail"),
    [
        (OSError("no database"), "ERROR", ""),
        (
            StoreUnavailableError("no database"),
            "WARNING",
            ": StoreUnavailableError: no database",
        ),
    ],
)
async def test_failed_release_is_logged_without_a_status_that_was_not_answered(
    error: Exception, level: str, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Unreleased(BrokenInbox):
        async def claim(self, key: str, kind: Kind, lease: timedelta = ZERO) -> Claim:
            claim = await super().claim(key, kind, lease)
            return attrs.evolve(claim, previous="timeout")

        async def release(self, claim: Claim) -> None:
            raise error

    shop = Shop(inbox=Unreleased(""))
    shop.order = build_order(status=OrderStatus.OVERDUE)
    assert (await shop.receive("timeout")).outcome == "repeated"
    (record,) = caplog.records
    assert (record.levelname, bool(record.exc_info)) == (level, level == "ERROR")
    assert record.getMessage() == (
        f"claim not released, so the order is busy until its lease ends{detail}; "
        f"reference='cart-42' order_id='{ORDER_ID}' attempt_id='{ATTEMPT_ID}'"
    )
    assert shop.rejections == [error]


async def test_ack_records_the_notification_in_the_handlers_transaction_only() -> None:
    recorded: list[tuple[str, Handled, object]] = []

    class Store(BrokenInbox):
        async def confirm(
            self, claim: Claim, handled: Handled, connection: object = None
        ) -> None:
            recorded.append((claim.key, handled, connection))

    async def handle(notification: Notification) -> None:
        await notification.ack("a connection")  # type: ignore[arg-type]

    for stored in (StoredOrder(), None):
        shop = Shop(inbox=Store(""))
        shop.stored, shop.handler = stored, handle
        assert (await shop.receive()).status == 200
    assert recorded == [
        (ATTEMPT_ID, "paid", "a connection"),
        (ATTEMPT_ID, "unconfirmed_paid", "a connection"),
    ]


async def test_ack_without_commit_is_answered_with_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def ack_only(notification: Notification) -> None:
        await notification.ack("a connection")  # type: ignore[arg-type]

    shop = Shop(inbox=BrokenInbox("commit"))
    shop.handler = ack_only
    assert (await shop.receive()).status == 500
    assert "without committing" in caplog.text


class OnceInbox(BrokenInbox):
    """An inbox in which a claim can be confirmed as often as `confirms` says."""

    def __init__(self, confirms: int) -> None:
        super().__init__("")
        self.confirms = confirms

    async def confirm(
        self, claim: Claim, handled: Handled, connection: object = None
    ) -> None:
        del handled, connection
        if not self.confirms:
            raise ClaimExpiredError(claim.key, rule="lease")
        self.confirms -= 1


async def ack_twice(notification: Notification) -> None:
    await notification.ack("a connection")  # type: ignore[arg-type]
    await notification.ack("a connection")  # type: ignore[arg-type]


async def test_ack_may_be_repeated_after_its_transaction_was_rolled_back() -> None:
    shop = Shop(inbox=OnceInbox(2))
    shop.handler = ack_twice
    assert (await shop.receive()).outcome == "paid"


async def test_second_ack_of_a_notification_is_rejected() -> None:
    shop = Shop(inbox=OnceInbox(1))
    shop.handler = ack_twice
    assert (await shop.receive()).status == 500
    assert "acknowledged already" in str(shop.rejections[0])


async def test_recording_may_take_longer_than_the_lease() -> None:
    class Slow(MemoryInbox):  # type: ignore[misc]
        async def confirm(
            self, claim: Claim, handled: Handled, connection: object = None
        ) -> None:
            advance_loop(6)
            await asyncio.sleep(0)
            await super().confirm(claim, handled, connection)  # type: ignore[arg-type]

    clock = FakeClock(NOW)
    shop = Shop(inbox=Slow(clock=clock), lease=timedelta(seconds=5))
    assert (await shop.receive()).outcome == "paid"
    assert (await shop.receive()).outcome == "repeated"


async def test_cancelled_error_of_another_task_is_a_failure() -> None:
    shop = Shop()
    for wait in (shop.processor.poll(StoredOrder()), shop.receive()):
        shop.failure = asyncio.CancelledError()
        assert (await wait).status == 500
    shop.failure = None
    assert (await shop.receive()).outcome == "paid"


async def test_ack_after_the_lease_is_answered_with_503() -> None:
    class Store(BrokenInbox):
        async def confirm(
            self, claim: Claim, handled: Handled, connection: object = None
        ) -> None:
            raise ClaimExpiredError(f"{handled} {connection}", rule="lease")

    async def handle(notification: Notification) -> None:
        await notification.ack(claimed)  # type: ignore[arg-type]

    claimed = "a connection"
    shop = Shop(inbox=Store(""))
    shop.handler = handle
    assert (await shop.receive()).outcome == "lease"


async def test_ack_without_connection_is_rejected() -> None:
    async def ack_nothing(notification: Notification) -> None:
        await notification.ack(None)  # type: ignore[arg-type]

    shop = Shop()
    shop.handler = ack_nothing
    assert (await shop.receive()).status == 500
    assert "takes the connection" in str(shop.rejections[0])


@pytest.mark.parametrize("status", [*OrderStatus, OrderStatus("NEW")])
async def test_poll_handles_each_final_status_once_and_rejects_nothing(
    status: OrderStatus,
) -> None:
    shop = Shop()
    shop.order = build_order(status=status)
    assert shop.stored is not None
    first, again = [await shop.processor.poll(shop.stored) for _ in range(2)]
    outcomes = {
        OrderStatus.SUCCESS: "paid",
        OrderStatus.RESOLVED: "paid",
        OrderStatus.OVERDUE: "timed_out",
        OrderStatus.REFUNDED: "refunded",
    }
    if status in outcomes:
        assert (first.outcome, again.outcome) == (outcomes[status], "repeated")
        (notification,) = shop.notifications
        assert (notification.event, notification.reference) == (None, "cart-42")
    else:
        assert (first.outcome, again.outcome) == ("not_yet", "not_yet")
        assert shop.notifications == []
    assert shop.rejections == []


async def test_poll_and_callback_call_the_handler_once_together() -> None:
    shop = Shop()
    assert shop.stored is not None
    shop.order = build_order(status=OrderStatus.OVERDUE)
    await shop.processor.poll(shop.stored)
    assert (await shop.receive("timeout")).outcome == "repeated"
    shop.order = build_order()
    await shop.processor.poll(shop.stored)
    assert (await shop.receive("paid")).outcome == "repeated"
    assert (await shop.receive("timeout")).outcome == "superseded"
    assert shop.outcomes() == ["timed_out", "late_paid"]


async def test_poll_rejects_an_order_without_reference_or_attempt_id() -> None:
    shop = Shop()
    for stored in (
        StoredOrder(reference=None),
        StoredOrder(attempt_id=None),
        StoredOrder(attempt_id=ATTEMPT_ID + " "),
    ):
        assert (await shop.processor.poll(stored)).status == 401
    assert "reference=..." in str(shop.rejections[0])


async def test_poll_without_connection_to_aurpay_answers_not_yet() -> None:
    shop = Shop()
    shop.order = ConnectionLostError("gone")
    assert (await shop.processor.poll(StoredOrder())).outcome == "not_yet"
    assert shop.notifications == []


@pytest.mark.parametrize("options", [{"lease": 60}, {"lease": timedelta(0)}])
def test_lease_must_be_a_positive_timedelta(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="lease must be"):
        Shop(**options)


class Plain:
    """A handler that cannot be awaited, as a method or as an object."""

    def handle(self, _: Notification) -> None:
        raise AssertionError

    __call__ = handle


@pytest.mark.parametrize(
    "handler", [Plain().handle, partial(Plain().handle), Plain(), print, None]
)
def test_handler_must_be_awaitable(handler: Any) -> None:
    with pytest.raises(ConfigurationError, match="async def"):
        Shop(handler=handler)


def test_methods_partials_objects_and_mocks_are_accepted_as_handlers() -> None:
    class Object:
        async def __call__(self, _: Notification) -> None:
            raise AssertionError

    for handler in (Shop().handle, partial(Shop().handle), Object(), mock.AsyncMock()):
        Shop(handler=handler)


def test_on_rejected_must_not_be_a_coroutine_function() -> None:
    with pytest.raises(ConfigurationError, match="plain function"):
        Shop(on_rejected=mock.AsyncMock())


def test_processor_requires_a_verifier_with_a_reference_key() -> None:
    with pytest.raises(ConfigurationError, match="AURPAY_REFERENCE_KEY"):
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
def test_none_for_lookup_reader_or_inbox_is_rejected(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Shop(**options)


async def test_processor_works_without_on_rejected_and_clock() -> None:
    shop = Shop(on_rejected=None)
    assert (await shop.receive(headers={})).status == 401
    await shop.receive()
    assert (await shop.receive()).outcome == "repeated"


async def test_pauses_between_attempts_use_the_clock_of_the_client() -> None:
    clock = FakeClock()
    async with (
        Sandbox(clock=clock) as sandbox,
        sandbox.client(reference_key="k" * 16) as aurpay,
    ):
        order = await aurpay.create_order(
            "20.00", "USD", reference="cart-42", callback_url="https://shop.example/"
        )

        async def lookup(_: Reference) -> LightningOrder:
            return order

        async def handler(_: Notification) -> None:
            raise AssertionError

        secret = sandbox.callback_secret
        own = CallbackVerifier(secrets=[secret], reference_key="k" * 16, clock=clock)
        processor = CallbackProcessor(
            own, handler, lookup=lookup, reader=aurpay, inbox=MemoryInbox()
        )
        target = sandbox.orders[order.order_id].urls["callback_url"]
        headers = sign_callback(target, secret=secret, now=clock.now())
        reply = await processor.process(method="GET", url=target, headers=headers)
    assert reply.status == 503
    assert sum(clock.sleeps) > 1


def test_a_mock_as_the_reader_has_no_clock_of_a_client() -> None:
    """Its `_clock` is a mock as well, and cannot sleep."""
    for reader in (mock.Mock(), object()):
        assert isinstance(_clock_of(reader), SystemClock)
    clock = FakeClock()
    assert _clock_of(mock.Mock(_clock=clock)) is clock
