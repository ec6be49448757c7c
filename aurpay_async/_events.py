"""What happened, as frozen records handed to a hook.

The fields are an allow-list: no header value, key, token, signature, query or body
is ever in one. References, order ids and attempt ids are no secrets.
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
    """One attempt at a request has ended.

    .. versionadded:: 0.1.0
    """

    #: The method of the client, such as ``create_order``.
    operation: str
    #: What a repetition would do: after a failure, only a write may have happened.
    effect: Effect
    #: 1 for the first.
    attempt: int
    duration_s: float
    #: The HTTP status, if an answer came.
    status: int | None
    #: ``code`` of the error, ``cancelled``, or ``foreign`` (a transport of your own
    #: raised what is no error of ours); ``None`` for an answer.
    error: str | None
    #: How far it got, if it failed or was cancelled.
    outcome: RequestOutcome | None
    #: Seconds until the next attempt; ``None`` if there will be none.
    retry_in_s: float | None
    #: Why there will be, or will not be, another attempt.
    reason: str
    #: What the call is about: your name for what is paid, Aurpay's id of the order, and
    #: the attempt_id of the order that is to be created; ``None`` where there is none.
    reference: str | None = None
    order_id: str | None = None
    attempt_id: str | None = None


@attrs.frozen(kw_only=True)
class CallEvent:
    """A call of the client has ended.

    .. versionadded:: 0.1.0
    """

    operation: str
    #: What a repetition would do: after a failure, only a write may have happened.
    effect: Effect
    #: How many attempts were made; ``None`` if the call was cancelled.
    attempts: int | None
    duration_s: float
    #: ``code`` of the error that the caller got, ``cancelled`` or ``foreign``.
    error: str | None
    #: How far it got, if it failed or was cancelled.
    outcome: RequestOutcome | None
    #: Fields of the answer that this version does not know. A sign that the API grew.
    unknown_fields: int
    #: What the call is about: your name for what is paid, Aurpay's id of the order, and
    #: the attempt_id of the order that is to be created; ``None`` where there is none.
    reference: str | None = None
    order_id: str | None = None
    attempt_id: str | None = None


Event = AttemptEvent | CallEvent


def error_and_outcome(
    result: object, progress: Progress
) -> tuple[str | None, RequestOutcome | None]:
    """Return the code and the outcome that an event reports for an result."""
    if isinstance(result, AurpayError):
        return result.code, result.outcome
    if isinstance(result, BaseException):
        code = "foreign" if isinstance(result, Exception) else "cancelled"
        return code, progress.outcome
    return None, None
