"""What the sandbox's Aurpay has: its orders, and how they move.

Pure: it is given the fields of a request and the time, and gives back an order or a
refusal.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import attrs

from ..errors import InvalidRequestError, shown
from ._coins import LIGHTNING, read_coin
from ._orders import make_order
from ._refusal import Refusal
from ._seeds import drawing
from ._wish import Wish, read_payment_wish, read_wish

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ._coins import Coin
    from ._orders import SandboxOrder
    from ._seeds import Draw

#: What one bitcoin costs here. Made up, and the same every day.
RATES: Final[Mapping[str, Decimal]] = {
    "USD": Decimal(100_000),
    "EUR": Decimal(90_000),
    "GBP": Decimal(75_000),
    "CHF": Decimal(80_000),
    "JPY": Decimal(15_000_000),
}

#: "Orders" of Aurpay's dashboard: overdue after 30 minutes.
ORDER_LIFE: Final = timedelta(minutes=30)

#: The price in USD of an order of another merchant.
_ELSEWHERE: Final = Decimal("4.20")

#: How an order moves, from which status to which; what is not listed is refused.
_MOVES: Final[Mapping[str, Mapping[str, str]]] = {
    # Overdue is not final: a late payment settles the order all the same.
    "paid": {"PENDING": "SUCCESS", "OVERDUE": "SUCCESS"},
    "expired": {"PENDING": "OVERDUE"},
    # As documented: what is paid in part is overdue, until somebody decides.
    "underpaid": {"PENDING": "OVERDUE"},
    "refunded": {"SUCCESS": "REFUNDED"},
}


class Ledger:
    """All orders of one sandbox."""

    def __init__(
        self,
        rates: Mapping[str, Decimal] = RATES,
        *,
        orders: dict[str, SandboxOrder] | None = None,
        draw: Draw | None = None,
        life: timedelta = ORDER_LIFE,
    ) -> None:
        self.orders = {} if orders is None else orders
        self._rates = rates
        self._draw = draw or drawing()
        self._life = life

    def create(
        self, fields: Mapping[str, object], now: datetime, api_key: str | None = None
    ) -> SandboxOrder:
        """Make a Lightning order of the fields of a request.

        Raises:
            Refusal: if a field is missing or cannot be.
        """
        return self.make(read_wish(fields, self._rates, api_key), LIGHTNING, now)

    def create_payment(
        self, fields: Mapping[str, object], now: datetime, api_key: str | None = None
    ) -> SandboxOrder:
        """Make an order in another coin.

        Raises:
            Refusal: if a field is missing or cannot be.
        """
        coin = read_coin(fields)
        wish = read_payment_wish(fields, self._rates, "vs_", api_key)
        return self.make(wish, coin, now)

    def make(
        self, wish: Wish, coin: Coin, now: datetime, *, checkout: str | None = None
    ) -> SandboxOrder:
        """Make an order in any coin, chosen at a checkout page perhaps.

        Raises:
            Refusal: if there is not as much of the coin.
        """
        order = make_order(
            wish,
            coin,
            number=len(self.orders) + 1,
            now=now,
            life=self._life,
            rates=self._rates,
            draw=self._draw,
        )
        if checkout is not None:
            order = attrs.evolve(order, checkout=checkout)
        self.orders[order.order_id] = order
        return order

    def make_elsewhere(self, now: datetime) -> SandboxOrder:
        """Make a Lightning order of another merchant, which this ledger does not have.

        It is as valid as any other order: only its price, 4.20 USD, tells it apart.
        """
        return make_order(
            Wish(price=_ELSEWHERE, currency="USD", urls={}),
            LIGHTNING,
            number=999_999,
            now=now,
            life=self._life,
            rates=self._rates,
            draw=self._draw,
        )

    def find(self, order_id: str) -> SandboxOrder:
        """The order of this id.

        Raises:
            Refusal: if there is none.
        """
        order = self.orders.get(order_id)
        if order is None:
            raise Refusal(404, "there is no such order")
        return order

    def pay(self, order_id: str, now: datetime) -> SandboxOrder:
        """Somebody pays, in time or late.

        Raises:
            InvalidRequestError: if there is no such order, or none to be paid.
        """
        return self._move(order_id, "paid", now)

    def expire(self, order_id: str, now: datetime) -> SandboxOrder:
        """Nobody has paid in time.

        Raises:
            InvalidRequestError: if there is no such order, or none to expire.
        """
        return self._move(order_id, "expired", now)

    def underpay(self, order_id: str, now: datetime) -> SandboxOrder:
        """Somebody pays too little.

        Raises:
            InvalidRequestError: if there is no such order, or none that is pending.
        """
        return self._move(order_id, "underpaid", now)

    def refund(self, order_id: str, now: datetime) -> SandboxOrder:
        """What was paid goes back.

        Raises:
            InvalidRequestError: if there is no such order, or none that was paid.
        """
        return self._move(order_id, "refunded", now)

    def _move(self, order_id: str, move: str, now: datetime) -> SandboxOrder:
        order = self.orders.get(order_id)
        if order is None:
            raise InvalidRequestError(
                f"there is no order {shown(order_id)}", field="order_id"
            )
        status = _MOVES[move].get(order.status)
        if status is None:
            raise InvalidRequestError(
                f"{order_id} is {order.status} and cannot be {move}", field="order_id"
            )
        at = now.replace(microsecond=0)
        moved = attrs.evolve(
            order,
            status=status,
            updated_at=at,
            was_overdue=order.was_overdue or status == "OVERDUE",
            paid_at=at if status == "SUCCESS" else order.paid_at,
        )
        self.orders[order_id] = moved
        return moved
