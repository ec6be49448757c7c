"""``aurpay order show``: how an order stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._client import AurpayClient
from ._order_view import detail_members, detail_rows

if TYPE_CHECKING:
    from ._screen import Screen


async def show_order_by_id(screen: Screen, order_id: str) -> int:
    """Ask the platform for an order, and show it."""
    async with AurpayClient.from_env() as aurpay:
        with screen.waiting("Asking for the order"):
            order = await aurpay.get_order(order_id)
    screen.record("detail", **detail_members(order))
    screen.title(f"Order {order.order_id}")
    screen.rows(detail_rows(order))
    return 0
