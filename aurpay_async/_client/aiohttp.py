"""Send requests with aiohttp. The only module of the client that imports it.

Our session stores no cookies, reads no ``.netrc``, uses a proxy of the environment only
with `trust_env`, and never follows a redirect.

A failure counts as NOT_SENT only with proof: aiohttp's connector raised it, or this
module did before the first byte was written. Every other failure is UNKNOWN, even if
its type suggests otherwise.

The proxy variables of the environment are read as in curl and requests: ``https_proxy``
or ``http_proxy`` by the scheme of the origin, else ``all_proxy``; ``no_proxy`` lists
hosts, with or without a port. A value may contain a password, so no message and no
traceback shows it.

Some gateways compress although `Accept-Encoding` does not allow it, and others send a
`Content-Encoding` that does not hold. If decompressing fails, a body that begins like
JSON is returned unchanged.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import ssl
import warnings
import zlib
from contextlib import suppress
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final, cast, final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .._core.http import Response
from ..errors import (
    MAX_ERROR_BODY,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    RequestOutcome,
    RequestTimeoutError,
    TransportError,
    shown,
)
from .transport import POLL_CONNECTIONS, require_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    from .._core.http import Request


class RequestProgress:
    """State of one attempt: whether it was sent, and the body received so far."""

    __slots__ = ("body", "generation", "sent")

    def __init__(self, generation: int) -> None:
        #: The generation of the connections that this attempt may use.
        self.generation = generation
        self.sent = False
        #: The part of the response body received so far.
        self.body = bytearray()

    def track(
        self,
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Attach this object to aiohttp's request; an aiohttp middleware."""
        cast("TrackedRequest", request).progress = self
        return handler(request)


class _StaleConnectionError(aiohttp.ServerDisconnectedError):
    """An idle connection was found unusable before anything was written to it."""


class RetiredConnectionError(_StaleConnectionError):
    """An idle connection was opened before `AiohttpTransport.renew`."""


class TrackedRequest(aiohttp.ClientRequest):
    """A request that marks its attempt as sent just before its first byte is written.

    aiohttp's trace signal ``on_request_headers_sent`` would do, but costs a tenth of
    the whole call: with any trace, each request builds a tracer and a URL.
    """

    #: ``None`` if this aiohttp runs no middlewares: then the outcome is UNKNOWN.
    progress: RequestProgress | None = None

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        progress = self.progress
        if progress is not None:
            # aiohttp repeats a GET after a broken idle connection. Retries are the
            # task of RetryingTransport, which counts them.
            if progress.sent:
                raise aiohttp.ServerDisconnectedError
            # Unread data on an idle connection (a close or a stray response) means
            # that the connection cannot be reused.
            if conn.protocol is None or _has_unread_data(conn.protocol):
                raise _StaleConnectionError
            generation = getattr(conn.protocol, _GENERATION, progress.generation)
            if generation != progress.generation:
                raise RetiredConnectionError
            setattr(conn.protocol, _GENERATION, generation)
            progress.sent = True
        return await super().send(conn)


#: Attribute set on connections that have carried a request. (A set of weak references
#: to them costs ten times as much.)
_GENERATION: Final = "_aurpay_async_generation"


def _has_unread_data(protocol: ResponseHandler) -> bool:
    """Return whether an idle connection has unread data, or was closed."""
    if protocol.should_close:
        return True
    # Ask the socket: the event loop may not have read the data yet. A new connection
    # may have unread data, because TLS servers send session tickets.
    transport = protocol.transport
    if transport is None or not hasattr(protocol, _GENERATION):
        return False
    sock = transport.get_extra_info("socket")
    if sock is None:  # a connector of the user's that opens no sockets
        return False
    number = sock.fileno()
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def outcome_after(error: BaseException, progress: RequestProgress) -> RequestOutcome:
    """Return NOT_SENT if that is proven, else UNKNOWN."""
    if progress.sent:
        return RequestOutcome.UNKNOWN
    if isinstance(error, _StaleConnectionError) or _raised_while_connecting(error):
        return RequestOutcome.NOT_SENT
    return RequestOutcome.UNKNOWN


