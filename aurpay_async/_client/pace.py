"""The rate of the polls, which their retries share."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from .retry import RetryBudget

if TYPE_CHECKING:
    from .._core.clock import Clock


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
