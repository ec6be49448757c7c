"""aiohttp on real sockets: phases, timeouts, limits, and what is never done."""

from __future__ import annotations

import asyncio
import gzip
import os
import select
import threading
import traceback
import zlib
from functools import cache, partial
from importlib import metadata
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

import aurpay_async._client.aiohttp as _aiohttp
from aurpay_async import Effect, Request
from aurpay_async._client.aiohttp import AiohttpTransport
from aurpay_async._client.exchange import MAX_BODY, DirectExchange, TrackedRequest
from aurpay_async.errors import (
    AurpayError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    RequestOutcome,
    RequestTimeoutError,
    TransportError,
)

from ..support.loop_time import advance_loop
from ..support.loopback import (
    Server,
    answering,
    closed_port,
    idle_connections,
    wait_readable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ..support.loopback import Peer, Script

NOT_SENT, UNKNOWN = RequestOutcome.NOT_SENT, RequestOutcome.UNKNOWN
CANARY = "canary-5f3a"

#: The timeout of all requests; tests of timeouts advance the loop's clock to its end.
TIMEOUT_S = 60


def request(
    method: str = "POST",
    path: str = "/api/bln/order",
    *,
    timeout: float = TIMEOUT_S,
    connect_timeout: float = TIMEOUT_S,
) -> Request:
    return Request(
        operation="create_order",
        method=method,
        path=path,
        effect=Effect.CREATE,
        headers={"Content-Type": "application/json", "API-Key": CANARY},
        body=b'{"price":20.00}' if method == "POST" else b"",
        timeout=timeout,
        connect_timeout=connect_timeout,
    )


@pytest.fixture(autouse=True, params=["direct exchange", "through the session"])
def direct(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways of sending over a session of our own; they behave alike."""
    is_direct: bool = request.param == "direct exchange"
    if not is_direct:
        monkeypatch.setattr(DirectExchange, "is_available", False)
    return is_direct


@pytest.fixture(params=["own session", "handed in"])
async def session(
    request: pytest.FixtureRequest,
) -> AsyncIterator[aiohttp.ClientSession | None]:
    """Both ways of having a session."""
    if request.param == "own session":
        yield None
        return
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without a variable for proxies, to put some in."""
    for name in [*os.environ]:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


async def exchange(
    script: Script,
    sent: Request | None = None,
    session: aiohttp.ClientSession | None = None,
) -> tuple[Any, Server]:
    """Send a request to this server; return the response or the error."""
    async with Server(script) as server:
        transport = AiohttpTransport(server.url, session=session)
        try:
            return await transport.send(sent or request()), server
        except AurpayError as error:
            return error, server
        finally:
            await transport.aclose()


async def test_request_and_response_bytes_are_sent_and_returned_unchanged(
    session: aiohttp.ClientSession | None,
) -> None:
    outcome, server = await exchange(
        answering(b'{"code":0}', "200 OK", "X-Trace: 7", "Set-Cookie: a=b"),
        session=session,
    )
    assert not isinstance(outcome, AurpayError)
    assert (outcome.status, outcome.body) == (200, b'{"code":0}')
    assert outcome.headers["x-trace"] == "7"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/bln/order HTTP/1.1\r\n")
    assert body == b'{"price":20.00}'
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"API-Key: canary" in head
    assert b"Cookie" not in head
    assert b"Authorization" not in head
    assert b"\r\nAccept-Encoding: identity\r\n" in head
    assert b"\r\nUser-Agent: aurpay-async/" in head


@pytest.mark.parametrize(
    "path", ["/api/v2/order/?page=1&size=10", "/a%2Fb?x=%20+%C3%BC&y", "/a//b/../c"]
)
async def test_a_path_goes_out_as_it_was_signed(path: str) -> None:
    """No quoting, no normalising: a signature covers these very characters."""
    _, server = await exchange(answering(b"{}"), request("GET", path))
    assert server.requests[0].startswith(f"GET {path} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_returned_and_not_followed(
    status: int, session: aiohttp.ClientSession | None
) -> None:
    async with Server(answering(b"{}")) as elsewhere:
        outcome, server = await exchange(
            answering(b"", f"{status} Moved", f"Location: {elsewhere.url}/steal"),
            session=session,
        )
    assert outcome.status == status
    assert (len(server.requests), elsewhere.connections) == (1, 0)


async def test_cookies_of_a_response_are_not_sent_again() -> None:
    async with Server(answering(b"{}", "200 OK", "Set-Cookie: a=b; Path=/")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request())
        await transport.send(request())
        await transport.aclose()
    assert server.connections == 1
    assert b"ookie" not in server.requests[1]


async def test_raise_for_status_of_the_users_session_is_ignored() -> None:
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        outcome, _ = await exchange(answering(b"no", "403 Forbidden"), session=session)
    assert (outcome.status, outcome.body) == (403, b"no")


async def test_users_session_is_not_closed_by_the_transport() -> None:
    async with aiohttp.ClientSession() as session:
        await exchange(answering(b"{}"), session=session)
        assert not session.closed


async def test_refused_connection_is_not_sent(
    session: aiohttp.ClientSession | None,
) -> None:
    async with closed_port() as url:
        transport = AiohttpTransport(url, session=session)
        with pytest.raises(ConnectError) as caught:
            await transport.send(request())
        await transport.aclose()
    error = caught.value
    assert error.outcome is NOT_SENT
    assert not error.final
    assert url in str(error)
    assert isinstance(error.__cause__, ConnectionRefusedError)


async def test_unresolvable_host_is_not_sent(
    session: aiohttp.ClientSession | None,
) -> None:
    transport = AiohttpTransport("http://shop.invalid", session=session)
    with pytest.raises(ConnectError) as caught:
        await transport.send(request())
    assert caught.value.outcome is NOT_SENT
    await transport.aclose()


async def test_plain_text_server_on_https_is_a_final_tls_error(
    session: aiohttp.ClientSession | None,
) -> None:

    async def script(peer: Peer) -> None:
        await peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.wait_closed()

    async with Server(script) as server:
        transport = AiohttpTransport(
            server.url.replace("http", "https"), session=session
        )
        with pytest.raises(ConnectError) as caught:
            await transport.send(request())
        await transport.aclose()
    assert caught.value.outcome is NOT_SENT
    assert caught.value.final
    assert server.requests == []


async def closes_after_the_request(peer: Peer) -> None:
    await peer.read_request()


async def resets_after_the_request(peer: Peer) -> None:
    await peer.read_request()
    peer.reset()


async def cuts_the_head(peer: Peer) -> None:
    await peer.read_request()
    await peer.write(b"HTTP/1.1 200 OK\r\nContent-Le")


async def cuts_the_body(peer: Peer) -> None:
    await peer.read_request()
    await peer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"code":0')


async def cuts_a_chunk(peer: Peer) -> None:
    await peer.read_request()
    await peer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nab")


async def speaks_no_http(peer: Peer) -> None:
    await peer.read_request()
    await peer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def sends_endless_headers(peer: Peer) -> None:
    await peer.read_request()
    await peer.write(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000)


@pytest.mark.parametrize(
    "script",
    [
        closes_after_the_request,
        resets_after_the_request,
        cuts_the_head,
        cuts_the_body,
        cuts_a_chunk,
        speaks_no_http,
        sends_endless_headers,
    ],
)
async def test_connection_broken_after_sending_has_unknown_outcome(
    script: Script, session: aiohttp.ClientSession | None
) -> None:
    outcome, server = await exchange(script, session=session)
    assert type(outcome) is ConnectionLostError
    assert outcome.outcome is UNKNOWN
    assert len(server.requests) == 1


async def test_aiohttp_does_not_repeat_a_get_uncounted() -> None:

    async def once_then_close(peer: Peer) -> None:
        await peer.read_request()
        await peer.respond(b"{}")
        await peer.read_request()  # and close without a word

    async with Server(once_then_close, answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request("GET"))
        with pytest.raises(ConnectionLostError) as caught:
            await transport.send(request("GET"))
        await transport.aclose()
    assert caught.value.outcome is UNKNOWN
    assert len(server.requests) == 2


async def says_nothing(peer: Peer) -> None:
    await peer.read_request()
    advance_loop(TIMEOUT_S)
    await peer.wait_closed()


async def drips(peer: Peer) -> None:
    await peer.read_request()
    await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(10):
        await peer.write(b"x")
        advance_loop(TIMEOUT_S / 10)
        await asyncio.sleep(0)
    await peer.wait_closed()


@pytest.mark.parametrize("script", [says_nothing, drips])
async def test_slow_or_missing_response_is_a_request_timeout(
    script: Script, session: aiohttp.ClientSession | None
) -> None:
    outcome, _ = await exchange(script, session=session)
    assert type(outcome) is RequestTimeoutError
    assert outcome.outcome is UNKNOWN


async def test_tls_handshake_that_hangs_is_a_connect_timeout() -> None:

    async def silent(peer: Peer) -> None:
        advance_loop(TIMEOUT_S)
        await peer.wait_closed()

    async with Server(silent) as server:
        transport = AiohttpTransport(server.url.replace("http", "https"))
        with pytest.raises(ConnectTimeoutError) as caught:
            await transport.send(request())
        await transport.aclose()
    assert caught.value.outcome is NOT_SENT


async def test_waiting_for_a_full_connection_pool_times_out() -> None:

    async def busy(peer: Peer) -> None:
        await peer.read_request()
        await peer.wait_closed()

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
        Server(busy) as server,
    ):
        transport = AiohttpTransport(server.url, session=session)
        first = asyncio.create_task(transport.send(request()))
        while not server.requests:
            await asyncio.sleep(0)
        with pytest.raises(ConnectTimeoutError) as caught:
            await transport.send(request(connect_timeout=0.1))
        assert caught.value.outcome is NOT_SENT
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


LONG = b"x" * (MAX_BODY + 1)


def chunked(data: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(
            b"%x\r\n%b\r\n" % (len(data[i : i + 65_536]), data[i : i + 65_536])
            for i in range(0, len(data), 65_536)
        )
        + b"0\r\n\r\n"
    )


@cache
def gzip_bomb() -> bytes:
    return gzip.compress(b"\0" * 50_000_000)


@pytest.mark.parametrize("form", ["length", "chunked", "until the end", "gzip bomb"])
async def test_response_body_is_cut_at_one_mebibyte(
    form: str, session: aiohttp.ClientSession | None
) -> None:

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if form == "length":
            await peer.respond(LONG)
        elif form == "chunked":
            await peer.write(chunked(LONG))
        elif form == "gzip bomb":
            await peer.respond(gzip_bomb(), "200 OK", "Content-Encoding: gzip")
        else:
            await peer.write(b"HTTP/1.1 200 OK\r\n\r\n" + LONG)

    outcome, _ = await exchange(script, session=session)
    assert outcome.body_error == "is longer than 1048576 bytes"
    assert len(outcome.body) == MAX_BODY


@pytest.mark.parametrize("form", ["length", "chunked", "until the end"])
async def test_response_body_of_exactly_the_limit_is_read(form: str) -> None:

    async def script(peer: Peer) -> None:
        await peer.read_request()
        head = b"HTTP/1.1 200 OK\r\n\r\n"
        if form == "length":
            await peer.respond(LONG[1:])
        else:
            await peer.write(
                chunked(LONG[1:]) if form == "chunked" else head + LONG[1:]
            )

    outcome, _ = await exchange(script)
    assert outcome.body == LONG[1:]


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("X-GZIP", gzip.compress(b"hello", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", raw_deflate(b"hello")),
        ("deflate", gzip.compress(b"hello", mtime=0)),
        ("gzip", gzip.compress(b"he", mtime=0) + gzip.compress(b"llo", mtime=0)),
        ("gzip", gzip.compress(b"hello", mtime=0) + b"\0" * 8),
        ("gzip, gzip", gzip.compress(gzip.compress(b"hello", mtime=0), mtime=0)),
        ("deflate , GZIP", gzip.compress(zlib.compress(b"hello"), mtime=0)),
        ("identity, gzip", gzip.compress(b"hello", mtime=0)),
        ("identity", b"hello"),
        ("", b"hello"),
        (" , ", b"hello"),
    ],
)
async def test_compressed_response_is_decompressed_although_not_requested(
    encoding: str, compressed: bytes
) -> None:
    outcome, _ = await exchange(
        answering(compressed, "200 OK", f"Content-Encoding: {encoding}")
    )
    assert outcome.body == b"hello"


@pytest.mark.parametrize("encoding", ["UTF-8", "none", "gzip", "br", "utf-8, gzip"])
@pytest.mark.parametrize("body", [b'{"code":0}', b'\xef\xbb\xbf\r\n {"code":0}'])
async def test_json_with_a_wrong_content_encoding_is_returned_unchanged(
    encoding: str, body: bytes
) -> None:
    outcome, _ = await exchange(
        answering(body, "200 OK", f"Content-Encoding: {encoding}")
    )
    assert (outcome.body, outcome.body_error) == (body, None)


async def test_answer_with_large_and_many_headers_is_read(
    session: aiohttp.ClientSession | None,
) -> None:
    """Gateways add policies and cookies; aiohttp alone takes 8,190 bytes and 128."""
    headers = [f"X-{n}: a" for n in range(900)] + ["X-Large: " + "a" * 60_000]
    outcome, _ = await exchange(answering(b"{}", "200 OK", *headers), session=session)
    assert outcome.body == b"{}"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (["X: " + CANARY + "a" * 66_000], "has a header of more than 65536 bytes"),
        ([f"X-{n}: {CANARY}" for n in range(1001)], "has more than 1000 headers"),
        ([CANARY], "is not HTTP"),
    ],
)
async def test_oversized_or_invalid_headers_are_an_error_without_their_values(
    headers: list[str], reason: str
) -> None:
    outcome, server = await exchange(answering(b"{}", "200 OK", *headers))
    assert type(outcome) is ConnectionLostError
    message = f"the connection to {server.url} broke: the response {reason}"
    assert str(outcome) == message


