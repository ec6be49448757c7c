"""The fake clock and the system clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from aurpay_async._core.clock import SystemClock
from aurpay_async.testing import FakeClock

if TYPE_CHECKING:
    from aurpay_async._core.clock import Clock


async def test_the_fake_clock_moves_only_by_advance_and_sleep() -> None:
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.advance(1.5)
    await clock.sleep(60)
    assert clock.now() == datetime(2026, 1, 1, 0, 1, 1, 500_000, tzinfo=UTC)
    assert clock.monotonic() == 61.5
    assert clock.sleeps == [60]


def test_the_fake_clock_returns_utc() -> None:
    zone = timezone(timedelta(hours=8))
    assert FakeClock(datetime(2026, 1, 1, 8, tzinfo=zone)).now().tzinfo is UTC


def test_the_fake_clock_rejects_a_naive_datetime() -> None:
    with pytest.raises(ValueError, match="tzinfo=UTC"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001


async def test_the_system_clock_is_aware_monotonic_and_yields_while_sleeping() -> None:
    clock: Clock = SystemClock()
    assert clock.now().tzinfo is UTC
    before = clock.monotonic()
    await clock.sleep(0)
    assert clock.monotonic() >= before
