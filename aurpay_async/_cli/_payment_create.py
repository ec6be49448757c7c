"""``aurpay payment create``: an order to be paid in a coin that you choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ._browser import open_page
from ._calling import open_client
from ._payment_view import payment_members, show_payment
from ._watch import watch

if TYPE_CHECKING:
    from ._asked import Asked
    from ._screen import Screen


class Coin(NamedTuple):
    """What it is to be paid in, by the names of `AurpayClient.create_payment`."""

    chain: str
    coin: str


class Switches(NamedTuple):
    """What payments in any coin can have, by the client's names."""

    stablecoin_at_par: bool
    post_callbacks: bool


class Wishes(NamedTuple):
    """What is to happen once it is there."""

    watch: bool
    browser: bool


async def create_payment(
    screen: Screen, asked: Asked, coin: Coin, switches: Switches, wishes: Wishes
) -> int:
    """Create a payment and show it; with ``--watch``, it is a no if nobody pays."""
    asked.require_keys()
    async with open_client(screen) as aurpay:
        with screen.waiting(f"Creating a payment of {asked.price} {asked.currency}"):
            payment = await aurpay.create_payment(
                **asked._asdict(), **coin._asdict(), **switches._asdict()
            )
        screen.record("payment_order", **payment_members(payment))
        show_payment(screen, payment)
        if wishes.browser and payment.pay_url is None:
            screen.note("No checkout page came that could be opened.")
        elif wishes.browser and payment.pay_url is not None:
            await open_page(screen, payment.pay_url)
        return await watch(screen, aurpay, payment) if wishes.watch else 0
