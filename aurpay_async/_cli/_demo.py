"""``aurpay demo``: create, verify and pay an order, and process its callback.

A sandbox, a shop and its client run on loopback. The shop verifies the callback and
confirms it with the platform.
"""

from __future__ import annotations

import secrets
from time import perf_counter
from typing import TYPE_CHECKING, Final

from .._urls import without_query
from ..callbacks import ConfirmedNotification
from ..sandbox import Sandbox
from ._arguments import OutputOption  # noqa: TC001 - read by cyclopts
from ._demo_shop import open_shop
from ._failures import FAILED
from ._order_view import order_members, show_order
from ._screen import Output, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._client import AurpayClient
    from .._lightning_order import LightningOrder
    from .._models import Payment
    from ..callbacks import Notification
    from ..sandbox import SentCallback
    from ._demo_shop import DemoShop
    from ._screen import Verdict

_PRICE: Final = "20.00"
_CURRENCY: Final = "USD"
_REFERENCE: Final = "cart-42"
_HTTP_OK: Final = 200


async def run_demo(*, output_format: OutputOption = "text") -> int:
    """Show one order from the request to its confirmed payment."""
    output = Output(output_format)
    began = perf_counter()
    output.line()
    output.line("  Aurpay, on this machine", "bold")
    output.line("  No account, no network, no real money.", "dim")
    output.line()
    key = secrets.token_urlsafe()
    async with (
        Sandbox() as sandbox,
        sandbox.client(payees=[sandbox.payee], reference_key=key) as aurpay,
        open_shop(sandbox, aurpay, key) as shop,
    ):
        output.status(f"sandbox started at {sandbox.base_url}")
        output.status(f"shop started at {shop.base_url}")
        order = await _create_demo_order(output, aurpay, shop)
        [sent] = await sandbox.pay(order.order_id)
        payment = await aurpay.wait_for_payment(order)
        members = _show_payment(output, sent, shop.notifications, payment)
    seconds = perf_counter() - began
    output.status(f"sandbox and shop stopped after {seconds:.1f} s")
    output.line()
    output.json(
        "demo", order=order_members(order), **members, seconds=round(seconds, 3)
    )
    return 0 if members["paid"] else FAILED


async def _create_demo_order(
    output: Output, aurpay: AurpayClient, shop: DemoShop
) -> LightningOrder:
    call = f'aurpay.create_order("{_PRICE}", "{_CURRENCY}", reference="{_REFERENCE}")'
    order = await aurpay.create_order(
        _PRICE, _CURRENCY, reference=_REFERENCE, callback_url=shop.callback_url
    )
    shop.orders[order.attempt_id or ""] = order
    output.status(f"await {call}")
    output.status(f"checkout page: {order.pay_url}")
    output.line()
    show_order(output, order)
    # An upper-case QR code takes the smaller alphanumeric mode.
    output.qr_code(order.payment_request.uri.upper())
    return order


def _show_payment(
    output: Output,
    sent: SentCallback,
    notifications: list[Notification],
    payment: Payment,
) -> dict[str, object]:
    """Show the payment as text, and return it as JSON."""
    confirmed = [
        notification
        for notification in notifications
        if isinstance(notification, ConfirmedNotification)
    ]
    output.rows(_payment_rows(sent, confirmed, payment), "Payment")
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
    yield Row("paid", "simulated with sandbox.pay(order_id)", "ok")
    called = f"{sent.method} {without_query(sent.url)}, answered with {sent.status}"
    yield Row("callback", called, _mark(sent.status == _HTTP_OK))
    for notification in confirmed:
        yield Row("verified", "by token, signature and date", "ok")
        yield Row("reference", f"{notification.reference}, signed into the URL", "ok")
        status = f"the platform confirms the status {notification.order.status}"
        yield Row("confirmed", status, "ok")
    polled = f"wait_for_payment() returned {payment.outcome}"
    yield Row("polling", polled, _mark(payment.outcome == "paid"))


def _mark(passed: bool) -> Verdict:  # noqa: FBT001 - of a row
    return "ok" if passed else "problem"
