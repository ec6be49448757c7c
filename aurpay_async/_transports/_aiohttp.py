"""aiohttp, and its errors turned into ours: here and nowhere else on the client's side.

A session of our own keeps no cookies, reads no ``.netrc``, takes a proxy from the
environment only if asked to, and never follows a redirect. Whether a request has left
is known from the moment at which it is written to a connection, not guessed from an
exception; when in doubt, it has.
"""

from __future__ import annotations

import asyncio
import gc
import os
import select
import ssl
import warnings
from contextlib import suppress
from contextvars import ContextVar
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .._events import progress
from .._http import Response
from ..errors import (
    MAX_KEPT_BODY,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    ConnectTimeoutError,
    Delivery,
    RequestTimeoutError,
)
from ._unpack import MAX_BODY, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection

    from .._http import Request
    from ..errors import TransportError

#: A request on a connection that the server is just closing may or may not have been
#: received. Servers close idle ones after 60 s or more (nginx 75): we go first.
_KEEPALIVE_S: Final = 15.0


def _version() -> str:
    try:
        return version("aurpay-async")
    except PackageNotFoundError:  # bundled into an application, without its metadata
        return "unknown"


#: Never sent: the session's own defaults, had it any.
_HEADERS: Final = {
    "User-Agent": f"aurpay-async/{_version()}",
    "Accept-Encoding": "identity",
}


class _Phase:
    """How far the request of a call has got."""

    __slots__ = ("body", "sent")

    def __init__(self) -> None:
        self.sent = False
        #: What has come of the answer.
        self.body = bytearray()


_phase: ContextVar[_Phase] = ContextVar("aurpay_async_phase")


class _MarkingRequest(aiohttp.ClientRequest):
    """Tells its call when it is written: from now on the platform may have it.

    aiohttp's trace signal ``on_request_headers_sent`` says the same at a tenth of the
    whole call's cost: with any trace, each request builds a tracer and an URL.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        phase = _phase.get()
        # aiohttp sends a GET again when a kept connection turns out to be dead: trying
        # again is ours to decide and to count. And what a server has said on a kept
        # connection before it was asked, a goodbye or an answer to nothing, shows that
        # it is of no use any more.
        if phase.sent or conn.protocol is None or _has_spoken(conn.protocol):
            raise aiohttp.ServerDisconnectedError
        setattr(conn.protocol, _USED, True)
        phase.sent = True
        progress.set(Delivery.UNKNOWN)
        return await super().send(conn)


#: What connections are marked with that have carried a request. (A set of weak
#: references to them costs ten times as much.)
_USED: Final = "_aurpay_async_used"


def _has_spoken(protocol: ResponseHandler) -> bool:
    """Whether an idle connection holds something that nobody asked for."""
    if protocol.should_close:
        return True
    # What has arrived and was not yet read by the loop. A fresh connection may hold
    # something: TLS hands out tickets.
    transport = protocol.transport
    if transport is None or not hasattr(protocol, _USED):
        return False
    number = transport.get_extra_info("socket").fileno()
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


@final
class AiohttpTransport:
    """One origin and one session of our own, on connections of our own or handed in.

    A session that was handed in lends its connector, its proxy and its traces. Its
    default headers, cookies, middlewares and credentials stay its own: no request of
    ours carries them, and nothing of it is changed or closed.
    """

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
        self._session: aiohttp.ClientSession | None = None
        #: The process and the loop that the session belongs to.
        self._home: tuple[int, asyncio.AbstractEventLoop | None] = (0, None)
        #: Whether `_MarkingRequest` is known to be asked. If not: all may have left.
        self._marks = hasattr(aiohttp.ClientRequest, "send")

    async def send(self, request: Request) -> Response:
        """Send once; redirects come back as the answers that they are."""
        session = self._session_here()
        phase = _Phase()
        _phase.set(phase)
        progress.set(Delivery.NOT_SENT if self._marks else Delivery.UNKNOWN)
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
                self._marks = self._marks and phase.sent
                return await _read(response, phase.body)
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                # Whoever cancelled may keep and print it; its frames hold headers.
                cancelled.__context__ = None
                raise cancelled.with_traceback(None) from None
            # Nobody did: aiohttp cancels who waits for a pool that is closed.
            error, cause = self._translate(cancelled, phase), None
        except Exception as caught:  # noqa: BLE001 - the one place where all end
            error, cause = self._translate(caught, phase), _presentable(caught)
        finally:
            # The context outlives the call, and should hold nothing of it.
            came, phase.body = phase.body, bytearray()
        error.body = bytes(came[:MAX_KEPT_BODY])
        # Out here, so that the foreign error is no context: its frames hold headers.
        raise error from cause

    def _session_here(self) -> aiohttp.ClientSession:
        here = (os.getpid(), asyncio.get_running_loop())
        if self._given is not None:
            _require_usable(self._given, here[1])
        if self._session is not None:
            if self._home == here:
                return self._session
            self._leave(self._session)
        self._session, self._home = self._new_session(), here
        return self._session

    def _leave(self, session: aiohttp.ClientSession) -> None:
        process, loop = self._home
        if process != os.getpid():
            # A forked child shares its parent's sockets: closing them here would end
            # the parent's calls.
            _inherited.append(session)
        elif loop is not None and not loop.is_closed():
            # A pool lives and dies with its loop.
            raise ConfigurationError(
                "this client is in use on another event loop; make a client for each"
            )
        else:
            _drop(session, lent=self._given is not None)
        self._session = None

    def _new_session(self) -> aiohttp.ClientSession:
        given = self._given
        options: dict[str, Any] = {}
        if given is None:
            options["connector"] = aiohttp.TCPConnector(keepalive_timeout=_KEEPALIVE_S)
        else:
            options = {
                "connector": given.connector,
                "connector_owner": False,
                "trace_configs": given.trace_configs,
                "proxy": getattr(given, "_default_proxy", None),
                "proxy_auth": getattr(given, "_default_proxy_auth", None),
            }
        if self._trust_env or (given is not None and given.trust_env):
            options["proxy"] = options.get("proxy") or _proxy(URL(self._origin))
        return aiohttp.ClientSession(
            headers=CIMultiDict(_HEADERS),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=_MarkingRequest,
            **options,
        )

    def _translate(self, error: BaseException, phase: _Phase) -> TransportError:
        sent = phase.sent or not self._marks
        delivery = Delivery.UNKNOWN if sent else Delivery.NOT_SENT
        what = _describe(error)
        if isinstance(error, asyncio.CancelledError):
            message = f"the connections to {self._origin} were closed during the call"
            return ConnectError(message, delivery=delivery, final=True)
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
            final = isinstance(error, _PROXY)
            return ConnectError(message, delivery=delivery, final=final)
        message = f"the connection to {self._origin} broke: {what}"
        return ConnectionLostError(message, delivery=delivery)

    async def aclose(self) -> None:
        """Close our own session, and its connections if they are ours."""
        session = self._session
        if session is None:
            return
        if self._home != (os.getpid(), asyncio.get_running_loop()):
            self._leave(session)
            return
        self._session = None
        await session.close()

    def abandon(self, tell: Callable[[], None]) -> None:
        """Let go of a session that nobody will close.

        Args:
            tell: Is called before, if there is one: warnings are off while it goes, in
                all threads.
        """
        session, self._session = self._session, None
        if session is None or session.closed:
            return
        process, loop = self._home
        if process != os.getpid():
            _inherited.append(session)
            return
        drop = partial(_drop, session, lent=self._given is not None)
        try:
            tell()
        finally:
            if loop is None or not loop.is_running() or loop is _running_loop():
                drop()
            else:
                with suppress(RuntimeError):  # it has just ended, and all of it with it
                    loop.call_soon_threadsafe(drop)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _drop(session: aiohttp.ClientSession, *, lent: bool) -> None:
    """Close without awaiting; what aiohttp and asyncio would warn of is said once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connector = session.connector
        session.detach()
        if connector is not None and not lent:
            # All that closes is done by the first step; the rest would wait for it.
            closing = connector.close().__await__()
            with suppress(Exception):
                next(closing, None)
            del closing
        del connector, session
        # Connections of a loop that was closed are cycles, and warn when they go.
        gc.collect()


