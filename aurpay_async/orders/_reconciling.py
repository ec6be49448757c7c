"""Asking the platform about what no callback told.

Rows say when they are due. Who takes one up puts it off first, if nobody else has: so
machines share the work without a lease, and one that dies leaves it to the next look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import AurpayError, CallbackError, InvalidResponseError, NotFoundError
from ._recording import record
from ._records import Change, Failure, Reconciliation
from ._schedule import another_look
from ._searching import note, search
from ._states import AttemptState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._models import Order
    from ._desk import Desk
    from ._records import Attempt, OnChange


async def reconcile(desk: Desk, *, limit: int, tell: OnChange | None) -> Reconciliation:
    """Ask about the most urgent `limit` attempts that are due."""
    due = await desk.rows.due(desk.clock.now(), limit + 1)
    more = len(due) > limit
    changes: list[Change] = []
    failures: list[Failure] = []
    asked = 0
    # The lost ones last: who may not read lists still hears of what is known.
    for attempt in sorted(due[:limit], key=lambda one: one.order_id is None):
        later = another_look(attempt, desk.clock.now())
        if not await desk.rows.postpone(attempt, later):
            continue  # another machine is on it
        asked += 1
        try:
            change = await _look_at(desk, attempt, tell)
        except AurpayError as error:
            failures.append(Failure(attempt=attempt, error=error))
            if not isinstance(
                error, NotFoundError | InvalidResponseError | CallbackError
            ):
                more = False  # not about this order: the next would fail as well
                break
        else:
            changes.extend([change] if change.changed else [])
    return Reconciliation(
        changes=tuple(changes),
        failures=tuple(failures),
        asked=asked,
        more=more,
    )


async def _look_at(desk: Desk, attempt: Attempt, tell: OnChange | None) -> Change:
    if attempt.order_id is not None:
        return await _ask(desk, attempt, attempt.order_id, tell)
    if attempt.state is AttemptState.OPENING:
        # The sender is dead: what it may have made is looked for next time.
        return await _move(desk, attempt, AttemptState.LOST, tell)
    orders = await search(desk, attempt)
    async with desk.rows.writing() as connection:
        change = await _identified(desk, connection, attempt, orders)
        return await _told(change, connection, tell)


async def _ask(
    desk: Desk, attempt: Attempt, order_id: str, tell: OnChange | None
) -> Change:
    try:
        order = await desk.client.get_order(order_id)
    except NotFoundError:
        if desk.clock.now() < attempt.ends_at:
            raise
        return await _move(desk, attempt, AttemptState.EXPIRED, tell)
    async with desk.rows.writing() as connection:
        change = await record(desk, connection, attempt.nonce, order)
        return await _told(change, connection, tell)


async def _identified(
    desk: Desk, connection: AsyncConnection, attempt: Attempt, orders: Sequence[Order]
) -> Change:
    """What a search came to; if a callback says "paid", the one that is paid is it."""
    paid = [order for order in orders if order.status.is_paid]
    if attempt.state is AttemptState.CLAIMED and len(paid) == 1:
        return await record(desk, connection, attempt.nonce, paid[0])
    return await note(desk, connection, attempt.nonce, orders)


async def _move(
    desk: Desk, attempt: Attempt, to: AttemptState, tell: OnChange | None
) -> Change:
    async with desk.rows.writing() as connection:
        _, current = await desk.held(connection, attempt.nonce)
        after = await desk.move(connection, current, (to,))
        change = Change(attempt=after, before=current.state)
        return await _told(change, connection, tell)


async def _told(
    change: Change, connection: AsyncConnection, tell: OnChange | None
) -> Change:
    if change.changed and tell is not None:
        await tell(change, connection)
    return change
