"""``aurpay order find``: find the order of a request of unknown outcome."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

    from .conftest import Done, Run

MIDDAY = ["--sent-at", "2026-01-01T12:00:00"]


async def run(aurpay: Run, *arguments: str) -> Done:
    return await asyncio.to_thread(aurpay, *arguments)


@pytest.mark.parametrize(
    "creating",
    [
        "order create 20 USD",
        "payment create 20 USD --chain ETH --coin USDT-ERC20",
    ],
)
async def test_hint_of_a_failed_create_finds_the_order(
    aurpay: Run, sandbox: Sandbox, creating: str
) -> None:
    sandbox.faults.push("503; retry-after=1+created")
    failed = await run(aurpay, *creating.split(), "-o", "json")
    assert (failed.code, failed.record["may_exist"]) == (3, True)
    line = failed.record["advice"].partition(": aurpay ")[2]
    assert line.startswith("order find 20 USD --sent-at 20")
    [made] = sandbox.orders
    done = await run(aurpay, *shlex.split(line))
    assert (done.code, done.err) == (0, "")
    assert f"Order {made}" in done.out
    assert "found: the only match" in done.out
    record = (await run(aurpay, *shlex.split(line), "-o", "json")).record
    assert (record["type"], record["outcome"]) == ("found", "found")
    assert [order["order_id"] for order in record["orders"]] == [made]


async def test_order_find_without_match_ends_with_1(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run(aurpay, "order", "find", "20", "USD", *MIDDAY)
    assert done.code == 1
    assert "no order matches yet: search again" in done.out
    done = await run(aurpay, "order", "find", "20", "USD", *MIDDAY, "-o", "json")
    assert (done.code, done.record["outcome"]) == (1, "none_yet")


async def test_order_find_shows_all_matches_except_known_ones(
    aurpay: Run, sandbox: Sandbox
) -> None:
    async with sandbox.client() as client:
        first, second = [await client.create_order("20", "USD") for _ in range(2)]
    asked = ["order", "find", "20", "USD", "--sent-at", str(first.create_time)]
    done = await run(aurpay, *asked)
    assert done.code == 1
    assert first.order_id in done.out
    assert second.order_id in done.out
    assert "several orders match" in done.out
    record = (await run(aurpay, *asked, "-o", "json")).record
    assert (record["outcome"], len(record["orders"])) == ("several", 2)
    known = ["--known", first.order_id, "--known", "20260101000000000009"]
    record = (await run(aurpay, *asked, *known, "-o", "json")).record
    assert [order["order_id"] for order in record["orders"]] == [second.order_id]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["20", "USD", "--sent-at", "yesterday"], "2026-01-31T12:00:00Z"),
        (["1e3", "USD", *MIDDAY], "price"),
        (["20", "dollars", *MIDDAY], "currency"),
        (["20", "USD", *MIDDAY, "--coin", "ETH"], "--chain and --coin"),
        (["20", "USD", *MIDDAY, "--chain", "ETH"], "--chain and --coin"),
        (["20", "USD", *MIDDAY, "--chain", "E T", "--coin", "ETH"], "chain"),
    ],
)
async def test_order_find_rejects_invalid_arguments(
    aurpay: Run, sandbox: Sandbox, arguments: list[str], problem: str
) -> None:
    done = await run(aurpay, "order", "find", *arguments, "-o", "json")
    assert (done.code, done.record["code"]) == (2, "invalid_request")
    assert problem in done.record["message"]
    assert not sandbox.requests
