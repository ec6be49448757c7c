"""A server that answers every request with the same bytes, as fast as Python can.

It runs in a separate process, so that its CPU time is not counted. It reads the body of
the response from standard input, prints its port, and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Fixed(asyncio.Protocol):
    """A connection."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            self._transport.write(self.answer_to(head))

    def answer_to(self, head: bytes) -> bytes:  # noqa: ARG002 - for subclasses
        """Return the response to a request, of which `head` is in lower case."""
        return self._answer


def build_answer(body: bytes) -> bytes:
    """Return an HTTP response with a body of JSON."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
    return f"{head}{len(body)}\r\n\r\n".encode() + body


async def serve_with(create: Callable[[], asyncio.Protocol]) -> None:
    """Serve on a free port of loopback, and print it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(create, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    answer = build_answer(sys.stdin.buffer.read())
    asyncio.run(serve_with(lambda: Fixed(answer)))
