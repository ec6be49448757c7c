"""The sandbox's pages: the checkout of an order, and an overview of what happens.

``/`` is one page for both: browsers keep ``#/cashier/{order_id}`` to themselves, so the
script on it decides. All that it needs is under ``/_pages``, for that page alone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import attrs
from aiohttp import web

from ..errors import InvalidRequestError
from . import _page_views as views
from ._live import Live
from ._page_guard import HEADERS
from ._page_qr import draw, has_qr
from ._refusal import Refusal
from ._static import read_static

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.typedefs import Handler

    from ._bank import Bank
    from ._orders import SandboxOrder
    from ._page_guard import PageGuard

    Move = Callable[[str], Awaitable[object]]

#: The files of the page, which are all that is served of them, and what they are.
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
    """The page itself."""
    return _file("index.html", HEADERS)


@attrs.frozen
class Pages:
    """What the page asks for, and what its buttons do."""

    bank: Bank
    guard: PageGuard

    def served(self) -> web.Application:
        """What is to be served under ``/_pages``."""
        live = Live(self.bank.clock)
        cashier = self.bank.cashier
        moves: Mapping[str, Move] = {
            "pay": cashier.pay,
            "expire": cashier.expire,
            "pay-late": self._pay_late,
            "underpay": cashier.underpay,
        }

        async def watch_all(request: web.Request) -> web.StreamResponse:
            return await live.stream(request, self._overview)

        async def watch(request: web.Request) -> web.StreamResponse:
            order_id, qr = self._asked(request).order_id, has_qr()

            def look() -> Mapping[str, object]:
                order = self.bank.ledger.find(order_id)
                return {"order": views.checkout(order, qr=qr)}

            return await live.stream(request, look)

        async def settle(request: web.Request) -> web.Response:
            move = moves[request.match_info["move"]]
            await move(self._asked(request).order_id)
            return web.Response(status=204)

        async def close(_: web.Application) -> None:
            live.close()

        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(_protect)
        app.on_shutdown.append(close)
        order = "/orders/{order_id}"
        app.router.add_get("/events", watch_all, allow_head=False)
        app.router.add_get(f"{order}/events", watch, allow_head=False)
        app.router.add_get(f"{order}/qr.svg", self._show_qr, allow_head=False)
        app.router.add_post(f"{order}/{{move:{'|'.join(moves)}}}", settle)
        checkout = "/checkouts/{token}"
        app.router.add_get(checkout, self._show_choice, allow_head=False)
        app.router.add_post(f"{checkout}/{{coin}}", self._choose)
        app.router.add_get(
            f"/{{name:{'|'.join(_FILES)}}}", _show_file, allow_head=False
        )
        return app

    def _overview(self) -> Mapping[str, object]:
        state = self.bank.state
        return {
            "orders": views.orders(state.orders),
            "requests": views.requests(state.requests),
            "callbacks": views.callbacks(state.callbacks),
            "faults": views.queued(state.faults),
            "callback_faults": views.queued(state.callback_faults),
        }

    def _asked(self, request: web.Request) -> SandboxOrder:
        return self.bank.ledger.find(request.match_info["order_id"])

    async def _show_qr(self, request: web.Request) -> web.Response:
        order = self._asked(request)
        if not order.is_lightning:
            raise Refusal(404, "the order has no invoice")
        if not has_qr():
            raise Refusal(404, "segno is not installed")
        svg = await asyncio.to_thread(draw, order.invoice)
        return web.Response(body=svg, content_type="image/svg+xml")

    async def _show_choice(self, request: web.Request) -> web.Response:
        checkout = self.bank.checkouts.find(request.match_info["token"])
        order = self.bank.checkouts.order_of(checkout)
        return web.json_response(views.choice(checkout, order))

    async def _choose(self, request: web.Request) -> web.Response:
        asked, now = request.match_info, self.bank.clock.now()
        order = self.bank.checkouts.choose(asked["token"], asked["coin"], now)
        return web.json_response({"order_id": order.order_id})

    async def _pay_late(self, order_id: str) -> None:
        if self.bank.ledger.find(order_id).status == "PENDING":
            await self.bank.cashier.expire(order_id)
        await self.bank.cashier.pay(order_id)

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
        except Refusal as refusal:
            raise web.HTTPNotFound(text=f"{refusal.message}\n") from None
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
