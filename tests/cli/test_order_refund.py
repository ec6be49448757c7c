"""``aurpay order refund``: confirmation, and at most one request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ConnectionLostError
from aurpay_async._api.models import Order, OrderStatus
from aurpay_async._api.payment_models import RefundInfo
from aurpay_async._cli._errors import show_error
from aurpay_async._cli._output import Output
from aurpay_async._cli.orders import _refund_plan
from aurpay_async._core.money import parse_price

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

    from .conftest import Done, Run


@pytest.fixture
async def paid(sandbox: Sandbox) -> str:
    """The id of a paid order of 20 dollars."""
    return await pay_order(sandbox)


async def pay_order(sandbox: Sandbox) -> str:
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    await sandbox.pay(order.order_id)
    return order.order_id


async def run_refund(aurpay: Run, *arguments: str, **options: Any) -> Done:
    return await asyncio.to_thread(aurpay, "order", "refund", *arguments, **options)


async def test_order_refund_shows_the_order_and_sends_after_yes(
    aurpay: Run, sandbox: Sandbox, paid: str
) -> None:
    done = await run_refund(aurpay, paid, typed="yes\n")
    assert done.code == 0
    assert sandbox.orders[paid].status == "REFUNDED"
    for seen in (
        f"Refund of order {paid}",
        "SUCCESS: paid",
        "0.00020000 BTC-LN on BLN",
        "not documented by Aurpay",
        "Refund 0.00020000 BTC-LN? Type yes: ",
    ):
        assert seen in done.err
    assert "Aurpay answered REFUNDED" in done.out
    assert "`aurpay store reconcile REFERENCE` makes that due now" in done.out
    assert "Type yes" not in done.out


async def test_order_refund_of_a_refunded_order_asks_nothing(
    aurpay: Run, paid: str
) -> None:
    assert (await run_refund(aurpay, paid, "--yes")).code == 0
    for done in (
        await run_refund(aurpay, paid, typed="yes\n"),
        await run_refund(aurpay, paid, "--yes"),
    ):
        assert done.code == 2
        assert f"order_id: {paid} is refunded already" in done.err
        assert "Nothing was sent: nothing is left to refund.\n" in done.err
        assert "Type yes" not in done.err


@pytest.mark.parametrize("typed", ["no\n", "y\n", "\n", ""])
async def test_order_refund_sends_nothing_unless_yes_is_typed(
    aurpay: Run, sandbox: Sandbox, paid: str, typed: str
) -> None:
    done = await run_refund(aurpay, paid, "-o", "json", typed=typed)
    assert (done.code, done.record["code"]) == (1, "declined")
    assert "Type yes" in done.err
    assert sandbox.orders[paid].status == "SUCCESS"
    assert {request.method for request in sandbox.requests[1:]} == {"GET"}


async def test_order_refund_without_terminal_sends_nothing(
    aurpay: Run, sandbox: Sandbox, paid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = len(sandbox.requests)
    done = await run_refund(aurpay, paid, stdin=b"yes\n")
    assert (done.code, done.out) == (2, "")
    assert "there is no terminal to ask at, and no --yes" in done.err
    assert "aurpay order show" in done.err
    done = await run_refund(aurpay, paid, "-o", "json", stdin=b"yes\n")
    assert (done.code, done.record["code"]) == (2, "usage")
    monkeypatch.setattr("tests.cli.conftest.Terminal.isatty", lambda _: False)
    assert (await run_refund(aurpay, paid, typed="yes\n")).code == 2
    assert len(sandbox.requests) == sent
    assert sandbox.orders[paid].status == "SUCCESS"


async def test_order_refund_with_yes_option_does_not_ask(
    aurpay: Run, sandbox: Sandbox, paid: str
) -> None:
    done = await run_refund(aurpay, paid, "--yes")
    assert (done.code, done.err) == (0, "")
    assert "refund       0.00020000 BTC-LN on BLN" in done.out
    assert "Type yes" not in done.out
    assert sandbox.orders[paid].status == "REFUNDED"


async def test_order_refund_prints_one_json_object(
    aurpay: Run, sandbox: Sandbox, paid: str
) -> None:
    done = await run_refund(aurpay, paid, "--yes", "-o", "json")
    assert (done.code, done.err) == (0, "")
    record = done.record
    assert (record["type"], record["order_id"]) == ("refund", paid)
    assert (record["status"], record["amount"]) == ("REFUNDED", "0.00020000")
    assert record["order"]["status"] == "SUCCESS"
    assert record["info"] == {"chain": "BLN", "coin": "BTC-LN", "amount": "0.00020000"}


async def test_order_refund_of_unpaid_order_fails_before_asking(
    aurpay: Run, sandbox: Sandbox
) -> None:
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    done = await run_refund(aurpay, order.order_id, typed="yes\n")
    assert done.code == 1
    assert "there is nothing to refund" in done.err
    assert "Type yes" not in done.err


async def test_order_refund_with_unknown_outcome_ends_with_3(
    aurpay: Run, sandbox: Sandbox, paid: str
) -> None:
    reads = ("slow; seconds=0", "slow; seconds=0")
    sandbox.faults.push(*reads, "503; retry-after=0+created")
    done = await run_refund(aurpay, paid, "--yes", "-o", "json")
    assert done.code == 3
    record = done.record
    assert (record["outcome"], record["may_be_paid"]) == ("unknown", True)
    assert (record["may_exist"], record["order_id"]) == (False, paid)
    assert record["advice"] == (
        f"Query Aurpay before you try again: aurpay order show {paid}, "
        "and aurpay tx list"
    )
    assert "list_transactions" not in record["message"]
    assert [request.method for request in sandbox.requests].count("POST") == 2
    other = await pay_order(sandbox)  # the first one is refunded
    sandbox.faults.push(*reads, "reset-after-request")
    people = await run_refund(aurpay, other, "--yes")
    assert people.code == 3
    assert "outcome  unknown: money may have moved" in people.err


def test_order_id_in_a_refund_hint_is_quoted_for_the_shell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ConnectionLostError("broke")
    error.order_id, error.advice = "$(reboot)", "look"
    show_error(Output("text"), error)
    assert "aurpay order show '$(reboot)', and" in capsys.readouterr().err


def test_order_refund_marks_an_order_that_is_not_refundable() -> None:
    info = RefundInfo(order_id="1", chain="ETH", coin="ETH", amount=parse_price("0.5"))

    def marks(**fields: Any) -> list[str]:
        order = Order(order_id="1", status=OrderStatus.SUCCESS, **fields)
        return [row.name for row in _refund_plan(order, info).rows if row.verdict]

    assert marks(refundable=False) == ["refundable", "receiver"]
    assert marks(refundable=True) == marks() == ["receiver"]
