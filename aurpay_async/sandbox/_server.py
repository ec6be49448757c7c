"""The sandbox's routes, the faults applied to requests, and its connections.

Clients reach it through a socket, or in the same process through connections in memory.
Both carry the same bytes between the same two ends of aiohttp, so that a fault of a
connection has the same effect on both.
"""

from __future__ import annotations

import asyncio
import socket
from email.utils import format_datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, cast, final
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp import web

from .._core.json import dump_json
from ..errors import ConfigurationError
from ._endpoints import Api, ApiRequest, Control
from ._fault_responses import REPLAYED, RESET, STALE, RawConnection
from ._models import ApiRejection
from ._pages import HEADERS, PageGuard, Pages, show_page
from ._responses import FAILED, MAX_ROWS, envelope
from ._settings import (
    MADE_UP_KEY_HINT,
    ReceivedRequest,
    authenticate,
    is_address,
    looks_live,
)
from ._simulator import Activity

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.tracing import Trace
    from aiohttp.typedefs import Handler

    from ._endpoints import Endpoint
    from ._fault_responses import Fault
    from ._models import SandboxOrder
    from ._settings import HostPolicy
    from ._simulator import Simulator

_JSON: Final = {"Content-Type": "application/json; charset=utf-8"}

#: The headers that carry credentials.
_KEY_HEADERS: Final = ("API-Key", "API-Token")


