"""Pages of the sandbox, their events, and their access control.

A foreign web page in a browser on this machine can send requests to the sandbox. It
must neither read nor change anything:

- a Host header that is not the sandbox's is rejected (DNS rebinding);
- except for the page itself, to which shops link, only its own origin may read;
- a button's request must come from the page's own script, with three headers that no
  other page and no form can set: ``Sec-Fetch-Site``, ``Origin``, and JSON as content
  type.

Each open page polls the state ten times a second and receives what has changed, and the
time if the clock was advanced. A sandbox without open pages does no work for them, and
a thousand orders at once are one event.

``/`` serves one page for the overview and all checkouts: browsers do not send
``#/cashier/{order_id}``, so its script decides. The routes under ``/_pages`` are for
that page alone.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Final, cast

import attrs
from aiohttp import web

from ..bolt11._qr import render_svg
from ..errors import InvalidRequestError
from . import _responses as responses
from ._endpoints import RESEND_PATH, Control, get_route
from ._fault_responses import REQUEST_FAULTS
from ._faults import CALLBACK_FAULTS
from ._models import ApiRejection, ClockError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.typedefs import Handler

    from .._core.clock import Clock
    from ._models import SandboxOrder
    from ._settings import HostPolicy
    from ._simulator import Simulator

    #: Return the state that a page shows.
    ReadState = Callable[[], Mapping[str, object]]
    #: Change the order with this id.
    Action = Callable[[str], Awaitable[object]]


def can_render_qr() -> bool:
    """Return whether QR codes can be rendered: segno is an optional dependency."""
    return find_spec("segno") is not None


#: Nothing from other origins, nothing inline, no frames; with ``trusted-types`` the
#: browser creates no markup from strings.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

#: The content types that a browser sends to any origin without a preflight request.
_WITHOUT_PREFLIGHT: Final = frozenset(
    {"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}
)

#: The headers of each response to a browser.
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_of_browser(request: web.Request) -> bool:
    """Return whether a request has headers that only browsers send."""
    # Older ones add ``Origin`` alone, to each request that is not a ``GET``.
    return "Origin" in request.headers or "Sec-Fetch-Site" in request.headers


@attrs.frozen
class PageGuard:
    """Check each request to the sandbox before it is processed."""

    host_policy: HostPolicy

    def require_host(self, request: web.Request) -> None:
        if "Callback-Token" in request.headers:
            raise _forbidden("the sandbox receives no callbacks")
        if not self.host_policy.accepts_host(request.headers.get("Host", "")):
            raise _forbidden(self.host_policy.accepted_hosts)

    def require_program(self, request: web.Request) -> None:
        """Require a request of a program, with a Host header of the sandbox.

        A web page can send requests without a preflight if they have one of three
        content types, so those are rejected as well.
        """
        self.require_host(request)
        if is_of_browser(request):
            raise _forbidden("for programs, not for web pages")
        if request.content_type in _WITHOUT_PREFLIGHT:
            raise _forbidden("send Content-Type: application/json")

    def require_reader(self, request: web.Request) -> None:
        """Require a request of a program or of the sandbox's own page."""
        self.require_host(request)
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in {"same-origin", "none"}:
            raise _forbidden("not for other pages")

    def require_actor(self, request: web.Request) -> None:
        """Require a request of the script of the sandbox's own page."""
        self.require_host(request)
        sites = request.headers.getall("Sec-Fetch-Site", [])
        origins = request.headers.getall("Origin", [])
        allowed = {self.host_policy.public_url, f"http://{request.host}"}
        # No script can set the first two, and a browser sends JSON to another origin
        # only after a preflight request, which this server never allows.
        is_own = (
            sites == ["same-origin"] and len(origins) == 1 and origins[0] in allowed
        )
        if not is_own or request.content_type != "application/json":
            raise _forbidden("only for the sandbox's page")


def _forbidden(problem: str) -> web.HTTPForbidden:
    return web.HTTPForbidden(text=f"{problem}\n", headers=HEADERS)


_POLL_INTERVAL_S: Final = 0.1

#: The deviation of the clock at which a page is sent the time.
_MAX_DRIFT_S: Final = 0.5

#: A heartbeat follows this many polls without a change, so that no timeout ends the
#: stream.
_POLLS_PER_HEARTBEAT: Final = 150
_HEARTBEAT: Final = b":\n\n"

#: The time after which a browser reconnects, in milliseconds.
_RETRY: Final = b"retry: 500\n\n"


@attrs.frozen
class EventStreams:
    """All open streams, which are closed together."""

    _clock: Clock
    _streams: set[asyncio.Task[object]] = attrs.field(
        factory=set["asyncio.Task[object]"]
    )

    async def stream(
        self, request: web.Request, read_state: ReadState
    ) -> web.StreamResponse:
        """Send the result of `read_state`, and then each change of it."""
        response = web.StreamResponse()
        response.content_type = "text/event-stream"
        # aiohttp runs each handler in a task.
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._streams.add(task)
        try:
            # A browser that closes the page closes the connection.
            with suppress(ConnectionError):
                await response.prepare(request)
                await response.write(_RETRY)
                await self._send_changes(request, response, read_state)
        finally:
            self._streams.discard(task)
        return response

    def close(self) -> None:
        """Close all streams, also if a client no longer reads."""
        for task in self._streams:
            task.cancel()

    async def _send_changes(
        self, request: web.Request, response: web.StreamResponse, read_state: ReadState
    ) -> None:
        sent: Mapping[str, object] = {}
        quiet_polls = count(1)
        offset = self._offset()
        while request.transport is not None:
            state = read_state()
            changes = {
                name: new for name, new in state.items() if sent.get(name) != new
            }
            sent = state
            if changes or abs(self._offset() - offset) > _MAX_DRIFT_S:
                offset = self._offset()
                await response.write(self._event(changes))
            elif next(quiet_polls) % _POLLS_PER_HEARTBEAT == 0:
                await response.write(_HEARTBEAT)
            await asyncio.sleep(_POLL_INTERVAL_S)

    def _offset(self) -> float:
        """Return the clock's offset, which is constant unless the clock is advanced."""
        return self._clock.now().timestamp() - asyncio.get_running_loop().time()

    def _event(self, changes: Mapping[str, object]) -> bytes:
        # Deadlines are relative to the sandbox's clock, so each event carries its time.
        event = {"now": self._clock.now().timestamp(), **changes}
        # The JSON has no line break, which would end the data.
        return f"data: {json.dumps(event)}\n\n".encode()


