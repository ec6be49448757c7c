"""``aurpay order create`` and ``show``, with their failures and hints."""

from __future__ import annotations

import asyncio
import json
import webbrowser
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import (
    AurpayClient,
    AurpayError,
    InvoiceDecodeError,
    InvoiceInvalidError,
    NewOrder,
    NewPayment,
    Payment,
    RateLimitedError,
    RequestOutcome,
    ServerError,
    StoreUnavailableError,
    UntrustedOrderError,
)
from aurpay_async._api.models import Order, OrderStatus
from aurpay_async._cli import orders
from aurpay_async._cli._errors import exit_code, recovery_hint, show_error
from aurpay_async._cli._output import Output
from aurpay_async._cli._views import detail_rows
from aurpay_async._cli.orders import create_order

from ..support.loopback import Server, closed_port
from .conftest import FullDisk

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

    from ..support.loopback import Peer
    from .conftest import Done, Run

KEY = "a-made-up-key-of-16-characters-or-more"
SHOP = "https://shop.example"


async def run_order(aurpay: Run, *arguments: str) -> Done:
    return await asyncio.to_thread(aurpay, "order", *arguments)


@pytest.mark.parametrize("output", ["text", "json"])
async def test_order_create_ends_with_3_if_the_created_order_cannot_be_written(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """Another run would create a second order."""
    monkeypatch.setattr("sys.stdout", FullDisk())
    done = await run_order(aurpay, "create", "20", "USD", "-o", output)
    assert (done.code, len(sandbox.orders)) == (3, 1)
    problem = "the result cannot be written (No space left on device) after the request"
    assert f"{problem} was sent: an order may exist" in done.err
    assert "aurpay order list\n" in done.err


@pytest.mark.parametrize("streams", [["stdout"], ["stdout", "stderr"]])
async def test_order_create_ends_with_3_if_an_unknown_outcome_cannot_be_written(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, streams: list[str]
) -> None:
    sandbox.faults.push("cut-body+created")
    for stream in streams:
        monkeypatch.setattr(f"sys.{stream}", FullDisk())
    done = await run_order(aurpay, "create", "20", "USD", "-o", "json")
    assert (done.code, len(sandbox.orders)) == (3, 1)
    if "stderr" not in streams:
        assert "unknown: an order may exist" in done.err
        assert f"aurpay order show {next(iter(sandbox.orders))}\n" in done.err


async def test_order_create_that_fails_before_its_request_ends_with_1(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the terminal is gone")

    monkeypatch.setattr(Output, "waiting", fail)
    done = await run_order(aurpay, "create", "20", "USD")
    assert (done.code, len(sandbox.orders)) == (1, 0)
    assert "OSError: the terminal is gone" in done.err
    assert "may exist" not in done.err


async def test_query_ends_with_1_if_its_result_cannot_be_written(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())
    for words in (["list"], ["create", "20", "no currency"]):
        done = await run_order(aurpay, *words)
        assert done.code in {1, 2}
        assert "may exist" not in done.err
    assert not sandbox.orders


async def test_order_create_shows_the_order_and_its_invoice(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run_order(aurpay, "create", "19.99", "eur", "--qr")
    assert (done.code, done.err) == (0, "")
    [made] = sandbox.orders.values()
    assert (str(made.price), made.currency) == ("19.99", "EUR")
    assert made.order_id in done.out
    assert made.invoice in done.out.splitlines()
    assert "✓ signature " in done.out
    assert "no QR code here" in done.out  # in a pipe
    assert "a-made-up-api-key" not in done.out


async def test_order_create_prints_one_json_object(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run_order(aurpay, "create", "20", "USD", "-o", "json", "--qr")
    assert (done.code, done.err) == (0, "")
    [made] = sandbox.orders.values()
    record = done.record
    assert record["type"] == "order"
    assert record["order_id"] == made.order_id
    assert record["payment_request"] == made.invoice
    assert (record["price"], record["amount"]) == ("20", "0.00020000")
    assert record["amount_msat"] == "20000000"


async def test_order_create_passes_urls_and_reference_to_aurpay(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", KEY)
    urls = {
        "callback-url": f"{SHOP}/paid",
        "timeout-callback": f"{SHOP}/late",
        "succeed-url": f"{SHOP}/thanks",
        "timeout-url": f"{SHOP}/sorry",
    }
    arguments = [word for name, url in urls.items() for word in (f"--{name}", url)]
    done = await run_order(
        aurpay, "create", "20", "USD", "--reference", "cart-42", *arguments
    )
    assert done.code == 0
    [made] = sandbox.orders.values()
    for name, url in urls.items():
        assert made.urls[name.replace("-", "_")].startswith(url)
    assert "aurpay_ref=" in made.urls["callback_url"]
    assert "reference    cart-42" in done.out


async def test_order_create_with_reference_needs_the_key(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run_order(aurpay, "create", "20", "USD", "--reference", "cart-42")
    assert (done.code, done.out) == (2, "")
    assert "AURPAY_REFERENCE_KEY" in done.err
    assert not sandbox.orders


@pytest.mark.parametrize("opens", [True, False])
async def test_order_create_opens_the_checkout_page(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, opens: bool
) -> None:
    opened: list[str] = []

    def browse(url: str) -> bool:
        opened.append(url)
        return opens

    monkeypatch.setattr(webbrowser, "open", browse)
    done = await run_order(aurpay, "create", "20", "USD", "--open", "-o", "json")
    assert done.code == 0
    assert opened == [done.record["pay_url"]]
    assert opened[0] in done.err
    assert ("Opened" in done.err) is opens


async def test_order_create_watch_prints_each_status_and_the_payment(
    aurpay: Run, sandbox: Sandbox
) -> None:
    sandbox.callback_faults.push("before-answer")
    url = f"{sandbox.base_url}/paid"
    done = await run_order(
        aurpay, "create", "20", "USD", "--callback-url", url, "--watch", "-o", "json"
    )
    assert (done.code, done.err) == (0, "")
    made, status, payment = done.records
    assert (made["type"], made["status"]) == ("order", "PENDING")
    assert (status["type"], status["status"]) == ("status", "SUCCESS")
    assert payment == {
        "type": "payment",
        "order_id": made["order_id"],
        "outcome": "paid",
        "status": "SUCCESS",
    }


async def test_order_create_watch_shows_the_time_left_on_a_terminal(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(orders, "_TICK_S", 0.01)

    async def pay(_: AurpayClient, order: Any, **options: Any) -> Payment:
        await asyncio.sleep(0.1)
        options["on_status"](OrderStatus.SUCCESS)
        paid = Order(order_id=order.order_id, status=OrderStatus.SUCCESS)
        return Payment(outcome="late_paid", order=paid)

    monkeypatch.setattr(AurpayClient, "wait_for_payment", pay)
    done = await run_order(aurpay, "create", "20", "USD", "--watch")
    assert done.code == 0
    assert "left to pay" in done.err
    assert "paid late" in done.out


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("PENDING", "PENDING, 29:51 left to pay"),
        ("OVERDUE", "OVERDUE: a payment would be late"),
        ("SUCCESS", "SUCCESS"),
        ("PARTIAL", "PARTIAL"),
    ],
)
def test_time_left_is_shown_for_pending_orders_only(status: str, shown: str) -> None:
    """A sandbox with a speed has overdue orders before 30 minutes are over."""
    overdue_at = datetime.now(UTC) + timedelta(minutes=29, seconds=51.9)
    order: Any = SimpleNamespace(overdue_at=overdue_at)
    assert orders._progress(order, OrderStatus(status)) == shown


@pytest.mark.parametrize(
    ("status", "outcome"), [("OVERDUE", "timed_out"), ("REFUNDED", "refunded")]
)
async def test_order_create_watch_ends_with_1_if_not_paid(
    aurpay: Run,
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    outcome: Any,
) -> None:
    async def wait(_: AurpayClient, order: Any, **__: Any) -> Payment:
        late = Order(order_id=order.order_id, status=OrderStatus(status))
        return Payment(outcome=outcome, order=late)

    monkeypatch.setattr(AurpayClient, "wait_for_payment", wait)
    done = await run_order(aurpay, "create", "20", "USD", "--watch", "-o", "json")
    assert done.code == 1
    assert done.records[-1]["outcome"] == outcome


async def test_failed_polling_ends_with_1_and_names_the_order(
    aurpay: Run, sandbox: Sandbox
) -> None:
    sandbox.faults.push("slow; seconds=0", "404")
    done = await run_order(aurpay, "create", "20", "USD", "--watch", "-o", "json")
    made, error = done.records
    assert done.code == 1
    assert error["code"] == "not_found"
    assert error["order_id"] == made["order_id"]
    assert error["may_exist"] is False


@pytest.mark.parametrize(
    ("fault", "order_known"), [("cut-body+created", True), ("503+created", False)]
)
async def test_order_create_with_unknown_outcome_ends_with_3(
    aurpay: Run, sandbox: Sandbox, fault: str, order_known: bool
) -> None:
    sandbox.faults.push(fault, fault)
    done = await run_order(aurpay, "create", "20", "USD")
    assert (done.code, done.out) == (3, "")
    assert "unknown: an order may exist" in done.err
    assert "requested  20 USD" in done.err
    assert "sent at" in done.err
    [made] = sandbox.orders
    assert (f"aurpay order show {made}" in done.err) is order_known
    assert ("aurpay order find 20 USD --sent-at 20" in done.err) is not order_known
    record = (await run_order(aurpay, "create", "20", "USD", "-o", "json")).record
    assert record["type"] == "error"
    assert (record["outcome"], record["may_exist"]) == ("unknown", True)
    assert record["new_order"]["price"] == "20"
    assert (record["order_id"] is not None) is order_known


async def test_order_create_without_connection_reports_that_no_order_exists(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with closed_port() as base_url:
        monkeypatch.setenv("AURPAY_BASE_URL", base_url)
        monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
        done = await run_order(aurpay, "create", "20", "USD")
    assert done.code == 1
    assert "not_sent: no order exists" in done.err


@pytest.mark.parametrize("price", ["19.99.1", "1e3", "0"])
async def test_order_create_rejects_an_invalid_price(
    aurpay: Run, sandbox: Sandbox, price: str
) -> None:
    done = await run_order(aurpay, "create", price, "USD")
    assert (done.code, done.out) == (2, "")
    assert not sandbox.requests


def test_order_show_without_credentials_names_the_variables(aurpay: Run) -> None:
    done = aurpay("order", "show", "1")
    assert (done.code, done.out) == (2, "")
    assert "AURPAY_API_KEY" in done.err


async def test_order_show_prints_the_status_as_text_and_json(
    aurpay: Run, sandbox: Sandbox
) -> None:
    async with sandbox.client() as client:
        made = await client.create_order("20.00", "USD")
    await sandbox.pay(made.order_id)
    done = await run_order(aurpay, "show", made.order_id)
    assert (done.code, done.err) == (0, "")
    assert "SUCCESS: paid" in done.out
    assert "0.00020000 BTC-LN" in done.out
    record = (await run_order(aurpay, "show", made.order_id, "-o", "json")).record
    assert (record["type"], record["is_paid"]) == ("detail", True)
    assert record["amount"] == "0.00020000"


def test_order_rows_leave_out_missing_fields() -> None:
    bare = Order(order_id="1", status=OrderStatus("NEW"), remark="hello")
    assert [tuple(row) for row in detail_rows(bare)] == [
        ("status", "NEW: unknown whether it is paid", ""),
        ("remark", "hello", ""),
    ]


async def test_order_show_json_has_null_for_missing_fields(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(_: AurpayClient, order_id: str) -> Order:
        return Order(order_id=order_id, status=OrderStatus("NEW"))

    monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
    monkeypatch.setattr(AurpayClient, "get_order", get)
    record = (await run_order(aurpay, "show", "1", "-o", "json")).record
    assert (record["price"], record["amount"]) == (None, None)
    assert record["create_time"] is None


async def test_order_show_of_unknown_order_ends_with_1(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run_order(aurpay, "show", "20260101000000000001")
    assert (done.code, done.out) == (1, "")
    assert "there is no such order" in done.err
    assert "Check the id" in done.err


@pytest.mark.parametrize("closed", [False, True])
async def test_ctrl_c_after_sending_reports_that_an_order_may_exist(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, closed: bool
) -> None:
    """It may have ended the reader of standard output, too."""
    arrived = asyncio.Event()

    async def silence(peer: Peer) -> None:
        await peer.read_request()
        arrived.set()
        await peer.wait_closed()

    async with Server(silence) as server:
        monkeypatch.setenv("AURPAY_BASE_URL", server.url)
        monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
        creating = asyncio.create_task(create_order("20", "USD", output=Output("json")))
        await asyncio.wait_for(arrived.wait(), 60)
        if closed:
            monkeypatch.setattr("sys.stdout", FullDisk())
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
    shown = capsys.readouterr()
    if closed:
        assert "interrupted after the request was sent: an order may" in shown.err
        return
    record = json.loads(shown.out)
    assert (record["code"], record["may_exist"]) == ("interrupted", True)
    assert record["may_be_paid"] is False
    assert "aurpay order list" in record["advice"]


async def test_ctrl_c_before_sending_reports_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = asyncio.Event()

    async def never(*_: Any, **__: Any) -> None:
        called.set()
        await asyncio.Event().wait()

    monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
    monkeypatch.setattr(AurpayClient, "create_order", never)
    creating = asyncio.create_task(create_order("20", "USD"))
    await asyncio.wait_for(called.wait(), 60)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert capsys.readouterr() == ("", "")


def show_text(error: Any, capsys: pytest.CaptureFixture[str]) -> str:
    show_error(Output("text"), error)
    return capsys.readouterr().err


def test_untrusted_order_ends_with_3_and_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = UntrustedOrderError(
        "another amount", check="amount", order_id="7", status=200, body=b""
    )
    error.new_order = NewOrder("20", "USD", reference="cart-42")
    assert exit_code(error) == 3
    shown = show_text(error, capsys)
    assert "Show nothing to the payer" in shown
    assert "20 USD, reference cart-42" in shown


async def test_untrusted_network_hints_at_aurpay_network(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual cause is a sandbox while AURPAY_NETWORK is not set."""
    monkeypatch.delenv("AURPAY_NETWORK")
    done = await asyncio.to_thread(aurpay, "order", "create", "20", "USD")
    assert done.code == 3
    assert "for regtest, and not for mainnet" in done.err
    assert "Show nothing to the payer. If the base URL is a sandbox's, set " in done.err
    assert "AURPAY_NETWORK=regtest; else report the order to Aurpay." in done.err


def test_undecodable_invoice_is_not_called_unpayable() -> None:
    unread = recovery_hint(InvoiceDecodeError("no prefix", position=0))
    assert unread == "Give one BOLT #11 invoice alone: it could not be decoded."
    assert (
        recovery_hint(InvoiceInvalidError("mixed case", rule="case"))
        == "Do not pay it."
    )


def test_order_id_in_a_hint_is_quoted_for_the_shell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The id comes from outside, and the user copies the line into a shell."""
    error = UntrustedOrderError("x", check="x", order_id="", status=200, body=b"")
    plain = RateLimitedError("x", status=503, outcome=RequestOutcome.UNKNOWN)
    plain.order_id = "$(reboot)"
    plain.new_order = error.new_order = NewOrder("20", "USD")
    assert "aurpay order show '$(reboot)'" in show_text(plain, capsys)


def test_rate_limit_hint_names_the_seconds_to_wait(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = RateLimitedError(
        "no", status=429, outcome=RequestOutcome.REJECTED, retry_after=7.0
    )
    assert exit_code(error) == 1
    assert "Wait 7 seconds" in show_text(error, capsys)


def test_hint_depends_on_the_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    for outcome, advice in {
        RequestOutcome.NOT_SENT: "safe to try again",
        RequestOutcome.REJECTED: "Nothing was done",
        RequestOutcome.UNKNOWN: "The request changes nothing",
    }.items():
        error = AurpayError("failed")
        error.outcome = outcome
        assert advice in show_text(error, capsys)


def test_hint_to_look_comes_before_retry_after(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ServerError(
        "no", status=503, outcome=RequestOutcome.UNKNOWN, retry_after=7.0
    )
    error.new_order = NewOrder("20", "USD")
    assert "aurpay order list" in show_text(error, capsys)
    error.sent_at = datetime(2026, 1, 1, microsecond=5, tzinfo=UTC)
    line = "aurpay order find 20 USD --sent-at 2026-01-01T00:00:00+00:00\n"
    assert show_text(error, capsys).endswith(line)
    error.new_order = NewPayment("20.50", "USD", chain="ETH", coin="X;reboot")
    assert show_text(error, capsys).endswith(
        "aurpay order find 20.50 USD --sent-at 2026-01-01T00:00:00+00:00 "
        "--chain ETH --coin 'X;reboot'\n"
    )


def test_advice_about_a_database_is_shown_and_is_no_sign_of_moved_money(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = StoreUnavailableError("the database cannot be used: 42P05")
    error.advice = "add ?pgbouncer=true to the URL"
    assert exit_code(error) == 1
    shown = show_text(error, capsys)
    assert shown.endswith("42P05\n    do  add ?pgbouncer=true to the URL\n")


def test_message_without_advice_is_not_shortened(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = AurpayError("the answer was 1; None")
    assert "the answer was 1; None\n" in show_text(error, capsys)


def test_error_shows_its_diagnosis_behind_the_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = AurpayError("failed")
    error.diagnosis = "the clock is slow"
    assert ": failed; the clock is slow\n" in show_text(error, capsys)
