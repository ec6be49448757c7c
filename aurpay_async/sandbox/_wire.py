"""Carries faults out, byte by byte, on the connection of one request.

An answer that goes wrong is written here by hand: no HTTP library would.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from typing import TYPE_CHECKING, Final

from ._faults import REPLAYED, STALE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._faults import Fault

_PAGE: Final = b"<html><body><h1>Bad Gateway</h1></body></html>"
_MEBIBYTE: Final = 1024 * 1024

#: A writer that is ahead of its reader by this much waits.
_MAX_AHEAD: Final = 256 * 1024
_PAUSE_S: Final = 0.005


class Wire:
    """The server's end of a connection."""

    def __init__(self, transport: asyncio.Transport, stopped: asyncio.Event) -> None:
        self._transport = transport
        self._stopped = stopped

    @property
    def is_open(self) -> bool:
        """Whether there is anybody to write to."""
        return not (self._transport.is_closing() or self._stopped.is_set())

    async def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self.is_open:
            self._transport.write(data)
        while self.is_open and self._transport.get_write_buffer_size() > _MAX_AHEAD:
            await asyncio.sleep(_PAUSE_S)

    async def gone(self) -> None:
        """Wait until the other end gives up."""
        while self.is_open:
            await asyncio.sleep(_PAUSE_S)

    async def pause(self, seconds: float) -> None:
        """Wait, as long as there is anybody to wait for."""
        ends = asyncio.get_running_loop().time() + seconds
        while self.is_open and asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(min(seconds, _PAUSE_S))

    def end(self) -> None:
        """Say goodbye, once everything is sent."""
        self._transport.close()

    def reset(self) -> None:
        """End without a goodbye."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()


def head(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """The head of a whole answer."""
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


async def misbehave(fault: Fault, wire: Wire, body: bytes) -> None:
    """Answer with `body`, and with this fault."""
    if fault.name.isdigit():
        await _status(fault, wire)
    elif fault.name in _BODIES:
        spoilt = _BODIES[fault.name](body)
        await wire.write(head(spoilt) + spoilt)
    else:
        await _ACTS[fault.name](fault, wire, body)


async def _status(fault: Fault, wire: Wire) -> None:
    options = fault.options
    named = {"Retry-After": options["retry-after"], "Location": options["location"]}
    headers = [f"{name}: {value}" for name, value in named.items() if value]
    page = _PAGE if options["html"] == "yes" else b""
    if fault.name.startswith("1"):  # comes before an answer, which never comes
        await wire.write(f"HTTP/1.1 {fault.name} Wait\r\n\r\n".encode())
        await wire.gone()
    elif fault.name in {"204", "304"}:  # have no body
        await wire.write(f"HTTP/1.1 {fault.name} None\r\n\r\n".encode())
    else:
        status = f"{fault.name} Fault"
        await wire.write(head(page, *headers, status=status) + page)


async def _redirect(fault: Fault, wire: Wire, _: bytes) -> None:
    status, location = fault.options["status"], fault.options["location"]
    await wire.write(head(b"", f"Location: {location}", status=f"{status} Moved"))


async def _reset_after_request(_: Fault, wire: Wire, __: bytes) -> None:
    wire.reset()


async def _close_before_headers(_: Fault, wire: Wire, __: bytes) -> None:
    wire.end()


async def _silence(_: Fault, wire: Wire, __: bytes) -> None:
    await wire.gone()


async def _cut_headers(_: Fault, wire: Wire, body: bytes) -> None:
    await wire.write(head(body)[:-12])
    wire.end()


async def _endless_headers(_: Fault, wire: Wire, __: bytes) -> None:
    await wire.write(b"HTTP/1.1 200 OK\r\n")
    while wire.is_open:
        await wire.write(b"X-Endless: " + b"x" * 4000 + b"\r\n")


async def _cut_body(_: Fault, wire: Wire, body: bytes) -> None:
    await wire.write(head(body) + body[: len(body) // 2])
    wire.end()


async def _long_body(_: Fault, wire: Wire, body: bytes) -> None:
    await wire.write(head(body + b" ") + body)
    await wire.gone()


async def _short_body(_: Fault, wire: Wire, body: bytes) -> None:
    await wire.write(head(body[:-9]) + body)


async def _endless_body(_: Fault, wire: Wire, body: bytes) -> None:
    await wire.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    while wire.is_open:
        await wire.write(b" " * 65_536)


async def _broken_chunk(_: Fault, wire: Wire, body: bytes) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await wire.write(chunks + b"zz\r\n" + body + b"\r\n0\r\n\r\n")
    wire.end()


async def _packed(wire: Wire, packed: bytes) -> None:
    await wire.write(head(packed, "Content-Encoding: gzip") + packed)


async def _gzip(_: Fault, wire: Wire, body: bytes) -> None:
    await _packed(wire, gzip.compress(body))


async def _gzip_bomb(_: Fault, wire: Wire, body: bytes) -> None:
    bomb = body + b" " * 16 * _MEBIBYTE
    await _packed(wire, await asyncio.to_thread(gzip.compress, bomb))


async def _gzip_broken(_: Fault, wire: Wire, body: bytes) -> None:
    await _packed(wire, gzip.compress(body)[:-12])


async def _delay(fault: Fault, wire: Wire, body: bytes) -> None:
    await wire.pause(fault.seconds)
    await wire.write(head(body) + body)


async def _slow(fault: Fault, wire: Wire, body: bytes) -> None:
    for byte in head(body) + body:
        await wire.write(bytes([byte]))
        await wire.pause(fault.seconds)


async def _close_kept(_: Fault, wire: Wire, body: bytes) -> None:
    await wire.write(head(body) + body)
    wire.end()


async def _whole(_: Fault, wire: Wire, body: bytes) -> None:
    await wire.write(head(body) + body)


_ACTS: Final[dict[str, Callable[[Fault, Wire, bytes], Awaitable[None]]]] = {
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
    # Which answer it is has been decided before.
    REPLAYED: _whole,
    STALE: _whole,
}

#: The same for faults of the body alone, which HTTP carries as it should.
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
