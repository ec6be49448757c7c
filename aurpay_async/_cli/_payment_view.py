"""Show a payment in any coin: its fields, and the checks that it passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._screen import Row
from ._times import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models._payments import PaymentOrder
    from ._screen import Output

#: All checks, in order, and the text for a payment that passed them.
_PAYMENT_CHECKS: Final = {
    "price": "as requested",
    "currency": "as requested",
    "chain": "as requested",
    "coin": "as requested",
    "amount": "above 0; the platform decides the exchange rate",
    "address": "well-formed; nothing proves who owns it",
    "pay_url": "at Aurpay, or on the client's own origin",
}


def show_payment(output: Output, payment: PaymentOrder) -> None:
    """Show a new payment: its fields, its checks and the address to pay to."""
    output.rows(_payment_order_rows(payment), "Payment")
    output.rows(
        [
            Row(name, result, "ok")
            for name, result in _PAYMENT_CHECKS.items()
            if name in payment.checks
        ],
        "Checks passed",
    )
    output.title(f"Pay {payment.amount:f} {payment.coin} on {payment.chain} to")
    output.line(payment.address)
    output.line()


def payment_members(payment: PaymentOrder) -> dict[str, object]:
    """Return a new payment as JSON."""
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
        "create_time": payment.create_time.isoformat(),
        "overdue_at": payment.overdue_at.isoformat(),
        "pay_url": payment.pay_url,
        "reference": payment.reference,
        "attempt_id": payment.attempt_id,
        "checks": payment.checks,
    }


def _payment_order_rows(payment: PaymentOrder) -> Iterator[Row]:
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
