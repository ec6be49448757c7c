"""Build callbacks, send them to a shop, and record each attempt.

The shop is on this machine, or at a host that was allowed by name. Proxy settings of
the environment are ignored: a callback goes to the URL that was registered.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Final

import aiohttp
import attrs
from yarl import URL

from .._urls import UrlError, parse_origin
from ._asgi import call_app
from ._letters import build_callback

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiohttp import ClientHandlerType

    from .._clock import Clock
    from .._urls import Origin
    from ._asgi import AsgiApp
    from ._letters import CallbackKind, CallbackRequest
    from ._orders import SandboxOrder
    from ._reach import HostPolicy
    from ._settings import Settings

#: Aurpay's own timeout for callbacks is not known.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

#: Only the status of a response is used; this much of its body is read.
_MAX_RESPONSE: Final = 64 * 1024

#: Path and query as a request line can carry them, byte for byte as they were signed.
_TARGET = re.compile(r"https?://[^/?#]*([^\x00-\x20\x7f\ud800-\udfff#]*)(?:#.*)?")


@attrs.frozen(kw_only=True)
class SentCallback:
    """One attempt to deliver a callback."""

    order_id: str
    #: ``paid`` or ``timeout``.
    kind: CallbackKind
    method: str
    url: str
    #: Names and values as sent, without HTTP's own; a name may occur twice.
    headers: tuple[tuple[str, str], ...] = attrs.field(
        repr=lambda headers: repr([name for name, _ in headers])
    )
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    #: The HTTP status of the shop's response, if one was received.
    status: int | None
    #: Why the callback was not sent, or how the attempt failed.
    error: str | None
    #: Aware, UTC.
    sent_at: datetime


class _NotSentError(Exception):
    """Raised with the reason why a callback must not be sent."""


class CallbackSender:
    """Send callbacks. A failed attempt is recorded, and raises nothing."""

    def __init__(
        self,
        settings: Settings,
        sent: list[SentCallback],
        report: Callable[[SentCallback], None],
    ) -> None:
        self.clock: Clock = settings.clock
        self.secret = settings.callback_secret
        self._token = settings.callback_token
        self._post = settings.post_callbacks
        self._host_policy: HostPolicy = settings.host_policy
        self._sent = sent
        self._report = report
        self._is_open = False
        self._own_port = 0
        self._session: aiohttp.ClientSession | None = None
        self._apps: dict[Origin, AsgiApp] = {}

    def deliver_to(self, app: AsgiApp, origin: Origin) -> None:
        """Deliver callbacks to `origin` into an application of this process."""
        self._apps[origin] = app

    def open(self, own_port: int) -> None:
        """Send from now on, but never to the sandbox itself, which uses this port."""
        self._own_port = own_port
        self._is_open = True

    async def close(self) -> None:
        """Send nothing more; requests in flight are aborted."""
        self._is_open = False
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def build(
        self, order: SandboxOrder, kind: CallbackKind, *, shift_s: float = 0
    ) -> CallbackRequest:
        """Build the callback of an order, dated now or `shift_s` seconds later."""
        return build_callback(
            order,
            kind,
            self.clock.now() + timedelta(seconds=shift_s),
            token=self._token,
            secret=self.secret,
            post=self._post,
        )

    async def send(self, callback: CallbackRequest) -> SentCallback:
        """Send a callback once, and record the attempt."""
        sent_at = self.clock.now()
        status, error = await self._attempt(callback)
        return self._record(callback, status, error, sent_at)

    def record_lost(self, callback: CallbackRequest) -> SentCallback:
        """Record a callback without sending it."""
        return self._record(callback, None, "not sent: lost", self.clock.now())

    def _record(
        self,
        callback: CallbackRequest,
        status: int | None,
        error: str | None,
        sent_at: datetime,
    ) -> SentCallback:
        sent = SentCallback(
            order_id=callback.order.order_id,
            kind=callback.kind,
            method=callback.method,
            url=callback.url,
            headers=callback.headers,
            body=callback.body,
            status=status,
            error=error,
            sent_at=sent_at,
        )
        self._sent.append(sent)
        self._report(sent)
        return sent

    async def _attempt(
        self, callback: CallbackRequest
    ) -> tuple[int | None, str | None]:
        origin = _origin(callback.url)
        if self._is_open and origin in self._apps:
            return await call_app(self._apps[origin], origin, callback)
        status = None
        try:
            async with self._open_session().request(
                callback.method,
                self._target(callback.url),
                headers=callback.headers,
                # aiohttp warns of large bodies that are bytes.
                data=BytesIO(callback.body) if callback.body else None,
                allow_redirects=False,
            ) as response:
                status = response.status
                with suppress(asyncio.IncompleteReadError):
                    await response.content.readexactly(_MAX_RESPONSE)
        except _NotSentError as error:
            return None, f"not sent: {error}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return status, f"{type(error).__name__}: {error}"
        return status, None

    def _target(self, url: str) -> URL:
        """Return the URL if its host is allowed and it can be sent as it is written."""
        try:
            target = URL(url, encoded=True)
            # yarl parses host and port only when they are read.
            host, port = target.host or "", target.port
        except ValueError:
            raise _NotSentError("not a URL") from None
        if not self._host_policy.allows_callback_to(host):
            raise _NotSentError("not on this machine")
        if self._host_policy.is_own_address(host, port, self._own_port):
            raise _NotSentError("the sandbox does not call itself")
        match = _TARGET.fullmatch(url)
        if match is None or target.raw_path_qs not in {match[1], f"/{match[1]}"}:
            raise _NotSentError("cannot be sent as it is written")
        return target

    def _open_session(self) -> aiohttp.ClientSession:
        if not self._is_open:
            raise _NotSentError("the sandbox is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # No reuse: an idle connection could be closed between two callbacks.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_TIMEOUT,
                trust_env=False,
                auto_decompress=False,
                middlewares=(send_once,),
            )
        return self._session


def _origin(url: str) -> Origin | None:
    with suppress(UrlError):
        return parse_origin(url)
    return None


async def send_once(
    request: aiohttp.ClientRequest, send: ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request once; aiohttp would repeat a GET when its connection breaks."""
    try:
        return await send(request)
    except aiohttp.ClientConnectionError as error:
        # aiohttp repeats on subclasses that mean a broken connection, not on the class.
        raise aiohttp.ClientConnectionError(f"{error}") from error
