"""Add authentication headers, new ones for each attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from ..errors import TransportError

if TYPE_CHECKING:
    from .._auth import Auth
    from .._clock import Clock
    from .._http import Request, Response
    from ._base import Transport


#: Authentication headers that are not secret.
_PUBLIC_HEADERS: Final = frozenset({"Algorithm", "Body-MD5", "Date"})

#: Shorter secrets are not masked: they occur in any text by chance.
_MIN_SECRET_LENGTH: Final = 8


@final
class AuthenticatingTransport:
    """Authenticate requests; method, path and body stay as they are.

    If Aurpay or a proxy repeats a credential in its response, it is masked with stars
    before the caller can print or store it.
    """

    def __init__(self, inner: Transport, auth: Auth, clock: Clock) -> None:
        self._inner = inner
        self._auth = auth
        self._clock = clock

    async def send(self, request: Request) -> Response:
        # Do not bind the headers to a variable: tracebacks can show locals.
        signed = request.with_headers(self._auth.headers(request, self._clock.now()))
        request.progress.signed = "Signature" in signed.headers
        try:
            response = await self._inner.send(signed)
        except TransportError as error:
            error.body = _mask_credentials(error.body, request, signed)
            raise
        body = _mask_credentials(response.body, request, signed)
        return response if body is response.body else response.with_body(body)


def _mask_credentials(body: bytes, request: Request, signed: Request) -> bytes:
    for name in signed.headers.keys() - request.headers.keys() - _PUBLIC_HEADERS:
        secret = signed.headers[name].encode()
        if len(secret) < _MIN_SECRET_LENGTH:
            continue
        # JSON may contain slashes in their escaped form.
        for spelling in (secret, secret.replace(b"/", rb"\/")):
            if spelling in body:
                body = body.replace(spelling, b"***")
    return body
