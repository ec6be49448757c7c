"""``aurpay order create``: an order, its invoice, and on request its payment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ._browser import open_page
from ._calling import open_client
from ._order_view import order_members, show_order
from ._watch import watch

if TYPE_CHECKING:
    from ._asked import Asked
    from ._screen import Screen


class Wishes(NamedTuple):
    """What is to happen once it is there."""

    qr: bool
    watch: bool
    browser: bool


async def create_order(screen: Screen, asked: Asked, wishes: Wishes) -> int:
    """Create an order and show it; with ``--watch``, it is a no if nobody pays."""
    asked.require_keys()
    async with open_client(screen) as aurpay:
        with screen.waiting(f"Creating an order of {asked.price} {asked.currency}"):
            order = await aurpay.create_order(**asked._asdict())
        screen.record("order", **order_members(order))
        show_order(screen, order)
        if wishes.qr:
            screen.code(order.payment_request.uri.upper())
        if wishes.browser:
            await open_page(screen, order.pay_url)
        return await watch(screen, aurpay, order) if wishes.watch else 0
