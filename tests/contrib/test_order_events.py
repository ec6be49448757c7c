"""Server-sent events of an order: real servers, heartbeats, and browsers that leave."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import Order, OrderStatus
from aurpay_async.contrib import _common
from aurpay_async.contrib._common import stream_events
from aurpay_async.sandbox import Sandbox

from .shops import SECONDS, serve_uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from aurpay_async import AurpayClient, LightningOrder


class Shop:
    """A shop in which every visitor watches the same order."""

    def __init__(
        self, sandbox: Sandbox, aurpay: AurpayClient, order: LightningOrder
    ) -> None:
        self.sandbox, self.aurpay, self.order = sandbox, aurpay, order
        self.port = 0

    def watch(self) -> AsyncGenerator[Order, None]:
        return self.aurpay.watch(self.order)

    @property
    def pollers(self) -> int:
        lane = self.aurpay._shared_polling.lane
        return 0 if lane is None else len(lane.pollers)

    async def stop_of_all_polling(self) -> None:
        """Wait until no watcher is left."""
        async with asyncio.timeout(SECONDS):
            while self.pollers:
                await asyncio.sleep(0.001)

    @asynccontextmanager
    async def visit(self) -> AsyncIterator[Visit]:
        """Open the stream, and close the connection at the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET /events HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)
            yield Visit(head.decode().lower(), reader)
        finally:
            writer.close()