@pytest.mark.parametrize(
    ("encoding", "compressed", "problem"),
    [
        ("gzip", b"hello", "not valid gzip"),
        ("gzip", gzip.compress(b"hello", mtime=0)[:-9], "not valid gzip"),
        ("gzip", b"", "not valid gzip"),
        ("gzip", gzip.compress(b"", mtime=0) * 17, "not valid gzip"),
        ("deflate", zlib.compress(b"hello")[:-2], "not valid deflate"),
        ("br", b"hello", "compressed with 'br'"),
        ("br, gzip", gzip.compress(b"hello", mtime=0), "compressed with 'br'"),
        ("gzip, gzip", gzip.compress(b"hello", mtime=0), "not valid gzip"),
        ("gzip, " * 4 + "gzip", b"hello", "compressed 5 times"),
    ],
)
async def test_response_that_cannot_be_decompressed_has_a_body_error(
    encoding: str,
    compressed: bytes,
    problem: str,
    session: aiohttp.ClientSession | None,
) -> None:
    outcome, _ = await exchange(
        answering(compressed, "200 OK", f"Content-Encoding: {encoding}"),
        session=session,
    )
    assert problem in outcome.body_error


@pytest.mark.parametrize(
    "status", ["302 Found", "401 No", "403 No", "429 Later", "500 Oh"]
)
async def test_error_status_is_returned_even_if_its_body_is_damaged(
    status: str,
) -> None:
    code = int(status[:3])

    async def cut(peer: Peer) -> None:
        await peer.read_request()
        await peer.write(f"HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\nx".encode())

    async def drip(peer: Peer) -> None:
        await cut(peer)
        for _ in range(10):  # until the client has read it
            await asyncio.sleep(0.001)
        advance_loop(TIMEOUT_S)
        await peer.wait_closed()

    for script in (
        answering(LONG, status),
        answering(b"x", status, "Content-Encoding: br"),
        answering(b"x", status, "Content-Encoding: gzip"),
        cut,
        drip,
    ):
        outcome, _ = await exchange(script)
        assert outcome.status == code
        assert len(outcome.body) <= MAX_BODY


