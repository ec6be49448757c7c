"""aiohttp, and its errors turned into ours: here and nowhere else on the client's side.

A session of our own keeps no cookies, reads no ``.netrc``, takes a proxy from the
environment only if asked to, and never follows a redirect. Whether a request has left
is known from the moment at which it is written to a connection, not guessed from an
exception; when in doubt, it has.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from contextvars import ContextVar
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .._http import Response
from ..errors import (
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    Delivery,
    InvalidResponseError,
    RequestTimeoutError,
)

if TYPE_CHECKING:
    from aiohttp.connector import Connection

    from .._http import Request
    from ..errors import TransportError

#: At most this much of an answer is held, unpacked; documented ones have under 20 KiB.
MAX_BODY: Final = 1024 * 1024

#: A request on a connection that the server is just closing may or may not have been
#: received. Servers close idle ones after 60 s or more (nginx 75): we go first.
_KEEPALIVE_S: Final = 15.0

#: Never sent: the session's own defaults, had it any.
_HEADERS: Final = {
    "User-Agent": f"aurpay-async/{version('aurpay-async')}",
    "Accept-Encoding": "identity",
}


class _Phase:
    """How far the request of a call has got."""

    __slots__ = ("sent",)

    def __init__(self) -> None:
        self.sent = False


_phase: ContextVar[_Phase] = ContextVar("aurpay_async_phase")


class _MarkingRequest(aiohttp.ClientRequest):
    """Tells its call when it is written: from now on the platform may have it.

    aiohttp's trace signal ``on_request_headers_sent`` says the same at a tenth of the
    whole call's cost: with any trace, each request builds a tracer and an URL.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        phase = _phase.get()
        if phase.sent:
            # aiohttp sends a GET again when a kept connection turns out to be dead.
            # Trying again is ours to decide and to count.
            raise aiohttp.ServerDisconnectedError
        phase.sent = True
        return await super().send(conn)


@final
class AiohttpTransport:
    """One origin, one session: ours, or one that was handed in and is left as it is."""

    def __init__(
        self,
        origin: str,
        *,
        session: aiohttp.ClientSession | None = None,
        trust_env: bool = False,
    ) -> None:
        self._origin = origin
        self._given = session
        self._trust_env = trust_env
        self._own: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def send(self, request: Request) -> Response:
        """Send once; redirects come back as the answers that they are."""
        session = self._given or await self._own_session()
        phase = _Phase()
        token = _phase.set(phase)
        try:
            async with session.request(
                request.method,
                URL(self._origin + request.path, encoded=True),
                data=request.body or None,
                headers=request.headers,
                timeout=_timeout(request.timeout, request.connect_timeout),
                allow_redirects=False,
                auto_decompress=False,
                raise_for_status=False,
            ) as response:
                return Response(
                    status=response.status,
                    headers=response.headers,
                    body=await _read(response),
                )
        except InvalidResponseError:
            raise
        except Exception as caught:  # noqa: BLE001 - the one place where all end
            error, cause = self._translate(caught, phase), _presentable(caught)
        finally:
            _phase.reset(token)
        # Out here, so that the foreign error is no context: its frames hold headers.
        raise error from cause

    async def _own_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._own is not None and self._loop is loop:
            return self._own
        # A pool lives and dies with its loop.
        abandoned = self._own
        session = self._own = self._new_session()
        self._loop = loop
        if abandoned is not None:
            await abandoned.close()
        return session

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=_KEEPALIVE_S),
            headers=CIMultiDict(_HEADERS),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_proxy(URL(self._origin)) if self._trust_env else None,
            request_class=_MarkingRequest,
        )

    def _translate(self, error: Exception, phase: _Phase) -> TransportError:
        sent = phase.sent or (
            self._given is not None and not isinstance(error, _BEFORE_SENDING)
        )
        delivery = Delivery.UNKNOWN if sent else Delivery.NOT_SENT
        what = _describe(error)
        if isinstance(error, _TLS) and not sent:
            message = f"TLS with {self._origin} failed: {what}"
            return ConnectError(message, delivery=delivery, final=True)
        if isinstance(error, TimeoutError):
            if sent:
                return RequestTimeoutError(
                    f"no complete answer from {self._origin} in time", delivery=delivery
                )
            message = f"no connection to {self._origin} in time"
            return ConnectTimeoutError(message, delivery=delivery)
        if not sent:
            message = f"cannot connect to {self._origin}: {what}"
            return ConnectError(message, delivery=delivery)
        message = f"the connection to {self._origin} broke: {what}"
        return ConnectionLostError(message, delivery=delivery)

    async def aclose(self) -> None:
        """Close our own session, if there is one."""
        session, self._own = self._own, None
        if session is not None:
            await session.close()


#: Raised only before anything is written, on any session.
_BEFORE_SENDING: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
)

_TLS: Final = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)


@lru_cache(maxsize=32)
def _timeout(attempt: float, connect: float) -> aiohttp.ClientTimeout:
    # Without a threshold: aiohttp rounds timeouts above it up to whole seconds.
    return aiohttp.ClientTimeout(
        total=attempt, connect=connect, ceil_threshold=float("inf")
    )


def _proxy(url: URL) -> str | None:
    # Not aiohttp's own trust_env: that reads .netrc as well and sends what it finds.
    if url.host is None or proxy_bypass(url.host):
        return None
    return getproxies().get(url.scheme)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, unpacked, if it is not too long."""
    length = response.content_length
    if length is not None and length <= MAX_BODY:
        body = await response.read()
    else:
        body = await _read_bounded(response)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    return body if encoding == "identity" else _unpack(response, encoding, body)


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY:
            raise _too_long(response, bytes(body))
    return bytes(body)


def _unpack(response: aiohttp.ClientResponse, encoding: str, packed: bytes) -> bytes:
    # Asked for nothing packed, some gateways pack all the same. 32: gzip or zlib.
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise InvalidResponseError(
            f"the answer is packed with {encoding!a}, which was not asked for",
            status=response.status,
        )
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        body = unpacker.decompress(packed, MAX_BODY + 1)
    except zlib.error:
        body = b""
    if len(body) > MAX_BODY:
        raise _too_long(response, body)
    if not unpacker.eof:
        raise InvalidResponseError(
            f"the answer is not the {encoding} it says it is", status=response.status
        )
    return body


def _too_long(response: aiohttp.ClientResponse, body: bytes) -> InvalidResponseError:
    return InvalidResponseError(
        f"the answer is longer than {MAX_BODY} bytes", status=response.status, body=body
    )


def _describe(error: Exception) -> str:
    """What may be said of a foreign error: some show headers when they are printed."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        return f"{type(error).__name__}: {error.strerror or error}"
    return type(error).__name__


def _presentable(error: Exception) -> Exception | None:
    """The system's error behind a foreign one, without the frames it came through."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if not isinstance(error, OSError) or isinstance(error, aiohttp.ClientError):
        return None
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
