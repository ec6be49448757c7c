"""The innermost transport: opens with the first use, ends with the client."""

from __future__ import annotations

import warnings
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, final
from weakref import finalize

from ..errors import ConfigurationError

if TYPE_CHECKING:
    import aiohttp

    from .._http import Request, Response
    from ._aiohttp import AiohttpTransport
    from ._base import Transport


@final
class Pool:
    """Sends through what was handed in, or through aiohttp.

    What is slow to load (aiohttp, which builds a TLS context as well, cattrs and the
    curve) is loaded here, when the first request is sent, and off the loop. So an
    import of this package costs little, and nothing ever blocks the loop.
    """

    def __init__(
        self,
        origin: str,
        *,
        given: Transport | None,
        session: aiohttp.ClientSession | None,
        trust_env: bool,
        made_at: str = "",
    ) -> None:
        self._origin = origin
        self._made_at = made_at
        self._given = given
        self._session = session
        self._trust_env = trust_env
        self._own: AiohttpTransport | None = None
        self._open = self._closed = False

    async def send(self, request: Request) -> Response:
        """As the transport behind it.

        Raises:
            ConfigurationError: if the client was closed.
        """
        if not self._open and not self._closed:
            await self.open()
        transport = self._own if self._given is None else self._given
        if self._closed or transport is None:
            raise ConfigurationError("this client is closed; make a new one")
        return await transport.send(request)

    async def open(self) -> None:
        """Load what sending needs; does nothing the second time."""
        if self._open:
            return
        # Here and not above: a caller with a running loop has loaded asyncio.
        import asyncio

        from ._task import require_task

        require_task()
        own = await asyncio.to_thread(self._load)
        # Another call may have been faster while this one waited.
        if not self._open:
            self._own, self._open = own, True
            if own is not None:
                # Also at the end of the program, when it is too late for __del__.
                finalize(self, own.abandon, partial(_complain, self._made_at))

    def _load(self) -> AiohttpTransport | None:
        import_module("aurpay_async._protocol")
        if self._given is not None:
            return None
        module = import_module(f"{__package__}._aiohttp")
        transport: AiohttpTransport = module.AiohttpTransport(
            self._origin, session=self._session, trust_env=self._trust_env
        )
        return transport

    def renew(self) -> None:
        """Send no further request on the connections that are open now."""
        if self._own is not None:
            self._own.renew()

    async def aclose(self) -> None:
        """Close what is ours; does nothing the second time."""
        self._closed = True
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()


def _complain(made_at: str) -> None:
    warnings.warn(
        f"an AurpayClient made at {made_at} was never closed: use `async with`, or "
        "await its aclose()",
        ResourceWarning,
        stacklevel=1,
    )
