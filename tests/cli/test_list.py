"""``aurpay order list`` and ``aurpay tx list``: one page, or all rows."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async._api.models import Order, OrderStatus
from aurpay_async._cli.orders import ORDERS
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .conftest import Done, Run

HEAD = (
    "  order_id              created                  status      price         amount"
)
FIRST_PAGE = f"""\
{HEAD}
  20260101120000000003  2026-01-01 12:00:00 UTC  PENDING     3 USD         0.00003000 BTC-LN
  20260101120000000002  2026-01-01 12:00:00 UTC  PENDING     2 USD         0.00002000 BTC-LN

    page 1 of 2, orders in all: 3
"""  # noqa: E501 - as it is shown
TRANSACTIONS = """\
  tx_id                                 type      status    amount                fee
  <refund>  REFUND    SUCCESS   0.00001000 BTC-LN     0
  <paid>  ORDER     SUCCESS   0.00001000 BTC-LN     0.00000008000

    page 1 of 1, transactions in all: 2
"""
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """Create orders of 1, 2 and 3 dollars, and pay the first one."""
    async with Sandbox(clock=FakeClock(NOON)) as sandbox, sandbox.client() as aurpay:
        monkeypatch.setenv("AURPAY_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("AURPAY_NETWORK", "regtest")
        monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
        orders = [await aurpay.create_order(price, "USD") for price in (1, 2, 3)]
        await sandbox.pay(orders[0].order_id)
        yield sandbox


async def run(aurpay: Run, *arguments: str, **options: Any) -> Done:
    return await asyncio.to_thread(aurpay, *arguments, **options)


async def test_order_list_shows_a_page_and_the_total(
    aurpay: Run, shop: Sandbox
) -> None:
    done = await run(aurpay, "order", "list", "--size", "2")
    assert (done.code, done.err) == (0, "")
    assert done.out == FIRST_PAGE
    second = await run(aurpay, "order", "list", "--size", "2", "--page", "2")
    assert "000001  2026-01-01 12:00:00 UTC  SUCCESS     1 USD" in second.out
    assert "page 2 of 2, orders in all: 3" in second.out


async def test_order_list_page_is_one_json_object(aurpay: Run, shop: Sandbox) -> None:
    done = await run(
        aurpay, "order", "list", "--size", "2", "--page", "2", "-o", "json"
    )
    record = done.record
    [row] = record.pop("orders")
    assert record == {
        "type": "orders",
        "page": 2,
        "size": 2,
        "total": 3,
        "max_page": 2,
    }
    shown = await run(aurpay, "order", "show", row["order_id"], "-o", "json")
    assert shown.record == {"type": "detail", **row}


async def test_order_list_all_shows_every_page(aurpay: Run, shop: Sandbox) -> None:
    done = await run(aurpay, "order", "list", "--all", "--size", "2")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == HEAD
    assert [line[2:22] for line in lines[1:4]] == [
        "20260101120000000003",
        "20260101120000000002",
        "20260101120000000001",
    ]
    assert lines[4:] == ["", "    3 orders"]
    records = (await run(aurpay, "order", "list", "--all", "-o", "json")).records
    assert [record["price"] for record in records] == ["3", "2", "1"]
    assert {record["type"] for record in records} == {"detail"}


async def test_order_list_all_counts_rows_on_a_terminal(
    aurpay: Run, shop: Sandbox
) -> None:
    done = await run(aurpay, "order", "list", "--all", "--size", "1", typed="")
    assert "3 orders so far" in done.err
    assert "so far" not in done.out
    assert done.out.endswith("    3 orders\n")


async def test_order_list_all_keeps_rows_received_before_a_failure(
    aurpay: Run, shop: Sandbox
) -> None:
    shop.faults.push("slow; seconds=0", "404")
    done = await run(aurpay, "order", "list", "--all", "--size", "2", "-o", "json")
    assert done.code == 1
    assert [record["type"] for record in done.records] == ["detail", "detail", "error"]


async def test_empty_order_list_has_no_columns(aurpay: Run, sandbox: Sandbox) -> None:
    done = await run(aurpay, "order", "list")
    assert (done.code, done.out.strip()) == (0, "page 1 of 1, orders in all: 0")
    done = await run(aurpay, "order", "list", "--all")
    assert (done.code, done.out.strip()) == (0, "0 orders")
    done = await run(aurpay, "order", "list", "--all", "-o", "json")
    assert (done.code, done.out) == (0, "")


@pytest.mark.parametrize("asked", [["--page", "0"], ["--size", "1001"]])
async def test_tx_list_rejects_an_invalid_page_or_size(
    aurpay: Run, sandbox: Sandbox, asked: list[str]
) -> None:
    done = await run(aurpay, "tx", "list", *asked, "-o", "json")
    assert (done.code, done.record["code"]) == (2, "invalid_request")
    assert not sandbox.requests


async def test_tx_list_shows_payments_refunds_and_fees(
    aurpay: Run, shop: Sandbox
) -> None:
    [paid] = shop.transactions
    await shop.refund("20260101120000000001")
    refund = shop.transactions[0]
    done = await run(aurpay, "tx", "list")
    assert (done.code, done.err) == (0, "")
    out = done.out.replace(paid.tx_id, "<paid>").replace(refund.tx_id, "<refund>")
    assert out == TRANSACTIONS


async def test_tx_list_has_the_same_json_keys_with_and_without_all(
    aurpay: Run, shop: Sandbox
) -> None:
    [paid] = shop.transactions
    row = {
        "tx_id": paid.tx_id,
        "tx_type": "ORDER",
        "status": "SUCCESS",
        "chain": "BLN",
        "coin": "BTC-LN",
        "amount": "0.00001000",
        "obtained": "0.00000992000",
        "fee": "0.00000008000",
    }
    page = await run(aurpay, "tx", "list", "-o", "json")
    assert (page.record["type"], page.record["transactions"]) == ("transactions", [row])
    lines = await run(aurpay, "tx", "list", "--all", "-o", "json")
    assert lines.record == {"type": "transaction", **row}


def test_order_list_marks_missing_values() -> None:
    bare = Order(order_id="1", status=OrderStatus("NEW"))
    assert ORDERS.cells(bare) == ("1", "unknown", "NEW", "-", "-")
