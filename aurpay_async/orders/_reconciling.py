"""Asking the platform about what no callback told.

Rows say when they are due. Who takes one up leases it first, if nobody else has: so
machines share the work, and what a machine that dies has taken up is polled by another
one after the lease. A payment whose `on_change` failed is given back at once, so that
the next run tells it again.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from ..callbacks._failures import propagates
from ..errors import (
    APIError,
    AurpayError,
    NotFoundError,
    StoreUnavailableError,
    TransportError,
)
from ._recording import record
from ._records import Change, Failure, Reconciliation
from ._schedule import LEASE, poll_after
from ._searching import record_candidates, search
from ._states import AttemptState

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from ._desk import Repository
    from ._records import Attempt, OnChange
    from ._searching import Findings

_log: Final = logging.getLogger("aurpay_async.orders")


class _HandlerError(Exception):
    """`on_change` raised; its exception is the cause."""


class _Poll(NamedTuple):
    """An attempt that this process has leased."""

    attempt: Attempt
    #: When it was leased.
    now: datetime


async def reconcile(
    repository: Repository, *, limit: int, tell: OnChange | None
) -> Reconciliation:
    """Ask about the most urgent `limit` attempts that are due.

    Raises:
        StoreUnavailableError: the database failed, or did not answer in time.
    """
    began = repository.clock.monotonic()
    due = await repository.rows.due(limit + 1)
    changes: list[Change] = []
    failures: list[Failure] = []
    asked, down = 0, False
    # The lost ones last: who may not read lists still hears of what is known.
    for attempt in sorted(due.attempts[:limit], key=lambda one: one.order_id is None):
        # The database's time, carried on by the monotonic clock.
        now = due.now + timedelta(seconds=repository.clock.monotonic() - began)
        if not await repository.rows.plan_poll(attempt, now + LEASE):
            continue  # another machine is on it
        asked += 1
        leased = attrs.evolve(attempt, next_poll_at=now + LEASE)
        try:
            change = await _look_at(repository, _Poll(leased, now), tell)
        except (_HandlerError, AurpayError) as error:
            failures.append(await _failed(repository, _Poll(leased, now), error))
            down = _concerns_all(error)
        else:
            changes.extend([change] if change.changed else [])
        if down:
            break
    # Where nothing succeeds, running again at once would repeat the failures.
    stuck = down or (asked > 0 and len(failures) == asked)
    return Reconciliation(
        changes=tuple(changes),
        failures=tuple(failures),
        asked=asked,
        more=len(due.attempts) > limit and not stuck,
    )


def _concerns_all(error: Exception) -> bool:
    """Return whether the next attempt could not be polled either."""
    is_down = isinstance(error, TransportError | APIError)
    return is_down and not isinstance(error, NotFoundError)


async def _failed(repository: Repository, poll: _Poll, error: Exception) -> Failure:
    """Plan the next poll of an attempt after a failure.

    Raises:
        StoreUnavailableError: the database failed: then nothing can be planned, and the
            lease ends by itself.
    """
    if isinstance(error, StoreUnavailableError):
        raise error
    attempt = poll.attempt
    if isinstance(error, _HandlerError) and error.__cause__ is not None:
        _log.error(
            "on_change failed, and is called again in the next run: reference=%a "
            "order_id=%s attempt_id=%s",
            attempt.reference,
            attempt.order_id,
            attempt.attempt_id,
            exc_info=error.__cause__,
        )
        # Behind what is due already: it must not keep other orders waiting.
        await repository.rows.plan_poll(attempt, poll.now)
        return Failure(attempt=attempt, error=error.__cause__)
    _log.warning(
        "an order could not be polled: reference=%a order_id=%s attempt_id=%s: %s",
        attempt.reference,
        attempt.order_id,
        attempt.attempt_id,
        error,
    )
    if not _concerns_all(error):
        await repository.rows.plan_poll(attempt, poll_after(attempt, poll.now))
    return Failure(attempt=attempt, error=error)


async def _look_at(
    repository: Repository, poll: _Poll, tell: OnChange | None
) -> Change:
    attempt = poll.attempt
    if attempt.order_id is not None:
        return await _ask(repository, poll, attempt.order_id, tell)
    if attempt.state is AttemptState.CREATING:
        # The sender has crashed: the next run searches for its order.
        return await _move(repository, attempt, AttemptState.UNKNOWN, tell)
    found = await search(repository, attempt, poll.now)
    async with repository.rows.writing() as connection:
        change = await _identified(repository, connection, attempt, found)
        return await _told(change, connection, tell)


async def _ask(
    repository: Repository, poll: _Poll, order_id: str, tell: OnChange | None
) -> Change:
    try:
        order = await repository.client.get_order(order_id)
    except NotFoundError:
        if poll.now < poll.attempt.payable_until:
            raise
        return await _move(repository, poll.attempt, AttemptState.EXPIRED, tell)
    async with repository.rows.writing() as connection:
        change = await record(repository, connection, poll.attempt.attempt_id, order)
        return await _told(change, connection, tell)


async def _identified(
    repository: Repository,
    connection: AsyncConnection,
    attempt: Attempt,
    found: Findings,
) -> Change:
    """Record a search; a callback that reports a payment may name the order."""
    if attempt.state is AttemptState.PAYMENT_REPORTED:
        order = found.order_of(attempt, "paid")
        if order is not None:
            return await record(repository, connection, attempt.attempt_id, order)
    return await record_candidates(
        repository, connection, attempt.attempt_id, found.orders
    )


async def _move(
    repository: Repository, attempt: Attempt, to: AttemptState, tell: OnChange | None
) -> Change:
    async with repository.rows.writing() as connection:
        entry, current = await repository.lock_attempt(connection, attempt.attempt_id)
        now = entry.now
        # A lost one has not been searched for yet.
        asked = {} if to is AttemptState.UNKNOWN else {"last_polled_at": now}
        after = await repository.transition(
            connection, current, (to,), now=now, **asked
        )
        change = Change(attempt=after, before=current.state)
        return await _told(change, connection, tell)


async def _told(
    change: Change, connection: AsyncConnection, tell: OnChange | None
) -> Change:
    if change.changed and tell is not None:
        try:
            await tell(change, connection)
        except BaseException as error:
            if propagates(error):
                raise
            raise _HandlerError from error
    return change
