"""The control API of the sandbox; ``static/openapi.json`` describes it.

Requests of web pages are rejected. Each response is JSON; a rejection has the reason as
its ``error``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

import attrs
from aiohttp import web

from ..errors import InvalidRequestError
from ._clock import ClockError, advance
from ._models import COINS, ApiRejection
from ._responses import read_static

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp.typedefs import Handler

    from ._callbacks import SentCallback
    from ._faults import FaultQueue, P
    from ._ledger import StatusChange
    from ._pages import PageGuard
    from ._simulator import Simulator


#: The number of a callback is its position in the list, from 1.
RESEND_PATH: Final = "/callbacks/{number:[0-9]{1,9}}/resend"


def parse_strings(name: str, body: bytes) -> list[str]:
    """Parse a list of strings."""
    strings = _parse_json(body)
    if isinstance(strings, list):
        items = cast("list[object]", strings)
        if all(isinstance(item, str) for item in items):
            return cast("list[str]", items)
    raise InvalidRequestError("must be a JSON list of strings", field=name)


def parse_rates(body: bytes) -> Mapping[str, str]:
    """Parse an object of strings, because JSON numbers could be rounded."""
    rates = _parse_json(body)
    if isinstance(rates, dict) and rates:
        members = cast("dict[str, object]", rates)
        if all(isinstance(rate, str) for rate in members.values()):
            return cast("dict[str, str]", members)
    raise InvalidRequestError(
        "must be a JSON object of strings", field="rates", hint='like {"USD": "65000"}'
    )


def parse_seconds(body: bytes) -> float:
    """Parse an object with the only member ``advance_s``."""
    step = _parse_json(body)
    if isinstance(step, dict) and [*cast("dict[str, object]", step)] == ["advance_s"]:
        seconds = cast("dict[str, object]", step)["advance_s"]
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            return seconds
    raise InvalidRequestError(
        "must be a number", field="advance_s", hint='write {"advance_s": 1800}'
    )


def parse_coin(body: bytes) -> str:
    """Parse an object with the only member ``coin``, the name of a coin."""
    choice = _parse_json(body)
    if isinstance(choice, dict) and [*cast("dict[str, object]", choice)] == ["coin"]:
        coin = cast("dict[str, object]", choice)["coin"]
        if isinstance(coin, str) and coin in COINS:
            return coin
    raise InvalidRequestError(
        f"must be one of {', '.join(COINS)}",
        field="coin",
        hint='write {"coin": "BTC-LN"}',
    )


def _parse_json(body: bytes) -> object:
    """Return the JSON value; ``None`` for null and for an invalid body."""
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None


@attrs.frozen
class Control:
    """The routes of the control API."""

    simulator: Simulator
    guard: PageGuard

    def application(self) -> web.Application:
        """Return the application to be served under ``/_sandbox``."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                _get("/openapi.json", _describe),
                _get("/clock", self._show_time),
                _get("/rates", self._show_rates),
                web.put("/rates", self._set_rates),
                *self.shared_routes(),
                self._status_route("pay"),
                self._status_route("expire"),
                self._status_route("underpay"),
                self._status_route("refund"),
                web.post("/checkouts/{token}/choose", self._choose),
                _get("/callbacks", self._show_callbacks),
                web.post(RESEND_PATH, self._resend),
            ]
        )
        return app

    def shared_routes(self) -> list[web.RouteDef]:
        """Return the routes that the sandbox's own page has under its guard as well."""
        state = self.simulator.state
        return [
            web.post("/clock", self._advance),
            *_queue_routes("faults", state.faults),
            *_queue_routes("callback_faults", state.callback_faults),
        ]

    async def _show_time(self, _: web.Request) -> web.Response:
        return web.json_response({"now": self.simulator.clock.now().isoformat()})

    async def _advance(self, request: web.Request) -> web.Response:
        advance(self.simulator.clock, parse_seconds(await request.read()))
        await self.simulator.deadlines.check()
        return await self._show_time(request)

    async def _show_rates(self, _: web.Request) -> web.Response:
        rates = self.simulator.state.rates.items()
        return web.json_response({name: f"{rate:f}" for name, rate in rates})

    async def _set_rates(self, request: web.Request) -> web.Response:
        self.simulator.state.rates.update(parse_rates(await request.read()))
        return await self._show_rates(request)

    async def _show_callbacks(self, _: web.Request) -> web.Response:
        return _callbacks_response(self.simulator.state.callbacks)

    async def _resend(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        return _callbacks_response(await self.simulator.resend(number))

    async def _choose(self, request: web.Request) -> web.Response:
        checkout = self.simulator.checkouts.find(request.match_info["token"])
        coin, now = parse_coin(await request.read()), self.simulator.clock.now()
        try:
            order = self.simulator.checkouts.choose(checkout.token, coin, now)
        except InvalidRequestError as error:
            raise web.HTTPConflict(text=str(error)) from None
        return web.json_response({"order_id": order.order_id})

    def _status_route(self, change: StatusChange) -> web.RouteDef:
        async def answer(request: web.Request) -> web.Response:
            order = self.simulator.ledger.find(request.match_info["order_id"])
            try:
                sent = await self.simulator.change_status(order.order_id, change)
            except InvalidRequestError as error:
                raise web.HTTPConflict(text=str(error)) from None
            return _callbacks_response(sent)

        return web.post(f"/orders/{{order_id}}/{change}", answer)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        try:
            self.guard.require_program(request)
            return await handler(request)
        except web.HTTPException as error:
            return _error_response(error.status, (error.text or "").rstrip(), error)
        except ApiRejection as rejection:
            return _error_response(rejection.code, rejection.message)
        except InvalidRequestError as error:
            return _error_response(web.HTTPBadRequest.status_code, str(error))
        except ClockError as error:
            return _error_response(web.HTTPConflict.status_code, str(error))


def _get(path: str, answer: Handler) -> web.RouteDef:
    return web.get(path, answer, allow_head=False)


async def _describe(_: web.Request) -> web.Response:
    return web.Response(
        body=read_static("openapi.json"), content_type="application/json"
    )


def _queue_routes(name: str, queue: FaultQueue[P]) -> list[web.RouteDef]:
    """Return routes to list, add and remove the faults of a queue."""

    async def show(_: web.Request) -> web.Response:
        return web.json_response(list(queue))

    async def push(request: web.Request) -> web.Response:
        queue.push(*parse_strings(name, await request.read()))
        return await show(request)

    async def clear(request: web.Request) -> web.Response:
        queue.clear()
        return await show(request)

    path = f"/{name.replace('_', '-')}"
    return [_get(path, show), web.post(path, push), web.delete(path, clear)]


def _callbacks_response(sent: Iterable[SentCallback]) -> web.Response:
    return web.json_response([_fields(callback) for callback in sent])


def _fields(sent: SentCallback) -> dict[str, object]:
    return {
        **attrs.asdict(sent),
        "body": sent.body.decode(),
        "sent_at": sent.sent_at.isoformat(),
    }


def _error_response(
    status: int, reason: str | None, error: web.HTTPException | None = None
) -> web.Response:
    response = web.json_response({"error": reason}, status=status)
    if error is not None and "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
