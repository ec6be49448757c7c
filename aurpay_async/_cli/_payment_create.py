"""``aurpay payment create``: create an order that is paid in a chosen coin."""

from __future__ import annotations

from typing import Annotated

import attrs
from cyclopts import Parameter

from ._arguments import (  # noqa: TC001 - read by cyclopts
    ORDER_DEFAULTS,
    PAYMENT_DEFAULTS,
    Currency,
    OpenOption,
    OrderOptions,
    OutputOption,
    PaymentOptions,
    Price,
    WatchOption,
)
from ._browser import open_page
from ._calling import open_client
from ._payment_view import payment_members, show_payment
from ._screen import Output
from ._watch import watch_payment


async def create_payment(
    price: Price,
    currency: Currency,
    /,
    *,
    chain: Annotated[
        str, Parameter(help="Chain, such as ETH; the platform decides which exist.")
    ],
    coin: Annotated[str, Parameter(help="Coin, such as USDT-ERC20.")],
    options: OrderOptions = ORDER_DEFAULTS,
    payment_options: PaymentOptions = PAYMENT_DEFAULTS,
    watch: WatchOption = False,
    browser: OpenOption = False,
    output_format: OutputOption = "text",
) -> int:
    """Create a payment and show it; with ``--watch``, return 1 if it is not paid."""
    output = Output(output_format)
    members = options.for_client()
    async with open_client(output) as aurpay:
        with output.waiting(f"Creating a payment of {price} {currency}"):
            payment = await aurpay.create_payment(
                price,
                currency,
                chain=chain,
                coin=coin,
                **members,
                **attrs.asdict(payment_options),
            )
        output.json("payment_order", **payment_members(payment))
        show_payment(output, payment)
        if browser and payment.pay_url is None:
            output.info("The response has no checkout page to open.")
        elif browser and payment.pay_url is not None:
            await open_page(output, payment.pay_url)
        return await watch_payment(output, aurpay, payment) if watch else 0
