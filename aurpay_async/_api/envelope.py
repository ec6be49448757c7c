"""Errors for responses: a status, an envelope that rejects, and a broken one.

``{"code": 0, "message": "ok", "data": {...}, "result": true}`` decides, not the HTTP
status and not the content type. If the envelope is broken, a lenient search of the body
tells whether an order was created.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from .._core.http import Effect, parse_http_date
from .._core.json import SchemaError, as_object, load_object
from .._core.urls import without_query
from ..errors import (
    APIError,
    AuthenticationError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RequestOutcome,
    ServerError,
    shown,
)
from .wire import lenient_order_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .._core.http import Response


#: A server that sends one of these has not processed the request.
_REFUSING_5XX: Final = frozenset({501, 505, 511})

#: Timeout, conflict, too early: the request may have been processed.
_UNKNOWN_4XX: Final = frozenset({408, 409, 425})

#: 303 redirects to the result of the processed request.
_SEE_OTHER: Final = 303

#: Digits of a Retry-After; a longer value is ignored.
_MAX_DIGITS: Final = 64


def outcome_of_status(status: int) -> RequestOutcome:
    """Return the outcome of a CREATE or TRANSFER for an HTTP status other than 2xx."""
    if 300 <= status < 400:
        return (
            RequestOutcome.UNKNOWN if status == _SEE_OTHER else RequestOutcome.REJECTED
        )
    if 400 <= status < 500:
        return (
            RequestOutcome.UNKNOWN
            if status in _UNKNOWN_4XX
            else RequestOutcome.REJECTED
        )
    return (
        RequestOutcome.REJECTED if status in _REFUSING_5XX else RequestOutcome.UNKNOWN
    )


def parse_retry_after(text: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header; ``None`` if it is invalid.

    RFC 9110, 10.2.3 and 5.6.7: a number of seconds, or a date in any of three forms.
    """
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        return float(text)
    date = parse_http_date(text)
    return None if date is None else max(0.0, (date - now).total_seconds())


_ERROR_BY_CODE: Final[dict[int, type[APIError]]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitedError,
}

#: A complete order id: an id at the end of a truncated body does not count.
_ORDER_ID = re.compile(
    rb'"order_id"\s*:\s*(?:"([0-9A-Za-z_-]{1,64})"|([0-9]{1,64})(?=[\s,}]))'
)


def status_error(response: Response, effect: Effect, now: datetime) -> APIError:
    """Return the error for an HTTP status other than success.

    For a request that creates an order or transfers money, the body has precedence: an
    order or a success in it may be true, because a gateway may have replaced the status
    of a response that was passed on.
    """
    status = response.status
    envelope = _lenient_envelope(response.body)
    creates = effect is Effect.CREATE
    evidence = _evidence_in(envelope, response.body) if creates else _NO_EVIDENCE
    is_done = evidence.may_exist or (
        effect is not Effect.READ and _reports_success(envelope)
    )
    message = _message_of(envelope)
    retry_after = response.headers.get("retry-after")
    error = _error_class(status)(
        f"HTTP {status}" + _message_suffix(message) + _redirect_suffix(response),
        status=status,
        outcome=RequestOutcome.UNKNOWN if is_done else outcome_of_status(status),
        platform_code=_code_of(envelope),
        platform_message=message,
        retry_after=parse_retry_after(retry_after, now) if retry_after else None,
        body=response.body,
    )
    error.order_id = evidence.order_id
    return error


class OrderEvidence(NamedTuple):
    """The sign of an order in a response that cannot be parsed."""

    may_exist: bool
    order_id: str | None


_NO_EVIDENCE: Final = OrderEvidence(may_exist=False, order_id=None)


def order_evidence(body: bytes) -> OrderEvidence:
    """Search a body leniently for an order that may have been created."""
    return _evidence_in(_lenient_envelope(body), body)


def _evidence_in(envelope: Mapping[str, object], body: bytes) -> OrderEvidence:
    named = (as_object(envelope.get("data")) or {}).get("order_id")
    if named is not None:
        return OrderEvidence(may_exist=True, order_id=lenient_order_id(named))
    # The id may be in another place, or the body is not JSON. If there are several, it
    # cannot be decided which one is the order.
    found = {match[1] or match[2] for match in _ORDER_ID.finditer(body)}
    only = next(iter(found)).decode("ascii") if len(found) == 1 else None
    return OrderEvidence(may_exist=bool(found), order_id=only)


def _reports_success(envelope: Mapping[str, object]) -> bool:
    # The documented response to a refund has no envelope.
    return _code_of(envelope) == 0 or "refund_status" in envelope


def rejection(
    response: Response, envelope: Mapping[str, object], code: int, effect: Effect
) -> APIError | InvalidResponseError:
    """Return the error for an envelope with a code other than 0."""
    creates = effect is Effect.CREATE
    if creates and _evidence_in(envelope, response.body).may_exist:
        return invalid(response, f"code is {code}, but there is an order", "code")
    message = _message_of(envelope)
    return _ERROR_BY_CODE.get(code, APIError)(
        f"Aurpay rejected the request with code {code}" + _message_suffix(message),
        status=response.status,
        outcome=RequestOutcome.REJECTED,
        platform_code=code,
        platform_message=message,
        body=response.body,
    )


def invalid(response: Response, problem: str, *paths: str) -> InvalidResponseError:
    """Return the error for a response that does not have the documented shape."""
    return InvalidResponseError(
        problem,
        status=response.status,
        body=response.body,
        paths=paths,
        order_id=order_evidence(response.body).order_id,
    )


def _error_class(status: int) -> type[APIError]:
    return ServerError if status >= 500 else _ERROR_BY_CODE.get(status, APIError)


def _lenient_envelope(body: bytes) -> Mapping[str, object]:
    try:
        return load_object(body)
    except SchemaError:
        return {}


def _message_of(envelope: Mapping[str, object]) -> str | None:
    # Aurpay's own plugins also read `msg`.
    for name in ("message", "msg"):
        message = envelope.get(name)
        if isinstance(message, str):
            return message
    return None


def _code_of(envelope: Mapping[str, object]) -> int | None:
    code = envelope.get("code")
    return code if type(code) is int else None


def _message_suffix(message: str | None) -> str:
    return f": {shown(message)}" if message else ""


def _redirect_suffix(response: Response) -> str:
    target = response.headers.get("location")
    if not target or not 300 <= response.status < 400:
        return ""
    # The query is left out: it may contain a token.
    return f", not followed, to {shown(without_query(target))}"
