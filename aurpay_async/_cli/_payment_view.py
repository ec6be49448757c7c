"""A payment in any coin as it is shown: what it is, and what was checked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._screen import Row
from ._times import iso, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models._payments import PaymentOrder
    from ._screen import Screen

#: All checks, in order, with what each one says of a payment that passed it.
_CHECKS: Final = {
    "price": "as asked for",
    "currency": "as asked for",
    "chain": "as asked for",
    "coin": "as asked for",
    "amount": "above 0; at which rate is the platform's affair",
    "address": "well-formed; whose it is, nothing proves",
    "pay_url": "at Aurpay, or on the client's own origin",
}


def show_payment(screen: Screen, payment: PaymentOrder) -> None:
    """A payment that was just made: what it is, its checks, where to pay to."""
    screen.title("The payment")
    screen.rows(_rows(payment))
    screen.title("Checked before you get it")
    screen.rows(
        Row(name, said, "ok")
        for name, said in _CHECKS.items()
        if name in payment.checks
    )
    screen.title(f"Pay {payment.amount:f} {payment.coin} on {payment.chain} to")
    screen.line(payment.address)
    screen.line()


def payment_members(payment: PaymentOrder) -> dict[str, object]:
    """A new payment, for programs."""
    return {
        "order_id": payment.order_id,
        "status": payment.status,
        "price": f"{payment.price:f}",
        "currency": payment.currency,
        "amount": f"{payment.amount:f}",
        "coin": payment.coin,
        "chain": payment.chain,
        "address": payment.address,
        "contract_addr": payment.contract_addr,
        "create_time": iso(payment.create_time),
        "overdue_at": iso(payment.overdue_at),
        "pay_url": payment.pay_url,
        "reference": payment.reference,
        "attempt_id": payment.attempt_id,
        "checks": payment.checks,
    }


def _rows(payment: PaymentOrder) -> Iterator[Row]:
    yield Row("order_id", payment.order_id)
    yield Row("status", payment.status)
    yield Row("price", f"{payment.price:f} {payment.currency}")
    yield Row("amount", f"{payment.amount:f} {payment.coin}")
    yield Row("chain", payment.chain)
    if payment.contract_addr is not None:
        yield Row("contract", payment.contract_addr)
    yield Row("create_time", moment(payment.create_time))
    yield Row("overdue_at", moment(payment.overdue_at))
    if payment.reference is not None:
        yield Row("reference", payment.reference)
        yield Row("attempt_id", payment.attempt_id or "")
    if payment.pay_url is not None:
        yield Row("pay_url", payment.pay_url)
