"""Faults of requests, and their responses, written byte by byte.

`docs/sandbox.md` says what each fault means.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, final

import attrs

from ._faults import MEBIBYTE, FaultQueue, FaultRegistry, FaultSpec

_PAGE: Final = b"<html><body><h1>Bad Gateway</h1></body></html>"
_OK: Final = b"HTTP/1.1 200 OK\r\n"

#: The writer waits while this many bytes are unsent.
_MAX_AHEAD: Final = 256 * 1024
_PAUSE_S: Final = 0.005


@attrs.frozen
class RawConnection:
    """The server's end of a connection, below HTTP."""

    _transport: asyncio.Transport
    _stopped: asyncio.Event

    @property
    def is_open(self) -> bool:
        return not (self._transport.is_closing() or self._stopped.is_set())

    async def write(self, data: bytes) -> None:
        if self.is_open:
            self._transport.write(data)
        while self.is_open and self._transport.get_write_buffer_size() > _MAX_AHEAD:
            await asyncio.sleep(_PAUSE_S)

    async def pause(self, seconds: float) -> None:
        """Wait, at most until the client disconnects."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wait_closed()

    async def keep(self) -> None:
        """Leave the connection open for the next request."""

    async def wait_closed(self) -> None:
        while self.is_open:
            await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        self._transport.close()

    async def reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        if sock is not None:  # a connection in memory has none, and abort() resets it
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()


_keep, _wait_closed = RawConnection.keep, RawConnection.wait_closed
_close, _reset = RawConnection.close, RawConnection.reset


def _head(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    content = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {status}", *content, *headers, "", ""]).encode()


def _gzipped(compressed: bytes) -> bytes:
    return _head(compressed, "Content-Encoding: gzip") + compressed


#: Send a response with this body, damaged by the fault.
SendResponse = Callable[[RawConnection, bytes, FaultSpec[Any]], Awaitable[None]]
Fault = FaultSpec[SendResponse]
_CREATED: Final = "+created"

#: All faults of requests. ``+created`` at the end serves the request first.
REQUEST_FAULTS: Final[FaultRegistry[SendResponse]] = FaultRegistry(
    "fault", f"use an HTTP status or one of {{names}}, each with or without {_CREATED}"
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


@_fault(_STATUS_NAME, {"retry-after": "", "location": "", "html": "yes"})
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
        await connection.write(_head(page, *headers, status=status) + page)


def _raw_fault(
    name: str,
    respond: Callable[[bytes], bytes],
    end: Callable[[RawConnection], Awaitable[None]] = _keep,
    *,
    serves: bool = False,
) -> None:
    """Register a fault that sends some bytes, and then ends the connection or not."""

    @_fault(name, serves=serves)
    async def send(connection: RawConnection, body: bytes, _: Fault) -> None:
        await connection.write(respond(body))
        await end(connection)


def _body_fault(name: str, tamper: Callable[[bytes], bytes]) -> None:
    """Register a fault of the body alone, in a valid HTTP response."""
    _raw_fault(name, lambda body: _valid(tamper(body)))


def _valid(body: bytes) -> bytes:
    return _head(body) + body


def _nothing(_: bytes) -> bytes:
    return b""


_raw_fault(RESET, _nothing, _reset)
_raw_fault("reset-after-request", _nothing, _reset)
_raw_fault("close-before-headers", _nothing, _close)
_raw_fault("silence", _nothing, _wait_closed)
_raw_fault("cut-headers", lambda body: _head(body)[:-12], _close)


@_fault("endless-headers")
async def _endless_headers(connection: RawConnection, _: bytes, __: Fault) -> None:
    await connection.write(_OK)
    while connection.is_open:
        await connection.write(b"X-Endless: " + b"x" * 4000 + b"\r\n")


_raw_fault("cut-body", lambda body: _valid(body)[: -len(body) // 2], _close)
_raw_fault("long-body", lambda body: _head(body + b" ") + body, _wait_closed)
_raw_fault("short-body", lambda body: _head(body[:-9]) + body)


@_fault("endless-body")
async def _endless_body(connection: RawConnection, body: bytes, _: Fault) -> None:
    await connection.write(_OK + b"\r\n" + body)
    while connection.is_open:
        await connection.write(b" " * 65_536)


_BAD_CHUNK: Final = _OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"

_body_fault("huge-body", lambda body: body + MEBIBYTE * 2 * b" ")
_raw_fault("broken-chunk", lambda body: _BAD_CHUNK + body + _LAST_CHUNK, _close)


@_fault("gzip-bomb")
async def _gzip_bomb(connection: RawConnection, body: bytes, _: Fault) -> None:
    bomb = body + b" " * 16 * MEBIBYTE
    await connection.write(_gzipped(await asyncio.to_thread(gzip.compress, bomb)))


def _add_member(member: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body[:-1] + b", " + member + b"}"


_DEEP: Final = b"[" * 2000 + b"]" * 2000

_raw_fault("gzip-broken", lambda body: _gzipped(gzip.compress(body)[:-12]))
_body_fault("empty", _nothing)
_body_fault("not-json", lambda body: body.replace(b'"', b"'"))
_body_fault("cut-json", lambda body: body[: len(body) // 2])
_body_fault("nan", _add_member(b'"rate": NaN'))
_body_fault("duplicate-keys", _add_member(b'"code": 0'))
_body_fault("deep", _add_member(b'"x": ' + _DEEP))
_body_fault("latin-1", _add_member(b'"note": "\xe4"'))
_body_fault("html", lambda _: _PAGE)


@_fault("redirect", {"status": "307", "location": "http://127.0.0.1:9/stolen"})
async def _redirect(connection: RawConnection, _: bytes, fault: Fault) -> None:
    location, status = f"Location: {fault.options['location']}", fault.options["status"]
    await connection.write(_head(b"", location, status=f"{status} Moved"))


_raw_fault(REPLAYED, _valid)  # the server has chosen the response


@_fault("delay", {"seconds": "1"}, serves=True)
async def _delay(connection: RawConnection, body: bytes, fault: Fault) -> None:
    await connection.pause(fault.seconds)
    await connection.write(_valid(body))


@_fault("slow", {"seconds": "1"}, serves=True)
async def _slow(connection: RawConnection, body: bytes, fault: Fault) -> None:
    for byte in _valid(body):
        await connection.write(bytes([byte]))
        await connection.pause(fault.seconds)


_raw_fault("gzip", lambda body: _gzipped(gzip.compress(body)), serves=True)
_raw_fault("close-kept", _valid, _close, serves=True)
_raw_fault(STALE, _valid, serves=True)


def _set_member(name: bytes, value: bytes) -> Callable[[bytes], bytes]:
    """Return a function that replaces a number, written as such or as a string."""
    member = re.compile(rb'("%b": "?)[0-9.]+' % name)
    return lambda body: _valid(member.sub(rb"\g<1>" + value, body))


_raw_fault("other-price", _set_member(b"vs_price", b"0.01"), serves=True)
_raw_fault("other-amount", _set_member(b"amount", b"0.00000001"), serves=True)
