"""``aurpay payment url``: get a checkout page on which the payer chooses the coin."""

from __future__ import annotations

from typing import Annotated

import attrs
from cyclopts import Parameter

from ._arguments import (  # noqa: TC001 - read by cyclopts
    ORDER_DEFAULTS,
    PAYMENT_DEFAULTS,
    Currency,
    Flag,
    OpenOption,
    OrderOptions,
    OutputOption,
    PaymentOptions,
    Price,
)
from ._browser import open_page
from ._calling import open_client
from ._screen import Output


async def create_payment_url(
    price: Price,
    currency: Currency,
    /,
    *,
    options: OrderOptions = ORDER_DEFAULTS,
    payment_options: PaymentOptions = PAYMENT_DEFAULTS,
    qr: Annotated[
        Flag, Parameter(help="Show the address of the page as a QR code.")
    ] = False,
    browser: OpenOption = False,
    output_format: OutputOption = "text",
) -> int:
    """Get a checkout page, and show its address."""
    output = Output(output_format)
    members = options.for_client()
    async with open_client(output) as aurpay:
        with output.waiting(f"Requesting a checkout page of {price} {currency}"):
            page = await aurpay.create_payment_url(
                price, currency, **members, **attrs.asdict(payment_options)
            )
    output.json(
        "payment_url",
        pay_url=page.pay_url,
        price=f"{page.price:f}",
        currency=page.currency,
        reference=page.reference,
        attempt_id=page.attempt_id,
    )
    output.title(f"Checkout page of {page.price:f} {page.currency}")
    output.line(page.pay_url)
    output.line()
    if qr:
        output.qr_code(page.pay_url)
    if browser:
        await open_page(output, page.pay_url)
    output.status("the order is created when the payer chooses a coin", "")
    return 0
