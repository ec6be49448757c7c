"""``aurpay order show``: show the status of an order."""

from __future__ import annotations

from .._client import AurpayClient
from ._arguments import OrderId, OutputOption  # noqa: TC001 - read by cyclopts
from ._order_view import detail_members, detail_rows
from ._screen import Output


async def show_order_by_id(
    order_id: OrderId, /, *, output_format: OutputOption = "text"
) -> int:
    """Query the platform for an order, and show it."""
    output = Output(output_format)
    async with AurpayClient.from_env() as aurpay:
        with output.waiting("Querying the order"):
            order = await aurpay.get_order(order_id)
    output.json("detail", **detail_members(order))
    output.rows(detail_rows(order), f"Order {order.order_id}")
    return 0
