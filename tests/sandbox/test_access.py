"""Access to the sandbox's API: programs only, by an accepted host."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aurpay_async import AurpayClient, ConfigurationError, Effect, NotFoundError
from aurpay_async.sandbox import Sandbox

from .shop import call, create_order, open_shop

ORDER = {"price": 20, "currency": "USD"}
CREATE = "/api/bln/order"

#: Headers of requests that a foreign web page can make a browser send.
BROWSERS = [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Content-Type": "text/plain;charset=UTF-8"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Host": "rebound.evil.example"},
    {"Host": "rebound.evil.example:80"},
    {"Host": "127.0.0.1.evil.example"},
]


async def send(
    sandbox: Sandbox, method: str, path: str, headers: dict[str, str]
) -> tuple[int, Any]:
    named = {name.replace("-", "_"): value for name, value in headers.items()}
    body = ORDER if method == "POST" else None
    return await call(sandbox, method, path, body, **named)


@pytest.mark.parametrize("headers", BROWSERS)
async def test_a_foreign_web_page_cannot_create_an_order(
    headers: dict[str, str],
) -> None:
    async with Sandbox() as sandbox:
        sandbox.faults.push("503")
        status, answer = await send(sandbox, "POST", CREATE, headers)
        assert (status, answer["code"], answer["result"]) == (403, 403, False)
        assert answer["message"]
        assert (len(sandbox.orders), len(sandbox.requests)) == (0, 0)
        assert list(sandbox.faults) == ["503"]


@pytest.mark.parametrize(
    "headers", [headers for headers in BROWSERS if "Content-Type" not in headers]
)
async def test_a_foreign_web_page_cannot_read_orders(
    headers: dict[str, str],
) -> None:
    async with Sandbox() as sandbox:
        await create_order(sandbox)
        for path in ("/api/v2/order/?page=1&size=10", "/api/v2/nothing"):
            status, answer = await send(sandbox, "GET", path, headers)
            assert (status, answer["data"]) == (403, None)


async def test_rejection_of_a_web_page_says_which_headers_a_program_needs() -> None:
    async with Sandbox() as sandbox:
        _, answer = await send(sandbox, "POST", CREATE, BROWSERS[5])
        assert answer["message"] == "send Content-Type: application/json"
        _, answer = await send(sandbox, "POST", CREATE, BROWSERS[0])
        assert answer["message"] == "for programs, not for web pages"
        _, answer = await send(sandbox, "POST", CREATE, BROWSERS[7])
        assert answer["message"] == (
            "use 127.0.0.1 or localhost as the host; allow another name with "
            "allowed_hosts=(...) (--allowed-host)"
        )


async def test_program_may_send_any_content_type_that_needs_a_preflight() -> None:
    async with Sandbox() as sandbox:
        for given in ("application/json; charset=utf-8", "application/octet-stream"):
            status, _ = await send(sandbox, "POST", CREATE, {"Content-Type": given})
            assert status == 200


# Accepted hosts


async def test_sandbox_accepts_allowed_hosts_only() -> None:
    async with Sandbox(allowed_hosts=["sandbox"]) as sandbox:
        for host, expected in (
            ("sandbox:8765", 200),
            ("SANDBOX", 200),
            ("localhost:1", 200),
            ("other:8765", 403),
        ):
            status, answer = await call(sandbox, "POST", CREATE, ORDER, Host=host)
            assert status == expected
            if expected == 200:
                found = f"http://{host}/#/cashier/"
                assert answer["data"]["pay_url"].startswith(found)
            control = await call(sandbox, "GET", "/_sandbox/rates", Host=host)
            assert control[0] == expected


@pytest.mark.parametrize(
    "host", ["", "http://x", "sandbox:8765", "*", "*.lan", None, 7, "x\n"]
)
def test_invalid_allowed_host_is_rejected(host: Any) -> None:
    with pytest.raises(ConfigurationError, match="allowed_hosts takes a name or an"):
        Sandbox(allowed_hosts=[host])


def test_allowed_hosts_given_as_a_str_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="allowed_hosts is a list of names"):
        Sandbox(allowed_hosts="sandbox")


# Callbacks to the sandbox itself


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.9.9.9", "[::1]"])
async def test_callback_to_the_sandbox_itself_is_not_sent(host: str) -> None:
    async with Sandbox() as sandbox:
        victim = await create_order(sandbox)
        port = sandbox.base_url.rpartition(":")[2]
        url = f"http://{host}:{port}/_sandbox/orders/{victim}/pay"
        [sent] = await sandbox.pay(await create_order(sandbox, callback_url=url))
        assert sent.error == "not sent: the sandbox sends no callback to itself"
        assert sandbox.orders[victim].status == "PENDING"


async def test_callback_to_an_allowed_host_of_the_sandbox_is_not_sent() -> None:
    async with (
        open_shop() as shop,
        Sandbox(
            allowed_hosts=["sandbox"],
            callback_hosts=["sandbox", "public.example"],
            public_url="https://public.example",
        ) as sandbox,
    ):
        port = sandbox.base_url.rpartition(":")[2]
        for url in (f"http://sandbox:{port}/x", "https://public.example/x"):
            [sent] = await sandbox.pay(await create_order(sandbox, callback_url=url))
            assert sent.error == "not sent: the sandbox sends no callback to itself"
        [sent] = await sandbox.pay(
            await create_order(sandbox, callback_url=f"{shop.url}/x")
        )
        assert sent.status == 200


@pytest.mark.parametrize("path", [CREATE, "/_sandbox/orders/1/pay", "/", "/_pages/x"])
async def test_callback_that_reaches_a_sandbox_is_rejected(path: str) -> None:
    async with Sandbox() as sandbox:
        for method in ("GET", "POST"):
            status, _ = await call(
                sandbox, method, path, ORDER, Callback_Token="sandbox-callback-token"
            )
            assert status in {403, 405}
        assert len(sandbox.orders) == 0


# Unknown paths


async def test_unknown_path_is_answered_in_an_envelope_and_recorded() -> None:
    async with Sandbox() as sandbox, sandbox.client() as aurpay:
        status, answer = await call(sandbox, "POST", "/api/order/pay/token", {"a": 1})
        assert status == 404
        assert answer == {
            "code": 404,
            "message": "the sandbox does not serve POST /api/order/pay/token",
            "data": None,
            "result": False,
        }
        status, answer = await call(sandbox, "GET", CREATE)
        assert (status, answer["code"]) == (404, 404)
        assert [request.is_served for request in sandbox.requests] == [False, False]
        assert sandbox.requests[0].path == "/api/order/pay/token"
        assert json.loads(sandbox.requests[0].body) == {"a": 1}
        with pytest.raises(NotFoundError, match="does not serve"):
            await aurpay.request("GET", "/api/bln/balance", effect=Effect.READ)
        await aurpay.create_order("20", "USD")
        assert sandbox.requests[-1].is_served


async def test_request_with_a_live_key_on_an_unknown_path_is_not_recorded() -> None:
    live = "q8Xw3Zr5Tn1Bv7Lk2Mf9Hd4Js6Pc"
    async with Sandbox() as sandbox:
        _, answer = await call(sandbox, "GET", "/api/nothing", API_Key=live)
        assert answer["code"] == 401
        assert sandbox.requests == []


# Behind a proxy


@pytest.mark.parametrize("host", [None, "public.example:9445", "127.0.0.1:1"])
async def test_pay_url_begins_with_the_public_url(host: str | None) -> None:
    public = "https://public.example:9445"
    headers = {} if host is None else {"Host": host}
    async with Sandbox(public_url=public) as sandbox:
        _, answer = await call(sandbox, "POST", CREATE, ORDER, **headers)
        assert answer["data"]["pay_url"].startswith(f"{public}/#/cashier/")
        _, answer = await call(sandbox, "POST", "/api/order/pay-url", ORDER, **headers)
        assert answer["data"]["pay_url"].startswith(f"{public}/#/cashier/choose?token=")


async def test_page_at_the_public_url_can_use_its_buttons() -> None:
    public = "https://public.example:9445"
    async with Sandbox(public_url=public) as sandbox:
        for host, origin, expected in (
            ("public.example:9445", public, 204),
            ("127.0.0.1:8765", public, 204),
            ("public.example:9445", "https://evil.example", 403),
            ("public.example:9445", "https://public.example", 403),
            ("127.0.0.1:8765", "http://127.0.0.1:8765", 204),
        ):
            path = f"/_pages/orders/{await create_order(sandbox)}/pay"
            marks = {"Sec_Fetch_Site": "same-origin", "Origin": origin, "Host": host}
            marks["Content_Type"] = "application/json"
            assert (await call(sandbox, "POST", path, {}, **marks))[0] == expected


async def test_client_accepts_orders_of_a_sandbox_behind_a_tls_proxy() -> None:
    certificate = Path(__file__).parents[1] / "cli" / "loopback.pem"
    backend: list[str] = []

    async def forward(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        behind = await asyncio.open_connection(*backend)
        await asyncio.gather(pump(reader, behind[1]), pump(behind[0], writer))

    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate)
    proxy = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=server_side)
    public = f"https://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        proxy,
        Sandbox(public_url=public) as sandbox,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusting, force_close=True)
        ) as session,
        AurpayClient(base_url=public, network="regtest", session=session) as aurpay,
    ):
        backend[:] = sandbox.base_url.removeprefix("http://").split(":")
        created = await aurpay.create_order("20", "USD", confirm=True)
        assert created.pay_url == f"{public}/#/cashier/{created.order_id}"
        assert created.checks[-1] == "read_back"


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward bytes until the end of the stream."""
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://public.example/aurpay", "without a path"),
        ("ftp://public.example", "the scheme must be"),
        ("public.example", "must be absolute"),
        (7, "must be a str"),
    ],
)
def test_public_url_that_is_no_origin_is_rejected(url: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Sandbox(public_url=url)


@pytest.mark.parametrize("public", ["http://sandbox:8765", "https://public.example"])
async def test_sandbox_client_accepts_pay_urls_at_the_public_url(
    public: str,
) -> None:
    async with Sandbox(public_url=f"{public}/") as sandbox, sandbox.client() as aurpay:
        created = await aurpay.create_order("20", "USD")
        assert created.pay_url == f"{public}/#/cashier/{created.order_id}"


async def test_sandbox_client_of_a_wildcard_address_connects_to_loopback() -> None:
    everywhere = "0.0.0.0"  # noqa: S104
    async with (
        Sandbox(
            host=everywhere, allow_remote=True, allowed_hosts=["sandbox"]
        ) as sandbox,
        sandbox.client() as aurpay,
    ):
        await aurpay.create_order("20", "USD")


def test_sandbox_client_of_another_host_may_use_plain_http() -> None:
    sandbox = Sandbox(host="sandbox.lan", allow_remote=True)
    sandbox._base_url = "http://sandbox.lan:8765"
    assert sandbox.client()._allow_http
    assert not Sandbox()._simulator.host_policy.needs_plain_http
