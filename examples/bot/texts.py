"""What the bot says, and how: every sentence that a chat ever sees is in this file.

Texts are built of parts with entities instead of markup, so there is nothing to escape.
What the platform answered is never among them: it was written for whoever runs the bot.
"""

from __future__ import annotations

from datetime import UTC
from io import BytesIO
from typing import TYPE_CHECKING, Final, assert_never

import segno
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

#: What Telegram takes as the caption of a picture.
MAX_CAPTION: Final = 1024

USAGE: Final = Text(
    "Write ", Code("/pay 5 USD"), ": a price, and the three letters of its currency."
)

WELCOME: Final = Text(
    USAGE, " I answer with an invoice that any Lightning wallet pays."
)

PAID_ALREADY: Final = Text("This is paid already. Thank you!")

UNCLEAR: Final = Text(
    "Somebody seems to have paid this, and I cannot tell yet. Please do not pay again; "
    "whoever runs this bot has to look."
)

_NOTHING: Final = "Nothing was made, so there is nothing to pay. "
_LATER: Final = "Please try again in a minute."
_TELL: Final = "Please tell whoever runs it."

#: Nothing that another price or another minute would change.
_MISCONFIGURED: Final = (AuthenticationError, PermissionDeniedError)

FAILED: Final = Text("Something went wrong here. Please try again in a minute.")


def bill_text(bill: Bill, order: LightningOrder) -> Text:
    """Under the QR code, while it can be paid."""
    until = order.overdue_at.astimezone(UTC)
    top = Text(
        Bold(f"{bill.price} {bill.currency}"),
        f" are {order.amount:f} BTC.\n",
        f"Pay until {until:%H:%M} UTC: scan the code",
    )
    whole = Text(top, ", or copy this.\n\n", Code(str(order.payment_request)))
    # Some invoices are longer than a caption may be; the code has all of it.
    return whole if len(whole.render()[0]) <= MAX_CAPTION else Text(top, ".")


def outcome_text(bill: Bill) -> Text:
    """Under the QR code, once it is no longer to be paid."""
    price = Bold(f"{bill.price} {bill.currency}")
    return Text(price, f": {_outcome(bill.state)}")


def _outcome(state: State) -> str:
    match state:
        case "paid":
            return "paid. Thank you!"
        case "late_paid":
            return "paid, after its time was over. It counts all the same. Thank you!"
        case "expired":
            return (
                "not paid in time. Please do not pay this one any more; "
                "/pay makes a new one."
            )
        case "refunded":
            return "paid, and paid back."
        case "open":
            return "waiting for the payment."
        case _:
            assert_never(state)


def wallet_button(order: LightningOrder) -> InlineKeyboardMarkup:
    """A button that leads to a wallet.

    Telegram's buttons take http, https and tg addresses and refuse ``lightning:``, so
    it leads to the order's checkout page, which has a link that opens a wallet.
    """
    button = InlineKeyboardButton(text="Open in a wallet", url=order.pay_url)
    return InlineKeyboardMarkup(inline_keyboard=[[button]])


def qr_code(order: LightningOrder) -> bytes:
    """A PNG that wallets scan. Slow (tens of milliseconds), so not on the loop.

    In capitals, as BOLT #11 recommends for QR codes: that takes fewer dots.
    """
    code = segno.make(f"LIGHTNING:{order.payment_request}".upper(), error="l")
    png = BytesIO()
    code.save(png, kind="png", scale=8, border=4)
    return png.getvalue()


def refusal_text(error: InvalidRequestError) -> Text:
    """What to write instead of what nobody can pay."""
    if error.field == "currency":
        return Text(
            "That is no currency. Write its three letters, as in ", Code("/pay 5 USD")
        )
    return Text(
        "That is no price. Write digits and at most one point, as in ",
        Code("/pay 19.99 EUR"),
    )


def failure_text(error: AurpayError) -> Text:
    """Why there is nothing to pay, and what may exist; nothing of the answer itself."""
    if isinstance(error, UntrustedOrderError):
        return Text(
            "An invoice was made, but it is not what was asked for, so you do not get "
            "to see it. There is nothing to pay. Please tell whoever runs this bot."
        )
    match error.outcome:
        case RequestOutcome.NOT_SENT:
            return Text("Payments cannot be reached now. ", _NOTHING, _LATER)
        case RequestOutcome.REJECTED if isinstance(error, _MISCONFIGURED):
            return Text("This bot may not take payments now. ", _NOTHING, _TELL)
        case RequestOutcome.REJECTED if isinstance(error, RateLimitedError):
            return Text("There is too much going on now. ", _NOTHING, _LATER)
        case RequestOutcome.REJECTED:
            return Text(
                "This cannot be paid. ",
                _NOTHING,
                "Another currency may be taken, or a larger price.",
            )
        case RequestOutcome.UNKNOWN:
            return Text(
                "No answer came, so an invoice may exist that nobody has seen. "
                "There is nothing to pay. Send the same again: I look for it first."
            )
        case _:
            assert_never(error.outcome)
