"""Exchange a request for a response on the connections of an aiohttp session.

There are two ways, with the same bytes sent, the same limits and the same errors:

- `exchange_via_session` calls ``ClientSession.request``.
- `DirectExchange` uses aiohttp's connector and parser, and nothing above them. It costs
  half as much, and it is used for sessions of our own, as long as aiohttp is neither
  patched nor different from the versions that this module knows.

DNS, TLS, the connection pool, keep-alive, interim responses and chunked bodies are
aiohttp's in both.
"""

from __future__ import annotations

import asyncio
import select
from functools import cache, lru_cache, partial
from inspect import signature
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, cast

import aiohttp
import aiohttp.client
import aiohttp.http_writer
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .._core.http import Request


#: Limit of a body, also decompressed. Documented responses have less than 20 KiB.
MAX_BODY: Final = 1024 * 1024

#: Limits of a response's headers: gateways add policies and cookies of many kilobytes.
#: The size is that of http.client; aiohttp's defaults are 8,190 bytes and 128 headers.
MAX_HEADER_SIZE: Final = 65_536

MAX_HEADERS: Final = 1_000

#: The names are those of ClientSession(...) and ResponseHandler.set_response_params().
HEADER_LIMITS: Final[dict[str, Any]] = {
    "max_line_size": MAX_HEADER_SIZE,
    "max_field_size": MAX_HEADER_SIZE,
    "max_headers": MAX_HEADERS,
}


class RequestProgress:
    """State of one attempt: whether it was sent, and the response received so far."""

    __slots__ = ("body", "generation", "headers", "is_exact", "sent", "status")

    def __init__(self, generation: int) -> None:
        #: The generation of the connections that this attempt may use.
        self.generation = generation
        self.sent = False
        #: Whether `sent` is False only if nothing was sent.
        self.is_exact = False
        #: 0 until the response's headers have been received.
        self.status = 0
        self.headers: Mapping[str, str] = {}
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

    async def read_body(self, content: aiohttp.StreamReader) -> None:
        """Read the response body, or its first `MAX_BODY` bytes."""
        while not content.at_eof() and len(self.body) <= MAX_BODY:
            self.body += await content.readany()


class UnusableConnectionError(aiohttp.ServerDisconnectedError):
    """A connection was found unusable before anything was written to it."""


class StaleConnectionError(UnusableConnectionError):
    """The connection was idle in the pool; another one may be used at once."""


#: Writes the head of a request, and rejects injection; ``None`` if aiohttp lacks it.
_serialize_headers: Any = getattr(aiohttp.http_writer, "_serialize_headers", None)

#: Attribute set on connections that have carried a request: their generation, and a
#: function that returns whether they have unread data. (A dictionary with weak
#: references to connections costs ten times as much.)
_USED: Final = "_aurpay_async_used"


def _require_usable(
    protocol: ResponseHandler | None, progress: RequestProgress
) -> ResponseHandler:
    """Return the protocol of a connection to which the request may be written.

    Raises:
        StaleConnectionError: if it was idle, and was closed, has unread data (a close
            or a response to no request), or was opened before `renew`.
        UnusableConnectionError: if it is new, and was closed.
    """
    used = getattr(protocol, _USED, None)
    if protocol is None or protocol.transport is None or protocol.should_close:
        raise UnusableConnectionError if used is None else StaleConnectionError
    if used is None:
        # It may have unread data: TLS servers send session tickets.
        used = progress.generation, _find_unread_data(protocol.transport)
        setattr(protocol, _USED, used)
        return protocol
    generation, has_unread_data = used
    if generation != progress.generation or has_unread_data():
        raise StaleConnectionError
    return protocol


def _find_unread_data(transport: asyncio.BaseTransport) -> Callable[[], object]:
    """Return a function that asks the socket: the event loop may not have read yet."""
    sock = transport.get_extra_info("socket")
    if sock is None:  # a connector of the user's that opens no sockets
        return bool
    number = sock.fileno()
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([number], [], [], 0)[0]
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return partial(poll.poll, 0)


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
            _require_usable(conn.protocol, progress)
            progress.sent = True
        return await super().send(conn)


async def exchange_via_session(
    session: aiohttp.ClientSession,
    origin: str,
    request: Request,
    progress: RequestProgress,
) -> None:
    """Send with ``ClientSession.request``; the response is stored in `progress`."""
    async with session.request(
        request.method,
        URL(origin + request.path, encoded=True),
        data=request.body or None,
        headers=request.headers,
        timeout=_timeout(request.timeout, request.connect_timeout),
        allow_redirects=False,
        auto_decompress=False,
        raise_for_status=False,
        middlewares=(progress.track,),
    ) as response:
        progress.status, progress.headers = response.status, response.headers
        await progress.read_body(response.content)


@lru_cache(maxsize=32)
def _timeout(attempt: float, connect: float) -> aiohttp.ClientTimeout:
    # aiohttp treats 0 and negative timeouts as no limit.
    attempt = max(attempt, 0.001)
    # aiohttp rounds timeouts above the threshold up to whole seconds.
    return aiohttp.ClientTimeout(
        total=attempt, connect=connect, ceil_threshold=float("inf")
    )


