"""Read JSON strictly and write it exactly.

The json module writes the shortest form of a float and does not support Decimal.
Neither is good enough for money.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from ..errors import InvalidRequestError
from .money import MAX_DIGITS

if TYPE_CHECKING:
    from collections.abc import Callable

#: Nesting of JSON that is read or written. Documented responses nest 4 deep.
MAX_DEPTH: Final = 64
#: Also matches an unterminated string, to keep the search linear.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
#: RFC 8259, 8.1: a parser may ignore it instead of treating it as an error.
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
#: RFC 8259, 2: the only blanks around a value.
_BLANKS: Final = " \t\n\r"
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class SchemaError(ValueError):
    """JSON that does not have the documented shape."""

    def __init__(
        self, problems: Mapping[str, str], fields: frozenset[str] = frozenset()
    ) -> None:
        super().__init__("; ".join(f"{path} {why}" for path, why in problems.items()))
        #: The problems by path.
        self.problems = dict(problems)
        #: The wire names of the fields of a record that cannot be read.
        self.fields = fields


def load_object(body: bytes, subject: str = "the response") -> dict[str, object]:
    """Return the object in a JSON document in UTF-8.

    NaN, duplicate keys and deep nesting are rejected. Numbers with a point or an
    exponent become Decimal, exactly.

    Raises:
        SchemaError: if `body` is anything else. Its message begins with `subject`.
    """
    # Most responses have fewer brackets than may nest.
    brackets = body.translate(None, delete=_NO_BRACKETS)
    if len(brackets) > MAX_DEPTH and not _is_shallow(body):
        raise SchemaError({subject: f"nests deeper than {MAX_DEPTH}"})
    value: object = None
    try:
        text = body.removeprefix(_BYTE_ORDER_MARK).decode("utf-8").strip(_BLANKS)
        value, end = _scan_json(text, 0)
        problem = None if end == len(text) else "is not JSON"
    except _ScalarError as error:
        problem = str(error)
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    # Decimal raises an ArithmeticError for an exponent of 20 digits.
    except (ValueError, ArithmeticError, StopIteration):
        problem = "is not JSON"
    if problem is None and type(value) is dict:
        return cast("dict[str, object]", value)
    raise SchemaError({subject: problem or "is not a JSON object"})


def as_object(value: object) -> dict[str, object] | None:
    """Return `value` if it is a parsed JSON object, else ``None``."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _is_shallow(body: bytes) -> bool:
    """Return whether brackets nest at most about `MAX_DEPTH` deep.

    The result is exact up to a factor of two. Brackets are counted in pieces, so a
    megabyte of brackets takes milliseconds.
    """
    brackets = _STRING.sub(b"", body).translate(None, delete=_NO_BRACKETS)
    depth = 0
    for start in range(0, len(brackets), MAX_DEPTH):
        piece = brackets[start : start + MAX_DEPTH]
        depth += 2 * (piece.count(b"[") + piece.count(b"{")) - len(piece)
        if depth > MAX_DEPTH:
            return False
    return True


def _parse_int(digits: str) -> int:
    # A million digits take half a minute if Python itself sets no limit.
    if len(digits) > MAX_DIGITS:
        raise _ScalarError(f"has a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _reject_constant(name: str) -> NoReturn:
    raise _ScalarError(f"has {name}, which is not JSON")


def _parse_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _ScalarError("has a duplicate key")
    return fields


#: Reads one JSON value from a position on, and returns it with its end. It is what
#: `JSONDecoder.decode` calls, without the search for blanks around the value.
_scan_json: Callable[[str, int], tuple[object, int]] = cast(
    "Any",
    json.JSONDecoder(
        parse_float=Decimal,
        parse_int=_parse_int,
        parse_constant=_reject_constant,
        object_pairs_hook=_parse_members,
    ),
).scan_once


def pick(record: object, names: str) -> dict[str, Any]:
    """Return attributes of a record by name, in the order of `names`."""
    return {name: getattr(record, name) for name in names.split()}


def dump_json(value: object) -> str:
    """Return `value` as JSON in ASCII that is read back as equal.

    Numbers with a small exponent are written without one.
    """
    if isinstance(value, str):  # most values, ten times as fast as with json.dumps()
        return encode_basestring_ascii(value)
    if isinstance(value, Decimal):
        return f"{value:f}" if abs(value.adjusted()) <= MAX_DIGITS else str(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        members = [f"{dump_json(name)}: {dump_json(item)}" for name, item in pairs]
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list | tuple):
        items = [dump_json(item) for item in cast("list[object]", value)]
        return f"[{', '.join(items)}]"
    return json.dumps(value)


class _ScalarError(ValueError):
    """A value that its field does not accept; the message does not quote it."""


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
    problem = f"is not a JSON value but {type(value).__name__}"
    hint: str | None = "write str, int, Decimal, lists, mappings, True, False or None"
    if isinstance(value, float):
        # A subclass, such as numpy's, may override repr().
        written = float.__repr__(value)
        problem = f"a float is not exact: {written}"
        hint = f'write Decimal("{written}")' if isfinite(value) else None
    raise InvalidRequestError(problem, field=place, hint=hint)


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
