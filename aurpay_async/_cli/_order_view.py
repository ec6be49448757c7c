"""Show an order: its fields, and the checks that it passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..bolt11 import backend
from ._screen import Row
from ._times import amount, iso, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._lightning_order import LightningOrder
    from .._models import Order
    from ._screen import Output

BACKENDS: Final = {"wallycore": "libsecp256k1 (wallycore)", "python": "plain Python"}


def show_order(output: Output, order: LightningOrder) -> None:
    """Show a new order: its fields, its checks and its invoice."""
    invoice = order.payment_request
    results = {
        "signature": f"verified with {BACKENDS[backend()]}",
        "network": f"{invoice.network}, as the client expects",
        "amount": f"{invoice.amount_msat:,} msat, exactly the order's",
        "payment_secret": "equals payment_addr of the response",
        "timestamp": "not in the future",
        "expiry": f"payable until {moment(invoice.expires_at)}",
        "payee": f"{invoice.payee[:24]}..., as pinned",
        "pay_url": "at Aurpay, or on the client's own origin",
    }
    output.rows(_order_rows(order), "Order")
    output.rows(
        [Row(name, results[name], "ok") for name in results if name in order.checks],
        "Checks passed",
    )
    output.title("Invoice")
    output.line(str(invoice))  # on one line, so that it can be copied
    output.line()


def order_members(order: LightningOrder) -> dict[str, object]:
    """Return a new order as JSON; amounts are strings, so that nothing rounds them."""
    invoice = order.payment_request
    return {
        "order_id": order.order_id,
        "status": order.status,
        "price": f"{order.price:f}",
        "currency": order.currency,
        "amount": f"{order.amount:f}",
        "amount_msat": str(invoice.amount_msat),
        "create_time": order.create_time.isoformat(),
        "overdue_at": order.overdue_at.isoformat(),
        "pay_url": order.pay_url,
        "payment_request": str(invoice),
        "payment_hash": invoice.payment_hash,
        "network": invoice.network,
        "payee": invoice.payee,
        "expires_at": invoice.expires_at.isoformat(),
        "reference": order.reference,
        "attempt_id": order.attempt_id,
        "checks": order.checks,
    }


def detail_members(order: Order) -> dict[str, object]:
    """Return an order of the platform as JSON."""
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
    """Return an order of the platform as rows, without the fields it does not have."""
    paid = {True: "paid", False: "not paid", None: "unknown whether it is paid"}
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
