"""A proxy to a database that counts round trips, and can stop answering."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from aurpay_async._db.engine import STEP_LIMIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHUNK = 65536

#: Seconds after which a database counts as silent here.
LIMIT_S = 0.3

_DEFAULT_LIMIT_S = STEP_LIMIT_S["postgresql"]


class Proxy:
    """A proxy between a driver and PostgreSQL that can go silent."""

    def __init__(self, url: str) -> None:
        self._server = make_url(url)
        #: The URL of the proxy.
        self.url = ""
        self.connections = 0
        #: Messages from a client after a message from the server, on all connections.
        self.round_trips = 0
        self._is_heard = asyncio.Event()
        self._is_heard.set()
        self._silenced: list[asyncio.Event] = []
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []

    def silence(self) -> None:
        """Stop forwarding on all connections, and keep accepting new ones.

        The time limit of a step becomes short; before, it suits a busy machine.
        """
        self._is_heard.clear()
        STEP_LIMIT_S["postgresql"] = LIMIT_S

    def restore(self) -> None:
        """Forward on new connections; the silenced ones stay silent."""
        STEP_LIMIT_S["postgresql"] = _DEFAULT_LIMIT_S
        self._silenced.append(self._is_heard)
        self._is_heard = asyncio.Event()
        self._is_heard.set()

    async def connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        self.connections += 1
        is_heard = self._is_heard
        host, port = self._server.host, self._server.port
        back, forth = await asyncio.open_connection(host, port)
        self._writers += [writer, forth]

        last: asyncio.StreamReader = back

        async def carry(
            source: asyncio.StreamReader, target: asyncio.StreamWriter
        ) -> None:
            nonlocal last
            while data := await source.read(_CHUNK):
                self.round_trips += source is reader and last is back
                last = source
                await is_heard.wait()
                target.write(data)
            target.close()

        with suppress(OSError):
            await asyncio.gather(carry(reader, forth), carry(back, writer))

    async def close(self) -> None:
        """Close all connections."""
        STEP_LIMIT_S["postgresql"] = _DEFAULT_LIMIT_S
        for is_heard in (*self._silenced, self._is_heard):
            is_heard.set()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.wait(self._tasks)


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """Run a proxy between a database and its clients."""
    proxy = Proxy(url)
    server = await asyncio.start_server(proxy.connect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxied_url = make_url(url).set(host="127.0.0.1", port=port)
    proxy.url = proxied_url.render_as_string(hide_password=False)
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
