"""Track whether a request was written to its connection.

A failure counts as NOT_SENT only with proof: aiohttp's connector raised it, or this
module did before the first byte was written. Every other failure is UNKNOWN, even if
its type suggests otherwise.
"""

from __future__ import annotations

import select
from traceback import walk_tb
from typing import TYPE_CHECKING, Final, cast

import aiohttp

from ..errors import RequestOutcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.connector import Connection


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
    number = transport.get_extra_info("socket").fileno()
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
