"""Records as JSON and back, whatever their fields are.

What JSON has no word for is an object with one name that begins with ``$``. A record is
an object of its fields, so a field that is new needs a default for files that lack it;
one that has left is passed over.
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
    """Those of HTTP: asked for in any case, and a name may come twice."""
    return CIMultiDictProxy(CIMultiDict(pairs))


#: How the JSON of each word becomes a value again.
_WORDS: Final = {
    "$bytes": cast("Callable[[object], object]", b64decode),
    "$decimal": cast("Callable[[object], object]", Decimal),
    "$headers": cast("Callable[[object], object]", _headers),
    "$time": cast("Callable[[object], object]", datetime.fromisoformat),
}


def dump(value: object) -> str:
    """A value as JSON, in ASCII."""
    return json.dumps(value, default=_worded)


def load(text: str) -> object:
    """The value of some JSON, in which a record is still a dict of its fields.

    Raises:
        ValueError: if that is not what `dump` has written.
    """
    try:
        return json.loads(text, object_hook=_value)
    except (ArithmeticError, TypeError) as error:
        raise ValueError(f"not a value: {error}") from None


def read_record(record: type[R], fields: object) -> R:
    """A record of its fields, as `load` gives them.

    Raises:
        ValueError: if they are not those of such a record.
    """
    known = {field.name for field in attrs.fields(record)}
    try:
        given = cast("dict[str, object]", fields).items()
        held = {name: _frozen(value) for name, value in given if name in known}
        return cast("Callable[..., R]", record)(**held)
    except (AttributeError, TypeError) as error:
        raise ValueError(f"not a {record.__name__}: {error}") from None


def _worded(value: object) -> object:
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
    raise TypeError(f"no way to keep a {type(value).__name__}")


def _value(members: dict[str, object]) -> object:
    if len(members) == 1:
        [(word, held)] = members.items()
        if word in _WORDS:
            return _WORDS[word](held)
    return members


def _frozen(value: object) -> object:
    """Lists as the tuples that they were."""
    if isinstance(value, list):
        return tuple(map(_frozen, cast("list[object]", value)))
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: _frozen(member) for name, member in members.items()}
    return value