@final
class App:
    """Answer requests as Aurpay would, and record them."""

    def __init__(self, simulator: Simulator, stopped: asyncio.Event) -> None:
        self._simulator = simulator
        self._stopped = stopped
        self._guard = PageGuard(simulator.host_policy)
        #: The last successful response of each endpoint, by path.
        self._previous: dict[str, str] = {}
        #: The response to be sent next, by aiohttp's task of a connection.
        self._pending: WeakKeyDictionary[asyncio.Task[None], str] = WeakKeyDictionary()

    def application(self) -> web.Application:
        app, parts = web.Application(), (self._simulator, self._guard)
        app.on_response_prepare.append(self._set_date)
        app.router.add_get("/", self._show_root)
        for each in Api(self._simulator).endpoints():
            app.router.add_route(each.method, each.path, self._handler(each))
        app.add_subapp("/_sandbox", Control(*parts).application())
        app.add_subapp("/_pages", Pages(*parts).application())
        app.router.add_route("*", "/{path:.*}", self._reject_unknown_path)
        return app

    async def _set_date(self, _: web.Request, response: web.StreamResponse) -> None:
        """Set the Date header by the clock of signatures and invoices."""
        now = self._simulator.clock.now()
        response.headers["Date"] = format_datetime(now, usegmt=True)

    def _handler(self, endpoint: Endpoint) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            forbidden = self._forbidden_response(request)
            if forbidden is not None:
                return forbidden
            fault = self._simulator.faults.take()
            transport = request.transport
            if fault is None or transport is None:
                text = await self._serve(endpoint, request)
                return _json(self._route(request, text))
            text = await self._serve_with_fault(endpoint, request, fault)
            connection = RawConnection(transport, self._stopped)
            await fault.perform(connection, text.encode(), fault)
            return _AlreadySent()

        return answer

    def _forbidden_response(self, request: web.Request) -> web.Response | None:
        """Return the response to a forbidden request, which is not recorded."""
        try:
            self._guard.require_program(request)
        except web.HTTPForbidden as error:
            problem = (error.text or "").rstrip()
            return self._reject(request, 403, problem, status=403)
        for name in _KEY_HEADERS:
            if any(map(looks_live, request.headers.getall(name, []))):
                problem = f"{name} looks like a live key; {MADE_UP_KEY_HINT}"
                return self._reject(request, 401, problem)
        return None

    def _reject(
        self, request: web.Request, code: int, problem: str, *, status: int = 200
    ) -> web.Response:
        self._report(request, status=status, problem=problem)
        return _json(envelope(code, problem, None), status=status)

    def _report(
        self,
        request: web.Request,
        *,
        status: int = 200,
        fault: Fault | None = None,
        problem: str | None = None,
        order_id: object = None,
    ) -> None:
        subscriber = self._simulator.subscriber
        if subscriber is None:
            return
        named = request.match_info.get("order_id")
        if named in self._simulator.orders:
            order_id = named
        subscriber(
            Activity(
                at=self._simulator.clock.now(),
                method=request.method,
                target=request.raw_path,
                # Each fault has another response, which may have no status at all.
                status=None if fault else status,
                fault=fault.name if fault else None,
                problem=problem,
                order_id=cast("str | None", order_id),
            )
        )

    async def _reject_unknown_path(self, request: web.Request) -> web.Response:
        forbidden = self._forbidden_response(request)
        if forbidden is not None:
            return forbidden
        await self._receive(None, request)  # recorded, so that its developer can see it
        problem = f"the sandbox does not serve {request.method} {request.path}"
        self._report(request, status=404, problem="not served")
        return _json(envelope(404, problem, None), status=404)

    async def _serve_with_fault(
        self, endpoint: Endpoint, request: web.Request, fault: Fault
    ) -> str:
        """Return the response that the fault is applied to: this one or another's."""
        if fault.name == RESET:
            self._report(request, fault=fault)
            return FAILED
        previous = self._previous.get(endpoint.path)
        text = await self._serve(endpoint, request, fault)
        if fault.name == REPLAYED:
            if previous is None and endpoint.foreign is not None:
                previous = envelope(0, "ok", endpoint.foreign(self._origin(request)))
            text = previous or text
        text = self._route(request, text)
        if fault.name == STALE:
            self._pending[request.task] = text
        return text

    def _route(self, request: web.Request, response: str) -> str:
        """Return the response that is sent next on the connection of a request."""
        if request.task not in self._pending:
            return response
        sent, self._pending[request.task] = self._pending[request.task], response
        return sent

    async def _serve(
        self, endpoint: Endpoint, request: web.Request, fault: Fault | None = None
    ) -> str:
        """Serve the request, unless the fault omits its effect."""
        received = await self._receive(endpoint, request)
        # A read has no effect that a fault could omit.
        if fault is not None and endpoint.writes and not fault.serves:
            self._report(request, fault=fault)
            return FAILED
        headers = request.headers
        api_request = ApiRequest(
            body=await request.read(),
            query=request.query,
            order_id=request.match_info.get("order_id", ""),
            origin=self._origin(request),
            # Only a request that is not signed has one.
            api_key=None if "API-Token" in headers else headers.get("API-Key"),
        )
        try:
            if not endpoint.has_password:
                now = self._simulator.clock.now()
                authenticate(self._simulator.settings, received, now)
            data = await endpoint.serve(api_request)
        except ApiRejection as rejection:
            # Seen in Aurpay's own plugins: a rejection has HTTP status 200.
            problem = f"code {rejection.code}: {rejection.message}"
            self._report(request, fault=fault, problem=problem)
            return envelope(rejection.code, rejection.message, None)
        text = dump_json(data) if endpoint.without_envelope else envelope(0, "ok", data)
        self._previous[endpoint.path] = text
        self._report(request, fault=fault, order_id=data.get("order_id"))
        return text

    async def _receive(
        self, endpoint: Endpoint | None, request: web.Request
    ) -> ReceivedRequest:
        body = await request.read()
        has_password = endpoint is not None and endpoint.has_password
        received = ReceivedRequest(
            method=request.method,
            path=request.raw_path,
            headers=request.headers,
            body=b"" if has_password else body,
            is_served=endpoint is not None,
        )
        self._simulator.requests.append(received)
        return received

    async def _show_root(self, request: web.Request) -> web.Response:
        self._guard.require_host(request)
        if "text/html" in request.headers.get("Accept", ""):
            return show_page()
        orders = self._simulator.orders
        latest = [*islice(reversed(orders.values()), MAX_ROWS)]
        lines = [*map(_line, reversed(latest))]
        if len(latest) < len(orders):
            lines.insert(0, f"The latest {len(latest)} of {len(orders)} orders:\n")
        text = "\n".join(["The Aurpay sandbox.\n", *lines])
        return web.Response(text=text, headers=HEADERS)

    def _origin(self, request: web.Request) -> str:
        """Return the origin at which the client reached the sandbox."""
        public_url = self._simulator.host_policy.public_url
        return public_url or f"http://{request.headers['Host']}"


def _line(order: SandboxOrder) -> str:
    sums = f"{order.price:f} {order.currency}  {order.amount:f} {order.coin}"
    pay = f"lightning:{order.invoice}" if order.is_lightning else order.address
    return f"{order.order_id}  {order.status}  {sums}\n{pay}\n"


