"""When to try again, and how long to wait: arithmetic without waiting.

The outcome rule of a request that writes decides everything here: it is sent again
only after an answer or a failure that proves that nothing was made; what moves money,
only if it was not sent.

=========================================  =======  ==============  ==============
failure                                    READ     CREATE          MONEY
=========================================  =======  ==============  ==============
not sent                                   retry    retry           retry
429                                        retry    retry           raise
408, 425, 5xx, reset, timeout, cut answer  retry    raise, UNKNOWN  raise, UNKNOWN
other 4xx, envelope error, certificate     raise    raise           raise
=========================================  =======  ==============  ==============
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from ._http import Effect, parse_http_date, validate_seconds
from .errors import (
    APIError,
    ConfigurationError,
    RateLimitedError,
    RequestOutcome,
    TransportError,
    shown,
)

if TYPE_CHECKING:
    from datetime import datetime

    from .errors import AurpayError

#: A server that answers so did not do what was asked.
_REFUSING_5XX: Final = frozenset({501, 505, 511})
#: Timeout, conflict, too early: these 4xx say nothing about what was done.
_UNKNOWN_4XX: Final = frozenset({408, 409, 425})
#: 303 sends to the result of what was done.
_SEE_OTHER: Final = 303

#: Digits of a Retry-After; longer ones are no number of seconds.
_MAX_DIGITS: Final = 64


def outcome_of_status(status: int) -> RequestOutcome:
    """What an HTTP status other than success says about a request that writes."""
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


def is_retryable(error: AurpayError, effect: Effect) -> bool:
    """Whether the very same request may be sent again (the table above)."""
    if isinstance(error, TransportError) and error.final:
        return False
    if error.outcome is RequestOutcome.NOT_SENT:
        return isinstance(error, TransportError)
    if isinstance(error, RateLimitedError) and error.outcome is RequestOutcome.REJECTED:
        return effect is not Effect.TRANSFER
    if effect is not Effect.READ:
        return False
    if isinstance(error, APIError):
        return error.outcome is RequestOutcome.UNKNOWN and error.status != 409
    return isinstance(error, TransportError)


def parse_retry_after(text: str, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for; ``None`` for garbage.

    RFC 9110, 10.2.3 and 5.6.7: a number of seconds, or a date in any of three forms.
    """
    if text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS:
        return float(text)
    date = parse_http_date(text)
    return None if date is None else max(0.0, (date - now).total_seconds())


def _validate_count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not int or value < 1:
        raise ConfigurationError(
            f"RetryPolicy({attribute.name}=...) must be a whole number, 1 or more, "
            f"for example {attribute.name}={attribute.default}; got {shown(value)}"
        )


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often to try, and how long to wait between.

    The wait before attempt *n* + 1 is random between 0 and ``base * 2**(n - 1)``
    seconds, at most `cap` ("full jitter"), and never less than the platform's
    Retry-After. What may be tried again at all is not a matter of policy.

    .. versionadded:: 0.1.0
    """

    #: The first one included; 1 turns retries off.
    max_attempts: int = attrs.field(default=4, validator=_validate_count)
    #: Seconds.
    base: float = attrs.field(default=0.25, validator=validate_seconds)
    #: Seconds.
    cap: float = attrs.field(default=8.0, validator=validate_seconds)

    def backoff(self, attempt: int, jitter: float) -> float:
        """Seconds to wait after that many attempts; `jitter` is from 0 to 1."""
        # 2**attempt is bounded first: policies of a million attempts are allowed.
        return jitter * min(self.cap, self.base * 2.0 ** min(attempt - 1, 64))


class RetryBudget:
    """Bounds the retries of a whole client: each call earns one, each retry takes one.

    So a platform that refuses everything sees about twice the calls that were made,
    however many are in flight, and not `max_attempts` times as many.
    """

    #: What a new client may spend at once.
    RESERVE: Final = 10
    #: What a long healthy time may save up.
    CAPACITY: Final = 100

    def __init__(self) -> None:
        self._tokens = self.RESERVE

    def earn(self) -> None:
        """A call begins."""
        self._tokens = min(self.CAPACITY, self._tokens + 1)

    def spend(self) -> bool:
        """Take one retry, if there is one left."""
        if not self._tokens:
            return False
        self._tokens -= 1
        return True


class RetryDecision(NamedTuple):
    """Whether to try again."""

    #: Seconds to wait first; ``None`` to give up.
    pause: float | None
    reason: str


def plan_retry(
    policy: RetryPolicy,
    budget: RetryBudget,
    error: AurpayError,
    *,
    attempt: int,
    remaining: float,
    jitter: float,
) -> RetryDecision:
    """Whether to try again after `error`, which is marked retryable or not.

    Args:
        policy: How often and how long.
        budget: Is charged if the answer is yes.
        error: What the last attempt ended with.
        attempt: Its number.
        remaining: Seconds until the call must have ended.
        jitter: A random number from 0 to 1.
    """
    if not error.retryable:
        return RetryDecision(None, "must not be repeated")
    if attempt >= policy.max_attempts:
        return RetryDecision(None, "attempts used up")
    asked = error.retry_after if isinstance(error, APIError) else None
    pause = max(asked or 0.0, policy.backoff(attempt, jitter))
    if pause >= remaining:
        return RetryDecision(None, "no time left")
    if not budget.spend():
        return RetryDecision(None, "retry budget used up")
    return RetryDecision(pause, "retry-after" if asked else "backoff")
