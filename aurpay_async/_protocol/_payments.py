"""Payments in any coin ("Get Payment URL", "Get Payment Info"), and the fiat list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from .._checks import MAX_SKEW_S, check_pay_url, check_payment
from .._converter import dump_new_order
from .._envelope import invalid, read_data, read_envelope
from .._http import Effect
from .._models._payments import PaymentOrder, PaymentUrl, UncheckedPayment
from ._common import get, post, read_created, untrusted

if TYPE_CHECKING:
    from .._checks import InvoicePolicy
    from .._http import Request, Response
    from .._models._payments import NewPayment, NewPaymentUrl

_CHECK_BY_FIELD: Final = {
    "data.vs_price": "price",
    "data.vs_currency": "currency",
    "data.amount": "amount",
    "data.address": "address",
    "data.pay_url": "pay_url",
}

#: No reason to lose an order.
_SIDE: Final = {"create_time": None}


def build_create_payment(payment: NewPayment) -> Request:
    """``POST /api/order/pay-info``."""
    body = dump_new_order(payment)
    return post(
        "create_payment", "/api/order/pay-info", Effect.CREATE, body, order=payment
    )


def parse_create_payment(
    response: Response, asked: NewPayment, policy: InvoicePolicy, now: float
) -> PaymentOrder:
    """Return the order in an answer, if it is what was asked for.

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
    payment, extra = read_created(
        response, data, UncheckedPayment, _CHECK_BY_FIELD, _SIDE
    )
    verdict = check_payment(payment, asked, policy)
    if verdict.failed:
        check, problem = verdict.failed
        raise untrusted(response, payment.order_id, check, problem)
    create_time = payment.create_time
    if create_time is None or create_time.timestamp() - now > MAX_SKEW_S:
        create_time = datetime.fromtimestamp(now, UTC)
        extra["create_time"] = data.get("create_time")
    return PaymentOrder(
        order_id=payment.order_id,
        status=payment.status,
        amount=payment.amount,
        coin=asked.coin,
        chain=asked.chain,
        price=asked.price,
        currency=asked.currency,
        create_time=create_time,
        address=payment.address,
        contract_addr=payment.contract_addr,
        # An empty one is none.
        pay_url=payment.pay_url or None,
        reference=asked.reference,
        attempt_id=asked.attempt_id,
        checks=verdict.passed,
        extra=extra,
    )


def build_create_payment_url(payment: NewPaymentUrl) -> Request:
    """``POST /api/order/pay-url``.

    The documentation's prose here says ``succend_url``; all else, and everybody who
    uses it, says ``succeed_url``, which is sent.
    """
    body = dump_new_order(payment)
    return post(
        "create_payment_url", "/api/order/pay-url", Effect.CREATE, body, order=payment
    )


def parse_create_payment_url(
    response: Response, asked: NewPaymentUrl, policy: InvoicePolicy
) -> PaymentUrl:
    """The checkout page in an answer, if it lies where such pages do.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if the answer is not the shape that shops rely on.
    """
    data = read_envelope(response, Effect.CREATE)
    pay_url = data.pop("pay_url", None)
    if not isinstance(pay_url, str):
        raise invalid(response, "data.pay_url is not a text", "data.pay_url")
    problem = check_pay_url(pay_url, policy)
    if problem is not None:
        raise invalid(response, f"data.{problem}", "data.pay_url")
    return PaymentUrl(
        pay_url=pay_url,
        price=asked.price,
        currency=asked.currency,
        reference=asked.reference,
        attempt_id=asked.attempt_id,
        extra=data,
    )


def build_list_fiat_currencies() -> Request:
    """``GET /api/order/pay/real-currency``: named in prose, without a page."""
    return get("list_fiat_currencies", "/api/order/pay/real-currency")


def parse_list_fiat_currencies(response: Response) -> object:
    """The envelope's `data`, whatever it is: no shape is documented.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if there is no envelope, or no `data` in it.
    """
    data = read_data(response, Effect.READ)
    if data is None:
        raise invalid(response, "there is no data", "data")
    return data
