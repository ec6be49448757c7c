"""The direct exchange: when it is used, and what it may never do to a connection."""

from __future__ import annotations

import asyncio
import os
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import attrs
import pytest

import aurpay_async._client.aiohttp as _aiohttp
import aurpay_async._client.exchange as _exchange
from aurpay_async import Effect, Request
from aurpay_async._client.aiohttp import AiohttpTransport
from aurpay_async._client.exchange import DirectExchange
from aurpay_async.errors import (
    ConnectError,
    ConnectionLostError,
    RequestOutcome,
    TransportError,
)

from ..support.loop_time import advance_loop
from ..support.loopback import Server, answering, idle_connections

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ..support.loopback import Peer

NOT_SENT, UNKNOWN = RequestOutcome.NOT_SENT, RequestOutcome.UNKNOWN


def request(method: str = "POST", body: bytes = b"{}", **headers: str) -> Request:
    return Request(
        operation="create_order",
        method=method,
        path="/api/bln/order?a=%20b",
        effect=Effect.CREATE,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body,
        timeout=60,
        connect_timeout=60,
    )


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Record the requests of the direct exchange."""
    seen: list[Request] = []
    exchange = DirectExchange.exchange

    async def recording(self: Any, request: Request, progress: Any) -> None:
        seen.append(request)
        await exchange(self, request, progress)

    monkeypatch.setattr(DirectExchange, "exchange", recording)
    return seen


@pytest.fixture
def _forget_aiohttp() -> Iterator[None]:
    """Check aiohttp again, in the test and after it."""
    _exchange.is_known_aiohttp.cache_clear()
    yield
    _exchange.is_known_aiohttp.cache_clear()


def after_connecting(
    transport: AiohttpTransport, act: Callable[[aiohttp.connector.Connection], object]
) -> None:
    """Run `act` on each connection before a request is written to it."""
    direct = transport._direct
    assert direct is not None
    connect = direct._connector.connect

    async def connect_and_act(*arguments: Any, **options: Any) -> Any:
        connection = await connect(*arguments, **options)
        act(connection)
        return connection

    cast("Any", direct._connector).connect = connect_and_act


async def open_transport(server: Server) -> AiohttpTransport:
    """Return a transport that has sent nothing yet."""
    transport = AiohttpTransport(server.url)
    transport._current_session()
    return transport


@pytest.mark.parametrize(
    "sent",
    [
        request(),
        request("GET", b""),
        request("POST", b""),
        request(Content_Type="application/json", API_Key="key", Signature="s="),
        request(
            "GET", b"", accept="text/plain", USER_AGENT="mine", host="other.example"
        ),
        request(X_Name="snow \u2603", Connection="close", Content_Type="a/b"),
    ],
)
async def test_both_ways_send_the_same_bytes(
    sent: Request, exchanges: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(sent)
        monkeypatch.setattr(DirectExchange, "is_available", False)
        await transport.send(sent)
        await transport.aclose()
    assert len(exchanges) == 1
    first, second = (sorted(raw.split(b"\r\n")) for raw in server.requests)
    assert first == second
    assert server.requests[0].startswith(
        sent.method.encode() + b" /api/bln/order?a=%20"
    )


class Wrapped:
    """Like wrapt's function wrapper: an object that imitates the function."""

    def __init__(self, function: Any) -> None:
        update_wrapper(cast("Any", self), function)
        self.__code__ = function.__code__
        self.__globals__ = function.__globals__
        self._function = function

    def __get__(self, session: object, owner: type) -> Any:
        return self._function.__get__(session, owner) if session else self


@pytest.mark.parametrize("name", ["_request", "request"])
@pytest.mark.parametrize("replacement", ["function", "object"])
async def test_replaced_method_of_the_session_sees_the_request(
    name: str,
    replacement: str,
    exchanges: list[Request],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the next request on, and no longer than it is replaced."""
    method = getattr(aiohttp.ClientSession, name)

    def replaced(session: Any, *arguments: Any, **options: Any) -> Any:
        return method(session, *arguments, **options)

    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request())
        with monkeypatch.context() as patch:
            new = replaced if replacement == "function" else Wrapped(method)
            patch.setattr(aiohttp.ClientSession, name, new)
            await transport.send(request())
        assert len(exchanges) == 1
        await transport.send(request())
        await transport.aclose()
    assert len(exchanges) == 2
    assert (len(server.requests), server.connections) == (3, 1)


async def test_trace_added_to_every_session_sees_the_request(
    exchanges: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenTelemetry's and Sentry's instrumentation of aiohttp do."""
    started: list[object] = []

    async def on_start(*_: object) -> None:
        started.append(None)

    init = aiohttp.ClientSession.__init__

    def traced(self: Any, *arguments: Any, **options: Any) -> None:
        tracing = aiohttp.TraceConfig()
        tracing.on_request_start.append(on_start)
        init(self, *arguments, trace_configs=[tracing], **options)

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", traced)
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request())
        await transport.aclose()
    assert (len(started), exchanges) == (1, [])


