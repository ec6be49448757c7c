"""Requests over aiohttp: sessions, processes, loops, and the body of an answer.

A session of our own keeps no cookies, reads no ``.netrc``, takes a proxy from the
environment only if asked to, and never follows a redirect.
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
from ._failures import MAX_HEADER_SIZE, MAX_HEADERS, presentable, translate
from ._proxy import proxy_from_env, require_proxy
from ._task import require_task
from ._tracking import MarkingRequest, Phase, RetiredConnectionError, outcome_after
from ._unpack import MAX_BODY, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http import Request

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
        #: Of the connections that requests may use; `renew` begins another one.
        self._generation = 0
        #: The process and the loop that the session belongs to.
        self._home: tuple[int, asyncio.AbstractEventLoop | None] = (0, None)

    async def send(self, request: Request) -> Response:
        """Send once; redirects come back as the answers that they are."""
        require_task()
        while True:
            try:
                return await self._exchange(request, Phase(self._generation))
            except RetiredConnectionError:
                continue  # it is closed, and nothing was sent

    async def _exchange(self, request: Request, phase: Phase) -> Response:
        session = self._session_here()
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
                middlewares=(phase.follow,),
            ) as response:
                return await _read(response, phase.body)
        except RetiredConnectionError:
            raise
        except asyncio.CancelledError as cancelled:
            outcome = outcome_after(cancelled, phase)
            task = asyncio.current_task()
            if task is None or task.cancelling():
                # Whoever cancelled may keep and print it; its frames hold headers.
                cancelled.__context__ = None
                request.progress.outcome = outcome
                raise cancelled.with_traceback(None) from None
            # Nobody did: aiohttp cancels who waits for a pool that is closed.
            error, cause = translate(cancelled, self._origin, outcome), None
        except Exception as caught:  # noqa: BLE001 - the one place where all end
            outcome = outcome_after(caught, phase)
            error = translate(caught, self._origin, outcome)
            cause = presentable(caught)
        error.body = bytes(phase.body[:MAX_ERROR_BODY])
        # Out here, so that the foreign error is no context: its frames hold headers.
        raise error from cause

    def renew(self) -> None:
        """Send no further request on the connections that are open now.

        For connections whose answers are shifted. Requests in flight are not disturbed.
        """
        self._generation += 1

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
                "proxy": require_proxy(
                    getattr(given, "_default_proxy", None),
                    "the proxy of the session that was handed in",
                ),
                "proxy_auth": getattr(given, "_default_proxy_auth", None),
            }
        if self._trust_env or (given is not None and given.trust_env):
            options["proxy"] = options.get("proxy") or proxy_from_env(URL(self._origin))
        return aiohttp.ClientSession(
            headers=CIMultiDict(_HEADERS),
            cookie_jar=aiohttp.DummyCookieJar(),
            request_class=MarkingRequest,
            max_line_size=MAX_HEADER_SIZE,
            max_field_size=MAX_HEADER_SIZE,
            max_headers=MAX_HEADERS,
            **options,
        )

    async def aclose(self) -> None:
        """Close our own session, and its connections if they are ours."""
        session = self._session
        if session is None:
            return
        if self._home != (os.getpid(), _running_loop()):
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


@lru_cache(maxsize=32)
def _timeout(attempt: float, connect: float) -> aiohttp.ClientTimeout:
    # To aiohttp nothing, or less, is no limit.
    attempt = max(attempt, 0.001)
    # Without a threshold: aiohttp rounds timeouts above it up to whole seconds.
    return aiohttp.ClientTimeout(
        total=attempt, connect=connect, ceil_threshold=float("inf")
    )


async def _read(response: aiohttp.ClientResponse, came: bytearray) -> Response:
    """The whole answer; of one that is too long or broken, what can be had."""
    body = await _read_bounded(response, came)
    body, body_error = unpack(body, response.headers.get("Content-Encoding", ""))
    return Response(
        status=response.status,
        headers=response.headers,
        body=body,
        body_error=body_error,
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
