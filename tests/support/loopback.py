"""A server of raw bytes on a real loopback socket, for cases that no mock covers.

Each connection runs the next script: an ``async def`` that is called with a `Peer`, and
reads, writes, waits, disconnects or resets.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp
    from aiohttp.client_proto import ResponseHandler

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's side of a connection."""

    def __init__(
        self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer

    async def read_request(self) -> bytes:
        """Return a complete request; an empty one if the client disconnected."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        request = head + await self._reader.readexactly(length)
        self._server.requests.append(request)
        return request

    async def write(self, data: bytes) -> None:
        """Send raw bytes."""
        self._writer.write(data)
        with suppress(ConnectionError):
            await self._writer.drain()

    async def respond(self, body: bytes, status: str = "200 OK", *headers: str) -> None:
        """Send a complete response."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        await self.write("\r\n".join(lines).encode() + body)

    def reset(self) -> None:
        """Reset the connection."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the client has closed the connection."""
        with suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass


class Server:
    """Listens on loopback and runs a script for each connection."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self._tasks: set[asyncio.Task[None]] = set()
        #: Complete requests.
        self.requests: list[bytes] = []
        #: Number of connections so far, and of open ones.
        self.connections = 0
        self.open = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        self.open += 1
        try:
            await script(Peer(self, reader, writer))
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()
            self.open -= 1


def answering(body: bytes, status: str = "200 OK", *headers: str) -> Script:
    """Return a script that sends the same response to every request."""

    async def script(peer: Peer) -> None:
        while await peer.read_request():
            await peer.respond(body, status, *headers)

    return script


def idle_connections(session: aiohttp.ClientSession | None) -> list[ResponseHandler]:
    """Return the connections in the pool of a session."""
    connector = session and session.connector
    pools = connector._conns.values() if connector else ()
    return [idle for pool in pools for idle, _ in pool]


def wait_readable(session: aiohttp.ClientSession | None) -> None:
    """Wait until an idle connection has data or is closed; the loop reads neither."""
    [idle] = idle_connections(session)
    assert idle.transport is not None
    sock = idle.transport.get_extra_info("socket")
    assert select.select([sock], [], [], 60)[0]


@asynccontextmanager
async def closed_port() -> AsyncIterator[str]:
    """Yield the URL of a port that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
