"""``aurpay order find``: find the order of a request with an unknown outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .._client import AurpayClient
from .._lost import OrderQuery
from ..errors import InvalidRequestError, shown
from ._arguments import (  # noqa: TC001 - read by cyclopts
    Currency,
    OutputOption,
    Price,
    Several,
)
from ._failures import FAILED
from ._list import show_rows
from ._order_list import ORDERS
from ._order_view import detail_members, detail_rows
from ._screen import Output
from ._times import parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from .._lost import OrderSearchResult


async def find_order(
    price: Price,
    currency: Currency,
    /,
    *,
    sent_at: Annotated[
        str,
        Parameter(
            help="When the last request to create it was sent: ISO 8601, UTC if it "
            "has no zone."
        ),
    ],
    chain: Annotated[
        str | None,
        Parameter(help="Chain of a payment; without it, a Lightning order."),
    ] = None,
    coin: Annotated[str | None, Parameter(help="Coin of a payment.")] = None,
    known: Annotated[
        Several,
        Parameter(
            help="Id of an order that belongs to another request; may be repeated."
        ),
    ] = (),
    output_format: OutputOption = "text",
) -> int:
    """Search for an order, and return 1 unless exactly one matches."""
    output = Output(output_format)
    query = _query(price, currency, _parse_sent_at(sent_at), chain, coin)
    async with AurpayClient.from_env() as aurpay:
        with output.waiting("Searching the orders"):
            result = await aurpay.find_order(query, known=known)
    output.json(
        "found",
        outcome=result.outcome,
        orders=[detail_members(order) for order in result.orders],
    )
    return _show_result(output, result)


def _query(
    price: str, currency: str, sent_at: datetime, chain: str | None, coin: str | None
) -> OrderQuery:
    if chain is None and coin is None:
        return OrderQuery(price=price, currency=currency, sent_at=sent_at)
    if chain is None or coin is None:
        raise InvalidRequestError(
            "--chain and --coin are given together, or neither of them", field="coin"
        )
    return OrderQuery(
        price=price, currency=currency, sent_at=sent_at, chain=chain, coin=coin
    )


def _parse_sent_at(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequestError(
            f"not a time: {shown(text)}",
            field="sent_at",
            hint="write it like 2026-01-31T12:00:00Z",
        ) from None


def _show_result(output: Output, result: OrderSearchResult) -> int:
    if result.outcome == "found":
        output.rows(detail_rows(result.order), f"Order {result.order.order_id}")
        output.status(
            "found: the only match, unless another buyer requested the same amount"
        )
        return 0
    if result.outcome == "several":
        show_rows(output, ORDERS, result.orders)
        output.line()
        output.status(
            "several orders match: exclude those of other requests with --known",
            "problem",
        )
        return FAILED
    output.status(
        "no order matches yet: search again before you create another", "problem"
    )
    return FAILED
