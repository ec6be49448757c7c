"""Any endpoint, as the caller names it: for what this package has no method for.

Path and query are signed, so they go over the wire as they are built here: whatever a
server, a proxy or a library might read otherwise is refused instead of mended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, cast, get_args
from urllib.parse import quote, unquote

from .._envelope import read_data
from .._http import Effect, Request
from .._urls import MAX_URL_LENGTH
from ..errors import InvalidRequestError, shown
from ._common import READ_HEADERS, WRITE_HEADERS
from ._json_body import dump_body, dump_number, shown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._http import Response

    #: One value of a query. No float: there are several ways to write one.
    Value = str | int | Decimal
    Params = Mapping[str, Value] | Sequence[tuple[str, Value]]

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
_METHODS: Final[tuple[str, ...]] = get_args(Method)

#: RFC 3986, 3.3: segments of pchar, none of them empty but the last.
_PATH: Final = re.compile(
    r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)+/?", re.ASCII
)


def build_request(
    method: Method,
    path: str,
    *,
    params: Params | None,
    json: object,
    effect: Effect,
) -> Request:
    """A request to any endpoint.

    Raises:
        InvalidRequestError: naming the argument, and what to write instead.
    """
    if method not in _METHODS:
        raise InvalidRequestError(
            f"must be one of {', '.join(_METHODS)}, got {shown(method)}", field="method"
        )
    if not isinstance(effect, Effect):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequestError(
            f"must be Effect.READ, CREATE or MONEY, got {shown(effect)}", field="effect"
        )
    if json is not None and method == "GET":
        # The signature of a GET covers no body.
        raise InvalidRequestError(
            "GET has no body", field="json", hint="give params=, or another method"
        )
    query = "" if params is None else _query(params)
    target = f"{_path(path)}?{query}" if query else _path(path)
    if len(target) > MAX_URL_LENGTH:
        raise InvalidRequestError(
            f"path and params are longer than {MAX_URL_LENGTH} characters", field="path"
        )
    return Request(
        operation="request",
        method=method,
        path=target,
        effect=effect,
        headers=READ_HEADERS if json is None else WRITE_HEADERS,
        body=b"" if json is None else dump_body(json),
    )


def parse_request(response: Response, effect: Effect) -> object:
    """The envelope's `data`, whatever it is; ``None`` if there is none.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if there is no envelope.
    """
    return read_data(response, effect)


def _path(path: str) -> str:
    problem = _what_is_wrong(path)
    if problem is not None:
        # Not quoted: it may hold anything that was meant to be secret.
        raise InvalidRequestError(
            problem, field="path", hint='write it like "/api/v2/order/"'
        )
    return path


def _what_is_wrong(path: object) -> str | None:
    if not isinstance(path, str):
        return f"must be a text, not {type(path).__name__}"
    if "?" in path or "#" in path:
        return "has a query or a fragment; give params= for a query"
    if not path.startswith("/") or "//" in path:
        return "must begin with one slash, without a host, and have no two in a row"
    # So long that looking at it would take long.
    if len(path) > MAX_URL_LENGTH or not _PATH.fullmatch(path):
        return "is too long, or holds what has to be percent-encoded in a path"
    # RFC 3986, 5.2.4: these are taken out of a path, by some also when encoded.
    decoded = unquote(path)
    if {".", ".."} & set(decoded.split("/")) or not decoded.isprintable():
        return "has a . or .. between slashes, or an invisible character"
    return None


def _query(params: Params) -> str:
    given: Iterable[tuple[object, object]] = (
        cast("Mapping[object, object]", params).items()
        if isinstance(params, Mapping)
        else params
    )
    try:
        pairs = [(name, value) for name, value in given]
    except (TypeError, ValueError):
        raise InvalidRequestError(
            "must be a mapping, or pairs of a name and a value", field="params"
        ) from None
    return "&".join(_parameter(name, value) for name, value in pairs)


def _parameter(name: object, value: object) -> str:
    if not isinstance(name, str):
        kind = type(name).__name__
        raise InvalidRequestError(f"a name must be a text, not {kind}", field="params")
    place = f"params.{shown_name(name)}"
    return f"{_quoted(name, place)}={_quoted(_text(value, place), place)}"


def _text(value: object, place: str) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return dump_number(value, place)
    raise InvalidRequestError(
        f"must be a text, an int or a Decimal, not {type(value).__name__}",
        field=place,
        hint='write it as the platform wants it, as a text: "true", "0.5"',
    )


def _quoted(text: str, place: str) -> str:
    """A text percent-encoded; a blank as %20, which all readers take for one."""
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise InvalidRequestError("is not valid Unicode", field=place) from None
