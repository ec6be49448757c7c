"""Faulty HTTP responses, written byte by byte.

A proxy that answers a request twice, or from its cache, sends such responses.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from typing import TYPE_CHECKING, Final, final
from weakref import WeakKeyDictionary

from ._faults import REPLAYED, STALE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._endpoints import Endpoint
    from ._faults import Fault


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
        """Send bytes as they are."""
        if self.is_open:
            self._transport.write(data)
        while self.is_open and self._transport.get_write_buffer_size() > _MAX_AHEAD:
            await asyncio.sleep(_PAUSE_S)

    async def wait_closed(self) -> None:
        """Wait until the client disconnects."""
        while self.is_open:
            await asyncio.sleep(_PAUSE_S)

    async def pause(self, seconds: float) -> None:
        """Wait, at most until the client disconnects."""
        ends = asyncio.get_running_loop().time() + seconds
        while self.is_open and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(min(seconds, _PAUSE_S))

    def end(self) -> None:
        """Close the connection when everything is sent."""
        self._transport.close()

    def reset(self) -> None:
        """Reset the connection."""
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


async def send_faulty_response(
    fault: Fault, connection: RawConnection, body: bytes
) -> None:
    """Send a response with `body`, damaged by this fault."""
    if fault.name.isdigit():
        await _status(fault, connection)
    elif fault.name in _BODIES:
        tampered = _BODIES[fault.name](body)
        await connection.write(response_head(tampered) + tampered)
    else:
        await _RESPONSES[fault.name](fault, connection, body)


async def _status(fault: Fault, connection: RawConnection) -> None:
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


async def _redirect(fault: Fault, connection: RawConnection, _: bytes) -> None:
    status, location = fault.options["status"], fault.options["location"]
    await connection.write(
        response_head(b"", f"Location: {location}", status=f"{status} Moved")
    )


async def _reset_after_request(_: Fault, connection: RawConnection, __: bytes) -> None:
    connection.reset()


async def _close_before_headers(_: Fault, connection: RawConnection, __: bytes) -> None:
    connection.end()


async def _silence(_: Fault, connection: RawConnection, __: bytes) -> None:
    await connection.wait_closed()


async def _cut_headers(_: Fault, connection: RawConnection, body: bytes) -> None:
    await connection.write(response_head(body)[:-12])
    connection.end()


async def _endless_headers(_: Fault, connection: RawConnection, __: bytes) -> None:
    await connection.write(b"HTTP/1.1 200 OK\r\n")
    while connection.is_open:
        await connection.write(b"X-Endless: " + b"x" * 4000 + b"\r\n")


async def _cut_body(_: Fault, connection: RawConnection, body: bytes) -> None:
    await connection.write(response_head(body) + body[: len(body) // 2])
    connection.end()


async def _long_body(_: Fault, connection: RawConnection, body: bytes) -> None:
    await connection.write(response_head(body + b" ") + body)
    await connection.wait_closed()


async def _short_body(_: Fault, connection: RawConnection, body: bytes) -> None:
    await connection.write(response_head(body[:-9]) + body)


async def _endless_body(_: Fault, connection: RawConnection, body: bytes) -> None:
    await connection.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    while connection.is_open:
        await connection.write(b" " * 65_536)


async def _broken_chunk(_: Fault, connection: RawConnection, body: bytes) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await connection.write(chunks + b"zz\r\n" + body + b"\r\n0\r\n\r\n")
    connection.end()


async def _send_gzip(connection: RawConnection, compressed: bytes) -> None:
    await connection.write(
        response_head(compressed, "Content-Encoding: gzip") + compressed
    )


async def _gzip(_: Fault, connection: RawConnection, body: bytes) -> None:
    await _send_gzip(connection, gzip.compress(body))


async def _gzip_bomb(_: Fault, connection: RawConnection, body: bytes) -> None:
    bomb = body + b" " * 16 * _MEBIBYTE
    await _send_gzip(connection, await asyncio.to_thread(gzip.compress, bomb))


async def _gzip_broken(_: Fault, connection: RawConnection, body: bytes) -> None:
    await _send_gzip(connection, gzip.compress(body)[:-12])


async def _delay(fault: Fault, connection: RawConnection, body: bytes) -> None:
    await connection.pause(fault.seconds)
    await connection.write(response_head(body) + body)


async def _slow(fault: Fault, connection: RawConnection, body: bytes) -> None:
    for byte in response_head(body) + body:
        await connection.write(bytes([byte]))
        await connection.pause(fault.seconds)


async def _close_kept(_: Fault, connection: RawConnection, body: bytes) -> None:
    await connection.write(response_head(body) + body)
    connection.end()


async def _unchanged(_: Fault, connection: RawConnection, body: bytes) -> None:
    await connection.write(response_head(body) + body)


_RESPONSES: Final[
    dict[str, Callable[[Fault, RawConnection, bytes], Awaitable[None]]]
] = {
    "reset-after-request": _reset_after_request,
    "close-before-headers": _close_before_headers,
    "silence": _silence,
    "cut-headers": _cut_headers,
    "endless-headers": _endless_headers,
    "cut-body": _cut_body,
    "long-body": _long_body,
    "short-body": _short_body,
    "endless-body": _endless_body,
    "broken-chunk": _broken_chunk,
    "gzip": _gzip,
    "gzip-bomb": _gzip_bomb,
    "gzip-broken": _gzip_broken,
    "redirect": _redirect,
    "delay": _delay,
    "slow": _slow,
    "close-kept": _close_kept,
    # The caller has chosen the response.
    REPLAYED: _unchanged,
    STALE: _unchanged,
}

#: Faults of the body alone, in a valid HTTP response.
_BODIES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "empty": lambda _: b"",
    "not-json": lambda body: body.replace(b'"', b"'"),
    "cut-json": lambda body: body[: len(body) // 2],
    "nan": lambda body: body[:-1] + b', "rate": NaN}',
    "duplicate-keys": lambda body: body[:-1] + b', "code": 0}',
    "deep": lambda body: body[:-1] + b', "x": ' + b"[" * 2000 + b"]" * 2000 + b"}",
    "latin-1": lambda body: body[:-1] + b', "note": "\xe4"}',
    "html": lambda _: _PAGE,
    "huge-body": lambda body: body + b" " * 2 * _MEBIBYTE,
}


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
