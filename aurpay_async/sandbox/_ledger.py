"""The orders of the sandbox, and the transitions of their status.

Pure: each function gets the fields of a request and the time, and returns an order or
raises a rejection.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

import attrs

from ..errors import InvalidRequestError, shown
from ._coins import LIGHTNING, find_coin
from ._orders import create_order
from ._refusal import ApiRejection
from ._seeds import random_source
from ._wish import OrderRequest, parse_order_request, parse_payment_request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ._coins import Coin
    from ._orders import SandboxOrder
    from ._seeds import RandomSource

#: The price of one bitcoin. The values are made up, and constant.
RATES: Final[Mapping[str, Decimal]] = {
    "USD": Decimal(100_000),
    "EUR": Decimal(90_000),
    "GBP": Decimal(75_000),
    "CHF": Decimal(80_000),
    "JPY": Decimal(15_000_000),
}

#: "Orders" of Aurpay's dashboard: overdue after 30 minutes.
TIME_TO_PAY: Final = timedelta(minutes=30)

#: The price in USD of an order of another merchant.
_FOREIGN_PRICE: Final = Decimal("4.20")

#: The changes that payer, merchant or time make to the status of an order.
StatusChange = Literal["pay", "expire", "underpay", "refund"]


@attrs.frozen
class _Transition:
    #: The change as a participle, for messages.
    participle: str
    #: The new status by the old one; a status that is missing forbids the change.
    statuses: Mapping[str, str]


_TRANSITIONS: Final[Mapping[StatusChange, _Transition]] = {
    # Overdue is not final: a late payment is accepted.
    "pay": _Transition("paid", {"PENDING": "SUCCESS", "OVERDUE": "SUCCESS"}),
    "expire": _Transition("expired", {"PENDING": "OVERDUE"}),
    # As documented: an underpaid order is overdue until the merchant decides.
    "underpay": _Transition("underpaid", {"PENDING": "OVERDUE"}),
    "refund": _Transition("refunded", {"SUCCESS": "REFUNDED"}),
}


class Ledger:
    """All orders of one sandbox."""

    def __init__(
        self,
        rates: Mapping[str, Decimal] = RATES,
        *,
        orders: dict[str, SandboxOrder] | None = None,
        random_bytes: RandomSource | None = None,
        time_to_pay: timedelta = TIME_TO_PAY,
    ) -> None:
        self.orders = {} if orders is None else orders
        self._rates = rates
        self._random_bytes = random_bytes or random_source()
        self._time_to_pay = time_to_pay

    def create(
        self, fields: Mapping[str, object], now: datetime, api_key: str | None = None
    ) -> SandboxOrder:
        """Create a Lightning order from the fields of a request.

        Raises:
            ApiRejection: if a field is missing or invalid.
        """
        request = parse_order_request(fields, self._rates, api_key)
        return self.add(request, LIGHTNING, now)

    def create_payment(
        self, fields: Mapping[str, object], now: datetime, api_key: str | None = None
    ) -> SandboxOrder:
        """Create an order in another coin from the fields of a request.

        Raises:
            ApiRejection: if a field is missing or invalid.
        """
        coin = find_coin(fields)
        request = parse_payment_request(fields, self._rates, "vs_", api_key)
        return self.add(request, coin, now)

    def add(
        self,
        request: OrderRequest,
        coin: Coin,
        now: datetime,
        *,
        checkout: str | None = None,
    ) -> SandboxOrder:
        """Create an order in any coin; `checkout` is the token of its checkout page.

        Raises:
            ApiRejection: if the price exceeds the supply of the coin.
        """
        order = create_order(
            request,
            coin,
            number=len(self.orders) + 1,
            now=now,
            time_to_pay=self._time_to_pay,
            rates=self._rates,
            random_bytes=self._random_bytes,
        )
        if checkout is not None:
            order = attrs.evolve(order, checkout=checkout)
        self.orders[order.order_id] = order
        return order

    def create_foreign(self, now: datetime) -> SandboxOrder:
        """Create a Lightning order of another merchant, outside this ledger.

        It is as valid as any other order: only its price, 4.20 USD, differs.
        """
        return create_order(
            OrderRequest(price=_FOREIGN_PRICE, currency="USD", urls={}),
            LIGHTNING,
            number=999_999,
            now=now,
            time_to_pay=self._time_to_pay,
            rates=self._rates,
            random_bytes=self._random_bytes,
        )

    def find(self, order_id: str) -> SandboxOrder:
        """Return the order with this id.

        Raises:
            ApiRejection: if there is none.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise ApiRejection(404, "there is no such order")
        return order

    def change_status(
        self, order_id: str, change: StatusChange, now: datetime
    ) -> SandboxOrder:
        """Change the status of an order.

        Raises:
            InvalidRequestError: if there is no such order, or its status forbids it.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise InvalidRequestError(
                f"there is no order {shown(order_id)}", field="order_id"
            )
        transition = _TRANSITIONS[change]
        status = transition.statuses.get(order.status)
        if status is None:
            raise InvalidRequestError(
                f"{order_id} is {order.status} and cannot be {transition.participle}",
                field="order_id",
            )
        at = now.replace(microsecond=0)
        changed = attrs.evolve(
            order,
            status=status,
            updated_at=at,
            was_overdue=order.was_overdue or status == "OVERDUE",
            paid_at=at if status == "SUCCESS" else order.paid_at,
        )
        self.orders[order_id] = changed
        return changed
