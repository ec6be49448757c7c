"""Orders that are paid over Lightning ("Create BLN Order")."""

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

_CHECK_BY_FIELD: Final = {
    "data.amount": "amount",
    "data.payment_request": "invoice",
    "data.payment_addr": "payment_secret",
    "data.pay_url": "pay_url",
}

#: No reason to lose an order.
_SIDE: Final = {"create_time": None, "currency": None}


def build_create_order(order: NewOrder) -> Request:
    """``POST /api/bln/order``."""
    body = dump_new_order(order)
    return post("create_order", "/api/bln/order", Effect.CREATE, body, order=order)


def parse_create_order(
    response: Response, asked: NewOrder, policy: InvoicePolicy, now: float
) -> LightningOrder:
    """The order in an answer, if it may be shown to a payer.

    Args:
        response: What came.
        asked: What was asked for.
        policy: What the client accepts.
        now: Seconds since 1970.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if the answer is not the documented shape.
        UntrustedOrderError: if there is an order, but not one to be shown.
    """
    data = read_envelope(response, Effect.CREATE)
    order, extra = read_created(response, data, UncheckedOrder, _CHECK_BY_FIELD, _SIDE)
    invoice = _read_invoice(response, order)
    verdict = check_order(order, invoice, policy, now)
    if verdict.failed:
        check, problem = verdict.failed
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
        price=asked.price,
        currency=asked.currency,
        reference=asked.reference,
        attempt_id=asked.attempt_id,
        checks=verdict.passed,
        extra=extra,
    )


def _read_invoice(response: Response, order: UncheckedOrder) -> bolt11.Invoice:
    try:
        return bolt11.decode(order.payment_request)
    except InvoiceError as error:
        raise untrusted(response, order.order_id, "invoice", str(error)) from error
