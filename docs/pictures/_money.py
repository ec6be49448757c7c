"""Draw a price, its amount in BTC and in millisatoshi, and how long each is fixed.

`tests/test_pictures.py` compares the numbers with those of an order in the sandbox.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from aurpay_async._core.money import MSAT_PER_BTC, btc_to_msat

from ._svg import arrow, box, picture, text

WIDTH: Final = 760
HEIGHT: Final = 436

PRICE: Final = "20.00 USD"
AMOUNT: Final = Decimal("0.00020000")
MSAT: Final = btc_to_msat(AMOUNT)

#: The left edge of the first digit, and the width of each.
_DIGITS_X: Final = 24
_DIGIT: Final = 38


def money() -> str:
    """Return the SVG file."""
    return picture(
        WIDTH,
        HEIGHT,
        "A price, its amount and its invoice",
        f"You decide the price, {PRICE}. Aurpay decides the amount by its rate, "
        f"{AMOUNT:f} BTC. The client checks that the invoice asks for {MSAT:,} msat. "
        "The eighth decimal place of an amount is a satoshi, the eleventh a "
        "millisatoshi. The price stays as it is; the amount stays until the invoice "
        "expires.",
        [
            text(24, 36, "Who decides which number", "strong"),
            *_number(24, "price", PRICE, "you decide it"),
            arrow("M204 92L288 92"),
            text(246, 84, "Aurpay's rate", "small dim middle"),
            text(246, 110, "not checked", "small dim middle"),
            *_number(290, "amount", f"{AMOUNT:f} BTC", "Aurpay decides it"),
            arrow("M470 92L554 92", "arrow both"),
            text(512, 84, "equal", "small strong middle"),
            text(512, 110, "checked", "small dim middle"),
            *_number(556, "amount_msat", f"{MSAT:,} msat", "the wallet pays it", "hot"),
            text(24, 176, "The decimal places of an amount in BTC", "strong"),
            *_places(),
            text(24, 306, "For how long the numbers are fixed", "strong"),
            *_times(),
        ],
    )


def _number(
    x: int, name: str, number: str, decided: str, kind: str = "box"
) -> list[str]:
    return [
        box(x, 56, 180, 74, kind),
        text(x + 90, 76, name, "code middle"),
        text(x + 90, 98, number, "strong middle"),
        text(x + 90, 118, decided, "small dim middle"),
    ]


def _places() -> list[str]:
    """Draw one box for each digit of the amount, down to the millisatoshi."""
    satoshi, millisatoshi = 8, len(str(MSAT_PER_BTC)) - 1
    digits = f"{AMOUNT:.{millisatoshi}f}".replace(".", "")
    parts = [text(_DIGITS_X + _DIGIT + 4, 224, ".", "strong middle")]
    for place, digit in enumerate(digits):
        x = _digit_x(place)
        kind = "box" if place <= satoshi else "open"
        parts += [
            box(x, 198, _DIGIT - 6, 36, kind),
            text(x + 17, 221, digit, "strong middle"),
        ]
    for place, kind, unit in (
        (0, "middle", "1 BTC"),
        (satoshi, "end", f"1 sat: {10**satoshi:,} in one BTC"),
        (millisatoshi, "", f"1 msat: {MSAT_PER_BTC:,} in one BTC"),
    ):
        middle = _digit_x(place) + 17
        parts += [
            arrow(f"M{middle} 252L{middle} 237"),
            text(middle, 268, unit, f"small {kind}"),
        ]
    return parts


def _digit_x(place: int) -> int:
    return _DIGITS_X + _DIGIT * place + (10 if place else 0)


def _times() -> list[str]:
    return [
        box(24, 324, 712, 24, "good"),
        text(34, 340, f"the price: {PRICE}", "small"),
        box(24, 354, 500, 24, "hot"),
        text(34, 370, f"the amount: {AMOUNT:f} BTC", "small"),
        text(514, 370, "a late payment pays this rate", "small end"),
        text(24, 400, "created", "small dim"),
        text(264, 400, "overdue_at", "small dim middle"),
        text(524, 400, "expires_at", "small dim middle"),
        '<path class="open" d="M264 324L264 386M524 354L524 386"/>',
        arrow("M24 412L736 412"),
    ]
