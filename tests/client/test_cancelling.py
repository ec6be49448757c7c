"""Cancelling at any await: nothing is left behind, and it is said how far it got."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import CallEvent, RequestOutcome
from aurpay_async.sandbox import Sandbox

if TYPE_CHECKING:
    from aurpay_async import Event


async def cancelled_after(steps: int, call: asyncio.Task[Any]) -> bool:
    """Let the loop turn so often, then cancel; whether that was in time."""
    for _ in range(steps):
        await asyncio.sleep(0)
    if call.done():
        return False
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.slow
async def test_cancellation_at_each_await_of_a_call_is_clean(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop = asyncio.get_running_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    for kept in (False, True):
        steps, finished = 0, 0
        while finished < 3:  # how many turns a call takes differs a little
            finished += not await cancel_once(steps, kept=kept)
            steps += 1
        assert steps > 5
    assert complaints == []
    assert "never retrieved" not in caplog.text


async def cancel_once(steps: int, *, kept: bool) -> bool:
    """Cancel one call; what is then true of events, orders and the next call."""
    events: list[Event] = []
    async with Sandbox() as sandbox, sandbox.client(on_event=events.append) as aurpay:
        if kept:
            await aurpay.create_order("20.00", "USD")
        events.clear()
        before = len(sandbox.orders)
        call = asyncio.create_task(aurpay.create_order("20.00", "USD"))
        cancelled = await cancelled_after(steps, call)
        ended = [event for event in events if isinstance(event, CallEvent)]
        # What has left may arrive after all; what has not never does.
        for _ in range(50):
            await asyncio.sleep(0)
        made = len(sandbox.orders) - before
        if cancelled and ended:
            (event,) = ended
            assert event.error == "cancelled"
            assert event.outcome in {RequestOutcome.NOT_SENT, RequestOutcome.UNKNOWN}
            assert not (event.outcome is RequestOutcome.NOT_SENT and made)
        assert made <= 1
        order = await aurpay.create_order("20.00", "USD")
        assert order.order_id in sandbox.orders
        assert len(sandbox.orders) - before == made + 1
    return cancelled


async def test_event_of_a_cancelled_call_has_its_outcome() -> None:
    events: list[Any] = []
    async with Sandbox() as sandbox, sandbox.client(on_event=events.append) as aurpay:
        sandbox.faults.push("silence+created")
        call = asyncio.create_task(aurpay.create_order("20.00", "USD"))
        while not sandbox.orders:
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert [(e.error, e.outcome) for e in events] == [
        ("cancelled", RequestOutcome.UNKNOWN)
    ] * 2


async def test_cancellation_between_attempts_keeps_the_last_outcome() -> None:
    events: list[Any] = []
    async with Sandbox() as sandbox, sandbox.client(on_event=events.append) as aurpay:
        sandbox.faults.push("429; retry-after=20")
        call = asyncio.create_task(aurpay.create_order("20.00", "USD"))
        while not events:
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert (events[-1].error, events[-1].outcome) == (
        "cancelled",
        RequestOutcome.REJECTED,
    )
