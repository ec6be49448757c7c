"""Aurpay's endpoints, as its documentation describes them, and the control API.

Where the documentation does not show a response, the sandbox defines one, and
`docs/sandbox.md` marks it.

``static/openapi.json`` describes the control API. It rejects requests of web pages;
each response is JSON, and a rejection has the reason as its ``error``.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Final, cast, final

import attrs
from aiohttp import web

from ..errors import InvalidRequestError
from . import _responses as responses
from ._callbacks import ANY_KEY
from ._models import COINS, ApiRejection, ClockError, advance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from aiohttp.typedefs import Handler

    from ._callbacks import SentCallback
    from ._faults import FaultQueue, P
    from ._ledger import StatusChange
    from ._pages import PageGuard
    from ._simulator import Simulator

    Data = dict[str, object]
    #: Return the `data` of the response to a request.
    Serve = Callable[["ApiRequest"], Awaitable[Data]]

#: Aurpay documents neither a default nor a limit; these are the sandbox's.
_SIZE: Final = 10
_MAX_SIZE: Final = 1000
_MAX_PAGE: Final = 10**9
_NUMBER: Final = re.compile(r"[0-9]{1,10}")


@attrs.frozen(kw_only=True)
class ApiRequest:
    """A request, reduced to the parts that endpoints read."""

    body: bytes
    query: Mapping[str, str]
    #: The order id in the path, or empty.
    order_id: str
    #: The origin at which the client reached the sandbox.
    origin: str
    #: The API key of a request that is not signed.
    api_key: str | None = attrs.field(default=None, repr=False)

    @property
    def fields(self) -> Mapping[str, object]:
        try:
            fields = json.loads(self.body, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            raise ApiRejection(400, "the body is not JSON") from None
        if not isinstance(fields, dict):
            raise ApiRejection(400, "the body is not a JSON object")
        return cast("Data", fields)


@attrs.frozen
class Endpoint:
    """An endpoint: its method, its path, and the function that serves it."""

    method: str
    path: str
    serve: Serve
    #: Whether it has an effect that a fault can omit.
    writes: bool = False
    #: Whether its response has no envelope.
    without_envelope: bool = False
    #: Whether its body has a password, which is not recorded; it needs no API key.
    has_password: bool = False
    #: Return a response to another merchant, for the origin of the sandbox.
    foreign: Callable[[str], Data] | None = None


@final
class Api:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def endpoints(self) -> tuple[Endpoint, ...]:
        get, post = partial(Endpoint, "GET"), partial(Endpoint, "POST", writes=True)
        order, key = "{order_id}", "/api/plugin/key/aurpay"
        return (
            post("/api/bln/order", self._create, foreign=self._create_foreign),
            post("/api/order/pay-info", self._create_payment),
            post("/api/order/pay-url", self._create_url),
            get(f"/api/v2/order/detail/{order}", self._show_order),
            get("/api/v2/order/", self._list_orders),
            get(f"/api/v2/order/refund-info/{order}", self._show_refund),
            post(f"/api/v2/order/refund/{order}", self._refund, without_envelope=True),
            get("/api/v2/tx", self._list_transactions),
            get("/api/order/pay/real-currency", self._list_currencies),
            post("/api/bln/withdraw", self._withdraw),
            Endpoint("POST", key, self._issue_key, has_password=True),
        )

    async def _create(self, request: ApiRequest) -> Data:
        key = request.api_key if self._simulator.settings.api_key_in_callbacks else None
        now = self._simulator.clock.now()
        order = self._simulator.ledger.create(request.fields, now, key)
        # The response shows the order before the payment.
        amounts = self._simulator.settings.amounts
        data = responses.created(order, amounts, request.origin)
        await self._simulator.pay_before_response(order.order_id)
        return data

    def _create_foreign(self, origin: str) -> Data:
        order = self._simulator.ledger.create_foreign(self._simulator.clock.now())
        return responses.created(order, self._simulator.settings.amounts, origin)

    async def _create_payment(self, request: ApiRequest) -> Data:
        key = request.api_key if self._simulator.settings.api_key_in_callbacks else None
        now = self._simulator.clock.now()
        order = self._simulator.ledger.create_payment(request.fields, now, key)
        data = responses.payment(order, request.origin)
        await self._simulator.pay_before_response(order.order_id)
        return data

    async def _create_url(self, request: ApiRequest) -> Data:
        ledger = self._simulator.ledger
        token = ledger.create_checkout(request.fields, request.api_key).token
        # As in Aurpay's own plugins; no other field of this response is known.
        return {"pay_url": f"{request.origin}/#/cashier/choose?token={token}"}

    async def _show_order(self, request: ApiRequest) -> Data:
        return responses.detail(self._simulator.ledger.find(request.order_id))

    async def _list_orders(self, request: ApiRequest) -> Data:
        orders = self._simulator.orders
        return responses.page(
            orders.by_age(),
            *_page(request.query),
            lambda order_id: responses.detail(orders[order_id]),
        )

    async def _show_refund(self, request: ApiRequest) -> Data:
        order = self._simulator.ledger.find(request.order_id)
        if order.status not in {"SUCCESS", "REFUNDED"}:
            problem = f"the order is {order.status}: there is nothing to refund"
            raise ApiRejection(400, problem)
        return responses.refund_info(order)

    async def _refund(self, request: ApiRequest) -> Data:
        order = self._simulator.ledger.find(request.order_id)
        try:
            await self._simulator.change_status(order.order_id, "refund")
        except InvalidRequestError:
            raise ApiRejection(400, f"the order is {order.status}") from None
        return responses.refunded(self._simulator.ledger.find(order.order_id))

    async def _list_transactions(self, request: ApiRequest) -> Data:
        rows = self._simulator.account.transactions
        return responses.page(rows, *_page(request.query), responses.transaction)

    async def _list_currencies(self, _: ApiRequest) -> Data:
        return {"currencies": [*self._simulator.settings.rates]}

    async def _withdraw(self, request: ApiRequest) -> Data:
        self._simulator.account.withdraw(request.fields, self._simulator.clock.now())
        return {}  # Aurpay documents an object without fields

    async def _issue_key(self, request: ApiRequest) -> Data:
        fields = request.fields
        for name in ("username", "password"):
            if not isinstance(fields.get(name), str) or not fields[name]:
                raise ApiRejection(400, f"{name} must be a non-empty string")
        return {"access_token": self._simulator.settings.api_key or ANY_KEY}


def _page(query: Mapping[str, str]) -> tuple[int, int]:
    size = _number("size", query, _SIZE, _MAX_SIZE)
    return _number("page", query, 1, _MAX_PAGE), size


def _number(name: str, query: Mapping[str, str], default: int, most: int) -> int:
    text = query.get(name, str(default))
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= number <= most:
        raise ApiRejection(400, f"{name} must be from 1 to {most}")
    return number


#: The number of a callback is its position in the list, from 1.
RESEND_PATH: Final = "/callbacks/{number:[0-9]{1,9}}/resend"


def parse_strings(name: str, body: bytes) -> list[str]:
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
    seconds = _only_member("advance_s", body)
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        return seconds
    raise InvalidRequestError(
        "must be a number", field="advance_s", hint='write {"advance_s": 1800}'
    )


def parse_coin(body: bytes) -> str:
    """Parse an object with the only member ``coin``, the name of a coin."""
    coin = _only_member("coin", body)
    if isinstance(coin, str) and coin in COINS:
        return coin
    problem, hint = f"must be one of {', '.join(COINS)}", 'write {"coin": "BTC-LN"}'
    raise InvalidRequestError(problem, field="coin", hint=hint)


def _only_member(name: str, body: bytes) -> object:
    """Return the value of an object's only member, which has this name."""
    members = _parse_json(body)
    if isinstance(members, dict) and [*cast("dict[str, object]", members)] == [name]:
        return cast("object", members[name])
    return None


