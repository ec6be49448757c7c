"""Many who ask at once, as fast as Python can: cheaper than any server that answers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_END = b"\r\n\r\n"


class Customer(asyncio.Protocol):
    """One connection, which asks again as soon as it has its answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self._left = 0
        #: Of the last answer.
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, times: int) -> None:
        """Ask so often, one after the other.

        Raises:
            RuntimeError: if an answer is anything but 200.
        """
        self._left = times
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(self._request)
        await self._done

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole."""
        self._buffer += data
        end = self._buffer.find(_END) + len(_END)
        if end < len(_END):
            return
        head = self._buffer[:end].lower()
        at = head.index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(self._buffer) >= end + length:
            self.body, self._buffer = self._buffer[end:], b""
            self._go_on(head)

    def _go_on(self, head: bytes) -> None:
        self._left -= 1
        if not head.startswith(b"http/1.1 200 "):
            self._done.set_exception(RuntimeError(repr(head)))
        elif self._left:
            self._transport.write(self._request)
        else:
            self._done.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        """A server that ends while somebody asks is no server."""
        if self._left and not self._done.done():
            self._done.set_exception(RuntimeError("the connection ended"))


async def crowd(port: int, size: int, request: bytes) -> list[Customer]:
    """So many, connected."""
    loop = asyncio.get_running_loop()
    pairs = [
        await loop.create_connection(lambda: Customer(request), "127.0.0.1", port)
        for _ in range(size)
    ]
    return [customer for _, customer in pairs]


async def ask(customers: Sequence[Customer], each: int) -> float:
    """Seconds for an answer, over those of all, who ask at once."""
    began = time.perf_counter()
    await asyncio.gather(*(customer.ask(each) for customer in customers))
    return (time.perf_counter() - began) / (each * len(customers))
