"""Retry requests where that is safe, within one deadline, and emit events."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, final

from .._clock import wall_time_at
from .._events import AttemptEvent, error_and_outcome
from .._retry import is_retryable, plan_retry
from .._skew import diagnose_clock
from ..errors import AurpayError, RequestOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._clock import Clock
    from .._http import Request, Response, Timeouts
    from .._listeners import Instrumentation
    from .._retry import RetryBudget, RetryDecision, RetryPolicy
    from ._base import Transport


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
        self, timeouts: Timeouts | None, policy: RetryPolicy | None
    ) -> RetryingTransport:
        """Return a copy with other options on the same connections and budget."""
        return RetryingTransport(
            self._inner,
            policy=policy or self._policy,
            budget=self._budget,
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
        deadline = self._clock.monotonic() + self._timeouts.call
        self._budget.earn()
        for attempt in count(1):
            began = self._clock.monotonic()
            try:
                response = await self._send_once(request, deadline - began)
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
            if self._clock.monotonic() >= deadline:  # the event loop was blocked
                raise failure
            del failure  # its traceback references this frame
        raise AssertionError  # unreachable: count() does not end

    async def _send_once(self, request: Request, remaining: float) -> Response:
        timeout = min(self._timeouts.attempt, remaining)
        limited = request.with_timeouts(timeout, self._timeouts.connect)
        # Until the transport knows more.
        request.progress.outcome = RequestOutcome.UNKNOWN
        response = await self._inner.send(limited)
        if response.is_success:
            return response
        # Imported here: `LazyTransport.open` has loaded it off the event loop.
        from .._envelope import status_error

        now = self._clock.now()
        error = status_error(response, request.effect, now)
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
