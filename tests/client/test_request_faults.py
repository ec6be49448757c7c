"""Every fault: the error, the requests that were sent, and the orders that exist.

Each fault of the sandbox, with and without the order being created.
"""

from __future__ import annotations

import asyncio
import pickle

import aiohttp
import pytest

from aurpay_async import (
    AurpayError,
    Effect,
    Request,
    RequestOutcome,
    RetryPolicy,
    ServerError,
    Timeouts,
)
from aurpay_async._client.retry import RetryBudget
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._fault_responses import REQUEST_FAULTS, parse_fault

from ..support.loop_time import advance_loop
from ..support.loopback import wait_readable

NOT_SENT, REJECTED, UNKNOWN = RequestOutcome

#: By fault: the error's code and outcome (None: no error), and whether the error has
#: the id of the order.
OUTCOMES: dict[str, tuple[str | None, RequestOutcome | None, bool]] = {
    "reset": ("connection_lost", UNKNOWN, False),
    "reset-after-request": ("connection_lost", UNKNOWN, False),
    "close-before-headers": ("connection_lost", UNKNOWN, False),
    "silence": ("timeout", UNKNOWN, False),
    "cut-headers": ("connection_lost", UNKNOWN, False),
    "endless-headers": ("connection_lost", UNKNOWN, False),
    "cut-body": ("connection_lost", UNKNOWN, True),
    "long-body": ("timeout", UNKNOWN, True),
    "endless-body": ("invalid_response", UNKNOWN, True),
    "huge-body": ("invalid_response", UNKNOWN, True),
    "broken-chunk": ("connection_lost", UNKNOWN, False),
    "gzip-bomb": ("invalid_response", UNKNOWN, True),
    "gzip-broken": ("invalid_response", UNKNOWN, True),
    "empty": ("invalid_response", UNKNOWN, False),
    "not-json": ("invalid_response", UNKNOWN, False),
    "cut-json": ("invalid_response", UNKNOWN, True),
    "nan": ("invalid_response", UNKNOWN, True),
    "duplicate-keys": ("invalid_response", UNKNOWN, True),
    "deep": ("invalid_response", UNKNOWN, True),
    "latin-1": ("invalid_response", UNKNOWN, True),
    "html": ("invalid_response", UNKNOWN, False),
    "redirect": ("api", REJECTED, False),
    "redirect; status=303": ("api", UNKNOWN, False),
    "slow; seconds=0.1": ("timeout", UNKNOWN, False),
    "delay; seconds=9": ("timeout", UNKNOWN, False),
    "delay; seconds=0": (None, None, False),
    "gzip": (None, None, False),
    "close-kept": (None, None, False),
    "replayed": (None, None, False),
    "stale": (None, None, False),
    "other-price": (None, None, False),
    "other-amount": ("untrusted_order", UNKNOWN, True),
    "103": ("timeout", UNKNOWN, False),
    "204": ("invalid_response", UNKNOWN, False),
    "304": ("api", REJECTED, False),
    "400": ("api", REJECTED, False),
    "401": ("authentication", REJECTED, False),
    "403": ("permission_denied", REJECTED, False),
    "404": ("not_found", REJECTED, False),
    "408": ("api", UNKNOWN, False),
    "409": ("api", UNKNOWN, False),
    "425": ("api", UNKNOWN, False),
    "429; retry-after=99": ("rate_limited", REJECTED, False),
    "500": ("server", UNKNOWN, False),
    "501": ("server", REJECTED, False),
    "502": ("server", UNKNOWN, False),
    "503; retry-after=0": ("server", UNKNOWN, False),
    "504; html=no": ("server", UNKNOWN, False),
}
#: The result of these depends on how the bytes are split into packets.
UNSTEADY = {"short-body"}


def test_every_fault_of_the_sandbox_has_an_expected_outcome() -> None:
    named = {text.partition(";")[0] for text in OUTCOMES} & {*REQUEST_FAULTS}
    assert {*REQUEST_FAULTS} == named | UNSTEADY


