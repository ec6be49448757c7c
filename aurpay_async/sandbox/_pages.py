"""The sandbox's pages: the checkout of an order, and an overview.

``/`` serves one page for both: browsers do not send ``#/cashier/{order_id}``, so its
script decides. The routes under ``/_pages`` are for that page alone.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import attrs
from aiohttp import web

from ..errors import InvalidRequestError
from . import _page_views as views
from ._cashier import change_status
from ._live import EventStreams
from ._page_guard import HEADERS
from ._page_qr import can_render_qr, render_qr
from ._refusal import ApiRejection
from ._static import read_static

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.typedefs import Handler

    from ._bank import Simulator
    from ._orders import SandboxOrder
    from ._page_guard import PageGuard

    Action = Callable[[str], Awaitable[object]]

#: The served files and their content types.
_FILES: Final[Mapping[str, str]] = {
    "checkout.js": "text/javascript",
    "choice.js": "text/javascript",
    "dom.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "index.html": "text/html",
    "main.js": "text/javascript",
    "overview.js": "text/javascript",
    "states.js": "text/javascript",
    "style.css": "text/css",
}


def show_page() -> web.Response:
    """Return the page."""
    return _file("index.html", HEADERS)


@attrs.frozen
class Pages:
    """The routes of the page's script and of its buttons."""

    simulator: Simulator
    guard: PageGuard

    def application(self) -> web.Application:
        """Return the application to be served under ``/_pages``."""
        streams = EventStreams(self.simulator.clock)
        actions: Mapping[str, Action] = {
            "pay": partial(change_status, self.simulator, change="pay"),
            "expire": partial(change_status, self.simulator, change="expire"),
            "pay-late": self._pay_late,
            "underpay": partial(change_status, self.simulator, change="underpay"),
        }

        async def watch_all(request: web.Request) -> web.StreamResponse:
            return await streams.stream(request, self._overview)

        async def watch(request: web.Request) -> web.StreamResponse:
            order_id, qr = self._order(request).order_id, can_render_qr()

            def read_checkout() -> Mapping[str, object]:
                order = self.simulator.ledger.find(order_id)
                return {"order": views.checkout(order, qr=qr)}

            return await streams.stream(request, read_checkout)

        async def act(request: web.Request) -> web.Response:
            action = actions[request.match_info["action"]]
            await action(self._order(request).order_id)
            return web.Response(status=204)

        async def close(_: web.Application) -> None:
            streams.close()

        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(_protect)
        app.on_shutdown.append(close)
        order = "/orders/{order_id}"
        app.router.add_get("/events", watch_all, allow_head=False)
        app.router.add_get(f"{order}/events", watch, allow_head=False)
        app.router.add_get(f"{order}/qr.svg", self._show_qr, allow_head=False)
        app.router.add_post(f"{order}/{{action:{'|'.join(actions)}}}", act)
        checkout = "/checkouts/{token}"
        app.router.add_get(checkout, self._show_choice, allow_head=False)
        app.router.add_post(f"{checkout}/{{coin}}", self._choose)
        app.router.add_get(
            f"/{{name:{'|'.join(_FILES)}}}", _show_file, allow_head=False
        )
        return app

    def _overview(self) -> Mapping[str, object]:
        state = self.simulator.state
        return {
            "orders": views.orders(state.orders),
            "requests": views.requests(state.requests),
            "callbacks": views.callbacks(state.callbacks),
            "faults": views.queued(state.faults),
            "callback_faults": views.queued(state.callback_faults),
        }

    def _order(self, request: web.Request) -> SandboxOrder:
        return self.simulator.ledger.find(request.match_info["order_id"])

    async def _show_qr(self, request: web.Request) -> web.Response:
        order = self._order(request)
        if not order.is_lightning:
            raise ApiRejection(404, "the order has no invoice")
        if not can_render_qr():
            raise ApiRejection(404, "segno is not installed")
        svg = await asyncio.to_thread(render_qr, order.invoice)
        return web.Response(body=svg, content_type="image/svg+xml")

    async def _show_choice(self, request: web.Request) -> web.Response:
        checkout = self.simulator.checkouts.find(request.match_info["token"])
        order = self.simulator.checkouts.find_order(checkout)
        return web.json_response(views.choice(checkout, order))

    async def _choose(self, request: web.Request) -> web.Response:
        token, coin = request.match_info["token"], request.match_info["coin"]
        now = self.simulator.clock.now()
        order = self.simulator.checkouts.choose(token, coin, now)
        return web.json_response({"order_id": order.order_id})

    async def _pay_late(self, order_id: str) -> None:
        if self.simulator.ledger.find(order_id).status == "PENDING":
            await change_status(self.simulator, order_id, "expire")
        await change_status(self.simulator, order_id, "pay")

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
        except InvalidRequestError as error:
            raise web.HTTPConflict(text=f"{error}\n") from None


async def _protect(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


async def _show_file(request: web.Request) -> web.Response:
    return _file(request.match_info["name"])


def _file(name: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=read_static(name),
        content_type=_FILES[name],
        charset="utf-8",
        headers=headers,
    )
