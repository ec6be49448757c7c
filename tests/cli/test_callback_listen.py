"""``aurpay callback listen``: from the sandbox through the listener to a shop."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest

from aurpay_async import AurpayClient
from aurpay_async._cli._output import Output
from aurpay_async._cli.callbacks import listen
from aurpay_async._cli.sandbox import SandboxOptions, make_sandbox, serve
from aurpay_async.callbacks import CallbackProcessor, CallbackVerifier, MemoryInbox
from aurpay_async.contrib.aiohttp import callback_handler

from ..support.loopback import Server, answering, closed_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from aurpay_async import LightningOrder
    from aurpay_async.callbacks import Notification, Reference

    from .conftest import Run

KEY = "a-made-up-key-of-16-characters-or-more"


class Listener(NamedTuple):
    """The output of a listener, line by line."""

    lines: asyncio.Queue[str]

    async def line(self) -> str:
        """Return the next line."""
        return await asyncio.wait_for(self.lines.get(), 60)

    async def record(self) -> dict[str, Any]:
        """Return the next line as JSON."""
        return dict(json.loads(await self.line()))


@asynccontextmanager
async def listening(
    monkeypatch: pytest.MonkeyPatch,
    shop: str,
    options: SandboxOptions | None = None,
    output: Any = "json",
) -> AsyncIterator[Listener]:
    lines: asyncio.Queue[str] = asyncio.Queue()

    class Out(io.StringIO):
        def flush(self) -> None:
            for line in self.getvalue().splitlines():
                lines.put_nowait(line)
            self.seek(0)
            self.truncate()

    monkeypatch.setattr("sys.stdout", Out())
    options = options or SandboxOptions()
    work = listen(Output(output), make_sandbox(options), options, shop, port=0)
    task = asyncio.create_task(work)
    yield Listener(lines)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def post(url: str, *, as_json: bool = True) -> Any:
    async with aiohttp.request("POST", url) as response:
        return await (response.json() if as_json else response.text())


class Shop:
    """A shop that verifies callbacks for a base URL."""

    def __init__(self) -> None:
        self.orders: dict[str, LightningOrder] = {}
        self.notifications: list[Notification] = []
        self.handler: Any = None

    async def lookup(self, token: Reference) -> LightningOrder | None:
        return self.orders.get(token.attempt_id)

    async def handle(self, notification: Notification) -> None:
        self.notifications.append(notification)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse = await self.handler(request)
        return response

    def open(self, client: AurpayClient, public_base_url: str) -> None:
        verifier = CallbackVerifier(
            secrets=["sandbox-callback-secret"], reference_key=KEY
        )
        processor = CallbackProcessor(
            verifier,
            self.handle,
            lookup=self.lookup,
            reader=client,
            inbox=MemoryInbox(),
        )
        self.handler = callback_handler(processor, public_base_url=public_base_url)


@pytest.mark.parametrize("posts", [False, True])
async def test_shop_verifies_a_forwarded_callback(
    monkeypatch: pytest.MonkeyPatch, posts: bool
) -> None:
    shop = Shop()
    options = SandboxOptions(post_callbacks=posts)
    async with (
        serve(lambda _: shop.answer) as shop_url,
        listening(monkeypatch, shop_url, options) as listener,
    ):
        opened = await listener.record()
        base_url, callbacks = opened["base_url"], opened["callback_base_url"]
        assert (opened["type"], opened["forward_to"]) == ("listening", shop_url)
        async with AurpayClient(
            base_url=base_url, network="regtest", reference_key=KEY
        ) as client:
            shop.open(client, callbacks)
            await client.create_order("1", "USD")
            order = await client.create_order(
                "20.00",
                "USD",
                reference="cart-42",
                callback_url=f"{callbacks}/aurpay/callback?x=%7e",
                timeout_callback=f"{callbacks}/aurpay/timeout",
            )
            shop.orders[order.attempt_id or ""] = order
            [sent] = await post(f"{base_url}/_sandbox/orders/{order.order_id}/pay")
        passed = await listener.record()
    assert sent["status"] == 200
    [notification] = shop.notifications
    assert notification.confirmed
    assert passed.pop("at")
    assert passed.pop("seconds") < 5
    assert passed == {
        "type": "forwarded",
        "method": "POST" if posts else "GET",
        "path": "/aurpay/callback",
        "kind": "paid",
        "order_id": order.order_id,
        "status": 200,
        "error": None,
    }


async def test_request_and_response_are_forwarded_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        Server(answering(b"not mine\n", "418 Teapot")) as shop,
        listening(monkeypatch, shop.url) as listener,
    ):
        opened = await listener.record()
        callbacks = opened["callback_base_url"]
        await register(opened["base_url"], f"{callbacks}/p")
        headers = [("Date", "now"), ("Signature", "a"), ("Signature", "b")]
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{callbacks}/p?q=1", headers=headers, data=b"\x00\xff"
            ) as response,
        ):
            answer = (response.status, await response.read())
        passed = await listener.record()
        [request] = shop.requests
    assert request.startswith(b"POST /p?q=1 HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n\x00\xff")
    for header in (b"Date: now", b"Signature: a", b"Signature: b"):
        assert request.count(header) == 1
    assert request.count(b"Host: ") == 1
    assert answer == (418, b"not mine\n")
    assert passed["kind"] == "paid"


@pytest.mark.parametrize("added", ["", "?x=1", "&x=1"])
async def test_callback_with_added_parameters_belongs_to_its_order(
    monkeypatch: pytest.MonkeyPatch, added: str
) -> None:
    """Aurpay's own plugins expect parameters that Aurpay adds."""
    query = "?id=1" if added.startswith("&") else ""
    async with (
        Server(answering(b"ok")) as shop,
        listening(monkeypatch, shop.url) as listener,
    ):
        opened = await listener.record()
        url = f"{opened['callback_base_url']}/paid{query}"
        order_id = await register(opened["base_url"], url)
        async with aiohttp.request("GET", url + added) as response:
            assert response.status == 200
        passed = await listener.record()
    assert (passed["kind"], passed["order_id"]) == ("paid", order_id)


