"""Money: exact or refused.

No float, no rounding, and nothing that depends on ``decimal``'s context, which any
library of the process may have changed: values are read with ``Decimal(text)``,
taken apart with ``as_tuple()`` and computed as integers.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from .errors import InvalidRequestError, shown

#: Digits of a price, before and after the point together. More than any currency
#: needs, and what a 64-bit integer of minor units still holds.
MAX_PRICE_DIGITS: Final = 18
_MAX_PRICE_BITS = (10**MAX_PRICE_DIGITS).bit_length()

#: There are 21 million bitcoins, of 100,000,000,000 millisatoshi each.
MSAT_PER_BTC: Final = 10**11
MAX_MSAT: Final = 21_000_000 * MSAT_PER_BTC

_MSAT_DECIMALS = 11
#: More than any amount needs: all bitcoins in millisatoshi have 19 digits.
_MAX_AMOUNT_DIGITS = 64

#: What JSON writes as a number, without sign and exponent.
_PLAIN = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


def parse_price(value: object) -> Decimal:
    """A fiat price as given by the caller, as exactly that many digits.

    Takes ``Decimal``, ``int`` or plain decimal text such as ``"19.99"``.

    Raises:
        InvalidRequestError: for anything else, with the value to write instead.
    """
    if isinstance(value, str):
        price = _price_of_text(value)
    elif isinstance(value, Decimal):
        price = value
    elif isinstance(value, int) and not isinstance(value, bool):
        # The length first: Decimal(int) takes minutes for a million digits.
        if value.bit_length() > _MAX_PRICE_BITS:
            raise _refuse_length()
        price = Decimal(value)
    else:
        raise _refuse_type(value)
    if not price.is_finite():
        raise InvalidRequestError("not a number that can be paid", field="price")
    if _plain_digits(price) > MAX_PRICE_DIGITS:
        raise _refuse_length()
    if price <= 0:
        raise InvalidRequestError(f"must be above 0, got {price:f}", field="price")
    return price


def _price_of_text(text: str) -> Decimal:
    # The length first: a regular expression over a megabyte is a megabyte of work.
    if len(text) <= MAX_PRICE_DIGITS + 1 and _PLAIN.fullmatch(text):
        return Decimal(text)
    raise InvalidRequestError(
        f"not a plain decimal number of at most {MAX_PRICE_DIGITS} digits: "
        f"{shown(text)}",
        field="price",
        hint='write it like "19.99": digits and one point, nothing else',
    )


def _refuse_length() -> InvalidRequestError:
    return InvalidRequestError(f"more than {MAX_PRICE_DIGITS} digits", field="price")


def _refuse_type(value: object) -> InvalidRequestError:
    if isinstance(value, float):
        exact = format(Decimal(repr(value)), "f")
        hint = f'write Decimal("{exact}") or "{exact}"'
        return InvalidRequestError(
            f"a float is not exact: {value!r}",
            field="price",
            hint=hint if _PLAIN.fullmatch(exact) else None,
        )
    return InvalidRequestError(
        f"must be a Decimal, an int or a text, not {type(value).__name__}",
        field="price",
        hint='write it like "19.99"',
    )


def _plain_digits(number: Decimal) -> int:
    """How many digits a finite `number` has when written without an exponent."""
    _, digits, exponent = number.as_tuple()
    return max(len(digits) + max(int(exponent), 0), 1 - int(exponent))


def btc_to_msat(amount: Decimal) -> int:
    """A bitcoin amount in millisatoshi (1 BTC = 10**11 msat).

    Raises:
        ValueError: if `amount` is not above zero, not finite, more than all bitcoins,
            or finer than a millisatoshi. The message does not quote it.
    """
    sign, digits, exponent = amount.as_tuple()
    # The bounds come before any power: 10**999999999 would never end. ("F", "n" and
    # "N" are the exponents of infinity and NaN.)
    if (
        isinstance(exponent, str)
        or len(digits) > _MAX_AMOUNT_DIGITS
        or abs(exponent) > _MAX_AMOUNT_DIGITS
    ):
        raise ValueError("no amount of bitcoin")
    coefficient = int("".join(map(str, digits)))
    shift = exponent + _MSAT_DECIMALS
    factor, divisor = 10 ** max(shift, 0), 10 ** max(-shift, 0)
    msat, rest = divmod(coefficient * int(factor), int(divisor))
    if rest:
        raise ValueError("finer than a millisatoshi")
    if sign or not 0 < msat <= MAX_MSAT:
        raise ValueError("no amount of bitcoin")
    return msat
