"""Encode records as JSON, and decode them.

A type that JSON lacks is an object with one name that begins with ``$``. A record is an
object of its fields: a new field needs a default for older files, and a removed one is
ignored.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar, cast

import attrs
from multidict import CIMultiDict, CIMultiDictProxy

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R", bound=attrs.AttrsInstance)


def _headers(pairs: list[tuple[str, str]]) -> Mapping[str, str]:
    """Return headers: names are case-insensitive, and may occur twice."""
    return CIMultiDictProxy(CIMultiDict(pairs))


#: The decoder of each tag.
_DECODERS: Final = {
    "$bytes": cast("Callable[[object], object]", b64decode),
    "$decimal": cast("Callable[[object], object]", Decimal),
    "$headers": cast("Callable[[object], object]", _headers),
    "$time": cast("Callable[[object], object]", datetime.fromisoformat),
}


def dump(value: object) -> str:
    """Encode a value as JSON, in ASCII."""
    return json.dumps(value, default=_encode_tagged)


def load(text: str) -> object:
    """Decode the output of `dump`; a record is still a dict of its fields.

    Raises:
        ValueError: if the JSON or one of its values is invalid.
    """
    try:
        return json.loads(text, object_hook=_decode_tagged)
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"not a value: {error}") from None


def read_record(record: type[R], fields: object) -> R:
    """Build a record from its fields, as `load` returns them.

    Raises:
        ValueError: if they do not fit the record.
    """
    known = {field.name for field in attrs.fields(record)}
    try:
        given = cast("dict[str, object]", fields).items()
        values = {name: _to_tuples(value) for name, value in given if name in known}
        return cast("Callable[..., R]", record)(**values)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"not a {record.__name__}: {error}") from None


def _encode_tagged(value: object) -> object:
    if attrs.has(type(value)):
        fields = attrs.fields(cast("type[attrs.AttrsInstance]", type(value)))
        return {field.name: getattr(value, field.name) for field in fields}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"$headers": [*cast("Mapping[str, str]", value).items()]}
    raise TypeError(f"cannot store a {type(value).__name__}")


def _decode_tagged(members: dict[str, object]) -> object:
    if len(members) == 1:
        [(tag, encoded)] = members.items()
        if tag in _DECODERS:
            return _DECODERS[tag](encoded)
    return members


def _to_tuples(value: object) -> object:
    """Turn lists back into tuples."""
    if isinstance(value, list):
        return tuple(map(_to_tuples, cast("list[object]", value)))
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: _to_tuples(member) for name, member in members.items()}
    return value