def _raised_while_connecting(error: BaseException | None) -> bool:
    """Return whether aiohttp's connector raised the error while connecting.

    The type alone proves nothing: mocks and wrappers of aiohttp raise its types too.
    """
    connect = getattr(aiohttp.BaseConnector.connect, "__code__", None)
    while error is not None:
        if any(frame.f_code is connect for frame, _ in walk_tb(error.__traceback__)):
            return True
        # aiohttp replaces a cancellation by its own timer with another error.
        error = error.__cause__ or error.__context__
    return False


#: Limits of a response's headers: gateways add policies and cookies of many kilobytes.
#: The size is that of http.client; aiohttp's defaults are 8,190 bytes and 128 headers.
MAX_HEADER_SIZE: Final = 65_536

MAX_HEADERS: Final = 1_000

#: How aiohttp's messages about oversized headers begin, and ours, which show no values.
_HEADER_MESSAGES: Final = {
    "Got more than": f"the response has a header of more than {MAX_HEADER_SIZE} bytes",
    "Too many headers": f"the response has more than {MAX_HEADERS} headers",
}

_TLS: Final = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)

#: Errors of the network. Any other exception is a bug in the code that raised it.
_NETWORK: Final = (aiohttp.ClientError, OSError)

_PATCHED: Final = "is aiohttp patched? See the page on testing"


def translate(
    error: BaseException, origin: str, outcome: RequestOutcome
) -> TransportError:
    """Return our error for an exception of aiohttp or of the operating system."""
    if isinstance(error, asyncio.CancelledError):
        message = f"the connections to {origin} were closed during the call"
        return ConnectError(message, outcome=outcome, final=True)
    if not isinstance(error, _NETWORK):
        message = f"{_where(error)} during a call to {origin}; {_PATCHED}"
        return TransportError(message, outcome=outcome, final=True)
    if outcome is RequestOutcome.NOT_SENT:
        return _not_connected(error, origin)
    if isinstance(error, TimeoutError):
        return RequestTimeoutError(f"no complete response from {origin} in time")
    return ConnectionLostError(f"the connection to {origin} broke: {_describe(error)}")


def _not_connected(error: BaseException, origin: str) -> ConnectError:
    not_sent, problem = RequestOutcome.NOT_SENT, _describe(error)
    if isinstance(error, _TLS):
        message = f"TLS with {origin} failed: {problem}"
        return ConnectError(message, outcome=not_sent, final=True)
    if isinstance(error, TimeoutError):
        message = f"no connection to {origin} in time"
        return ConnectTimeoutError(message, outcome=not_sent)
    final = isinstance(error, aiohttp.ClientHttpProxyError)
    if final or isinstance(error, aiohttp.ClientProxyConnectionError):
        origin = f"the proxy for {origin}"
    message = f"cannot connect to {origin}: {problem}"
    return ConnectError(message, outcome=not_sent, final=final)


def _describe(error: BaseException) -> str:
    """Describe an error without its values: some print the request's headers."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        return f"{type(error).__name__}: {error.strerror or error}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"it answered with HTTP {error.status}"
    if isinstance(error, aiohttp.ClientResponseError):
        return next(
            (
                text
                for start, text in _HEADER_MESSAGES.items()
                if error.message.startswith(start)
            ),
            "the response is not HTTP",
        )
    return type(error).__name__


def _where(error: BaseException) -> str:
    """Return type and place of an exception, not its message, which may hold values."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    module = frame.f_globals.get("__name__", "an unknown module")
    return f"{type(error).__qualname__} in {module}, line {line},"


