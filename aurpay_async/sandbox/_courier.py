"""Brings callbacks to a shop, and keeps a record of each attempt.

The shop is on this machine, or at a host that was allowed by name. What the environment
says of proxies counts for nothing: a callback goes where it was registered.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Final

import aiohttp
import attrs
from yarl import URL

from .._urls import UrlError, parse_origin
from ._asgi import call_app

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiohttp import ClientHandlerType

    from .._clock import Clock
    from .._urls import Origin
    from ._asgi import AsgiApp
    from ._letters import CallbackKind, Letter
    from ._reach import Reach

#: Aurpay's own patience with a shop is not known.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)

#: How much of an answer is read: nothing in it counts but its status.
_MAX_ANSWER: Final = 64 * 1024

#: What a request line can hold of an address, in the only spelling that was signed.
_TARGET = re.compile(r"https?://[^/?#]*([^\x00-\x20\x7f\ud800-\udfff#]*)(?:#.*)?")


@attrs.frozen(kw_only=True)
class SentCallback:
    """One attempt to deliver a callback.

    .. versionadded:: 0.1.0
    """

    order_id: str
    #: ``paid`` or ``timeout``.
    kind: CallbackKind
    method: str
    url: str
    #: Names and values as sent; a name may come twice. HTTP's own are left out.
    headers: tuple[tuple[str, str], ...] = attrs.field(
        repr=lambda headers: repr([name for name, _ in headers])
    )
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")
    #: What the shop answered, if it did.
    status: int | None
    #: What went wrong on the way, or why it was not sent.
    error: str | None
    #: Aware, UTC.
    sent_at: datetime


class _NotSentError(Exception):
    """Nothing leaves, for this reason."""


class Courier:
    """Delivers letters. It never fails: what goes wrong is on the record."""

    def __init__(
        self,
        clock: Clock,
        reach: Reach,
        sent: list[SentCallback],
        report: Callable[[SentCallback], None],
    ) -> None:
        self._clock = clock
        self._reach = reach
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
        """Deliver from now on, but never to the sandbox itself, on this port."""
        self._own_port = own_port
        self._is_open = True

    async def close(self) -> None:
        """Deliver nothing more; what is on its way is cut off."""
        self._is_open = False
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(self, letter: Letter) -> SentCallback:
        """One attempt."""
        sent_at = self._clock.now()
        status, error = await self._attempt(letter)
        return self._record(letter, status, error, sent_at)

    def lose(self, letter: Letter) -> SentCallback:
        """No attempt, and a record of that."""
        return self._record(letter, None, "not sent: lost", self._clock.now())

    def _record(
        self, letter: Letter, status: int | None, error: str | None, sent_at: datetime
    ) -> SentCallback:
        sent = SentCallback(
            order_id=letter.order.order_id,
            kind=letter.kind,
            method=letter.method,
            url=letter.url,
            headers=letter.headers,
            body=letter.body,
            status=status,
            error=error,
            sent_at=sent_at,
        )
        self._sent.append(sent)
        self._report(sent)
        return sent

    async def _attempt(self, letter: Letter) -> tuple[int | None, str | None]:
        origin = _origin(letter.url)
        if self._is_open and origin in self._apps:
            return await call_app(self._apps[origin], origin, letter)
        status = None
        try:
            async with self._opened().request(
                letter.method,
                self._target(letter.url),
                headers=letter.headers,
                # aiohttp warns of large bodies that are bytes.
                data=BytesIO(letter.body) if letter.body else None,
                allow_redirects=False,
            ) as response:
                status = response.status
                with suppress(asyncio.IncompleteReadError):
                    await response.content.readexactly(_MAX_ANSWER)
        except _NotSentError as error:
            return None, f"not sent: {error}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return status, f"{type(error).__name__}: {error}"
        return status, None

    def _target(self, url: str) -> URL:
        """Where to send it, if that is allowed and it is sent as it is written."""
        try:
            target = URL(url, encoded=True)
            # yarl reads them when it is asked.
            host, port = target.host or "", target.port
        except ValueError:
            raise _NotSentError("not an URL") from None
        if not self._reach.may_call(host):
            raise _NotSentError("not on this machine")
        if self._reach.is_itself(host, port, self._own_port):
            raise _NotSentError("the sandbox does not call itself")
        match = _TARGET.fullmatch(url)
        if match is None or target.raw_path_qs not in {match[1], f"/{match[1]}"}:
            raise _NotSentError("cannot be sent as it is written")
        return target

    def _opened(self) -> aiohttp.ClientSession:
        if not self._is_open:
            raise _NotSentError("the sandbox is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A connection for each: none dies between two of them.
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_TIMEOUT,
                trust_env=False,
                auto_decompress=False,
                middlewares=(once,),
            )
        return self._session


def _origin(url: str) -> Origin | None:
    with suppress(UrlError):
        return parse_origin(url)
    return None


async def once(
    request: aiohttp.ClientRequest, send: ClientHandlerType
) -> aiohttp.ClientResponse:
    """Aiohttp sends a GET again whose connection breaks: here each attempt counts."""
    try:
        return await send(request)
    except aiohttp.ClientConnectionError as error:
        # Of this class itself, unlike of those that mean a broken connection, it makes
        # an end.
        raise aiohttp.ClientConnectionError(f"{error}") from error
