"""The innermost transport: opened by its first use, closed with the client."""

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
class LazyTransport:
    """Send through the user's transport, or through aiohttp.

    The modules that are slow to load (aiohttp, which also builds a TLS context, cattrs
    and secp256k1) are imported here, by the first request, in a thread. So importing
    this package is fast, and the imports do not block the event loop.
    """

    def __init__(
        self,
        origin: str,
        *,
        given: Transport | None,
        session: aiohttp.ClientSession | None,
        trust_env: bool,
        created_at: str = "",
    ) -> None:
        self._origin = origin
        self._made_at = created_at
        self._given = given
        self._session = session
        self._trust_env = trust_env
        self._own: AiohttpTransport | None = None
        self._open = self._closed = False

    async def send(self, request: Request) -> Response:
        """Send through the transport behind this one.

        Raises:
            ConfigurationError: if the client was closed.
        """
        if not self._open and not self._closed:
            await self.open()
        transport = self._own if self._given is None else self._given
        if self._closed or transport is None:
            raise ConfigurationError("this client is closed; create a new one")
        return await transport.send(request)

    async def open(self) -> None:
        """Import what sending needs, and create the transport. Idempotent."""
        if self._open:
            return
        # Imported here: a caller with a running loop has loaded asyncio.
        import asyncio

        from ._task import require_task

        require_task()
        own = await asyncio.to_thread(self._load)
        # A concurrent call may have opened it while this one waited.
        if not self._open:
            self._own, self._open = own, True
            if own is not None:
                # Also runs at interpreter exit, when it is too late for __del__.
                finalize(
                    self, own.close_forgotten, partial(_warn_unclosed, self._made_at)
                )

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
        """Close our own transport, not the user's. Idempotent."""
        self._closed = True
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()


def _warn_unclosed(created_at: str) -> None:
    warnings.warn(
        f"an AurpayClient created at {created_at} was never closed: use "
        "`async with`, or await its aclose()",
        ResourceWarning,
        stacklevel=1,
    )
