"""Serialize a caller's own value as JSON, without rounding.

The json module writes the shortest form of a float and does not support Decimal.
Neither is good enough for money.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Final, cast

from .._converter import MAX_DEPTH, MAX_DIGITS
from ..errors import InvalidRequestError

_MAX_BITS: Final = (10**MAX_DIGITS).bit_length()

#: Characters of a key that a message shows.
_MAX_KEY_SHOWN: Final = 40

_CONSTANTS: Final = {None: "null", True: "true", False: "false"}


def dump_body(value: object) -> bytes:
    """Return `value` as JSON in ASCII without blanks.

    Accepts mappings with str keys, lists, tuples, str, bool, ``None``, int and Decimal.

    Raises:
        InvalidRequestError: its `field` is the place, such as ``json.items[0].price``.
    """
    return _dump_value(value, "json", 0).encode("ascii")


def _dump_value(value: object, place: str, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise InvalidRequestError(f"nests deeper than {MAX_DEPTH}", field="json")
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value).items()
        written = [_dump_member(name, item, place, depth) for name, item in members]
        return f"{{{','.join(written)}}}"
    if isinstance(value, list | tuple):
        items = enumerate(cast("list[object]", value))
        parts = [_dump_value(item, f"{place}[{at}]", depth + 1) for at, item in items]
        return f"[{','.join(parts)}]"
    return _dump_scalar(value, place)


def _dump_member(name: object, value: object, place: str, depth: int) -> str:
    if not isinstance(name, str):
        raise InvalidRequestError(
            f"has a key that is not a str but {type(name).__name__}", field=place
        )
    inner = f"{place}.{shown_key(name)}"
    return f"{_dump_scalar(name, inner)}:{_dump_value(value, inner, depth + 1)}"


def shown_key(name: str) -> str:
    """Return a caller's key as part of a place in a message: short and printable."""
    return ascii(str.__str__(name)[:_MAX_KEY_SHOWN])[1:-1]


def _dump_scalar(value: object, place: str) -> str:
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, str):
        return _dump_str(str.__str__(value), place)
    if isinstance(value, int | Decimal):
        return dump_number(value, place)
    if isinstance(value, float):
        raise _reject_float(value, place)
    raise InvalidRequestError(
        f"is not a JSON value but {type(value).__name__}",
        field=place,
        hint="write str, int, Decimal, lists, mappings, True, False or None",
    )


def _dump_str(value: str, place: str) -> str:
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidRequestError("is not valid Unicode", field=place)
    return encode_basestring_ascii(value)


def dump_number(value: int | Decimal, place: str) -> str:
    """Return a number with all of its digits and no exponent."""
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise _too_long(place)
        return int.__repr__(value)
    # A subclass may override the operators and the formatting.
    number = Decimal(value)
    if not number.is_finite():
        raise InvalidRequestError("is not a finite number", field=place)
    _, digits, exponent = number.as_tuple()
    # The exponent is checked before any arithmetic: 1E+999999 has a million digits.
    if len(digits) > MAX_DIGITS or not -MAX_DIGITS <= int(exponent) <= MAX_DIGITS:
        raise _too_long(place)
    return f"{number:f}"


def _too_long(place: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"has more than {MAX_DIGITS} digits", field=place, hint="write it as a str"
    )


def _reject_float(value: float, place: str) -> InvalidRequestError:
    # A subclass, such as numpy's, may override repr().
    written = float.__repr__(value)
    return InvalidRequestError(
        f"a float is not exact: {written}",
        field=place,
        hint=f'write Decimal("{written}")' if isfinite(value) else None,
    )