_SCRIPTS: Final = ("checkout", "choice", "dom", "main", "overview", "states")

#: The served files and their content types.
_FILES: Final[Mapping[str, str]] = {
    **{f"{name}.js": "text/javascript" for name in _SCRIPTS},
    "icon.svg": "image/svg+xml",
    "index.html": "text/html",
    "style.css": "text/css",
}


def show_page() -> web.Response:
    return _file("index.html", HEADERS)


@attrs.frozen
class Pages:
    """The routes of the page's script and of its buttons, served under ``/_pages``."""

    simulator: Simulator
    guard: PageGuard

    def application(self) -> web.Application:
        streams = EventStreams(self.simulator.clock)
        actions: Mapping[str, Action] = {
            "pay": partial(self.simulator.change_status, change="pay"),
            "expire": partial(self.simulator.change_status, change="expire"),
            "pay-late": self._pay_late,
            "underpay": partial(self.simulator.change_status, change="underpay"),
        }

        async def watch_all(request: web.Request) -> web.StreamResponse:
            return await streams.stream(request, self._overview)

        async def watch(request: web.Request) -> web.StreamResponse:
            order_id, qr = self._order(request).order_id, can_render_qr()

            def read_checkout() -> Mapping[str, object]:
                order = self.simulator.ledger.find(order_id)
                return {"order": responses.checkout(order, qr=qr)}

            return await streams.stream(request, read_checkout)

        async def act(request: web.Request) -> web.Response:
            action = actions[request.match_info["action"]]
            await action(self._order(request).order_id)
            return web.Response(status=204)

        async def resend(request: web.Request) -> web.Response:
            await self.simulator.resend(int(request.match_info["number"]))
            return web.Response(status=204)

        async def close(_: web.Application) -> None:
            streams.close()

        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(_protect)
        app.on_shutdown.append(close)
        order, checkout = "/orders/{order_id}", "/checkouts/{token}"
        app.add_routes(
            [
                get_route("/events", watch_all),
                get_route(f"{order}/events", watch),
                get_route(f"{order}/qr.svg", self._show_qr),
                web.post(f"{order}/{{action:{'|'.join(actions)}}}", act),
                *Control(self.simulator, self.guard).shared_routes(),
                web.post(RESEND_PATH, resend),
                get_route(checkout, self._show_choice),
                web.post(f"{checkout}/{{coin}}", self._choose),
                get_route(f"/{{name:{'|'.join(_FILES)}}}", _show_file),
            ]
        )
        return app

    def _overview(self) -> Mapping[str, object]:
        state = self.simulator
        return {
            "orders": responses.orders(state.orders),
            "requests": responses.numbered(state.requests, responses.request),
            "callbacks": responses.numbered(state.callbacks, responses.callback),
            "faults": responses.queued(state.faults),
            "callback_faults": responses.queued(state.callback_faults),
            "fault_names": [*REQUEST_FAULTS],
            "callback_fault_names": [*CALLBACK_FAULTS],
        }

    def _order(self, request: web.Request) -> SandboxOrder:
        return self.simulator.ledger.find(request.match_info["order_id"])

    async def _show_qr(self, request: web.Request) -> web.Response:
        order = self._order(request)
        if not order.is_lightning:
            raise ApiRejection(404, "the order has no invoice")
        if not can_render_qr():
            raise ApiRejection(404, "segno is not installed")
        svg = await asyncio.to_thread(render_svg, order.invoice)
        return web.Response(body=svg, content_type="image/svg+xml")

    async def _show_choice(self, request: web.Request) -> web.Response:
        ledger = self.simulator.ledger
        checkout = ledger.find_checkout(request.match_info["token"])
        return web.json_response(responses.choice(checkout, ledger.chosen(checkout)))

    async def _choose(self, request: web.Request) -> web.Response:
        token, coin = request.match_info["token"], request.match_info["coin"]
        now = self.simulator.clock.now()
        order = self.simulator.ledger.choose(token, coin, now)
        return web.json_response({"order_id": order.order_id})

    async def _pay_late(self, order_id: str) -> None:
        if self.simulator.ledger.find(order_id).status == "PENDING":
            await self.simulator.change_status(order_id, "expire")
        await self.simulator.change_status(order_id, "pay")

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if request.method == "GET":
            self.guard.require_reader(request)
        else:
            self.guard.require_actor(request)
        try:
            return await handler(request)
        except ApiRejection as rejection:
            raise web.HTTPNotFound(text=f"{rejection.message}\n") from None
        except (InvalidRequestError, ClockError) as error:
            raise web.HTTPConflict(text=f"{error}\n") from None


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


async def _show_file(request: web.Request) -> web.Response:
    return _file(request.match_info["name"])


def _file(name: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body, kind = responses.read_static(name), _FILES[name]
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)
