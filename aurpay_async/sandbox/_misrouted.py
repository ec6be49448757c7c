"""Answers that reach another request than their own: a poisoned response queue.

A proxy that answers a request twice, or from its cache, hands out whole, valid answers
that belong to other requests. Nothing in such an answer is wrong but its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import asyncio

    from ._api import Endpoint


@final
class Misrouter:
    """Decides which answer a request gets."""

    def __init__(self) -> None:
        self._previous: dict[str, str] = {}
        #: By the server's task for a connection, the answer that is still to be sent.
        self._pending: WeakKeyDictionary[asyncio.Task[None], str] = WeakKeyDictionary()

    def previous(self, endpoint: Endpoint) -> str | None:
        """Return the last successful answer of an endpoint, if there was one."""
        return self._previous.get(endpoint.path)

    def remember(self, endpoint: Endpoint, answer: str) -> None:
        """Store a successful answer for the requests that get it as well."""
        self._previous[endpoint.path] = answer

    def route(self, connection: asyncio.Task[None], answer: str) -> str:
        """Return the answer that is sent next on a connection."""
        if connection not in self._pending:
            return answer
        sent, self._pending[connection] = self._pending[connection], answer
        return sent

    def shift(self, connection: asyncio.Task[None], answer: str) -> None:
        """Send `answer` again to the connection's next request, and so on."""
        self._pending[connection] = answer
