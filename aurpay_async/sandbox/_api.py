"""Aurpay's endpoints: which there are, and what each one makes of a request.

Written from Aurpay's documentation. Where that says nothing of an answer, what the
sandbox says is its own, and `docs/sandbox.md` says so.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, cast, final

import attrs

from ..errors import InvalidRequestError
from . import _answers as answers
from ._letters import ANY_KEY
from ._refusal import Refusal
from ._transactions import list_transactions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ._bank import Bank

    Data = dict[str, object]
    #: What makes the `data` of an answer of what was asked.
    Serve = Callable[["Asked"], Awaitable[Data]]

#: Neither a default nor a limit is documented; these are the sandbox's own.
_SIZE: Final = 10
_MAX_SIZE: Final = 1000
_MAX_PAGE: Final = 10**9
_NUMBER: Final = re.compile(r"[0-9]{1,10}")

#: When money came in that can go back.
_PAID: Final = frozenset({"SUCCESS", "REFUNDED"})


@attrs.frozen(kw_only=True)
class Asked:
    """What arrived, as an endpoint needs it."""

    body: bytes
    query: Mapping[str, str]
    #: Of the path, where the endpoint has one; else empty.
    order_id: str
    #: Where the client has found the sandbox.
    origin: str
    #: The key of a request that is not signed.
    api_key: str | None = attrs.field(default=None, repr=False)

    @property
    def fields(self) -> Mapping[str, object]:
        """The body's.

        Raises:
            Refusal: if it is no JSON object.
        """
        try:
            fields = json.loads(self.body, parse_float=Decimal)
        except (ValueError, ArithmeticError, RecursionError):
            raise Refusal(400, "the body is not JSON") from None
        if not isinstance(fields, dict):
            raise Refusal(400, "the body is no JSON object")
        return cast("Data", fields)


@attrs.frozen(kw_only=True)
class Endpoint:
    """One of them."""

    method: str
    path: str
    serve: Serve
    #: Whether it changes something, which a fault can leave out.
    writes: bool = False
    #: Whether its answer has no envelope.
    is_bare: bool = False
    #: Whether it is asked with a password: by whoever has no key yet, and kept nowhere.
    has_password: bool = False
    #: What it answers to another merchant, given where the client found the sandbox.
    elsewhere: Callable[[str], Data] | None = None


@final
class Api:
    """What the endpoints do with a bank."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def endpoints(self) -> tuple[Endpoint, ...]:
        """All that are served."""
        order = "{order_id}"
        return (
            Endpoint(
                method="POST",
                path="/api/bln/order",
                serve=self._create,
                writes=True,
                elsewhere=self._create_elsewhere,
            ),
            _post("/api/order/pay-info", self._create_payment),
            _post("/api/order/pay-url", self._create_url),
            _get(f"/api/v2/order/detail/{order}", self._show_order),
            _get("/api/v2/order/", self._list_orders),
            _get(f"/api/v2/order/refund-info/{order}", self._show_refund),
            _post(f"/api/v2/order/refund/{order}", self._refund, is_bare=True),
            _get("/api/v2/tx", self._list_transactions),
            _get("/api/order/pay/real-currency", self._list_currencies),
            _post("/api/bln/withdraw", self._withdraw),
            Endpoint(
                method="POST",
                path="/api/plugin/key/aurpay",
                serve=self._give_key,
                has_password=True,
            ),
        )

    async def _create(self, asked: Asked) -> Data:
        key = asked.api_key if self._bank.api_key_in_callbacks else None
        order = self._bank.ledger.create(asked.fields, self._bank.clock.now(), key)
        # The answer is of before, whatever happens until it is sent.
        data = answers.created(order, self._bank.amounts, asked.origin)
        await self._bank.cashier.pay_before_answer(order.order_id)
        return data

    def _create_elsewhere(self, origin: str) -> Data:
        order = self._bank.ledger.make_elsewhere(self._bank.clock.now())
        return answers.created(order, self._bank.amounts, origin)

    async def _create_payment(self, asked: Asked) -> Data:
        now = self._bank.clock.now()
        key = asked.api_key if self._bank.api_key_in_callbacks else None
        order = self._bank.ledger.create_payment(asked.fields, now, key)
        data = answers.payment(order, asked.origin)
        await self._bank.cashier.pay_before_answer(order.order_id)
        return data

    async def _create_url(self, asked: Asked) -> Data:
        token = self._bank.checkouts.open(asked.fields, asked.api_key).token
        # As in Aurpay's own plugins. Nothing else is known of this answer.
        return {"pay_url": f"{asked.origin}/#/cashier/choose?token={token}"}

    async def _show_order(self, asked: Asked) -> Data:
        return answers.detail(self._bank.ledger.find(asked.order_id))

    async def _list_orders(self, asked: Asked) -> Data:
        newest_first = [*reversed(self._bank.state.orders.values())]
        return answers.page(newest_first, *_page(asked.query), answers.detail)

    async def _show_refund(self, asked: Asked) -> Data:
        order = self._bank.ledger.find(asked.order_id)
        if order.status not in _PAID:
            raise Refusal(
                400, f"the order is {order.status}: there is nothing to refund"
            )
        return answers.refund_info(order)

    async def _refund(self, asked: Asked) -> Data:
        order = self._bank.ledger.find(asked.order_id)
        try:
            await self._bank.cashier.refund(order.order_id)
        except InvalidRequestError:
            raise Refusal(400, f"the order is {order.status}") from None
        return answers.refunded(self._bank.ledger.find(order.order_id))

    async def _list_transactions(self, asked: Asked) -> Data:
        state = self._bank.state
        rows = list_transactions(state.orders.values(), state.withdrawals.values())
        return answers.page(rows, *_page(asked.query), answers.transaction)

    async def _list_currencies(self, _: Asked) -> Data:
        return {"currencies": [*self._bank.state.rates]}

    async def _withdraw(self, asked: Asked) -> Data:
        self._bank.withdrawals.pay(asked.fields, self._bank.clock.now())
        return {}  # documented as an object, without a field

    async def _give_key(self, asked: Asked) -> Data:
        fields = asked.fields
        for name in ("username", "password"):
            if not isinstance(fields.get(name), str) or not fields[name]:
                raise Refusal(400, f"{name} must be a text")
        return {"access_token": self._bank.gate.api_key or ANY_KEY}


def _get(path: str, serve: Serve) -> Endpoint:
    return Endpoint(method="GET", path=path, serve=serve)


def _post(path: str, serve: Serve, *, is_bare: bool = False) -> Endpoint:
    return Endpoint(method="POST", path=path, serve=serve, writes=True, is_bare=is_bare)


def _page(query: Mapping[str, str]) -> tuple[int, int]:
    """Number and size of the page that is asked for."""
    return _number("page", query, 1, _MAX_PAGE), _number(
        "size", query, _SIZE, _MAX_SIZE
    )


def _number(name: str, query: Mapping[str, str], default: int, most: int) -> int:
    text = query.get(name, str(default))
    number = int(text) if _NUMBER.fullmatch(text) else 0
    if not 1 <= number <= most:
        raise Refusal(400, f"{name} must be from 1 to {most}")
    return number
