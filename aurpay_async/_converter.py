"""Records to JSON and back, strictly. The one place that knows cattrs.

cattrs is lenient about scalars (``int`` of 5.9 is 5, ``str`` of None is ``'None'``)
and has no Decimal, so each scalar has a hook here that takes what the platform is
known to send and refuses the rest. Messages name the place and the reason, never the
value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import cache
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeVar, cast

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from ._models import MAX_ORDER_ID, is_order_id
from ._order_life import OrderStatus
from ._wire_names import wire_fields, wire_names

if TYPE_CHECKING:
    from ._models import NewOrder

_T = TypeVar("_T", bound=attrs.AttrsInstance)

#: Documented answers nest 4 deep.
_MAX_DEPTH: Final = 64
_MAX_NUMBER: Final = 64

_NUMERIC: Final = "0123456789.eE+-"
#: Of its own, so that nobody else's settings matter; it refuses to round.
_EXACT = Context(prec=_MAX_NUMBER, traps=[InvalidOperation, Inexact])
#: One that never ends counts as well, so that the search stays linear.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
#: Java's LocalDateTime leaves out seconds that are 0.
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
#: RFC 8259, 8.1: a parser may ignore it instead of treating it as an error.
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class SchemaError(ValueError):
    """An answer is not of the documented shape."""

    def __init__(
        self, problems: Mapping[str, str], fields: frozenset[str] = frozenset()
    ) -> None:
        super().__init__("; ".join(f"{path} {why}" for path, why in problems.items()))
        #: What is wrong, by path.
        self.problems = dict(problems)
        #: The platform's names for the fields of a record that cannot be read.
        self.fields = fields


def load_object(body: bytes) -> dict[str, object]:
    """The object in a JSON text: UTF-8, bounded nesting, no NaN, no key twice.

    Numbers with a point or an exponent become Decimal, exactly.

    Raises:
        SchemaError: if `body` is anything else.
    """
    value = as_object(_load_json(body))
    if value is None:
        raise SchemaError({"the answer": "is no JSON object"})
    return value


def as_object(value: object) -> dict[str, object] | None:
    """`value` if it came from a JSON object."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else None


def _load_json(body: bytes) -> object:
    if not _is_shallow(body):
        raise SchemaError({"the answer": f"nests deeper than {_MAX_DEPTH}"})
    try:
        return _decoder().decode(body.removeprefix(_BYTE_ORDER_MARK).decode("utf-8"))
    except _ScalarError as error:
        problem = str(error)
    except UnicodeDecodeError:
        problem = "is not UTF-8"
    # An exponent of 20 digits is arithmetic to Decimal.
    except (ValueError, ArithmeticError):
        problem = "is not JSON"
    raise SchemaError({"the answer": problem})


def _is_shallow(body: bytes) -> bool:
    """Whether brackets nest at most `_MAX_DEPTH` deep, give or take as many.

    Counted in pieces: a megabyte of nothing but brackets takes milliseconds.
    """
    # Nearly every answer has fewer brackets than may nest: no need to look closer.
    if body.count(b"[") + body.count(b"{") <= _MAX_DEPTH:
        return True
    brackets = _STRING.sub(b"", body).translate(None, delete=_NO_BRACKETS)
    depth = 0
    for start in range(0, len(brackets), _MAX_DEPTH):
        piece = brackets[start : start + _MAX_DEPTH]
        depth += 2 * (piece.count(b"[") + piece.count(b"{")) - len(piece)
        if depth > _MAX_DEPTH:
            return False
    return True


@cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_float=Decimal,
        parse_int=_int,
        parse_constant=_refuse_constant,
        object_pairs_hook=_object,
    )


