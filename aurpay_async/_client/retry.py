"""Retry policy, retry budget, the rate of polls, and the decision to retry.

A request that creates something is retried only after a failure that proves that
nothing was created, and one that transfers money only if it was not sent.

===========================================  =======  ==============  ==============
failure                                      READ     CREATE          TRANSFER
===========================================  =======  ==============  ==============
not sent                                     retry    retry           retry
429                                          retry    retry           raise
408, 425, 5xx, reset, timeout, cut response  retry    raise, UNKNOWN  raise, UNKNOWN
other 4xx, envelope error, certificate       raise    raise           raise
===========================================  =======  ==============  ==============
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

import attrs

from .._core.http import Effect, validate_seconds
from ..errors import (
    APIError,
    ConfigurationError,
    RateLimitedError,
    RequestOutcome,
    TransportError,
    shown,
)

if TYPE_CHECKING:
    from .._core.clock import Clock
    from ..errors import AurpayError


def is_retryable(error: AurpayError, effect: Effect) -> bool:
    """Return whether the same request may be retried (the table above)."""
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


def _validate_count(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not int or value < 1:
        raise ConfigurationError(
            f"RetryPolicy({attribute.name}=...) must be a whole number, 1 or more, "
            f"for example {attribute.name}={attribute.default}; got {shown(value)}"
        )


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """The number of attempts and the backoff between them.

    Exponential backoff with full jitter: the wait before attempt *n* + 1 is random
    between 0 and ``base * 2**(n - 1)`` seconds, at most `cap`, and at least Aurpay's
    Retry-After. Which requests are retried at all cannot be configured.
    """

    #: Attempts, the first one included; 1 disables retries.
    max_attempts: int = attrs.field(default=4, validator=_validate_count)
    #: Upper bound of the first wait, in seconds.
    base: float = attrs.field(default=0.25, validator=validate_seconds)
    #: Upper bound of every wait, in seconds.
    cap: float = attrs.field(default=8.0, validator=validate_seconds)

    def backoff(self, attempt: int, jitter: float) -> float:
        """Return the seconds to wait after an attempt; `jitter` is from 0 to 1."""
        # 2**attempt is bounded first: a policy may allow a million attempts.
        return jitter * min(self.cap, self.base * 2.0 ** min(attempt - 1, 64))


class RetryBudget:
    """The retry budget of a client: each call adds a token, each retry takes one.

    While Aurpay is down, a client sends about twice as many requests as it has calls,
    instead of `max_attempts` times as many.
    """

    #: Tokens of a new client.
    RESERVE: Final = 10
    #: Maximum number of tokens.
    CAPACITY: Final = 100

    def __init__(self) -> None:
        #: A call adds one, at most `CAPACITY`.
        self.tokens = self.RESERVE

    def spend(self) -> bool:
        """Take a token for a retry; return whether there was one."""
        if not self.tokens:
            return False
        self.tokens -= 1
        return True


class RetryDecision(NamedTuple):
    """The decision to retry or not."""

    #: Seconds to wait before the retry; ``None`` for no retry.
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
    """Decide whether to retry after `error`, and after how many seconds.

    Args:
        policy: Attempts and backoff.
        budget: Pays for the retry.
        error: The error of the last attempt, with `retryable` set.
        attempt: The number of the last attempt.
        remaining: Seconds until the deadline of the call.
        jitter: A random number from 0 to 1.
    """
    if not error.retryable:
        return RetryDecision(None, "not retryable")
    if attempt >= policy.max_attempts:
        return RetryDecision(None, "max_attempts reached")
    retry_after = error.retry_after if isinstance(error, APIError) else None
    pause = max(retry_after or 0.0, policy.backoff(attempt, jitter))
    if pause >= remaining:
        return RetryDecision(None, "deadline reached")
    if not budget.spend():
        return RetryDecision(None, "retry budget exhausted")
    return RetryDecision(pause, "retry-after" if retry_after else "backoff")


@final
class Pace:
    """A limit of requests per second; a second's worth of them may be sent at once."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._clock = clock
        self._interval_s = 1 / per_second
        self._burst_s = max(1.0, self._interval_s)
        #: When all requests so far would have been sent one by one.
        self._booked_until = 0.0

    def book(self) -> float:
        """Book a request; return the seconds until it may be sent."""
        now = self._clock.monotonic()
        self._booked_until = max(self._booked_until, now) + self._interval_s
        return max(0.0, self._booked_until - self._burst_s - now)

    async def wait(self) -> None:
        """Wait until a request may be sent."""
        pause_s = self.book()
        if pause_s:
            await self._clock.sleep(pause_s)

    def pause(self, seconds: float) -> None:
        """Let no request be sent for a number of seconds."""
        until = self._clock.monotonic() + seconds + self._burst_s - self._interval_s
        self._booked_until = max(self._booked_until, until)


@final
class PollingBudget(RetryBudget):
    """The retry budget of the polls; a retry counts in their pace as well."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def spend(self) -> bool:
        may_retry = super().spend()
        if may_retry:
            self._pace.book()
        return may_retry
