"""Event records for the hook, the logger and OpenTelemetry.

The fields are an allow-list: an event never contains a header value, key, token,
signature, query or body. References, order ids and attempt ids are not secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .errors import AurpayError

if TYPE_CHECKING:
    from ._http import Effect, Progress
    from .errors import RequestOutcome


@attrs.frozen(kw_only=True)
class AttemptEvent:
    """An attempt to send a request has ended."""

    #: The method of the client, such as ``create_order``.
    operation: str
    #: Effect of a repeated request: a failed READ has changed nothing at Aurpay.
    effect: Effect
    #: Number of the attempt, from 1.
    attempt: int
    duration_s: float
    #: The HTTP status, if a response was received.
    status: int | None
    #: ``code`` of the error, ``cancelled``, or ``foreign`` (a custom transport raised
    #: an exception that is not an `AurpayError`); ``None`` for a response.
    error: str | None
    #: Outcome of the request, if it failed or was cancelled.
    outcome: RequestOutcome | None
    #: Seconds until the next attempt; ``None`` if there is none.
    retry_in_s: float | None
    #: Why the request is retried, or not.
    reason: str
    #: The merchant's reference, Aurpay's id of the order, and the attempt_id of the
    #: order to be created; ``None`` where there is none.
    reference: str | None = None
    order_id: str | None = None
    attempt_id: str | None = None


@attrs.frozen(kw_only=True)
class CallEvent:
    """A call of a client method has ended."""

    operation: str
    #: Effect of a repeated request: a failed READ has changed nothing at Aurpay.
    effect: Effect
    #: Number of attempts; ``None`` if the call was cancelled.
    attempts: int | None
    duration_s: float
    #: ``code`` of the error that was raised, ``cancelled`` or ``foreign``.
    error: str | None
    #: Outcome of the request, if it failed or was cancelled.
    outcome: RequestOutcome | None
    #: Number of fields in the response that this version does not know.
    unknown_fields: int
    #: The merchant's reference, Aurpay's id of the order, and the attempt_id of the
    #: order to be created; ``None`` where there is none.
    reference: str | None = None
    order_id: str | None = None
    attempt_id: str | None = None


Event = AttemptEvent | CallEvent


def error_and_outcome(
    result: object, progress: Progress
) -> tuple[str | None, RequestOutcome | None]:
    """Return the error code and the outcome that an event reports for a result."""
    if isinstance(result, AurpayError):
        return result.code, result.outcome
    if isinstance(result, BaseException):
        code = "foreign" if isinstance(result, Exception) else "cancelled"
        return code, progress.outcome
    return None, None
