"""Reconciliation: query Aurpay for orders that changed or are not identified.

An order that matches an attempt need not be its own: another cart of the same price in
the same minutes matches as well. So matching orders are polled and listed for review,
and pay no reference. Only a callback with the attempt id, or a person, assigns an order
to an attempt; and a callback does only if the order is unambiguous: see
`SearchResult.order_of`.

Each row has the time of its next poll. A process leases a row before it polls, so
several machines share the work, and the rows of a crashed one are polled by another
after the lease. If `on_change` raises, the lease is released at once, so that the next
run calls it again.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

from .._api.models import OrderStatus
from .._client.lost_orders import OrderQuery
from .._core.events import count, log_fields, meter_provider
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
from ._models import (
    ENDED,
    UNIDENTIFIED,
    AttemptState,
    Change,
    Failure,
    Reconciliation,
    log_fields_of,
)
from ._planner import LEASE, end_of, needs_list, next_poll
from ._recording import hand_over, log_recorded, record
from ._repository import Key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from .._api.models import Order
    from ..callbacks import Kind
    from ._models import Attempt, OnChange
    from ._repository import LockedAttempt, Repository

    _Write = Callable[[LockedAttempt], Awaitable[Change]]


#: Runs that follow each other at once do not count the orders each time.
_MIN_GAUGE_AGE_S: Final = 10

#: The number of matching orders that are stored at most.
MAX_CANDIDATES: Final = 100


class SearchResult(NamedTuple):
    """The result of a search for the order of an attempt."""

    #: The orders that match, in any status, without those of other attempts.
    orders: Sequence[Order]
    #: True if exactly one order matches, and no other attempt without a known order
    #: could have created it.
    is_unique: bool
    #: The order ids in the bodies of callbacks for other attempts.
    hinted_elsewhere: frozenset[str]

    def order_of(self, attempt: Attempt, kind: Kind) -> Order | None:
        """Return the order of a callback for this attempt if it is unambiguous.

        It is if exactly one order matches, in any status; or if the body of the
        callback names one that matches. The body is not signed and proves nothing on
        its own: Aurpay has to report the same event as the callback.
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
) -> SearchResult:
    """Search Aurpay for orders that may belong to an attempt without a known order.

    With `now`, polling the stored candidates may be enough, without the list.
    """
    near = await repository.rows.near(attempt)
    candidates = [one for one in attempt.candidates if one not in near.order_ids]
    if now is not None and not needs_list(attempt, now):
        polled = await _poll(repository, candidates)
        return SearchResult(polled, is_unique=False, hinted_elsewhere=near.hinted)
    query = OrderQuery(
        price=attempt.price,
        currency=attempt.currency,
        sent_at=attempt.sent_at or attempt.created_at,
    )
    found = await repository.client.find_order(query, known=near.order_ids)
    listed = {order.order_id for order in found.orders}
    # An earlier candidate that is not listed now may still be the attempt's order.
    others = await _poll(repository, [one for one in candidates if one not in listed])
    unique = found.outcome == "found" and not others and not near.has_rival
    return SearchResult([*found.orders, *others], unique, near.hinted)


async def _poll(repository: Repository, order_ids: Sequence[str]) -> Sequence[Order]:
    """Return the orders of these ids that Aurpay has."""
    found: list[Order] = []
    for order_id in order_ids:
        try:
            found.append(await repository.client.get_order(order_id))
        except NotFoundError:
            continue
    return found


async def record_candidates(locked: LockedAttempt, orders: Sequence[Order]) -> Change:
    """Record the candidates that a search found."""
    attempt, now = locked.attempt, locked.entry.now
    if attempt.state not in {*UNIDENTIFIED, AttemptState.NOT_FOUND}:
        return Change(attempt=attempt, before=attempt.state)
    candidates = {order.order_id: order.status for order in orders[:MAX_CANDIDATES]}
    return await locked.move(
        _state_after_search(attempt, candidates, now),
        candidates=candidates,
        last_polled_at=now,
    )


def _state_after_search(
    attempt: Attempt, candidates: Mapping[str, OrderStatus], now: datetime
) -> AttemptState:
    end = end_of(attempt)
    has_ended = end is not None and now >= end
    if not candidates:
        return AttemptState.NOT_FOUND if has_ended else AttemptState.UNKNOWN
    # A new candidate, and one that is PENDING or paid at Aurpay, is polled again
    # regardless of the clock.
    unpayable = all(status in ENDED for status in candidates.values())
    if has_ended and unpayable and attempt.state is AttemptState.CANDIDATES_FOUND:
        return AttemptState.NOT_FOUND
    return AttemptState.CANDIDATES_FOUND


async def candidate(
    repository: Repository, attempt: Attempt, kind: Kind
) -> Order | None:
    """Search for the order of a callback for this attempt; record the candidates."""
    found = await search(repository, attempt)
    async with repository.rows.locking(Key(attempt.attempt_id)) as locked:
        await record_candidates(locked, found.orders)
    return found.order_of(attempt, kind)


_log: Final = logging.getLogger("aurpay_async.orders")


class _HandlerError(Exception):
    """`on_change` raised; its exception is the cause."""


async def reconcile(
    repository: Repository, *, limit: int, on_change: OnChange | None
) -> Reconciliation:
    """Poll the most urgent `limit` attempts that are due, and measure the run."""
    try:
        done = await _poll_due(repository, limit, on_change)
    except Exception:
        count("aurpay.reconcile.runs", {"aurpay.reconcile.result": "failed"})
        raise
    result = "partly_failed" if done.failures else "ok"
    count("aurpay.reconcile.runs", {"aurpay.reconcile.result": result})
    for _ in filter(attrgetter("newly_paid"), done.changes):
        count("aurpay.reconcile.payments", {})
    await _set_gauges(repository)
    return done


