"""``aurpay order refund``: shown, asked, and sent once at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ConnectionLostError
from aurpay_async._cli._failures import show_error
from aurpay_async._cli._order_refund import _Found, _plan
from aurpay_async._cli._screen import Screen
from aurpay_async._models import Order
from aurpay_async._models._refunds import RefundInfo
from aurpay_async._money import parse_price
from aurpay_async._order_life import OrderStatus

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

    from .conftest import Done, Run


@pytest.fixture
async def paid(sandbox: Sandbox) -> str:
    """An order of 20 dollars that was paid."""
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    await sandbox.pay(order.order_id)
    return order.order_id


async def refund(aurpay: Run, *arguments: str, **options: Any) -> Done:
    return await asyncio.to_thread(aurpay, "order", "refund", *arguments, **options)


async def test_a_yes(aurpay: Run, sandbox: Sandbox, paid: str) -> None:
    """Whoever is asked has seen the order, and where the money goes."""
    done = await refund(aurpay, paid, typed="yes\n")
    assert done.code == 0
    assert sandbox.orders[paid].status == "REFUNDED"
    for seen in (
        f"Order {paid} is to be paid back",
        "SUCCESS: paid",
        "0.00020000 BTC-LN on BLN",
        "Aurpay does not document it",
        "Pay back 0.00020000 BTC-LN? Type yes: ",
    ):
        assert seen in done.err
    assert "the platform answered REFUNDED" in done.out
    assert "Type yes" not in done.out


@pytest.mark.parametrize("typed", ["no\n", "y\n", "\n", ""])
async def test_anything_else(
    aurpay: Run, sandbox: Sandbox, paid: str, typed: str
) -> None:
    """Is a no, the end of the input as well: nothing is sent, and that is said."""
    done = await refund(aurpay, paid, "-o", "json", typed=typed)
    assert (done.code, done.record["code"]) == (1, "declined")
    assert "Type yes" in done.err
    assert sandbox.orders[paid].status == "SUCCESS"
    assert {request.method for request in sandbox.requests[1:]} == {"GET"}


async def test_nobody_to_ask(
    aurpay: Run, sandbox: Sandbox, paid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe, or where nobody sees the question: wrong usage, nothing is sent."""
    sent = len(sandbox.requests)
    done = await refund(aurpay, paid, stdin=b"yes\n")
    assert (done.code, done.out) == (2, "")
    assert "there is no terminal to ask at, and no --yes" in done.err
    assert "aurpay order show" in done.err
    done = await refund(aurpay, paid, "-o", "json", stdin=b"yes\n")
    assert (done.code, done.record["code"]) == (2, "usage")
    monkeypatch.setattr("tests.cli.conftest.Terminal.isatty", lambda _: False)
    assert (await refund(aurpay, paid, typed="yes\n")).code == 2
    assert len(sandbox.requests) == sent
    assert sandbox.orders[paid].status == "SUCCESS"


async def test_yes_beforehand(aurpay: Run, sandbox: Sandbox, paid: str) -> None:
    """Is an answer to the question, which is shown and not asked."""
    done = await refund(aurpay, paid, "--yes")
    assert (done.code, done.err) == (0, "")
    assert "to pay back  0.00020000 BTC-LN on BLN" in done.out
    assert "Type yes" not in done.out
    assert sandbox.orders[paid].status == "REFUNDED"


async def test_yes_for_programs(aurpay: Run, sandbox: Sandbox, paid: str) -> None:
    """One object: what was answered, and what there was before."""
    done = await refund(aurpay, paid, "--yes", "-o", "json")
    assert (done.code, done.err) == (0, "")
    record = done.record
    assert (record["type"], record["order_id"]) == ("refund", paid)
    assert (record["status"], record["amount"]) == ("REFUNDED", "0.00020000")
    assert record["order"]["status"] == "SUCCESS"
    assert record["info"] == {"chain": "BLN", "coin": "BTC-LN", "amount": "0.00020000"}


async def test_nothing_to_pay_back(aurpay: Run, sandbox: Sandbox) -> None:
    """Is said before anybody is asked."""
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    done = await refund(aurpay, order.order_id, typed="yes\n")
    assert done.code == 1
    assert "there is nothing to refund" in done.err
    assert "Type yes" not in done.err


async def test_it_may_be_paid_back(aurpay: Run, sandbox: Sandbox, paid: str) -> None:
    """Exit code 3, and which commands tell; it is not sent again."""
    asked_first = ("slow; seconds=0", "slow; seconds=0")
    sandbox.faults.push(*asked_first, "503; retry-after=0+created")
    done = await refund(aurpay, paid, "--yes", "-o", "json")
    assert done.code == 3
    record = done.record
    assert (record["outcome"], record["may_be_paid"]) == ("unknown", True)
    assert (record["may_exist"], record["order_id"]) == (False, paid)
    assert record["advice"] == (
        f"Look before you try again: aurpay order show {paid}, and aurpay tx list"
    )
    assert "list_transactions" not in record["message"]
    assert [request.method for request in sandbox.requests].count("POST") == 2
    sandbox.faults.push(*asked_first, "reset-after-request")
    people = await refund(aurpay, paid, "--yes")
    assert people.code == 3
    assert "outcome  unknown: it may be paid" in people.err


def test_an_order_id_cannot_get_into_a_shell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line with it is there to be copied."""
    error = ConnectionLostError("broke")
    error.order_id, error.advice = "$(reboot)", "look"
    show_error(Screen("text"), error)
    assert "aurpay order show '$(reboot)', and" in capsys.readouterr().err


def test_an_order_that_is_not_eligible() -> None:
    """Is marked: the platform says so, and may refund it all the same."""
    info = RefundInfo(order_id="1", chain="ETH", coin="ETH", amount=parse_price("0.5"))

    def marks(**fields: Any) -> list[str]:
        order = Order(order_id="1", status=OrderStatus.SUCCESS, **fields)
        return [row.name for row in _plan(_Found(order, info)).rows if row.verdict]

    assert marks(refundable=False) == ["refundable", "goes to"]
    assert marks(refundable=True) == marks() == ["goes to"]
