"""Reconcile: ask the platform for orders that changed or are not identified.

What fits need not be it: another cart of the same price in the same minutes fits as
well. So what is found is watched and told to people, and settles nothing; only the
attempt_id that a callback brings back, or a person, says whose order it is. And even a
callback settles nothing unless a single order can be meant: see `Findings.order_of`.

Rows say when they are due. Who takes one up leases it first, if nobody else has: so
machines share the work, and what a machine that dies has taken up is polled by another
one after the lease. A payment whose `on_change` failed is given back at once, so that
the next run tells it again.

A loop that ends, or that fails silently, leaves paid orders unfulfilled. So each
exception is logged with its traceback and followed by another run, and only a
cancellation of the caller or the closing of the order store ends the loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, final

import attrs

from .._api.models import OrderStatus
from .._client.lost_orders import OrderQuery
from .._client.retry import RetryPolicy
from .._db.engine import Database
from .._db.migrations import upgrade as upgrade_database
from ..callbacks._notifications import propagates
from ..errors import (
    APIError,
    AurpayError,
    NotFoundError,
    StoreUnavailableError,
    TransportError,
)
from ._models import ENDED, UNIDENTIFIED, AttemptState, Change, Failure, Reconciliation
from ._planner import LEASE, end_of, needs_list, poll_after
from ._recording import record

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from .._api.models import Order
    from .._core.clock import Clock
    from ..callbacks import Kind
    from ._models import Attempt, OnChange
    from ._repository import Neighbours, Repository


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


#: Seconds between a run that raised and the next one; later ones wait longer.
_FIRST_PAUSE_S: Final = 1.0

#: So many more attempts of the same kind wait no longer.
_MAX_FAILURES: Final = 64


@final
class Runner:
    """Runs reconciliation again and again, until it is stopped."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pauses: set[asyncio.Task[None]] = set()
        #: For each task that runs a loop: done when the loop has ended.
        self._active: dict[object, asyncio.Future[None]] = {}
        self._stopped = False

    async def run(
        self, reconcile: Callable[[], Awaitable[Reconciliation]], every: float
    ) -> None:
        """Call `reconcile` every so many seconds; at once, if there is more to do."""
        task = asyncio.current_task()
        ended = self._active[task] = asyncio.get_running_loop().create_future()
        try:
            await self._loop(reconcile, every)
        finally:
            del self._active[task]
            ended.set_result(None)

    async def stop(self) -> None:
        """End all loops; wait for the runs that are under way."""
        self._stopped = True
        for pause in self._pauses:
            pause.cancel()
        # A handler may be what stops it: that does not wait for itself.
        mine = asyncio.current_task()
        others = [ended for task, ended in self._active.items() if task is not mine]
        if others:
            await asyncio.wait(others)

    async def _loop(
        self, reconcile: Callable[[], Awaitable[Reconciliation]], every: float
    ) -> None:
        backoff = RetryPolicy(base=_FIRST_PAUSE_S, cap=every)
        failed = 0
        while not self._stopped:
            try:
                done = await reconcile()
            except BaseException as error:
                if propagates(error):
                    raise
                failed = min(failed + 1, _MAX_FAILURES)
                pause = backoff.backoff(failed, 1 - random.random() / 2)  # noqa: S311
                _log.exception("reconciliation failed, again in %.1f s", pause)
                await self._rest(pause)
                continue
            failed = 0
            if not done.more:
                await self._rest(every)

    async def _rest(self, seconds: float) -> None:
        if self._stopped:
            return
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        self._pauses.add(pause)
        try:
            await asyncio.wait({pause})
        finally:
            self._pauses.discard(pause)
            pause.cancel()


async def upgrade(engine_or_url: AsyncEngine | str) -> None:
    """Bring a database to the newest schema, as `OrderStore.upgrade` does.

    For a migration job: it needs no client, and so no payment secret.

    Example:
        >>> asyncio.run(upgrade("postgresql+asyncpg://migrator@host/shop"))

    Args:
        engine_or_url: As for `OrderStore`; an engine is left open.

    Raises:
        ConfigurationError: that is no database that can do this; Alembic is not
            installed; or a newer version of this package has migrated it.
        StoreUnavailableError: the database failed, or did not answer in time.
    """
    try:
        database = Database(engine_or_url, upgrade.__name__)
    finally:
        del engine_or_url  # tracebacks show local names, and it may hold a password
    try:
        await upgrade_database(database)
    finally:
        await database.aclose()
