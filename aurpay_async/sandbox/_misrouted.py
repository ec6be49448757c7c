"""Misrouted responses: valid responses that belong to other requests.

A proxy that answers a request twice, or from its cache, sends such responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import asyncio

    from ._api import Endpoint


@final
class Misrouter:
    """Choose the response that a request gets."""

    def __init__(self) -> None:
        self._previous: dict[str, str] = {}
        #: The response to be sent next, by the server's task of a connection.
        self._pending: WeakKeyDictionary[asyncio.Task[None], str] = WeakKeyDictionary()

    def previous(self, endpoint: Endpoint) -> str | None:
        """Return the last successful response of an endpoint, if there was one."""
        return self._previous.get(endpoint.path)

    def remember(self, endpoint: Endpoint, response: str) -> None:
        """Store a successful response for later misrouting."""
        self._previous[endpoint.path] = response

    def route(self, connection: asyncio.Task[None], response: str) -> str:
        """Return the response that is sent next on a connection."""
        if connection not in self._pending:
            return response
        sent, self._pending[connection] = self._pending[connection], response
        return sent

    def shift(self, connection: asyncio.Task[None], response: str) -> None:
        """Repeat `response` on the connection's next request, and shift later ones."""
        self._pending[connection] = response
