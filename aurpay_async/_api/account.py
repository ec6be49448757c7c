"""Payments in any coin ("Get Payment URL", "Get Payment Info"); fiat currencies."""

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

_PAYMENT_CHECK_BY_FIELD: Final = {
    "data.vs_price": "price",
    "data.vs_currency": "currency",
    "data.amount": "amount",
    "data.address": "address",
    "data.pay_url": "pay_url",
}

#: Optional fields: an unreadable one must not cost the merchant the order.
_PAYMENT_FALLBACKS: Final = {"create_time": None}


def build_create_payment(payment: NewPayment) -> Request:
    """Build ``POST /api/order/pay-info``."""
    body = dump_new_order(payment)
    return post(
        "create_payment", "/api/order/pay-info", Effect.CREATE, body, order=payment
    )


def parse_create_payment(
    response: Response, requested: NewPayment, policy: InvoicePolicy, now: float
) -> PaymentOrder:
    """Return the order in a response, if it matches the request.

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
    payment, extra = read_created(
        response, data, UncheckedPayment, _PAYMENT_CHECK_BY_FIELD, _PAYMENT_FALLBACKS
    )
    result = check_payment(payment, requested, policy)
    if result.failed:
        check, problem = result.failed
        raise untrusted(response, payment.order_id, check, problem)
    create_time = payment.create_time
    if create_time is None or create_time.timestamp() - now > MAX_SKEW_S:
        create_time = datetime.fromtimestamp(now, UTC)
        extra["create_time"] = data.get("create_time")
    return PaymentOrder(
        order_id=payment.order_id,
        status=payment.status,
        amount=payment.amount,
        coin=requested.coin,
        chain=requested.chain,
        price=requested.price,
        currency=requested.currency,
        create_time=create_time,
        address=payment.address,
        contract_addr=payment.contract_addr,
        # Aurpay may send an empty string for no URL.
        pay_url=payment.pay_url or None,
        reference=requested.reference,
        attempt_id=requested.attempt_id,
        checks=result.passed,
        extra=extra,
    )


def build_create_payment_url(payment: NewPaymentUrl) -> Request:
    """Build ``POST /api/order/pay-url``.

    The prose of its page says ``succend_url``. The other pages and all known clients
    say ``succeed_url``, which is sent.
    """
    body = dump_new_order(payment)
    return post(
        "create_payment_url", "/api/order/pay-url", Effect.CREATE, body, order=payment
    )


def parse_create_payment_url(
    response: Response, requested: NewPaymentUrl, policy: InvoicePolicy
) -> PaymentUrl:
    """Return the checkout page in a response, if its URL has an accepted origin.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response has no accepted URL.
    """
    data = read_envelope(response, Effect.CREATE)
    pay_url = data.pop("pay_url", None)
    if not isinstance(pay_url, str):
        raise invalid(response, "data.pay_url is not a string", "data.pay_url")
    problem = check_pay_url(pay_url, policy)
    if problem is not None:
        raise invalid(response, f"data.{problem}", "data.pay_url")
    return PaymentUrl(
        pay_url=pay_url,
        price=requested.price,
        currency=requested.currency,
        reference=requested.reference,
        attempt_id=requested.attempt_id,
        extra=data,
    )


def build_list_fiat_currencies() -> Request:
    """Build ``GET /api/order/pay/real-currency``.

    The documentation mentions it in prose; it has no page.
    """
    return get("list_fiat_currencies", "/api/order/pay/real-currency")


def parse_list_fiat_currencies(response: Response) -> object:
    """Return the envelope's `data`, which has no documented shape.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response has no envelope, or no `data` in it.
    """
    data = read_data(response, Effect.READ)
    if data is None:
        raise invalid(response, "data is missing", "data")
    return data
