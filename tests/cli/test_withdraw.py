"""``aurpay withdraw``: an invoice, shown before it is paid, and paid once at most."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ConnectError, RequestOutcome, bolt11
from aurpay_async._cli._failures import exit_code, show_error
from aurpay_async._cli._screen import Screen
from aurpay_async._cli._withdraw import withdraw_lightning

from ..loopback import Server
from ..orders import PAYEE, invoice

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aurpay_async.sandbox import Sandbox

    from ..loopback import Peer
    from .conftest import Done, Run

HASH = "cd" * 32


def fresh(**fields: Any) -> str:
    """An invoice on regtest over 1,000 satoshi, of this very moment, for an hour."""
    now = int(datetime.now(UTC).timestamp())
    return invoice(**{"timestamp": now, "amount_msat": 1_000_000, **fields})


@pytest.fixture
async def account(sandbox: Sandbox) -> Sandbox:
    """A sandbox with 20,000 satoshi in it, less the fee."""
    async with sandbox.client() as client:
        order = await client.create_order("20", "USD")
    await sandbox.pay(order.order_id)
    return sandbox


async def withdraw(aurpay: Run, *arguments: str, **options: Any) -> Done:
    return await asyncio.to_thread(aurpay, "withdraw", *arguments, **options)


async def test_a_yes(aurpay: Run, account: Sandbox) -> None:
    """Whoever is asked has seen all that matters, with nothing hidden in it."""
    text = fresh(description="\x1b[2J\u202ea coffee")
    done = await withdraw(aurpay, text, typed="yes\n")
    assert done.code == 0
    [paid] = account.withdrawals
    assert paid == HASH
    for seen in (
        "0.00001 BTC (1,000 sat)",
        "regtest",
        r"\x1b[2J\u202ea coffee",
        PAYEE,
        HASH,
        " UTC, in 59 minutes",
        "Pay 0.00001 BTC (1,000 sat)? Type yes: ",
    ):
        assert seen in done.err
    assert "taken to be paid: 0.00001 BTC (1,000 sat)" in done.out
    assert "aurpay tx list" in done.out


@pytest.mark.parametrize("typed", ["no\n", "Y\n", ""])
async def test_anything_else(aurpay: Run, account: Sandbox, typed: str) -> None:
    """Is a no: nothing is sent."""
    sent = len(account.requests)
    done = await withdraw(aurpay, fresh(), typed=typed)
    assert (done.code, done.out) == (1, "")
    assert "nothing was sent: the answer was not yes" in done.err
    assert len(account.requests) == sent


@pytest.mark.parametrize("given", ["-", "invoice"])
async def test_nobody_to_ask(aurpay: Run, account: Sandbox, given: str) -> None:
    """In a pipe, a yes is no yes: wrong usage, and nothing is sent."""
    sent = len(account.requests)
    text = fresh() if given == "invoice" else given
    done = await withdraw(aurpay, text, stdin=b"yes\n")
    assert (done.code, done.out) == (2, "")
    assert "there is no terminal to ask at, and no --yes" in done.err
    assert "aurpay decode" in done.err
    done = await withdraw(aurpay, text, "-o", "json", stdin=b"yes\n")
    assert (done.code, done.record["code"]) == (2, "usage")
    assert len(account.requests) == sent


async def test_yes_beforehand(aurpay: Run, account: Sandbox) -> None:
    """Nobody is asked; an invoice may come through a pipe then."""
    stdin = f"lightning:{fresh()}\n".encode()
    done = await withdraw(aurpay, "-", "--amount", "0.00001", "--yes", stdin=stdin)
    assert (done.code, done.err) == (0, "")
    assert f"payee         {PAYEE}" in done.out
    assert HASH in account.withdrawals


async def test_yes_for_programs(aurpay: Run, account: Sandbox) -> None:
    """One object, with all that the invoice says."""
    text = fresh()
    done = await withdraw(aurpay, text, "--yes", "-o", "json")
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
async def test_what_cannot_be_paid(
    aurpay: Run,
    account: Sandbox,
    fields: dict[str, Any],
    arguments: list[str],
    problem: str,
) -> None:
    """Is refused before anybody is asked, --yes or not."""
    sent = len(account.requests)
    text = fresh(**fields)
    for options in ({"typed": "yes\n"}, {}):
        yes = [] if options else ["--yes"]
        done = await withdraw(aurpay, text, *arguments, *yes, "-o", "json", **options)
        assert (done.code, done.record["code"]) == (2, "invalid_request")
        assert problem in done.record["message"]
        assert "Type yes" not in done.err
    assert len(account.requests) == sent


async def test_what_is_no_invoice(aurpay: Run, account: Sandbox) -> None:
    """Is not to be paid."""
    done = await withdraw(aurpay, fresh()[:-1], "--yes", "-o", "json")
    assert (done.code, done.record["code"]) == (1, "invoice_decode")
    assert done.record["may_be_paid"] is False


def test_without_credentials(aurpay: Run) -> None:
    """They are missed before anybody is asked."""
    done = aurpay("withdraw", fresh(), typed="yes\n")
    assert (done.code, done.out) == (2, "")
    assert "AURPAY_API_KEY" in done.err
    assert "Type yes" not in done.err


async def test_the_main_network_is_expected(
    aurpay: Run, account: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the environment names another one."""
    monkeypatch.delenv("AURPAY_NETWORK")
    done = await withdraw(aurpay, fresh(), "--yes", "-o", "json")
    assert done.code == 2
    assert "is for regtest, and not for mainnet" in done.record["message"]


