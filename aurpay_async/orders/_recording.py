"""Writing down what the platform says of an order: here a reference is settled.

Each update (a callback, a poll, a person's decision) goes through `record`: a payment
is counted once, and an update that arrives late or twice changes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from .._order_life import OrderStatus
from ..callbacks._compare import check_platform_order
from ..errors import CallbackReferenceError, shown
from ._records import Change, as_known_order
from ._schedule import can_be_polled
from ._states import AttemptState, wanted

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._models import Order
    from ._desk import Repository
    from ._records import Attempt


#: The check of an invoice whose payment hash another attempt's invoice has as well.
PAYMENT_HASH: Final = "payment_hash"


async def record(
    repository: Repository,
    connection: AsyncConnection,
    attempt_id: str,
    order: Order,
    *,
    by_person: bool = False,
) -> Change:
    """Record the platform's status of an attempt's order.

    Args:
        repository: Where.
        connection: The transaction to write in.
        attempt_id: The attempt's.
        order: As it was read from the platform.
        by_person: Whether a person has decided that it is this attempt's.

    Raises:
        UnknownOrderError: the store has no such attempt.
        CallbackReferenceError: it is another one's order, or has another price,
            currency or amount.
    """
    entry, attempt = await repository.lock_attempt(connection, attempt_id)
    move = partial(
        repository.transition,
        connection,
        attempt,
        now=entry.now,
        last_polled_at=entry.now,
    )
    held = attempt.status or OrderStatus.PENDING
    if attempt.order_id in {None, order.order_id} and not held.can_become(order.status):
        # It was read before what the store knows already: paid beats timeout.
        return Change(attempt=await move(()), before=attempt.state)
    await _require_its_own(repository, connection, attempt, order)
    to = wanted(
        order.status,
        settled=entry.paid_attempt_id not in {None, attempt_id},
        over=entry.now >= attempt.payable_until,
    )
    if order.status.is_paid and _is_paid_elsewhere(attempt) and not by_person:
        to = (AttemptState.PAYMENT_REPORTED,)
    after = await move(to, order_id=order.order_id, status=order.status, candidates={})
    change = Change(attempt=after, before=attempt.state)
    if change.newly_paid:
        await repository.rows.settle(connection, after)
    return change


def _is_paid_elsewhere(attempt: Attempt) -> bool:
    """Return whether another order has the payment hash of this one."""
    return attempt.failed_check == PAYMENT_HASH


async def claim(
    repository: Repository,
    connection: AsyncConnection,
    attempt_id: str,
    hint: str | None,
) -> Change:
    """Record a signed callback that reports a payment which Aurpay has not confirmed.

    Args:
        repository: Where.
        connection: The transaction to write in.
        attempt_id: The attempt's.
        hint: The order that the body of the callback names, if it has a body.
    """
    entry, attempt = await repository.lock_attempt(connection, attempt_id)
    # Where the order is known, the platform is asked about it: soon.
    unknown = attempt.order_id is None
    after = await repository.transition(
        connection,
        attempt,
        (AttemptState.PAYMENT_REPORTED,) if unknown else (),
        now=entry.now,
        next_poll_at=entry.now if can_be_polled(attempt) else None,
        hinted_order_id=hint or attempt.hinted_order_id,
    )
    return Change(attempt=after, before=attempt.state)


async def _require_its_own(
    repository: Repository, connection: AsyncConnection, attempt: Attempt, order: Order
) -> None:
    known = attempt.order or as_known_order(attempt, order)
    check_platform_order(known, order)
    if await repository.rows.is_taken(connection, order.order_id, attempt.attempt_id):
        raise CallbackReferenceError(
            f"order {shown(order.order_id)} is that of another attempt", rule="order"
        )
