"""Creation of Lightning orders ("Create BLN Order")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .. import bolt11
from .._checks import MAX_SKEW_S, check_order
from .._converter import dump_new_order
from .._envelope import read_envelope
from .._http import Effect
from .._lightning_order import LightningOrder
from .._models import UncheckedOrder
from ..errors import InvoiceError
from ._common import post, read_created, untrusted

if TYPE_CHECKING:
    from .._checks import InvoicePolicy
    from .._http import Request, Response
    from .._models import NewOrder

_LIGHTNING_CHECK_BY_FIELD: Final = {
    "data.amount": "amount",
    "data.payment_request": "invoice",
    "data.payment_addr": "payment_secret",
    "data.pay_url": "pay_url",
}

#: Optional fields: an unreadable one must not cost the merchant the order.
_LIGHTNING_FALLBACKS: Final = {"create_time": None, "currency": None}


def build_create_order(order: NewOrder) -> Request:
    """Build ``POST /api/bln/order``."""
    body = dump_new_order(order)
    return post("create_order", "/api/bln/order", Effect.CREATE, body, order=order)


def parse_create_order(
    response: Response, requested: NewOrder, policy: InvoicePolicy, now: float
) -> LightningOrder:
    """Return the order in a response, if it may be shown to a payer.

    Args:
        response: Aurpay's response.
        requested: The request for the order.
        policy: What the client accepts.
        now: Seconds since 1970.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response does not have the documented shape.
        UntrustedOrderError: if the order exists, but failed a check.
    """
    data = read_envelope(response, Effect.CREATE)
    order, extra = read_created(
        response, data, UncheckedOrder, _LIGHTNING_CHECK_BY_FIELD, _LIGHTNING_FALLBACKS
    )
    invoice = _read_invoice(response, order)
    result = check_order(order, invoice, policy, now)
    if result.failed:
        check, problem = result.failed
        raise untrusted(response, order.order_id, check, problem)
    create_time = order.create_time
    if create_time is None or create_time.timestamp() - now > MAX_SKEW_S:
        create_time = invoice.created_at
        extra["create_time"] = data.get("create_time")
    return LightningOrder(
        order_id=order.order_id,
        status=order.status,
        amount=order.amount,
        create_time=create_time,
        payment_request=invoice,
        pay_url=order.pay_url,
        payment_addr=order.payment_addr,
        coin=order.coin,
        price=requested.price,
        currency=requested.currency,
        reference=requested.reference,
        attempt_id=requested.attempt_id,
        checks=result.passed,
        extra=extra,
    )


def _read_invoice(response: Response, order: UncheckedOrder) -> bolt11.Invoice:
    try:
        return bolt11.decode(order.payment_request)
    except InvoiceError as error:
        raise untrusted(response, order.order_id, "invoice", str(error)) from error
