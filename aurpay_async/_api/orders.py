"""Endpoints of orders and refunds: build a request, parse its response."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import quote

import attrs

from .. import bolt11
from .._core.http import Effect, Request
from .._core.json import SchemaError, as_object, load_object
from ..errors import InvoiceError, UntrustedOrderError
from .checks import MAX_SKEW_S, check_order
from .envelope import invalid, order_evidence, rejection
from .lightning_order import LightningOrder
from .models import Order, Page, UncheckedOrder
from .payment_models import Refund, RefundInfo
from .wire import dump_new_order, structure, structure_with_extra, wire_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._core.http import Response
    from .arguments import NewOrder
    from .checks import InvoicePolicy


_T = TypeVar("_T", bound=attrs.AttrsInstance)

#: Headers of a request without a body, and of one with JSON.
READ_HEADERS: Final = {"Accept": "application/json"}

WRITE_HEADERS: Final = {"Content-Type": "application/json", **READ_HEADERS}


def get(operation: str, path: str, *, order_id: str | None = None) -> Request:
    """Build a request that changes nothing."""
    return Request(
        operation=operation,
        method="GET",
        path=path,
        effect=Effect.READ,
        headers=READ_HEADERS,
        order_id=order_id,
    )


def post(
    operation: str,
    path: str,
    effect: Effect,
    body: bytes = b"",
    *,
    order_id: str | None = None,
) -> Request:
    """Build a POST request."""
    return Request(
        operation=operation,
        method="POST",
        path=path,
        effect=effect,
        headers=WRITE_HEADERS if body else READ_HEADERS,
        body=body,
        order_id=order_id,
    )


def build_create(operation: str, path: str, order: NewOrder) -> Request:
    """Build the request that creates `order`."""
    return Request(
        operation=operation,
        method="POST",
        path=path,
        effect=Effect.CREATE,
        headers=WRITE_HEADERS,
        body=dump_new_order(order),
        reference=order.reference,
        attempt_id=order.attempt_id,
    )


#: Percent-encode a string as one segment of a path.
quote_segment: Final = partial(quote, safe="")


def read_envelope(response: Response, effect: Effect) -> dict[str, object]:
    """Return the `data` object of a response with a status of success.

    Raises:
        APIError: if the envelope reports a rejection.
        InvalidResponseError: if there is no envelope, no object in it, or it
            contradicts itself: such as a rejected create that names an order.
    """
    data = read_data(response, effect)
    if not isinstance(data, dict):
        raise invalid(response, "data is not a JSON object", "data")
    return cast("dict[str, object]", data)


def read_data(response: Response, effect: Effect) -> object:
    """Return `data` of any type, ``None`` if missing; else as `read_envelope`."""
    if response.body_error is not None:
        raise invalid(response, f"the response {response.body_error}")
    try:
        envelope = load_object(response.body)
    except SchemaError as error:
        raise invalid(response, str(error)) from None
    code, result = envelope.get("code"), envelope.get("result", True)
    # `bool` is a subclass of `int`, and `true` is not a code.
    if type(code) is not int:
        raise invalid(response, "code is not an integer", "code")
    if code:
        raise rejection(response, envelope, code, effect)
    if type(result) is not bool:
        raise invalid(response, "result is neither true nor false", "result")
    if not result:
        raise invalid(response, "code is 0, but result is false", "code", "result")
    return envelope.get("data")


#: For a record that must be readable in all fields.
_NO_FALLBACKS: Final[Mapping[str, object]] = {}


def read_record(
    response: Response,
    data: Mapping[str, object],
    kind: type[_T],
    path: str = "data",
    fallbacks: Mapping[str, object] = _NO_FALLBACKS,
) -> _T:
    """Return the record in an object of a response, with unknown fields as `extra`.

    Args:
        response: Aurpay's response.
        data: The object in it.
        kind: The type of the record.
        path: The path of the object in the response.
        fallbacks: As for `structure_with_extra`.

    Raises:
        InvalidResponseError: with the path of every unreadable field, if one of them
            has no fallback.
    """
    try:
        record, extra = structure_with_extra(data, kind, path, fallbacks)
    except SchemaError as error:
        raise invalid(response, str(error), *error.problems) from None
    return attrs.evolve(cast("Any", record), extra=extra) if extra else record


def require_order(response: Response, order_id: str, requested: str, path: str) -> None:
    """Reject a response about another order than the requested one."""
    if order_id != requested:
        raise invalid(response, f"{path} is the id of another order", path)


@attrs.frozen(kw_only=True)
class _PageHead:
    """The position of a page in its list."""

    page: int
    size: int
    total: int
    max_page: int


def read_page(
    response: Response, kind: type[_T], fallbacks: Mapping[str, object]
) -> Page[_T]:
    """Return one page of a list. Its rows are in ``data.data``.

    Args:
        response: Aurpay's response.
        kind: The type of the records.
        fallbacks: As for `structure_with_extra`, for each row. Most fields should have
            one: the caller may be searching for another row of the page.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response does not have the documented shape. The
            error names a row without a readable id; such a row is never left out.
    """
    data = read_envelope(response, Effect.READ)
    try:
        head = structure(data, _PageHead, "data")
    except SchemaError as error:
        raise invalid(response, str(error), *error.problems) from None
    rows = data.get("data")
    if not isinstance(rows, list):
        raise invalid(response, "data.data is not a list", "data.data")
    return Page(
        page=head.page,
        size=head.size,
        total=head.total,
        max_page=head.max_page,
        items=tuple(
            _read_row(response, row, kind, f"data.data[{index}]", fallbacks)
            for index, row in enumerate(cast("list[object]", rows))
        ),
    )


def _read_row(
    response: Response,
    row: object,
    kind: type[_T],
    path: str,
    fallbacks: Mapping[str, object],
) -> _T:
    data = as_object(row)
    if data is None:
        raise invalid(response, f"{path} is not a JSON object", path)
    return read_record(response, data, kind, path, fallbacks)


def read_created(
    response: Response,
    data: Mapping[str, object],
    kind: type[_T],
    check_by_field: Mapping[str, str],
    fallbacks: Mapping[str, object],
) -> tuple[_T, dict[str, object]]:
    """Return the record of an order that was just created, unchecked.

    Args:
        response: Aurpay's response.
        data: The object in it.
        kind: The type of the record.
        check_by_field: The check that fails if a field cannot be read: the order then
            exists, but must not be shown to a payer.
        fallbacks: As for `structure_with_extra`.

    Raises:
        UntrustedOrderError: if one of the fields in `check_by_field` cannot be read,
            and the order id can.
        InvalidResponseError: if another required field cannot be read.
    """
    try:
        return structure_with_extra(data, kind, "data", fallbacks)
    except SchemaError as error:
        problems, message = error.problems, str(error)
    order_id = order_evidence(response.body).order_id
    for path, check in check_by_field.items():
        if path in problems and order_id is not None:
            raise untrusted(response, order_id, check, f"{path} {problems[path]}")
    raise invalid(response, message, *problems)


def untrusted(
    response: Response, order_id: str, check: str, problem: str
) -> UntrustedOrderError:
    """Return the error for an order that exists and must not be shown to a payer."""
    return UntrustedOrderError(
        problem,
        check=check,
        order_id=order_id,
        status=response.status,
        body=response.body,
    )


_LIGHTNING_CHECK_BY_FIELD: Final = {
    "data.amount": "amount",
    "data.payment_request": "invoice",
    "data.payment_addr": "payment_secret",
    "data.pay_url": "pay_url",
}

#: Optional fields: an unreadable one must not cost the merchant the order.
_LIGHTNING_FALLBACKS: Final = {"create_time": None, "currency": None}


#: Build ``POST /api/bln/order`` for a `NewOrder`.
build_create_order: Final = partial(build_create, "create_order", "/api/bln/order")


def parse_create_order(
    response: Response, requested: NewOrder, policy: InvoicePolicy, now: float
) -> LightningOrder:
    """Return the order in a response, if a payer may see it, and remember it.

    Args:
        response: Aurpay's response.
        requested: The request for the order.
        policy: What the client accepts, and the orders that it remembers.
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
    try:
        invoice = bolt11.decode(order.payment_request)
    except InvoiceError as error:
        raise untrusted(response, order.order_id, "invoice", str(error)) from error
    result = check_order(order, invoice, policy, now)
    if result.failed:
        check, problem = result.failed
        raise untrusted(response, order.order_id, check, problem)
    if policy.seen is not None:
        policy.seen.add(order.order_id, invoice.payment_hash)
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
        APIError: if Aurpay rejected the request.
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
        APIError: if Aurpay rejected the request.
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
