"""``aurpay demo``: what this package is, on one screen.

A sandbox, a shop and its client, all on loopback: an order is made, checked, paid, and
the shop hears of it by a callback that it verifies and confirms.
"""

from __future__ import annotations

import secrets
from time import perf_counter
from typing import TYPE_CHECKING, Final

from .._urls import without_query
from ..callbacks import ConfirmedNotification
from ..sandbox import Sandbox
from ._demo_shop import open_shop
from ._failures import FAILED
from ._order_view import order_members, show_order
from ._screen import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._client import AurpayClient
    from .._lightning_order import LightningOrder
    from .._models import Payment
    from ..callbacks import Notification
    from ..sandbox import SentCallback
    from ._demo_shop import Shop
    from ._screen import Screen, Verdict

_PRICE: Final = "20.00"
_CURRENCY: Final = "USD"
_REFERENCE: Final = "cart-42"
_OK: Final = 200


async def run_demo(screen: Screen) -> int:
    """Show one order from the request to its payment."""
    began = perf_counter()
    screen.line()
    screen.line("  Aurpay, on this machine", "bold")
    screen.line("  No account, no network, no real money.", "dim")
    screen.line()
    key = secrets.token_urlsafe()
    async with (
        Sandbox() as sandbox,
        sandbox.client(payees=[sandbox.payee], reference_key=key) as aurpay,
        open_shop(sandbox, aurpay, key) as shop,
    ):
        screen.step(f"sandbox is up at {sandbox.base_url}")
        screen.step(f"shop is up at {shop.base_url}")
        order = await _create(screen, aurpay, shop)
        [sent] = await sandbox.pay(order.order_id)
        payment = await aurpay.wait_for_payment(order)
        members = _show_payment(screen, sent, shop.notifications, payment)
    seconds = perf_counter() - began
    screen.step(f"all is shut down, after {seconds:.1f} s")
    screen.line()
    screen.record(
        "demo", order=order_members(order), **members, seconds=round(seconds, 3)
    )
    return 0 if members["paid"] else FAILED


async def _create(screen: Screen, aurpay: AurpayClient, shop: Shop) -> LightningOrder:
    call = f'aurpay.create_order("{_PRICE}", "{_CURRENCY}", reference="{_REFERENCE}")'
    order = await aurpay.create_order(
        _PRICE, _CURRENCY, reference=_REFERENCE, callback_url=shop.callback_url
    )
    shop.orders[order.attempt_id or ""] = order
    screen.step(f"await {call}")
    screen.step(f"checkout page: {order.pay_url}")
    screen.line()
    show_order(screen, order)
    # Upper-case takes the smaller mode of QR codes.
    screen.code(order.payment_request.uri.upper())
    return order


def _show_payment(
    screen: Screen,
    sent: SentCallback,
    notifications: list[Notification],
    payment: Payment,
) -> dict[str, object]:
    """What became of it, for people; and for programs."""
    confirmed = [
        notification
        for notification in notifications
        if isinstance(notification, ConfirmedNotification)
    ]
    screen.title("The payment")
    screen.rows(_payment_rows(sent, confirmed, payment))
    return {
        "callback": {
            "method": sent.method,
            "status": sent.status,
            "error": sent.error,
            "confirmed": bool(confirmed),
        },
        "payment": {"outcome": payment.outcome, "status": payment.order.status},
        "paid": bool(confirmed) and payment.outcome == "paid",
    }


def _payment_rows(
    sent: SentCallback, confirmed: list[ConfirmedNotification], payment: Payment
) -> Iterator[Row]:
    yield Row("paid", "by nobody: sandbox.pay(order_id)", "ok")
    called = f"{sent.method} {without_query(sent.url)}, answered with {sent.status}"
    yield Row("callback", called, _mark(sent.status == _OK))
    for notification in confirmed:
        yield Row("verified", "by token, signature and date", "ok")
        yield Row("reference", f"{notification.reference}, signed into the URL", "ok")
        said = f"the platform was asked, and says {notification.order.status}"
        yield Row("confirmed", said, "ok")
    yield Row("waiting", payment.outcome, _mark(payment.outcome == "paid"))


def _mark(held: bool) -> Verdict:  # noqa: FBT001 - of a row
    return "ok" if held else "problem"
