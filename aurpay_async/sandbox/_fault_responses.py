"""Faults of requests: their names, meanings, and responses, written byte by byte.

A proxy that answers a request twice, or from its cache, sends such responses.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, final
from weakref import WeakKeyDictionary

import attrs

from ._faults import FaultQueue, FaultRegistry, FaultSpec

if TYPE_CHECKING:
    from ._endpoints import Endpoint


_PAGE: Final = b"<html><body><h1>Bad Gateway</h1></body></html>"

_MEBIBYTE: Final = 1024 * 1024

#: The writer waits while this many bytes are unsent.
_MAX_AHEAD: Final = 256 * 1024

_PAUSE_S: Final = 0.005


class RawConnection:
    """The server's end of a connection, below HTTP."""

    def __init__(self, transport: asyncio.Transport, stopped: asyncio.Event) -> None:
        self._transport = transport
        self._stopped = stopped

    @property
    def is_open(self) -> bool:
        """Return whether the client is connected and the sandbox is running."""
        return not (self._transport.is_closing() or self._stopped.is_set())

    async def write(self, data: bytes) -> None:
        if self.is_open:
            self._transport.write(data)
        while self.is_open and self._transport.get_write_buffer_size() > _MAX_AHEAD:
            await asyncio.sleep(_PAUSE_S)

    async def wait_closed(self) -> None:
        while self.is_open:
            await asyncio.sleep(_PAUSE_S)

    async def pause(self, seconds: float) -> None:
        """Wait, at most until the client disconnects."""
        ends = asyncio.get_running_loop().time() + seconds
        while self.is_open and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(min(seconds, _PAUSE_S))

    def end(self) -> None:
        self._transport.close()

    def reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        if sock is not None:  # a connection in memory has none, and abort() resets it
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()


