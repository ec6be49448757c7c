"""Send requests with aiohttp: sessions, forks, event loops, and response bodies.

Our session stores no cookies, reads no ``.netrc``, uses a proxy of the environment only
with `trust_env`, and never follows a redirect.
"""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from contextlib import suppress
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .._http import Response
from ..errors import MAX_ERROR_BODY, ConfigurationError
from ._failures import MAX_HEADER_SIZE, MAX_HEADERS, safe_cause, translate
from ._proxy import proxy_from_env, require_proxy
from ._task import require_task
from ._tracking import (
    RequestProgress,
    RetiredConnectionError,
    TrackedRequest,
    outcome_after,
)
from ._unpack import MAX_BODY, decompress

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http import Request

#: If a server closes a connection while a request is being sent on it, the outcome is
#: unknown. Servers close idle ones after 60 s or more (nginx 75), so we close earlier.
_KEEPALIVE_S: Final = 15.0


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
                "this client is in use on another event loop; create a client for each"
            )
        else:
            _close_now(session, borrowed=self._user_session is not None)
        self._session = None

    def _new_session(self) -> aiohttp.ClientSession:
        theirs = self._user_session
        options: dict[str, Any] = {}
        if theirs is None:
            options["connector"] = aiohttp.TCPConnector(keepalive_timeout=_KEEPALIVE_S)
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


#: Sessions of the process that this one was forked from. They are kept here so that
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
