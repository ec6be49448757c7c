"""Show failures to people and programs, and choose the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._models._payments import NewPayment
from ..errors import ConfigurationError, InvalidRequestError, RequestOutcome
from ._advice import may_be_paid, may_exist, recovery_hint
from ._screen import Row
from ._times import amount, iso, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models import NewOrder
    from ..errors import AurpayError
    from ._screen import Output

#: Exit codes; 0 is success, 130 an interruption.
FAILED: Final = 1
USAGE: Final = 2
OUTCOME_UNKNOWN: Final = 3

_ORDER_OUTCOMES: Final = {
    RequestOutcome.NOT_SENT: "not_sent: no order exists",
    RequestOutcome.REJECTED: "rejected: no order exists",
    RequestOutcome.UNKNOWN: "unknown: an order may exist",
}

_MONEY_OUTCOMES: Final = {
    RequestOutcome.NOT_SENT: "not_sent: no money has moved",
    RequestOutcome.REJECTED: "rejected: no money has moved",
    RequestOutcome.UNKNOWN: "unknown: money may have moved",
}


def exit_code(error: AurpayError) -> int:
    """Return the exit code for an error."""
    if may_exist(error) or may_be_paid(error):
        return OUTCOME_UNKNOWN
    return (
        USAGE if isinstance(error, InvalidRequestError | ConfigurationError) else FAILED
    )


def show_error(output: Output, error: AurpayError) -> None:
    """Show the message, the outcome of the request, and the recovery hint."""
    message = _message(error)
    output.json(
        "error",
        code=error.code,
        error=type(error).__name__,
        message=message,
        outcome=error.outcome.value,
        may_exist=may_exist(error),
        may_be_paid=may_be_paid(error),
        attempts=error.attempts,
        retryable=error.retryable,
        sent_at=iso(error.sent_at),
        order_id=error.order_id,
        asked=None if error.new_order is None else _request_members(error.new_order),
        payment_hash=None if error.invoice is None else error.invoice.payment_hash,
        advice=recovery_hint(error),
    )
    output.error(f"{type(error).__name__} ({error.code}): {message}", _rows(error))


def show_failure(
    output: Output,
    code: str,
    message: str,
    advice: str,
    *,
    may_exist: bool = False,
    may_be_paid: bool = False,
) -> None:
    """Show a failure that is not an error of the SDK, with the same JSON keys.

    Args:
        output: Where to show it.
        code: Stable string for programs.
        message: What failed.
        advice: What to do.
        may_exist: Whether a request to create an order was sent before.
        may_be_paid: Whether a request that moves money was sent before.
    """
    output.json(
        "error",
        code=code,
        error=None,
        message=message,
        outcome=RequestOutcome.UNKNOWN.value if may_exist or may_be_paid else None,
        may_exist=may_exist,
        may_be_paid=may_be_paid,
        attempts=None,
        retryable=False,
        sent_at=None,
        order_id=None,
        asked=None,
        payment_hash=None,
        advice=advice,
    )
    output.error(message, [Row("do", advice)])


def _message(error: AurpayError) -> str:
    """Return the message without outcome, order and advice, which have their rows."""
    message = Exception.__str__(error)
    return message if error.diagnosis is None else f"{message}; {error.diagnosis}"


def _rows(error: AurpayError) -> Iterator[Row]:
    new_order, invoice = error.new_order, error.invoice
    if new_order is not None:
        yield Row("outcome", _ORDER_OUTCOMES[error.outcome])
        yield Row("requested", _describe_request(new_order))
    elif invoice is not None or may_be_paid(error):
        yield Row("outcome", _MONEY_OUTCOMES[error.outcome])
    if invoice is not None:
        yield Row("amount", amount(invoice.amount_msat or 0))
        yield Row("payment hash", invoice.payment_hash)
    if error.sent_at is not None:
        yield Row("sent at", moment(error.sent_at))
    if error.order_id is not None:
        yield Row("order", error.order_id)
    yield Row("do", recovery_hint(error))


def _describe_request(order: NewOrder) -> str:
    coin = f" in {order.coin}" if isinstance(order, NewPayment) else ""
    named = "" if order.reference is None else f", reference {order.reference}"
    return f"{order.price:f} {order.currency}{coin}{named}"


def _request_members(order: NewOrder) -> dict[str, str | None]:
    payment = order if isinstance(order, NewPayment) else None
    return {
        "price": f"{order.price:f}",
        "currency": order.currency,
        "chain": None if payment is None else payment.chain,
        "coin": None if payment is None else payment.coin,
        "reference": order.reference,
        "attempt_id": order.attempt_id,
    }
