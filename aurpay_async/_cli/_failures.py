"""What went wrong, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._models._payments import NewPayment
from ..errors import ConfigurationError, InvalidRequestError, RequestOutcome
from ._advice import advise, may_be_paid, may_exist
from ._screen import Row
from ._times import amount, iso, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models import NewOrder
    from ..errors import AurpayError
    from ._screen import Screen

#: Exit codes; 0 is a yes, 130 an interruption.
FAILED: Final = 1
USAGE: Final = 2
MAY_HAVE_HAPPENED: Final = 3

_OF_ORDERS: Final = {
    RequestOutcome.NOT_SENT: "not_sent: nothing exists",
    RequestOutcome.REJECTED: "rejected: nothing exists",
    RequestOutcome.UNKNOWN: "unknown: an order may exist",
}

_OF_MONEY: Final = {
    RequestOutcome.NOT_SENT: "not_sent: nothing is paid",
    RequestOutcome.REJECTED: "rejected: nothing is paid",
    RequestOutcome.UNKNOWN: "unknown: it may be paid",
}


def exit_code(error: AurpayError) -> int:
    """What the process ends with."""
    if may_exist(error) or may_be_paid(error):
        return MAY_HAVE_HAPPENED
    return (
        USAGE if isinstance(error, InvalidRequestError | ConfigurationError) else FAILED
    )


def show_error(screen: Screen, error: AurpayError) -> None:
    """Say what failed, how far it got, and what to do."""
    message = _message(error)
    screen.record(
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
        asked=None if error.new_order is None else _asked(error.new_order),
        payment_hash=None if error.invoice is None else error.invoice.payment_hash,
        advice=advise(error),
    )
    screen.complain(f"{type(error).__name__} ({error.code}): {message}", _rows(error))


def show_failure(
    screen: Screen,
    code: str,
    message: str,
    advice: str,
    *,
    may_exist: bool = False,
    may_be_paid: bool = False,
) -> None:
    """The same for what is no error of the SDK.

    Args:
        screen: Where to say it.
        code: Stable text for programs.
        message: What failed.
        advice: What to do.
        may_exist: Whether a request to create an order had left by then.
        may_be_paid: Whether a request that moves money had left by then.
    """
    screen.record(
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
    screen.complain(message, [Row("do", advice)])


def _message(error: AurpayError) -> str:
    """Return the message without outcome, order and advice, which have their rows."""
    message = Exception.__str__(error)
    return message if error.diagnosis is None else f"{message}; {error.diagnosis}"


def _rows(error: AurpayError) -> Iterator[Row]:
    asked, invoice = error.new_order, error.invoice
    if asked is not None:
        yield Row("outcome", _OF_ORDERS[error.outcome])
        yield Row("asked for", _asked_for(asked))
    elif invoice is not None or may_be_paid(error):
        yield Row("outcome", _OF_MONEY[error.outcome])
    if invoice is not None:
        yield Row("amount", amount(invoice.amount_msat or 0))
        yield Row("payment hash", invoice.payment_hash)
    if error.sent_at is not None:
        yield Row("sent at", moment(error.sent_at))
    if error.order_id is not None:
        yield Row("order", error.order_id)
    yield Row("do", advise(error))


def _asked_for(order: NewOrder) -> str:
    coin = f" in {order.coin}" if isinstance(order, NewPayment) else ""
    named = "" if order.reference is None else f", reference {order.reference}"
    return f"{order.price:f} {order.currency}{coin}{named}"


def _asked(order: NewOrder) -> dict[str, str | None]:
    payment = order if isinstance(order, NewPayment) else None
    return {
        "price": f"{order.price:f}",
        "currency": order.currency,
        "chain": None if payment is None else payment.chain,
        "coin": None if payment is None else payment.coin,
        "reference": order.reference,
        "attempt_id": order.attempt_id,
    }
