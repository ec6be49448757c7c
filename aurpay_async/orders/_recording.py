"""Writing down what the platform says of an order: here a reference is settled.

Whatever brings the news (a callback, a look, a person) comes through `record`, so money
is counted once, and what comes late or twice changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._order_life import OrderStatus
from ..callbacks._compare import compare_read
from ..errors import CallbackReferenceError, shown
from ._records import Change, watched
from ._states import AttemptState, wanted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._models import Order
    from ._desk import Desk
    from ._records import Attempt


async def record(
    desk: Desk, connection: AsyncConnection, nonce: str, order: Order
) -> Change:
    """What the platform says of an attempt's order.

    Args:
        desk: Where.
        connection: In whose transaction.
        nonce: The attempt's.
        order: As it was read from the platform.

    Raises:
        UnknownOrderError: the book has no such attempt.
        CallbackReferenceError: it is another one's order, or has another price,
            currency or amount.
    """
    entry, attempt = await desk.held(connection, nonce)
    now = desk.clock.now()
    held = attempt.status or OrderStatus.PENDING
    if attempt.order_id in {None, order.order_id} and not held.can_become(order.status):
        # It was read before what the book knows already: paid beats timeout.
        after = await desk.move(connection, attempt, (), looked_at=now)
        return Change(attempt=after, before=attempt.state)
    await _require_its_own(desk, connection, attempt, order)
    settled = entry.settled_by not in {None, nonce}
    after = await desk.move(
        connection,
        attempt,
        wanted(order.status, settled=settled, over=now >= attempt.ends_at),
        order_id=order.order_id,
        status=order.status,
        looked_at=now,
        suspects={},
    )
    change = Change(attempt=after, before=attempt.state)
    if change.settled:
        await desk.rows.settle(connection, after)
    return change


async def claim(desk: Desk, connection: AsyncConnection, nonce: str) -> Change:
    """A genuine callback says that an attempt is paid, and nobody can confirm it."""
    _, attempt = await desk.held(connection, nonce)
    # Where the order is known, the platform is asked about it: soon.
    after = await desk.move(
        connection, attempt, (AttemptState.CLAIMED,), next_look_at=desk.clock.now()
    )
    return Change(attempt=after, before=attempt.state)


async def _require_its_own(
    desk: Desk, connection: AsyncConnection, attempt: Attempt, order: Order
) -> None:
    known = attempt.order or watched(attempt, order)
    compare_read(known, order)
    if await desk.rows.is_taken(connection, order.order_id, attempt.nonce):
        raise CallbackReferenceError(
            f"order {shown(order.order_id)} is that of another attempt", rule="order"
        )
