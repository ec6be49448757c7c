"""What all families share: requests without their details, and records with a path."""

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

#: Of a request without a body, and of one with JSON.
READ_HEADERS: Final = {"Accept": "application/json"}
WRITE_HEADERS: Final = {"Content-Type": "application/json", **READ_HEADERS}


def get(operation: str, path: str, *, order_id: str | None = None) -> Request:
    """A request that changes nothing."""
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
    """A request with a body, or one that documents none; `order` is to be created."""
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


def quote_segment(text: str) -> str:
    """A text as one segment of a path, whatever is in it."""
    return quote(text, safe="")


#: A record without side fields.
_NO_SIDE_FIELDS: Final[Mapping[str, object]] = {}


def read_record(
    response: Response,
    data: Mapping[str, object],
    kind: type[_T],
    path: str = "data",
    side: Mapping[str, object] = _NO_SIDE_FIELDS,
) -> _T:
    """Return the record in an object of an answer, with the rest of it as `extra`.

    Args:
        response: What came.
        data: The object in it.
        kind: Of record.
        path: Where the object stands.
        side: As for `structure_with_extra`.

    Raises:
        InvalidResponseError: with the path of every field that cannot be read, if one
            is no side field.
    """
    try:
        record, extra = structure_with_extra(data, kind, path, side)
    except SchemaError as error:
        raise invalid(response, str(error), *error.problems) from None
    return attrs.evolve(cast("Any", record), extra=extra) if extra else record


def require_order(response: Response, order_id: str, asked: str, path: str) -> None:
    """Refuse an answer about another order than the one that was asked for."""
    if order_id != asked:
        raise invalid(response, f"{path} is another order's", path)


@attrs.frozen(kw_only=True)
class _PageHead:
    """Where a page stands in its list."""

    page: int
    size: int
    total: int
    max_page: int


def read_page(
    response: Response, kind: type[_T], side: Mapping[str, object]
) -> Page[_T]:
    """Return one page of a list, whose rows are in ``data.data``.

    Args:
        response: What came.
        kind: Of record.
        side: As for `structure_with_extra`, for a row: it may be of another order than
            the one that is searched for, so few of its fields are a reason to give no
            page.

    Raises:
        APIError: if the platform rejected the request.
        InvalidResponseError: if the answer is not the documented shape. A row without
            a readable id is named, never left out.
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
            _read_row(response, row, kind, f"data.data[{index}]", side)
            for index, row in enumerate(cast("list[object]", rows))
        ),
    )


def _read_row(
    response: Response,
    row: object,
    kind: type[_T],
    path: str,
    side: Mapping[str, object],
) -> _T:
    data = as_object(row)
    if data is None:
        raise invalid(response, f"{path} is no JSON object", path)
    return read_record(response, data, kind, path, side)


def read_created(
    response: Response,
    data: Mapping[str, object],
    kind: type[_T],
    check_by_field: Mapping[str, str],
    side: Mapping[str, object],
) -> tuple[_T, dict[str, object]]:
    """Return the record of an order that was just created, unchecked.

    Args:
        response: What came.
        data: The object in it.
        kind: Of record.
        check_by_field: Which check fails if a field cannot be read at all: then the
            order exists, but there is nothing that a payer may be shown.
        side: As for `structure_with_extra`.

    Raises:
        UntrustedOrderError: if a field of these cannot be read, and the id can.
        InvalidResponseError: if another one cannot.
    """
    try:
        return structure_with_extra(data, kind, "data", side)
    except SchemaError as error:
        problems, text = error.problems, str(error)
    order_id = order_evidence(response.body).order_id
    for path, check in check_by_field.items():
        if path in problems and order_id is not None:
            raise untrusted(response, order_id, check, f"{path} {problems[path]}")
    raise invalid(response, text, *problems)


def untrusted(
    response: Response, order_id: str, check: str, problem: str
) -> UntrustedOrderError:
    """The error for an order that exists and must not be shown to a payer."""
    return UntrustedOrderError(
        problem,
        check=check,
        order_id=order_id,
        status=response.status,
        body=response.body,
    )
