"""The merchant API over HTTP, except for the creation of Lightning orders."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import InvalidRequestError, bolt11
from aurpay_async.sandbox import Sandbox
from aurpay_async.sandbox._models import COINS
from aurpay_async.testing import FakeClock

from ..conftest import load
from ..support.orders import NOW
from .shop import call, create_order, open_shop, read_requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VECTORS = load("aurpay.json")["responses"]
FIRST = "20260101000000000001"
PAYMENT = {
    "chain": "ETH",
    "currency": "USDT-ERC20",
    "vs_currency": "USD",
    "vs_price": 18,
}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=FakeClock(NOW), seed=7) as opened:
        yield opened


async def get(sandbox: Sandbox, path: str) -> Any:
    """Return the response to a GET."""
    status, answer = await call(sandbox, "GET", path)
    assert status == 200
    return answer


async def post(sandbox: Sandbox, path: str, fields: Any = None) -> Any:
    """Return the response to a POST."""
    status, answer = await call(sandbox, "POST", path, fields)
    assert status == 200
    return answer


def sign_invoice(**changes: Any) -> str:
    """Sign a foreign invoice of 1,000 satoshi."""
    fields: dict[str, Any] = {
        "payment_hash": "22" * 32,
        "payment_secret": "33" * 32,
        "timestamp": int(NOW.timestamp()),
        "amount_msat": 1_000_000,
        **changes,
    }
    return bolt11.sign("11" * 32, **fields)


async def test_orders_are_listed_in_pages_newest_first(sandbox: Sandbox) -> None:
    for price in (1, 2, 3):
        fields = {"price": price, "currency": "USD"}
        await post(sandbox, "/api/bln/order", fields)
    page = (await get(sandbox, "/api/v2/order/?page=1&size=2"))["data"]
    rows = page.pop("data")
    assert page == {"page": 1, "size": 2, "total": 3, "max_page": 2}
    assert [row["vs_price"] for row in rows] == ["3", "2"]
    example = VECTORS["GET /api/v2/order/"]["example_seen"]["data"]
    assert {*rows[0]} == {*example["data"][0], "create_time", "update_time"}
    assert {*page, "data"} == {*example}
    rest = (await get(sandbox, "/api/v2/order/?page=2&size=2"))["data"]["data"]
    assert [row["order_id"] for row in rest] == [FIRST]
    assert (await get(sandbox, "/api/v2/order/?page=3&size=2"))["data"]["data"] == []
    default = (await get(sandbox, "/api/v2/order/"))["data"]
    assert (default["page"], default["size"], default["max_page"]) == (1, 10, 1)


@pytest.mark.parametrize("query", ["page=0", "size=1001", "page=x", "size=-1", "page="])
async def test_invalid_page_or_size_is_rejected_with_code_400(
    sandbox: Sandbox, query: str
) -> None:
    answer = await get(sandbox, f"/api/v2/tx?{query}")
    assert (answer["code"], answer["result"], answer["data"]) == (400, False, None)
    assert answer["message"].startswith(f"{query[:4]} must be from 1 to ")


async def test_created_payment_has_the_documented_fields(sandbox: Sandbox) -> None:
    answer = await post(sandbox, "/api/order/pay-info", PAYMENT)
    data = answer["data"]
    assert {*data} == {*VECTORS["POST /api/order/pay-info"]["fields_seen"]["data"]}
    assert data.pop("address").startswith("sandbox-ETH-")
    assert data == {
        "order_id": FIRST,
        "status": "PENDING",
        "amount": 18.0018,
        "create_time": "2026-01-01T00:00:00",
        "vs_currency": "USD",
        "vs_price": 18,
        "contract_addr": "sandbox-contract-USDT-ERC20",
        "pay_url": f"{sandbox.base_url}/#/cashier/{FIRST}",
    }
    assert (await get(sandbox, f"/api/v2/order/detail/{FIRST}"))["data"][
        "chain"
    ] == "ETH"


@pytest.mark.parametrize(
    ("fields", "amount"),
    [
        ({}, "18.001800"),
        ({"fixed_encrypt_price": True}, "18.000000"),
        # 18 EUR are 20 USD at the rates of a bitcoin.
        ({"vs_currency": "EUR", "fixed_encrypt_price": True}, "20.000000"),
        ({"chain": "BTC", "currency": "BTC"}, "0.00018000"),
        ({"chain": "ETH", "currency": "ETH"}, "0.00450000"),
        ({"chain": "TRX", "currency": "TRX"}, "72.000000"),
    ],
)
async def test_payment_amount_follows_the_rate_of_its_coin(
    sandbox: Sandbox, fields: Any, amount: str
) -> None:
    await post(sandbox, "/api/order/pay-info", {**PAYMENT, **fields})
    assert f"{sandbox.orders[FIRST].amount:f}" == amount
    assert (sandbox.orders[FIRST].contract == "") == (
        "-" not in (fields.get("currency") or "USDT-ERC20")
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"chain": "TRX"}, "chain and currency must be one of: BLN BTC-LN, BTC BTC"),
        ({"currency": 1}, "chain and currency must be one of: "),
        ({"chain": "BLN", "currency": "BTC-LN"}, "create orders for Lightning at"),
        ({"vs_price": "18"}, "vs_price must be a number"),
        ({"vs_currency": "XXX"}, "vs_currency must be one of USD, "),
        ({"enable_post_callback": 1}, "enable_post_callback must be true or false"),
        ({"callback_url": "shop"}, "callback_url must be a URL"),
    ],
)
async def test_invalid_payment_is_rejected_and_creates_no_order(
    sandbox: Sandbox, fields: Any, message: str
) -> None:
    answer = await post(sandbox, "/api/order/pay-info", {**PAYMENT, **fields})
    assert answer["code"] == 400
    assert answer["message"].startswith(message)
    assert not sandbox.orders


async def test_payment_can_request_post_callbacks_with_the_order(
    sandbox: Sandbox,
) -> None:
    async with open_shop() as shop:
        for posts in (True, False):
            fields = {"callback_url": shop.url, "enable_post_callback": posts}
            answer = await post(sandbox, "/api/order/pay-info", {**PAYMENT, **fields})
            await sandbox.pay(answer["data"]["order_id"])
    posted, got = read_requests(shop)
    assert (posted.method, got.method, got.body) == ("POST", "GET", b"")
    assert sandbox.orders[FIRST].address in posted.body.decode()


async def test_choosing_a_coin_on_a_checkout_page_creates_one_order(
    sandbox: Sandbox,
) -> None:
    fields = {"price": 5, "currency": "EUR", "succeed_url": "https://shop.example/"}
    data = (await post(sandbox, "/api/order/pay-url", fields))["data"]
    pay_url = data.pop("pay_url")
    assert data == {}
    assert pay_url.startswith(f"{sandbox.base_url}/#/cashier/choose?token=sandbox-")
    assert not sandbox.orders
    chosen = sandbox.choose(pay_url)
    assert (chosen.coin, f"{chosen.price}{chosen.currency}") == ("BTC-LN", "5EUR")
    assert chosen.urls == {"succeed_url": "https://shop.example/"}
    assert chosen.invoice.startswith("lnbcrt")
    token = pay_url.rpartition("=")[2]
    path = f"/_sandbox/checkouts/{token}/choose"
    assert (await post(sandbox, path, {"coin": "BTC-LN"}))["order_id"] == FIRST
    status, answer = await call(sandbox, "POST", path, {"coin": "TRX"})
    assert (status, answer) == (409, {"error": "coin: BTC-LN was chosen already"})
    assert [*sandbox.orders] == [FIRST]


async def test_choosing_an_unknown_page_or_coin_is_rejected(
    sandbox: Sandbox,
) -> None:
    with pytest.raises(InvalidRequestError, match="not the URL of a checkout page"):
        sandbox.choose("https://dashboard.aurpay.net/#/cashier/1")
    fields = {"price": 5, "currency": "EUR"}
    pay_url = (await post(sandbox, "/api/order/pay-url", fields))["data"]["pay_url"]
    with pytest.raises(InvalidRequestError, match="no coin 'XMR'; use one of BTC"):
        sandbox.choose(pay_url, "XMR")
    status, answer = await call(
        sandbox, "POST", "/_sandbox/checkouts/none/choose", {"coin": "TRX"}
    )
    assert (status, answer) == (404, {"error": "there is no such checkout"})
    bodies: list[Any] = [{"coin": "XMR"}, {"coin": 1}, {}, [], "TRX"]
    for body in bodies:
        token = pay_url.rpartition("=")[2]
        status, answer = await call(
            sandbox, "POST", f"/_sandbox/checkouts/{token}/choose", body
        )
        assert (status, answer["error"][:23]) == (400, "coin: must be one of BT")


async def test_paid_order_can_be_refunded_once(sandbox: Sandbox) -> None:
    await create_order(sandbox)
    info, path = f"/api/v2/order/refund-info/{FIRST}", f"/api/v2/order/refund/{FIRST}"
    assert (await get(sandbox, info))["message"] == (
        "the order is PENDING: there is nothing to refund"
    )
    assert (await post(sandbox, path))["message"] == "the order is PENDING"
    await sandbox.pay(FIRST)
    data = (await get(sandbox, info))["data"]
    assert data == {
        "order_id": FIRST,
        "chain": "BLN",
        "currency": "BTC-LN",
        "amount": 0.0002,
    }
    shape = VECTORS["POST /api/v2/order/refund/{order_id}"]["schema_seen"]
    refund = await post(sandbox, path)
    assert {*refund} == {*shape}
    assert refund == {
        "order_id": FIRST,
        "refund_status": "REFUNDED",
        "refund_amount": 0.0002,
        "refund_date": "2026-01-01T00:00:00",
    }
    again = await post(sandbox, path)
    assert (again["code"], again["message"]) == (400, "the order is REFUNDED")
    assert (await get(sandbox, info))["data"] == data
    assert (await post(sandbox, "/api/v2/order/refund/1"))["code"] == 404


async def test_payments_refunds_and_withdrawals_are_transactions(
    sandbox: Sandbox,
) -> None:
    clock = sandbox.clock
    assert isinstance(clock, FakeClock)
    first, second = await create_order(sandbox), await create_order(sandbox)
    await create_order(sandbox)
    await sandbox.pay(first)
    await sandbox.pay(second)
    clock.advance(60)
    await sandbox.refund(first)
    assert (await post(sandbox, "/api/bln/withdraw", {"ln_invoices": sign_invoice()}))[
        "data"
    ] == {}
    page = (await get(sandbox, "/api/v2/tx"))["data"]
    shape = VECTORS["GET /api/v2/tx"]["schema_seen"]["data"]["data"][0]
    rows = [
        (row["tx_type"], row["amount"], row["obtained"], row["fee"])
        for row in page["data"]
        if {*row} == {*shape}
    ]
    assert rows == [
        ("WITHDRAW", "0.00001", None, "0"),
        ("REFUND", "0.00020000", None, "0"),
        ("ORDER", "0.00020000", "0.00019840000", "0.00000160000"),
        ("ORDER", "0.00020000", "0.00019840000", "0.00000160000"),
    ]
    assert page["total"] == 4
    assert len({row["tx_id"] for row in page["data"]}) == 4
    assert [row.tx_type for row in sandbox.transactions] == [row[0] for row in rows]
    [withdrawal] = sandbox.withdrawals.values()
    assert (withdrawal.amount, withdrawal.payment_hash) == (
        Decimal("0.00001"),
        "22" * 32,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "ln_invoices must be a string"),
        ({"ln_invoices": "lnbcrt1"}, "ln_invoices: "),
        (
            {"ln_invoices": sign_invoice(network="testnet")},
            "the invoice is for testnet",
        ),
        (
            {
                "ln_invoices": sign_invoice(
                    timestamp=int(NOW.timestamp()) - 60, expiry=60
                )
            },
            "the invoice has expired",
        ),
        ({"ln_invoices": sign_invoice(amount_msat=None)}, "the invoice has no amount"),
        (
            {"ln_invoices": sign_invoice(amount_msat=19_841_000)},
            "the balance is 0.0001984",
        ),
    ],
)
async def test_invalid_withdrawal_is_rejected_and_pays_nothing(
    sandbox: Sandbox, fields: Any, message: str
) -> None:
    await sandbox.pay(await create_order(sandbox))
    answer = await post(sandbox, "/api/bln/withdraw", fields)
    assert (answer["code"], answer["message"][: len(message)]) == (400, message)
    assert not sandbox.withdrawals


async def test_withdrawal_pays_a_foreign_invoice_once_and_no_own_invoice(
    sandbox: Sandbox,
) -> None:
    first, second = await create_order(sandbox), await create_order(sandbox)
    await sandbox.pay(first)
    other = await post(sandbox, "/api/order/pay-info", PAYMENT)
    await sandbox.pay(other["data"]["order_id"])
    own = {"ln_invoices": sandbox.orders[second].invoice}
    answer = await post(sandbox, "/api/bln/withdraw", own)
    assert answer["message"] == "the invoice belongs to an order of this account"
    everything = {"ln_invoices": sign_invoice(amount_msat=19_840_000)}
    assert (await post(sandbox, "/api/bln/withdraw", everything))["code"] == 0
    answer = await post(sandbox, "/api/bln/withdraw", everything)
    assert answer["message"] == "the invoice was paid already"


async def test_currency_list_has_each_currency_with_a_rate(sandbox: Sandbox) -> None:
    sandbox.rates["SEK"] = "1000000"
    data = (await get(sandbox, "/api/order/pay/real-currency"))["data"]
    assert data == {"currencies": ["USD", "EUR", "GBP", "CHF", "JPY", "SEK"]}


async def test_password_is_neither_recorded_nor_stored() -> None:
    fields = {"username": "who@shop.example", "password": "canary"}
    async with Sandbox(api_key="sandbox-key") as sandbox:
        answer = await post(sandbox, "/api/plugin/key/aurpay", fields)
        assert answer["data"] == {"access_token": "sandbox-key"}
        assert [request.body for request in sandbox.requests] == [b""]
        for missing in ({"username": "x"}, {**fields, "password": ""}):
            answer = await post(sandbox, "/api/plugin/key/aurpay", missing)
            assert (answer["code"], answer["message"]) == (
                400,
                "password must be a non-empty string",
            )
    async with Sandbox() as sandbox:
        answer = await post(sandbox, "/api/plugin/key/aurpay", fields)
        assert answer["data"] == {"access_token": "sandbox-api-key"}


async def test_fault_omits_a_refund_unless_it_ends_with_created(
    sandbox: Sandbox,
) -> None:
    await sandbox.pay(await create_order(sandbox))
    path = f"/api/v2/order/refund/{FIRST}"
    sandbox.faults.push("503", "503+created")
    assert (await call(sandbox, "POST", path))[0] == 503
    assert sandbox.orders[FIRST].status == "SUCCESS"
    assert (await call(sandbox, "POST", path))[0] == 503
    assert sandbox.orders[FIRST].status == "REFUNDED"


async def test_checkouts_choices_and_withdrawals_are_restored_from_the_file(
    tmp_path: Any,
) -> None:
    file = tmp_path / "sandbox.db"
    async with Sandbox(clock=FakeClock(NOW), db=file) as sandbox:
        await sandbox.pay(await create_order(sandbox))
        await post(sandbox, "/api/bln/withdraw", {"ln_invoices": sign_invoice()})
        fields = {"price": 5, "currency": "EUR"}
        urls = [
            (await post(sandbox, "/api/order/pay-url", fields))["data"]["pay_url"]
            for _ in range(2)
        ]
        chosen = sandbox.choose(urls[0], "TRX")
        transactions = sandbox.transactions
    async with Sandbox(clock=FakeClock(NOW), db=file) as sandbox:
        assert sandbox.transactions == transactions
        assert sandbox.choose(urls[0], "TRX") == chosen
        assert sandbox.choose(urls[1], "ETH").order_id == "20260101000000000003"


async def test_plain_text_overview_shows_addresses_of_other_coins(
    sandbox: Sandbox,
) -> None:
    await post(sandbox, "/api/order/pay-info", PAYMENT)
    status, text = await call(sandbox, "GET", "/")
    assert status == 200
    assert "18.001800 USDT-ERC20\nsandbox-ETH-" in text


async def test_checkout_route_lists_coins_and_then_returns_the_order(
    sandbox: Sandbox,
) -> None:
    fields = {"price": 5, "currency": "EUR"}
    pay_url = (await post(sandbox, "/api/order/pay-url", fields))["data"]["pay_url"]
    path = f"/_pages/checkouts/{pay_url.rpartition('=')[2]}"
    seen = await get(sandbox, path)
    assert (seen["price"], seen["currency"], seen["order_id"]) == ("5", "EUR", None)
    assert [coin["name"] for coin in seen["coins"]] == [*COINS]
    assert seen["coins"][2] == {"name": "ETH", "chain": "Ethereum"}
    marks = {
        "Sec_Fetch_Site": "same-origin",
        "Origin": sandbox.base_url,
        "Content_Type": "application/json",
    }
    assert (await call(sandbox, "POST", f"{path}/ETH"))[0] == 403
    assert not sandbox.orders
    status, answer = await call(sandbox, "POST", f"{path}/ETH", {}, **marks)
    assert (status, answer) == (200, {"order_id": FIRST})
    assert (await get(sandbox, path))["order_id"] == FIRST
    assert (await call(sandbox, "POST", f"{path}/TRX", {}, **marks))[0] == 409
    assert (await call(sandbox, "GET", f"/_pages/orders/{FIRST}/qr.svg"))[0] == 404
