"""A caller's own value as JSON, exactly, or refused with the place of what cannot be.

The json module writes floats as they happen to be, and knows no Decimal: neither is
good enough for money.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import Final, cast

from ..errors import InvalidRequestError

#: Documented bodies nest one deep.
_MAX_DEPTH: Final = 64
#: Digits of a number. Longer ones take long to write, and no reader keeps them.
_MAX_DIGITS: Final = 64
_MAX_BITS: Final = (10**_MAX_DIGITS).bit_length()

#: Characters of a key that a message shows.
_MAX_NAME: Final = 40

_CONSTANTS: Final = {None: "null", True: "true", False: "false"}


def dump_body(value: object) -> bytes:
    """JSON in ASCII, without blanks.

    Takes mappings with texts as keys, lists and tuples, texts, bools, ``None``, ints
    and Decimals.

    Raises:
        InvalidRequestError: its `field` is the place, such as ``json.items[0].price``.
    """
    return _dump(value, "json", 0).encode("ascii")


def _dump(value: object, place: str, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise InvalidRequestError(f"nests deeper than {_MAX_DEPTH}", field="json")
    if isinstance(value, Mapping):
        members = cast("Mapping[object, object]", value).items()
        written = [_member(name, item, place, depth) for name, item in members]
        return f"{{{','.join(written)}}}"
    if isinstance(value, list | tuple):
        items = enumerate(cast("list[object]", value))
        parts = [_dump(item, f"{place}[{at}]", depth + 1) for at, item in items]
        return f"[{','.join(parts)}]"
    return _dump_scalar(value, place)


def _member(name: object, value: object, place: str, depth: int) -> str:
    if not isinstance(name, str):
        raise InvalidRequestError(
            f"has a key that is no text but {type(name).__name__}", field=place
        )
    inner = f"{place}.{shown_name(name)}"
    return f"{_dump_scalar(name, inner)}:{_dump(value, inner, depth + 1)}"


def shown_name(name: str) -> str:
    """A caller's own name, as a part of a place in a message: short and printable."""
    return ascii(str.__str__(name)[:_MAX_NAME])[1:-1]


def _dump_scalar(value: object, place: str) -> str:
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, str):
        return _dump_text(str.__str__(value), place)
    if isinstance(value, int | Decimal):
        return dump_number(value, place)
    if isinstance(value, float):
        raise _refuse_float(value, place)
    raise InvalidRequestError(
        f"is no JSON value but {type(value).__name__}",
        field=place,
        hint="write texts, numbers, lists, mappings, True, False or None",
    )


def _dump_text(text: str, place: str) -> str:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise InvalidRequestError("is not valid Unicode", field=place)
    return encode_basestring_ascii(text)


def dump_number(value: int | Decimal, place: str) -> str:
    """A number with all of its digits and no exponent."""
    if isinstance(value, int):
        if value.bit_length() > _MAX_BITS:
            raise _too_long(place)
        return int.__repr__(value)
    number = Decimal(value)  # of a subclass the number alone
    if not number.is_finite():
        raise InvalidRequestError("is no number", field=place)
    _, digits, exponent = number.as_tuple()
    # The exponent before any arithmetic: 1E+999999 has a million digits.
    if len(digits) > _MAX_DIGITS or not -_MAX_DIGITS <= int(exponent) <= _MAX_DIGITS:
        raise _too_long(place)
    return f"{number:f}"


def _too_long(place: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"has more than {_MAX_DIGITS} digits", field=place, hint="write it as a text"
    )


def _refuse_float(value: float, place: str) -> InvalidRequestError:
    # Its own repr: that of a subclass (numpy has one) may be anything.
    written = float.__repr__(value)
    return InvalidRequestError(
        f"a float is not exact: {written}",
        field=place,
        hint=f'write Decimal("{written}")' if isfinite(value) else None,
    )
