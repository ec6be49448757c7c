"""Every sentence that the bot sends, and its button.

Texts are built of parts with entities instead of markup, so there is nothing to escape.
They never quote Aurpay's answers: those are for the operator of the bot.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Final, assert_never

from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup
from aiogram.utils.formatting import Bold, Code, Text

from aurpay_async import (
    AuthenticationError,
    PermissionDeniedError,
    RateLimitedError,
    RequestOutcome,
    UntrustedOrderError,
)

if TYPE_CHECKING:
    from aurpay_async import AurpayError, InvalidRequestError, LightningOrder

    from .bills import Bill, State

#: Telegram's limit for the caption of a picture.
MAX_CAPTION: Final = 1024

USAGE: Final = Text(
    "Write ", Code("/pay 5 USD"), ": a price, and the three letters of its currency."
)

WELCOME: Final = Text(
    USAGE, " I answer with an invoice that any Lightning wallet pays."
)

PAID_ALREADY: Final = Text("This is paid already. Thank you!")

NEEDS_REVIEW: Final = Text(
    "This may be paid already. Please do not pay again; the operator of this bot has "
    "to check it."
)

_NOTHING_CREATED: Final = "No invoice was created, so there is nothing to pay. "
_TRY_LATER: Final = "Please try again in a minute."
_TELL_OPERATOR: Final = "Please tell its operator."

#: Errors that neither another price nor another attempt can cure.
_MISCONFIGURED: Final = (AuthenticationError, PermissionDeniedError)

FAILED: Final = Text("An error occurred. Please try again in a minute.")


def bill_text(bill: Bill, order: LightningOrder) -> Text:
    """Return the caption of the QR code while its invoice can be paid."""
    until = order.overdue_at.astimezone(UTC)
    top = Text(
        Bold(f"{bill.price} {bill.currency}"),
        f" are {order.amount:f} BTC.\n",
        f"Pay until {until:%H:%M} UTC: scan the code",
    )
    whole = Text(top, ", or copy this.\n\n", Code(str(order.payment_request)))
    # Some invoices exceed the limit of a caption; the QR code contains the whole one.
    return whole if len(whole.render()[0]) <= MAX_CAPTION else Text(top, ".")


def outcome_text(bill: Bill) -> Text:
    """Return the caption of the QR code when its bill is paid, expired or refunded."""
    price = Bold(f"{bill.price} {bill.currency}")
    return Text(price, f": {_outcome(bill.state)}")


def _outcome(state: State) -> str:
    match state:
        case "paid":
            return "paid. Thank you!"
        case "late_paid":
            return "paid after the deadline, and accepted. Thank you!"
        case "expired":
            return (
                "not paid in time. Please do not pay this invoice any more; "
                "/pay creates a new one."
            )
        case "refunded":
            return "paid and refunded."
        case "open":
            return "waiting for the payment."
        case _:
            assert_never(state)


def wallet_button(order: LightningOrder) -> InlineKeyboardMarkup:
    """Return a button that opens the checkout page, which has a link to a wallet.

    Telegram's buttons accept http, https and tg addresses and reject ``lightning:``.
    """
    button = InlineKeyboardButton(text="Open in a wallet", url=order.pay_url)
    return InlineKeyboardMarkup(inline_keyboard=[[button]])


def invalid_text(error: InvalidRequestError) -> Text:
    """Return the correct syntax for an invalid price or currency."""
    if error.field == "currency":
        return Text(
            "That is not a currency. Write three letters, as in ", Code("/pay 5 USD")
        )
    return Text(
        "That is not a price. Write digits and at most one point, as in ",
        Code("/pay 19.99 EUR"),
    )


def failure_text(error: AurpayError) -> Text:
    """Return why there is no invoice and what may exist, without Aurpay's message."""
    if isinstance(error, UntrustedOrderError):
        return Text(
            "Aurpay created an invoice that does not match this bill, so it is not "
            "shown. There is nothing to pay. Please tell the operator of this bot."
        )
    match error.outcome:
        case RequestOutcome.NOT_SENT:
            return Text("Aurpay cannot be reached now. ", _NOTHING_CREATED, _TRY_LATER)
        case RequestOutcome.REJECTED if isinstance(error, _MISCONFIGURED):
            return Text(
                "This bot is not allowed to take payments now. ",
                _NOTHING_CREATED,
                _TELL_OPERATOR,
            )
        case RequestOutcome.REJECTED if isinstance(error, RateLimitedError):
            return Text(
                "There are too many requests now. ", _NOTHING_CREATED, _TRY_LATER
            )
        case RequestOutcome.REJECTED:
            return Text(
                "Aurpay rejected this bill. ",
                _NOTHING_CREATED,
                "Try another currency or a larger price.",
            )
        case RequestOutcome.UNKNOWN:
            return Text(
                "Aurpay did not answer, so an invoice may exist that no payer has "
                "seen. There is nothing to pay. Send the same command again: the bot "
                "searches for that invoice first."
            )
        case _:
            assert_never(error.outcome)