async def test_the_platform_says_no(aurpay: Run, account: Sandbox) -> None:
    """Nothing is paid, and that is said."""
    done = await withdraw(aurpay, fresh(amount_msat=10**10), "--yes")
    assert done.code == 1
    assert "the balance is" in done.err
    assert "outcome       rejected: nothing is paid" in done.err
    assert f"payment hash  {HASH}" in done.err


async def test_it_may_be_paid(aurpay: Run, account: Sandbox) -> None:
    """Exit code 3, and which command tells; it is not sent again."""
    account.faults.push("503; retry-after=0+created")
    sent = len(account.requests)
    done = await withdraw(aurpay, fresh(), "--yes", "-o", "json")
    assert (done.code, len(account.requests) - sent) == (3, 1)
    record = done.record
    assert (record["outcome"], record["may_be_paid"]) == ("unknown", True)
    assert (record["may_exist"], record["payment_hash"]) == (False, HASH)
    assert record["advice"] == "Look before you try again: aurpay tx list"
    assert "list_transactions" not in record["message"]
    account.faults.push("reset-after-request")
    people = await withdraw(aurpay, fresh(payment_hash="ef" * 32), "--yes")
    assert people.code == 3
    assert "outcome       unknown: it may be paid" in people.err
    assert "amount        0.00001 BTC (1,000 sat)" in people.err


def test_nothing_was_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens: exit code 1, and it is said that nothing is paid."""
    error = ConnectError("nobody listens", outcome=RequestOutcome.NOT_SENT)
    error.invoice = bolt11.decode(fresh())
    assert exit_code(error) == 1
    show_error(Screen("text"), error)
    assert "not_sent: nothing is paid" in capsys.readouterr().err


async def test_interrupted_after_it_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the answer is awaited: money may have moved, and that is said."""
    arrived = asyncio.Event()

    async def silence(peer: Peer) -> None:
        await peer.read_request()
        arrived.set()
        await peer.wait_closed()

    async with Server(silence) as server:
        monkeypatch.setenv("AURPAY_BASE_URL", server.url)
        monkeypatch.setenv("AURPAY_NETWORK", "regtest")
        monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
        paying = asyncio.create_task(job())
        await asyncio.wait_for(arrived.wait(), 10)
        paying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await paying
    record = json.loads(capsys.readouterr().out)
    assert (record["code"], record["outcome"]) == ("interrupted", "unknown")
    assert (record["may_be_paid"], record["may_exist"]) == (True, False)
    assert "aurpay tx list" in record["advice"]


def job() -> Coroutine[None, None, int]:
    given = withdraw_lightning(Screen("json"), fresh(), None, yes=True)
    assert not isinstance(given, int)
    return given
