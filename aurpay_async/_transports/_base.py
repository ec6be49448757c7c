"""The one call that all transports answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .._http import Request, Response


class Transport(Protocol):
    """Sends one request and brings back its answer, whatever its status.

    Hand one to ``AurpayClient(transport=...)`` to replace aiohttp; the client adds
    authentication, deadlines and retries around it.

    .. versionadded:: 0.1.0
    """

    async def send(self, request: Request) -> Response:
        """Send `request` once, within its `timeout`.

        Raises:
            TransportError: if no complete answer came. Its `outcome` must be
                ``NOT_SENT`` only if nothing of the request left this process.
        """
        ...
