"""``aurpay order refund``: shows what would be paid back, asks, and pays it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._client import AurpayClient
from ._act import run_job
from ._calling import open_client
from ._confirm import Plan, can_ask, consents, decline, refuse
from ._order_view import detail_members, detail_rows
from ._screen import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._models import Order
    from .._models._refunds import RefundInfo
    from ._act import Job
    from ._screen import Screen


class _Found(NamedTuple):
    """The order as it stands, and what there is to pay back of it."""

    order: Order
    info: RefundInfo


def refund_order(screen: Screen, order_id: str, *, yes: bool) -> int | Job:
    """Pay an order back, if somebody says so who has seen it."""
    if not (yes or can_ask()):
        return refuse(screen, "aurpay order show")
    found = run_job(_look(screen, order_id))
    if not consents(screen, _plan(found), yes=yes):
        return decline(screen)
    return _refund(screen, found)


async def _look(screen: Screen, order_id: str) -> _Found:
    async with AurpayClient.from_env() as aurpay:
        with screen.waiting("Asking for the order"):
            order = await aurpay.get_order(order_id)
            return _Found(order, await aurpay.get_refund(order_id))


def _plan(found: _Found) -> Plan:
    order, info = found
    back = f"{info.amount:f} {info.coin}"
    return Plan(
        f"Order {order.order_id} is to be paid back",
        [*detail_rows(order), *_rows(found)],
        f"Pay back {back}?",
    )


def _rows(found: _Found) -> Iterator[Row]:
    order, info = found
    yield Row("to pay back", f"{info.amount:f} {info.coin} on {info.chain}")
    if order.refundable is False:
        yield Row("refundable", "no, says the platform", "warning")
    where = "Aurpay does not document it: try it with a small order first"
    yield Row("goes to", where, "warning")


async def _refund(screen: Screen, found: _Found) -> int:
    order, info = found
    async with open_client(screen) as aurpay:
        with screen.waiting("Paying it back"):
            refund = await aurpay.refund_order(order.order_id)
    screen.record(
        "refund",
        order_id=refund.order_id,
        status=refund.status,
        amount=f"{refund.amount:f}",
        date=refund.date,
        info={"chain": info.chain, "coin": info.coin, "amount": f"{info.amount:f}"},
        order=detail_members(order),
    )
    screen.step(f"the platform answered {refund.status}")
    screen.rows([Row("amount", f"{refund.amount:f}"), Row("date", refund.date)])
    return 0