def safe_cause(error: Exception) -> Exception | None:
    """Return the OSError behind an exception of aiohttp, without its traceback."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if not isinstance(error, OSError) or isinstance(error, aiohttp.ClientError):
        return None
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


#: The schemes of proxies that aiohttp supports.
_SCHEMES: Final = frozenset({"http", "https"})


def proxy_from_env(origin: URL) -> URL | None:
    """Return the proxy for `origin`, or None.

    aiohttp's own ``trust_env`` is not used: it reads ``.netrc`` as well and sends the
    credentials that it finds there.

    Raises:
        ConfigurationError: naming the variable if its value is not a usable proxy.
    """
    if proxy_bypass(f"{origin.host}:{origin.port}"):
        return None
    for kind in (origin.scheme, "all"):
        if kind in getproxies():
            return require_proxy(getproxies()[kind], _variable_name(f"{kind}_proxy"))
    return None


def require_proxy(proxy: str | URL | None, source: str) -> URL | None:
    """Return a proxy as a URL that aiohttp can use.

    Raises:
        ConfigurationError: naming `source`.
    """
    if proxy is None:
        return None
    problem = _proxy_problem(proxy)
    if problem is None:
        return URL(proxy)
    del proxy  # tracebacks can show local names
    raise ConfigurationError(f"{source} {problem}")


def _proxy_problem(proxy: str | URL) -> str | None:
    try:
        url = URL(proxy)
    except ValueError:
        url = URL()
    if url.scheme.startswith("socks"):
        return (
            "is a SOCKS proxy, which aiohttp does not support: pass session= with a "
            "connector that does, such as ProxyConnector of aiohttp-socks"
        )
    if url.scheme in _SCHEMES and url.host:
        return None
    return "must be a URL with a host that begins with http:// or https://"


def _variable_name(name: str) -> str:
    """Return the variable's name as it is spelled in this environment."""
    # urllib prefers the lower-case spelling.
    for spelling in (name, name.upper()):
        if os.environ.get(spelling):
            return spelling
    return f"the system's setting for {name}"


#: Limit of a body, also decompressed. Documented responses have less than 20 KiB.
MAX_BODY: Final = 1024 * 1024

#: Limits of nested encodings and of members in a gzip stream; two of each occur.
_MAX_LAYERS: Final = 4

_MAX_MEMBERS: Final = 16

#: For each encoding, the formats to try, as zlib numbers them: 32 is gzip or zlib by
#: its header. "deflate" is zlib by RFC 9110, 8.4.1.2, and raw where it is misread.
_FORMATS: Final[Mapping[str, tuple[int, ...]]] = {
    "gzip": (zlib.MAX_WBITS | 32,),
    "x-gzip": (zlib.MAX_WBITS | 32,),
    "deflate": (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS),
}


def decompress(compressed: bytes, encoding: str) -> tuple[bytes, str | None]:
    """Return at most `MAX_BODY` bytes of a body, and the problem with it, or None.

    Args:
        compressed: The body as received, or the beginning of it.
        encoding: The response's ``Content-Encoding``.
    """
    body, body_error = (
        _decompress_layers(compressed, encoding) if encoding else (compressed, None)
    )
    if len(body) > MAX_BODY:
        return body[:MAX_BODY], f"is longer than {MAX_BODY} bytes"
    return body, body_error


def _decompress_layers(body: bytes, encoding: str) -> tuple[bytes, str | None]:
    names = [name.strip().lower() for name in encoding.split(",")]
    layers = [name for name in reversed(names) if name not in {"", "identity"}]
    if len(layers) > _MAX_LAYERS:
        return body, f"is compressed {len(layers)} times"
    for name in layers:
        decompressed, whole = _inflate(body, _FORMATS.get(name, ()))
        if whole:
            body = decompressed
        elif _begins_as_json(body):
            continue
        elif name in _FORMATS:
            return decompressed, f"is not valid {name}"
        else:
            return body, f"is compressed with {shown(name)}, which was not accepted"
    return body, None


def _inflate(compressed: bytes, formats: tuple[int, ...]) -> tuple[bytes, bool]:
    """Return the decompressed bytes, and whether they are all, or over the limit."""
    best = b""
    for wbits in formats:
        body, whole = _inflate_members(compressed, wbits)
        if whole:
            return body, True
        best = best or body
    return best, False


def _inflate_members(compressed: bytes, wbits: int) -> tuple[bytes, bool]:
    body = b""
    for _ in range(_MAX_MEMBERS):
        decompressor = zlib.decompressobj(wbits)
        try:
            body += decompressor.decompress(compressed, MAX_BODY + 1 - len(body))
        except zlib.error:
            return body, False
        if len(body) > MAX_BODY:
            return body, True
        # Bytes after a complete stream that are not another member are padding.
        compressed = decompressor.unused_data
        if not decompressor.eof or not compressed.startswith(b"\x1f\x8b"):
            return body, decompressor.eof
    return body, False


