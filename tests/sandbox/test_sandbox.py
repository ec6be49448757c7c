"""The sandbox over HTTP: creation of Lightning orders, and its life cycle."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from aurpay_async import APIError, ConfigurationError, bolt11
from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..support.orders import AS_NUMBER, AS_TEXT, NOW, PAYEE
from .shop import call

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async.sandbox._simulator import Activity


async def post(sandbox: Sandbox, body: bytes, **headers: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session:
        url = f"{sandbox.base_url}/api/bln/order"
        async with session.post(url, data=body, headers=headers) as response:
            return response.status, json.loads(await response.read())


GOOD = b'{"price": 20.00, "currency": "USD"}'


@pytest.mark.parametrize(
    ("amounts", "example"), [("string", AS_TEXT), ("number", AS_NUMBER)]
)
async def test_created_order_has_the_fields_and_types_of_the_documentation(
    amounts: Any, example: dict[str, Any]
) -> None:
    async with Sandbox(amounts=amounts, clock=FakeClock(NOW)) as sandbox:
        status, answer = await post(sandbox, GOOD)
        base_url = sandbox.base_url
    assert status == 200
    assert list(answer) == list(example)
    assert (answer["code"], answer["message"], answer["result"]) == (0, "ok", True)
    data = answer["data"]
    assert set(data) == set(example["data"])
    assert {name: type(value) for name, value in data.items()} == {
        name: type(value) for name, value in example["data"].items()
    }
    assert data["order_id"] == "20260101000000000001"
    assert data["create_time"] == "2026-01-01T00:00:00"
    assert float(data["amount"]) == 0.0002
    assert data["pay_url"] == f"{base_url}/#/cashier/20260101000000000001"
    assert bolt11.decode(data["payment_request"]).amount_msat == 20_000_000


@pytest.mark.parametrize("amounts", ["string", "number"])
async def test_small_amount_is_written_without_exponent(amounts: Any) -> None:
    tiny = b'{"price":0.01,"currency":"JPY"}'
    async with Sandbox(amounts=amounts) as sandbox, aiohttp.ClientSession() as session:
        response = await session.post(f"{sandbox.base_url}/api/bln/order", data=tiny)
        text = await response.text()
    assert (
        '"amount": ' + ('"0.00000001"' if amounts == "string" else "0.00000001") in text
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"price=20", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"price":1e99999999999999999999}', "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b"{}", "price must be a number"),
        (b'{"price":"20","currency":"USD"}', "price must be a number"),
        (b'{"price":NaN,"currency":"USD"}', "price must be a number"),
        (b'{"price":20}', "currency must be one of USD, EUR, GBP, CHF, JPY"),
    ],
)
async def test_invalid_create_request_is_rejected_with_http_200(
    body: bytes, message: str
) -> None:
    async with Sandbox() as sandbox:
        assert await post(sandbox, body) == (
            200,
            {"code": 400, "message": message, "data": None, "result": False},
        )
        assert sandbox.requests[0].body == body
    assert sandbox.orders == {}


async def test_request_is_recorded_undecoded() -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        url = URL(f"{sandbox.base_url}/api/bln/order?a=%2F", encoded=True)
        await (await session.post(url, data=GOOD, headers={"X-Test": "7"})).read()
    request = sandbox.requests[0]
    assert (request.method, request.path) == ("POST", "/api/bln/order?a=%2F")
    assert request.headers["x-test"] == "7"
    assert request.body == GOOD


async def test_compressed_request_body_is_not_decompressed() -> None:
    packed = gzip.compress(GOOD)
    async with Sandbox() as sandbox:
        headers = {"Content-Encoding": "gzip"}
        _, answer = await post(sandbox, packed, **headers)
    assert (answer["code"], answer["message"]) == (400, "the body is not JSON")
    assert sandbox.requests[0].body == packed


async def test_credentials_of_invalid_bytes_are_rejected() -> None:
    head = b"POST /api/bln/order HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
    async with Sandbox(api_token="sandbox-t", api_secret="sandbox-s") as sandbox:
        port = int(sandbox.base_url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"API-Token: \xff\xfe\r\n\r\n{}")
        assert b"200 OK" in await reader.readline()
        writer.close()


async def test_wrong_api_key_is_answered_with_code_401() -> None:
    async with Sandbox(api_key="sandbox-key") as sandbox:
        status, answer = await post(sandbox, GOOD, **{"API-Key": "other"})
        assert (status, answer["code"], answer["result"]) == (200, 401, False)
        status, answer = await post(sandbox, GOOD, **{"API-Key": "sandbox-key"})
        assert (status, answer["code"], answer["result"]) == (200, 0, True)


async def test_plain_text_overview_shows_orders_and_invoices() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        order = await aurpay.create_order("20.00", "USD")
        async with aiohttp.ClientSession() as session:
            response = await session.get(f"{sandbox.base_url}/")
            page = await response.text()
    assert response.content_type == "text/plain"
    assert f"{order.order_id}  PENDING  20.00 USD  0.00020000 BTC" in page
    assert f"lightning:{order.payment_request}" in page


async def test_undocumented_endpoints_are_not_served() -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        for method, path in (("GET", "/api/bln/order"), ("POST", "/api/other")):
            async with session.request(method, sandbox.base_url + path) as response:
                assert response.status in {404, 405}


async def test_client_can_pin_the_payee_of_the_sandbox() -> None:
    async with Sandbox() as sandbox, sandbox.client(payees=[sandbox.payee]) as aurpay:
        order = await aurpay.create_order(1, "USD")
    assert order.payment_request.payee == sandbox.payee == PAYEE


async def test_sandbox_can_be_opened_and_closed_repeatedly() -> None:
    sandbox = Sandbox()
    with pytest.raises(ConfigurationError, match="not open"):
        sandbox.client()
    await sandbox.aclose()
    await sandbox.start()
    with pytest.raises(ConfigurationError, match="open already"):
        await sandbox.start()
    assert sandbox.base_url.startswith("http://127.0.0.1:")
    await sandbox.aclose()
    await sandbox.aclose()
    with pytest.raises(ConfigurationError, match="not open"):
        sandbox.base_url  # noqa: B018


async def test_port_in_use_raises_os_error() -> None:
    async with Sandbox() as first:
        port = int(first.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match=r"(?i)address already in use"):
            await Sandbox(port=port).start()


@pytest.mark.parametrize("half", [{"api_token": "t"}, {"api_secret": "s"}])
def test_api_token_without_secret_is_rejected(half: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="both api_token and api_secret"):
        Sandbox(**half)  # type: ignore[arg-type]


async def test_each_invoice_of_the_sandbox_is_for_regtest(tmp_path: Path) -> None:
    fields = {"price": 20, "currency": "USD", "network": "mainnet", "chain": "BTC"}
    everywhere = {"host": "0.0.0.0", "allow_remote": True}  # noqa: S104
    file = tmp_path / "orders.db"
    options: list[dict[str, Any]] = [
        {},
        {"seed": 7, "clock": FakeClock(NOW), "speed": 60},
        {"rates": {"USD": "0.01"}, "amounts": "number", **everywhere},
        {"db": file},
        {"db": file},
    ]
    for chosen in options:
        async with Sandbox(**chosen) as sandbox:
            await call(sandbox, "POST", "/api/bln/order", fields)
            _, page = await call(sandbox, "POST", "/api/order/pay-url", fields)
            token = page["data"]["pay_url"].partition("token=")[2]
            choose = f"/_sandbox/checkouts/{token}/choose"
            assert (await call(sandbox, "POST", choose, {"coin": "BTC-LN"}))[0] == 200
        invoices = [order.invoice for order in sandbox.orders.values()]
        assert len(invoices) in {2, 4}
        assert all(invoice.startswith("lnbcrt") for invoice in invoices)
        assert {bolt11.decode(one).network for one in invoices} == {"regtest"}


async def test_activity_of_a_rejected_request_names_the_order_in_its_path() -> None:
    activities: list[Activity] = []
    async with Sandbox(port=None) as sandbox, sandbox.client() as aurpay:
        order = await aurpay.create_order("20.00", "USD")
        sandbox._simulator.subscriber = activities.append
        with pytest.raises(APIError):
            await aurpay.get_refund(order.order_id)
    [activity] = activities
    assert (activity.order_id, activity.is_ok) == (order.order_id, False)
    assert activity.target == f"/api/v2/order/refund-info/{order.order_id}"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rates": 5}, "rates must be a mapping such as"),
        ({"amounts": "float"}, '"string" or "number", not \'float\''),
        ({"port": "80"}, "port must be 0 to 65535, or None"),
        ({"port": 65_536}, "port must be 0 to 65535, or None"),
        ({"clock": 3}, r"clock must be a clock such as FakeClock\(\), not 3"),
        ({"post_callbacks": "yes"}, "post_callbacks must be True or False, not 'yes'"),
        ({"callback_secret": None}, "callback_secret must be a str, not NoneType"),
        ({"api_key": b"made-up"}, "api_key must be a str, not bytes"),
    ],
)
def test_an_option_of_the_wrong_type_is_rejected_when_the_sandbox_is_created(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Sandbox(**options)
