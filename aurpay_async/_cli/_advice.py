"""What to do about an error: where to look first, if something may have happened."""

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

#: What each kind of failure asks for, most specific first.
_ADVICE: Final[tuple[tuple[type[AurpayError], str], ...]] = (
    (UntrustedOrderError, "Show nothing to the payer, and report the order to Aurpay."),
    (InvalidRequestError, "Nothing was sent: write it as the message says."),
    (ConfigurationError, "Set it and try again; `aurpay doctor` looks at all of it."),
    (AuthenticationError, "Check credentials and clock: `aurpay doctor`."),
    (NotFoundError, "Check the id, and that it is of this account and base URL."),
    (RateLimitedError, "Nothing was done: wait, then try again."),
    (ConnectError, "Nothing was sent: try again; `aurpay doctor` looks for the cause."),
    (InvoiceDecodeError, "Give one BOLT #11 invoice alone: it could not be read."),
    (InvoiceError, "Do not pay it."),
)

#: Usually it is a sandbox whose network was left out of the environment.
_OTHER_NETWORK: Final = (
    "Show nothing to the payer. If the base URL is a sandbox's, set "
    "AURPAY_NETWORK=regtest; else report the order to Aurpay."
)

_ADVICE_BY_OUTCOME: Final = {
    RequestOutcome.NOT_SENT: "Nothing was sent: it is safe to try again.",
    RequestOutcome.REJECTED: "Nothing was done: mend the cause before you try again.",
    RequestOutcome.UNKNOWN: "Asking changes nothing: it is safe to try again.",
}

#: Beginnings of lines that end with a command.
LOOK_FOR_ORDER: Final = "Look before you create another: aurpay order"
LOOK_FOR_MONEY: Final = "Look before you try again: aurpay"


def may_exist(error: AurpayError) -> bool:
    """Whether a call to create an order failed, and has perhaps created one."""
    return error.new_order is not None and error.outcome is RequestOutcome.UNKNOWN


def may_be_paid(error: AurpayError) -> bool:
    """Whether a call that moves money failed, and has perhaps moved some."""
    return error.advice is not None  # which only these have, and only then


def advise(error: AurpayError) -> str:
    """What to do. Where something may have happened, to look comes before all else."""
    if may_be_paid(error):
        return _look_for_money(error)
    if error.new_order is not None and may_exist(error):
        if isinstance(error, UntrustedOrderError):
            return _OTHER_NETWORK if error.check == "network" else _ADVICE[0][1]
        return _look_for_order(error.new_order, error.order_id, error.sent_at)
    if isinstance(error, APIError) and error.retry_after is not None:
        return f"Wait {error.retry_after:.0f} seconds, as the platform asks."
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return advice
    return _ADVICE_BY_OUTCOME[error.outcome]


def _look_for_money(error: AurpayError) -> str:
    if error.order_id is None:
        return f"{LOOK_FOR_MONEY} tx list"
    # It is from outside, and the line is there to be copied into a shell.
    shown = quote(error.order_id)
    return f"{LOOK_FOR_MONEY} order show {shown}, and aurpay tx list"


def _look_for_order(
    asked: NewOrder, order_id: str | None, sent_at: datetime | None
) -> str:
    if order_id is not None:
        return f"{LOOK_FOR_ORDER} show {quote(order_id)}"
    if sent_at is None:
        return f"{LOOK_FOR_ORDER} list"
    words = [f"{asked.price:f}", asked.currency]
    words += ["--sent-at", sent_at.isoformat(timespec="seconds")]
    if isinstance(asked, NewPayment):
        words += ["--chain", asked.chain, "--coin", asked.coin]
    return f"{LOOK_FOR_ORDER} find {join(words)}"
