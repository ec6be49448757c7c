"""Waiting in tests: for a condition, and on a clock that a test advances."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(is_so: Callable[[], object], patience_s: float = 10) -> None:
    """Return when it is."""
    async with asyncio.timeout(patience_s):
        while not is_so():
            await asyncio.sleep(0.005)


class HandClock:
    """Stands still, and who sleeps with it."""

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = now
        self._elapsed = 0.0
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        """The time of day."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds since it was made."""
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake whose time has come."""
        self._elapsed += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Until so many seconds have passed."""
        until = self._elapsed + seconds
        while self._elapsed < until:
            await self._moved.wait()