def renamed_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(self: Any, request: Any, tracing: Any) -> None: ...

    monkeypatch.setattr(aiohttp.BaseConnector, "connect", connect)


def without_serializer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_exchange, "_serialize_headers", None)


def with_other_serializer(monkeypatch: pytest.MonkeyPatch) -> None:
    def serialize(_line: str, _headers: object) -> bytes:
        return b"GET / HTTP/1.1\n\n"

    monkeypatch.setattr(_exchange, "_serialize_headers", serialize)


@pytest.mark.usefixtures("_forget_aiohttp")
@pytest.mark.parametrize(
    "change", [renamed_argument, without_serializer, with_other_serializer]
)
def test_direct_exchange_is_not_used_with_an_aiohttp_that_it_does_not_know(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _exchange.is_known_aiohttp()
    _exchange.is_known_aiohttp.cache_clear()
    with monkeypatch.context() as patch:
        change(patch)
        assert not _exchange.is_known_aiohttp()


async def test_request_is_sent_through_the_session_if_aiohttp_is_not_known(
    exchanges: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_aiohttp, "is_known_aiohttp", lambda: False)
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        assert (await transport.send(request())).status == 200
        await transport.aclose()
    assert exchanges == []


async def expect_not_sent(sending: Awaitable[object], server: Server) -> TransportError:
    """Require that the request fails before it is written, and nothing arrives."""
    with pytest.raises(TransportError) as caught:
        await sending
    assert caught.value.outcome is NOT_SENT
    assert server.requests == []
    return caught.value


@pytest.mark.parametrize("header", ["a\r\nX-Injected: b", "a\0"])
async def test_header_with_control_characters_is_rejected_and_not_sent(
    header: str,
) -> None:
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        error = await expect_not_sent(transport.send(request(X=header)), server)
        assert error.final
        assert "Injected" not in str(error)
        assert (await transport.send(request())).status == 200
        await transport.aclose()


def drop(connection: aiohttp.connector.Connection) -> None:
    """Lose the connection in the turn in which the request would be written."""
    assert connection.transport is not None
    connection.transport.abort()


async def test_connection_lost_before_the_write_is_not_sent() -> None:
    async with Server(answering(b"{}")) as server:
        transport = await open_transport(server)
        after_connecting(transport, drop)
        error = await expect_not_sent(transport.send(request()), server)
        assert isinstance(error, ConnectError)
        assert not error.final
        await transport.aclose()


def lose(connection: aiohttp.connector.Connection) -> None:
    """Lose the connection before its protocol is looked at."""
    assert connection.protocol is not None
    connection.protocol.connection_lost(None)


async def test_new_connection_that_is_closed_already_is_not_sent_and_not_replaced() -> (
    None
):
    """Else a server that closes every connection would be called without end."""
    async with Server(answering(b"{}")) as server:
        transport = await open_transport(server)
        after_connecting(transport, lose)
        await expect_not_sent(transport.send(request()), server)
        assert server.connections <= 1
        await transport.aclose()


async def test_response_before_its_request_is_written_is_not_returned() -> None:
    """It arrives in the turn between connecting and writing."""

    def respond(connection: aiohttp.connector.Connection) -> None:
        protocol = connection.protocol
        assert protocol is not None
        early = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
        loop.call_soon(protocol.data_received, early)

    loop = asyncio.get_running_loop()
    async with Server(answering(b"{}")) as server:
        transport = await open_transport(server)
        after_connecting(transport, respond)
        await expect_not_sent(transport.send(request()), server)
        await transport.aclose()


async def test_request_of_a_connection_closed_in_the_same_turn_is_not_written() -> None:
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request())
        task = asyncio.create_task(transport.send(request()))
        await asyncio.sleep(0)
        direct = cast("DirectExchange", transport._direct)
        direct._writes[0][0].close()
        with pytest.raises(ConnectError) as caught:
            await task
        assert caught.value.outcome is NOT_SENT
        assert (await transport.send(request())).status == 200
        await transport.aclose()
    assert (len(server.requests), server.connections) == (2, 2)


@pytest.mark.parametrize("turns", range(6))
async def test_call_cancelled_in_any_turn_has_an_exact_outcome(turns: int) -> None:
    """Whichever turn it is, its connection serves no other request."""
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        sent = request()
        task = asyncio.create_task(transport.send(sent))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(20):  # until the server has read it
            await asyncio.sleep(0)
        assert sent.progress.outcome is UNKNOWN or server.requests == []
        assert (await transport.send(request())).status == 200
        await transport.aclose()
    assert len(server.requests) in {1, 2}