async def test_registered_path_with_another_query_is_forwarded_as_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        Server(answering(b"ok")) as shop,
        listening(monkeypatch, shop.url) as listener,
    ):
        opened = await listener.record()
        callbacks = opened["callback_base_url"]
        await register(opened["base_url"], f"{callbacks}/paid?id=1")
        async with aiohttp.request("GET", f"{callbacks}/paid?id=2") as response:
            assert response.status == 200
        passed = await listener.record()
    assert (passed["path"], passed["kind"], passed["order_id"]) == ("/paid", None, None)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/paid", {}, 200),
        ("/paid", {"Host": "localhost:9000"}, 200),
        ("/paid?id=2", {}, 200),
        ("/paid", {"Host": "rebound.evil.example"}, 403),
        ("/paid", {"Host": "127.0.0.1.evil.example"}, 403),
        ("/paid", {"Origin": "http://evil.example"}, 403),
        ("/paid", {"Sec-Fetch-Site": "same-origin"}, 403),
        ("/admin", {}, 404),
        ("/paid/", {}, 404),
        ("/", {}, 404),
    ],
)
async def test_listener_forwards_registered_paths_of_programs_only(
    monkeypatch: pytest.MonkeyPatch, path: str, headers: dict[str, str], status: int
) -> None:
    async with (
        Server(answering(b"ok")) as shop,
        listening(monkeypatch, shop.url) as listener,
    ):
        opened = await listener.record()
        callbacks = opened["callback_base_url"]
        await register(opened["base_url"], f"{callbacks}/paid")
        for method in ("GET", "POST"):
            async with aiohttp.request(
                method, callbacks + path, headers=headers
            ) as response:
                assert response.status == status
                assert "Access-Control-Allow-Origin" not in response.headers
        assert len(shop.requests) == (2 if status == 200 else 0)
        if status == 200:
            assert (await listener.record())["type"] == "forwarded"
        else:
            refused = await listener.record()
            assert (refused["type"], refused["status"]) == ("forwarded", status)
            assert refused["error"].startswith("not forwarded: ")


async def register(base_url: str, callback_url: str) -> str:
    """Create an order with this callback URL, and return its id."""
    async with AurpayClient(base_url=base_url, network="regtest") as client:
        order = await client.create_order("20.00", "USD", callback_url=callback_url)
    return order.order_id


async def test_listener_recognizes_a_timeout_callback_by_its_url(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        Server(answering(b"ok")) as shop,
        listening(monkeypatch, shop.url) as listener,
    ):
        opened = await listener.record()
        callbacks = opened["callback_base_url"]
        async with AurpayClient(
            base_url=opened["base_url"], network="regtest"
        ) as client:
            order = await client.create_order(
                "20.00",
                "USD",
                callback_url=f"{callbacks}/paid",
                timeout_callback=f"{callbacks}/timeout",
            )
        await post(f"{opened['base_url']}/_sandbox/orders/{order.order_id}/expire")
        passed = await listener.record()
    assert (passed["kind"], passed["order_id"]) == ("timeout", order.order_id)


async def test_listener_shows_addresses_and_an_unreachable_shop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        closed_port() as shop_url,
        listening(monkeypatch, shop_url, output="text") as listener,
    ):
        first = await listener.line()
        callbacks = first.split()[3]
        assert first == (
            f"Forwarding callbacks from {callbacks} to {shop_url}; Ctrl-C stops it."
        )
        said = [await listener.line() for _ in range(5)]
        sandbox_url = said[1].split()[1].rstrip(",")
        await register(sandbox_url, f"{callbacks}/x?secret=1")
        assert any("AURPAY_BASE_URL" in line for line in said)
        assert any("public_base_url" in line for line in said)
        async with aiohttp.request("GET", f"{callbacks}/x?secret=1") as response:
            assert response.status == 502
        last = await listener.line()
    assert last.startswith("  ✗ ")
    assert ": GET /x -> ClientConnectionError" in last


@pytest.mark.parametrize(
    ("shop", "problem"),
    [
        ("http://127.0.0.1:8000/shop", "without a path"),
        ("https://shop.example", "not on this machine"),
        ("http://shop.example", "https"),
    ],
)
def test_listener_rejects_a_shop_with_path_or_on_another_machine(
    aurpay: Run, shop: str, problem: str
) -> None:
    done = aurpay("callback", "listen", "--forward-to", shop)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--db", "/", "cannot be opened"),
        ("--seed", "-1", "seed must be a whole number"),
        ("--speed", "-1", "speed must be 0"),
    ],
)
def test_listener_rejects_invalid_options_of_its_sandbox(
    aurpay: Run, option: str, value: str, problem: str
) -> None:
    shop = ("--forward-to", "http://127.0.0.1:9")
    done = aurpay("callback", "listen", *shop, f"{option}={value}")
    assert done.code == 2
    assert problem in done.err
