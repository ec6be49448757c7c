"""Orders as the platform has them ("Get Orders", "Get Orders Details")."""

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


#: What identifies an order, or counts money.
_STRICT: Final = frozenset({"order_id", "status", "amount", "vs_price", "vs_currency"})

#: All the rest: it is absent where it cannot be read.
_SIDE: Final = dict.fromkeys(wire_fields(Order) - _STRICT)

#: Of a row in a list, the id alone is needed: most rows are of other orders than the
#: one that is searched for, and an odd one must not hide it. An empty status is not
#: known, neither paid nor unpaid.
_SIDE_OF_ROW: Final = {**dict.fromkeys(wire_fields(Order) - {"order_id"}), "status": ""}


def build_get_order(order_id: str) -> Request:
    """``GET /api/v2/order/detail/{order_id}``."""
    return get(
        "get_order",
        f"/api/v2/order/detail/{quote_segment(order_id)}",
        order_id=order_id,
    )


def read_order(response: Response) -> Order:
    """Return the order in an answer, whichever it is.

    Raises:
        APIError: if the platform rejected the request.
        InvalidResponseError: if the answer is not the documented shape.
    """
    data = read_envelope(response, Effect.READ)
    return read_record(response, data, Order, side=_side_fields(data))


def _side_fields(data: Mapping[str, object]) -> Mapping[str, object]:
    # An empty text says as little as null does; any other one may be a number.
    empty = [name for name in ("amount", "vs_price") if data.get(name) == ""]
    return {**_SIDE, **dict.fromkeys(empty)} if empty else _SIDE


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
    return read_page(response, Order, _SIDE_OF_ROW)
