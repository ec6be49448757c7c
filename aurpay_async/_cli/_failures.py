"""What went wrong, for people and for programs, and what to do about it."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Final

from ..errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    Delivery,
    InvalidRequestError,
    InvoiceError,
    NotFoundError,
    RateLimitedError,
    UntrustedOrderError,
)
from ._screen import Row
from ._times import iso, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models import NewOrder
    from ..errors import AurpayError
    from ._screen import Screen

#: Exit codes; 0 is a yes, 130 an interruption.
FAILED: Final = 1
USAGE: Final = 2
MAY_EXIST: Final = 3

#: What each kind of failure asks for, most specific first.
_ADVICE: Final[tuple[tuple[type[AurpayError], str], ...]] = (
    (UntrustedOrderError, "Show nothing to the payer, and report the order to Aurpay."),
    (InvalidRequestError, "Nothing was sent: write it as the message says."),
    (ConfigurationError, "Set it and try again; `aurpay doctor` looks at all of it."),
    (AuthenticationError, "Check credentials and clock: `aurpay doctor`."),
    (NotFoundError, "Check the id, and that it is of this account and base URL."),
    (RateLimitedError, "Nothing exists: wait, then try again."),
    (ConnectError, "Nothing was sent: try again; `aurpay doctor` looks for the cause."),
    (InvoiceError, "Do not pay it."),
)

_ADVICE_BY_DELIVERY: Final = {
    Delivery.NOT_SENT: "Nothing was sent: it is safe to try again.",
    Delivery.REFUSED: "Nothing exists: mend the cause before you try again.",
    Delivery.UNKNOWN: "Asking changes nothing: it is safe to try again.",
}

_DELIVERIES: Final = {
    Delivery.NOT_SENT: "not_sent: nothing exists",
    Delivery.REFUSED: "refused: nothing exists",
    Delivery.UNKNOWN: "unknown: an order may exist",
}


def may_exist(error: AurpayError) -> bool:
    """Whether a call to create an order failed, and has perhaps created one."""
    return error.new_order is not None and error.delivery is Delivery.UNKNOWN


def exit_code(error: AurpayError) -> int:
    """What the process ends with."""
    if may_exist(error):
        return MAY_EXIST
    return (
        USAGE if isinstance(error, InvalidRequestError | ConfigurationError) else FAILED
    )


def show_error(screen: Screen, error: AurpayError) -> None:
    """Say what failed, how far it got, and what to do."""
    advice = _advise(error)
    screen.record(
        "error",
        code=error.code,
        error=type(error).__name__,
        message=str(error),
        delivery=error.delivery.value,
        may_exist=may_exist(error),
        attempts=error.attempts,
        retryable=error.retryable,
        sent_at=iso(error.sent_at),
        order_id=error.order_id,
        asked=None if error.new_order is None else _asked(error.new_order),
        advice=advice,
    )
    screen.complain(f"{type(error).__name__} ({error.code}): {error}", _rows(error))


def show_failure(
    screen: Screen, code: str, message: str, advice: str, *, left: bool = False
) -> None:
    """The same for what is no error of the SDK.

    Args:
        screen: Where to say it.
        code: Stable text for programs.
        message: What failed.
        advice: What to do.
        left: Whether a request to create an order had left by then.
    """
    screen.record(
        "error",
        code=code,
        error=None,
        message=message,
        delivery=Delivery.UNKNOWN.value if left else None,
        may_exist=left,
        attempts=None,
        retryable=False,
        sent_at=None,
        order_id=None,
        asked=None,
        advice=advice,
    )
    screen.complain(message, [Row("do", advice)])


def _rows(error: AurpayError) -> Iterator[Row]:
    asked = error.new_order
    if asked is not None:
        yield Row("delivery", _DELIVERIES[error.delivery])
        named = "" if asked.reference is None else f", reference {asked.reference}"
        yield Row("asked for", f"{asked.price:f} {asked.currency}{named}")
    if error.sent_at is not None:
        yield Row("sent at", moment(error.sent_at))
    if error.order_id is not None:
        yield Row("order", error.order_id)
    yield Row("do", _advise(error))


def _asked(order: NewOrder) -> dict[str, str | None]:
    return {
        "price": f"{order.price:f}",
        "currency": order.currency,
        "reference": order.reference,
        "nonce": order.nonce,
    }


def _advise(error: AurpayError) -> str:
    if isinstance(error, APIError) and error.retry_after is not None:
        return f"Wait {error.retry_after:.0f} seconds, as the platform asks."
    if may_exist(error) and not isinstance(error, UntrustedOrderError):
        return _look_for(error.order_id)
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice
    return _ADVICE_BY_DELIVERY[error.delivery]


def _look_for(order_id: str | None) -> str:
    if order_id is not None:
        # It is from outside, and the line is there to be copied into a shell.
        return f"Look before you create another: aurpay order show {quote(order_id)}"
    return (
        "Look before you create another: at the dashboard, for an order of this time "
        "and price."
    )
