"""Adds the headers that say who asks, fresh for each attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from .._auth import Auth
    from .._clock import Clock
    from .._http import Request, Response
    from ._base import Transport


@final
class AuthenticatingTransport:
    """Signs what it is given; method, path and body stay as they are."""

    def __init__(self, inner: Transport, auth: Auth, clock: Clock) -> None:
        self._inner = inner
        self._auth = auth
        self._clock = clock

    async def send(self, request: Request) -> Response:
        # The headers get no name of their own: tracebacks show local names.
        return await self._inner.send(
            request.with_headers(self._auth.headers(request, self._clock.now()))
        )