def _json(text: str, status: int = 200) -> web.Response:
    return web.Response(body=text.encode(), status=status, headers=_JSON)


class _AlreadySent(web.Response):
    """Stands for a response that is on the connection already."""

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None: ...

    async def write_eof(self, data: bytes = b"") -> None: ...


@final
class _MemoryEnd(asyncio.Transport):
    """One end of a connection in memory; it behaves as a socket on loopback does."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.peer = self
        #: What the other end has written, and this end's protocol has not received.
        self._received = bytearray()
        self._is_paused = self._is_ended = self._is_closing = False
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.peer._received += data  # noqa: SLF001 - the other end
        self._loop.call_soon(self.peer._deliver)  # noqa: SLF001

    def _deliver(self) -> None:
        """Pass on the received bytes, and then the end of the connection."""
        if self._is_paused or self._is_closing:
            return
        if self._received:
            data, self._received = bytes(self._received), bytearray()
            self.protocol.data_received(data)
        if self._is_ended:
            self.protocol.eof_received()
            self.close()

    def get_write_buffer_size(self) -> int:
        return len(self.peer._received)  # noqa: SLF001

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._loop.call_soon(self._deliver)

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._lose(None)
        self.peer._is_ended = True  # noqa: SLF001
        self._loop.call_soon(self.peer._deliver)  # noqa: SLF001

    def abort(self) -> None:
        """Reset the connection: the other end loses what it has not received."""
        self._lose(None)
        self.peer._lose(ConnectionResetError("reset by the other end"))  # noqa: SLF001

    def _lose(self, error: Exception | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._loop.call_soon(self.protocol.connection_lost, error)


@final
class MemoryConnector(aiohttp.BaseConnector):
    """Connect a client of this process with protocols of a server."""

    def __init__(self, serve: Callable[[], asyncio.Protocol]) -> None:
        super().__init__(limit=0)
        self._serve = serve

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,  # noqa: ARG002 - aiohttp passes them
        traces: list[Trace],  # noqa: ARG002
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002, ASYNC109
    ) -> ResponseHandler:
        protocol = self._factory()
        client, server = _MemoryEnd(protocol), _MemoryEnd(self._serve())
        client.peer, server.peer = server, client
        for end in (client, server):
            end.protocol.connection_made(end)
        return protocol


@final
class Server:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._stopped = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, port: int | None) -> str:
        """Open the server on a port, or on none, and return its base URL."""
        if self._runner is not None:
            raise ConfigurationError("this sandbox is open already")
        policy = self._simulator.host_policy
        # Before the file is opened: without the port it is not created.
        listening = None if port is None else await _listen(policy, port)
        own_port = 0 if listening is None else listening.getsockname()[1]
        try:
            self._simulator.open(own_port)
            await self._serve(listening)
        except BaseException:
            if listening is not None:
                listening.close()
            await self.stop()
            raise
        return f"http://{policy.origin_host}" + (f":{own_port}" if own_port else "")

    def open_session(self) -> aiohttp.ClientSession | None:
        """Return a session with connections in memory; ``None`` if it is closed."""
        if self._runner is None or self._runner.server is None:
            return None
        if self._loop is not asyncio.get_running_loop():
            raise ConfigurationError(
                "the sandbox runs on another event loop, which its transport cannot "
                "reach; call it from there, or let the sandbox listen on a port"
            )
        return aiohttp.ClientSession(connector=MemoryConnector(self._runner.server))

    async def stop(self) -> None:
        """Close all connections. A second call does nothing."""
        self._stopped.set()
        runner, self._runner = self._runner, None
        try:
            # Callbacks first: requests may be waiting for them.
            await self._simulator.stop()
        finally:
            if runner is not None:
                await runner.cleanup()
            self._simulator.close()

    async def _serve(self, listening: socket.socket | None) -> None:
        self._stopped.clear()
        self._loop = asyncio.get_running_loop()
        app = App(self._simulator, self._stopped)
        # A signature covers the received bytes, so they are not decompressed.
        self._runner = web.AppRunner(
            app.application(),
            access_log=None,
            shutdown_timeout=1,
            auto_decompress=False,
        )
        await self._runner.setup()
        if listening is not None:
            await web.SockSite(self._runner, listening).start()


async def _listen(policy: HostPolicy, port: int) -> socket.socket:
    """Open one socket: the addresses of a name would get different free ports."""
    host = policy.bind_address
    if is_address(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family)
