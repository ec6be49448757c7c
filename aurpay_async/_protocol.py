"""What Aurpay's endpoints take and give: bytes in, records out, never awaiting.

One ``build_*`` and one ``parse_*`` for each endpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import attrs

from . import bolt11
from ._checks import check_order
from ._converter import ShapeError, dump_new_order, structure, unknown_fields
from ._envelope import find_order, invalid, read_envelope
from ._http import Request, Safety
from ._lightning_order import LightningOrder
from ._models import Order, UncheckedOrder
from .errors import InvoiceError, UntrustedOrderError

if TYPE_CHECKING:
    from ._checks import Trust
    from ._http import Response
    from ._models import NewOrder

#: "Create BLN Order" of the API documentation.
CREATE_ORDER_PATH: Final = "/api/bln/order"

#: "Get Orders Details".
ORDER_PATH: Final = "/api/v2/order/detail/"

_READ_HEADERS: Final = {"Accept": "application/json"}
_WRITE_HEADERS: Final = {"Content-Type": "application/json", **_READ_HEADERS}

#: Which check fails if a field of an order cannot be read at all: the order exists,
#: but there is nothing that a payer may be shown.
_CHECK_OF_FIELD: Final = {
    "data.amount": "amount",
    "data.payment_request": "invoice",
    "data.payment_addr": "payment_secret",
    "data.pay_url": "pay_url",
}


def build_create_order(order: NewOrder) -> Request:
    """``POST /api/bln/order``."""
    return Request(
        operation="create_order",
        method="POST",
        path=CREATE_ORDER_PATH,
        safety=Safety.CREATE,
        headers=_WRITE_HEADERS,
        body=dump_new_order(order),
    )


def parse_create_order(
    response: Response, asked: NewOrder, trust: Trust, now: float
) -> LightningOrder:
    """The order in an answer, if it may be shown to a payer.

    Args:
        response: What came.
        asked: What was asked for.
        trust: What the client accepts.
        now: Seconds since 1970.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if the answer is not the documented shape.
        UntrustedOrderError: if there is an order, but not one to be shown.
    """
    data = read_envelope(response, Safety.CREATE)
    order = _read_order(response, data)
    invoice = _read_invoice(response, order)
    verdict = check_order(order, invoice, trust, now)
    if verdict.failed:
        check, problem = verdict.failed
        raise _untrusted(response, order.order_id, check, problem)
    return LightningOrder(
        order_id=order.order_id,
        status=order.status,
        amount=order.amount,
        create_time=order.create_time,
        payment_request=invoice,
        pay_url=order.pay_url,
        payment_addr=order.payment_addr,
        coin=order.coin,
        price=asked.price,
        currency=asked.currency,
        reference=asked.reference,
        nonce=asked.nonce,
        checks=verdict.passed,
        extra=unknown_fields(data, UncheckedOrder),
    )


def build_get_order(order_id: str) -> Request:
    """``GET /api/v2/order/detail/{order_id}``."""
    return Request(
        operation="get_order",
        method="GET",
        path=ORDER_PATH + quote(order_id, safe=""),
        safety=Safety.READ,
        headers=_READ_HEADERS,
    )


def parse_get_order(response: Response, order_id: str) -> Order:
    """The order in an answer, if it is the one that was asked for.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if the answer is not the documented shape, or about
            another order.
    """
    data = read_envelope(response, Safety.READ)
    try:
        order = structure(data, Order, "data")
    except ShapeError as error:
        raise invalid(response, str(error), *error.problems) from None
    if order.order_id != order_id:
        raise invalid(response, "data.order_id is another order's", "data.order_id")
    extra = unknown_fields(data, Order)
    return attrs.evolve(order, extra=extra) if extra else order


def _read_order(response: Response, data: dict[str, object]) -> UncheckedOrder:
    try:
        return structure(data, UncheckedOrder, "data")
    except ShapeError as error:
        problems, text = error.problems, str(error)
    order_id = find_order(response.body).order_id
    for path, check in _CHECK_OF_FIELD.items():
        if path in problems and order_id is not None:
            raise _untrusted(response, order_id, check, f"{path} {problems[path]}")
    raise invalid(response, text, *problems)


def _read_invoice(response: Response, order: UncheckedOrder) -> bolt11.Invoice:
    try:
        return bolt11.decode(order.payment_request)
    except InvoiceError as error:
        raise _untrusted(response, order.order_id, "invoice", str(error)) from error


def _untrusted(
    response: Response, order_id: str, check: str, problem: str
) -> UntrustedOrderError:
    return UntrustedOrderError(
        problem,
        check=check,
        order_id=order_id,
        status=response.status,
        body=response.body,
    )
