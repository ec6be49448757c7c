"""Stand-ins for time and network, for your tests as for ours.

.. versionadded:: 0.1.0
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import final

from ._http import Request, Response, Safety
from ._transports._memory import MemoryTransport

__all__ = ["FakeClock", "MemoryTransport", "Request", "Response", "Safety"]


@final
class FakeClock:
    """A clock that moves only when it is told to, or slept on.

    Example:
        >>> clock = FakeClock(datetime(2024, 4, 28, 12, 52, tzinfo=UTC))
        >>> clock.advance(30)

    .. versionadded:: 0.1.0
    """

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Start at `now`, which must be aware."""
        if now.tzinfo is None:
            message = "now must be aware: add tzinfo=UTC"
            raise ValueError(message)
        self._now = now.astimezone(UTC)
        self._elapsed = 0.0
        #: The seconds of each sleep, in order.
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        """The time of day."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
        self._elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass, at once."""
        self.sleeps.append(seconds)
        self.advance(seconds)
