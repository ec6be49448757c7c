"""Looking for the order of an attempt whose outcome nobody knows.

What fits need not be it: another cart of the same price in the same minutes fits as
well. So what is found is watched and told to people, and settles nothing; only the
nonce that a callback brings back, or a person, says whose order it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._lost import LostOrder
from .._order_life import OrderStatus
from ..errors import NotFoundError
from ._records import Change
from ._schedule import end_of
from ._states import ENDED, UNPROVEN, AttemptState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._models import Order
    from ..callbacks import Kind
    from ._desk import Desk
    from ._records import Attempt

#: Of orders that fit, so many are written down. More of them help nobody.
MAX_SUSPECTS: Final = 100

#: So many are asked about one by one; of more, the list tells with fewer requests.
_FEW: Final = 5


async def search(desk: Desk, attempt: Attempt) -> Sequence[Order]:
    """The orders at the platform that may be its own: those that are nobody else's."""
    if attempt.state is AttemptState.FOUND and len(attempt.suspects) <= _FEW:
        return await _look_again(desk, attempt)
    lost = LostOrder(
        price=attempt.price,
        currency=attempt.currency,
        sent_at=attempt.sent_at or attempt.opened_at,
    )
    known = await desk.rows.known_near(attempt)
    return (await desk.client.find_order(lost, known=known)).orders


async def _look_again(desk: Desk, attempt: Attempt) -> Sequence[Order]:
    """As `search`, of those that were found before."""
    known = await desk.rows.known_near(attempt)
    found: list[Order] = []
    for order_id in attempt.suspects.keys() - known:
        try:
            found.append(await desk.client.get_order(order_id))
        except NotFoundError:
            continue
    return found


async def note(
    desk: Desk, connection: AsyncConnection, nonce: str, orders: Sequence[Order]
) -> Change:
    """Write down what a search came to."""
    _, attempt = await desk.held(connection, nonce)
    if attempt.state not in {*UNPROVEN, AttemptState.ABSENT}:
        return Change(attempt=attempt, before=attempt.state)
    now = desk.clock.now()
    suspects = {order.order_id: order.status for order in orders[:MAX_SUSPECTS]}
    to = _verdict(attempt, suspects, now)
    after = await desk.move(
        connection, attempt, (to,), suspects=suspects, looked_at=now
    )
    return Change(attempt=after, before=attempt.state)


def _verdict(
    attempt: Attempt, suspects: Mapping[str, OrderStatus], now: datetime
) -> AttemptState:
    last = end_of(attempt)
    is_over = last is not None and now >= last
    if not suspects:
        return AttemptState.ABSENT if is_over else AttemptState.LOST
    # One that was found only now, or that the platform has as PENDING or as paid, is
    # asked about again, whatever the clock says.
    ended = all(status in ENDED for status in suspects.values())
    if is_over and ended and attempt.state is AttemptState.FOUND:
        return AttemptState.ABSENT
    return AttemptState.FOUND


async def candidates(desk: Desk, attempt: Attempt, kind: Kind) -> Sequence[Order]:
    """The orders that a callback may be about whose nonce is this attempt's."""
    orders = await search(desk, attempt)
    async with desk.rows.writing() as connection:
        await note(desk, connection, attempt.nonce, orders)
    if kind == "paid":
        return [order for order in orders if order.status.is_paid]
    # What is not overdue may be another lost one's, and may be paid later.
    overdue = all(order.status is OrderStatus.OVERDUE for order in orders)
    return orders if overdue else []
