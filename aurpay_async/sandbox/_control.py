"""``/_sandbox``: what programs in other processes tell the sandbox, as JSON over HTTP.

For programs only: what a page in a browser asks for is refused. Every answer is JSON,
and one that refuses has the reason as its ``error``. ``static/openapi.json`` describes
all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from aiohttp import web

from ..errors import InvalidRequestError
from ._clocks import ClockError, advance
from ._control_bodies import read_coin, read_rates, read_seconds, read_texts
from ._refusal import Refusal
from ._static import read_static

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from aiohttp.typedefs import Handler

    from ._bank import Bank
    from ._courier import SentCallback
    from ._mishaps import M, Queue
    from ._page_guard import PageGuard

    Settle = Callable[[str], Awaitable[list[SentCallback]]]


@attrs.frozen
class Control:
    """What may be asked and told."""

    bank: Bank
    guard: PageGuard

    def served(self) -> web.Application:
        """What is to be served under ``/_sandbox``."""
        app = web.Application(middlewares=[self._guard])
        cashier = self.bank.cashier
        order = "/orders/{order_id}"
        app.add_routes(
            [
                _get("/openapi.json", _describe),
                _get("/clock", self._tell_time),
                web.post("/clock", self._advance),
                _get("/rates", self._show_rates),
                web.put("/rates", self._set_rates),
                *_queue_routes("faults", self.bank.state.faults),
                *_queue_routes("callback_faults", self.bank.state.callback_faults),
                web.post(f"{order}/pay", self._settles(cashier.pay)),
                web.post(f"{order}/expire", self._settles(cashier.expire)),
                web.post(f"{order}/underpay", self._settles(cashier.underpay)),
                web.post(f"{order}/refund", self._settles(cashier.refund)),
                web.post("/checkouts/{token}/choose", self._choose),
                _get("/callbacks", self._show_callbacks),
            ]
        )
        return app

    async def _tell_time(self, _: web.Request) -> web.Response:
        return web.json_response({"now": self.bank.clock.now().isoformat()})

    async def _advance(self, request: web.Request) -> web.Response:
        advance(self.bank.clock, read_seconds(await request.read()))
        await self.bank.deadlines.check()
        return await self._tell_time(request)

    async def _show_rates(self, _: web.Request) -> web.Response:
        rates = self.bank.state.rates.items()
        return web.json_response({name: f"{rate:f}" for name, rate in rates})

    async def _set_rates(self, request: web.Request) -> web.Response:
        self.bank.state.rates.update(read_rates(await request.read()))
        return await self._show_rates(request)

    async def _show_callbacks(self, _: web.Request) -> web.Response:
        return _told(self.bank.state.callbacks)

    async def _choose(self, request: web.Request) -> web.Response:
        checkout = self.bank.checkouts.find(request.match_info["token"])
        coin, now = read_coin(await request.read()), self.bank.clock.now()
        try:
            order = self.bank.checkouts.choose(checkout.token, coin, now)
        except InvalidRequestError as error:
            raise web.HTTPConflict(text=str(error)) from None
        return web.json_response({"order_id": order.order_id})

    def _settles(self, settle: Settle) -> Handler:
        async def answer(request: web.Request) -> web.Response:
            order = self.bank.ledger.find(request.match_info["order_id"])
            try:
                return _told(await settle(order.order_id))
            except InvalidRequestError as error:
                raise web.HTTPConflict(text=str(error)) from None

        return answer

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        try:
            self.guard.require_program(request)
            return await handler(request)
        except web.HTTPException as refused:
            return _refused(refused.status, (refused.text or "").rstrip(), refused)
        except Refusal as refusal:
            return _refused(refusal.code, refusal.message)
        except InvalidRequestError as error:
            return _refused(web.HTTPBadRequest.status_code, str(error))
        except ClockError as error:
            return _refused(web.HTTPConflict.status_code, str(error))


def _get(path: str, answer: Handler) -> web.RouteDef:
    return web.get(path, answer, allow_head=False)


async def _describe(_: web.Request) -> web.Response:
    return web.Response(
        body=read_static("openapi.json"), content_type="application/json"
    )


def _queue_routes(name: str, queue: Queue[M]) -> list[web.RouteDef]:
    """``GET`` lists what is to come, ``POST`` adds a JSON list, ``DELETE`` drops."""

    async def show(_: web.Request) -> web.Response:
        return web.json_response(list(queue))

    async def push(request: web.Request) -> web.Response:
        queue.push(*read_texts(name, await request.read()))
        return await show(request)

    async def clear(request: web.Request) -> web.Response:
        queue.clear()
        return await show(request)

    path = f"/{name.replace('_', '-')}"
    return [_get(path, show), web.post(path, push), web.delete(path, clear)]


def _told(sent: Iterable[SentCallback]) -> web.Response:
    return web.json_response([_fields(callback) for callback in sent])


def _fields(sent: SentCallback) -> dict[str, object]:
    return {
        **attrs.asdict(sent),
        "body": sent.body.decode(),
        "sent_at": sent.sent_at.isoformat(),
    }


def _refused(
    status: int, reason: str | None, refused: web.HTTPException | None = None
) -> web.Response:
    answer = web.json_response({"error": reason}, status=status)
    if refused is not None and "Allow" in refused.headers:
        answer.headers["Allow"] = refused.headers["Allow"]
    return answer
