"""What happened, as frozen records handed to a hook.

The fields are an allow-list: no header value, key, token, signature, query or body
is ever in one. References, order ids and attempt ids are no secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .errors import AurpayError

if TYPE_CHECKING:
    from ._http import Progress, Safety
    from .errors import Delivery


@attrs.frozen(kw_only=True)
class AttemptEvent:
    """One attempt at a request has ended.

    .. versionadded:: 0.1.0
    """

    #: The method of the client, such as ``create_order``.
    operation: str
    #: What a repetition would do: after a failure, only a write may have happened.
    safety: Safety
    #: 1 for the first.
    attempt: int
    duration_s: float
    #: The HTTP status, if an answer came.
    status: int | None
    #: ``code`` of the error, ``cancelled``, or ``foreign`` (a transport of your own
    #: raised what is no error of ours); ``None`` for an answer.
    error: str | None
    #: How far it got, if it failed or was cancelled.
    delivery: Delivery | None
    #: Seconds until the next attempt; ``None`` if there will be none.
    retry_in_s: float | None
    #: Why there will be, or will not be, another attempt.
    reason: str
    #: What the call is about: your name for what is paid, Aurpay's id of the order, and
    #: the nonce of the order that is to be created; ``None`` where there is none.
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
    safety: Safety
    #: How many attempts were made; ``None`` if the call was cancelled.
    attempts: int | None
    duration_s: float
    #: ``code`` of the error that the caller got, ``cancelled`` or ``foreign``.
    error: str | None
    #: How far it got, if it failed or was cancelled.
    delivery: Delivery | None
    #: Fields of the answer that this version does not know. A sign that the API grew.
    unknown_fields: int
    #: What the call is about: your name for what is paid, Aurpay's id of the order, and
    #: the nonce of the order that is to be created; ``None`` where there is none.
    reference: str | None = None
    order_id: str | None = None
    attempt_id: str | None = None


Event = AttemptEvent | CallEvent


def failure_of(
    outcome: object, progress: Progress
) -> tuple[str | None, Delivery | None]:
    """Return the code and the delivery that an event reports for an outcome."""
    if isinstance(outcome, AurpayError):
        return outcome.code, outcome.delivery
    if isinstance(outcome, BaseException):
        code = "foreign" if isinstance(outcome, Exception) else "cancelled"
        return code, progress.delivery
    return None, None
