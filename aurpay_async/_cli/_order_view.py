"""An order as it is shown: what it is, and what was checked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .. import bolt11
from ._screen import Row
from ._times import amount, iso, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._lightning_order import LightningOrder
    from .._models import Order
    from ._screen import Screen

BACKENDS: Final = {"wallycore": "libsecp256k1 (wallycore)", "python": "plain Python"}

#: All checks, in order, with what each one says of an order that passed it.
_CHECKS: Final[dict[str, Callable[[LightningOrder], str]]] = {
    "signature": lambda _: f"verified with {BACKENDS[bolt11.backend()]}",
    "network": lambda order: f"{order.payment_request.network}, as the client expects",
    "amount": lambda order: (
        f"{order.payment_request.amount_msat:,} msat, exactly the order's"
    ),
    "payment_secret": lambda _: "equals payment_addr of the answer",
    "timestamp": lambda _: "not from the future",
    "expiry": lambda order: f"payable until {moment(order.payment_request.expires_at)}",
    "payee": lambda order: f"{order.payment_request.payee[:24]}..., as pinned",
    "pay_url": lambda _: "at Aurpay, or on the client's own origin",
}


def show_order(screen: Screen, order: LightningOrder) -> None:
    """An order that was just made: what it is, its checks, its invoice."""
    screen.title("The order")
    screen.rows(_order_rows(order))
    screen.title("Checked before you get it")
    screen.rows(_check_rows(order))
    screen.title("The invoice")
    # Not wrapped by hand: whoever copies it wants no line breaks in it.
    screen.line(str(order.payment_request))
    screen.line()


def order_members(order: LightningOrder) -> dict[str, object]:
    """A new order, for programs. Amounts are texts, so that nothing rounds them."""
    invoice = order.payment_request
    return {
        "order_id": order.order_id,
        "status": order.status,
        "price": f"{order.price:f}",
        "currency": order.currency,
        "amount": f"{order.amount:f}",
        "amount_msat": str(invoice.amount_msat),
        "create_time": iso(order.create_time),
        "overdue_at": iso(order.overdue_at),
        "pay_url": order.pay_url,
        "payment_request": str(invoice),
        "payment_hash": invoice.payment_hash,
        "network": invoice.network,
        "payee": invoice.payee,
        "expires_at": iso(invoice.expires_at),
        "reference": order.reference,
        "attempt_id": order.attempt_id,
        "checks": order.checks,
    }


def detail_members(order: Order) -> dict[str, object]:
    """An order as the platform has it, for programs."""
    return {
        "order_id": order.order_id,
        "status": order.status,
        "is_paid": order.status.is_paid,
        "is_final": order.status.is_final,
        "price": None if order.price is None else f"{order.price:f}",
        "currency": order.currency,
        "amount": None if order.amount is None else f"{order.amount:f}",
        "coin": order.coin,
        "chain": order.chain,
        "order_type": order.order_type,
        "platform": order.platform,
        "remark": order.remark,
        "refundable": order.refundable,
        "create_time": iso(order.create_time),
        "update_time": iso(order.update_time),
    }


def detail_rows(order: Order) -> Iterator[Row]:
    """The same for people; what the platform does not say is left out."""
    paid = {True: "paid", False: "not paid", None: "paid or not, nobody knows"}
    yield Row("status", f"{order.status}: {paid[order.status.is_paid]}")
    if order.price is not None:
        yield Row("price", f"{order.price:f} {order.currency or ''}")
    if order.amount is not None:
        yield Row("amount", f"{order.amount:f} {order.coin or ''}")
    if order.create_time is not None:
        yield Row("create_time", moment(order.create_time))
    if order.update_time is not None:
        yield Row("update_time", moment(order.update_time))
    if order.remark:
        yield Row("remark", order.remark)


def _order_rows(order: LightningOrder) -> Iterator[Row]:
    yield Row("order_id", order.order_id)
    yield Row("status", order.status)
    yield Row("price", f"{order.price:f} {order.currency}")
    yield Row("amount", amount(order.payment_request.amount_msat or 0))
    yield Row("create_time", moment(order.create_time))
    yield Row("overdue_at", moment(order.overdue_at))
    if order.reference is not None:
        yield Row("reference", order.reference)
        yield Row("attempt_id", order.attempt_id or "")
    yield Row("pay_url", order.pay_url)


def _check_rows(order: LightningOrder) -> Iterator[Row]:
    for name, say in _CHECKS.items():
        if name in order.checks:
            yield Row(name, say(order), "ok")
