"""Retry policy, retry budget, and the transport that retries.

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

from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, final

import attrs

from .._core.clock import wall_time_at
from .._core.events import AttemptEvent, error_and_outcome
from .._core.http import Effect, validate_seconds
from ..errors import (
    APIError,
    AurpayError,
    ConfigurationError,
    RateLimitedError,
    RequestOutcome,
    TransportError,
    shown,
)
from .auth import diagnose_clock
from .transport import LazyModule

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._api import envelope as _envelope
    from .._core.clock import Clock
    from .._core.events import Instrumentation
    from .._core.http import Request, Response, Timeouts, Transport
else:
    # `LazyTransport.open` has loaded it off the event loop.
    _envelope = LazyModule("aurpay_async._api.envelope")


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
        self._tokens = self.RESERVE

    def earn(self) -> None:
        """Add a token: a call begins."""
        self._tokens = min(self.CAPACITY, self._tokens + 1)

    def spend(self) -> bool:
        """Take a token for a retry; return whether there was one."""
        if not self._tokens:
            return False
        self._tokens -= 1
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


def _random() -> float:
    # Imported here: most calls never retry.
    import random

    return random.random()  # noqa: S311 - spreads load, guards nothing


@final
class RetryingTransport:
    """Raise error responses as exceptions, and retry as `_retry` decides."""

    def __init__(
        self,
        inner: Transport,
        *,
        policy: RetryPolicy,
        budget: RetryBudget,
        timeouts: Timeouts,
        clock: Clock,
        instrumentation: Instrumentation,
        jitter: Callable[[], float] = _random,
    ) -> None:
        self._inner = inner
        self._policy = policy
        self._budget = budget
        self._timeouts = timeouts
        self._clock = clock
        self._instrumentation = instrumentation
        self._jitter = jitter

    @property
    def attempt_s(self) -> float:
        """Seconds that one attempt may take."""
        return self._timeouts.attempt

    @property
    def call_s(self) -> float:
        """Seconds that all attempts and the pauses between them may take."""
        return self._timeouts.call

    def with_options(
        self,
        timeouts: Timeouts | None = None,
        policy: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
    ) -> RetryingTransport:
        """Return a copy with other options on the same connections."""
        return RetryingTransport(
            self._inner,
            policy=policy or self._policy,
            budget=budget or self._budget,
            timeouts=timeouts or self._timeouts,
            clock=self._clock,
            instrumentation=self._instrumentation,
            jitter=self._jitter,
        )

    async def send(self, request: Request) -> Response:
        """Send until an attempt succeeds, or must not be repeated.

        Raises:
            AurpayError: the error of the last attempt, with `attempts`, `sent_at` and
                `retryable` filled in.
        """
        self._budget.earn()
        began = self._clock.monotonic()
        deadline = began + self._timeouts.call
        for attempt in count(1):
            timeout = min(self._timeouts.attempt, deadline - began)
            # Until the transport knows more.
            request.progress.outcome = RequestOutcome.UNKNOWN
            try:
                response = await self._inner.send(
                    request.with_timeouts(timeout, self._timeouts.connect)
                )
                if not 200 <= response.status < 300:
                    self._raise_status(request, response)
            except AurpayError as error:
                pause = self._next_pause(request, error, attempt, began, deadline)
                if pause is None:
                    raise
                failure = error
            except BaseException as interruption:
                self._report(request, attempt, began, interruption)
                raise
            else:
                if self._instrumentation.wants_attempts():
                    self._report(request, attempt, began, response)
                if attempt == 1:
                    return response
                return response.with_attempts(attempt, wall_time_at(self._clock, began))
            await self._clock.sleep(pause)
            began = self._clock.monotonic()
            if began >= deadline:  # the event loop was blocked
                raise failure
            del failure  # its traceback references this frame
        raise AssertionError  # unreachable: count() does not end

    def _raise_status(self, request: Request, response: Response) -> NoReturn:
        now = self._clock.now()
        error = _envelope.status_error(response, request.effect, now)
        diagnose_clock(error, request, response, now)
        raise error

    def _next_pause(
        self,
        request: Request,
        error: AurpayError,
        attempt: int,
        began: float,
        deadline: float,
    ) -> float | None:
        """Complete `error`; return the delay before the next attempt, or None."""
        error.attempts = attempt
        error.retryable = is_retryable(error, request.effect)
        if error.outcome is not RequestOutcome.NOT_SENT:
            error.sent_at = wall_time_at(self._clock, began)
        request.progress.outcome = error.outcome
        decision = self._plan_retry(error, attempt, deadline)
        self._report(request, attempt, began, error, decision)
        return decision.pause

    def _plan_retry(
        self, error: AurpayError, attempt: int, deadline: float
    ) -> RetryDecision:
        return plan_retry(
            self._policy,
            self._budget,
            error,
            attempt=attempt,
            remaining=deadline - self._clock.monotonic(),
            jitter=self._jitter(),
        )

    def _report(
        self,
        request: Request,
        attempt: int,
        began: float,
        result: Response | BaseException,
        decision: RetryDecision | None = None,
    ) -> None:
        error, outcome = error_and_outcome(result, request.progress)
        self._instrumentation.emit(
            AttemptEvent(
                operation=request.operation,
                effect=request.effect,
                attempt=attempt,
                duration_s=self._clock.monotonic() - began,
                status=getattr(result, "status", None),
                error=error,
                outcome=outcome,
                retry_in_s=decision.pause if decision else None,
                reason=decision.reason if decision else error or "answered",
                reference=request.reference,
                order_id=request.order_id,
                attempt_id=request.attempt_id,
            )
        )
