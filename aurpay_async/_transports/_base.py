"""The interface of all transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .._http import Request, Response


class Transport(Protocol):
    """Sends one request and returns the response, with any status.

    Pass one to ``AurpayClient(transport=...)`` to replace aiohttp; the client adds
    authentication, deadlines and retries around it.
    """

    async def send(self, request: Request) -> Response:
        """Send `request` once, within its `timeout`.

        Raises:
            TransportError: if no complete response was received. Its `outcome` must be
                ``NOT_SENT`` only if nothing of the request left this process.
        """
        ...
