"""Start and stop the sandbox's server."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, final

from aiohttp import web

from ..errors import ConfigurationError
from ._app import App
from ._reach import is_address

if TYPE_CHECKING:
    from ._bank import Simulator
    from ._reach import HostPolicy


@final
class Server:
    """The HTTP server of a simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._stopped = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> str:
        """Listen on a port, or on a free one for 0, and return the base URL.

        Raises:
            ConfigurationError: if it is open already, or its file cannot be used.
            OSError: if the port is in use, or the host is not this machine.
        """
        if self._runner is not None:
            raise ConfigurationError("this sandbox is open already")
        policy = self._simulator.host_policy
        # Before the file is opened: without the port it is not created.
        listening = await _listen(policy, port)
        own_port = listening.getsockname()[1]
        try:
            self._simulator.open(own_port)
            await self._serve(listening)
        except BaseException:
            listening.close()
            await self.stop()
            raise
        return f"http://{policy.origin_host}:{own_port}"

    async def stop(self) -> None:
        """Close all connections. A second call does nothing."""
        self._stopped.set()
        runner, self._runner = self._runner, None
        try:
            # Callbacks first: requests may be waiting for them.
            await self._simulator.stop()
        finally:
            if runner is not None:
                await runner.cleanup()
            self._simulator.close()

    async def _serve(self, listening: socket.socket) -> None:
        self._stopped.clear()
        app = App(self._simulator, self._stopped)
        # A signature covers the received bytes, so they are not decompressed.
        self._runner = web.AppRunner(
            app.application(),
            access_log=None,
            shutdown_timeout=1,
            auto_decompress=False,
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()


async def _listen(policy: HostPolicy, port: int) -> socket.socket:
    """Open one socket: the addresses of a name would get different free ports."""
    host = policy.bind_address
    if is_address(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family)
