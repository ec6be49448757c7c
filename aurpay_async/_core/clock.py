"""The clock interface. No other module reads the time or sleeps."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol


class Clock(Protocol):
    """The time source of the client; see ``testing.FakeClock`` for tests.

    A clock that does not wait in `sleep` needs an ``async def pause(seconds)`` that
    does: `OrderStore.run` awaits it between two runs.
    """

    def now(self) -> datetime:
        """Return the time of day: aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes backwards, for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""
        ...


class SystemClock:
    """The machine's clock. The order store uses PostgreSQL's clock as well."""

    now = staticmethod(partial(datetime.now, UTC))
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        # Imported on use: a caller that sleeps has loaded asyncio already. At the top
        # it would triple the import time of this package.
        import asyncio

        await asyncio.sleep(seconds)


def wall_time_at(clock: Clock, moment: float) -> datetime:
    """Return the time of day at a past moment, given in monotonic seconds."""
    return clock.now() - timedelta(seconds=clock.monotonic() - moment)