def _parse_json(body: bytes) -> object:
    """Return the JSON value; ``None`` for null and for an invalid body."""
    try:
        return cast("object", json.loads(body))
    except (ValueError, RecursionError):
        return None


@attrs.frozen
class Control:
    """The routes of the control API, to be served under ``/_sandbox``."""

    simulator: Simulator
    guard: PageGuard

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        changes: tuple[StatusChange, ...] = ("pay", "expire", "underpay", "refund")
        app.add_routes(
            [
                get_route("/openapi.json", _describe),
                get_route("/clock", self._show_time),
                get_route("/rates", self._show_rates),
                web.put("/rates", self._set_rates),
                *self.shared_routes(),
                *map(self._status_route, changes),
                web.post("/checkouts/{token}/choose", self._choose),
                get_route("/callbacks", self._show_callbacks),
                web.post(RESEND_PATH, self._resend),
            ]
        )
        return app

    def shared_routes(self) -> list[web.RouteDef]:
        """Return the routes that the sandbox's own page has under its guard as well."""
        state = self.simulator
        queues = _queue_routes("faults", state.faults)
        queues += _queue_routes("callback_faults", state.callback_faults)
        return [web.post("/clock", self._advance), *queues]

    async def _show_time(self, _: web.Request) -> web.Response:
        return web.json_response({"now": self.simulator.clock.now().isoformat()})

    async def _advance(self, request: web.Request) -> web.Response:
        advance(self.simulator.clock, parse_seconds(await request.read()))
        await self.simulator.deadlines.check()
        return await self._show_time(request)

    async def _show_rates(self, _: web.Request) -> web.Response:
        rates = self.simulator.settings.rates.items()
        return web.json_response({name: f"{rate:f}" for name, rate in rates})

    async def _set_rates(self, request: web.Request) -> web.Response:
        self.simulator.settings.rates.update(parse_rates(await request.read()))
        return await self._show_rates(request)

    async def _show_callbacks(self, _: web.Request) -> web.Response:
        return _callbacks_response(self.simulator.callbacks)

    async def _resend(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        return _callbacks_response(await self.simulator.resend(number))

    async def _choose(self, request: web.Request) -> web.Response:
        ledger, now = self.simulator.ledger, self.simulator.clock.now()
        token = ledger.find_checkout(request.match_info["token"]).token
        coin = parse_coin(await request.read())
        try:
            order = ledger.choose(token, coin, now)
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
            response = _error_response(error.status, (error.text or "").rstrip())
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except ApiRejection as rejection:
            return _error_response(rejection.code, rejection.message)
        except InvalidRequestError as error:
            return _error_response(web.HTTPBadRequest.status_code, str(error))
        except ClockError as error:
            return _error_response(web.HTTPConflict.status_code, str(error))


def _error_response(status: int, reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=status)


def get_route(path: str, answer: Handler) -> web.RouteDef:
    return web.get(path, answer, allow_head=False)


async def _describe(_: web.Request) -> web.Response:
    description = responses.read_static("openapi.json")
    return web.Response(body=description, content_type="application/json")


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
    return [get_route(path, show), web.post(path, push), web.delete(path, clear)]


def _callbacks_response(sent: Iterable[SentCallback]) -> web.Response:
    return web.json_response([_fields(each) for each in sent])


def _fields(sent: SentCallback) -> dict[str, object]:
    changed = {"body": sent.body.decode(), "sent_at": sent.sent_at.isoformat()}
    return {**attrs.asdict(sent), **changed}
