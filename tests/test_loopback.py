"""The raw server of the tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from .support.loopback import Server, answering, closed_port

if TYPE_CHECKING:
    from .support.loopback import Peer


async def test_the_raw_server_answers_and_counts_requests() -> None:
    async with Server(answering(b"hello")) as server:
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
            assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
    assert server.connections == 1
    assert server.requests == [b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"] * 2


async def test_the_raw_server_resets_a_connection() -> None:

    async def script(peer: Peer) -> None:
        await peer.read_request()
        peer.reset()

    async with Server(script) as server:
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_closed_port_refuses_connections() -> None:
    async with closed_port() as url:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
