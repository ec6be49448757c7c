"""``aurpay order list``: orders, a page at a time or all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._client import AurpayClient
from .._models import Order
from ._list import Listing
from ._order_view import detail_members
from ._times import moment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from decimal import Decimal

#: What the platform did not say.
_UNKNOWN: Final = "-"


def _cells(order: Order) -> tuple[str, ...]:
    return (
        order.order_id,
        moment(order.create_time),
        order.status,
        _sum(order.price, order.currency),
        _sum(order.amount, order.coin),
    )


def _sum(number: Decimal | None, unit: str | None) -> str:
    return _UNKNOWN if number is None else f"{number:f} {unit or ''}"


def _iterate(aurpay: AurpayClient, page: int, size: int) -> AsyncGenerator[Order, None]:
    return aurpay.iter_orders(page=page, size=size)


ORDERS: Final = Listing[Order](
    noun="orders",
    kind="detail",
    columns={"order_id": 20, "created": 23, "status": 10, "price": 12, "amount": 0},
    cells=_cells,
    members=detail_members,
    fetch=AurpayClient.list_orders,
    iterate=_iterate,
)
