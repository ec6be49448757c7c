"""Adds the headers that say who asks, fresh for each attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from ..errors import TransportError

if TYPE_CHECKING:
    from .._auth import Auth
    from .._clock import Clock
    from .._http import Request, Response
    from ._base import Transport


#: What authenticates and is no secret.
_PLAIN: Final = frozenset({"Algorithm", "Body-MD5", "Date"})

#: Characters of a secret that is looked for: shorter ones are part of anything.
_MIN_SECRET: Final = 8


@final
class AuthenticatingTransport:
    """Signs what it is given; method, path and body stay as they are.

    A platform, or a proxy, that repeats a credential in its answer is not believed to
    have meant it: stars take its place, before anybody can print or keep it.
    """

    def __init__(self, inner: Transport, auth: Auth, clock: Clock) -> None:
        self._inner = inner
        self._auth = auth
        self._clock = clock

    async def send(self, request: Request) -> Response:
        # The headers get no name of their own: tracebacks show local names.
        signed = request.with_headers(self._auth.headers(request, self._clock.now()))
        request.progress.signed = "Signature" in signed.headers
        try:
            response = await self._inner.send(signed)
        except TransportError as error:
            error.body = _without_secrets(error.body, request, signed)
            raise
        body = _without_secrets(response.body, request, signed)
        return response if body is response.body else response.with_body(body)


def _without_secrets(body: bytes, request: Request, signed: Request) -> bytes:
    for name in signed.headers.keys() - request.headers.keys() - _PLAIN:
        secret = signed.headers[name].encode()
        if len(secret) < _MIN_SECRET:
            continue
        # JSON may be written with its slashes escaped.
        for spelling in (secret, secret.replace(b"/", rb"\/")):
            if spelling in body:
                body = body.replace(spelling, b"***")
    return body
