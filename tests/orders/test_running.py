"""The supervised reconciliation loop runs until it is stopped."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async.errors import (
    AuthenticationError,
    InvalidRequestError,
    RequestOutcome,
    StoreUnavailableError,
)
from aurpay_async.orders import Reconciliation
from aurpay_async.orders._runner import Runner
from aurpay_async.testing import FakeClock

from .platform import URLS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async.orders import Change, OrderStore

    from .platform import Platform

pytestmark = pytest.mark.usefixtures("pauses_move_the_clock")

REJECTED: Any = {"status": 401, "outcome": RequestOutcome.REJECTED}
NOTHING = Reconciliation(changes=(), failures=(), polled=0, more=False)
MORE = Reconciliation(changes=(), failures=(), polled=1, more=True)


class Steps:
    """A script of reconciliation runs; the last one closes the loop."""

    def __init__(self, runner: Runner, *steps: Reconciliation | BaseException) -> None:
        self.runner = runner
        self.steps = [*steps]

    async def __call__(self) -> Reconciliation:
        if not self.steps:
            await self.runner.stop()
            return NOTHING
        step = self.steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step


async def run(clock: FakeClock, *steps: Reconciliation | BaseException) -> None:
    runner = Runner(clock)
    async with asyncio.timeout(60):
        await runner.run(Steps(runner, *steps), 60)


async def test_runs_follow_each_other_after_a_pause_and_at_once_if_more_is_due(
    clock: FakeClock,
) -> None:
    await run(clock, NOTHING, MORE, MORE, NOTHING)
    assert clock.sleeps == [60, 60]


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (AuthenticationError("401", **REJECTED), "authentication"),
        (OSError("no route to host"), "OSError"),
        (asyncio.CancelledError(), "CancelledError"),
        (
            BaseExceptionGroup("odd", [asyncio.CancelledError(), ValueError()]),
            "BaseExceptionGroup",
        ),
    ],
)
async def test_exceptions_are_logged_and_do_not_end_the_reconciliation_loop(
    clock: FakeClock, caplog: pytest.LogCaptureFixture, error: BaseException, name: str
) -> None:
    await run(clock, error, NOTHING)
    record, recovered = caplog.records
    assert recovered.getMessage() == "reconciliation works again after 1 failed runs"
    assert (record.name, record.levelname) == ("aurpay_async.orders", "ERROR")
    assert record.getMessage().endswith(f"s: {name}")
    assert record.exc_info
    assert record.exc_info[1] is error
    assert 0.5 <= clock.sleeps[0] <= 1
    assert clock.sleeps[1:] == [60]


@pytest.mark.parametrize("level", ["WARNING", "DEBUG"])
async def test_an_outage_is_logged_in_one_line_and_with_its_traceback_at_debug(
    clock: FakeClock, caplog: pytest.LogCaptureFixture, level: str
) -> None:
    caplog.set_level(level, "aurpay_async.orders")
    await run(clock, StoreUnavailableError("the database cannot be used: x"), NOTHING)
    record, _ = caplog.records
    assert record.levelname == "WARNING"
    said = "s: store_unavailable: the database cannot be used: x"
    assert record.getMessage().endswith(said)
    assert bool(record.exc_info) is (level == "DEBUG")


@pytest.mark.parametrize("name", ["sleep", "pause"])
@pytest.mark.parametrize("problem", [OSError("no timer"), asyncio.CancelledError()])
async def test_loop_of_a_clock_that_cannot_wait_logs_it_and_waits(
    name: str, problem: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: float) -> None:
        raise problem

    clock: Any = SimpleNamespace(now=FakeClock().now, **{name: fail})
    clock.sleep = fail
    runs = 0

    async def reconcile() -> Reconciliation:
        nonlocal runs
        runs += 1
        return NOTHING

    async with Runner(clock).running(reconcile, 60):
        for _ in range(100):
            await asyncio.sleep(0)
    assert runs == 1
    [record] = caplog.records
    assert record.getMessage() == "the clock cannot wait: asyncio waits 60.0 s"
    assert record.exc_info
    assert record.exc_info[1] is problem


async def test_pauses_after_failures_grow_up_to_the_pause_between_runs(
    clock: FakeClock,
) -> None:
    """A success resets them."""
    errors = [OSError() for _ in range(100)]
    await run(clock, *errors, NOTHING, OSError())
    longest = [min(60, 2.0**number) for number in range(100)]
    pairs = zip(clock.sleeps, [*longest, 60, 1], strict=True)
    assert all(most / 2 <= slept <= most for slept, most in pairs)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_system_exit_ends_the_reconciliation_loop(
    clock: FakeClock, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        await run(clock, error())


class Standing:
    """A clock that stands still: sleepers wake only when the loop is stopped."""

    now = FakeClock.now
    monotonic = FakeClock.monotonic
    _now = FakeClock()._now
    _elapsed = 0.0

    async def sleep(self, _: float) -> None:
        await asyncio.Event().wait()


async def test_cancellation_ends_the_reconciliation_loop() -> None:
    runner = Runner(Standing())
    task = asyncio.create_task(runner.run(Steps(runner, NOTHING), 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await runner.stop()


async def test_stop_ends_a_pause_and_waits_for_a_run_that_is_under_way() -> None:
    """No open transaction remains."""
    runner, go, ended = Runner(Standing()), asyncio.Event(), list[str]()
    begun = asyncio.Event()

    async def slow() -> Reconciliation:
        begun.set()
        await go.wait()
        ended.append("run")
        return NOTHING

    resting = asyncio.create_task(runner.run(Steps(runner, NOTHING), 60))
    working = asyncio.create_task(runner.run(slow, 60))
    await begun.wait()
    stopping = asyncio.create_task(runner.stop())
    await resting
    assert not working.done()
    go.set()
    await stopping
    assert ended == ["run"]
    await working


async def test_reconciliation_loop_fulfils_a_payment_with_a_lost_callback(
    local: OrderStore, platform: Platform, clock: FakeClock
) -> None:
    """Closing the store stops the loop."""
    order = await local.get_or_create("cart-42", "20", "USD", **URLS)
    platform.set(order.order_id, "SUCCESS")
    shipments: list[str] = []
    tries: list[float] = []

    async def deliver(change: Change, _: AsyncConnection) -> None:
        tries.append(clock.monotonic())
        if len(tries) == 1:
            message = "no shipments left"
            raise LookupError(message)
        shipments.append(change.reference)
        closing.append(asyncio.create_task(local.aclose()))

    closing: list[asyncio.Task[None]] = []
    async with asyncio.timeout(60):
        await local.run(on_change=deliver)
        await closing[0]
    assert shipments == ["cart-42"]
    assert tries == [120, 180]


async def test_loop_of_running_starts_at_entry_and_ends_at_exit() -> None:
    runner, runs = Runner(Standing()), asyncio.Event()

    async def count() -> Reconciliation:
        runs.set()
        return NOTHING

    async with runner.running(count, 60):
        await asyncio.wait_for(runs.wait(), 10)
        [loop] = runner._loops
    assert loop.task
    assert loop.task.done()
    assert not loop.task.cancelled()
    assert not runner._loops
    async with runner.running(count, 60):
        pass  # before the first run
    assert not runner._loops


async def test_loop_of_running_ends_if_the_block_raises_after_the_current_run() -> None:
    runner, go, done = Runner(Standing()), asyncio.Event(), list[str]()

    async def slow() -> Reconciliation:
        await go.wait()
        done.append("run")
        return MORE

    async def serve() -> None:
        async with runner.running(slow, 60):
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.01, go.set)
            raise LookupError("no port")

    with pytest.raises(LookupError, match="no port"):
        await asyncio.wait_for(serve(), 10)
    assert done == ["run"]
    assert not runner._loops


async def test_run_that_does_not_end_is_cancelled_after_a_limit_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aurpay_async.orders._runner.STOP_LIMIT_S", 0)
    runner, ended = Runner(Standing()), list[str]()

    async def hang() -> Reconciliation:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # a rollback
            ended.append("rollback")
        return NOTHING

    async with runner.running(hang, 60):
        await asyncio.sleep(0)
    assert ended == ["rollback"]
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "cancelled" in record.getMessage()


async def test_second_cancellation_of_a_shutdown_cancels_the_current_run() -> None:
    """A task that cannot wait any longer leaves no loop behind."""
    runner, ended = Runner(Standing()), list[str]()

    async def hang() -> Reconciliation:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("rollback")
        return NOTHING

    async def serve() -> None:
        async with runner.running(hang, 60):
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0.01)
    serving.cancel()
    await asyncio.sleep(0.01)
    assert not serving.done()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert ended == ["rollback"]
    assert not runner._loops


async def test_store_may_be_closed_within_the_block_of_running(
    local: OrderStore, clock: FakeClock
) -> None:
    async with asyncio.timeout(10), local.running():
        await clock_has_slept(clock)
        await local.aclose()
    assert not local._runner._loops


async def clock_has_slept(clock: FakeClock) -> None:
    while not clock.sleeps:
        await asyncio.sleep(0.001)


async def test_loop_that_another_event_loop_left_behind_does_not_block_closing() -> (
    None
):
    """A forked process inherits the loops of its parent, and their tasks never run."""
    runner = Runner(Standing())
    other = asyncio.new_event_loop()
    abandoned = runner.run(Steps(runner, NOTHING), 60)
    left = other.create_task(abandoned)
    await asyncio.to_thread(other.run_until_complete, asyncio.sleep(0))
    assert len(runner._loops) == 1
    await asyncio.wait_for(runner.stop(), 10)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.to_thread(other.run_until_complete, left)
    other.close()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"every": 0}, "every"),
        ({"every": True}, "every"),
        ({"every": float("nan")}, "every"),
        ({"every": 86_401}, "every"),
        ({"on_change": print}, "on_change"),
    ],
)
async def test_reconciliation_loop_validates_its_arguments_at_once(
    local: OrderStore, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await local.run(**arguments)
    assert caught.value.field == field
    with pytest.raises(InvalidRequestError) as caught:
        async with local.running(**arguments):
            pytest.fail("the block was entered")
    assert caught.value.field == field
