"""The order detail endpoint."""

from __future__ import annotations

import asyncio
import hmac
import re
from base64 import b64encode

import aiohttp
import pytest
from yarl import URL

from aurpay_async.sandbox import Sandbox
from aurpay_async.testing import FakeClock

from ..conftest import load
from ..support.orders import NOW
from .shop import call, create_order

#: The documented object, with all the fields of lists and callbacks.
EXAMPLE = load("aurpay.json")["callback_post_body"]["example"]
PATH = "/api/v2/order/detail/"


async def test_order_detail_has_the_documented_fields() -> None:
    async with Sandbox(clock=FakeClock(NOW), amounts="number") as sandbox:
        order_id = await create_order(sandbox)
        status, answer = await call(sandbox, "GET", PATH + order_id)
    assert status == 200
    assert (answer["code"], answer["message"], answer["result"]) == (0, "ok", True)
    data = answer["data"]
    assert re.fullmatch("mct-[0-9a-f]{12}", data.pop("user_id"))
    assert data == {
        "order_id": "20260101000000000001",
        "order_type": "ORDER",
        "platform": "AURPAY",
        "status": "PENDING",
        "chain": "BLN",
        "chain_name": "BLN",
        "currency": "BTC-LN",
        "amount": "0.00020000",
        "vs_price": "20",
        "vs_currency": "USD",
        "remark": "",
        "refund": False,
        "create_time": "2026-01-01T00:00:00",
        "update_time": "2026-01-01T00:00:00",
    }
    assert {"user_id", *data} < {*EXAMPLE}


async def test_order_detail_shows_status_update_time_and_refundability() -> None:
    clock = FakeClock(NOW)
    seen: list[tuple[str, str, bool]] = []
    async with Sandbox(clock=clock) as sandbox:
        order_id = await create_order(sandbox)
        for move in (sandbox.expire, sandbox.pay, sandbox.refund):
            clock.advance(60)
            await move(order_id)
            _, answer = await call(sandbox, "GET", PATH + order_id)
            data = answer["data"]
            seen.append((data["status"], data["update_time"][11:], data["refund"]))
            assert data["create_time"] == "2026-01-01T00:00:00"
    assert seen == [
        ("OVERDUE", "00:01:00", False),
        ("SUCCESS", "00:02:00", True),
        ("REFUNDED", "00:03:00", False),
    ]


@pytest.mark.parametrize(
    "name", ["0", "a%2Fb", "%2e%2e%2f", "%FF", "%00", "%C3%A4", "+"]
)
async def test_detail_of_an_unknown_order_is_rejected_with_code_404(name: str) -> None:
    async with Sandbox() as sandbox, aiohttp.ClientSession() as session:
        url = URL(sandbox.base_url + PATH + name, encoded=True)
        async with session.get(url) as response:
            assert response.status == 200
            assert await response.json() == {
                "code": 404,
                "message": "there is no such order",
                "data": None,
                "result": False,
            }
    assert [(r.method, r.path) for r in sandbox.requests] == [("GET", PATH + name)]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("GET", f"{PATH}1/2"),
        ("GET", "/api/v2/orders/"),
        ("HEAD", f"{PATH}1"),
        ("POST", f"{PATH}1"),
    ],
)
async def test_other_paths_and_methods_of_order_detail_are_recorded_as_not_served(
    method: str, path: str
) -> None:
    async with Sandbox() as sandbox:
        assert (await call(sandbox, method, path))[0] == 404
    assert [request.is_served for request in sandbox.requests] == [False]


async def test_order_detail_requires_the_api_key() -> None:
    async with Sandbox(api_key="sandbox-key") as sandbox:
        for headers, code in (({}, 401), ({"API_Key": "sandbox-key"}, 404)):
            _, answer = await call(sandbox, "GET", f"{PATH}1", **headers)
            assert (answer["code"], answer["data"]) == (code, None)


async def test_signature_of_order_detail_covers_the_path() -> None:
    date = "2026-01-01T00:00:00Z"
    async with Sandbox(
        api_token="sandbox-t", api_secret="sandbox-s", clock=FakeClock(NOW)
    ) as sandbox:
        origin = f"HMAC-SHA256 | {date} | GET {PATH}1".encode()
        digest = hmac.new(b"sandbox-s", origin, "sha256").digest()
        headers = {
            "API_Token": "sandbox-t",
            "Algorithm": "HMAC-SHA256",
            "Date": date,
            "Signature": b64encode(digest).decode(),
        }
        for path, code in ((f"{PATH}1", 404), (f"{PATH}2", 401)):
            _, answer = await call(sandbox, "GET", path, **headers)
            assert answer["code"] == code


async def read_raw(sandbox: Sandbox, order_id: str) -> bytes:
    """Return the first bytes of the response."""
    port = int(sandbox.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {PATH}{order_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = await reader.read(65_536)
    writer.close()
    return answer


@pytest.mark.parametrize("fault", ["nan", "cut-body", "503; html=no", "empty", "html"])
async def test_created_suffix_makes_no_difference_for_a_read(fault: str) -> None:
    async with Sandbox(clock=FakeClock(NOW)) as sandbox:
        order_id = await create_order(sandbox)
        whole = await read_raw(sandbox, order_id)
        sandbox.faults.push(fault, f"{fault}+created")
        answers = [await read_raw(sandbox, order_id) for _ in range(2)]
        assert len(sandbox.faults) == 0
    assert answers[0] == answers[1] != whole
    assert len(sandbox.orders) == 1
    assert len(sandbox.requests) == 4


async def test_fault_of_a_read_carries_the_right_order() -> None:
    async with Sandbox() as sandbox:
        order_id = await create_order(sandbox)
        sandbox.faults.push("nan", "reset", "delay; seconds=0")
        answer = await read_raw(sandbox, order_id)
        assert f'"order_id": "{order_id}"'.encode() in answer
        assert answer.endswith(b', "rate": NaN}')
        with pytest.raises(ConnectionResetError):
            await read_raw(sandbox, order_id)
        _, detail = await call(sandbox, "GET", PATH + order_id)
        assert detail["data"]["order_id"] == order_id
