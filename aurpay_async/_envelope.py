"""The envelope of every answer: what the platform says of a request, or fails to say.

``{"code": 0, "message": "ok", "data": {...}, "result": true}`` is the truth, whatever
the HTTP status and the content type say. Where it is broken, a second, lenient look
tells whether an order was made all the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from ._converter import SchemaError, as_object, lenient_order_id, load_object
from ._http import Effect
from ._retry import outcome_of_status, parse_retry_after
from ._urls import without_query
from .errors import (
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

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ._http import Response

_ERRORS: Final[dict[int, type[APIError]]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitedError,
}

#: A whole one: an id that a cut answer ends in is no id.
_ORDER_ID = re.compile(
    rb'"order_id"\s*:\s*(?:"([0-9A-Za-z_-]{1,64})"|([0-9]{1,64})(?=[\s,}]))'
)


def status_error(response: Response, effect: Effect, now: datetime) -> APIError:
    """The error that an HTTP status other than one of success means.

    What the body says is the stronger sign, to who creates something or moves money:
    an order in it, or a yes, may be true, for a gateway may have put its own status on
    an answer that came through.
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
        f"HTTP {status}" + _described(message) + _redirect(response),
        status=status,
        outcome=RequestOutcome.UNKNOWN if is_done else outcome_of_status(status),
        platform_code=_code_of(envelope),
        platform_message=message,
        retry_after=parse_retry_after(retry_after, now) if retry_after else None,
        body=response.body,
    )
    error.order_id = evidence.order_id
    return error


def read_envelope(response: Response, effect: Effect) -> dict[str, object]:
    """The `data` of an answer with a status of success, which is an object.

    Raises:
        APIError: if the envelope says no. A refusal to create an order that names one
            contradicts itself; of any other request, it may.
        InvalidResponseError: if there is no envelope, it contradicts itself, or there
            is no object in it.
    """
    data = as_object(read_data(response, effect))
    if data is None:
        raise invalid(response, "data is no JSON object", "data")
    return data


def read_data(response: Response, effect: Effect) -> object:
    """As `read_envelope`, for data of any kind; ``None`` if there is none."""
    if response.body_error is not None:
        raise invalid(response, f"the answer {response.body_error}")
    try:
        envelope = load_object(response.body)
    except SchemaError as error:
        raise invalid(response, str(error)) from None
    code, result = envelope.get("code"), envelope.get("result", True)
    # `bool` is an `int` to Python, and `true` is no code.
    if type(code) is not int:
        raise invalid(response, "code is not a whole number", "code")
    if code:
        raise _refusal(response, envelope, code, effect)
    if type(result) is not bool:
        raise invalid(response, "result is neither true nor false", "result")
    if not result:
        raise invalid(response, "code is 0, but result is false", "code", "result")
    return envelope.get("data")


class OrderEvidence(NamedTuple):
    """What an answer that cannot be taken still says of an order."""

    may_exist: bool
    order_id: str | None


_NO_EVIDENCE: Final = OrderEvidence(may_exist=False, order_id=None)


def order_evidence(body: bytes) -> OrderEvidence:
    """A second, lenient look at an answer: was an order made, and which?"""
    return _evidence_in(_lenient_envelope(body), body)


def _evidence_in(envelope: Mapping[str, object], body: bytes) -> OrderEvidence:
    named = (as_object(envelope.get("data")) or {}).get("order_id")
    if named is not None:
        return OrderEvidence(may_exist=True, order_id=lenient_order_id(named))
    # Elsewhere, or in what is no JSON. Of several, none can be told to be the one.
    found = {match[1] or match[2] for match in _ORDER_ID.finditer(body)}
    only = next(iter(found)).decode("ascii") if len(found) == 1 else None
    return OrderEvidence(may_exist=bool(found), order_id=only)


def _reports_success(envelope: Mapping[str, object]) -> bool:
    """Whether a body says that what was asked for is done."""
    # The documented answer to a refund has no envelope.
    return _code_of(envelope) == 0 or "refund_status" in envelope


def _refusal(
    response: Response, envelope: dict[str, object], code: int, effect: Effect
) -> APIError | InvalidResponseError:
    creates = effect is Effect.CREATE
    if creates and _evidence_in(envelope, response.body).may_exist:
        return invalid(response, f"code is {code}, but there is an order", "code")
    message = _message_of(envelope)
    return _ERRORS.get(code, APIError)(
        f"the platform refused with code {code}" + _described(message),
        status=response.status,
        outcome=RequestOutcome.REJECTED,
        platform_code=code,
        platform_message=message,
        body=response.body,
    )


def invalid(response: Response, problem: str, *paths: str) -> InvalidResponseError:
    """The error for an answer that is not the documented shape."""
    return InvalidResponseError(
        problem,
        status=response.status,
        body=response.body,
        paths=paths,
        order_id=order_evidence(response.body).order_id,
    )


def _error_class(status: int) -> type[APIError]:
    return ServerError if status >= 500 else _ERRORS.get(status, APIError)


def _lenient_envelope(body: bytes) -> Mapping[str, object]:
    try:
        return load_object(body)
    except SchemaError:
        return {}


def _message_of(envelope: Mapping[str, object]) -> str | None:
    # Aurpay's own plugins have met `msg` as well.
    for name in ("message", "msg"):
        message = envelope.get(name)
        if isinstance(message, str):
            return message
    return None


def _code_of(envelope: Mapping[str, object]) -> int | None:
    code = envelope.get("code")
    return code if type(code) is int else None


def _described(message: str | None) -> str:
    return f": {shown(message)}" if message else ""


def _redirect(response: Response) -> str:
    target = response.headers.get("location")
    if not target or not 300 <= response.status < 400:
        return ""
    # Without its query, which may carry anything.
    return f", not followed, to {shown(without_query(target))}"