def _int(digits: str) -> int:
    # Reading a million digits takes half a minute, where Python sets no limit itself.
    if len(digits) > _MAX_NUMBER:
        raise _ScalarError(f"holds a number of more than {_MAX_NUMBER} digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise _ScalarError(f"holds {name}, which is not JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _ScalarError("has a key twice")
    return fields


def dump_new_order(order: NewOrder) -> bytes:
    """The body that asks for an order; what was not given, or not so, is left out."""
    fields, kind = vars(order), cast("type[attrs.AttrsInstance]", type(order))
    members = [
        key + _dump(value)
        for name, key in _keys(kind)
        if (value := fields[name]) is not None and value is not False
    ]
    return f"{{{','.join(members)}}}".encode("ascii")


@cache
def _keys(kind: type[attrs.AttrsInstance]) -> tuple[tuple[str, str], ...]:
    """The fields that are sent, each with how its member begins."""
    names = wire_names(kind)
    sent = [f.name for f in attrs.fields(kind) if f.name not in _NEVER_SENT]
    return tuple((name, f'"{names.get(name, name)}":') for name in sent)


#: The platform has no fields for these; the first two travel in the callback URLs.
_NEVER_SENT: Final = frozenset({"reference", "attempt_id", "allow_http"})


def _dump(value: Decimal | str | Literal[True]) -> str:
    if type(value) is str:
        return encode_basestring_ascii(value)
    if value is True:
        return "true"
    # The json module has no Decimal; every finite one is a JSON number as it stands.
    # Formatting it costs more than all the rest, and is needed for an exponent only.
    text = str(value)
    return f"{value:f}" if "E" in text else text


def dump_json(value: object) -> str:
    """Write JSON in ASCII that is read back as equal; small exponents are spelt out."""
    if isinstance(value, Decimal):
        return f"{value:f}" if abs(value.adjusted()) <= _MAX_NUMBER else str(value)
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        members = [f"{json.dumps(name)}: {dump_json(item)}" for name, item in pairs]
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list | tuple):
        items = [dump_json(item) for item in cast("list[object]", value)]
        return f"[{', '.join(items)}]"
    return json.dumps(value)


def structure(data: Mapping[str, object], kind: type[_T], path: str) -> _T:
    """The record of that kind in an object that stands at `path`; empty: at the top.

    Fields that the record does not have are left alone: see `unknown_fields`.

    Raises:
        SchemaError: with every field that is missing or not of its type.
    """
    read: _Hook[_T] = _fast_hook(kind)
    try:
        return read(data, kind)
    except (KeyError, _ScalarError):
        pass
    # Something is wrong: go through it again, slowly, and say what and where.
    read = _detailed_hook(kind)
    try:
        return read(data, kind)
    except cattrs.ClassValidationError as error:
        problems = cattrs.transform_error(error, path, _describe)
    names, inside = wire_names(kind), f"{path}." if path else ""
    found: dict[str, str] = {}
    for problem in problems:
        why, _, place = problem.rpartition(" @ ")
        name = place.rpartition(".")[2]
        found[names.get(name, name)] = why
    raise SchemaError(
        {f"{inside}{name}": why for name, why in found.items()}, frozenset(found)
    )


def structure_with_extra(
    data: Mapping[str, object], kind: type[_T], path: str, side: Mapping[str, object]
) -> tuple[_T, dict[str, object]]:
    """As `structure`, without the side fields that cannot be read.

    Args:
        data: The object.
        kind: Of record.
        path: Where the object stands.
        side: The platform's names for the fields that are no reason to reject an
            answer, each with what stands in for it.

    Returns:
        The record, and the fields that it does not have, or that cannot be read.

    Raises:
        SchemaError: with every field that cannot be read, if one is no side field.
    """
    extra = unknown_fields(data, kind)
    try:
        return structure(data, kind, path), extra
    except SchemaError as error:
        unread = error.fields
        if not unread <= side.keys():
            raise
    readable = {**data, **{name: side[name] for name in unread}}
    extra |= {name: data[name] for name in unread if name in data}
    return structure(readable, kind, path), extra


def unknown_fields(
    data: Mapping[str, object], kind: type[attrs.AttrsInstance]
) -> dict[str, object]:
    """What an object holds beyond the fields of a kind of record."""
    known = wire_fields(kind)
    if data.keys() <= known:
        return {}
    return {name: data[name] for name in data if name not in known}


def _describe(error: BaseException, _: type | None) -> str:
    return "is missing" if isinstance(error, KeyError) else str(error)


class _ScalarError(ValueError):
    """A value is not what its field takes; the message does not quote it."""