async def test_unrequested_response_is_not_taken_for_the_next_one() -> None:

    async def twice(peer: Peer) -> None:
        await peer.read_request()
        await peer.respond(b"first")
        await read.wait()
        await peer.respond(b"stale")
        await peer.wait_closed()

    read = asyncio.Event()

    async with Server(twice, answering(b"fresh")) as server:
        transport = AiohttpTransport(server.url)
        assert (await transport.send(request())).body == b"first"
        read.set()
        while not idle_connections(transport._session)[0].should_close:
            await asyncio.sleep(0)  # until the second has arrived
        assert (await transport.send(request())).body == b"fresh"
        await transport.aclose()
    assert len(server.requests) == 2


@pytest.mark.parametrize("windows", [False, True])
async def test_closed_idle_connection_is_detected_before_the_loop_has_read_it(
    windows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if windows:
        monkeypatch.delattr(select, "poll")

    async def once(peer: Peer) -> None:
        await peer.read_request()
        await peer.respond(b"first")

    async with Server(once, answering(b"second")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request())
        while server.open:
            await asyncio.sleep(0)
        assert (await transport.send(request())).body == b"second"
        await transport.aclose()
    assert len(server.requests) == 2


async def test_renew_leaves_every_open_connection_and_repeats_no_request() -> None:
    """Three idle ones are closed; the next request goes out once, on a fourth."""
    async with Server(*[answering(b"{}")] * 4) as server:
        transport = AiohttpTransport(server.url)
        await asyncio.gather(*(transport.send(request()) for _ in range(3)))
        assert server.connections == 3
        transport.renew()
        await transport.send(request())
        await transport.send(request())
        assert (server.connections, len(server.requests)) == (4, 5)
        await transport.aclose()


async def test_headers_cookies_and_middlewares_of_the_users_session_are_not_used() -> (
    None
):
    ran: list[str] = []

    async def middleware(
        sent: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        ran.append(sent.method)
        return await handler(sent)

    async with (
        Server(answering(b"{}", "200 OK", "Set-Cookie: c=d; Path=/")) as server,
        aiohttp.ClientSession(
            headers={"X-Mine": CANARY, "Authorization": CANARY},
            cookies={"mine": CANARY},
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            middlewares=(middleware,),
        ) as session,
    ):
        transport = AiohttpTransport(server.url, session=session)
        await transport.send(request())
        await transport.aclose()
        assert len(session.cookie_jar) == 1
        async with session.get(server.url) as response:  # it still works
            assert response.status == 200
    head = server.requests[0].replace(f"API-Key: {CANARY}".encode(), b"")
    assert not any(
        word in head for word in (b"X-Mine", b"ookie", b"Authorization", b"canary")
    )
    assert ran == ["GET"]
    assert server.connections == 1  # its pool is shared


async def test_proxy_of_the_users_session_is_used() -> None:
    async with (
        Server(answering(b"proxied")) as proxy,
        aiohttp.ClientSession(proxy=proxy.url) as session,
    ):
        transport = AiohttpTransport("http://127.0.0.1:9", session=session)
        assert (await transport.send(request())).body == b"proxied"
        await transport.aclose()


async def test_closed_users_session_is_a_configuration_error() -> None:
    async with aiohttp.ClientSession() as session:
        pass
    transport = AiohttpTransport("http://127.0.0.1:9", session=session)
    with pytest.raises(ConfigurationError, match="session= is closed"):
        await transport.send(request())


async def test_users_session_closed_after_first_use_is_a_configuration_error() -> None:
    async with Server(answering(b"{}")) as server:
        async with aiohttp.ClientSession() as session:
            transport = AiohttpTransport(server.url, session=session)
            await transport.send(request())
        with pytest.raises(ConfigurationError, match="session= is closed"):
            await transport.send(request())
        await transport.aclose()


async def test_users_session_of_another_loop_is_a_configuration_error() -> None:

    async def elsewhere() -> None:
        transport = AiohttpTransport("http://127.0.0.1:9", session=other)
        with pytest.raises(ConfigurationError, match="another event loop"):
            await transport.send(request())

    async with aiohttp.ClientSession() as other:
        await asyncio.to_thread(asyncio.run, elsewhere())


def without_middlewares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an aiohttp that knows no middlewares."""
    request = aiohttp.ClientSession._request

    async def ignoring(session: Any, *arguments: Any, **options: Any) -> Any:
        options.pop("middlewares")
        return await request(session, *arguments, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", ignoring)


def without_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an aiohttp that calls another method than `send`."""
    monkeypatch.setattr(TrackedRequest, "send", aiohttp.ClientRequest.send)


@pytest.mark.parametrize("aiohttp_without", [without_middlewares, without_hook])
async def test_failure_of_an_unmarked_request_is_unknown_unless_it_was_connecting(
    aiohttp_without: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the first call on: nothing is taken for granted about a later aiohttp."""
    aiohttp_without(monkeypatch)
    outcome, server = await exchange(closes_after_the_request)
    assert (type(outcome), outcome.outcome) == (ConnectionLostError, UNKNOWN)
    assert len(server.requests) == 1
    outcome, _ = await exchange(answering(b"{}"))
    assert outcome.status == 200
    async with closed_port() as nowhere:
        transport = AiohttpTransport(nowhere)
        with pytest.raises(ConnectError) as caught:
            await transport.send(request())
        await transport.aclose()
    assert caught.value.outcome is NOT_SENT


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_request_over_a_stale_connection_is_sent_over_a_new_one(
    method: str,
) -> None:
    """Nothing was written to the stale one, so this is no second attempt."""

    async def answers_and_closes(peer: Peer) -> None:
        await peer.read_request()
        await peer.respond(b"{}")

    async with Server(answers_and_closes, answering(b"new")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request(method))
        wait_readable(transport._session)  # the loop must not see the close
        assert (await transport.send(request(method))).body == b"new"
        await transport.aclose()
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "script", [closes_after_the_request, speaks_no_http, cuts_the_body, says_nothing]
)
async def test_errors_and_their_tracebacks_show_no_header(script: Script) -> None:
    outcome, _ = await exchange(script)
    assert isinstance(outcome, TransportError)
    seen: BaseException | None = outcome
    while seen is not None:
        assert CANARY not in repr(seen) + str(seen)
        for frame, _ in traceback.walk_tb(seen.__traceback__):
            if frame.f_code.co_filename != __file__:
                assert CANARY not in repr(frame.f_locals)
        assert seen.__context__ is None or seen.__context__ is seen.__cause__
        seen = seen.__cause__


def test_missing_package_metadata_gives_an_unknown_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(_aiohttp, "version", missing)
    assert _aiohttp._version() == "unknown"


async def test_foreign_exception_is_reported_with_type_module_and_line() -> None:
    """Never as "cannot connect", never with its text, and it is final."""

    async def broken(*_: object) -> None:
        raise LookupError(CANARY)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(broken)
    async with aiohttp.ClientSession(trace_configs=[tracing]) as session:
        outcome, server = await exchange(answering(b"{}"), session=session)
    line = broken.__code__.co_firstlineno + 1
    assert str(outcome) == (
        f"LookupError in {__name__}, line {line}, during a call to {server.url}; "
        "is aiohttp patched? See the page on testing"
    )
    assert (type(outcome), outcome.final) == (TransportError, True)
    assert outcome.outcome is UNKNOWN
    assert server.requests == []


async def test_foreign_exception_while_connecting_is_not_sent_and_final() -> None:
    """Where it was raised proves that nothing left."""

    async def broken(*_: object) -> None:
        raise LookupError(CANARY)

    tracing = aiohttp.TraceConfig()
    tracing.on_connection_create_start.append(broken)
    async with aiohttp.ClientSession(trace_configs=[tracing]) as session:
        outcome, _ = await exchange(answering(b"{}"), session=session)
    assert (outcome.outcome, outcome.final) == (NOT_SENT, True)


async def test_cancelled_call_and_its_timeout_show_no_header() -> None:
    async with Server(says_nothing) as server:
        transport = AiohttpTransport(server.url)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(TIMEOUT_S / 2):
                await transport.send(request())
        await transport.aclose()
    seen: BaseException | None = caught.value
    while seen is not None:
        for frame, _ in traceback.walk_tb(seen.__traceback__):
            if frame.f_code.co_filename != __file__:
                assert CANARY not in repr(frame.f_locals)
        seen = seen.__cause__ or seen.__context__


@pytest.mark.parametrize("when", ["connecting", "waiting", "reading"])
async def test_cancelled_call_leaves_no_dirty_connection_in_the_pool(when: str) -> None:

    async def first(peer: Peer) -> None:
        if when == "connecting":
            await peer.wait_closed()
            return
        await peer.read_request()
        if when == "reading":
            await peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await peer.wait_closed()

    async with Server(first, answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        task = asyncio.create_task(transport.send(request()))
        while not (server.connections if when == "connecting" else server.requests):
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        response = await transport.send(request())
        await transport.aclose()
    assert response.body == b"{}"
    assert server.connections == 2


async def test_new_event_loop_gets_new_connections() -> None:
    used: list[str] = []

    async def run(transport: AiohttpTransport | None) -> AiohttpTransport:
        async with Server(answering(b"{}")) as server:
            transport = transport or AiohttpTransport(server.url)
            transport._origin = server.url
            used.append(str((await transport.send(request())).status))
            session = transport._session
            assert session is not None
            await session.close()
            return transport

    transport = await asyncio.to_thread(asyncio.run, run(None))
    await asyncio.to_thread(asyncio.run, run(transport))
    assert used == ["200", "200"]


async def test_connections_closed_during_a_call_are_an_error_not_a_cancellation() -> (
    None
):

    async def keeps_busy(peer: Peer) -> None:
        await peer.read_request()
        await peer.wait_closed()

    async with Server(keeps_busy) as server:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            transport = AiohttpTransport(server.url, session=session)
            busy = asyncio.create_task(transport.send(request()))
            while not server.requests:
                await asyncio.sleep(0)
            waiting = asyncio.create_task(transport.send(request()))
            for _ in range(5):
                await asyncio.sleep(0)
        with pytest.raises(ConnectError) as caught:
            await waiting
        assert (caught.value.outcome, caught.value.final) == (NOT_SENT, True)
        outcomes = await asyncio.gather(busy, return_exceptions=True)
        assert isinstance(outcomes[0], TransportError)
        assert outcomes[0].outcome is UNKNOWN
        await transport.aclose()


async def test_transport_used_on_two_running_loops_is_a_configuration_error() -> None:

    async def elsewhere() -> None:
        with pytest.raises(ConfigurationError, match="another event loop"):
            await transport.send(request())
        with pytest.raises(ConfigurationError, match="another event loop"):
            await transport.aclose()

    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request())
        await asyncio.to_thread(asyncio.run, elsewhere())
        assert (await transport.send(request())).status == 200
        await transport.aclose()


async def test_call_without_a_task_is_a_configuration_error() -> None:
    """A coroutine that is driven by hand, from a callback of the loop."""
    outcome: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    transport = AiohttpTransport("http://127.0.0.1:9")

    def drive() -> None:
        with pytest.raises(ConfigurationError, match="need a task on an asyncio event"):
            transport.send(request()).send(None)
        outcome.set_result(None)

    asyncio.get_running_loop().call_soon(drive)
    await outcome


async def test_transport_is_closed_without_a_loop_like_one_of_an_ended_loop() -> None:
    """As trio does at the end of `async with`, after the loop of asyncio has ended."""

    async def use() -> AiohttpTransport:
        async with Server(answering(b"{}")) as server:
            transport = AiohttpTransport(server.url)
            await transport.send(request())
            return transport

    transport = await asyncio.to_thread(asyncio.run, use())

    def close() -> None:
        with pytest.raises(StopIteration):
            transport.aclose().send(None)

    await asyncio.to_thread(close)
    assert transport._session is None


async def test_client_collected_in_another_thread_is_closed_on_its_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request())
        session = transport._session
        assert session is not None
        steps: list[str] = []
        loop = asyncio.get_running_loop()
        ask = loop.call_soon_threadsafe

        def asked(*arguments: Any) -> Any:
            steps.append("ask the loop")
            return ask(*arguments)

        monkeypatch.setattr(loop, "call_soon_threadsafe", asked)
        tell = partial(steps.append, "tell")
        thread = threading.Thread(target=transport.close_forgotten, args=[tell])
        thread.start()
        thread.join()  # this loop waits, so nothing may have happened yet
        assert not session.closed
        await asyncio.sleep(0)
        assert session.closed
        # The loop's thread turns warnings off, for all threads.
        assert steps == ["tell", "ask the loop"]


async def test_client_collected_in_a_forked_child_is_not_closed_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url)
        await transport.send(request())
        session = transport._session
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            transport.close_forgotten(pytest.fail)
        assert session is not None
        assert not session.closed
        assert _aiohttp._parent_sessions.pop() is session
        await session.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
async def test_forked_child_does_not_disturb_calls_of_its_parent() -> None:

    async def first_waits(peer: Peer) -> None:
        await peer.read_request()
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        await peer.respond(b"parent")

    async def call_of_child() -> bytes:
        try:
            return (await transport.send(request())).body
        finally:
            # Where warnings are errors, uvloop never ends a loop with open connections:
            # its warning of them interrupts their closing.
            await transport.aclose()

    def child() -> None:
        try:
            asyncio.run(idle.aclose())
            os._exit(0 if asyncio.run(call_of_child()) == b"child" else 1)
        except BaseException:  # noqa: BLE001 - nothing may get out of a fork
            os._exit(2)

    async with (
        Server(first_waits, answering(b"child")) as server,
        Server(answering(b"kept")) as other,
    ):
        idle = AiohttpTransport(other.url)
        await idle.send(request())
        transport = AiohttpTransport(server.url)
        call = asyncio.create_task(transport.send(request()))
        while not server.requests:
            await asyncio.sleep(0)
        pid = os.fork()
        if not pid:
            child()
        assert (await call).body == b"parent"
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert status == 0
        await transport.aclose()
        assert (await idle.send(request())).body == b"kept"
        assert other.connections == 1
        await idle.aclose()


async def test_proxy_of_the_environment_is_used_only_with_trust_env(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        Server(answering(b"proxied")) as proxy,
        Server(answering(b"direct")) as server,
    ):
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        for trust_env, expected in ((False, b"direct"), (True, b"proxied")):
            transport = AiohttpTransport(server.url, trust_env=trust_env)
            assert (await transport.send(request())).body == expected
            await transport.aclose()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        transport = AiohttpTransport(server.url, trust_env=True)
        assert (await transport.send(request())).body == b"direct"
        await transport.aclose()


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("https_proxy", "user:canary-5f3a@127.0.0.1:3128", "begins with http://"),
        ("HTTPS_PROXY", "http://[canary-5f3a", "begins with http://"),
        ("https_proxy", "http://:3128", "begins with http://"),
        ("all_proxy", "socks5://user:canary-5f3a@127.0.0.1:1080", "aiohttp-socks"),
        ("ALL_PROXY", "ftp://canary-5f3a.example", "begins with http://"),
    ],
)
async def test_unusable_proxy_is_a_configuration_error_that_names_its_variable(
    variable: str, value: str, problem: str, no_proxies: pytest.MonkeyPatch
) -> None:
    """Never with its value, which may hold a password."""
    no_proxies.setenv(variable, value)
    transport = AiohttpTransport("https://api.invalid", trust_env=True)
    with pytest.raises(ConfigurationError) as caught:
        await transport.send(request())
    assert str(caught.value).startswith(f"{variable} ")
    assert problem in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if frame.f_code.co_filename != __file__:
            assert CANARY not in repr(frame.f_locals)


async def test_unusable_proxy_of_a_session_is_a_configuration_error() -> None:
    """For a session that was handed in, the same is said of its proxy."""
    async with aiohttp.ClientSession(proxy="127.0.0.1:3128") as session:
        transport = AiohttpTransport("https://api.invalid", session=session)
        with pytest.raises(ConfigurationError, match="session= must be a URL"):
            await transport.send(request())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"all_proxy": "proxy"}, b"proxied"),
        ({"ALL_PROXY": "proxy"}, b"proxied"),
        ({"http_proxy": "proxy", "all_proxy": "ftp://x"}, b"proxied"),
        ({"http_proxy": "proxy", "no_proxy": "127.0.0.1:{port}"}, b"direct"),
        ({"http_proxy": "proxy", "no_proxy": "127.0.0.1:1"}, b"proxied"),
        ({"all_proxy": "proxy", "no_proxy": "127.0.0.1"}, b"direct"),
        ({"https_proxy": "proxy"}, b"direct"),
    ],
)
async def test_proxy_variables_are_read_as_by_other_clients(
    environment: dict[str, str], expected: bytes, no_proxies: pytest.MonkeyPatch
) -> None:
    """`all_proxy` where the scheme has none, `no_proxy` with and without a port."""
    async with (
        Server(answering(b"proxied")) as proxy,
        Server(answering(b"direct")) as server,
    ):
        port = server.url.rpartition(":")[2]
        for name, value in environment.items():
            url = proxy.url if value == "proxy" else value.format(port=port)
            no_proxies.setenv(name, url)
        transport = AiohttpTransport(server.url, trust_env=True)
        assert (await transport.send(request())).body == expected
        await transport.aclose()


def test_proxy_of_the_system_is_named_without_a_variable(
    monkeypatch: pytest.MonkeyPatch, no_proxies: pytest.MonkeyPatch
) -> None:
    """Windows and macOS keep proxies in their settings."""
    monkeypatch.setattr(_aiohttp, "getproxies", lambda: {"https": "x"})
    with pytest.raises(ConfigurationError, match="the system's setting for https_prox"):
        _aiohttp.proxy_from_env(URL("https://api.invalid"))


@pytest.mark.parametrize("refusal", ["no connection", "407"])
async def test_proxy_that_refuses_is_named_as_the_proxy(
    refusal: str, no_proxies: pytest.MonkeyPatch
) -> None:
    """The message does not blame the platform, and a refusal by status is final."""
    async with closed_port() as nowhere, Server(answering(b"", "407 No")) as proxy:
        url = nowhere if refusal == "no connection" else proxy.url
        no_proxies.setenv("https_proxy", url)
        transport = AiohttpTransport("https://api.invalid", trust_env=True)
        with pytest.raises(ConnectError) as caught:
            await transport.send(request())
        await transport.aclose()
    reasons = {
        "no connection": "ConnectionRefusedError",
        "407": "it answered with HTTP",
    }
    assert str(caught.value).startswith(
        f"cannot connect to the proxy for https://api.invalid: {reasons[refusal]}"
    )
    assert caught.value.outcome is NOT_SENT
    assert caught.value.final is (refusal == "407")


async def test_netrc_is_not_read_even_with_trust_env(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password canary\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with Server(answering(b"{}")) as server:
        transport = AiohttpTransport(server.url, trust_env=True)
        await transport.send(request())
        await transport.aclose()
    assert b"Authorization" not in server.requests[0]
