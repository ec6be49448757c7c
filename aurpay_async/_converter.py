"""Records to JSON and back, strictly. The one place that knows cattrs.

cattrs is lenient about scalars (``int`` of 5.9 is 5, ``str`` of None is ``'None'``)
and has no Decimal, so each scalar has a hook here that takes what the platform is
known to send and refuses the rest. Messages name the place and the reason, never the
value.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Final, NoReturn, cast

import cattrs
from cattrs.gen import make_dict_unstructure_fn

from ._models import NewOrder, OrderId, OrderStatus, UncheckedOrder

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Documented answers nest 4 deep.
_MAX_DEPTH: Final = 64
#: No text of a documented answer but the invoice is longer than an URL.
_MAX_NAME: Final = 64
_MAX_TIME: Final = 40
_MAX_NUMBER: Final = 64

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
#: A string that never ends counts as one, so that the search stays linear.
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


class ShapeError(ValueError):
    """An answer is not of the documented shape."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{path} {why}" for path, why in problems.items()))
        #: What is wrong, by path.
        self.problems = dict(problems)


def load_object(body: bytes) -> dict[str, object]:
    """The object in a JSON text: UTF-8, bounded nesting, no NaN, no key twice.

    Numbers with a point or an exponent become Decimal, exactly.

    Raises:
        ShapeError: if `body` is anything else.
    """
    value = as_object(_load_json(body))
    if value is None:
        raise ShapeError({"the answer": "is no JSON object"})
    return value


def as_object(value: object) -> dict[str, object] | None:
    """`value` if it came from a JSON object."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _load_json(body: bytes) -> object:
    if _is_deep(body):
        raise ShapeError({"the answer": f"nests deeper than {_MAX_DEPTH}"})
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except _ScalarError as error:
        problem = str(error)
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    # An exponent of 20 digits is arithmetic to Decimal.
    except (ValueError, ArithmeticError):
        problem = "is not JSON"
    raise ShapeError({"the answer": problem})


def _is_deep(body: bytes) -> bool:
    # Nearly every answer has fewer brackets than may nest: no need to look closer.
    if body.count(b"[") + body.count(b"{") <= _MAX_DEPTH:
        return False
    depth = 0
    for match in _STRINGS_AND_BRACKETS.finditer(body):
        token = match[0]
        if token in {b"[", b"{"}:
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif token in {b"]", b"}"}:
            depth -= 1
    return False


def _refuse_constant(name: str) -> NoReturn:
    raise _ScalarError(f"holds {name}, which is not JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _ScalarError("has a key twice")
    return fields


def dump_new_order(order: NewOrder) -> bytes:
    """The body that asks for an order; what was not given is left out."""
    fields: dict[str, object] = _converter().unstructure(order)
    members = (f'"{name}":{_dump(value)}' for name, value in fields.items())
    return f"{{{','.join(members)}}}".encode("ascii")


def _dump(value: object) -> str:
    # The json module has no Decimal; every finite one is a JSON number as it stands.
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value)


def structure_order(data: dict[str, object], path: str) -> UncheckedOrder:
    """The order in an answer's `data`, which stands at `path`.

    Raises:
        ShapeError: with every field that is missing or not of its type.
    """
    try:
        return _converter().structure(data, UncheckedOrder)
    except cattrs.ClassValidationError as error:
        problems = cattrs.transform_error(error, path, _describe)
    raise ShapeError(
        {path: why for why, _, path in (line.rpartition(" @ ") for line in problems)}
    )


def unknown_fields(data: Mapping[str, object]) -> dict[str, object]:
    """What an order's answer holds beyond the fields that are known."""
    return {name: data[name] for name in data.keys() - _ORDER_FIELDS}


_ORDER_FIELDS: Final = frozenset(UncheckedOrder.__annotations__)


def _describe(error: BaseException, _: type | None) -> str:
    # Only our own hooks speak: other messages may quote the value.
    if isinstance(error, _ScalarError):
        return str(error)
    return "is missing" if isinstance(error, KeyError) else "is not of its type"


class _ScalarError(ValueError):
    """A value is not what its field takes; the message does not quote it."""


@cache
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(Decimal, _decimal)
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(OrderStatus, _status)
    converter.register_structure_hook(OrderId, _order_id)
    converter.register_unstructure_hook(Decimal, lambda number: number)
    converter.register_unstructure_hook(
        NewOrder,
        make_dict_unstructure_fn(NewOrder, converter, _cattrs_omit_if_default=True),
    )
    return converter


def _text(value: object, _: type) -> str:
    if not isinstance(value, str):
        raise _ScalarError("is not a text")
    # JSON can spell half a surrogate pair, which nothing can print or send on.
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise _ScalarError("is not valid Unicode")
    return value


def _name(value: object) -> str:
    text = _text(value, str)
    if not 0 < len(text) <= _MAX_NAME or not text.isprintable() or " " in text:
        raise _ScalarError("is empty, too long, or holds blanks")
    return text


def _order_id(value: object, _: type) -> OrderId:
    return OrderId(_name(value))


def _status(value: object, _: type) -> OrderStatus:
    return OrderStatus(_name(value))


def _decimal(value: object, _: type) -> Decimal:
    """A number, or a text that is one: Aurpay sends amounts both ways."""
    if isinstance(value, str):
        if len(value) > _MAX_NUMBER or not _JSON_NUMBER.fullmatch(value):
            raise _ScalarError("is not a number")
        value = Decimal(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise _ScalarError("is not a number")
    # Only now may anyone compute with it or print it: 1e999999 has a million digits.
    _sign, digits, exponent = value.as_tuple()
    if len(digits) > _MAX_NUMBER or not -_MAX_NUMBER <= int(exponent) <= _MAX_NUMBER:
        raise _ScalarError("is out of range")
    return value


def _time(value: object, _: type) -> datetime:
    """``YYYY-MM-DDTHH:MM:SS``. Aurpay gives no zone: read as UTC."""
    text = _text(value, str)
    # fromisoformat() also takes dates without a time, and week dates.
    if len(text) > _MAX_TIME or text[10:11] not in {"T", " "}:
        raise _ScalarError("is not a time")
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _ScalarError("is not a time") from None