def _require_usable(
    session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop
) -> None:
    if session.closed:
        raise ConfigurationError("the session that was handed in is closed")
    # aiohttp keeps the loop to itself, and without this fails with a RuntimeError.
    if getattr(session, "_loop", loop) is not loop:
        raise ConfigurationError(
            "the session that was handed in belongs to another event loop"
        )


#: Sessions of a process that this one was forked from; kept, so that nothing in them
#: is ever finalised here.
_inherited: Final[list[aiohttp.ClientSession]] = []

_TLS: Final = (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch, ssl.SSLError)
_PROXY: Final = (aiohttp.ClientHttpProxyError, aiohttp.InvalidURL)


@lru_cache(maxsize=32)
def _timeout(attempt: float, connect: float) -> aiohttp.ClientTimeout:
    # To aiohttp nothing, or less, is no limit.
    attempt = max(attempt, 0.001)
    # Without a threshold: aiohttp rounds timeouts above it up to whole seconds.
    return aiohttp.ClientTimeout(
        total=attempt, connect=connect, ceil_threshold=float("inf")
    )


def _proxy(url: URL) -> str | None:
    # Not aiohttp's own trust_env: that reads .netrc as well and sends what it finds.
    if url.host is None or proxy_bypass(url.host):
        return None
    return getproxies().get(url.scheme)


async def _read(response: aiohttp.ClientResponse, came: bytearray) -> Response:
    """The whole answer; of one that is too long or broken, what can be had."""
    body = await _read_bounded(response, came)
    body, defect = unpack(body, response.headers.get("Content-Encoding", ""))
    return Response(
        status=response.status, headers=response.headers, body=body, defect=defect
    )


async def _read_bounded(response: aiohttp.ClientResponse, came: bytearray) -> bytes:
    try:
        async for chunk in response.content.iter_any():
            came += chunk
            if len(came) > MAX_BODY:
                break
    except (aiohttp.ClientError, TimeoutError):
        # What a status of failure says does not depend on the page that explains it.
        if response.status < 300:
            raise
    return bytes(came)


def _describe(error: BaseException) -> str:
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
