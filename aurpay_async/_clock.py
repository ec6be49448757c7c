"""Time, as something that can be handed in: nothing else here tells it or sleeps."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the client needs of time; ``testing.FakeClock`` is the other one.

    .. versionadded:: 0.1.0
    """

    def now(self) -> datetime:
        """The time of day: aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class SystemClock:
    """The machine's clock. On PostgreSQL, the server's is used beside it."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        # Here and not above: whoever sleeps has asyncio loaded, whoever only imports
        # this package need not pay for it (two thirds of its import time).
        import asyncio

        await asyncio.sleep(seconds)


def wall_time_at(clock: Clock, moment: float) -> datetime:
    """The time of day at a moment of the past, given in monotonic seconds."""
    return clock.now() - timedelta(seconds=clock.monotonic() - moment)
