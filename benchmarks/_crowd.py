"""Concurrent clients, as fast as Python can be: cheaper than any server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """A connection that sends the next request after each response."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self._left = 0
        #: Body of the last response.
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def send(self, times: int) -> None:
        """Send a number of requests, one after the other.

        Raises:
            RuntimeError: if the status of a response is not 200.
        """
        self._left = times
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        await self._done

    def data_received(self, data: bytes) -> None:
        """Check whether the response is complete."""
        self._buffer += data
        end = self._buffer.find(_END) + len(_END)
        if end < len(_END):
            return
        head = self._buffer[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) >= end + length:
            self.body, self._buffer = self._buffer[end:], b""
            self._send_next(head)

    def _send_next(self, head: bytes) -> None:
        self._left -= 1
        if not head.startswith(b"http/1.1 200 "):
            self._done.set_exception(RuntimeError(repr(head)))
        elif self._left:
            self._transport.write(self._request)
        else:
            self._done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        """Fail if the server disconnects during a request."""
        if self._left and not self._done.done():
            self._done.set_exception(RuntimeError("the connection ended"))


async def connect(port: int, size: int, request: bytes) -> list[Connection]:
    """Return a number of open connections."""
    loop = asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda: Connection(request), "127.0.0.1", port)
        for _ in range(size)
    ]
    return [connection for _, connection in pairs]


async def measure(connections: Sequence[Connection], each: int) -> float:
    """Return seconds per response, over all connections at once."""
    began = time.perf_counter()
    await asyncio.gather(*(connection.send(each) for connection in connections))
    return (time.perf_counter() - began) / (each * len(connections))
