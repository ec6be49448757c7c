"""Orders that time out by themselves, and those that do not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ConfigurationError
from aurpay_async.sandbox import Sandbox, _deadlines
from aurpay_async.testing import FakeClock

from ..loopback import Server, answering
from ..orders import NOW
from .shop import arrived, ask, both, open_shop, order

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..loopback import Peer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at the clock more often than in real life."""
    monkeypatch.setattr(_deadlines, "_TICK_S", 0.001)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.001)


def statuses(sandbox: Sandbox) -> list[str]:
    return [order.status for order in sandbox.orders.values()]


async def ticks() -> None:
    """Time enough for some of them."""
    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("speed", "life_s"), [(1, 1_800.0), (60, 30.0), (0.5, 3_600.0), (3_600.0, 0.5)]
)
async def test_an_order_times_out_by_itself(speed: float, life_s: float) -> None:
    """After half an hour of the sandbox's clock, or sooner; the shop hears of it."""
    clock = FakeClock(NOW)
    async with open_shop() as shop, Sandbox(clock=clock, speed=speed) as sandbox:
        order_id = await both(sandbox, shop)
        assert sandbox.orders[order_id].expires_at == NOW + timedelta(seconds=life_s)
        clock.advance(life_s - 0.25)
        await ticks()
        assert statuses(sandbox) == ["PENDING"]
        clock.advance(0.25)
        await until(lambda: sandbox.callbacks)
    assert statuses(sandbox) == ["OVERDUE"]
    [request] = arrived(shop)
    assert request.target == "/timeout?ref=7"


@pytest.mark.parametrize("speed", [None, 0])
async def test_an_order_waits_until_it_is_told(speed: float | None) -> None:
    """However long: its deadline is on the page all the same."""
    clock = FakeClock(NOW)
    async with Sandbox(clock=clock, speed=speed) as sandbox:
        order_id = await order(sandbox)
        clock.advance(86_400)
        await ask(sandbox, "POST", "/_sandbox/clock", {"advance_s": 86_400})
        await ticks()
        assert statuses(sandbox) == ["PENDING"]
        assert sandbox.orders[order_id].expires_at == NOW + timedelta(minutes=30)


async def test_only_what_is_pending_times_out() -> None:
    """Each at its own time; what was paid in time stays paid."""
    clock = FakeClock(NOW)
    async with Sandbox(clock=clock, speed=1) as sandbox:
        paid = await order(sandbox)
        clock.advance(600)
        await order(sandbox)
        clock.advance(600)
        await order(sandbox)
        await sandbox.pay(paid)
        clock.advance(600)
        await ticks()
        assert statuses(sandbox) == ["SUCCESS", "PENDING", "PENDING"]
        clock.advance(600)
        await until(lambda: "OVERDUE" in statuses(sandbox))
        assert statuses(sandbox) == ["SUCCESS", "OVERDUE", "PENDING"]
        # Late, as it can happen to anybody.
        await sandbox.pay([*sandbox.orders][1])
        clock.advance(600)
        await until(lambda: "OVERDUE" in statuses(sandbox))
    assert statuses(sandbox) == ["SUCCESS", "SUCCESS", "OVERDUE"]


async def test_one_slow_shop_holds_up_nobody() -> None:
    """Others hear of their own timeouts meanwhile; at the end it is cut off."""

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
            await both(sandbox, one)
        clock.advance(1_800)
        await until(lambda: sandbox.callbacks)
        assert sandbox.callbacks[0].url.startswith(shop.url)
        await until(lambda: slow.requests)
        await sandbox.aclose()
        assert statuses(sandbox) == ["OVERDUE", "OVERDUE"]


async def test_a_sandbox_that_opens_again_goes_on() -> None:
    """With the deadlines of the orders that it has."""
    clock = FakeClock(NOW)
    sandbox = Sandbox(clock=clock, speed=1)
    async with sandbox:
        await sandbox.expire(await order(sandbox))
        await order(sandbox)
    clock.advance(1_800)
    await ticks()
    assert statuses(sandbox) == ["OVERDUE", "PENDING"]
    async with sandbox:
        await until(lambda: statuses(sandbox) == ["OVERDUE", "OVERDUE"])


async def test_what_was_cut_off_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An order that was due, and had not moved yet, is due when it opens again."""
    clock = FakeClock(NOW)
    sandbox = Sandbox(clock=clock, speed=1)
    begun = asyncio.Event()

    async def slow(_: str) -> Any:
        begun.set()
        await asyncio.sleep(60)

    with monkeypatch.context() as patched:
        patched.setattr(sandbox._bank.cashier, "expire", slow)
        async with sandbox:
            await order(sandbox)
            clock.advance(1_800)
            await begun.wait()
    assert statuses(sandbox) == ["PENDING"]
    async with sandbox:
        await until(lambda: statuses(sandbox) == ["OVERDUE"])


async def test_what_goes_wrong_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the latest when the sandbox closes, which it does all the same."""
    clock = FakeClock(NOW)
    sandbox = Sandbox(clock=clock, speed=1)

    async def broken(_: str) -> Any:
        raise OSError("the disk is full")

    monkeypatch.setattr(sandbox._bank.cashier, "expire", broken)
    await sandbox.start()
    await order(sandbox)
    clock.advance(1_800)
    await ticks()
    with pytest.raises(ExceptionGroup) as caught:
        await sandbox.aclose()
    assert "the disk is full" in str(caught.value.exceptions)
    assert sandbox._server._runner is None


@pytest.mark.parametrize(
    "speed", [-1, 0.001, 10_001, float("nan"), float("inf"), "60", True]
)
def test_what_is_no_speed(speed: Any) -> None:
    """Refused, with what can be."""
    with pytest.raises(ConfigurationError, match=r"speed must be 0, or 0\.01 to 10000"):
        Sandbox(speed=speed)
