"""Convert between JSON objects and records; the names of fields on the wire.

On the wire ``currency`` is fiat in requests for Lightning orders and checkout pages. In
all other places it is a coin, and fiat is ``vs_currency``. In our records it is fiat.

cattrs is lenient about scalars (``int`` of 5.9 is 5, ``str`` of None is ``'None'``) and
does not support Decimal. So each scalar has a hook here, which accepts the forms that
Aurpay is known to send and rejects all others. Messages name the place and the reason,
never the value.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping  # noqa: TC003
from datetime import UTC, datetime
from decimal import Decimal, Inexact, InvalidOperation
from functools import cache, partial
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from .._core.json import SchemaError, _ScalarError
from .._core.money import EXACT, MAX_DIGITS
from .arguments import MAX_ORDER_ID, is_order_id
from .models import Order, OrderStatus, UncheckedOrder
from .payment_models import (
    NewPayment,
    NewPaymentUrl,
    Refund,
    RefundInfo,
    Transaction,
    UncheckedPayment,
)

if TYPE_CHECKING:
    from .arguments import NewOrder


_COIN_NAMES: Final = {"coin": "currency"}

_FIAT_NAMES: Final = {"price": "vs_price", "currency": "vs_currency"}

_OPTION_NAMES: Final = {
    "stablecoin_at_par": "fixed_encrypt_price",
    "post_callbacks": "enable_post_callback",
}

#: Fields with another name on the wire, by record.
_WIRE_NAMES: Final[Mapping[type, Mapping[str, str]]] = {
    UncheckedOrder: _COIN_NAMES,
    Order: {**_COIN_NAMES, **_FIAT_NAMES, "refundable": "refund"},
    NewPaymentUrl: _OPTION_NAMES,
    NewPayment: {**_COIN_NAMES, **_FIAT_NAMES, **_OPTION_NAMES},
    UncheckedPayment: {**_COIN_NAMES, **_FIAT_NAMES},
    RefundInfo: _COIN_NAMES,
    Refund: {
        "status": "refund_status",
        "amount": "refund_amount",
        "date": "refund_date",
    },
    Transaction: _COIN_NAMES,
}

_SAME_NAMES: Final[Mapping[str, str]] = {}

#: Our field for unknown members, which is not a member itself.
_EXTRA_FIELD: Final = "extra"


def wire_names(kind: type) -> Mapping[str, str]:
    """Return the wire names of those fields of a record that have another name."""
    return _WIRE_NAMES.get(kind, _SAME_NAMES)


@cache
def wire_fields(kind: type[attrs.AttrsInstance]) -> frozenset[str]:
    """Return the wire names of all fields of a record."""
    names = wire_names(kind)
    own = {field.name for field in attrs.fields(kind)} - {_EXTRA_FIELD}
    return frozenset(own - names.keys()) | frozenset(names.values())


_T = TypeVar("_T", bound=attrs.AttrsInstance)

_NUMERIC: Final = "0123456789.eE+-"

#: Java's LocalDateTime leaves out seconds that are 0.
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


def dump_new_order(order: NewOrder) -> bytes:
    """Return the body of a request for an order, without fields that are None or False.

    It takes half the time of `dump_json`, which accepts any nested value.
    """
    fields, kind = vars(order), cast("type[attrs.AttrsInstance]", type(order))
    members: list[str] = []
    for name, key in _keys(kind):
        value = fields[name]
        if value is None or value is False:
            continue
        if type(value) is str:
            text = encode_basestring_ascii(value)
        elif value is True:
            text = "true"
        else:
            # Formatting is slow, and only a Decimal with an exponent needs it: str() of
            # any other finite one is a JSON number.
            text = str(value)
            text = f"{value:f}" if "E" in text else text
        members.append(key + text)
    return f"{{{','.join(members)}}}".encode("ascii")


@cache
def _keys(kind: type[attrs.AttrsInstance]) -> tuple[tuple[str, str], ...]:
    """Return the fields that are sent, each with its JSON key and colon."""
    names = wire_names(kind)
    sent = [f.name for f in attrs.fields(kind) if f.name not in _NEVER_SENT]
    return tuple((name, f'"{names.get(name, name)}":') for name in sent)


#: Aurpay has no fields for these. The first two are in the callback URLs.
_NEVER_SENT: Final = frozenset({"reference", "attempt_id", "allow_http"})


def structure(data: Mapping[str, object], kind: type[_T], path: str) -> _T:
    """Return the record of type `kind` in an object at `path`, empty for the top level.

    Fields that the record does not have are ignored: see `unknown_fields`.

    Raises:
        SchemaError: with every field that is missing or has the wrong type.
    """
    hook: _Hook[_T] = _fast_hook(kind)
    try:
        return hook(data, kind)
    except (KeyError, _ScalarError):
        raise _schema_error(data, kind, path) from None


def structure_with_extra(
    data: Mapping[str, object],
    kind: type[_T],
    path: str,
    fallbacks: Mapping[str, object],
) -> tuple[_T, dict[str, object]]:
    """Return a record as `structure` does, with its unknown and unreadable fields.

    Args:
        data: The object.
        kind: The type of the record.
        path: The path of the object.
        fallbacks: The wire names of the fields that may be unreadable, each with the
            value that replaces it then.

    Returns:
        The record, and the fields that it does not have or that cannot be read.

    Raises:
        SchemaError: with every unreadable field, if one of them has no fallback.
    """
    known = wire_fields(kind)
    extra = {} if data.keys() <= known else unknown_fields(data, kind)
    hook: _Hook[_T] = _fast_hook(kind)
    try:
        return hook(data, kind), extra
    except (KeyError, _ScalarError):
        error = _schema_error(data, kind, path)
    unread = error.fields
    if not unread <= fallbacks.keys():
        raise error
    readable = {**data, **{name: fallbacks[name] for name in unread}}
    extra |= {name: data[name] for name in unread if name in data}
    return structure(readable, kind, path), extra


def unknown_fields(
    data: Mapping[str, object], kind: type[attrs.AttrsInstance]
) -> dict[str, object]:
    """Return the members of an object that are not fields of a record type."""
    known = wire_fields(kind)
    return {name: data[name] for name in data if name not in known}


def _schema_error(data: Mapping[str, object], kind: type[_T], path: str) -> SchemaError:
    """Return an error with all problems of an object, each with its JSON path."""
    hook: _Hook[_T] = _detailed_hook(kind)
    problems: list[str] = []
    try:
        hook(data, kind)
    except cattrs.ClassValidationError as error:
        problems = cattrs.transform_error(error, path, _describe)
    names, prefix = wire_names(kind), f"{path}." if path else ""
    found: dict[str, str] = {}
    for problem in problems:
        why, _, place = problem.rpartition(" @ ")
        name = place.rpartition(".")[2]
        found[names.get(name, name)] = why
    return SchemaError(
        {f"{prefix}{name}": why for name, why in found.items()}, frozenset(found)
    )


def _describe(error: BaseException, _: type | None) -> str:
    return "is missing" if isinstance(error, KeyError) else str(error)


_Hook = Callable[[Any, type[_T]], _T]


@cache
def _fast_hook(kind: type[_T]) -> _Hook[_T]:
    return _make_hook(kind, detailed=False)


@cache
def _detailed_hook(kind: type[_T]) -> _Hook[_T]:
    return _make_hook(kind, detailed=True)


def _make_hook(kind: type[_T], *, detailed: bool) -> _Hook[_T]:
    converter = cattrs.Converter(detailed_validation=detailed)
    for scalar, read in _SCALARS.items():
        converter.register_structure_hook(scalar, read)
        is_optional = partial(operator.eq, scalar | None)
        converter.register_structure_hook_func(is_optional, _or_none(read))
    converter.register_structure_hook_func(lambda t: t == tuple[str, ...], _to_strs)
    names = wire_names(kind).items()
    rules: Any = {name: override(rename=wire) for name, wire in names}
    return make_dict_structure_fn(
        kind,
        converter,
        order_id=override(struct_hook=_to_order_id),
        extra=override(omit=True),
        **rules,
    )


def _to_str(value: object, _: type) -> str:
    if type(value) is not str:
        raise _ScalarError("is not a string")
    # JSON can contain half a surrogate pair, which cannot be encoded or printed.
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise _ScalarError("is not valid Unicode")
    return value


def _to_strs(value: object, _: type) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _ScalarError("is not a list")
    return tuple(_to_str(item, str) for item in cast("list[object]", value))


def _to_bool(value: object, _: type) -> bool:
    if type(value) is not bool:
        raise _ScalarError("is neither true nor false")
    return value


def _to_count(value: object, _: type) -> int:
    if type(value) is not int or value < 0:
        raise _ScalarError("is not an integer of 0 or more")
    return value


def _to_order_id(value: object, _: type) -> str:
    order_id = _to_str(value, str)
    if not is_order_id(order_id):
        raise _ScalarError(
            f"is empty, has blanks, or more than {MAX_ORDER_ID} characters"
        )
    return order_id


def _to_status(value: object, _: type) -> OrderStatus:
    # Creating an Enum member from a string is slower than all other hooks together.
    known = _STATUSES.get(value) if type(value) is str else None
    if known is not None:
        return known
    name = _to_str(value, str)
    if not name.isprintable():
        raise _ScalarError("has characters that cannot be printed")
    return OrderStatus(name)


def lenient_order_id(value: object) -> str | None:
    """Return what may be the order id in a rejected response, for a later query."""
    try:
        return _to_order_id(str(value) if type(value) is int else value, str)
    except _ScalarError:
        return None


def lenient_amount(value: object) -> Decimal | None:
    """Return the number in an unverified field, or ``None`` if there is none."""
    try:
        return _to_decimal(value, Decimal)
    except _ScalarError:
        return None


def _or_none(read: Callable[[object, Any], object]) -> Callable[[object, Any], object]:
    """Return a hook for an optional field, which is faster than that of cattrs."""
    return lambda value, kind: None if value is None else read(value, kind)


_STATUSES: Final = dict(OrderStatus.__members__)


def _to_decimal(value: object, _: type) -> Decimal:
    """Return a number from a number or a string: Aurpay sends amounts both ways."""
    if isinstance(value, str):
        # Decimal() also accepts blanks, underscores and digits of other scripts.
        if len(value) > MAX_DIGITS or value.strip(_NUMERIC):
            raise _ScalarError("is not a number")
    elif not isinstance(value, Decimal | int) or isinstance(value, bool):
        raise _ScalarError("is not a number")
    try:
        number = EXACT.create_decimal(value)
    except InvalidOperation:
        raise _ScalarError("is not a number") from None
    except Inexact:
        raise _ScalarError("is out of range") from None
    # Arithmetic and printing must not see 1e999999, which has a million digits.
    if not -MAX_DIGITS <= number.adjusted() <= MAX_DIGITS:
        raise _ScalarError("is out of range")
    return number


def _to_datetime(value: object, _: type) -> datetime:
    """Return the time of ``YYYY-MM-DDTHH:MM:SS``. Without a zone it is read as UTC."""
    # fromisoformat() also accepts dates without a time, and week dates.
    match = _TIME.fullmatch(_to_str(value, str))
    if match is None:
        raise _ScalarError("is not a time")
    try:
        time = datetime.fromisoformat(match[0] if match[1] else f"{match[0]}+00:00")
        return time if time.tzinfo is UTC else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _ScalarError("is not a time") from None


_SCALARS: Final[Mapping[type, Callable[[object, Any], object]]] = {
    str: _to_str,
    bool: _to_bool,
    int: _to_count,
    Decimal: _to_decimal,
    datetime: _to_datetime,
    OrderStatus: _to_status,
}
