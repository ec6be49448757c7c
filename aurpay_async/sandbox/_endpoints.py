"""Aurpay's endpoints, as its documentation describes them.

Where the documentation does not show a response, the sandbox defines one, and
`docs/sandbox.md` marks it.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast, final

import attrs

from ..errors import InvalidRequestError
from . import _responses as responses
from ._callbacks import ANY_KEY
from ._models import ApiRejection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ._simulator import Simulator

    Data = dict[str, object]
    #: Return the `data` of the response to a request.
    Serve = Callable[["ApiRequest"], Awaitable[Data]]

#: Aurpay documents neither a default nor a limit; these are the sandbox's.
_SIZE: Final = 10
_MAX_SIZE: Final = 1000
_MAX_PAGE: Final = 10**9
_NUMBER: Final = re.compile(r"[0-9]{1,10}")

#: The statuses of an order that has been paid.
_PAID: Final = frozenset({"SUCCESS", "REFUNDED"})


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
        """Return the fields of the body.

        Raises:
            ApiRejection: if the body is not a JSON object.
        """
        try:
            fields = json.loads(self.body, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            raise ApiRejection(400, "the body is not JSON") from None
        if not isinstance(fields, dict):
            raise ApiRejection(400, "the body is not a JSON object")
        return cast("Data", fields)


@attrs.frozen(kw_only=True)
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
    """The endpoints of one sandbox."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return all endpoints."""
        order = "{order_id}"
        return (
            Endpoint(
                method="POST",
                path="/api/bln/order",
                serve=self._create,
                writes=True,
                foreign=self._create_foreign,
            ),
            _post("/api/order/pay-info", self._create_payment),
            _post("/api/order/pay-url", self._create_url),
            _get(f"/api/v2/order/detail/{order}", self._show_order),
            _get("/api/v2/order/", self._list_orders),
            _get(f"/api/v2/order/refund-info/{order}", self._show_refund),
            _post(f"/api/v2/order/refund/{order}", self._refund, without_envelope=True),
            _get("/api/v2/tx", self._list_transactions),
            _get("/api/order/pay/real-currency", self._list_currencies),
            _post("/api/bln/withdraw", self._withdraw),
            Endpoint(
                method="POST",
                path="/api/plugin/key/aurpay",
                serve=self._issue_key,
                has_password=True,
            ),
        )

    async def _create(self, request: ApiRequest) -> Data:
        key = request.api_key if self._simulator.api_key_in_callbacks else None
        order = self._simulator.ledger.create(
            request.fields, self._simulator.clock.now(), key
        )
        # The response shows the order before the payment.
        data = responses.created(order, self._simulator.amounts, request.origin)
        await self._simulator.pay_before_response(order.order_id)
        return data

    def _create_foreign(self, origin: str) -> Data:
        order = self._simulator.ledger.create_foreign(self._simulator.clock.now())
        return responses.created(order, self._simulator.amounts, origin)

    async def _create_payment(self, request: ApiRequest) -> Data:
        now = self._simulator.clock.now()
        key = request.api_key if self._simulator.api_key_in_callbacks else None
        order = self._simulator.ledger.create_payment(request.fields, now, key)
        data = responses.payment(order, request.origin)
        await self._simulator.pay_before_response(order.order_id)
        return data

    async def _create_url(self, request: ApiRequest) -> Data:
        token = self._simulator.checkouts.create(request.fields, request.api_key).token
        # As in Aurpay's own plugins; no other field of this response is known.
        return {"pay_url": f"{request.origin}/#/cashier/choose?token={token}"}

    async def _show_order(self, request: ApiRequest) -> Data:
        return responses.detail(self._simulator.ledger.find(request.order_id))

    async def _list_orders(self, request: ApiRequest) -> Data:
        orders = self._simulator.state.orders
        return responses.page(
            orders.by_age(),
            *_page(request.query),
            lambda order_id: responses.detail(orders[order_id]),
        )

    async def _show_refund(self, request: ApiRequest) -> Data:
        order = self._simulator.ledger.find(request.order_id)
        if order.status not in _PAID:
            raise ApiRejection(
                400, f"the order is {order.status}: there is nothing to refund"
            )
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
        return {"currencies": [*self._simulator.state.rates]}

    async def _withdraw(self, request: ApiRequest) -> Data:
        self._simulator.account.withdraw(request.fields, self._simulator.clock.now())
        return {}  # Aurpay documents an object without fields

    async def _issue_key(self, request: ApiRequest) -> Data:
        fields = request.fields
        for name in ("username", "password"):
            if not isinstance(fields.get(name), str) or not fields[name]:
                raise ApiRejection(400, f"{name} must be a non-empty string")
        return {"access_token": self._simulator.authenticator.api_key or ANY_KEY}


def _get(path: str, serve: Serve) -> Endpoint:
    return Endpoint(method="GET", path=path, serve=serve)


def _post(path: str, serve: Serve, *, without_envelope: bool = False) -> Endpoint:
    return Endpoint(
        method="POST",
        path=path,
        serve=serve,
        writes=True,
        without_envelope=without_envelope,
    )


def _page(query: Mapping[str, str]) -> tuple[int, int]:
    """Return number and size of the requested page."""
    return _number("page", query, 1, _MAX_PAGE), _number(
        "size", query, _SIZE, _MAX_SIZE
    )


def _number(name: str, query: Mapping[str, str], default: int, most: int) -> int:
    text = query.get(name, str(default))
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= number <= most:
        raise ApiRejection(400, f"{name} must be from 1 to {most}")
    return number
