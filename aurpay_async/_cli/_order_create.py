"""``aurpay order create``: an order, its invoice, and on request its payment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from .._client import AurpayClient
from .._clock import SystemClock
from .._events import CallEvent
from .._references import keys_from_env
from ..errors import ConfigurationError, Delivery
from ._failures import FAILED, show_failure
from ._order_view import order_members, show_order
from ._times import countdown, iso, moment

if TYPE_CHECKING:
    from .._events import Event
    from .._lightning_order import LightningOrder
    from .._order_life import OrderStatus
    from ._screen import Screen

_PAID: Final = frozenset({"paid", "late_paid"})

_OUTCOMES: Final = {
    "paid": "paid",
    "late_paid": "paid late: goods may be gone, rates may have changed",
    "timed_out": "not paid in time",
    "refunded": "paid, and paid back",
}

#: Seconds between two looks at the clock.
_TICK_S: Final = 1


class Asked(NamedTuple):
    """What the order is to be."""

    price: str
    currency: str
    reference: str | None
    callback_url: str | None
    timeout_callback: str | None
    succeed_url: str | None
    timeout_url: str | None


class Wishes(NamedTuple):
    """What is to happen once it is there."""

    qr: bool
    watch: bool
    browser: bool


async def create_order(screen: Screen, asked: Asked, wishes: Wishes) -> int:
    """Create an order and show it; with ``--watch``, it is a no if nobody pays."""
    if asked.reference is not None and keys_from_env() is None:
        raise ConfigurationError("--reference needs AURPAY_REFERENCE_KEY to be set")
    events: list[Event] = []
    async with AurpayClient.from_env(on_event=events.append) as aurpay:
        try:
            order = await _create(screen, aurpay, asked)
        except asyncio.CancelledError:
            _warn_if_it_left(screen, events)
            raise
        screen.record("order", **order_members(order))
        show_order(screen, order)
        if wishes.qr:
            screen.code(order.payment_request.uri.upper())
        if wishes.browser:
            await _open(screen, order.pay_url)
        return await _watch(screen, aurpay, order) if wishes.watch else 0


async def _create(screen: Screen, aurpay: AurpayClient, asked: Asked) -> LightningOrder:
    with screen.waiting(f"Creating an order of {asked.price} {asked.currency}"):
        return await aurpay.create_order(**asked._asdict())


def _warn_if_it_left(screen: Screen, events: list[Event]) -> None:
    calls = [event for event in events if isinstance(event, CallEvent)]
    if calls and calls[-1].delivery is Delivery.UNKNOWN:
        show_failure(
            screen,
            "interrupted",
            "interrupted after the request had left: an order may exist",
            "Look for it at the dashboard before you create another.",
            left=True,
        )


async def _open(screen: Screen, pay_url: str) -> None:
    import webbrowser

    if await asyncio.to_thread(webbrowser.open, pay_url):
        screen.note(f"Opened {pay_url} in the browser.")
    else:
        screen.note(f"No browser could be started: open {pay_url} yourself.")


async def _watch(screen: Screen, aurpay: AurpayClient, order: LightningOrder) -> int:
    screen.title(f"Waiting for the payment until {moment(order.overdue_at)}")
    told: list[OrderStatus] = []
    waiting = asyncio.create_task(aurpay.wait_for_payment(order, on_status=told.append))
    status = order.status
    with screen.waiting(status) as show:
        try:
            while not waiting.done():
                show(f"{status}, {_left(order)} left to pay")
                await asyncio.wait({waiting}, timeout=_TICK_S)
                for status in _taken(told):
                    _show_status(screen, order, status)
        finally:
            waiting.cancel()
    payment = waiting.result()
    screen.record(
        "payment",
        order_id=order.order_id,
        outcome=payment.outcome,
        status=payment.order.status,
    )
    paid = payment.outcome in _PAID
    screen.step(_OUTCOMES[payment.outcome], "ok" if paid else "problem")
    return 0 if paid else FAILED


def _taken(told: list[OrderStatus]) -> list[OrderStatus]:
    taken, told[:] = [*told], []
    return taken


def _show_status(screen: Screen, order: LightningOrder, status: OrderStatus) -> None:
    now = SystemClock().now()
    screen.record("status", order_id=order.order_id, status=status, at=iso(now))
    screen.step(f"{moment(now)}: {status}", "")


def _left(order: LightningOrder) -> str:
    return countdown((order.overdue_at - SystemClock().now()).total_seconds())
