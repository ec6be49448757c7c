"""``aurpay order create``: create an order, show it, and wait for its payment."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ._arguments import (  # noqa: TC001 - read by cyclopts
    ORDER_DEFAULTS,
    Currency,
    Flag,
    OpenOption,
    OrderOptions,
    OutputOption,
    Price,
    WatchOption,
)
from ._browser import open_page
from ._calling import open_client
from ._order_view import order_members, show_order
from ._screen import Output
from ._watch import watch_payment


async def create_order(
    price: Price,
    currency: Currency,
    /,
    *,
    options: OrderOptions = ORDER_DEFAULTS,
    qr: Annotated[Flag, Parameter(help="Show the invoice as a QR code.")] = False,
    watch: WatchOption = False,
    browser: OpenOption = False,
    output_format: OutputOption = "text",
) -> int:
    """Create an order and show it; with ``--watch``, return 1 if it is not paid."""
    output = Output(output_format)
    members = options.for_client()
    async with open_client(output) as aurpay:
        with output.waiting(f"Creating an order of {price} {currency}"):
            order = await aurpay.create_order(price, currency, **members)
        output.json("order", **order_members(order))
        show_order(output, order)
        if qr:
            output.qr_code(order.payment_request.uri.upper())
        if browser:
            await open_page(output, order.pay_url)
        return await watch_payment(output, aurpay, order) if watch else 0
