"""``aurpay payment url``: a checkout page on which the payer chooses the coin."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ._browser import open_page
from ._calling import open_client

if TYPE_CHECKING:
    from ._asked import Asked
    from ._payment_create import Switches
    from ._screen import Screen


class Wishes(NamedTuple):
    """What is to happen once it is there."""

    qr: bool
    browser: bool


async def create_url(
    screen: Screen, asked: Asked, switches: Switches, wishes: Wishes
) -> int:
    """Get a checkout page, and show its address."""
    asked.require_keys()
    async with open_client(screen) as aurpay:
        with screen.waiting(f"Asking for a page of {asked.price} {asked.currency}"):
            page = await aurpay.create_payment_url(
                **asked._asdict(), **switches._asdict()
            )
    screen.record(
        "payment_url",
        pay_url=page.pay_url,
        price=f"{page.price:f}",
        currency=page.currency,
        reference=page.reference,
        attempt_id=page.attempt_id,
    )
    screen.title(f"The checkout page of {page.price:f} {page.currency}")
    screen.line(page.pay_url)
    screen.line()
    if wishes.qr:
        screen.code(page.pay_url)
    if wishes.browser:
        await open_page(screen, page.pay_url)
    screen.step("there is no order before the payer has chosen a coin", "")
    return 0
