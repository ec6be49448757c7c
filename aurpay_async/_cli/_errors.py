"""Recovery hints: the next step after each kind of failure.

If an order may exist or money may have moved, the hint is to look first.
"""

from __future__ import annotations

from shlex import join, quote
from typing import TYPE_CHECKING, Final

from .._models._payments import NewPayment
from ..errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ConnectError,
    InvalidRequestError,
    InvoiceDecodeError,
    InvoiceError,
    NotFoundError,
    RateLimitedError,
    RequestOutcome,
    UntrustedOrderError,
)

if TYPE_CHECKING:
    from datetime import datetime

    from .._models import NewOrder
    from ..errors import AurpayError

_SHOW_NOTHING: Final = "Show nothing to the payer, and report the order to Aurpay."

#: The usual cause is a sandbox, if AURPAY_NETWORK is not set.
_OTHER_NETWORK: Final = (
    "Show nothing to the payer. If the base URL is a sandbox's, set "
    "AURPAY_NETWORK=regtest; else report the order to Aurpay."
)

#: The most specific type of error comes first.
_HINTS: Final[tuple[tuple[type[AurpayError], str], ...]] = (
    (UntrustedOrderError, _SHOW_NOTHING),
    (InvalidRequestError, "Nothing was sent: change it as the message says."),
    (ConfigurationError, "Set it and try again; `aurpay doctor` checks all settings."),
    (AuthenticationError, "Check credentials and clock: `aurpay doctor`."),
    (NotFoundError, "Check the id, and that it is of this account and base URL."),
    (RateLimitedError, "Nothing was done: wait, then try again."),
    (ConnectError, "Nothing was sent: try again; `aurpay doctor` finds the cause."),
    (InvoiceDecodeError, "Give one BOLT #11 invoice alone: it could not be decoded."),
    (InvoiceError, "Do not pay it."),
)

_HINT_BY_OUTCOME: Final = {
    RequestOutcome.NOT_SENT: "Nothing was sent: it is safe to try again.",
    RequestOutcome.REJECTED: "Nothing was done: fix the cause before you try again.",
    RequestOutcome.UNKNOWN: "The request changes nothing: it is safe to try again.",
}

#: Each is followed by the rest of a command line.
LOOK_FOR_ORDER: Final = "Look before you create another: aurpay order"
LOOK_FOR_MONEY: Final = "Look before you try again: aurpay"


def may_exist(error: AurpayError) -> bool:
    """Return whether a failed request may have created an order."""
    return error.new_order is not None and error.outcome is RequestOutcome.UNKNOWN


def may_be_paid(error: AurpayError) -> bool:
    """Return whether a failed request may have moved money."""
    return error.advice is not None  # the client sets it in this case alone


def recovery_hint(error: AurpayError) -> str:
    """Return what to do; looking for an order or for money comes before all else."""
    if may_be_paid(error):
        return _look_for_money(error)
    if error.new_order is not None and may_exist(error):
        if isinstance(error, UntrustedOrderError):
            return _OTHER_NETWORK if error.check == "network" else _SHOW_NOTHING
        return _look_for_order(error.new_order, error.order_id, error.sent_at)
    if isinstance(error, APIError) and error.retry_after is not None:
        return f"Wait {error.retry_after:.0f} seconds, as the platform asks."
    for kind, hint in _HINTS:
        if isinstance(error, kind):
            return hint
    return _HINT_BY_OUTCOME[error.outcome]


def _look_for_money(error: AurpayError) -> str:
    if error.order_id is None:
        return f"{LOOK_FOR_MONEY} tx list"
    # The id is from outside, and the user copies the line into a shell.
    order_id = quote(error.order_id)
    return f"{LOOK_FOR_MONEY} order show {order_id}, and aurpay tx list"


def _look_for_order(
    new_order: NewOrder, order_id: str | None, sent_at: datetime | None
) -> str:
    if order_id is not None:
        return f"{LOOK_FOR_ORDER} show {quote(order_id)}"
    if sent_at is None:
        return f"{LOOK_FOR_ORDER} list"
    words = [f"{new_order.price:f}", new_order.currency]
    words += ["--sent-at", sent_at.isoformat(timespec="seconds")]
    if isinstance(new_order, NewPayment):
        words += ["--chain", new_order.chain, "--coin", new_order.coin]
    return f"{LOOK_FOR_ORDER} find {join(words)}"
