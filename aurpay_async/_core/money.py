"""Prices in fiat, amounts in bitcoin and millisatoshi, and Lightning networks.

There are no floats and no rounding. Nothing depends on ``decimal``'s current context,
which any library of the process may have changed: calculations use a private context
that raises an exception instead of rounding.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation
from math import isfinite
from typing import Final, Literal, get_args

from ..errors import InvalidRequestError, shown

#: BOLT #11 names the first four; simnet is btcd's, and published invoices use it.
Network = Literal["mainnet", "testnet", "signet", "regtest", "simnet"]

NETWORKS: Final[tuple[Network, ...]] = get_args(Network)

#: Digits of a price, before and after the point together. More than any currency
#: needs, and a number of minor units still fits into a 64-bit integer.
MAX_PRICE_DIGITS: Final = 18
#: Up to this length the error says that there are too many digits; a longer string is
#: reported as not being a number.
_MAX_SHOWN_DIGITS = 2 * MAX_PRICE_DIGITS
_MAX_PRICE_BITS = (10**MAX_PRICE_DIGITS).bit_length()

#: There are 21 million bitcoins, of 100,000,000,000 millisatoshi each.
MSAT_PER_BTC: Final = 10**11
MAX_MSAT: Final = 21_000_000 * MSAT_PER_BTC
_MSAT_EXPONENT: Final = 11

#: Amounts have their first digit between 10**7 and 10**-11.
_MAX_ADJUSTED = 64
#: Digits of a number that is received.
MAX_DIGITS: Final = 64
#: A private context, independent of the caller's settings; it never rounds.
EXACT: Final = Context(prec=MAX_DIGITS, traps=[InvalidOperation, Inexact])


def to_currency(value: str) -> str:
    """Return a fiat currency as three upper-case letters."""
    code = ""
    if isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        code = str.__str__(value)
    if len(code) == len("USD") and code.isascii() and code.isalpha():
        return code.upper()
    raise InvalidRequestError(
        f"must be three ASCII letters, got {shown(value)}",
        field="currency",
        hint='write an ISO 4217 code such as "USD"',
    )


def parse_btc(value: Decimal | int | str) -> int:
    """Return a bitcoin amount of the caller in millisatoshi.

    Accepts ``Decimal``, ``int`` or a plain decimal string such as ``"0.0002"``.

    Raises:
        InvalidRequestError: for any other value, and for an impossible amount.
    """
    amount = parse_price(value, "amount")
    try:
        return btc_to_msat(amount)
    except ValueError as error:
        raise InvalidRequestError(str(error), field="amount") from None


def plain_repr(number: object) -> str:
    """Return the repr of a number without an exponent; for an attrs field's repr.

    The repr of a Decimal below 0.000001 has an exponent, and so would an order's.
    """
    return f"Decimal('{number:f}')" if type(number) is Decimal else repr(number)


#: An example of each numeric field, for error messages.
_EXAMPLES: Final = {"price": "19.99", "amount": "0.0002"}


def parse_price(value: Decimal | int | str, field: str = "price") -> Decimal:
    """Return a number of the caller above 0, with exactly the given digits.

    Accepts ``Decimal``, ``int`` or a plain decimal string such as ``"19.99"``.

    Raises:
        InvalidRequestError: for any other value, with the value to write instead.
    """
    if isinstance(value, str):
        number = _decimal_from_str(str.__str__(value), field)
    else:
        number = _decimal_from_number(value, field)
    if number <= 0:
        raise InvalidRequestError(f"must be above 0, got {number:f}", field=field)
    return number


def _decimal_from_str(text: str, field: str) -> Decimal:
    whole, point, fraction = text.partition(".")
    if (
        # The length comes first, so that a long string costs nothing.
        len(text) <= _MAX_SHOWN_DIGITS
        and text.isascii()
        and whole.isdigit()
        and (fraction.isdigit() or not point)
        and (whole[0] != "0" or whole == "0")
    ):
        if len(whole) + len(fraction) > MAX_PRICE_DIGITS:
            raise _length_error(field)
        return Decimal(text)
    raise InvalidRequestError(
        f"not a plain decimal number of at most {MAX_PRICE_DIGITS} digits: "
        f"{shown(text)}",
        field=field,
        hint=f'write it like "{_EXAMPLES[field]}": digits and one point, nothing else',
    )


def _decimal_from_number(value: object, field: str) -> Decimal:
    if isinstance(value, Decimal):
        number = Decimal(value)  # drops the behaviour of a subclass
    elif isinstance(value, int) and not isinstance(value, bool):
        # The length comes first: Decimal(int) takes minutes for a million digits.
        if value.bit_length() > _MAX_PRICE_BITS:
            raise _length_error(field)
        number = Decimal(value)
    else:
        raise _type_error(value, field)
    if not number.is_finite():
        raise InvalidRequestError("not a number that can be paid", field=field)
    if _digit_count(number) > MAX_PRICE_DIGITS:
        raise _length_error(field)
    return number


def _length_error(field: str) -> InvalidRequestError:
    return InvalidRequestError(f"more than {MAX_PRICE_DIGITS} digits", field=field)


def _type_error(value: object, field: str) -> InvalidRequestError:
    if not isinstance(value, float):
        problem = f"must be a Decimal, an int or a str, not {type(value).__name__}"
        example = f'write it like "{_EXAMPLES[field]}"'
        return InvalidRequestError(problem, field=field, hint=example)
    # float's own repr: that of a subclass (numpy has one) may differ.
    written = float.__repr__(value)
    exact = format(Decimal(written), "f")
    payable = isfinite(value) and value > 0 and len(exact) <= MAX_PRICE_DIGITS
    hint = f'write Decimal("{exact}") or "{exact}"' if payable else None
    problem = f"a float is not exact: {written}"
    return InvalidRequestError(problem, field=field, hint=hint)


def _digit_count(number: Decimal) -> int:
    # Without an exponent: 1E+3 has four digits, and so has 0.001.
    _, digits, exponent = number.as_tuple()
    return max(len(digits) + max(int(exponent), 0), 1 - int(exponent))


def btc_to_msat(amount: Decimal) -> int:
    """Return a bitcoin amount in millisatoshi (1 BTC = 10**11 msat).

    Raises:
        ValueError: if `amount` is not above zero, not finite, above 21 million BTC,
            or finer than a millisatoshi. The message does not contain it.
    """
    # `adjusted` is the power of ten of the first digit. The bound is checked before any
    # arithmetic, because int(Decimal("1E+999999999")) would not end.
    if not amount.is_finite() or abs(amount.adjusted()) > _MAX_ADJUSTED:
        raise ValueError("not an amount of bitcoin")
    try:
        msat = int(EXACT.to_integral_exact(amount.scaleb(_MSAT_EXPONENT, EXACT)))
    except Inexact:
        raise ValueError("finer than a millisatoshi") from None
    if not 0 < msat <= MAX_MSAT:
        raise ValueError("not an amount of bitcoin")
    return msat
