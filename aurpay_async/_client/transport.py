"""Open the transport on first use, and add credentials to requests."""

from __future__ import annotations

import warnings
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, final
from weakref import finalize

from ..errors import ConfigurationError, TransportError

if TYPE_CHECKING:
    import aiohttp

    from .._core.clock import Clock
    from .._core.http import Request, Response, Transport
    from .aiohttp import AiohttpTransport
    from .auth import Auth


#: Connections of `wait_for_payment`, beyond those of all other calls: no call that
#: creates an order waits until a poll is over.
POLL_CONNECTIONS: Final = 8


def require_task() -> None:
    """Raise unless the caller runs in a task of an asyncio event loop.

    Raises:
        ConfigurationError: under trio or curio, or for a coroutine driven by hand.
    """
    import asyncio  # not loaded with the package

    with suppress(RuntimeError):
        if asyncio.current_task() is not None:
            return
    raise ConfigurationError(
        "calls of this client need a task on an asyncio event loop, and there is none: "
        "use asyncio.run(), or create_task() on a running loop; trio is not supported"
    )


@final
class LazyModule:
    """A module that is imported when its first name is read.

    Importing this package is fast because of it: see `LazyTransport`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        value = getattr(import_module(self._name), name)
        vars(self)[name] = value  # found without this method from now on
        return value


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
        signs_references: bool = False,
        created_at: str = "",
    ) -> None:
        self._origin = origin
        self._signs_references = signs_references
        self._created_at = created_at
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

        require_task()
        own = await asyncio.to_thread(self._load)
        # A concurrent call may have opened it while this one waited.
        if not self._open:
            self._own, self._open = own, True
            if own is not None:
                # Also runs at interpreter exit, when it is too late for __del__.
                finalize(
                    self, own.close_forgotten, partial(_warn_unclosed, self._created_at)
                )

    def _load(self) -> AiohttpTransport | None:
        import_module("aurpay_async._api.orders")
        if self._signs_references:
            import_module("aurpay_async.callbacks._identity")
        if self._given is not None:
            return None
        module = import_module(f"{__package__}.aiohttp")
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
    for name in signed.headers:
        if name in request.headers or name in _PUBLIC_HEADERS:
            continue
        secret = signed.headers[name].encode()
        if len(secret) < _MIN_SECRET_LENGTH:
            continue
        if secret in body:
            body = body.replace(secret, b"***")
        # JSON may contain slashes in their escaped form.
        if b"/" in secret:
            body = body.replace(secret.replace(b"/", rb"\/"), b"***")
    return body
