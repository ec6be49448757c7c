"""``aurpay order find``: an order that a failed create may have left."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._client import AurpayClient
from .._lost import OrderQuery
from ..errors import InvalidRequestError, shown
from ._failures import FAILED
from ._list import show_rows
from ._order_list import ORDERS
from ._order_view import detail_members, detail_rows
from ._times import parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from .._lost import OrderSearchResult
    from ._act import Job
    from ._screen import Screen


class Sought(NamedTuple):
    """What is known of it, as it was given."""

    price: str
    currency: str
    sent_at: str
    #: Both, or none: Lightning.
    chain: str | None
    coin: str | None
    known: tuple[str, ...]


def find_order(screen: Screen, sought: Sought) -> Job:
    """Look for it; everything but exactly one order is a no."""
    return _find(screen, _lost(sought), sought.known)


async def _find(screen: Screen, lost: OrderQuery, known: tuple[str, ...]) -> int:
    async with AurpayClient.from_env() as aurpay:
        with screen.waiting("Looking through the orders"):
            found = await aurpay.find_order(lost, known=known)
    screen.record(
        "found",
        outcome=found.outcome,
        orders=[detail_members(order) for order in found.orders],
    )
    return _show(screen, found)


def _lost(sought: Sought) -> OrderQuery:
    price, currency, sent_at, chain, coin, _ = sought
    time = _time(sent_at)
    if chain is None and coin is None:
        return OrderQuery(price=price, currency=currency, sent_at=time)
    if chain is None or coin is None:
        raise InvalidRequestError(
            "--chain and --coin are given together, or neither of them", field="coin"
        )
    return OrderQuery(
        price=price, currency=currency, sent_at=time, chain=chain, coin=coin
    )


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequestError(
            f"not a time: {shown(text)}",
            field="sent_at",
            hint="write it like 2026-01-31T12:00:00Z",
        ) from None


def _show(screen: Screen, found: OrderSearchResult) -> int:
    if found.outcome == "found":
        screen.title(f"Order {found.order.order_id}")
        screen.rows(detail_rows(found.order))
        screen.step("found: the only order that fits, if no other buyer asked the same")
        return 0
    if found.outcome == "several":
        show_rows(screen, ORDERS, found.orders)
        screen.line()
        screen.step("several may be it: name those of others with --known", "problem")
        return FAILED
    screen.step("none so far: look again before you create another", "problem")
    return FAILED