def response_head(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return status line and headers of a complete response."""
    return "\r\n".join(
        [
            f"HTTP/1.1 {status}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *headers,
            "",
            "",
        ]
    ).encode()


#: Send a response with this body, damaged by the fault.
SendResponse = Callable[[RawConnection, bytes, FaultSpec[Any]], Awaitable[None]]

Fault = FaultSpec[SendResponse]

_CREATED: Final = "+created"

#: All faults of requests. ``+created`` at the end serves the request first.
REQUEST_FAULTS: Final[FaultRegistry[SendResponse]] = FaultRegistry(
    "fault",
    f"use an HTTP status or one of {{names}}, each with or without {_CREATED}",
)

_fault = REQUEST_FAULTS.register

#: A request that is reset before it is read creates nothing.
RESET: Final = "reset"

#: Responses that are shifted by one request, as after a proxy that answers twice.
STALE: Final = "stale"

#: The response to another request, as from a proxy's cache.
REPLAYED: Final = "replayed"

#: Without 101, which would switch the protocol of the connection.
_STATUS_NAME: Final = re.compile(r"10[023]|[2-5][0-9]{2}", re.ASCII)


def parse_fault(text: str) -> Fault:
    """Parse a request fault."""
    created = _CREATED in REQUEST_FAULTS.require_str(text)
    fault = REQUEST_FAULTS.parse(text.replace(_CREATED, "", 1))
    if fault.name == RESET and created:
        raise REQUEST_FAULTS.error("a request that is reset unread creates nothing")
    return attrs.evolve(fault, serves=created or fault.serves)


@final
class Faults(FaultQueue[SendResponse]):
    """Queued request faults. Each request consumes the first one.

    With an empty queue, requests are served normally. ``+created`` at the end of a
    fault creates the order even though the request fails.

    Example:
        >>> sandbox.faults.push("503; retry-after=1", "reset-after-request+created")
    """

    def __init__(self) -> None:
        super().__init__(REQUEST_FAULTS.noun, parse_fault)


@_fault(
    _STATUS_NAME,
    "this HTTP status, with a proxy's page",
    {"retry-after": "", "location": "", "html": "yes"},
)
async def _status(connection: RawConnection, _: bytes, fault: Fault) -> None:
    options = fault.options
    named = {"Retry-After": options["retry-after"], "Location": options["location"]}
    headers = [f"{name}: {value}" for name, value in named.items() if value]
    page = _PAGE if options["html"] == "yes" else b""
    if fault.name.startswith("1"):  # interim; the final response never follows
        await connection.write(f"HTTP/1.1 {fault.name} Wait\r\n\r\n".encode())
        await connection.wait_closed()
    elif fault.name in {"204", "304"}:  # without a body
        await connection.write(f"HTTP/1.1 {fault.name} None\r\n\r\n".encode())
    else:
        status = f"{fault.name} Fault"
        await connection.write(response_head(page, *headers, status=status) + page)


@_fault("reset-after-request", "a reset after it was read")
@_fault(RESET, "a reset before the request is read")
async def _reset(connection: RawConnection, _: bytes, __: Fault) -> None:
    connection.reset()


@_fault("close-before-headers", "closed after it was read, without a response")
async def _close_before_headers(connection: RawConnection, _: bytes, __: Fault) -> None:
    connection.end()


@_fault("silence", "no response; the connection stays open")
async def _silence(connection: RawConnection, _: bytes, __: Fault) -> None:
    await connection.wait_closed()


@_fault("cut-headers", "closed in the middle of the headers")
async def _cut_headers(connection: RawConnection, body: bytes, _: Fault) -> None:
    await connection.write(response_head(body)[:-12])
    connection.end()


@_fault("endless-headers", "headers that never end")
async def _endless_headers(connection: RawConnection, _: bytes, __: Fault) -> None:
    await connection.write(b"HTTP/1.1 200 OK\r\n")
    while connection.is_open:
        await connection.write(b"X-Endless: " + b"x" * 4000 + b"\r\n")


@_fault("cut-body", "closed in the middle of the body")
async def _cut_body(connection: RawConnection, body: bytes, _: Fault) -> None:
    await connection.write(response_head(body) + body[: len(body) // 2])
    connection.end()


@_fault(
    "long-body", "a Content-Length greater than the body; the connection stays open"
)
async def _long_body(connection: RawConnection, body: bytes, _: Fault) -> None:
    await connection.write(response_head(body + b" ") + body)
    await connection.wait_closed()


@_fault("short-body", "a Content-Length less than the body")
async def _short_body(connection: RawConnection, body: bytes, _: Fault) -> None:
    await connection.write(response_head(body[:-9]) + body)


@_fault("endless-body", "a body that never ends")
async def _endless_body(connection: RawConnection, body: bytes, _: Fault) -> None:
    await connection.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    while connection.is_open:
        await connection.write(b" " * 65_536)


def _body_fault(name: str, meaning: str, tamper: Callable[[bytes], bytes]) -> None:
    """Register a fault of the body alone, in a valid HTTP response."""

    @_fault(name, meaning)
    async def send(connection: RawConnection, body: bytes, _: Fault) -> None:
        tampered = tamper(body)
        await connection.write(response_head(tampered) + tampered)


_body_fault(
    "huge-body", "a response of 2 MiB", lambda body: body + _MEBIBYTE * 2 * b" "
)


@_fault("broken-chunk", "chunks with an invalid length")
async def _broken_chunk(connection: RawConnection, body: bytes, _: Fault) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await connection.write(chunks + b"zz\r\n" + body + b"\r\n0\r\n\r\n")
    connection.end()


async def _send_gzip(connection: RawConnection, compressed: bytes) -> None:
    await connection.write(
        response_head(compressed, "Content-Encoding: gzip") + compressed
    )


@_fault("gzip-bomb", "16 MiB, compressed to 16 KiB")
async def _gzip_bomb(connection: RawConnection, body: bytes, _: Fault) -> None:
    bomb = body + b" " * 16 * _MEBIBYTE
    await _send_gzip(connection, await asyncio.to_thread(gzip.compress, bomb))


@_fault("gzip-broken", "compressed with gzip, and truncated")
async def _gzip_broken(connection: RawConnection, body: bytes, _: Fault) -> None:
    await _send_gzip(connection, gzip.compress(body)[:-12])


def _add_member(member: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body[:-1] + b", " + member + b"}"


_DEEP: Final = b"[" * 2000 + b"]" * 2000

_body_fault("empty", "no body", lambda _: b"")
_body_fault(
    "not-json",
    "single quotes instead of double quotes",
    lambda body: body.replace(b'"', b"'"),
)
_body_fault(
    "cut-json",
    "half of the JSON, with a correct Content-Length",
    lambda body: body[: len(body) // 2],
)
_body_fault("nan", "NaN as a number", _add_member(b'"rate": NaN'))
_body_fault("duplicate-keys", "a duplicate key", _add_member(b'"code": 0'))
_body_fault("deep", "2,000 nested lists", _add_member(b'"x": ' + _DEEP))
_body_fault("latin-1", "another charset than UTF-8", _add_member(b'"note": "\xe4"'))
_body_fault("html", "HTTP 200 and a web page", lambda _: _PAGE)


@_fault(
    "redirect",
    "to another origin",
    {"status": "307", "location": "http://127.0.0.1:9/stolen"},
)
async def _redirect(connection: RawConnection, _: bytes, fault: Fault) -> None:
    status, location = fault.options["status"], fault.options["location"]
    await connection.write(
        response_head(b"", f"Location: {location}", status=f"{status} Moved")
    )


@_fault(REPLAYED, "the response to the previous request to the same endpoint")
async def _unchanged(connection: RawConnection, body: bytes, _: Fault) -> None:
    # The server has chosen the response.
    await connection.write(response_head(body) + body)


@_fault("delay", "the valid response, delayed", {"seconds": "1"}, serves=True)
async def _delay(connection: RawConnection, body: bytes, fault: Fault) -> None:
    await connection.pause(fault.seconds)
    await connection.write(response_head(body) + body)


@_fault("slow", "the valid response, one byte at a time", {"seconds": "1"}, serves=True)
async def _slow(connection: RawConnection, body: bytes, fault: Fault) -> None:
    for byte in response_head(body) + body:
        await connection.write(bytes([byte]))
        await connection.pause(fault.seconds)


@_fault("gzip", "the valid response, compressed with gzip unasked", serves=True)
async def _gzip(connection: RawConnection, body: bytes, _: Fault) -> None:
    await _send_gzip(connection, gzip.compress(body))


@_fault("close-kept", "the valid response; then the connection is closed", serves=True)
async def _close_kept(connection: RawConnection, body: bytes, _: Fault) -> None:
    await connection.write(response_head(body) + body)
    connection.end()


_fault(
    STALE,
    "the valid response; from then on, each request on the connection gets the "
    "response to the request before it",
    serves=True,
)(_unchanged)


@final
class Misrouter:
    """Choose the response that a request gets."""

    def __init__(self) -> None:
        self._previous: dict[str, str] = {}
        #: The response to be sent next, by the server's task of a connection.
        self._pending: WeakKeyDictionary[asyncio.Task[None], str] = WeakKeyDictionary()

    def previous(self, endpoint: Endpoint) -> str | None:
        """Return the last successful response of an endpoint, if there was one."""
        return self._previous.get(endpoint.path)

    def remember(self, endpoint: Endpoint, response: str) -> None:
        """Store a successful response for later misrouting."""
        self._previous[endpoint.path] = response

    def route(self, connection: asyncio.Task[None], response: str) -> str:
        """Return the response that is sent next on a connection."""
        if connection not in self._pending:
            return response
        sent, self._pending[connection] = self._pending[connection], response
        return sent

    def shift(self, connection: asyncio.Task[None], response: str) -> None:
        """Repeat `response` on the connection's next request, and shift later ones."""
        self._pending[connection] = response
