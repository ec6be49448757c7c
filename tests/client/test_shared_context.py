"""Calls in tasks that share one context: each request body is sent at most once.

`create_task(context=...)`, TaskGroup and Runner take a context, and chat frameworks
keep one for each session. So no state of a call may be found through it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from aurpay_async import (
    AurpayClient,
    AurpayError,
    CallEvent,
    RequestOutcome,
    RetryPolicy,
    bolt11,
)

from ..support.loopback import Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextvars import Context

    from aurpay_async import Event

    from ..support.loopback import Peer

    Call = Callable[[AurpayClient, int], Awaitable[object]]
    Outcome = Coroutine[Any, Any, object]
    Start = Callable[[list[Outcome], Context], Awaitable[list[object]]]

CALLS = range(5)


def create(aurpay: AurpayClient, number: int) -> Awaitable[object]:
    return aurpay.create_order(20 + number, "USD")


def refund(aurpay: AurpayClient, number: int) -> Awaitable[object]:
    return aurpay.refund_order(f"2026010112000000000{number}")


def withdraw(aurpay: AurpayClient, number: int) -> Awaitable[object]:
    invoice = bolt11.sign(
        "11" * 32,
        network="regtest",
        payment_hash=f"{number:064x}",
        payment_secret="22" * 32,
        timestamp=int(time.time()),
        amount_msat=20_000_000,
    )
    return aurpay.withdraw_lightning(invoice)


async def outcome(call: Awaitable[object]) -> object:
    try:
        return await call
    except AurpayError as error:
        return error


async def tasks(calls: list[Outcome], shared: Context) -> list[object]:
    made = [asyncio.create_task(call, context=shared) for call in calls]
    return [await task for task in made]


async def task_group(calls: list[Outcome], shared: Context) -> list[object]:
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(call, context=shared) for call in calls]
    return [task.result() for task in made]


async def eager_tasks(calls: list[Outcome], shared: Context) -> list[object]:
    loop = asyncio.get_running_loop()
    eager: Any = {"loop": loop, "context": shared, "eager_start": True}
    made = [asyncio.Task(call, **eager) for call in calls]
    return [await task for task in made]


STARTS = [tasks, task_group] + [eager_tasks] * (sys.version_info >= (3, 12))


def runner(name: str) -> asyncio.Runner:
    if name == "asyncio":
        return asyncio.Runner()
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def resets_after_the_request(peer: Peer) -> None:
    await peer.read_request()
    peer.reset()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("call", [create, refund, withdraw])
def test_each_body_is_sent_once_by_tasks_that_share_a_context(
    call: Call, start: Start, loop: str
) -> None:
    """The platform takes each request and resets: all are unknown, none is repeated."""
    shared = copy_context()

    async def main() -> None:
        async with Server(resets_after_the_request) as server:
            quick = RetryPolicy(base=0.001)
            async with AurpayClient(
                base_url=server.url, network="regtest", retry=quick
            ) as aurpay:
                calls = [outcome(call(aurpay, number)) for number in CALLS]
                errors: list[Any] = await start(calls, shared)
            assert [(e.outcome, e.attempts) for e in errors] == (
                [(RequestOutcome.UNKNOWN, 1)] * len(CALLS)
            )
            # A refund has its order in the path, and no body.
            assert len(set(server.requests)) == len(server.requests) == len(CALLS)

    with runner(loop) as own:
        own.run(main())


def test_cancelled_calls_that_share_a_context_report_their_own_outcome() -> None:
    """One request has left; four calls wait for a place in the pool."""
    shared = copy_context()
    events: list[Event] = []

    async def main() -> None:
        received = asyncio.Event()

        async def says_nothing(peer: Peer) -> None:
            await peer.read_request()
            received.set()
            await peer.wait_closed()

        connector = aiohttp.TCPConnector(limit=1)
        async with (
            Server(says_nothing) as server,
            aiohttp.ClientSession(connector=connector) as session,
            AurpayClient(
                base_url=server.url,
                network="regtest",
                session=session,
                on_event=events.append,
            ) as aurpay,
        ):
            calls = [
                asyncio.create_task(outcome(create(aurpay, number)), context=shared)
                for number in CALLS
            ]
            await received.wait()
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    with asyncio.Runner() as own:
        own.run(main(), context=shared)
    ended = [event.outcome for event in events if isinstance(event, CallEvent)]
    assert sorted(ended, key=str) == [RequestOutcome.NOT_SENT] * 4 + [
        RequestOutcome.UNKNOWN
    ]