async def test_call_cancelled_in_the_turn_in_which_its_time_is_up_is_cancelled() -> (
    None
):
    async def say_nothing(peer: Peer) -> None:
        await peer.read_request()
        await peer.wait_closed()

    async with Server(say_nothing) as server:
        transport = AiohttpTransport(server.url)
        sent = request()
        task = asyncio.create_task(transport.send(sent))
        while not server.requests:
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(sent.timeout, task.cancel)
        advance_loop(sent.timeout)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelling() == 1
        assert sent.progress.outcome is UNKNOWN
        await transport.aclose()


async def test_requests_of_one_turn_are_written_together_and_fail_one_by_one(
    exchanges: list[Request],
) -> None:
    writes: list[int] = []

    def break_second(connection: aiohttp.connector.Connection) -> None:
        writes.append(len(direct._writes))
        if len(writes) == 2:
            protocol: Any = connection.protocol
            transport = protocol.transport

            class Broken:
                def __getattr__(self, name: str) -> Any:
                    return getattr(transport, name)

                def write(self, data: bytes) -> None:
                    raise OSError(5, "broken")

            protocol.transport = Broken()

    async with Server(answering(b"{}")) as server:
        transport = await open_transport(server)
        direct = cast("DirectExchange", transport._direct)
        await asyncio.gather(*(transport.send(request()) for _ in range(3)))
        after_connecting(transport, break_second)
        outcomes = await asyncio.gather(
            *(transport.send(request()) for _ in range(3)), return_exceptions=True
        )
        await transport.aclose()
    assert writes == [0, 1, 2]
    failed = [o for o in outcomes if isinstance(o, ConnectionLostError)]
    assert [error.outcome for error in failed] == [UNKNOWN]
    assert len(server.requests) == 5
    assert len(exchanges) == 6


async def test_interim_responses_are_skipped() -> None:
    async def script(peer: Peer) -> None:
        while await peer.read_request():
            await peer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await peer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            await peer.respond(b"final", "201 Created")

    async with Server(script) as server:
        transport = AiohttpTransport(server.url)
        for _ in range(2):
            response = await transport.send(request())
            assert (response.status, response.body) == (201, b"final")
        await transport.aclose()
    assert server.connections == 1


@pytest.mark.parametrize("status", ["101 Switching Protocols", "204 No", "304 No"])
async def test_response_without_a_body_ends_with_its_headers(status: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.read_request()
        upgrade = "Connection: Upgrade\r\nUpgrade: x\r\n" if status < "2" else ""
        await peer.write(f"HTTP/1.1 {status}\r\n{upgrade}\r\n".encode())
        await peer.wait_closed()

    async with Server(script) as server:
        transport = AiohttpTransport(server.url)
        response = await transport.send(request())
        await transport.aclose()
    assert (str(response.status), response.body) == (status[:3], b"")


@pytest.mark.parametrize(
    "excess",
    [
        b"garbage",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"\r\n",
    ],
)
async def test_excess_data_on_an_idle_connection_reaches_no_later_request(
    excess: bytes,
) -> None:
    """Not even a part of a response, of which the rest arrives after the request."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.respond(b"first")
        await read.wait()
        await peer.write(excess)
        written.set()
        await peer.read_request()
        await peer.write(b"ngth: 6\r\n\r\nstolen")

    read, written = asyncio.Event(), asyncio.Event()
    async with Server(script, answering(b"second")) as server:
        transport = AiohttpTransport(server.url)
        assert (await transport.send(request())).body == b"first"
        read.set()
        await written.wait()
        while not idle_connections(transport._session)[0].should_close:
            await asyncio.sleep(0)  # until the event loop has read it
        assert (await transport.send(request())).body == b"second"
        await transport.aclose()
    assert len(server.requests) == 2


async def test_connection_with_an_unsent_part_of_a_request_is_not_used_again() -> None:
    """The next request would follow that part, and be read as its body."""

    async def early(peer: Peer) -> None:
        await peer._reader.readuntil(b"\r\n\r\n")
        await peer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await release.wait()

    release = asyncio.Event()
    large = attrs.evolve(request(), body=os.urandom(16 * 1024 * 1024))
    async with Server(early, answering(b"{}")) as server:
        transport = await open_transport(server)
        direct = cast("DirectExchange", transport._direct)
        task = asyncio.create_task(transport.send(large))
        assert (await task).status == 413
        assert not direct._connector._conns
        assert (await transport.send(request())).body == b"{}"
        release.set()
        await transport.aclose()
    assert server.connections == 2