@pytest.mark.parametrize(
    ("created", "port"),
    [(False, 0), (True, 0), (True, None)],
    ids=["alone", "and created", "and created, in memory"],
)
@pytest.mark.parametrize("fault", [*OUTCOMES, *sorted(UNSTEADY)])
async def test_a_fault_during_create_order_raises_an_error_with_the_right_outcome(
    fault: str, created: bool, port: int | None
) -> None:
    if fault == "reset" and created:
        return  # a request that is not read creates nothing: not a valid fault
    waits = OUTCOMES.get(fault, ("timeout",))[0] == "timeout"
    timeouts = Timeouts(attempt=60, call=60)
    async with (
        Sandbox(port=port) as sandbox,
        sandbox.client(timeouts=timeouts) as aurpay,
    ):
        sandbox.faults.push(fault + ("+created" if created else ""))
        call = asyncio.create_task(aurpay.create_order("20.00", "USD"))
        if waits:
            while not sandbox.requests:
                await asyncio.sleep(0)
            for _ in range(20):  # until the client has read what the sandbox sends
                await asyncio.sleep(0.001)
            advance_loop(60)
        [result] = await asyncio.gather(call, return_exceptions=True)
        assert len(sandbox.requests) == (fault != "reset")
        assert len(sandbox.orders) == (parse_fault(fault).serves or created)
        if fault in OUTCOMES:
            expect_outcome(fault, result, next(iter(sandbox.orders), None))
        if fault != "stale":
            sandbox.faults.clear()
            await aurpay.create_order("20.00", "USD")


def expect_outcome(fault: str, result: object, order_id: str | None) -> None:
    code, outcome, named = OUTCOMES[fault]
    if code is None:
        assert not isinstance(result, AurpayError)
        return
    assert isinstance(result, AurpayError)
    assert (result.code, result.outcome) == (code, outcome)
    assert result.attempts == 1
    assert result.sent_at is not None
    assert result.new_order is not None
    assert result.order_id == (order_id if named else None)
    copy = pickle.loads(pickle.dumps(result))  # noqa: S301 - our own
    assert vars(copy) == vars(result)


async def test_create_order_is_retried_after_429() -> None:
    async with (
        Sandbox() as sandbox,
        sandbox.client(retry=RetryPolicy(base=0.001)) as aurpay,
    ):
        sandbox.faults.push("429", "429; retry-after=0")
        await aurpay.create_order("20.00", "USD")
    assert (len(sandbox.requests), len(sandbox.orders)) == (3, 1)


async def test_an_idle_connection_that_the_server_closed_is_not_reused() -> None:
    quick = RetryPolicy(base=0.001)
    async with (
        Sandbox() as sandbox,
        aiohttp.ClientSession() as session,
        sandbox.client(session=session, retry=quick) as aurpay,
    ):
        for _ in range(20):
            sandbox.faults.push("close-kept")
            await aurpay.create_order("20.00", "USD")
            wait_readable(session)  # the loop must not process the close
    assert len(sandbox.orders) == 20


@pytest.mark.slow
async def test_300_concurrent_orders_over_10_connections_are_created_once_each() -> (
    None
):
    connector = aiohttp.TCPConnector(limit=10)
    async with (
        Sandbox() as sandbox,
        aiohttp.ClientSession(connector=connector) as session,
        sandbox.client(
            session=session, timeouts=Timeouts(connect=60, attempt=60, call=120)
        ) as aurpay,
    ):
        orders = await asyncio.gather(
            *(aurpay.create_order("20.00", "USD") for _ in range(300))
        )
    assert len({order.order_id for order in orders}) == len(sandbox.orders) == 300
    assert len(sandbox.requests) == 300


@pytest.mark.slow
async def test_retries_of_200_concurrent_queries_are_bounded_by_the_budget() -> None:
    read = Request(
        operation="x", method="POST", path="/api/bln/order", effect=Effect.READ
    )
    async with (
        Sandbox() as sandbox,
        sandbox.client(retry=RetryPolicy(base=0.001, cap=0.01)) as aurpay,
    ):
        sandbox.faults.push(*["503"] * 1000)
        outcomes = await asyncio.gather(
            *(aurpay._transport.send(read) for _ in range(200)), return_exceptions=True
        )
    assert {type(outcome) for outcome in outcomes} == {ServerError}
    assert 200 < len(sandbox.requests) <= 2 * 200 + RetryBudget.RESERVE
