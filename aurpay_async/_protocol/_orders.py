"""Queries of orders ("Get Orders", "Get Orders Details")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._envelope import read_envelope
from .._http import Effect
from .._models import Order
from .._wire_names import wire_fields
from ._common import get, quote_segment, read_page, read_record, require_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._http import Request, Response
    from .._paging import Page


#: Order detail must have these: they identify the order, or say how much was paid.
_REQUIRED_FIELDS: Final = frozenset(
    {"order_id", "status", "amount", "vs_price", "vs_currency"}
)

#: An unreadable optional field becomes ``None``.
_ORDER_FALLBACKS: Final = dict.fromkeys(wire_fields(Order) - _REQUIRED_FIELDS)

#: A row of a list needs its id alone: most rows are other orders than the one that is
#: searched for, and a malformed one must not hide it. The empty status is unknown:
#: neither paid nor unpaid.
_ORDER_ROW_FALLBACKS: Final = {
    **dict.fromkeys(wire_fields(Order) - {"order_id"}),
    "status": "",
}


def build_get_order(order_id: str) -> Request:
    """Build ``GET /api/v2/order/detail/{order_id}``."""
    return get(
        "get_order",
        f"/api/v2/order/detail/{quote_segment(order_id)}",
        order_id=order_id,
    )


def read_order(response: Response) -> Order:
    """Return the order in a response, without comparing its id.

    Raises:
        APIError: if the platform rejected the request.
        InvalidResponseError: if the response does not have the documented shape.
    """
    data = read_envelope(response, Effect.READ)
    return read_record(response, data, Order, fallbacks=_order_fallbacks(data))


def _order_fallbacks(data: Mapping[str, object]) -> Mapping[str, object]:
    # An empty string means the same as null. Any other string has to be a number.
    empty = [name for name in ("amount", "vs_price") if data.get(name) == ""]
    return {**_ORDER_FALLBACKS, **dict.fromkeys(empty)} if empty else _ORDER_FALLBACKS


def parse_get_order(response: Response, order_id: str) -> Order:
    """Return the order in a response, if it is the requested one.

    Raises:
        APIError: if the platform rejected the request.
        InvalidResponseError: if the response does not have the documented shape, or is
            about another order.
    """
    order = read_order(response)
    require_order(response, order.order_id, order_id, "data.order_id")
    return order


def build_list_orders(page: int, size: int) -> Request:
    """Build ``GET /api/v2/order/``. Aurpay documents it with a trailing slash."""
    return get("list_orders", f"/api/v2/order/?page={page}&size={size}")


def parse_list_orders(response: Response) -> Page[Order]:
    """Return a page of orders. Raises as `read_page`."""
    return read_page(response, Order, _ORDER_ROW_FALLBACKS)
