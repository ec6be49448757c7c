"""``--watch``: waits for the payment of an order, and says how it stands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .._clock import SystemClock
from .._lightning_order import LightningOrder
from .._order_life import OrderStatus
from ._failures import FAILED
from ._times import countdown, iso, moment

if TYPE_CHECKING:
    from .._client import AurpayClient
    from .._models._payments import PaymentOrder
    from ._screen import Screen

    Watched = LightningOrder | PaymentOrder

_PAID: Final = frozenset({"paid", "late_paid"})

_OUTCOMES: Final = {
    "paid": "paid",
    "late_paid": "paid late: goods may be gone, rates may have changed",
    "timed_out": "not paid in time",
    "refunded": "paid, and paid back",
}

#: Seconds between two looks at the clock.
_TICK_S: Final = 1


async def watch(screen: Screen, aurpay: AurpayClient, order: Watched) -> int:
    """Wait until it is paid, or cannot be expected to be; it is a no if nobody pays."""
    screen.title(f"Waiting for the payment until {moment(order.overdue_at)}")
    told: list[OrderStatus] = []
    awaited = order if isinstance(order, LightningOrder) else order.order_id
    waiting = asyncio.create_task(
        aurpay.wait_for_payment(awaited, on_status=told.append)
    )
    status = order.status
    with screen.waiting(status) as show:
        try:
            while not waiting.done():
                show(_progress(order, status))
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


def _show_status(screen: Screen, order: Watched, status: OrderStatus) -> None:
    now = SystemClock().now()
    screen.record("status", order_id=order.order_id, status=status, at=iso(now))
    screen.step(f"{moment(now)}: {status}", "")


def _progress(order: Watched, status: OrderStatus) -> str:
    """The status, and the time left to pay unless the platform says it is over.

    A sandbox can let orders time out faster than the half hour that is documented.
    """
    if status is not OrderStatus.PENDING:
        return f"{status}: a payment would be late" if status == "OVERDUE" else status
    left = countdown((order.overdue_at - SystemClock().now()).total_seconds())
    return f"{status}, {left} left to pay"
