"""``aurpay order refund``: show the refund, ask for confirmation, and send it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, NamedTuple

from cyclopts import Parameter

from .._client import AurpayClient
from ._arguments import Flag, OrderId, OutputOption  # noqa: TC001 - read by cyclopts
from ._calling import open_client
from ._confirm import Plan, abort, confirm, require_terminal
from ._order_view import detail_members, detail_rows
from ._screen import Output, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models import Order
    from .._models._refunds import RefundInfo


class _Refundable(NamedTuple):
    """An order, and what the platform would refund of it."""

    order: Order
    info: RefundInfo


def refund_order(
    order_id: OrderId,
    /,
    *,
    yes: Annotated[Flag, Parameter(help="Send it without asking.")] = False,
    output_format: OutputOption = "text",
) -> int:
    """Refund an order if the user or ``--yes`` confirms it."""
    output = Output(output_format)
    if not yes and (code := require_terminal(output, "aurpay order show")):
        return code
    refundable = asyncio.run(_query_refund(output, order_id))
    if not confirm(output, _refund_plan(refundable), yes=yes):
        return abort(output)
    return asyncio.run(_send_refund(output, refundable))


async def _query_refund(output: Output, order_id: str) -> _Refundable:
    async with AurpayClient.from_env() as aurpay:
        with output.waiting("Querying the order"):
            order = await aurpay.get_order(order_id)
            return _Refundable(order, await aurpay.get_refund(order_id))


def _refund_plan(refundable: _Refundable) -> Plan:
    order, info = refundable
    return Plan(
        f"Refund of order {order.order_id}",
        [*detail_rows(order), *_refund_rows(refundable)],
        f"Refund {info.amount:f} {info.coin}?",
    )


def _refund_rows(refundable: _Refundable) -> Iterator[Row]:
    order, info = refundable
    yield Row("refund", f"{info.amount:f} {info.coin} on {info.chain}")
    if order.refundable is False:
        yield Row("refundable", "no, according to the platform", "warning")
    receiver = "not documented by Aurpay: try it with a small order first"
    yield Row("receiver", receiver, "warning")


async def _send_refund(output: Output, refundable: _Refundable) -> int:
    order, info = refundable
    async with open_client(output) as aurpay:
        with output.waiting("Refunding the order"):
            refund = await aurpay.refund_order(order.order_id)
    output.json(
        "refund",
        order_id=refund.order_id,
        status=refund.status,
        amount=f"{refund.amount:f}",
        date=refund.date,
        info={"chain": info.chain, "coin": info.coin, "amount": f"{info.amount:f}"},
        order=detail_members(order),
    )
    output.status(f"the platform answered {refund.status}")
    output.rows([Row("amount", f"{refund.amount:f}"), Row("date", refund.date)])
    return 0
