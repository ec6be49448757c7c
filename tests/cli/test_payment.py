"""``aurpay payment``: payments in coins other than Lightning."""

from __future__ import annotations

import asyncio
import webbrowser
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import AurpayClient, Payment, PaymentOrder
from aurpay_async._api.models import Order, OrderStatus
from aurpay_async._cli._output import Output
from aurpay_async._cli._views import show_order
from aurpay_async._core.money import parse_price

from .conftest import FullDisk

if TYPE_CHECKING:
    from aurpay_async.sandbox import Sandbox

    from .conftest import Done, Run

KEY = "a-made-up-key-of-16-characters-or-more"
SHOP = "https://shop.example"
TETHER = ["--chain", "ETH", "--coin", "USDT-ERC20"]
URLS = {
    "callback-url": f"{SHOP}/paid",
    "timeout-callback": f"{SHOP}/late",
    "succeed-url": f"{SHOP}/thanks",
    "timeout-url": f"{SHOP}/sorry",
}
WORDS = [word for name, url in URLS.items() for word in (f"--{name}", url)]


async def run_payment(aurpay: Run, *arguments: str) -> Done:
    return await asyncio.to_thread(aurpay, "payment", *arguments)


async def test_payment_create_shows_the_address_and_the_amount(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run_payment(aurpay, "create", "20", "usd", *TETHER)
    assert (done.code, done.err) == (0, "")
    [made] = sandbox.orders.values()
    assert (made.coin, str(made.price), made.currency) == ("USDT-ERC20", "20", "USD")
    lines = done.out.splitlines()
    assert "  Pay 20.002000 USDT-ERC20 on ETH to" in lines
    assert made.address in lines
    assert "  ✓ address   well-formed; nothing proves who owns it" in lines
    assert "✓ chain" not in done.out  # this answer does not name it


async def test_payment_create_prints_one_json_object(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run_payment(
        aurpay, "create", "20", "USD", *TETHER, "--stablecoin-at-par", "-o", "json"
    )
    assert (done.code, done.err) == (0, "")
    [made] = sandbox.orders.values()
    record = done.record
    assert (record["type"], record["order_id"]) == ("payment_order", made.order_id)
    assert (record["price"], record["amount"]) == ("20", "20.000000")
    assert (record["chain"], record["coin"]) == ("ETH", "USDT-ERC20")
    assert record["address"] == made.address


async def test_payment_create_passes_urls_and_reference_to_aurpay(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", KEY)
    given = [*TETHER, *WORDS, "--reference", "cart-42", "--post-callbacks"]
    done = await run_payment(aurpay, "create", "20", "USD", *given)
    assert done.code == 0
    [made] = sandbox.orders.values()
    for name, url in URLS.items():
        assert made.urls[name.replace("-", "_")].startswith(url)
    assert "aurpay_ref=" in made.urls["callback_url"]
    assert b'"enable_post_callback": true' in sandbox.requests[0].body.replace(
        b'":true', b'": true'
    )
    assert "reference    cart-42" in done.out


async def test_payment_create_watch_polls_by_order_id(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def pay(_: AurpayClient, order: Any, **options: Any) -> Payment:
        asked.append(order)
        options["on_status"](OrderStatus.SUCCESS)
        paid = Order(order_id=order, status=OrderStatus.SUCCESS)
        return Payment(outcome="paid", order=paid)

    monkeypatch.setattr(AurpayClient, "wait_for_payment", pay)
    done = await run_payment(
        aurpay, "create", "20", "USD", *TETHER, "--watch", "-o", "json"
    )
    made, status, end = done.records
    assert asked == [made["order_id"]]
    assert (done.code, status["status"], end["outcome"]) == (0, "SUCCESS", "paid")


async def test_payment_commands_open_the_checkout_page(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def browse(url: str) -> bool:
        opened.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    first = await run_payment(
        aurpay, "create", "20", "USD", *TETHER, "--open", "-o", "json"
    )
    second = await run_payment(aurpay, "url", "20", "USD", "--open", "-o", "json")
    assert opened == [first.record["pay_url"], second.record["pay_url"]]
    assert "Opened" in second.err


def bare_payment(**fields: Any) -> PaymentOrder:
    """Return a payment without optional fields."""
    return PaymentOrder(
        order_id="1",
        status=OrderStatus.PENDING,
        amount=parse_price("0.5"),
        coin="ETH",
        chain="ETH",
        price=parse_price("20"),
        currency="USD",
        create_time=datetime(2026, 1, 1, tzinfo=UTC),
        address="0xab",
        contract_addr=None,
        pay_url=None,
        checks=("price",),
        **fields,
    )


async def test_payment_create_reports_a_missing_checkout_page(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def create(*_: Any, **__: Any) -> PaymentOrder:
        return bare_payment()

    monkeypatch.setenv("AURPAY_API_KEY", "a-made-up-api-key")
    monkeypatch.setattr(AurpayClient, "create_payment", create)
    done = await run_payment(aurpay, "create", "20", "USD", *TETHER, "--open")
    assert done.code == 0
    assert "no checkout page to open" in done.err
    assert "pay_url" not in done.out
    assert "contract" not in done.out


def test_payment_rows_show_a_reference_without_attempt_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_order(Output("text"), bare_payment(reference="cart-42"))
    assert "reference    cart-42" in capsys.readouterr().out


async def test_payment_url_prints_the_address_and_creates_no_order(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run_payment(aurpay, "url", "5", "EUR", "--qr")
    assert (done.code, done.err) == (0, "")
    assert not sandbox.orders
    [page] = [line for line in done.out.splitlines() if line.startswith("http")]
    assert sandbox.choose(page, "TRX").currency == "EUR"
    assert "no QR code here" in done.out  # in a pipe
    assert "the order is created when" in done.out


async def test_payment_url_passes_urls_and_reference_to_aurpay(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_REFERENCE_KEY", KEY)
    done = await run_payment(
        aurpay, "url", "5", "EUR", *WORDS, "--reference", "cart-42", "-o", "json"
    )
    assert (done.code, done.err) == (0, "")
    record = done.record
    assert (record["type"], record["reference"]) == ("payment_url", "cart-42")
    order = sandbox.choose(record["pay_url"], "USDT-ERC20")
    assert order.urls["callback_url"].startswith(f"{SHOP}/paid?aurpay_ref=")
    assert order.urls["timeout_url"] == f"{SHOP}/sorry"


@pytest.mark.parametrize("command", [["url"], ["create", *TETHER]])
async def test_payment_commands_with_reference_need_the_key(
    aurpay: Run, sandbox: Sandbox, command: list[str]
) -> None:
    done = await run_payment(aurpay, *command, "20", "USD", "--reference", "cart-42")
    assert (done.code, done.out) == (2, "")
    assert "AURPAY_REFERENCE_KEY" in done.err
    assert not sandbox.requests


async def test_payment_create_with_unknown_outcome_ends_with_3(
    aurpay: Run, sandbox: Sandbox
) -> None:
    sandbox.faults.push("reset-after-request+created")
    done = await run_payment(aurpay, "create", "20", "USD", *TETHER)
    assert (done.code, done.out) == (3, "")
    assert "unknown: an order may exist" in done.err
    assert "requested  20 USD in USDT-ERC20" in done.err
    assert "--chain ETH --coin USDT-ERC20" in done.err


async def test_payment_url_with_unknown_outcome_created_no_order(
    aurpay: Run, sandbox: Sandbox
) -> None:
    sandbox.faults.push("reset-after-request+created")
    done = await run_payment(aurpay, "url", "20", "USD", "-o", "json")
    assert (done.code, done.record["may_exist"]) == (1, False)


async def test_payment_create_with_unknown_coin_is_rejected(
    aurpay: Run, sandbox: Sandbox
) -> None:
    done = await run_payment(
        aurpay, "create", "20", "USD", "--chain", "ETH", "--coin", "X", "-o", "json"
    )
    assert (done.code, done.record["outcome"]) == (1, "rejected")
    assert (done.record["new_order"]["chain"], done.record["new_order"]["coin"]) == (
        "ETH",
        "X",
    )


async def test_payment_url_that_cannot_be_written_ends_with_1_because_no_order_exists(
    aurpay: Run, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", FullDisk())
    done = await run_payment(aurpay, "url", "20", "USD")
    assert done.code == 1
    assert "OSError: No space left on device" in done.err
    assert "may exist" not in done.err
