"""Conversion of attempts to rows and back, also of rows that other code has damaged."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from .._api.models import OrderStatus
from ..errors import OrderStoreError, shown
from ._models import Attempt, AttemptState
from ._planner import attention_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Row


_T = TypeVar("_T")

#: The fields of `Attempt`, which are columns as well.
_FIELDS: Final = [field.alias or field.name for field in attrs.fields(Attempt)]


def row_of(attempt: Attempt) -> dict[str, object]:
    """Return the row of an attempt: for each field, and what a person has to do."""
    row = attrs.asdict(attempt, recurse=False)
    row["order_json"] = row.pop("_order_json")
    row["price"] = f"{attempt.price:f}"
    row["candidates"] = json.dumps(attempt.candidates) if attempt.candidates else None
    row["attention"] = attention_for(attempt)
    # Drivers choose the type of a column by the exact type of its value.
    return {name: str(v) if isinstance(v, str) else v for name, v in row.items()}


def _price(text: str) -> Decimal:
    price = Decimal(text)
    if not price.is_finite():
        raise ValueError(text)
    return price


def _candidates(text: str | None) -> dict[str, OrderStatus]:
    found = json.loads(text or "{}")
    return {order_id: OrderStatus(status) for order_id, status in found.items()}


def _converted(convert: Callable[[Any], _T], value: object) -> _T | None:
    """Convert the value of a column; return ``None`` if it is damaged."""
    try:
        return convert(value)
    # JSON of another shape raises others than ValueError and ArithmeticError.
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError):
        return None


def read_price(text: str) -> Decimal | None:
    """Return the price of a row, or ``None`` if it is damaged."""
    return _converted(_price, text)


#: The conversions of columns, and the values in place of those that are damaged.
_CONVERSIONS: Final[Mapping[str, tuple[Callable[[Any], object], object]]] = {
    "price": (_price, Decimal(0)),
    "state": (AttemptState, AttemptState.UNKNOWN),
    "candidates": (_candidates, {}),
}


def read_attempt(row: Row[Any]) -> tuple[Attempt, OrderStoreError | None]:
    """Return the attempt of a row that `row_of` returned.

    If other code has damaged the row, return an error as well: then the attempt is no
    more than the name of the row.
    """
    fields: dict[str, Any] = {name: getattr(row, f"a_{name}") for name in _FIELDS}
    if fields["status"] is not None:
        fields["status"] = OrderStatus(fields["status"])
    damaged: list[str] = []
    for name, (convert, substitute) in _CONVERSIONS.items():
        value = _converted(convert, fields[name])
        if value is None:
            damaged.append(name)
        fields[name] = substitute if value is None else value
    attempt = Attempt(**fields)
    row_name = f"attempt {shown(attempt.attempt_id)} in aurpay_attempts"
    error = _damaged_row(attempt.reference, row_name, damaged) if damaged else None
    return attempt, error


def _damaged_row(reference: str, row: str, columns: Sequence[str]) -> OrderStoreError:
    error = OrderStoreError(
        f"the row of {row}, of reference {shown(reference)}, cannot be read: other "
        f"code has changed its {' and '.join(columns)}",
        reference=reference,
    )
    error.advice = "write the values of a backup into the row"
    return error


def attempt_of(row: Row[Any]) -> Attempt:
    """Return the attempt of a row; raise the error of a damaged one."""
    attempt, error = read_attempt(row)
    if error is not None:
        raise error
    return attempt


def price_of_reference(row: Row[Any]) -> Decimal:
    """Return the price of a reference; raise the error of a damaged one."""
    price = read_price(row.price)
    if price is None:
        raise _damaged_row(row.reference, "aurpay_references", ["price"])
    return price
