"""Waiting in tests: for a condition, and on a clock that a test advances."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


class HandClock:
    """A clock that stands still until a test advances it."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = now
        self._elapsed = 0.0
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """Return the current time."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the seconds since the clock was created."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Advance the clock, and wake the sleepers that are due."""
        self._elapsed += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Sleep until the clock has advanced by `seconds`."""
        until = self._elapsed + seconds
        while self._elapsed < until:
            await self._moved.wait()
