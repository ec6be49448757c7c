"""``aurpay withdraw``: confirmation, and at most one request."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ConnectError, RequestOutcome, bolt11
from aurpay_async._cli._errors import exit_code, show_error
from aurpay_async._cli._output import Output
from aurpay_async._cli.invoices import _send_withdrawal, _verify_payable

from ..support.loopback import Server
from ..support.orders import PAYEE, sign_invoice
from .conftest import FullDisk

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

    from ..support.loopback import Peer
    from .conftest import Done, Run

HASH = "cd" * 32


def sign_fresh(**fields: Any) -> str:
    """Sign a regtest invoice over 1,000 satoshi that expires in an hour."""
    now = int(datetime.now(UTC).timestamp())
    return sign_invoice(**{"timestamp": now, "amount_msat": 1_000_000, **fields})


@pytest.fixture
async def account(sandbox: Sandbox) -> Sandbox:
    """Return a sandbox with a balance of 20,000 satoshi, less the fee."""
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    await sandbox.pay(order.order_id)
    return sandbox


async def run_withdraw(aurpay: Run, *arguments: str, **options: Any) -> Done:
    return await asyncio.to_thread(aurpay, "withdraw", *arguments, **options)


async def test_withdraw_shows_the_invoice_and_sends_after_yes(
    aurpay: Run, account: Sandbox
) -> None:
    text = sign_fresh(description="\x1b[2J\u202ea coffee")
    done = await run_withdraw(aurpay, text, typed="yes\n")
    assert done.code == 0
    [paid] = account.withdrawals
    assert paid == HASH
    for seen in (
        "0.00001 BTC (1,000 sat)",
        "regtest",
        r"\x1b[2J\u202ea coffee",
        PAYEE,
        HASH,
        " UTC (in 59 minutes)",
        "Pay 0.00001 BTC (1,000 sat)? Type yes: ",
    ):
        assert seen in done.err
    assert "accepted for payment: 0.00001 BTC (1,000 sat)" in done.out
    assert "aurpay tx list" in done.out


@pytest.mark.parametrize("typed", ["no\n", "Y\n", ""])
async def test_withdraw_sends_nothing_unless_yes_is_typed(
    aurpay: Run, account: Sandbox, typed: str
) -> None:
    sent = len(account.requests)
    done = await run_withdraw(aurpay, sign_fresh(), typed=typed)
    assert (done.code, done.out) == (1, "")
    assert "nothing was sent: the answer was not yes" in done.err
    assert len(account.requests) == sent


@pytest.mark.parametrize("given", ["-", "invoice"])
async def test_withdraw_without_terminal_sends_nothing(
    aurpay: Run, account: Sandbox, given: str
) -> None:
    sent = len(account.requests)
    text = sign_fresh() if given == "invoice" else given
    done = await run_withdraw(aurpay, text, stdin=b"yes\n")
    assert (done.code, done.out) == (2, "")
    assert "there is no terminal to ask at, and no --yes" in done.err
    assert "aurpay decode" in done.err
    done = await run_withdraw(aurpay, text, "-o", "json", stdin=b"yes\n")
    assert (done.code, done.record["code"]) == (2, "usage")
    assert len(account.requests) == sent


async def test_withdraw_with_yes_option_reads_the_invoice_from_a_pipe(
    aurpay: Run, account: Sandbox
) -> None:
    stdin = f"lightning:{sign_fresh()}\n".encode()
    done = await run_withdraw(aurpay, "-", "--amount", "0.00001", "--yes", stdin=stdin)
    assert (done.code, done.err) == (0, "")
    assert f"payee         {PAYEE}" in done.out
    assert HASH in account.withdrawals


async def test_withdraw_ends_with_3_if_the_result_of_a_transfer_cannot_be_written(
    aurpay: Run, account: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())
    done = await run_withdraw(aurpay, sign_fresh(), "--yes", "-o", "json")
    assert (done.code, HASH in account.withdrawals) == (3, True)
    assert "money may have moved" in done.err
    assert "aurpay tx list\n" in done.err


async def test_withdraw_prints_one_json_object(aurpay: Run, account: Sandbox) -> None:
    text = sign_fresh()
    done = await run_withdraw(aurpay, text, "--yes", "-o", "json")
    assert (done.code, done.err) == (0, "")
    record = done.record
    assert record["type"] == "withdrawal"
    assert (record["amount"], record["amount_msat"]) == ("0.00001", "1000000")
    assert (record["payment_hash"], record["data"]) == (HASH, {})
    assert (record["invoice"]["text"], record["invoice"]["payee"]) == (text, PAYEE)


@pytest.mark.parametrize(
    ("fields", "arguments", "problem"),
    [
        ({}, ["--amount", "0.00002"], "expected 2000000 msat"),
        ({}, ["--amount", "1e-5"], "not an amount in BTC"),
        ({"timestamp": 1_700_000_000}, [], "expired"),
        ({"amount_msat": None}, [], "leaves the amount open"),
        ({"network": "testnet"}, [], "is for testnet, and not for regtest"),
    ],
)
async def test_withdraw_rejects_an_unpayable_invoice_before_asking(
    aurpay: Run,
    account: Sandbox,
    fields: dict[str, Any],
    arguments: list[str],
    problem: str,
) -> None:
    sent = len(account.requests)
    text = sign_fresh(**fields)
    for options in ({"typed": "yes\n"}, {}):
        yes = [] if options else ["--yes"]
        done = await run_withdraw(
            aurpay, text, *arguments, *yes, "-o", "json", **options
        )
        assert (done.code, done.record["code"]) == (2, "invalid_request")
        assert problem in done.record["message"]
        assert "Type yes" not in done.err
    assert len(account.requests) == sent


async def test_withdraw_rejects_text_that_is_not_an_invoice(
    aurpay: Run, account: Sandbox
) -> None:
    done = await run_withdraw(aurpay, sign_fresh()[:-1], "--yes", "-o", "json")
    assert (done.code, done.record["code"]) == (1, "invoice_decode")
    assert done.record["may_be_paid"] is False


def test_withdraw_without_credentials_fails_before_asking(aurpay: Run) -> None:
    done = aurpay("withdraw", sign_fresh(), typed="yes\n")
    assert (done.code, done.out) == (2, "")
    assert "AURPAY_API_KEY" in done.err
    assert "Type yes" not in done.err


async def test_withdraw_expects_mainnet_by_default(
    aurpay: Run, account: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AURPAY_NETWORK")
    done = await run_withdraw(aurpay, sign_fresh(), "--yes", "-o", "json")
    assert done.code == 2
    assert "is for regtest, and not for mainnet" in done.record["message"]


async def test_withdraw_rejected_by_aurpay_moves_no_money(
    aurpay: Run, account: Sandbox
) -> None:
    done = await run_withdraw(aurpay, sign_fresh(amount_msat=10**10), "--yes")
    assert done.code == 1
    assert "the balance is" in done.err
    assert "outcome       rejected: no money has moved" in done.err
    assert f"payment hash  {HASH}" in done.err


async def test_withdraw_with_unknown_outcome_ends_with_3_and_is_not_repeated(
    aurpay: Run, account: Sandbox
) -> None:
    account.faults.push("503; retry-after=0+created")
    sent = len(account.requests)
    done = await run_withdraw(aurpay, sign_fresh(), "--yes", "-o", "json")
    assert (done.code, len(account.requests) - sent) == (3, 1)
    record = done.record
    assert (record["outcome"], record["may_be_paid"]) == ("unknown", True)
    assert (record["may_exist"], record["payment_hash"]) == (False, HASH)
    assert record["advice"] == "Query Aurpay before you try again: aurpay tx list"
    assert "list_transactions" not in record["message"]
    account.faults.push("reset-after-request")
    people = await run_withdraw(aurpay, sign_fresh(payment_hash="ef" * 32), "--yes")
    assert people.code == 3
    assert "outcome       unknown: money may have moved" in people.err
    assert "amount        0.00001 BTC (1,000 sat)" in people.err


def test_failure_to_connect_reports_that_no_money_has_moved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ConnectError("connection refused", outcome=RequestOutcome.NOT_SENT)
    error.invoice = bolt11.decode(sign_fresh())
    assert exit_code(error) == 1
    show_error(Output("text"), error)
    assert "not_sent: no money has moved" in capsys.readouterr().err


async def send_confirmed() -> int:
    payable = _verify_payable(sign_fresh(), None)
    return await _send_withdrawal(Output("json"), payable)


async def test_ctrl_c_after_sending_reports_that_money_may_have_moved(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = asyncio.Event()

    async def silence(peer: Peer) -> None:
        await peer.read_request()
        arrived.set()
        await peer.wait_closed()

    async with Server(silence) as server:
        monkeypatch.setenv("AURPAY_BASE_URL", server.url)
        monkeypatch.setenv("AURPAY_NETWORK", "regtest")
        monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
        paying = asyncio.create_task(send_confirmed())
        await asyncio.wait_for(arrived.wait(), 60)
        paying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await paying
    record = json.loads(capsys.readouterr().out)
    assert (record["code"], record["outcome"]) == ("interrupted", "unknown")
    assert (record["may_be_paid"], record["may_exist"]) == (True, False)
    assert "aurpay tx list" in record["advice"]
