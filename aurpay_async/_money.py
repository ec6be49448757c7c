"""Money: exact or refused.

No float, no rounding, and nothing that depends on ``decimal``'s current context, which
any library of the process may have changed: what is computed here has a context of its
own that refuses to round.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from math import isfinite
from typing import Final

from .errors import InvalidRequestError, shown

#: Digits of a price, before and after the point together. More than any currency
#: needs, and what a 64-bit integer of minor units still holds.
MAX_PRICE_DIGITS: Final = 18
#: A few more are told that they are too many, instead of what a number looks like.
_MAX_SHOWN_DIGITS = 2 * MAX_PRICE_DIGITS
_MAX_PRICE_BITS = (10**MAX_PRICE_DIGITS).bit_length()

#: There are 21 million bitcoins, of 100,000,000,000 millisatoshi each.
MSAT_PER_BTC: Final = 10**11
MAX_MSAT: Final = 21_000_000 * MSAT_PER_BTC

_MSAT_PER_BTC = Decimal(MSAT_PER_BTC)

#: Amounts have their first digit between 10**7 and 10**-11.
_MAX_ADJUSTED = 64
_EXACT = Context(prec=128, traps=[Inexact])


def parse_price(value: Decimal | int | str) -> Decimal:
    """A fiat price as given by the caller, as exactly that many digits.

    Takes ``Decimal``, ``int`` or plain decimal text such as ``"19.99"``.

    Raises:
        InvalidRequestError: for anything else, with the value to write instead.
    """
    return _parse(value, "price")


def parse_btc(value: Decimal | int | str) -> int:
    """A bitcoin amount as given by the caller, in millisatoshi.

    Takes ``Decimal``, ``int`` or plain decimal text such as ``"0.0002"``.

    Raises:
        InvalidRequestError: for anything else, and what is no amount of bitcoin.
    """
    amount = _parse(value, "amount")
    try:
        return btc_to_msat(amount)
    except ValueError as error:
        raise InvalidRequestError(str(error), field="amount") from None


def plain_repr(number: object) -> str:
    """Write a number as Python does, but without an exponent; for a field's repr.

    ``str()`` of a Decimal below 0.000001 has one, and so has ``print(order)``.
    """
    return f"Decimal('{number:f}')" if type(number) is Decimal else repr(number)


#: How each field that takes a number is written.
_EXAMPLES: Final = {"price": "19.99", "amount": "0.0002"}


def _parse(value: Decimal | int | str, field: str) -> Decimal:
    if isinstance(value, str):
        number = _number_of_text(str.__str__(value), field)
    else:
        number = _number_of_number(value, field)
    if number <= 0:
        raise InvalidRequestError(f"must be above 0, got {number:f}", field=field)
    return number


def _number_of_text(text: str, field: str) -> Decimal:
    whole, point, fraction = text.partition(".")
    if (
        # The length first: looking at a megabyte is a megabyte of work.
        len(text) <= _MAX_SHOWN_DIGITS
        and text.isascii()
        and whole.isdigit()
        and (fraction.isdigit() or not point)
        and (whole[0] != "0" or whole == "0")
    ):
        if len(whole) + len(fraction) > MAX_PRICE_DIGITS:
            raise _refuse_length(field)
        return Decimal(text)
    raise InvalidRequestError(
        f"not a plain decimal number of at most {MAX_PRICE_DIGITS} digits: "
        f"{shown(text)}",
        field=field,
        hint=f'write it like "{_EXAMPLES[field]}": digits and one point, nothing else',
    )


def _number_of_number(value: object, field: str) -> Decimal:
    if isinstance(value, Decimal):
        number = Decimal(value)  # of a subclass the number alone
    elif isinstance(value, int) and not isinstance(value, bool):
        # The length first: Decimal(int) takes minutes for a million digits.
        if value.bit_length() > _MAX_PRICE_BITS:
            raise _refuse_length(field)
        number = Decimal(value)
    else:
        raise _refuse_type(value, field)
    if not number.is_finite():
        raise InvalidRequestError("not a number that can be paid", field=field)
    if _plain_digits(number) > MAX_PRICE_DIGITS:
        raise _refuse_length(field)
    return number


def _refuse_length(field: str) -> InvalidRequestError:
    return InvalidRequestError(f"more than {MAX_PRICE_DIGITS} digits", field=field)


def _refuse_type(value: object, field: str) -> InvalidRequestError:
    if isinstance(value, float):
        return _refuse_float(value, field)
    return InvalidRequestError(
        f"must be a Decimal, an int or a text, not {type(value).__name__}",
        field=field,
        hint=f'write it like "{_EXAMPLES[field]}"',
    )


def _refuse_float(value: float, field: str) -> InvalidRequestError:
    # Its own repr: that of a subclass (numpy has one) may be anything.
    written = float.__repr__(value)
    exact = format(Decimal(written), "f")
    payable = isfinite(value) and value > 0 and len(exact) <= MAX_PRICE_DIGITS
    return InvalidRequestError(
        f"a float is not exact: {written}",
        field=field,
        hint=f'write Decimal("{exact}") or "{exact}"' if payable else None,
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
    # `adjusted` is the power of ten of the first digit: the bound comes before any
    # arithmetic, because int(Decimal("1E+999999999")) would never end.
    if not amount.is_finite() or abs(amount.adjusted()) > _MAX_ADJUSTED:
        raise ValueError("no amount of bitcoin")
    try:
        msat = int(_EXACT.to_integral_exact(_EXACT.multiply(amount, _MSAT_PER_BTC)))
    except Inexact:
        raise ValueError("finer than a millisatoshi") from None
    if not 0 < msat <= MAX_MSAT:
        raise ValueError("no amount of bitcoin")
    return msat
