"""The life of the sandbox's server: a socket, what is behind it, and their end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, final

from aiohttp import web

from ..errors import ConfigurationError
from ._app import App
from ._reach import is_address

if TYPE_CHECKING:
    from ._bank import Bank
    from ._reach import Reach


@final
class Server:
    """Serves a bank."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._stopped = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> str:
        """Serve on a port; 0 takes a free one. Returns the base URL.

        Raises:
            ConfigurationError: if it is open, or its file cannot be used.
            OSError: if the port is taken, or the host is not this machine.
        """
        if self._runner is not None:
            raise ConfigurationError("this sandbox is open already")
        reach = self._bank.reach
        # First: who cannot listen leaves the file alone.
        listening = await _listen(reach, port)
        own_port = listening.getsockname()[1]
        try:
            self._bank.open(own_port)
            await self._serve(listening)
        except BaseException:
            listening.close()
            await self.stop()
            raise
        return f"http://{reach.origin_host}:{own_port}"

    async def stop(self) -> None:
        """End all connections. Does nothing the second time."""
        self._stopped.set()
        runner, self._runner = self._runner, None
        try:
            # First: there may be requests that wait for their callbacks.
            await self._bank.stop()
        finally:
            if runner is not None:
                await runner.cleanup()
            self._bank.close()

    async def _serve(self, listening: socket.socket) -> None:
        self._stopped.clear()
        app = App(self._bank, self._stopped)
        # Signatures cover the bytes that came, so nothing unpacks them.
        self._runner = web.AppRunner(
            app.routed(), access_log=None, shutdown_timeout=1, auto_decompress=False
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()


async def _listen(reach: Reach, port: int) -> socket.socket:
    """One socket, also for a name with several addresses: they share no free port."""
    host = reach.bound
    if is_address(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family)
