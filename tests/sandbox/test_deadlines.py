"""Timeouts of orders by the sandbox's clock."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ConfigurationError
from aurpay_async.sandbox import Sandbox, _simulator
from aurpay_async.testing import FakeClock

from ..support.loopback import Server, answering
from ..support.orders import NOW
from .shop import call, create_order, create_order_for, open_shop, read_requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..support.loopback import Peer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check deadlines more often, so that the tests are fast."""
    monkeypatch.setattr(_simulator, "_TICK_S", 0.001)


async def wait_until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.001)


def statuses(sandbox: Sandbox) -> list[str]:
    return [order.status for order in sandbox.orders.values()]


async def wait_ticks() -> None:
    """Wait for some ticks."""
    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("speed", "life_s"), [(1, 1_800.0), (60, 30.0), (0.5, 3_600.0), (3_600.0, 0.5)]
)
async def test_order_times_out_after_30_minutes_divided_by_speed(
    speed: float, life_s: float
) -> None:
    clock = FakeClock(NOW)
    async with open_shop() as shop, Sandbox(clock=clock, speed=speed) as sandbox:
        order_id = await create_order_for(sandbox, shop)
        assert sandbox.orders[order_id].expires_at == NOW + timedelta(seconds=life_s)
        clock.advance(life_s - 0.25)
        await wait_ticks()
        assert statuses(sandbox) == ["PENDING"]
        clock.advance(0.25)
        await wait_until(lambda: sandbox.callbacks)
    assert statuses(sandbox) == ["OVERDUE"]
    [request] = read_requests(shop)
    assert request.target == "/timeout?ref=7"


@pytest.mark.parametrize("speed", [None, 0])
async def test_order_stays_pending_without_a_speed(speed: float | None) -> None:
    clock = FakeClock(NOW)
    async with Sandbox(clock=clock, speed=speed) as sandbox:
        order_id = await create_order(sandbox)
        clock.advance(86_400)
        await call(sandbox, "POST", "/_sandbox/clock", {"advance_s": 86_400})
        await wait_ticks()
        assert statuses(sandbox) == ["PENDING"]
        assert sandbox.orders[order_id].expires_at == NOW + timedelta(minutes=30)


async def test_only_pending_orders_time_out() -> None:
    clock = FakeClock(NOW)
    async with Sandbox(clock=clock, speed=1) as sandbox:
        paid = await create_order(sandbox)
        clock.advance(600)
        await create_order(sandbox)
        clock.advance(600)
        await create_order(sandbox)
        await sandbox.pay(paid)
        clock.advance(600)
        await wait_ticks()
        assert statuses(sandbox) == ["SUCCESS", "PENDING", "PENDING"]
        clock.advance(600)
        await wait_until(lambda: "OVERDUE" in statuses(sandbox))
        assert statuses(sandbox) == ["SUCCESS", "OVERDUE", "PENDING"]
        # A real pause delays the callback.
        await sandbox.pay([*sandbox.orders][1])
        clock.advance(600)
        await wait_until(lambda: "OVERDUE" in statuses(sandbox))
    assert statuses(sandbox) == ["SUCCESS", "SUCCESS", "OVERDUE"]


async def test_slow_shop_does_not_delay_other_timeouts() -> None:
    async def silent(peer: Peer) -> None:
        await peer.read_request()
        await asyncio.sleep(60)

    clock = FakeClock(NOW)
    async with (
        Server(silent) as slow,
        Server(answering(b"ok")) as shop,
        Sandbox(clock=clock, speed=1) as sandbox,
    ):
        for one in (slow, shop):
            await create_order_for(sandbox, one)
        clock.advance(1_800)
        await wait_until(lambda: sandbox.callbacks)
        assert sandbox.callbacks[0].url.startswith(shop.url)
        await wait_until(lambda: slow.requests)
        await sandbox.aclose()
        assert statuses(sandbox) == ["OVERDUE", "OVERDUE"]


async def test_reopened_sandbox_times_out_the_orders_that_it_has() -> None:
    clock = FakeClock(NOW)
    sandbox = Sandbox(clock=clock, speed=1)
    async with sandbox:
        await sandbox.expire(await create_order(sandbox))
        await create_order(sandbox)
    clock.advance(1_800)
    await wait_ticks()
    assert statuses(sandbox) == ["OVERDUE", "PENDING"]
    async with sandbox:
        await wait_until(lambda: statuses(sandbox) == ["OVERDUE", "OVERDUE"])


async def test_timeout_that_was_aborted_is_repeated_after_reopening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock(NOW)
    sandbox = Sandbox(clock=clock, speed=1)
    begun = asyncio.Event()

    async def slow(_: str) -> Any:
        begun.set()
        await asyncio.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(sandbox._simulator.deadlines, "expire", slow)
        async with sandbox:
            await create_order(sandbox)
            clock.advance(1_800)
            await begun.wait()
    assert statuses(sandbox) == ["PENDING"]
    async with sandbox:
        await wait_until(lambda: statuses(sandbox) == ["OVERDUE"])


async def test_error_of_a_timeout_is_raised_when_the_sandbox_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = FakeClock(NOW)
    sandbox = Sandbox(clock=clock, speed=1)

    async def broken(_: str) -> Any:
        raise OSError("the disk is full")

    monkeypatch.setattr(sandbox._simulator.deadlines, "expire", broken)
    await sandbox.start()
    await create_order(sandbox)
    clock.advance(1_800)
    await wait_ticks()
    with pytest.raises(ExceptionGroup) as caught:
        await sandbox.aclose()
    assert "the disk is full" in str(caught.value.exceptions)
    assert sandbox._server._runner is None


@pytest.mark.parametrize(
    "speed", [-1, 0.001, 10_001, float("nan"), float("inf"), "60", True]
)
def test_invalid_speed_is_rejected_with_the_valid_range(speed: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"speed must be 0, or 0\.01 to 10000"):
        Sandbox(speed=speed)