def _begins_as_json(body: bytes) -> bool:
    return body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


#: If a server closes a connection while a request is being sent on it, the outcome is
#: unknown. Servers close idle ones after 60 s or more (nginx 75), so we close earlier.
_KEEPALIVE_S: Final = 15.0

#: Connections of all calls but polls, as in aiohttp.
_CONNECTIONS: Final = 100


def _version() -> str:
    try:
        return version("aurpay-async")
    except PackageNotFoundError:  # bundled into an application, without its metadata
        return "unknown"


#: Sent instead of aiohttp's default headers.
_HEADERS: Final = {
    "User-Agent": f"aurpay-async/{_version()}",
    "Accept-Encoding": "identity",
}


@final
class AiohttpTransport:
    """Send to one origin with our own session, on our connections or the user's.

    Of the user's session, only connector, proxy and traces are used. Its default
    headers, cookies, middlewares and credentials are not sent, and it is neither
    changed nor closed.
    """

    def __init__(
        self,
        origin: str,
        *,
        session: aiohttp.ClientSession | None = None,
        trust_env: bool = False,
    ) -> None:
        self._origin = origin
        self._user_session = session
        self._trust_env = trust_env
        self._session: aiohttp.ClientSession | None = None
        #: Generation of the connections that requests may use; `renew` increments it.
        self._generation = 0
        #: The process and the event loop that the session belongs to.
        self._owner: tuple[int, asyncio.AbstractEventLoop | None] = (0, None)

    async def send(self, request: Request) -> Response:
        """Send once; a redirect is returned like any other response."""
        require_task()
        while True:
            try:
                return await self._exchange(request, RequestProgress(self._generation))
            except RetiredConnectionError:
                continue  # aiohttp has closed it, and nothing was sent

    async def _exchange(self, request: Request, progress: RequestProgress) -> Response:
        session = self._current_session()
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
                middlewares=(progress.track,),
            ) as response:
                return await _read_response(response, progress.body)
        except RetiredConnectionError:
            raise
        except asyncio.CancelledError as cancelled:
            outcome = outcome_after(cancelled, progress)
            task = asyncio.current_task()
            if task is None or task.cancelling():
                # The canceller may store or print it; its frames hold headers.
                cancelled.__context__ = None
                request.progress.outcome = outcome
                raise cancelled.with_traceback(None) from None
            # Not cancelled by the user: aiohttp cancels waiters when its connector is
            # closed.
            error, cause = translate(cancelled, self._origin, outcome), None
        except Exception as caught:  # noqa: BLE001 - all are translated here
            outcome = outcome_after(caught, progress)
            error = translate(caught, self._origin, outcome)
            cause = safe_cause(caught)
        error.body = bytes(progress.body[:MAX_ERROR_BODY])
        # Outside of `except`, so that the context is not aiohttp's error: its frames
        # hold headers.
        raise error from cause

    def renew(self) -> None:
        """Send no further request on the connections that are open now.

        For connections with shifted responses. Requests in flight are not affected.
        """
        self._generation += 1

    def _current_session(self) -> aiohttp.ClientSession:
        current = (os.getpid(), asyncio.get_running_loop())
        if self._user_session is not None:
            _require_usable(self._user_session, current[1])
        if self._session is not None:
            if self._owner == current:
                return self._session
            self._detach_session(self._session)
        self._session, self._owner = self._new_session(), current
        return self._session

    def _detach_session(self, session: aiohttp.ClientSession) -> None:
        process, loop = self._owner
        if process != os.getpid():
            # A forked child shares its parent's sockets: closing them here would
            # break the parent's calls.
            _parent_sessions.append(session)
        elif loop is not None and not loop.is_closed():
            # Connections cannot be used on another loop, nor closed from one.
            raise ConfigurationError(
                "this client is in use on another event loop; create one for each loop"
            )
        else:
            _close_now(session, borrowed=self._user_session is not None)
        self._session = None

    def _new_session(self) -> aiohttp.ClientSession:
        theirs = self._user_session
        options: dict[str, Any] = {}
        if theirs is None:
            options["connector"] = aiohttp.TCPConnector(
                limit=_CONNECTIONS + POLL_CONNECTIONS, keepalive_timeout=_KEEPALIVE_S
            )
        else:
            options = {
                "connector": theirs.connector,
                "connector_owner": False,
                "trace_configs": theirs.trace_configs,
                "proxy": require_proxy(
                    getattr(theirs, "_default_proxy", None),
                    "the proxy of session=",
                ),
                "proxy_auth": getattr(theirs, "_default_proxy_auth", None),
            }
        if self._trust_env or (theirs is not None and theirs.trust_env):
            options["proxy"] = options.get("proxy") or proxy_from_env(URL(self._origin))
        return aiohttp.ClientSession(
            headers=CIMultiDict(_HEADERS),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=TrackedRequest,
            max_line_size=MAX_HEADER_SIZE,
            max_field_size=MAX_HEADER_SIZE,
            max_headers=MAX_HEADERS,
            **options,
        )

    async def aclose(self) -> None:
        """Close our session, and its connections unless they are the user's."""
        session = self._session
        if session is None:
            return
        if self._owner != (os.getpid(), _running_loop()):
            self._detach_session(session)
            return
        self._session = None
        await session.close()

    def close_forgotten(self, warn: Callable[[], None]) -> None:
        """Close the session of a client that was garbage-collected unclosed.

        Args:
            warn: Called first if there is an open session: closing it suppresses
                warnings in all threads.
        """
        session, self._session = self._session, None
        if session is None or session.closed:
            return
        process, loop = self._owner
        if process != os.getpid():
            _parent_sessions.append(session)
            return
        close = partial(_close_now, session, borrowed=self._user_session is not None)
        try:
            warn()
        finally:
            if loop is None or not loop.is_running() or loop is _running_loop():
                close()
            else:
                with suppress(RuntimeError):  # the loop has just been closed
                    loop.call_soon_threadsafe(close)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _close_now(session: aiohttp.ClientSession, *, borrowed: bool) -> None:
    """Close without awaiting, and without the warnings of aiohttp and asyncio."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connector = session.connector
        session.detach()
        if connector is not None and not borrowed:
            # The first step of the coroutine closes; the rest only waits.
            closing = connector.close().__await__()
            with suppress(Exception):
                next(closing, None)
            del closing
        del connector, session
        # Connections of a closed loop are reference cycles that warn when collected.
        gc.collect()


def _require_usable(
    session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop
) -> None:
    if session.closed:
        raise ConfigurationError("session= is closed; pass an open one")
    # aiohttp has no public attribute for it, and would raise a RuntimeError later.
    if getattr(session, "_loop", loop) is not loop:
        raise ConfigurationError(
            "session= belongs to another event loop; create one on this loop"
        )


#: Sessions of the process that this one was forked from. They are stored here so that
#: no finalizer closes the parent's sockets.
_parent_sessions: Final[list[aiohttp.ClientSession]] = []


@lru_cache(maxsize=32)
def _timeout(attempt: float, connect: float) -> aiohttp.ClientTimeout:
    # aiohttp treats 0 and negative timeouts as no limit.
    attempt = max(attempt, 0.001)
    # aiohttp rounds timeouts above the threshold up to whole seconds.
    return aiohttp.ClientTimeout(
        total=attempt, connect=connect, ceil_threshold=float("inf")
    )


async def _read_response(
    response: aiohttp.ClientResponse, received: bytearray
) -> Response:
    """Read the response, or the readable part if it is too long or damaged."""
    body = await _read_body(response, received)
    body, body_error = decompress(body, response.headers.get("Content-Encoding", ""))
    return Response(
        status=response.status,
        headers=response.headers,
        body=body,
        body_error=body_error,
    )


async def _read_body(response: aiohttp.ClientResponse, received: bytearray) -> bytes:
    try:
        async for chunk in response.content.iter_any():
            received += chunk
            if len(received) > MAX_BODY:
                break
    except (aiohttp.ClientError, TimeoutError):
        # An error status is valid without its complete body.
        if response.status < 300:
            raise
    return bytes(received)
