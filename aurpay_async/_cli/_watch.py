"""Wait for the payment of an order, and show each new status (``--watch``)."""

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
    from ._screen import Output

    Watched = LightningOrder | PaymentOrder

_PAID: Final = frozenset({"paid", "late_paid"})

_OUTCOMES: Final = {
    "paid": "paid",
    "late_paid": "paid late: check stock and exchange rate before you fulfil it",
    "timed_out": "not paid in time",
    "refunded": "paid and refunded",
}

#: Seconds between two updates of the time left to pay.
_TICK_S: Final = 1


async def watch_payment(output: Output, aurpay: AurpayClient, order: Watched) -> int:
    """Wait until an order is paid or its time is over; return 1 if it is not paid."""
    output.title(f"Waiting for the payment until {moment(order.overdue_at)}")
    changes: list[OrderStatus] = []
    awaited = order if isinstance(order, LightningOrder) else order.order_id
    waiting = asyncio.create_task(
        aurpay.wait_for_payment(awaited, on_status=changes.append)
    )
    status = order.status
    with output.waiting(status) as show:
        try:
            while not waiting.done():
                show(_progress(order, status))
                await asyncio.wait({waiting}, timeout=_TICK_S)
                for status in _drain(changes):
                    _show_status(output, order, status)
        finally:
            waiting.cancel()
    payment = waiting.result()
    output.json(
        "payment",
        order_id=order.order_id,
        outcome=payment.outcome,
        status=payment.order.status,
    )
    paid = payment.outcome in _PAID
    output.status(_OUTCOMES[payment.outcome], "ok" if paid else "problem")
    return 0 if paid else FAILED


def _drain(changes: list[OrderStatus]) -> list[OrderStatus]:
    drained, changes[:] = [*changes], []
    return drained


def _show_status(output: Output, order: Watched, status: OrderStatus) -> None:
    now = SystemClock().now()
    output.json("status", order_id=order.order_id, status=status, at=iso(now))
    output.status(f"{moment(now)}: {status}", "")


def _progress(order: Watched, status: OrderStatus) -> str:
    """Return the status, and the time left to pay while the order is pending.

    A sandbox can let orders time out before the documented 30 minutes are over.
    """
    if status is not OrderStatus.PENDING:
        return f"{status}: a payment would be late" if status == "OVERDUE" else status
    left = countdown((order.overdue_at - SystemClock().now()).total_seconds())
    return f"{status}, {left} left to pay"