_Hook = Callable[[Any, type[_T]], _T]


@cache
def _fast_hook(kind: type[_T]) -> _Hook[_T]:
    return _make_hook(kind, detailed=False)


@cache
def _detailed_hook(kind: type[_T]) -> _Hook[_T]:
    return _make_hook(kind, detailed=True)


def _make_hook(kind: type[_T], *, detailed: bool) -> _Hook[_T]:
    converter = cattrs.Converter(detailed_validation=detailed)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(bool, _bool)
    converter.register_structure_hook(int, _count)
    converter.register_structure_hook(Decimal, _decimal)
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(OrderStatus, _status)
    converter.register_structure_hook_func(lambda t: t == tuple[str, ...], _texts)
    names = wire_names(kind).items()
    rules: Any = {name: override(rename=wire) for name, wire in names}
    return make_dict_structure_fn(
        kind,
        converter,
        order_id=override(struct_hook=_order_id),
        extra=override(omit=True),
        **rules,
    )


def _text(value: object, _: type) -> str:
    if type(value) is not str:
        raise _ScalarError("is not a text")
    # JSON can spell half a surrogate pair, which nothing can print or send on.
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise _ScalarError("is not valid Unicode")
    return value


def _texts(value: object, _: type) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _ScalarError("is not a list")
    return tuple(_text(item, str) for item in cast("list[object]", value))


def _bool(value: object, _: type) -> bool:
    if type(value) is not bool:
        raise _ScalarError("is neither true nor false")
    return value


def _count(value: object, _: type) -> int:
    if type(value) is not int or value < 0:
        raise _ScalarError("is not a whole number from 0")
    return value


def _order_id(value: object, _: type) -> str:
    text = _text(value, str)
    if not is_order_id(text):
        raise _ScalarError(
            f"is empty, has blanks, or more than {MAX_ORDER_ID} characters"
        )
    return text


def _status(value: object, _: type) -> OrderStatus:
    # A look-up first: making an enum of a text is slower than all the rest of it.
    known = _STATUSES.get(value) if type(value) is str else None
    if known is not None:
        return known
    text = _text(value, str)
    if not text.isprintable():
        raise _ScalarError("has characters that cannot be printed")
    return OrderStatus(text)


def lenient_order_id(value: object) -> str | None:
    """What may be an order's id, to look it up by: for answers that cannot be taken."""
    try:
        return _order_id(str(value) if type(value) is int else value, str)
    except _ScalarError:
        return None


def lenient_amount(value: object) -> Decimal | None:
    """The number in what nobody has to believe; ``None`` if there is none."""
    try:
        return _decimal(value, Decimal)
    except _ScalarError:
        return None


_STATUSES: Final = dict(OrderStatus.__members__)


def _decimal(value: object, _: type) -> Decimal:
    """A number, or a text that is one: Aurpay sends amounts both ways."""
    if isinstance(value, str):
        # Decimal itself also takes blanks, underscores and digits of other scripts.
        if len(value) > _MAX_NUMBER or value.strip(_NUMERIC):
            raise _ScalarError("is not a number")
    elif not isinstance(value, Decimal | int) or isinstance(value, bool):
        raise _ScalarError("is not a number")
    try:
        number = _EXACT.create_decimal(value)
    except InvalidOperation:
        raise _ScalarError("is not a number") from None
    except Inexact:
        raise _ScalarError("is out of range") from None
    # Only now may anyone compute with it or print it: 1e999999 has a million digits.
    if not -_MAX_NUMBER <= number.adjusted() <= _MAX_NUMBER:
        raise _ScalarError("is out of range")
    return number


def _time(value: object, _: type) -> datetime:
    """``YYYY-MM-DDTHH:MM:SS``. Aurpay gives no zone: read as UTC."""
    # fromisoformat() also takes dates without a time, and week dates.
    match = _TIME.fullmatch(_text(value, str))
    if match is None:
        raise _ScalarError("is not a time")
    try:
        time = datetime.fromisoformat(match[0] if match[1] else f"{match[0]}+00:00")
        return time if time.tzinfo is UTC else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _ScalarError("is not a time") from None