async def _set_gauges(repository: Repository) -> None:
    gauges = repository.gauges
    if meter_provider() is None or gauges.age_s() < _MIN_GAUGE_AGE_S:
        return
    # The next run fails as well, and raises; until then the age of the gauges grows.
    with suppress(StoreUnavailableError):
        gauges.set(await repository.rows.count_open())


async def _poll_due(
    repository: Repository, limit: int, on_change: OnChange | None
) -> Reconciliation:
    began = repository.clock.monotonic()
    due = await repository.rows.due(limit + 1)
    changes: list[Change] = []
    failures: list[Failure] = []
    polled, stop = 0, False
    # Searches come last: an account that may not read lists still polls known orders.
    for attempt in sorted(due.attempts[:limit], key=lambda one: one.order_id is None):
        # The database's time, carried on by the monotonic clock.
        now = due.now + timedelta(seconds=repository.clock.monotonic() - began)
        if not await repository.rows.plan_poll(attempt, now + LEASE):
            continue  # another process has leased it
        polled += 1
        leased = attrs.evolve(attempt, next_poll_at=now + LEASE)
        try:
            if attempt.attempt_id in due.damaged:
                raise due.damaged[attempt.attempt_id]
            change = await _poll_attempt(repository, leased, now, on_change)
        except (_HandlerError, AurpayError) as error:
            step = "on_change" if isinstance(error, _HandlerError) else "poll"
            count("aurpay.reconcile.failures", {"aurpay.reconcile.step": step})
            failures.append(await _reschedule(repository, leased, now, error))
            stop = _affects_all(error)
        else:
            changes.extend([change] if change.changed else [])
        if stop:
            break
    # If every poll failed, running again at once would repeat the failures.
    stuck = stop or (polled > 0 and len(failures) == polled)
    return Reconciliation(
        changes=tuple(changes),
        failures=tuple(failures),
        polled=polled,
        more=len(due.attempts) > limit and not stuck,
    )


def _affects_all(error: Exception) -> bool:
    """Return true if polling the next attempt would fail as well."""
    of_server = isinstance(error, TransportError | APIError)
    return of_server and not isinstance(error, NotFoundError)


async def _reschedule(
    repository: Repository, attempt: Attempt, now: datetime, error: Exception
) -> Failure:
    """Plan the next poll of an attempt after a failure."""
    if isinstance(error, StoreUnavailableError):
        raise error  # the lease ends by itself
    if isinstance(error, _HandlerError) and error.__cause__ is not None:
        fields = log_fields_of(attempt)
        problem = "on_change failed; the next run calls it again"
        log_fields(_log, logging.ERROR, fields, problem, error=error.__cause__)
        # After the attempts that are due already, so that it does not delay them.
        await repository.rows.plan_poll(attempt, now)
        return Failure(attempt=attempt, error=error.__cause__)
    fields = log_fields_of(attempt, error)
    log_fields(_log, logging.WARNING, fields, "an order could not be polled: %s", error)
    if not _affects_all(error):
        at = next_poll(attempt, now) or now + LEASE
        await repository.rows.plan_poll(attempt, at)
    return Failure(attempt=attempt, error=error)


async def _poll_attempt(
    repository: Repository, attempt: Attempt, now: datetime, on_change: OnChange | None
) -> Change:
    write, order_id = await _query(repository, attempt, now)
    key = Key(attempt.attempt_id, order_id=order_id)
    async with repository.rows.locking(key) as locked:
        change = await write(locked)
        try:
            if on_change is not None:
                await hand_over(change, locked.connection, on_change)
        except BaseException as error:
            if propagates(error):
                raise
            raise _HandlerError from error
    log_recorded(change, "reconciliation")
    return change


async def _query(
    repository: Repository, attempt: Attempt, now: datetime
) -> tuple[_Write, str | None]:
    """Query Aurpay about an attempt; return what records the answer, and its order."""
    if attempt.order_id is not None:
        try:
            order = await repository.client.get_order(attempt.order_id)
        except NotFoundError:
            if now < attempt.payable_until:
                raise
            return _expire, None
        return partial(record, order=order), order.order_id
    if attempt.state is AttemptState.CREATING:
        # The sender has crashed: the next run searches for its order.
        return mark_unknown, None
    found = await search(repository, attempt, now)
    # A reported payment may identify the order.
    is_reported = attempt.state is AttemptState.PAYMENT_REPORTED
    identified = found.order_of(attempt, "paid") if is_reported else None
    if identified is None:
        return partial(record_candidates, orders=found.orders), None
    return partial(record, order=identified), identified.order_id


async def _expire(locked: LockedAttempt) -> Change:
    return await locked.move(AttemptState.EXPIRED, last_polled_at=locked.entry.now)


async def mark_unknown(locked: LockedAttempt) -> Change:
    """Take over an attempt from a process that was ended before it stored an answer."""
    log_fields(
        _log,
        logging.WARNING,
        log_fields_of(locked.attempt),
        "the process that was creating an order has stored no answer, because it was "
        "killed or the database failed: its order is searched for",
    )
    return await locked.move(AttemptState.UNKNOWN)


async def upgrade(engine_or_url: AsyncEngine | str) -> None:
    """Migrate a database to the newest schema, as `OrderStore.upgrade` does.

    For a migration job: it needs no client, and so no payment secret.

    Example:
        >>> await upgrade(os.environ["AURPAY_DATABASE"])

    Args:
        engine_or_url: As for `OrderStore`; an engine is left open.

    Raises:
        ConfigurationError: the database is not supported; Alembic is not installed; or
            a newer version of this package has migrated the database.
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
