"""The sandbox's clock: the time of this machine or a fixed time, and its advance."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import InvalidRequestError
from aurpay_async._core.clock import SystemClock
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._models import ClockError, SandboxClock, advance
from aurpay_async.testing import FakeClock

from ..support.orders import NOW
from .shop import call, create_order
from .test_pages import open_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from aurpay_async import Clock

    from .test_pages import Stream


def is_near(one: datetime, other: datetime) -> bool:
    return abs(one - other) < timedelta(seconds=30)


def test_clock_follows_the_time_of_the_machine_plus_its_offset() -> None:
    clock = SandboxClock()
    began = clock.monotonic()
    assert is_near(clock.now(), datetime.now(UTC))
    clock.advance(3_600)
    assert is_near(clock.now(), datetime.now(UTC) + timedelta(hours=1))
    assert 3_600 <= clock.monotonic() - began < 3_630


def test_clock_with_a_start_moves_only_by_advance() -> None:
    clock = SandboxClock(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    assert (clock.now(), clock.now().tzinfo) == (NOW, UTC)
    assert clock.monotonic() == 0
    clock.advance(0.5)
    clock.advance(1_800)
    assert clock.now() == NOW + timedelta(minutes=30, seconds=0.5)
    assert clock.monotonic() == 1_800.5


async def test_sleep_does_not_move_a_fixed_clock() -> None:
    clock = SandboxClock(NOW)
    await clock.sleep(0)
    assert clock.now() == NOW


@pytest.mark.parametrize("make", [SandboxClock, FakeClock])
def test_advance_moves_each_clock_that_has_an_advance_method(
    make: Callable[[datetime], Clock],
) -> None:
    clock = make(NOW)
    advance(clock, 60)
    assert clock.now() == NOW + timedelta(minutes=1)
    with pytest.raises(ClockError, match="has no advance"):
        advance(SystemClock(), 60)


@pytest.mark.parametrize("seconds", [-0.1, 31_536_001, float("nan"), float("inf")])
def test_advance_rejects_negative_infinite_and_large_steps(seconds: float) -> None:
    with pytest.raises(InvalidRequestError, match="must be 0 to 31536000 seconds"):
        advance(FakeClock(NOW), seconds)


def test_clock_cannot_be_advanced_beyond_the_year_2999() -> None:
    clock = SandboxClock(datetime(2999, 12, 31, 23, 59, tzinfo=UTC))
    with pytest.raises(ClockError, match="ends with the year 2999"):
        advance(clock, 60)
    advance(clock, 59)
    assert clock.now() == datetime(2999, 12, 31, 23, 59, 59, tzinfo=UTC)


async def test_sandbox_client_shares_the_clock_of_the_sandbox() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        advance(sandbox.clock, 86_400 * 30)
        created = await aurpay.create_order("20.00", "USD")
    assert is_near(
        created.payment_request.created_at, datetime.now(UTC) + timedelta(days=30)
    )


async def test_order_id_and_creation_time_follow_the_clock() -> None:
    async with Sandbox(clock=SandboxClock(NOW)) as sandbox:
        advance(sandbox.clock, 90)
        order_id = await create_order(sandbox)
        assert sandbox.orders[order_id].created_at == NOW + timedelta(seconds=90)
    assert order_id == "20260101000130000001"


async def test_page_receives_only_the_time_when_the_clock_is_advanced() -> None:
    async with Sandbox(clock=SandboxClock(), speed=60) as sandbox:
        order_id = await create_order(sandbox)
        async with open_stream(sandbox, f"/orders/{order_id}/events") as page:
            first = await read_event(page)
            assert first["order"]["life"] == pytest.approx(30, abs=1)
            left = first["order"]["deadline"] - first["now"]
            assert 25 < left <= 30
            await call(sandbox, "POST", "/_sandbox/clock", {"advance_s": 15})
            second = await read_event(page)
    assert list(second) == ["now"]
    assert second["now"] - first["now"] == pytest.approx(15, abs=5)


async def read_event(page: Stream) -> dict[str, Any]:
    """Return the data of the next event."""
    while "data: " not in (frame := await page.read_frame()):
        pass
    return dict(json.loads(frame.removeprefix("data: ")))
