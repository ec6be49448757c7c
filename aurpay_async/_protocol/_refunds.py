"""Paying orders back ("Get Orders Refund Info", "Orders Refund")."""

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


#: The money may have moved: a time is no reason to say that it is not known.
_SIDE: Final = {"refund_date": ""}


def build_get_refund(order_id: str) -> Request:
    """``GET /api/v2/order/refund-info/{order_id}``."""
    return get(
        "get_refund",
        f"/api/v2/order/refund-info/{quote_segment(order_id)}",
        order_id=order_id,
    )


def parse_get_refund(response: Response, order_id: str) -> RefundInfo:
    """What there is to pay back of the order that was asked for.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if the answer is not the documented shape, or about
            another order.
    """
    data = read_envelope(response, Effect.READ)
    info = read_record(response, data, RefundInfo)
    require_order(response, info.order_id, order_id, "data.order_id")
    return info


def build_refund_order(order_id: str) -> Request:
    """``POST /api/v2/order/refund/{order_id}``: no body is documented."""
    path = f"/api/v2/order/refund/{quote_segment(order_id)}"
    return post("refund_order", path, Effect.TRANSFER, order_id=order_id)


def parse_refund_order(response: Response, order_id: str) -> Refund:
    """What became of a refund, with an envelope around it or without one.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if the answer is neither the documented shape nor that
            in an envelope, or about another order. Money may have moved.
    """
    bare = _bare(response)
    if bare is not None:
        data, path = bare, ""
    else:
        data, path = read_envelope(response, Effect.TRANSFER), "data"
    refund = read_record(response, data, Refund, path, _SIDE)
    require_order(response, refund.order_id, order_id, f"{path}.order_id".lstrip("."))
    return refund


def _bare(response: Response) -> Mapping[str, object] | None:
    """The answer, if it is the documented one: it has no envelope, and says no no."""
    if response.body_error is not None:
        return None
    try:
        answer = load_object(response.body)
    except SchemaError:
        return None
    is_bare = "code" not in answer and "data" not in answer
    return answer if is_bare and answer.get("result", True) is True else None
