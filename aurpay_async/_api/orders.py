"""Parts that the endpoints share: requests, and records parsed from responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import quote

import attrs

from .._converter import SchemaError, as_object, structure, structure_with_extra
from .._envelope import invalid, order_evidence, read_envelope
from .._http import Effect, Request
from .._paging import Page
from ..errors import UntrustedOrderError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._http import Response
    from .._models import NewOrder

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
    order: NewOrder | None = None,
    order_id: str | None = None,
) -> Request:
    """Build a POST request; `order` is the order that it creates."""
    return Request(
        operation=operation,
        method="POST",
        path=path,
        effect=effect,
        headers=WRITE_HEADERS if body else READ_HEADERS,
        body=body,
        reference=None if order is None else order.reference,
        attempt_id=None if order is None else order.attempt_id,
        order_id=order_id,
    )


def quote_segment(value: str) -> str:
    """Percent-encode a string as one segment of a path."""
    return quote(value, safe="")


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
