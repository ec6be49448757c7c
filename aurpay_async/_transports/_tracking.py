"""How far a request has got: known from its writing, never guessed from an exception.

A failure counts as "not sent" only if it is proven: it came out of aiohttp's connector,
or was raised here before anything was written. Every other failure is UNKNOWN, whatever
its type says.
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


class Phase:
    """How far one attempt has got. Belongs to that attempt alone."""

    __slots__ = ("body", "generation", "sent")

    def __init__(self, generation: int) -> None:
        #: Of the connections that this attempt may use.
        self.generation = generation
        self.sent = False
        #: What has come of the answer.
        self.body = bytearray()

    def follow(
        self,
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> Awaitable[aiohttp.ClientResponse]:
        """Hand this object to the request that aiohttp made; an aiohttp middleware."""
        cast("MarkingRequest", request).phase = self
        return handler(request)


class _StaleConnectionError(aiohttp.ServerDisconnectedError):
    """A kept connection was found unusable before anything was written to it."""


class RetiredConnectionError(_StaleConnectionError):
    """A kept connection was opened before `AiohttpTransport.renew`."""


class MarkingRequest(aiohttp.ClientRequest):
    """Marks its attempt as sent just before the first byte is written.

    aiohttp's trace signal ``on_request_headers_sent`` says the same at a tenth of the
    whole call's cost: with any trace, each request builds a tracer and a URL.
    """

    #: Stays ``None`` where an aiohttp does not run middlewares: nothing is known then.
    phase: Phase | None = None

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        phase = self.phase
        if phase is not None:
            # aiohttp sends a GET again when a kept connection turns out to be dead:
            # trying again is ours to decide and to count.
            if phase.sent:
                raise aiohttp.ServerDisconnectedError
            # Unread data on an idle connection (a close or a stray answer) means that
            # the connection cannot be used again.
            if conn.protocol is None or _has_spoken(conn.protocol):
                raise _StaleConnectionError
            generation = getattr(conn.protocol, _GENERATION, phase.generation)
            if generation != phase.generation:
                raise RetiredConnectionError
            setattr(conn.protocol, _GENERATION, generation)
            phase.sent = True
        return await super().send(conn)


#: What connections are marked with that have carried a request. (A set of weak
#: references to them costs ten times as much.)
_GENERATION: Final = "_aurpay_async_generation"


def _has_spoken(protocol: ResponseHandler) -> bool:
    """Return true if an idle connection has unread data, or was closed."""
    if protocol.should_close:
        return True
    # What has arrived and was not yet read by the loop. A fresh connection may hold
    # something: TLS hands out tickets.
    transport = protocol.transport
    if transport is None or not hasattr(protocol, _GENERATION):
        return False
    number = transport.get_extra_info("socket").fileno()
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def outcome_after(error: BaseException, phase: Phase) -> RequestOutcome:
    """Return NOT_SENT where that is proven, else UNKNOWN."""
    if phase.sent:
        return RequestOutcome.UNKNOWN
    if isinstance(error, _StaleConnectionError) or _is_of_connecting(error):
        return RequestOutcome.NOT_SENT
    return RequestOutcome.UNKNOWN


def _is_of_connecting(error: BaseException | None) -> bool:
    """Whether an error was raised while aiohttp's connector prepared a connection.

    A type alone proves nothing: mocks and wrappers of aiohttp raise its types as well.
    """
    connect = getattr(aiohttp.BaseConnector.connect, "__code__", None)
    while error is not None:
        if any(frame.f_code is connect for frame, _ in walk_tb(error.__traceback__)):
            return True
        # aiohttp turns a cancellation by its own timer into another error.
        error = error.__cause__ or error.__context__
    return False
