"""Orders as the platform has them ("Get Orders", "Get Orders Details")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._envelope import read_envelope
from .._http import Safety
from .._models import Order
from ._common import get, read_page, read_record, require_order, segment

if TYPE_CHECKING:
    from .._http import Request, Response
    from .._paging import Page


def build_get_order(order_id: str) -> Request:
    """``GET /api/v2/order/detail/{order_id}``."""
    return get("get_order", f"/api/v2/order/detail/{segment(order_id)}")


def read_order(response: Response) -> Order:
    """Return the order in an answer, whichever it is.

    Raises:
        APIError: if the platform rejected the request.
        InvalidResponseError: if the answer is not the documented shape.
    """
    return read_record(response, read_envelope(response, Safety.READ), Order)


def parse_get_order(response: Response, order_id: str) -> Order:
    """Return the order in an answer, if it is the one that was asked for.

    Raises:
        APIError: if the platform rejected the request.
        InvalidResponseError: if the answer is not the documented shape, or about
            another order.
    """
    order = read_order(response)
    require_order(response, order.order_id, order_id, "data.order_id")
    return order


def build_list_orders(page: int, size: int) -> Request:
    """``GET /api/v2/order/``: the slash at its end is the documentation's."""
    return get("list_orders", f"/api/v2/order/?page={page}&size={size}")


def parse_list_orders(response: Response) -> Page[Order]:
    """A page of orders; raises as `read_page`."""
    return read_page(response, Order)
