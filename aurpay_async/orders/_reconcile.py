"""Search for the order of an attempt of unknown outcome.

What fits need not be it: another cart of the same price in the same minutes fits as
well. So what is found is watched and told to people, and settles nothing; only the
attempt_id that a callback brings back, or a person, says whose order it is. And even a
callback settles nothing unless a single order can be meant: see `Findings.order_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .._lost import OrderQuery
from .._order_life import OrderStatus
from ..errors import NotFoundError
from ._records import Change
from ._schedule import end_of, needs_list
from ._states import ENDED, UNIDENTIFIED, AttemptState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from .._models import Order
    from ..callbacks import Kind
    from ._desk import Repository
    from ._records import Attempt
    from ._rows import Neighbours

#: Of orders that fit, so many are stored at most.
MAX_CANDIDATES: Final = 100


class Findings(NamedTuple):
    """The result of a search for the order of an attempt."""

    #: The orders that fit, in any status, and that are no other attempt's.
    orders: Sequence[Order]
    #: Whether a single order fits, and no unknown order of another attempt may look
    #: the same.
    is_unique: bool
    #: The orders that callbacks named for other attempts.
    hinted_elsewhere: frozenset[str]

    def order_of(self, attempt: Attempt, kind: Kind) -> Order | None:
        """Return the order that a callback of this attempt is about, if that is sure.

        It is if no other order can be meant, in any status; or if the body
        of the callback names one of those that fit. The body alone proves nothing.

        Args:
            attempt: The attempt whose attempt_id the callback brought back.
            kind: What the callback says; the platform has to say the same.
        """
        hint = attempt.hinted_order_id
        if hint is not None:
            named = [order for order in self.orders if order.order_id == hint]
            sure = named if hint not in self.hinted_elsewhere else []
        else:
            sure = [*self.orders] if self.is_unique else []
        return next((order for order in sure if _confirms(order, kind)), None)


def _confirms(order: Order, kind: Kind) -> bool:
    if kind == "paid":
        return bool(order.status.is_paid)
    return order.status is OrderStatus.OVERDUE


async def search(
    repository: Repository, attempt: Attempt, now: datetime | None = None
) -> Findings:
    """Ask the platform for the orders that may be those of an attempt.

    Args:
        repository: Where.
        attempt: The attempt without a known order.
        now: The time, where polling what was found before may be enough; ``None`` to
            read the list in any case.
    """
    near = await repository.rows.near(attempt)
    missing = [one for one in attempt.candidates if one not in near.order_ids]
    if now is not None and not needs_list(attempt, now):
        polled = await _poll(repository, missing)
        return Findings(polled, is_unique=False, hinted_elsewhere=near.hinted)
    return await _list(repository, attempt, missing, near)


async def _list(
    repository: Repository, attempt: Attempt, before: Sequence[str], near: Neighbours
) -> Findings:
    lost = OrderQuery(
        price=attempt.price,
        currency=attempt.currency,
        sent_at=attempt.sent_at or attempt.created_at,
    )
    found = await repository.client.find_order(lost, known=near.order_ids)
    listed = {order.order_id for order in found.orders}
    # What was found before, and is not listed now, may be it all the same.
    others = await _poll(repository, [one for one in before if one not in listed])
    unique = found.outcome == "found" and not others and not near.has_rival
    return Findings([*found.orders, *others], unique, near.hinted)


async def _poll(repository: Repository, order_ids: Sequence[str]) -> Sequence[Order]:
    """Those of these orders that the platform has."""
    found: list[Order] = []
    for order_id in order_ids:
        try:
            found.append(await repository.client.get_order(order_id))
        except NotFoundError:
            continue
    return found


async def record_candidates(
    repository: Repository,
    connection: AsyncConnection,
    attempt_id: str,
    orders: Sequence[Order],
) -> Change:
    """Write down what a search came to."""
    entry, attempt = await repository.lock_attempt(connection, attempt_id)
    if attempt.state not in {*UNIDENTIFIED, AttemptState.NOT_FOUND}:
        return Change(attempt=attempt, before=attempt.state)
    candidates = {order.order_id: order.status for order in orders[:MAX_CANDIDATES]}
    after = await repository.transition(
        connection,
        attempt,
        (_state_after_search(attempt, candidates, entry.now),),
        now=entry.now,
        candidates=candidates,
        last_polled_at=entry.now,
    )
    return Change(attempt=after, before=attempt.state)


def _state_after_search(
    attempt: Attempt, candidates: Mapping[str, OrderStatus], now: datetime
) -> AttemptState:
    last = end_of(attempt)
    is_over = last is not None and now >= last
    if not candidates:
        return AttemptState.NOT_FOUND if is_over else AttemptState.UNKNOWN
    # One that was found only now, or that the platform has as PENDING or as paid, is
    # asked about again, regardless of the clock.
    ended = all(status in ENDED for status in candidates.values())
    if is_over and ended and attempt.state is AttemptState.CANDIDATES_FOUND:
        return AttemptState.NOT_FOUND
    return AttemptState.CANDIDATES_FOUND


async def candidate(
    repository: Repository, attempt: Attempt, kind: Kind
) -> Order | None:
    """Return the order that a callback is about whose attempt_id is this attempt's."""
    found = await search(repository, attempt)
    async with repository.rows.writing() as connection:
        await record_candidates(
            repository, connection, attempt.attempt_id, found.orders
        )
    return found.order_of(attempt, kind)