class _Deadline:
    """Raise `TimeoutError` if the block takes longer, as `asyncio.timeout` does.

    It costs a third of that, which is noticeable in a call.
    """

    __slots__ = ("_cancellations", "_has_passed", "_task", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._task = cast("asyncio.Task[Any]", asyncio.current_task(loop))
        #: Requests to cancel the task that were made before the block.
        self._cancellations = self._task.cancelling()
        self._has_passed = False
        self._timer = loop.call_later(seconds, self._pass)

    def _pass(self) -> None:
        self._has_passed = True
        self._task.cancel()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: object
    ) -> None:
        self._timer.cancel()
        if self._has_passed:
            is_ours = self._task.uncancel() <= self._cancellations
            if is_ours and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from error


class DirectExchange:
    """Send the requests of one session to one origin, without its ``request()``.

    The session has no proxy and no traces, and `is_known_aiohttp` is true.
    """

    def __init__(self, session: aiohttp.ClientSession, origin: str) -> None:
        self._session = session
        self._connector = cast("aiohttp.BaseConnector", session.connector)
        self._loop = asyncio.get_running_loop()
        #: Where the connector connects to, and the headers of every request. It is
        #: never sent itself.
        self._target = aiohttp.ClientRequest(
            "GET", URL(origin), headers=session.headers, loop=self._loop
        )
        #: The requests that are about to be written.
        self._writes: list[tuple[Connection, bytes, RequestProgress]] = []

    @property
    def is_available(self) -> bool:
        """Return whether ``request()`` is aiohttp's own.

        If a mock or instrumentation has replaced it, that has to see the request.
        """
        session = type(self._session)
        return _is_of_aiohttp(getattr(session, "_request", None)) and _is_of_aiohttp(
            getattr(session, "request", None)
        )

    async def exchange(self, request: Request, progress: RequestProgress) -> None:
        """Send over a pooled connection; the response is stored in `progress`."""
        progress.is_exact = True
        with _Deadline(self._loop, request.timeout):
            connection = await self._connector.connect(
                self._target, [], _timeout(request.timeout, request.connect_timeout)
            )
            try:
                await self._exchange_on(connection, request, progress)
            finally:
                if connection.protocol is not None:  # it was not released
                    connection.close()

    async def _exchange_on(
        self, connection: Connection, request: Request, progress: RequestProgress
    ) -> None:
        protocol = _require_usable(connection.protocol, progress)
        protocol.set_response_params(
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            **HEADER_LIMITS,
        )
        self._write_soon(connection, self._serialize(request), progress)
        message, content = await protocol.read()
        while message.code < 200 and message.code != 101:  # interim responses
            message, content = await protocol.read()
        if not progress.sent:
            raise UnusableConnectionError  # it is a response to no request
        progress.status, progress.headers = message.code, message.headers
        await progress.read_body(content)
        # While a part of the request is unsent, the next one would follow that part.
        transport = protocol.transport
        if transport is not None and not transport.get_write_buffer_size():
            # Without a parser, a byte that is received while the connection is idle
            # makes it unusable.
            protocol._parser = None  # noqa: SLF001 - there is no public way
            connection.release()  # closes it if there is more to read

    def _serialize(self, request: Request) -> bytes:
        """Return the request as aiohttp would send it.

        Raises:
            ValueError: for control characters in the path or in a header.
        """
        headers = self._target.headers.copy()
        headers.update(request.headers)
        if request.body or request.method not in aiohttp.ClientRequest.GET_METHODS:
            headers["Content-Length"] = str(len(request.body))
            headers.setdefault("Content-Type", "application/octet-stream")
        line = f"{request.method} {request.path} HTTP/1.1"
        head: bytes = _serialize_headers(line, headers)
        return head + request.body

    def _write_soon(
        self, connection: Connection, data: bytes, progress: RequestProgress
    ) -> None:
        """Write together with all other requests of this turn of the event loop.

        If they were written one by one, each write would wake the server.
        """
        if not self._writes:
            self._loop.call_soon(self._write_all)
        self._writes.append((connection, data, progress))

    def _write_all(self) -> None:
        writes, self._writes = self._writes, []
        for connection, data, progress in writes:
            protocol = connection.protocol
            if protocol is None:  # the call has ended
                continue
            try:
                transport = protocol.transport
                # It was usable a moment ago.
                if transport is None or transport.is_closing() or protocol.should_close:
                    raise UnusableConnectionError  # noqa: TRY301
                progress.sent = True
                transport.write(data)
            except Exception as error:  # noqa: BLE001 - `exchange` raises it
                protocol.set_exception(error)


def _is_of_aiohttp(method: object) -> bool:
    # By its type: objects that wrap a function imitate its attributes.
    return (
        type(method) is FunctionType and method.__globals__ is aiohttp.client.__dict__
    )


@cache
def is_known_aiohttp() -> bool:
    """Return whether this aiohttp has what `DirectExchange` uses."""
    try:
        signature(aiohttp.BaseConnector.connect).bind(0, 0, traces=[], timeout=0)
        signature(ResponseHandler.set_response_params).bind(
            0, skip_payload=0, read_until_eof=0, auto_decompress=0, **HEADER_LIMITS
        )
        for method in (
            ResponseHandler.read,
            aiohttp.StreamReader.readany,
            aiohttp.StreamReader.at_eof,
            Connection.release,
            Connection.close,
        ):
            signature(method).bind(0)
        signature(ResponseHandler.set_exception).bind(0, 0)
        head = _serialize_headers("GET / HTTP/1.1", CIMultiDict(a="b"))
        used = {"should_close", "transport"}
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return head == b"GET / HTTP/1.1\r\na: b\r\n\r\n" and used <= {*dir(ResponseHandler)}
