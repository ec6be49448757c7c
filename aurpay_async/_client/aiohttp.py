"""Send requests with aiohttp: sessions, proxies, decompression, errors.

Our session stores no cookies, reads no ``.netrc``, uses a proxy of the environment only
with `trust_env`, and never follows a redirect.

A failure counts as NOT_SENT only with proof: the direct exchange had not written yet;
else aiohttp's connector raised it, or `exchange` did before the first byte was written.
Every other failure is UNKNOWN, even if its type suggests otherwise.

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
import ssl
import warnings
import zlib
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final, final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
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
from .exchange import (
    HEADER_LIMITS,
    MAX_BODY,
    MAX_HEADER_SIZE,
    MAX_HEADERS,
    DirectExchange,
    RequestProgress,
    StaleConnectionError,
    TrackedRequest,
    UnusableConnectionError,
    exchange_via_session,
    is_known_aiohttp,
)
from .transport import POLL_CONNECTIONS, require_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._core.http import Request


def outcome_after(error: BaseException, progress: RequestProgress) -> RequestOutcome:
    """Return NOT_SENT if that is proven, else UNKNOWN."""
    is_proven = not progress.sent and (
        progress.is_exact
        or isinstance(error, UnusableConnectionError)
        or _raised_while_connecting(error)
    )
    return RequestOutcome.NOT_SENT if is_proven else RequestOutcome.UNKNOWN


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


#: How aiohttp's messages about oversized headers begin, and ours, which show no values.
_HEADER_MESSAGES: Final = {
    "Got more than": f"the response has a header of more than {MAX_HEADER_SIZE} bytes",
    "Too many headers": f"the response has more than {MAX_HEADERS} headers",
}

_TLS: Final = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)

#: Errors of aiohttp's parser.
_NOT_HTTP: Final = (aiohttp.ClientResponseError, HttpProcessingError)

#: Errors of the network. Any other exception is a bug in the code that raised it.
_NETWORK: Final = (aiohttp.ClientError, HttpProcessingError, OSError)

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
    if isinstance(error, _NOT_HTTP):
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
        #: Used instead of the session's ``request()``, if the connections are ours.
        self._direct: DirectExchange | None = None
        #: Generation of the connections that requests may use; `renew` increments it.
        self._generation = 0
        #: The process and the event loop that the session belongs to.
        self._owner: tuple[int, asyncio.AbstractEventLoop | None] = (0, None)

    async def send(self, request: Request) -> Response:
        """Send once; a redirect is returned like any other response."""
        while True:
            try:
                return await self._attempt(request, RequestProgress(self._generation))
            except StaleConnectionError:
                continue  # aiohttp has closed it, and nothing was sent

    async def _attempt(self, request: Request, progress: RequestProgress) -> Response:
        session = self._current_session()
        error: TransportError | None = None
        cause: Exception | None = None
        try:
            if self._direct is not None and self._direct.is_available:
                await self._direct.exchange(request, progress)
            else:
                await exchange_via_session(session, self._origin, request, progress)
        except StaleConnectionError:
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
            error = translate(cancelled, self._origin, outcome)
        except Exception as caught:  # noqa: BLE001 - all are translated here
            # An error status is valid without its complete body.
            if progress.status < 300 or not isinstance(caught, _NETWORK):
                outcome = outcome_after(caught, progress)
                error = translate(caught, self._origin, outcome)
                cause = safe_cause(caught)
        if error is None:
            return _as_response(progress)
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
        current = (os.getpid(), require_task().get_loop())
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
        session = aiohttp.ClientSession(
            headers=CIMultiDict(_HEADERS),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=TrackedRequest,
            **HEADER_LIMITS,
            **options,
        )
        is_direct = (
            theirs is None
            and options.get("proxy") is None
            and not session.trace_configs  # instrumentation adds them to all sessions
            and is_known_aiohttp()
        )
        self._direct = DirectExchange(session, self._origin) if is_direct else None
        return session

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


def _as_response(progress: RequestProgress) -> Response:
    """Return the response, or the readable part if it is too long or damaged."""
    encoding = progress.headers.get("Content-Encoding", "")
    body, body_error = decompress(bytes(progress.body), encoding)
    return Response(
        status=progress.status,
        headers=progress.headers,
        body=body,
        body_error=body_error,
    )
