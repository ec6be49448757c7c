"""The fake clock and the system clock."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from aurpay_async._core.clock import SystemClock
from aurpay_async.orders import Reconciliation
from aurpay_async.orders._runner import Runner
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


@pytest.mark.parametrize("by_thread", [False, True])
async def test_pause_of_a_fake_clock_ends_when_the_test_has_advanced_it_far_enough(
    by_thread: bool,
) -> None:
    clock = FakeClock()
    pause = asyncio.create_task(clock.pause(60))
    await asyncio.sleep(0)
    clock.advance(59)
    await asyncio.sleep(0.01)
    assert not pause.done()
    if by_thread:
        await asyncio.to_thread(clock.advance, 1)
    else:
        clock.advance(1)
    await asyncio.wait_for(pause, 60)
    assert clock.sleeps == []
    clock.advance(1)  # has no pause to end


async def test_reconciliation_in_the_background_does_not_move_a_fake_clock() -> None:
    """Its runs would follow each other without a pause, through hours of the test."""
    clock, runs = FakeClock(), list[float]()

    async def count() -> Reconciliation:
        runs.append(clock.monotonic())
        return Reconciliation(changes=(), failures=(), polled=0, more=False)

    async with Runner(clock).running(count, 60):
        await asyncio.sleep(0.01)
        assert runs == [0]
        clock.advance(60)
        while len(runs) < 2:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
    assert runs == [0, 60]
