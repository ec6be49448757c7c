"""Requests to any endpoint, for those that this package has no method for.

Path and query are signed, so they are sent exactly as built here. A path or a query
that a server, a proxy or a library might read differently is rejected, not repaired.
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
from ._json_body import dump_body, dump_number, shown_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._http import Response

    #: One value of a query. A float is rejected: it can be written in several ways.
    Value = str | int | Decimal
    Params = Mapping[str, Value] | Sequence[tuple[str, Value]]

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
_METHODS: Final[tuple[str, ...]] = get_args(Method)

#: RFC 3986, 3.3: segments of pchar. Only the last one may be empty.
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
    """Build a request to any endpoint.

    Raises:
        InvalidRequestError: naming the argument, with a hint.
    """
    if method not in _METHODS:
        raise InvalidRequestError(
            f"must be one of {', '.join(_METHODS)}, got {shown(method)}", field="method"
        )
    if not isinstance(effect, Effect):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidRequestError(
            f"must be Effect.READ, CREATE or TRANSFER, got {shown(effect)}",
            field="effect",
        )
    if json is not None and method == "GET":
        # The signature of a GET does not cover a body.
        raise InvalidRequestError(
            "GET has no body", field="json", hint="pass params= or use another method"
        )
    query = "" if params is None else _build_query(params)
    target = f"{_require_path(path)}?{query}" if query else _require_path(path)
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
    """Return the envelope's `data`, of any type; ``None`` if it is missing.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response has no envelope.
    """
    return read_data(response, effect)


def _require_path(path: str) -> str:
    problem = _path_problem(path)
    if problem is not None:
        # The message does not quote the path, which may contain a secret.
        raise InvalidRequestError(
            problem, field="path", hint='write it like "/api/v2/order/"'
        )
    return path


def _path_problem(path: object) -> str | None:
    if not isinstance(path, str):
        return f"must be a str, not {type(path).__name__}"
    if "?" in path or "#" in path:
        return "has a query or a fragment; pass params= for a query"
    if not path.startswith("/") or "//" in path:
        return "must begin with one slash, without a host, and must not contain //"
    # The length is checked first to bound the time of the match.
    if len(path) > MAX_URL_LENGTH or not _PATH.fullmatch(path):
        return "is too long, or contains characters that must be percent-encoded"
    # RFC 3986, 5.2.4: servers remove these from a path, some also if encoded.
    decoded = unquote(path)
    if {".", ".."} & set(decoded.split("/")) or not decoded.isprintable():
        return "has a . or .. between slashes, or an invisible character"
    return None


def _build_query(params: Params) -> str:
    given: Iterable[tuple[object, object]] = (
        cast("Mapping[object, object]", params).items()
        if isinstance(params, Mapping)
        else params
    )
    try:
        pairs = [(name, value) for name, value in given]
    except (TypeError, ValueError):
        raise InvalidRequestError(
            "must be a mapping or pairs of a name and a value", field="params"
        ) from None
    return "&".join(_parameter(name, value) for name, value in pairs)


def _parameter(name: object, value: object) -> str:
    if not isinstance(name, str):
        kind = type(name).__name__
        raise InvalidRequestError(f"a name must be a str, not {kind}", field="params")
    place = f"params.{shown_key(name)}"
    written = _query_value(value, place)
    return f"{_quote_component(name, place)}={_quote_component(written, place)}"


def _query_value(value: object, place: str) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return dump_number(value, place)
    raise InvalidRequestError(
        f"must be a str, an int or a Decimal, not {type(value).__name__}",
        field=place,
        hint='write it as a str in the form that Aurpay expects: "true", "0.5"',
    )


def _quote_component(value: str, place: str) -> str:
    """Percent-encode a string; a blank becomes %20, which all servers decode."""
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise InvalidRequestError("is not valid Unicode", field=place) from None