class Visit:
    """A browser's stream of events."""

    def __init__(self, head: str, reader: asyncio.StreamReader) -> None:
        self.head = head
        self._reader = reader

    async def next_chunk(self) -> str:
        """Return the next event or comment, without its blank line; or the end, ""."""
        size = int(await asyncio.wait_for(self._reader.readline(), SECONDS), 16)
        chunk = await asyncio.wait_for(self._reader.readexactly(size + 2), SECONDS)
        return chunk.decode().removesuffix("\r\n").removesuffix("\n\n")

    async def next_event(self) -> tuple[str, dict[str, str]]:
        """Return the name and the data of the next event, skipping comments."""
        while (chunk := await self.next_chunk()) == ":":
            pass
        *names, data = chunk.split("\n")
        (name,) = names or ["event: message"]
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def serve_starlette(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Route

    from aurpay_async.contrib.starlette import order_events

    async def events(_: Request) -> Response:
        return order_events(shop.watch())

    await serve_uvicorn(Starlette(routes=[Route("/events", events)]), sock, stop)


async def serve_fastapi(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from fastapi import FastAPI
    from starlette.responses import StreamingResponse

    from aurpay_async.contrib.starlette import order_events

    app = FastAPI()

    @app.get("/events", response_class=StreamingResponse)
    async def events() -> StreamingResponse:
        return order_events(shop.watch())

    await serve_uvicorn(app, sock, stop)


async def serve_aiohttp(shop: Shop, sock: socket.socket, stop: asyncio.Event) -> None:
    from aiohttp import web

    from aurpay_async.contrib.aiohttp import send_order_events

    async def events(request: web.Request) -> web.StreamResponse:
        return await send_order_events(request, shop.watch())

    app = web.Application()
    app.router.add_get("/events", events)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.SockSite(runner, sock).start()
    await stop.wait()
    await runner.cleanup()


@pytest.fixture(
    params=[serve_starlette, serve_fastapi, serve_aiohttp],
    ids=["starlette", "fastapi", "aiohttp"],
)
async def shop(request: Any) -> AsyncIterator[Shop]:
    sock = socket.create_server(("127.0.0.1", 0))
    async with Sandbox(port=None) as sandbox, sandbox.client() as aurpay:
        shop = Shop(sandbox, aurpay, await aurpay.create_order("20.00", "USD"))
        shop.port = sock.getsockname()[1]
        stop = asyncio.Event()
        serving = asyncio.create_task(request.param(shop, sock, stop))
        try:
            yield shop
        finally:
            stop.set()
            await asyncio.wait_for(serving, SECONDS)


async def test_payer_gets_each_status_and_the_end_and_only_public_fields(
    shop: Shop,
) -> None:
    async with shop.visit() as visit:
        assert "content-type: text/event-stream" in visit.head
        assert "cache-control: no-store" in visit.head
        assert "x-accel-buffering: no" in visit.head
        assert await visit.next_chunk() == ":"
        name, data = await visit.next_event()
        assert (name, data["status"]) == ("message", "PENDING")
        assert data["order_id"] == shop.order.order_id
        await shop.sandbox.pay(shop.order.order_id)
        await shop.aurpay.get_order(shop.order.order_id)
        name, data = await visit.next_event()
        assert (name, data["status"]) == ("message", "SUCCESS")
        assert ("end", data) == await visit.next_event()
        assert await visit.next_chunk() == ""
    paid = await shop.aurpay.get_order(shop.order.order_id)
    assert data == paid.to_public_dict()
    assert shop.pollers == 0


async def test_polling_stops_after_the_browser_has_disconnected_without_a_log_record(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_common, "HEARTBEAT_S", 0.01)
    async with shop.visit() as visit:
        await visit.next_event()
        assert await visit.next_chunk() == ":"
        assert shop.pollers == 1
    await shop.stop_of_all_polling()
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_one_browser_that_leaves_does_not_end_the_stream_of_another(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_common, "HEARTBEAT_S", 0.01)
    async with shop.visit() as other:
        await other.next_event()
        async with shop.visit() as visit:
            await visit.next_event()
        for _ in range(9):
            assert await other.next_chunk() == ":"
        await shop.sandbox.pay(shop.order.order_id)
        await shop.aurpay.get_order(shop.order.order_id)
        assert (await other.next_event())[1]["status"] == "SUCCESS"
    await shop.stop_of_all_polling()


async def orders_of(*orders: Order, error: Exception | None) -> AsyncGenerator[Order]:
    for order in orders:
        yield order
    if error is not None:
        raise error


async def test_failed_watcher_ends_the_stream_with_its_error() -> None:
    events = stream_events(orders_of(error=LookupError("mine")))
    assert await anext(events) == b":\n\n"
    with pytest.raises(LookupError, match="mine"):
        await anext(events)


async def test_watcher_without_any_order_has_an_empty_object_at_its_end() -> None:
    events = [event async for event in stream_events(orders_of(error=None))]
    assert events == [b":\n\n", b"event: end\ndata: {}\n\n"]


async def test_stream_ends_when_until_returns_true_and_closes_its_watcher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_common, "UNTIL_EVERY_S", 0)
    for checks, pending in ((1, False), (5, True)):
        answers = iter([*[False] * (checks - 1), True])
        watcher = Watcher()

        async def is_paid(answers: Iterator[bool] = answers) -> bool:
            await asyncio.sleep(0)
            return next(answers)

        events = [event async for event in stream_events(watcher.orders, is_paid)]
        assert events[-1].startswith(b"event: end\ndata: {")
        assert (b'"PENDING"' in events[-1]) is pending
        assert pending is watcher.is_closed  # a generator that never ran has no end
        assert [*answers] == []


@pytest.mark.slow
async def test_failure_behind_a_closed_stream_is_not_reported_as_never_retrieved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.append(context)
    )
    monkeypatch.setattr(_common, "HEARTBEAT_S", 0)
    failing = asyncio.Event()

    async def orders() -> AsyncGenerator[Order]:
        await failing.wait()
        raise LookupError
        yield

    events = stream_events(orders())
    for _ in range(2):
        assert await anext(events) == b":\n\n"
    failing.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await events.aclose()
    gc.collect()
    assert complaints == []


class Watcher:
    """A watcher of an order that never changes."""

    def __init__(self) -> None:
        self.is_closed = False
        self.orders = self._orders()

    async def _orders(self) -> AsyncGenerator[Order]:
        try:
            yield Order(order_id="1", status=OrderStatus.PENDING)
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


@pytest.mark.parametrize("chunks", [2, 3])
async def test_closing_the_events_closes_the_watcher_at_once(
    chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_common, "HEARTBEAT_S", 0.01)
    watcher = Watcher()
    events = stream_events(watcher.orders)
    sent = [await anext(events) for _ in range(chunks)]
    assert sent[1].startswith(b'data: {"order_id": "1", "status": "PENDING"')
    assert not watcher.is_closed
    await events.aclose()
    assert watcher.is_closed


async def test_starlette_closes_the_watcher_when_a_write_fails() -> None:
    from starlette.requests import ClientDisconnect

    from aurpay_async.contrib.starlette import order_events

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if b"PENDING" in message.get("body", b""):
            raise OSError

    watcher = Watcher()
    response = order_events(watcher.orders)
    # A group of the OSError up to Starlette 0.38.
    with pytest.raises((ClientDisconnect, ExceptionGroup)):
        await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert watcher.is_closed
