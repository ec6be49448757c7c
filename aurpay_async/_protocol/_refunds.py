"""Refunds of orders ("Get Orders Refund Info", "Orders Refund")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._converter import SchemaError, load_object
from .._envelope import read_envelope
from .._http import Effect
from .._models._refunds import Refund, RefundInfo
from ._common import get, post, quote_segment, read_record, require_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._http import Request, Response


#: Money may have moved: an unreadable date must not make the outcome unknown.
_REFUND_FALLBACKS: Final = {"refund_date": ""}


def build_get_refund(order_id: str) -> Request:
    """Build ``GET /api/v2/order/refund-info/{order_id}``."""
    return get(
        "get_refund",
        f"/api/v2/order/refund-info/{quote_segment(order_id)}",
        order_id=order_id,
    )


def parse_get_refund(response: Response, order_id: str) -> RefundInfo:
    """Return the refundable amount of the requested order.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response does not have the documented shape, or is
            about another order.
    """
    data = read_envelope(response, Effect.READ)
    info = read_record(response, data, RefundInfo)
    require_order(response, info.order_id, order_id, "data.order_id")
    return info


def build_refund_order(order_id: str) -> Request:
    """Build ``POST /api/v2/order/refund/{order_id}``. No body is documented."""
    path = f"/api/v2/order/refund/{quote_segment(order_id)}"
    return post("refund_order", path, Effect.TRANSFER, order_id=order_id)


def parse_refund_order(response: Response, order_id: str) -> Refund:
    """Return the result of a refund, from a response with or without an envelope.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response has neither the documented shape nor that
            shape in an envelope, or is about another order. Money may have moved.
    """
    bare = _bare_refund(response)
    if bare is not None:
        data, path = bare, ""
    else:
        data, path = read_envelope(response, Effect.TRANSFER), "data"
    refund = read_record(response, data, Refund, path, _REFUND_FALLBACKS)
    require_order(response, refund.order_id, order_id, f"{path}.order_id".lstrip("."))
    return refund


def _bare_refund(response: Response) -> Mapping[str, object] | None:
    """Return the response if it has the documented shape: no envelope, no rejection."""
    if response.body_error is not None:
        return None
    try:
        members = load_object(response.body)
    except SchemaError:
        return None
    is_bare = "code" not in members and "data" not in members
    return members if is_bare and members.get("result", True) is True else None
