"""``aurpay order list``: list orders, one page or all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._client import AurpayClient
from .._models import Order
from ._arguments import (  # noqa: TC001 - read by cyclopts
    LIST_DEFAULTS,
    ListOptions,
    OutputOption,
)
from ._list import Listing, show_list
from ._order_view import detail_members
from ._screen import Output
from ._times import moment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from decimal import Decimal

#: Shown where the platform gives no value.
_UNKNOWN: Final = "-"


async def list_orders(
    *, options: ListOptions = LIST_DEFAULTS, output_format: OutputOption = "text"
) -> int:
    """Show a page of orders, or all orders."""
    return await show_list(Output(output_format), ORDERS, options)


def _order_cells(order: Order) -> tuple[str, ...]:
    return (
        order.order_id,
        moment(order.create_time),
        order.status,
        _format_sum(order.price, order.currency),
        _format_sum(order.amount, order.coin),
    )


def _format_sum(number: Decimal | None, unit: str | None) -> str:
    return _UNKNOWN if number is None else f"{number:f} {unit or ''}"


def _iterate_orders(
    aurpay: AurpayClient, page: int, size: int
) -> AsyncGenerator[Order, None]:
    return aurpay.iter_orders(page=page, size=size)


ORDERS: Final = Listing[Order](
    noun="orders",
    kind="detail",
    columns={"order_id": 20, "created": 23, "status": 10, "price": 12, "amount": 0},
    cells=_order_cells,
    members=detail_members,
    fetch=AurpayClient.list_orders,
    iterate=_iterate_orders,
)
